"""Implicit Q-learning for teams: IQL (Kostrikov et al. 2022, arXiv:2110.06169) with a mixed Q, discrete actions.

Not independent Q-learning, for which "IQL" stands in the field. V_i is an upper expectile of Q_i over the data's
actions, and the policy imitates with exp(β (Q_i − V_i)). There is no paper of this form; published comparisons run one
IQL for each agent on the team's reward (e.g. ``discrete/src/learners/iql_learner.py`` of CFCQL's code, from which τ, β
and the bound on the weight are taken). Here Q is mixed as in ICQ and OMIGA, so that credit is shared out.

Differences from the single-agent original: those of ``in_sample``, one Q instead of the smaller of two, no annealing of
the policy's learning rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from baselines.in_sample import InSample, InSampleConfig
from offmarl_bench.ops import masked_mean

LARGEST_WEIGHT = 100.0
"""Bound of the policy's weights (IQL's own)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MAIQLConfig(InSampleConfig):
    """Settings of implicit Q-learning for teams."""

    title: ClassVar[str] = "MAIQL"
    more_positive: ClassVar[tuple[str, ...]] = ("beta",)
    more_shares: ClassVar[tuple[str, ...]] = ("expectile",)
    expectile: float = 0.7
    """τ: 0.5 is the mean, towards 1 the maximum over the data's actions."""
    beta: float = 3.0
    """β: 0 imitates, large values take only what is better than V."""


def expectile_loss(
    q: Float[Tensor, "*L"], v: Float[Tensor, "*L"], expectile: float, mask: Bool[Tensor, "*L"]
) -> Float[Tensor, ""]:
    """Mean over what counts of |τ − 1(Q < V)| (Q − V)². IQL, Eq. (5)."""
    u = q - v
    return masked_mean(torch.where(u < 0, 1 - expectile, expectile) * u.square(), mask)


def advantage_weight(q: Float[Tensor, "*L"], v: Float[Tensor, "*L"], beta: float) -> Float[Tensor, "*L"]:
    """min(exp(β (Q − V)), 100). IQL, Eq. (7)."""
    return (beta * (q - v)).exp().clamp(max=LARGEST_WEIGHT)


class MAIQL(InSample):
    """See the module."""

    Config = MAIQLConfig
    config: MAIQLConfig

    def value_loss(
        self, q: Float[Tensor, "M N"], v: Float[Tensor, "M N"], w: Float[Tensor, "M N"], alive: Bool[Tensor, "M N"]
    ) -> Float[Tensor, ""]:
        """Eq. (5); the mixer's weights have no part in it."""
        return expectile_loss(q, v, self.config.expectile, alive)

    def policy_weight(
        self, q: Float[Tensor, "M N"], v: Float[Tensor, "M N"], w: Float[Tensor, "M N"]
    ) -> Float[Tensor, "M N"]:
        """The weight of Eq. (7)."""
        return advantage_weight(q, v, self.config.beta)
