"""MABCQ for continuous actions: BCQ (Fujimoto et al. 2019, arXiv:1812.02900) for teams, with Eq. (12) of the SIT paper.

A generator imitates the data first (phase ``imitate``). Values are learnt, and played, over m generated actions
ã = a + ξ(τ, a), which ξ may move by at most Φ. Mixer, optimizer and Table 11's settings are those of ``mabcq``.

Differences from the papers, or choices where they are silent:

* The SIT paper describes ξ and ζ for enumerable actions only. Here ξ is BCQ's perturbation and nothing is masked by ζ:
  a generated action is familiar by construction. Φ, m, the latent and the two critics' λ = 0.75 are BCQ's.
* w_i(s) ≥ 0, so every agent's own maximum together make the joint one: m actions an agent, not m joint ones.
* The two critics are joined agent by agent, before mixing. The ``paper`` preset has one critic (``double_q``).
* ξ reads the generator's memory of the history. It is learnt on w_i Q_i with the critic as it was before its own step.
* Targets are copied every 100 updates (Table 11) instead of tracked (BCQ).
* BCQ generates anew at every step of play. Here the latents of play are drawn once and kept with the weights, so that
  greedy play is a function of the history; ``policy(greedy=False)`` adds Gaussian noise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from baselines import draws
from baselines.generator import Generator, Perturbation, generator_loss, normal_divergence
from baselines.mabcq_config import MABCQConfig
from offmarl_bench.agent import Agent, Metrics, Phase, sampling_phase
from offmarl_bench.continuous import (
    DETERMINISTIC,
    ContinuousActor,
    ContinuousCritic,
    before_tanh,
    only_real,
    real_components,
    tamed,
)
from offmarl_bench.continuous_policy import ContinuousSlotPolicy
from offmarl_bench.flat import FlatBatch, flatten
from offmarl_bench.nn import LinearMixer, Renewal, descend, frozen_copy, linear_mix
from offmarl_bench.ops import damped_at_cut, masked_mean, td_target
from offmarl_bench.types import Batch, EnvSpec

if TYPE_CHECKING:
    from offmarl_bench.loader import Dataset


def soft_clipped(first: Float[Tensor, "*L"], second: Float[Tensor, "*L"], share: float) -> Float[Tensor, "*L"]:
    """λ min + (1 − λ) max of two critics' values. Fujimoto et al. (2019), Eq. (13); λ = ``share``."""
    return share * torch.minimum(first, second) + (1.0 - share) * torch.maximum(first, second)


def bcq_loss(q_tots: Float[Tensor, "C *L"], target: Float[Tensor, "*L"]) -> Float[Tensor, ""]:
    """Sum over the critics of the mean of (r + γ max Q' − Q)² over real steps. Eq. (12), arXiv:2211.15612."""
    return (target - q_tots).square().flatten(1).mean(1).sum()


def perturbation_loss(
    w: Float[Tensor, "*L N"], q: Float[Tensor, "*L N"], alive: Bool[Tensor, "*L N"]
) -> Float[Tensor, ""]:
    """−mean of w_i Q_i(τ_i, ã_i) over living agents. Fujimoto et al. (2019), Eq. (12), for a linear mixer."""
    return -masked_mean(w * q, alive)


