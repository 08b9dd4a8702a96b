"""OMIGA: implicit global-to-local value regularisation (Wang et al. 2023, arXiv:2307.11620), discrete actions.

A penalty on the team's policy, D_KL(π ‖ μ) with weight α, becomes one on each agent's: with Q and V of the team mixed
by the same weights w_i(s), the best V_i and π_i follow from w_i (Q_i − V_i) alone, and are learnt in the sample.

Differences from the paper, or choices where it is silent: those of ``in_sample``, and

* z = w_i (Q_i − V_i) / α lies in ±10, and its exponential in the loss of V is taken relative to the largest z of the
  batch, at least −1 (official code, ``algos/OMIGA.py`` and ``framework/trainer_omiga.py``): a scale that only the
  gradient's clipping and RMSprop's ε feel.
* α is 10 (official, for all tasks). With returns of 20 and small weights this is near imitation: see ``weights_ess``
  in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from baselines.in_sample import InSample, InSampleConfig
from offmarl_bench.ops import masked_mean

LARGEST_EXPONENT = 10.0
"""Bound of |z|."""
LEAST_OFFSET = -1.0
"""What is subtracted in the exponent is at least this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OMIGAConfig(InSampleConfig):
    """Settings of OMIGA; the defaults are the official code's where they are the algorithm's."""

    title: ClassVar[str] = "OMIGA"
    more_positive: ClassVar[tuple[str, ...]] = ("alpha",)
    alpha: float = 10.0
    """α, how strongly the policy is held to the data's."""


def exponent(
    q: Float[Tensor, "*L"], v: Float[Tensor, "*L"], w: Float[Tensor, "*L"], alpha: float
) -> Float[Tensor, "*L"]:
    """The exponent z = w_i (Q_i − V_i) / α, bounded."""
    return (w * (q - v) / alpha).clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT)


def value_loss(
    q: Float[Tensor, "*L"], v: Float[Tensor, "*L"], w: Float[Tensor, "*L"], alpha: float, mask: Bool[Tensor, "*L"]
) -> Float[Tensor, ""]:
    """Mean over what counts of exp(z) + w_i V_i / α, divided by the exponential of the largest z.

    Its least value is where E exp(z) = 1 over the data's actions: V_i is their soft maximum.
    """
    z = exponent(q, v, w, alpha)
    most = z.detach().masked_fill(~mask, LEAST_OFFSET).max().clamp(min=LEAST_OFFSET)
    return masked_mean(torch.exp(z - most) + torch.exp(-most) * w * v / alpha, mask)


class OMIGA(InSample):
    """See the module."""

    Config = OMIGAConfig
    config: OMIGAConfig

    def value_loss(
        self, q: Float[Tensor, "M N"], v: Float[Tensor, "M N"], w: Float[Tensor, "M N"], alive: Bool[Tensor, "M N"]
    ) -> Float[Tensor, ""]:
        """See ``value_loss`` of the module."""
        return value_loss(q, v, w, self.config.alpha, alive)

    def policy_weight(
        self, q: Float[Tensor, "M N"], v: Float[Tensor, "M N"], w: Float[Tensor, "M N"]
    ) -> Float[Tensor, "M N"]:
        """exp(z): what the best policy is to the data's."""
        return exponent(q, v, w, self.config.alpha).exp()
