"""The critic of stage III: an agent's part in the light of what everyone sees, Eq. (8).

The paper feeds the action into f_local and gets one number; here the last layer has one output per action, the
same class of functions for one-hot actions, so that E_π Q needs one pass. Everything is feed-forward, as the
paper's τ = (o_t, a_{t−1}) is. A further output is V, the value of what those who made the data do on average: a
baseline that needs no action that they never tried.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from offmarl_bench.ops import one_hot
from offmarl_bench.types import EnvSpec
from sit.config import SITConfig

LEAKY_SLOPE = 0.2
"""Negative slope of the LeakyReLU in Veličković et al. (2018)."""


def graph_attention(
    own: Float[Tensor, "*L H"], everyone: Float[Tensor, "*L N H"], W_2: Float[Tensor, " 2H"]
) -> tuple[Float[Tensor, "*L N"], Float[Tensor, "*L H"]]:
    """w_ij = softmax_j LeakyReLU(W_2ᵀ [W_1 o_i; W_1 o_j]) and e_i,global = Σ_j w_ij W_1 o_j. Eq. (8).

    Args:
        own: W_1 o_i.
        everyone: W_1 o_j of all agents, i included.
        W_2: scores the concatenated pair; its first half meets i, its second half j.
    """
    H = own.shape[-1]
    scores = F.leaky_relu((own @ W_2[:H]).unsqueeze(-1) + everyone @ W_2[H:], LEAKY_SLOPE)
    weights = scores.softmax(-1)
    return weights, (weights.unsqueeze(-2) @ everyone).squeeze(-2)


class GATCritic(nn.Module):
    """Q(τ, ·, o_−i) of the agents of one type, one value per action, and V(τ, o_−i) beside them.

    Args:
        spec: the environment, discrete.
        config: ``critic_hidden`` and the switch ``gat``.
    """

    def __init__(self, spec: EnvSpec, config: SITConfig) -> None:
        super().__init__()
        self.n_actions, hidden = spec.A, config.critic_hidden
        n_types = len(spec.types) if len(spec.types) > 1 else 0
        self.register_buffer("kinds", one_hot(torch.tensor(spec.type_index), n_types), persistent=False)
        self.local = nn.Sequential(nn.Linear(spec.O + spec.A, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
        self.gat = config.gat
        if self.gat:
            bound = (spec.O + n_types) ** -0.5
            self.W_1 = nn.Parameter(torch.empty(hidden, spec.O + n_types).uniform_(-bound, bound))
            self.W_2 = nn.Parameter(torch.empty(2 * hidden).uniform_(-((2 * hidden) ** -0.5), (2 * hidden) ** -0.5))
        self.aggregate = nn.Sequential(
            nn.Linear(hidden * (1 + self.gat), hidden), nn.ReLU(), nn.Linear(hidden, spec.A + 1)
        )

    def forward(
        self, obs: Float[Tensor, "B T N O"], agent: Int[Tensor, " B"], last_actions: Int[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T A"], Float[Tensor, "B T"]]:
        """Action values, and the state's value, of agent ``agent[b]`` in each sequence.

        Args:
            obs: observations of all agents in the source episode.
            agent: whose trajectory each sequence is.
            last_actions: that agent's a_{t−1}, −1 where there is none.
        """
        item = torch.arange(len(obs), device=obs.device)
        own = obs[item, :, agent]
        embedding = self.local(torch.cat([own, one_hot(last_actions, self.n_actions)], -1))
        if self.gat:
            # W_1 [o; type] in two parts: the type's is a constant per agent, so nothing need be concatenated.
            size = obs.shape[-1]
            embedded = obs @ self.W_1[:, :size].T + self.get_buffer("kinds") @ self.W_1[:, size:].T
            _, seen = graph_attention(embedded[item, :, agent], embedded, self.W_2)
            embedding = torch.cat([embedding, seen], -1)
        values: Tensor = self.aggregate(F.relu(embedding))
        return values[..., :-1], values[..., -1]
