"""MABCQ: batch-constrained Q-learning for teams, as in the SIT paper (arXiv:2211.15612, Appendix B, Eq. (12)).

A behaviour policy μ is cloned first; then values are learnt, and played, over actions that μ knows. The single-agent
original for discrete actions is Fujimoto et al. (2019, arXiv:1910.01708); the mixer is that of ICQ.

Differences from the paper, or choices where it is silent:

* Eq. (12)'s perturbation ξ does one thing for discrete actions: it removes those with μ(a)/max μ ≤ ζ from the
  maximum. All actions are enumerated instead of m of them sampled. The maximum of μ is over legal actions.
* w_i(s) ≥ 0, so every agent's own maximum together make the joint one.
* Double Q-learning, as in the discrete original; the ``paper`` preset takes the target network's own maximum.
* The played policy is greedy over the known actions too, as in the original.
* One network for all agents with a one-hot agent id in its input, as in PyMARL and the official code of ICQ.
* "RMS" is RMSprop with PyMARL's α = 0.99 and ε = 1e-5. "Training epoch 15000" is read as gradient steps on 32 episodes,
  of the behaviour policy first and then of the values.
* μ learns from living agents only.
* An episode that the horizon cut bootstraps from a damped value (``trust_at_cut``, docs/horizon.md).
* This is the form for discrete actions; ``mabcq_continuous`` is that for continuous ones.
* Rewards are scaled down to SMAC's range of returns, on which all settings were tuned (paper: as they come).
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from baselines.behaviour import PART, behaviour_phase
from baselines.mabcq_config import MABCQConfig as MABCQConfig
from baselines.mabcq_continuous import ContinuousMABCQ
from offmarl_bench.agent import Agent, Metrics, Phase, sampling_phase
from offmarl_bench.flat import flatten
from offmarl_bench.nn import Actor, LinearMixer, Renewal, descend, frozen_copy
from offmarl_bench.ops import damped_at_cut, masked_argmax, masked_logits, masked_mean, take, td_target
from offmarl_bench.policies import PlayerPolicy
from offmarl_bench.types import Batch, EnvSpec

if TYPE_CHECKING:
    from offmarl_bench.loader import Dataset


class Companions:
    """The values and the behaviour policy of one agent, unrolled side by side for play: outputs are (Q, log μ + c)."""

    def __init__(self, actor: Actor, behaviour: Actor) -> None:
        self.actor, self.behaviour = actor, behaviour
        self.obs_size, self.n_actions = actor.obs_size, actor.n_actions

    def initial(self, k: int) -> Float[Tensor, "K H"]:
        """Both memories."""
        return torch.cat([self.actor.initial(k), self.behaviour.initial(k)], -1)

    def step(
        self,
        obs: Float[Tensor, "K O"],
        last_actions: Int[Tensor, " K"],
        h: Float[Tensor, "K H"],
        ids: Int[Tensor, " K"] | None = None,
    ) -> tuple[Float[Tensor, "K C"], Float[Tensor, "K H"]]:
        """One time step of both."""
        own, theirs = h.chunk(2, -1)
        q, own = self.actor.step(obs, last_actions, own, ids)
        logits, theirs = self.behaviour.step(obs, last_actions, theirs, ids)
        return torch.cat([q, logits], -1), torch.cat([own, theirs], -1)


def known_actions(
    logits: Float[Tensor, "*L A"], legal: Bool[Tensor, "*L A"] | None, zeta: float
) -> Bool[Tensor, "*L A"]:
    """ξ of Eq. (12): legal actions with μ_i(a) / max_a' μ_i(a') > ζ.

    The likeliest legal action is always known, so there is always something to choose.

    Args:
        logits: of μ.
        legal: illegal actions have μ = 0.
        zeta: ζ in [0, 1).
    """
    masked = masked_logits(logits, legal)
    ratio = masked - masked.amax(-1, keepdim=True)
    return ratio > (math.log(zeta) if zeta > 0.0 else -torch.inf)


def known_max(
    chooser: Float[Tensor, "*L A"], values: Float[Tensor, "*L A"], known: Bool[Tensor, "*L A"]
) -> Float[Tensor, "*L"]:
    """The max over ã of Eq. (12): ``values`` of the known action that ``chooser`` likes best (Q' itself, or Q)."""
    return take(values, masked_argmax(chooser, known))


def bcq_loss(q_tot: Float[Tensor, "*L"], target: Float[Tensor, "*L"]) -> Float[Tensor, ""]:
    """Mean of (r + γ max Q' − Q)² over real steps. Eq. (12)."""
    return (target - q_tot).square().mean()


def known_values(outputs: Tensor, legal: Tensor | None, *, zeta: float) -> Tensor:
    """What is played: the values, −inf for actions that are not known. ``outputs`` are those of ``Companions``."""
    q, logits = outputs.chunk(2, -1)
    return masked_logits(q, known_actions(logits, legal, zeta))


class MABCQ(Agent):
    """Agents share one recurrent Q-network and one behaviour policy; both see observation, last action and id.

    The form for continuous actions is ``mabcq_continuous.ContinuousMABCQ``.
    """

    Config = MABCQConfig
    policy_parts = ("actor", "behaviour")
    config: MABCQConfig

    @classmethod
    def form(cls, spec: EnvSpec) -> type[Agent]:
        """See Agent: this class, or its sibling for continuous actions."""
        return cls if spec.discrete else ContinuousMABCQ

    def __init__(self, spec: EnvSpec, config: MABCQConfig) -> None:
        super().__init__(spec, config)
        # The behaviour policy first, so that runs of other settings start from the same one.
        self.behaviour, self.actor = (Actor(spec.O, spec.A, config.hidden, n_ids=spec.N) for _ in range(2))
        self.mixer = LinearMixer(spec.N, spec.S, config.mixer_embed)
        self.target_actor, self.target_mixer = frozen_copy(self.actor), frozen_copy(self.mixer)
        self.renewal = Renewal(config.target_interval, (self.target_actor, self.actor), (self.target_mixer, self.mixer))
        learnt = {
            PART: [*self.behaviour.parameters()],
            "values": [*self.actor.parameters(), *self.mixer.parameters()],
        }
        self.optimizers = {
            name: torch.optim.RMSprop(p, lr=config.lr, alpha=config.rms_alpha, eps=config.rms_eps, foreach=True)
            for name, p in learnt.items()
        }

    def phases(self, dataset: Dataset) -> list[Phase]:
        """Two phases: ``imitate`` learns μ, ``learn`` the values with μ as it is."""
        config, device, size = self.config, self.device, self.config.batch_size
        return [
            behaviour_phase(dataset, config, self.behaviour, self.optimizers[PART], device),
            sampling_phase("learn", config.steps, dataset, size, self.learn, device, config.largest_return),
        ]

    def learn(self, batch: Batch) -> Metrics:
        """One gradient step of the values on Eq. (12)."""
        config, data = self.config, flatten(batch)
        q = data.unroll(self.actor)
        q_tot = self.mixer(take(q[data.now], data.actions), data.state[data.now])
        with torch.no_grad():
            known = known_actions(data.unroll(self.behaviour), data.legal, config.zeta)
            target_q = data.unroll(self.target_actor)
            best = known_max(q if config.double_q else target_q, target_q, known)[data.after]
            future = self.target_mixer(best, data.state[data.after])
            future = data.steps(damped_at_cut(data.padded(future), batch.mask, config.trust_at_cut))
            target = td_target(data.steps(batch.rewards), future, data.steps(batch.terminated), config.gamma)
        loss = bcq_loss(q_tot, target)
        norm = descend(loss, self.optimizers["values"], config.clip)
        self.renewal.advance()
        choices = known.sum(-1, dtype=q.dtype)
        return {
            "loss": loss.detach(),
            "grad_norm": norm,
            "q_tot": q_tot.detach().mean(),
            "target": target.mean(),
            "known_actions": masked_mean(choices, data.alive),
        }

    def policy(self, greedy: bool = True) -> PlayerPolicy:
        """Argmax over known actions; ``greedy=False`` plays ε-greedily with the config's ``play_epsilon``."""
        return PlayerPolicy(
            self.spec,
            [Companions(self.actor, self.behaviour)],
            np.zeros(self.spec.N, np.int64),
            epsilon=0.0 if greedy else self.config.play_epsilon,
            rule=partial(known_values, zeta=self.config.zeta),
        )
