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


def monotonic_mix_each(
    q: Float[Tensor, "K N A"],
    taken: Float[Tensor, "K N"],
    w1: Float[Tensor, "K N E"],
    b1: Float[Tensor, "K E"],
    w2: Float[Tensor, "K E"],
    v: Float[Tensor, " K"],
) -> Float[Tensor, "K N A"]:
    """``monotonic_mix`` of ``taken`` with one agent's value replaced, for every agent and every value it could have.

    The sum inside ELU is computed once and corrected by the one agent's change: N · A times E numbers and no product.

    Args:
        q: values of every action.
        taken: values that the others keep.
        w1: first layer's weights, as for ``monotonic_mix``.
        b1: its bias.
        w2: second layer's weights.
        v: its bias.
    """
    w1 = w1.abs()
    inside = (taken.unsqueeze(-1) * w1).sum(-2) + b1
    change = (q - taken.unsqueeze(-1)).unsqueeze(-1) * w1.unsqueeze(-2)
    hidden = F.elu(inside[:, None, None] + change)
    return (hidden * w2.abs()[:, None, None]).sum(-1) + v[:, None, None]


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

    def weights(self, state: Float[Tensor, "*L S"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """W1, b1, w2 and V(s) of ``monotonic_mix``."""
        w1 = self.w1(state).unflatten(-1, (-1, self.embed))
        return w1, self.b1(state), self.w2(state), self.v(state).squeeze(-1)

    def forward(self, q: Float[Tensor, "*L N"], state: Float[Tensor, "*L S"]) -> Float[Tensor, "*L"]:
        """Q_tot of each step."""
        return monotonic_mix(q, *self.weights(state))

    def each(
        self, q: Float[Tensor, "K N A"], taken: Float[Tensor, "K N"], state: Float[Tensor, "K S"]
    ) -> Float[Tensor, "K N A"]:
        """Q_tot with agent i's value replaced by that of each of its actions, see ``monotonic_mix_each``."""
        return monotonic_mix_each(q, taken, *self.weights(state))