class Chooser:
    """What is played: the best of many generated actions. To ``ContinuousSlotPolicy`` it is a deterministic actor."""

    kind = DETERMINISTIC

    def __init__(
        self,
        critic: ContinuousCritic,
        generator: Generator,
        perturb: Perturbation,
        latents: Float[Tensor, "C Z"],
        real: Bool[Tensor, "N A"],
    ) -> None:
        self.critic, self.generator, self.perturb, self.latents = critic, generator, perturb, latents
        self.real = real
        self.obs_size, self.action_size = critic.obs_size, critic.action_size

    def initial(self, k: int) -> Float[Tensor, "K H"]:
        """Both memories."""
        return torch.cat([self.critic.net.initial(k), self.generator.net.initial(k)], -1)

    def step(
        self,
        obs: Float[Tensor, "K O"],
        last_actions: Float[Tensor, "K A"],
        h: Float[Tensor, "K H"],
        ids: Int[Tensor, " K"] | None = None,
    ) -> tuple[Float[Tensor, "K A"], Float[Tensor, "K H"]]:
        """One time step: the chosen actions before tanh, and both memories."""
        x = self.critic.inputs(obs, last_actions, ids)
        own, theirs = h.chunk(2, -1)
        features, own = self.critic.net.step(x, own)
        made, theirs = self.generator.net.step(x, theirs)
        decoding = made.chunk(2, -1)[1]
        rows = x.shape[0]  # not len(x), which is a constant to whoever traces this
        actions = self.perturb(
            decoding, self.generator.decode(decoding, self.latents.unsqueeze(1).expand(-1, rows, -1))
        )
        if ids is not None:  # padded components are 0 wherever the critic learns, too
            actions = only_real(actions, self.real[ids])
        best = self.critic.value(features, actions).argmax(0)
        chosen = actions[best, torch.arange(rows, device=best.device)]
        return before_tanh(chosen), torch.cat([own, theirs], -1)


