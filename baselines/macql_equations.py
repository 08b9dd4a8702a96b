"""The parts of Eq. (13) of the SIT paper (arXiv:2211.15612) that both forms of MACQL share, whatever an action is."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def team_gap(
    soft: Float[Tensor, "*L N"],
    taken: Float[Tensor, "*L N"],
    b: Float[Tensor, "*L"] | None,
    alive: Bool[Tensor, "*L N"],
) -> Float[Tensor, "*L"]:
    """Σ_i (log-sum of exp(w_i Q_i + b)) − Q(τ, a) of every step, from its parts without the bias.

    Args:
        soft: log Σ_a exp(w_i Q_i(τ_i, a)) of each agent.
        taken: w_i Q_i of the data's actions.
        b: bias of the mixer: it counts once for each living agent and once in Q; None leaves it out of both terms.
        alive: agents that are counted, in both terms.
    """
    gap = (soft - taken).masked_fill(~alive, 0.0).sum(-1)
    return gap if b is None else gap + (alive.sum(-1) - 1) * b


def cql_loss(
    gap: Float[Tensor, "*L"], q_tot: Float[Tensor, "*L"], y: Float[Tensor, "*L"], beta_cql: float
) -> Float[Tensor, ""]:
    """Mean over real steps of β_CQL · gap + ½ (y_CQL − Q)². Eq. (13)."""
    return (beta_cql * gap + (y - q_tot).square() / 2).mean()
