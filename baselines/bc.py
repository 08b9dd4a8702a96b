"""Behaviour cloning as the SIT paper compares with (Tian et al. 2023, arXiv:2211.15612, Appendix B, Eq. (11)).

Each agent imitates the data's actions from its own history. Settings are Table 11's.

Differences from the paper, or choices where it is silent:
- One network for all agents with a one-hot agent id in its input, as in PyMARL and the official ICQ code
  (``agent_id=False`` leaves the id out: then nothing tells a badly played agent from a well played one).
- "RMS" is RMSprop with PyMARL's α = 0.99 and ε = 1e-5.
- "Training epoch 15000" is read as gradient steps on 32 episodes.
- Illegal actions have probability 0. Padding is left out of the mean, and so are dead agents: their only legal action
  teaches nothing.
- This is the form for discrete actions; ``bc_continuous`` is that for continuous ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from baselines.bc_config import BCConfig as BCConfig
from baselines.bc_continuous import ContinuousBC
from offmarl_bench.agent import Agent, Metrics, Phase, sampling_phase
from offmarl_bench.nn import Actor, descend, previous_actions
from offmarl_bench.ops import log_prob, masked_mean
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.recurrence import pack
from offmarl_bench.types import Batch, EnvSpec

if TYPE_CHECKING:
    from offmarl_bench.loader import Dataset


def bc_loss(
    logits: Float[Tensor, "*L A"],
    actions: Int[Tensor, "*L"],
    legal: Bool[Tensor, "*L A"] | None,
    mask: Bool[Tensor, "*L"],
) -> Float[Tensor, ""]:
    """Mean of −log π_i(a_i | τ_i) over the steps in ``mask``. Eq. (11), arXiv:2211.15612.

    Args:
        logits: outputs of the policy on the history of each agent and step.
        actions: what the data did.
        legal: legal actions; the others get probability 0.
        mask: True on what counts: steps at which the agent is alive.
    """
    return -masked_mean(log_prob(logits, actions, legal), mask)


class BC(Agent):
    """Behaviour cloning with one shared recurrent policy.

    The form for continuous actions is ``bc_continuous.ContinuousBC``.
    """

    Config = BCConfig
    policy_parts = ("actor",)
    config: BCConfig

    @classmethod
    def form(cls, spec: EnvSpec) -> type[Agent]:
        """See Agent: this class, or its sibling for continuous actions."""
        return cls if spec.discrete else ContinuousBC

    def __init__(self, spec: EnvSpec, config: BCConfig) -> None:
        super().__init__(spec, config)
        self.actor = Actor(spec.O, spec.A, config.hidden, n_ids=spec.N if config.agent_id else 0)
        self.optimizers = {
            "actor": torch.optim.RMSprop(
                self.actor.parameters(),
                lr=config.learning_rate,
                alpha=config.rms_alpha,
                eps=config.rms_eps,
                foreach=True,
            )
        }

    def phases(self, dataset: Dataset) -> list[Phase]:
        """One phase: ``learn``."""
        config = self.config
        return [sampling_phase("learn", config.updates, dataset, config.batch_size, self.update, self.device)]

    def update(self, batch: Batch) -> Metrics:
        """One gradient step on Eq. (11), over the K real steps of the batch laid out flat (see ``recurrence``)."""
        rows = pack(batch.lengths - 1)  # the last observation of an episode has no action to imitate
        lane, time = rows.lane, rows.time
        last_actions = previous_actions(batch.actions)[lane, time]
        ids = torch.arange(self.spec.N, device=lane.device).expand(len(lane), -1)
        logits = self.actor.unroll(batch.obs[lane, time], last_actions, rows.counts, ids)
        legal = None if batch.legal is None else batch.legal[lane, time]
        loss = bc_loss(logits, batch.actions[lane, time], legal, batch.alive[lane, time])
        norm = descend(loss, self.optimizers["actor"], self.config.clip)
        return {"loss": loss.detach(), "gradient_norm": norm}

    def policy(self, greedy: bool = True) -> SlotPolicy:
        """The cloned policies; ``greedy=False`` samples them as the data was sampled."""
        return SlotPolicy(self.spec, [self.actor], np.zeros(self.spec.N, np.int64), greedy=greedy)