class ContinuousMABCQ(Agent):
    """Agents share critics, generator and perturbation; all see observation, last action and id."""

    Config = MABCQConfig
    policy_parts = ("critic", "generator", "perturb", "latents")
    config: MABCQConfig

    def __init__(self, spec: EnvSpec, config: MABCQConfig) -> None:
        super().__init__(spec, config)
        hidden, self.latent_size = config.hidden, config.latent_ratio * spec.A
        self.critic, second = (ContinuousCritic(spec.O, spec.A, hidden, n_ids=spec.N) for _ in range(2))
        self.second = second if config.double_q else None
        self.mixer = LinearMixer(spec.N, spec.S, config.mixer_embed)
        self.generator = Generator(self.critic.net.encode.in_features, spec.A, self.latent_size, hidden)
        self.perturb = Perturbation(spec.A, hidden, config.perturbation)
        latents = draws.normal(config.play_candidates, self.latent_size, device=torch.device("cpu"))
        self.register_buffer("latents", latents.clamp(-config.latent_clip, config.latent_clip))
        self.latents: Float[Tensor, "C Z"]
        self.register_buffer("real", real_components(spec), persistent=False)
        self.real: Bool[Tensor, "N A"]
        self.target_critic, self.target_mixer = frozen_copy(self.critic), frozen_copy(self.mixer)
        self.target_perturb = frozen_copy(self.perturb)
        self.target_second = None if self.second is None else frozen_copy(self.second)
        values = [*self.critic.parameters(), *self.mixer.parameters()]
        pairs = [(self.target_critic, self.critic), (self.target_mixer, self.mixer)]
        pairs += [(self.target_perturb, self.perturb)]
        if self.second is not None and self.target_second is not None:
            values += self.second.parameters()
            pairs += [(self.target_second, self.second)]
        self.renewal = Renewal(config.target_interval, *pairs)
        learnt = {
            "generator": [*self.generator.parameters()],
            "perturb": [*self.perturb.parameters()],
            "values": values,
        }
        self.optimizers = {
            name: torch.optim.RMSprop(p, lr=config.lr, alpha=config.rms_alpha, eps=config.rms_eps)
            for name, p in learnt.items()
        }

    def phases(self, dataset: Dataset) -> list[Phase]:
        """Two phases: ``imitate`` learns the generator, ``learn`` values and ξ with the generator as it is."""
        config, device, size = self.config, self.device, self.config.batch_size
        return [
            sampling_phase("imitate", config.behaviour_steps, dataset, size, self.imitate, device),
            sampling_phase("learn", config.steps, dataset, size, self.learn, device, config.largest_return),
        ]

    def imitate(self, batch: Batch) -> Metrics:
        """One gradient step of the generator."""
        config, data = self.config, flatten(batch)
        encoding, decoding = (f[data.now] for f in self.generator.packed(data.inputs(self.critic), data.counts))
        mean, log_std = self.generator.encode(encoding, data.actions)
        z = mean + log_std.exp() * draws.normal(*mean.shape, device=mean.device)
        made, alive = self.generator.decode(decoding, z), data.alive[data.now]
        loss = generator_loss(made, data.actions, mean, log_std, self.real, alive, config.kl_weight)
        norm = descend(loss, self.optimizers["generator"], config.clip)
        return {
            "loss": loss.detach(),
            "grad_norm": norm,
            "divergence": masked_mean(normal_divergence(mean, log_std).detach().mean(-1), alive),
        }

    def learn(self, batch: Batch) -> Metrics:
        """One gradient step of ξ, and one of the values on Eq. (12)."""
        config, data = self.config, flatten(batch)
        data = replace(data, state=tamed(data.state))
        x, now = data.inputs(self.critic), data.now
        with torch.no_grad():
            decoding = self.generator.packed(x, data.counts)[1]
            noise = draws.normal(config.candidates, *decoding.shape[:2], self.latent_size, device=x.device)
            made = self.generator.decode(decoding, noise.clamp(-config.latent_clip, config.latent_clip))
        critics = [c for c in (self.critic, self.second) if c is not None]
        features = [c.forward_packed(x, data.counts)[now] for c in critics]
        w, b = self.mixer.weights(data.state[now])
        q_tots = torch.stack(
            [linear_mix(c.value(f, data.actions), w, b) for c, f in zip(critics, features, strict=True)]
        )
        target = self._target(batch, data, x, only_real(self.target_perturb(decoding, made), self.real))
        moved = only_real(self.perturb(decoding[now], made[0, now]), self.real)
        improved = self.critic.value(features[0].detach(), moved)
        perturb_loss = perturbation_loss(w.detach(), improved, data.alive[now])
        perturb_norm = descend(perturb_loss, self.optimizers["perturb"], config.clip)
        loss = bcq_loss(q_tots, target)
        norm = descend(loss, self.optimizers["values"], config.clip)
        self.renewal.advance()
        return {
            "loss": loss.detach(),
            "grad_norm": norm,
            "q_tot": q_tots.detach().mean(),
            "target": target.mean(),
            "perturb_loss": perturb_loss.detach(),
            "perturb_grad_norm": perturb_norm,
            "spread": masked_mean(made.std(0), self.real),
        }

    @torch.no_grad()
    def _target(
        self, batch: Batch, data: FlatBatch, x: Float[Tensor, "K N I"], actions: Float[Tensor, "C K N A"]
    ) -> Float[Tensor, " M"]:
        """R + γ max over ã of Q' of Eq. (12)."""
        value = self.target_critic.value(self.target_critic.forward_packed(x, data.counts), actions)
        if self.target_second is not None:
            other = self.target_second.value(self.target_second.forward_packed(x, data.counts), actions)
            value = soft_clipped(value, other, self.config.soft_clip)
        future = self.target_mixer(value.amax(0), data.state)[data.after]
        future = data.steps(damped_at_cut(data.padded(future), batch.mask, self.config.trust_at_cut))
        return td_target(data.steps(batch.rewards), future, data.steps(batch.terminated), self.config.gamma)

    def policy(self, greedy: bool = True) -> ContinuousSlotPolicy:
        """The best generated action; ``greedy=False`` adds noise with the config's ``play_noise``."""
        chooser = Chooser(self.critic, self.generator, self.perturb, self.latents, self.real)
        return ContinuousSlotPolicy(
            self.spec,
            [cast(ContinuousActor, chooser)],  # all that play asks of one
            np.zeros(self.spec.N, np.int64),
            noise=0.0 if greedy else self.config.play_noise,
        )
