"""MACQL for continuous actions: CQL (Kumar et al. 2020, arXiv:2006.04779) for teams, Eq. (13) of the SIT paper.

The log-sum over actions becomes a log-integral, estimated from actions that are drawn uniformly and from the policy
(Kumar et al., Appendix F). Mixer, optimizer, β_CQL and Table 11's settings are those of ``macql``.

Differences from the papers, or choices where they are silent:

* The SIT paper's sum over actions says nothing about continuous ones. CQL draws 10 actions uniformly, 10 from the
  policy at this step and 10 from the policy at the next; the last, which belong to other observations, are left out.
* The policy is soft actor-critic's (arXiv:1812.05905) as in CQL: a tanh-Gaussian that maximises Q_tot plus α times its
  entropy, with α tuned to an entropy of −1 a component. The backup has no entropy in it (CQL's own setting for robots).
* Tree Backup goes on past a step with the probability that the policy does what the data did; for continuous actions
  that is 0, so its target is the one-step target, with E_π Q' averaged over the policy's draws.
* As in CQL's code the policy imitates at first (``warm_up``): values that know nothing yet would lead it anywhere. 500
  of 15,000 updates are about the share that they give to it.
* One critic: the conservative term already lowers what the data do not show.
* b(s) is left out of the conservative term unless ``bias_in_gap`` (preset ``paper``), as in ``macql``.
* Components that an agent does not have are left out of every density.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from baselines import draws
from baselines.macql_config import MACQLConfig
from baselines.macql_equations import cql_loss, team_gap
from offmarl_bench.agent import Agent, Metrics, Phase, sampling_phase
from offmarl_bench.continuous import (
    ContinuousActor,
    ContinuousCritic,
    TanhGaussian,
    only_real,
    real_components,
    tamed,
    tanh_log_prob,
    tanh_sample,
)
from offmarl_bench.continuous_policy import ContinuousSlotPolicy
from offmarl_bench.flat import FlatBatch, flatten
from offmarl_bench.nn import LinearMixer, Renewal, descend, frozen_copy, linear_mix
from offmarl_bench.ops import damped_at_cut, masked_mean, td_target
from offmarl_bench.types import Batch, EnvSpec

if TYPE_CHECKING:
    from offmarl_bench.loader import Dataset


def log_integral(
    uniform: Float[Tensor, "C *L"],
    own: Float[Tensor, "C *L"],
    log_uniform: Float[Tensor, "*#L"],
    log_own: Float[Tensor, "C *L"],
) -> Float[Tensor, "*L"]:
    """Log ∫ exp(Q(a)) da ≈ log [Σ_u exp(Q(a_u)) / u(a_u) + Σ_π exp(Q(a_π)) / π(a_π)] − log 2C.

    Kumar et al. (2020), Appendix F: the log-sum of CQL(H) by importance sampling.

    Args:
        uniform: values of C actions drawn uniformly.
        own: values of C actions drawn from the policy.
        log_uniform: log-density of the former.
        log_own: log-densities of the latter.
    """
    terms = torch.cat([uniform - log_uniform, own - log_own])
    return torch.logsumexp(terms, 0) - math.log(len(terms))


def actor_loss(
    log_pi: Float[Tensor, "*L N"],
    worth: Float[Tensor, "*L N"],
    alpha: Float[Tensor, ""],
    alive: Bool[Tensor, "*L N"],
) -> Float[Tensor, ""]:
    """Mean of α log π_i(a_i | τ_i) − worth over living agents, for actions drawn from π.

    Haarnoja et al. (2018, arXiv:1812.05905), Eq. (7), where ``worth`` is w_i Q_i(τ_i, a_i) of a linear mixer; while the
    policy imitates it is log π_i of the data's action.
    """
    return masked_mean(alpha * log_pi - worth, alive)


def temperature_loss(
    log_alpha: Float[Tensor, ""],
    log_pi: Float[Tensor, "*L N"],
    wanted: Float[Tensor, " N"],
    alive: Bool[Tensor, "*L N"],
) -> Float[Tensor, ""]:
    """−log α times the mean of (log π + wanted entropy): α falls while the policy has more entropy than wanted.

    Haarnoja et al. (2018, arXiv:1812.05905), Eq. (18), with log α for α as in their code.
    """
    return -log_alpha * masked_mean(log_pi + wanted, alive)


class ContinuousMACQL(Agent):
    """Agents share a recurrent critic and a recurrent policy; both see the observation, the last action and the id."""

    Config = MACQLConfig
    policy_parts = ("actor",)
    config: MACQLConfig

    def __init__(self, spec: EnvSpec, config: MACQLConfig) -> None:
        super().__init__(spec, config)
        self.actor = ContinuousActor(spec.O, spec.A, config.hidden, n_ids=spec.N)
        self.critic = ContinuousCritic(spec.O, spec.A, config.hidden, n_ids=spec.N)
        self.mixer = LinearMixer(spec.N, spec.S, config.mixer_embed)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(config.temperature)))
        self.target_critic, self.target_mixer = frozen_copy(self.critic), frozen_copy(self.mixer)
        self.renewal = Renewal(
            config.target_interval, (self.target_critic, self.critic), (self.target_mixer, self.mixer)
        )
        self.register_buffer("real", real_components(spec), persistent=False)
        self.real: Bool[Tensor, "N A"]
        learnt = {
            "actor": (config.actor_lr, [*self.actor.parameters()]),
            "temperature": (config.temperature_lr, [self.log_alpha]),
            "values": (config.lr, [*self.critic.parameters(), *self.mixer.parameters()]),
        }
        self.optimizers = {
            name: torch.optim.RMSprop(p, lr=lr, alpha=config.rms_alpha, eps=config.rms_eps)
            for name, (lr, p) in learnt.items()
        }

        self.updates = 0

    def get_extra_state(self) -> Int[Tensor, ""]:
        """The number of updates, so that a resumed run ends its warm-up when an unbroken one would."""
        return torch.tensor(self.updates)

    def set_extra_state(self, state: Int[Tensor, ""]) -> None:
        """Inverse of ``get_extra_state``."""
        self.updates = int(state)

    def phases(self, dataset: Dataset) -> list[Phase]:
        """One phase: ``learn``."""
        config = self.config
        size, top = config.batch_size, config.largest_return
        return [sampling_phase("learn", config.steps, dataset, size, self.update, self.device, top)]

    def update(self, batch: Batch) -> Metrics:
        """One gradient step of the policy and of α, and one of the values on Eq. (13)."""
        config, data = self.config, flatten(batch)
        data = replace(data, state=tamed(data.state))
        x, now, alive = data.inputs(self.critic), data.now, data.alive[data.now]
        law = self.actor.law(self.actor.net.packed(x, data.counts))
        features = self.critic.forward_packed(x, data.counts)[now]
        w, b = self.mixer.weights(data.state[now])
        taken = self.critic.value(features, data.actions)
        q_tot = linear_mix(taken, w, b)
        with torch.no_grad():
            noise = draws.normal(config.samples, *law.mean.shape, device=x.device)
            own, log_own = tanh_sample(law, noise, self.real)
            y = self._target(batch, data, x, own)
        soft = self._log_integral(features, w, own[:, now], log_own[:, now])
        gap = team_gap(soft, w * taken, b if config.bias_in_gap else None, alive)
        actor_metrics = self._learn_policy(data, law, features.detach(), w.detach())
        loss = cql_loss(gap, q_tot, y, config.beta_cql)
        norm = descend(loss, self.optimizers["values"], config.clip)
        self.renewal.advance()
        self.updates += 1
        return {
            "loss": loss.detach(),
            "grad_norm": norm,
            "gap": gap.detach().mean(),
            "q_tot": q_tot.detach().mean(),
            "target": y.mean(),
            **actor_metrics,
        }

    def _log_integral(
        self,
        features: Float[Tensor, "M N H"],
        w: Float[Tensor, "M N"],
        own: Float[Tensor, "C M N A"],
        log_own: Float[Tensor, "C M N"],
    ) -> Float[Tensor, "M N"]:
        """Log ∫ exp(w_i Q_i) da_i, by ``samples`` actions of each kind."""
        uniform = only_real(draws.uniform(*own.shape, device=own.device), self.real)
        scaled = w * self.critic.value(features, torch.cat([uniform, own]))
        log_uniform = -math.log(2.0) * self.real.sum(-1)
        by_uniform, by_own = scaled.chunk(2)
        return log_integral(by_uniform, by_own, log_uniform, log_own)

    @torch.no_grad()
    def _target(
        self, batch: Batch, data: FlatBatch, x: Float[Tensor, "K N I"], own: Float[Tensor, "C K N A"]
    ) -> Float[Tensor, " M"]:
        """y_CQL of every step."""
        value = self.target_critic.value(self.target_critic.forward_packed(x, data.counts), own).mean(0)
        future = self.target_mixer(value, data.state)[data.after]
        future = data.steps(damped_at_cut(data.padded(future), batch.mask, self.config.trust_at_cut))
        return td_target(data.steps(batch.rewards), future, data.steps(batch.terminated), self.config.gamma)

    def _learn_policy(
        self, data: FlatBatch, law: TanhGaussian, features: Float[Tensor, "M N H"], w: Float[Tensor, "M N"]
    ) -> Metrics:
        """One step of the policy and of α."""
        now, alive = data.now, data.alive[data.now]
        here = TanhGaussian(law.mean[now], law.log_std[now])
        actions, log_pi = tanh_sample(here, draws.normal(*here.mean.shape, device=w.device), self.real)
        if self.updates < self.config.warm_up:
            worth = tanh_log_prob(here, data.actions, self.real)
        else:
            worth = w * self.critic.value(features, actions)
        loss = actor_loss(log_pi, worth, self.log_alpha.detach().exp(), alive)
        norm = descend(loss, self.optimizers["actor"], self.config.clip)
        wanted = self.config.entropy * self.real.sum(-1)
        pull = temperature_loss(self.log_alpha, log_pi.detach(), wanted, alive)
        descend(pull, self.optimizers["temperature"], self.config.clip)
        return {
            "actor_loss": loss.detach(),
            "actor_grad_norm": norm,
            "alpha": self.log_alpha.detach().exp(),
            "entropy": -masked_mean(log_pi.detach(), alive),
        }

    def policy(self, greedy: bool = True) -> ContinuousSlotPolicy:
        """The policies' modes; ``greedy=False`` samples them."""
        return ContinuousSlotPolicy(self.spec, [self.actor], np.zeros(self.spec.N, np.int64), greedy=greedy)
