"""The lines of Eq. (14) of the SIT paper (arXiv:2211.15612) that both forms of ICQ share, whatever an action is."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from offmarl_bench.ops import batch_softmax, masked_mean


def actor_weights(
    q: Float[Tensor, "B T N"], w: Float[Tensor, "B T N"], beta: float, mask: Bool[Tensor, "B T N"], *, inside: bool
) -> Float[Tensor, "B T N"]:
    """(1/Z_i) exp(w_i Q_i / β_ICQ) of Eq. (14), scaled to mean one over the batch; 0 where masked.

    Args:
        q: Q_i of the data's actions, or their advantage.
        w: the mixer's w_i(s).
        beta: β_ICQ.
        mask: living agents at real steps.
        inside: False puts w_i before the exponential, as the official code does.
    """
    return batch_softmax(w * q / beta, mask) if inside else w * batch_softmax(q / beta, mask)


def actor_loss(
    log_pi: Float[Tensor, "B T N"], weight: Float[Tensor, "B T N"], mask: Bool[Tensor, "B T N"]
) -> Float[Tensor, ""]:
    """Mean of −(1/Z_i) exp(w_i Q_i / β) log π_i(a_i | τ_i) over ``mask``. Eq. (14), first line."""
    return -masked_mean(weight * log_pi, mask)


def implicit_value(q_tot: Float[Tensor, "B T"], beta: float, mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """exp(Q / β_ICQ) / Z · Q of Eq. (14), with weights of mean one over the batch."""
    return batch_softmax(q_tot / beta, mask) * q_tot


def critic_loss(q_tot: Float[Tensor, "*L"], target: Float[Tensor, "*L"]) -> Float[Tensor, ""]:
    """Mean of (target − Q)² over real steps. Eq. (14), second line, with its sum over t in the λ-return ``target``."""
    return (target - q_tot).square().mean()
