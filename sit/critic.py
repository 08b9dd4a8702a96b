"""The critic of stage III: an agent's part in the light of what everyone sees, Eq. (8).

The paper feeds the action into f_local and gets one number, and so it is for continuous actions. For choices the last
layer has one output per action, the same class of functions for one-hot actions, so that E_π Q needs one pass.
Everything is feed-forward, as the paper's τ = (o_t, a_{t−1}) is. A further output is V, the value of what those who
made the data do on average: a baseline that needs no action that they never tried. It is read with no action fed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from offmarl_bench.continuous import tamed
from offmarl_bench.ops import one_hot, take
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


class Values(Protocol):
    """Q(τ, ·, o_−i) and V(τ, o_−i) at every row of a batch."""

    @property
    def baseline(self) -> Float[Tensor, "B T"]:
        """V."""

    def of(self, actions: Shaped[Tensor, "B T *A"]) -> Float[Tensor, "B T"]:
        """Q of one action in each row."""

    def each(self, candidates: Shaped[Tensor, "B T C *A"]) -> Float[Tensor, "B T C"]:
        """Q of several actions in each row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceValues:
    """``Values`` of choices: all of them are there."""

    table: Float[Tensor, "B T A"]
    baseline: Float[Tensor, "B T"]

    def of(self, actions: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """See Values."""
        return take(self.table, actions)

    def each(self, candidates: Int[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        """See Values."""
        return self.table.gather(-1, candidates)


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorValues:
    """``Values`` of continuous actions: what does not depend on the action is computed once, the rest when asked."""

    critic: GATCritic
    history: Float[Tensor, "B T H"]
    """f_local's first layer on τ."""
    seen: Float[Tensor, "B T H"] | None
    """e_global; None without attention."""

    @property
    def baseline(self) -> Float[Tensor, "B T"]:
        """See Values."""
        return self.critic.judge(self.history, self.seen)[..., 1]

    def of(self, actions: Float[Tensor, "B T A"]) -> Float[Tensor, "B T"]:
        """See Values."""
        return self.each(actions.unsqueeze(-2)).squeeze(-1)

    def each(self, candidates: Float[Tensor, "B T C A"]) -> Float[Tensor, "B T C"]:
        """See Values."""
        hidden = self.history.unsqueeze(-2) + self.critic.by_action(candidates)
        seen = None if self.seen is None else self.seen.unsqueeze(-2).expand(hidden.shape)
        return self.critic.judge(hidden, seen)[..., 0]


class GATCritic(nn.Module):
    """Q(τ, ·, o_−i) and V(τ, o_−i) of the agents of one type.

    Args:
        spec: the environment. Padded components of continuous actions have to be 0.
        config: ``critic_hidden`` and the switch ``gat``.
    """

    def __init__(self, spec: EnvSpec, config: SITConfig) -> None:
        super().__init__()
        self.discrete, self.n_actions, hidden = spec.discrete, spec.A, config.critic_hidden
        n_types = len(spec.types) if len(spec.types) > 1 else 0
        self.register_buffer("kinds", one_hot(torch.tensor(spec.type_index), n_types), persistent=False)
        self.local = nn.Sequential(nn.Linear(spec.O + spec.A, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
        self.gat = config.gat
        if self.gat:
            bound = (spec.O + n_types) ** -0.5
            self.W_1 = nn.Parameter(torch.empty(hidden, spec.O + n_types).uniform_(-bound, bound))
            self.W_2 = nn.Parameter(torch.empty(2 * hidden).uniform_(-((2 * hidden) ** -0.5), (2 * hidden) ** -0.5))
        outputs = spec.A + 1 if spec.discrete else 2
        self.aggregate = nn.Sequential(
            nn.Linear(hidden * (1 + self.gat), hidden), nn.ReLU(), nn.Linear(hidden, outputs)
        )
        if not spec.discrete:  # a_t's part of f_local's first layer, apart from τ's so that V can do without
            self.by_action = nn.Linear(spec.A, hidden, bias=False)

    def forward(
        self, obs: Float[Tensor, "B T N O"], agent: Int[Tensor, " B"], last_actions: Shaped[Tensor, "B T *A"]
    ) -> Values:
        """Values of agent ``agent[b]`` in each sequence.

        Args:
            obs: observations of all agents in the source episode.
            agent: whose trajectory each sequence is.
            last_actions: that agent's a_{t−1}; where there is none −1, or zeros if actions are continuous.
        """
        item = torch.arange(len(obs), device=obs.device)
        if not self.discrete:
            obs = tamed(obs)
        own = obs[item, :, agent]
        before = one_hot(last_actions, self.n_actions) if self.discrete else last_actions
        history = self.local[0](torch.cat([own, before], -1))
        seen = None
        if self.gat:
            # W_1 [o; type] in two parts: the type's is a constant per agent, so nothing need be concatenated.
            size = obs.shape[-1]
            embedded = obs @ self.W_1[:, :size].T + self.get_buffer("kinds") @ self.W_1[:, size:].T
            _, seen = graph_attention(embedded[item, :, agent], embedded, self.W_2)
        if not self.discrete:
            return VectorValues(critic=self, history=history, seen=seen)
        values = self.judge(history, seen)
        return ChoiceValues(table=values[..., :-1], baseline=values[..., -1])

    def judge(self, hidden: Float[Tensor, "*L H"], seen: Float[Tensor, "*L H"] | None) -> Float[Tensor, "*L outputs"]:
        """The rest of f_local, then f_agg."""
        embedding = self.local[1:](hidden)
        if seen is not None:
            embedding = torch.cat([embedding, seen], -1)
        values: Tensor = self.aggregate(F.relu(embedding))
        return values
