"""The alternative stage I of Appendix E.1: individual rewards mixed by a monotonic, non-linear network, as in QMIX.

The paper shows it in order to reject it: the individual rewards come out close together and in the wrong order. It is
here so that anybody can see for themselves (``decomposer="monotonic"``).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sit.config import SITConfig
from sit.members import MemberLinear, column, spread


def monotonic_total(
    r: Float[Tensor, "M K N"],
    w_1: Float[Tensor, "M K N H"],
    b_1: Float[Tensor, "M K H"],
    w_2: Float[Tensor, "M K H"],
    b_2: Float[Tensor, "M K"],
) -> Float[Tensor, "M K"]:
    """r̂_tot = |w_2|ᵀ ELU(|w_1|ᵀ r + b_1) + b_2, so that ∂r̂_tot/∂r_i ≥ 0. Appendix E.1, Figure 7(a).

    Args:
        r: individual rewards, 0 for agents that take no part.
        w_1: first layer of the mixing network, signed.
        b_1: its bias.
        w_2: second layer, signed.
        b_2: its bias.
    """
    hidden = F.elu((r.unsqueeze(-2) @ w_1.abs()).squeeze(-2) + b_1)
    return (hidden * w_2.abs()).sum(-1) + b_2


class MonotonicMixing(nn.Module):
    """Hypernetworks from the state to ``monotonic_total``'s weights: linear, b_2 with one hidden layer (QMIX's form).

    Args:
        state_size: S.
        n_agents: N.
        config: ``members`` and ``mixing_hidden``.
    """

    def __init__(self, state_size: int, n_agents: int, config: SITConfig) -> None:
        super().__init__()
        m, self.width = config.members, config.mixing_hidden
        self.to_w_1 = MemberLinear(m, state_size, n_agents * self.width)
        self.to_b_1 = MemberLinear(m, state_size, self.width)
        self.to_w_2 = MemberLinear(m, state_size, self.width)
        self.to_b_2 = nn.ModuleList([MemberLinear(m, state_size, self.width), MemberLinear(m, self.width, 1)])

    def forward(self, r: Float[Tensor, "M K N"], state: Float[Tensor, "K S"]) -> Float[Tensor, "M K"]:
        """r̂_tot of every member and transition."""
        x = spread(state, len(r))
        inner, outer = self.to_b_2
        b_2 = column(inner, outer, x)  # type: ignore[arg-type]
        return monotonic_total(r, self.to_w_1(x).view(*r.shape, self.width), self.to_b_1(x), self.to_w_2(x), b_2)
