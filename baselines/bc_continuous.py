"""Behaviour cloning of continuous actions: Eq. (11) of the SIT paper (arXiv:2211.15612) with a tanh-Gaussian policy.

Everything but the distribution is as in ``bc``: one shared recurrent network with an agent id, Table 11's settings.

Differences from the paper, or choices where it is silent:
- The paper does not name the distribution; it is that of soft actor-critic (arXiv:1812.05905, Appendix C): a Gaussian
  before tanh, whose greedy action is tanh of its mean.
- An action of exactly ±1 has no finite density before tanh; see ``continuous.BOUND`` for where it is clipped.
- Components that an agent does not have (``action_sizes``) are left out of the density.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from baselines.bc_config import BCConfig
from offmarl_bench.agent import Agent, Metrics, Phase, sampling_phase
from offmarl_bench.continuous import ContinuousActor, real_components, tanh_log_prob
from offmarl_bench.continuous_policy import ContinuousSlotPolicy
from offmarl_bench.flat import flatten
from offmarl_bench.nn import descend
from offmarl_bench.ops import masked_mean
from offmarl_bench.types import Batch, EnvSpec

if TYPE_CHECKING:
    from offmarl_bench.loader import Dataset


def bc_loss(log_pi: Float[Tensor, "*L"], mask: Bool[Tensor, "*L"]) -> Float[Tensor, ""]:
    """Mean of −log π_i(a_i | τ_i) over the steps in ``mask``. Eq. (11), arXiv:2211.15612.

    Args:
        log_pi: log-density of the data's actions.
        mask: True on what counts: steps at which the agent is alive.
    """
    return -masked_mean(log_pi, mask)


class ContinuousBC(Agent):
    """Behaviour cloning with one shared recurrent tanh-Gaussian policy."""

    Config = BCConfig
    policy_parts = ("actor",)
    config: BCConfig

    def __init__(self, spec: EnvSpec, config: BCConfig) -> None:
        super().__init__(spec, config)
        self.actor = ContinuousActor(spec.O, spec.A, config.hidden, n_ids=spec.N if config.agent_id else 0)
        self.register_buffer("real", real_components(spec), persistent=False)
        self.real: Bool[Tensor, "N A"]
        self.optimizers = {
            "actor": torch.optim.RMSprop(
                self.actor.parameters(), lr=config.learning_rate, alpha=config.rms_alpha, eps=config.rms_eps
            )
        }

    def phases(self, dataset: Dataset) -> list[Phase]:
        """One phase: ``learn``."""
        config = self.config
        return [sampling_phase("learn", config.updates, dataset, config.batch_size, self.update, self.device)]

    def update(self, batch: Batch) -> Metrics:
        """One gradient step on Eq. (11)."""
        data = flatten(batch)
        law = self.actor.law(self.actor.net.packed(data.inputs(self.actor), data.counts)[data.now])
        loss = bc_loss(tanh_log_prob(law, data.actions, self.real), data.alive[data.now])
        norm = descend(loss, self.optimizers["actor"], self.config.clip)
        return {"loss": loss.detach(), "gradient_norm": norm, "log_std": masked_mean(law.log_std.detach(), self.real)}

    def policy(self, greedy: bool = True) -> ContinuousSlotPolicy:
        """The cloned policies; ``greedy=False`` samples them as the data was sampled."""
        return ContinuousSlotPolicy(self.spec, [self.actor], np.zeros(self.spec.N, np.int64), greedy=greedy)
