"""QMIX's mixing network: agents' values into a team value that rises with each of them.

QMIX mixes values of choices with it, FacMAC the values of continuous actions. The linear mixer of the ICQ family is
``nn.LinearMixer``.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def monotonic_mix(
    q: Float[Tensor, "*L N"],
    w1: Float[Tensor, "*L N E"],
    b1: Float[Tensor, "*L E"],
    w2: Float[Tensor, "*L E"],
    v: Float[Tensor, "*L"],
) -> Float[Tensor, "*L"]:
    """Q_tot = ELU(q · |W1| + b1) · |w2| + V(s). Absolute weights give ∂Q_tot/∂Q_i ≥ 0.

    Rashid et al. (2018, arXiv:1803.11485), Eq. (5), Section 4.1.
    """
    hidden = F.elu((q.unsqueeze(-1) * w1.abs()).sum(-2) + b1)  # a (1, N) × (N, E) product is far slower as bmm
    return (hidden * w2.abs()).sum(-1) + v


class Mixer(nn.Module):
    """Hypernetworks that turn the state into the weights of ``monotonic_mix``; Figure 2 of the QMIX paper.

    Args:
        n_agents: N.
        state_size: S.
        embed: width of the mixing network's hidden layer.
        hidden: width of the hidden layer of the two hypernetworks that make the mixing weights.
    """

    def __init__(self, n_agents: int, state_size: int, embed: int, hidden: int) -> None:
        super().__init__()
        self.embed = embed
        self.w1 = nn.Sequential(nn.Linear(state_size, hidden), nn.ReLU(), nn.Linear(hidden, n_agents * embed))
        self.b1 = nn.Linear(state_size, embed)
        self.w2 = nn.Sequential(nn.Linear(state_size, hidden), nn.ReLU(), nn.Linear(hidden, embed))
        self.v = nn.Sequential(nn.Linear(state_size, embed), nn.ReLU(), nn.Linear(embed, 1))

    def forward(self, q: Float[Tensor, "*L N"], state: Float[Tensor, "*L S"]) -> Float[Tensor, "*L"]:
        """Q_tot of each step."""
        w1 = self.w1(state).unflatten(-1, (q.shape[-1], self.embed))
        return monotonic_mix(q, w1, self.b1(state), self.w2(state), self.v(state).squeeze(-1))
