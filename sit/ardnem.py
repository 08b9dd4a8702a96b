"""Stage I: the attention-based reward decomposition network with ensemble mechanism (ARDNEM), Eq. (1) to Eq. (3).

The M members are one network with a leading member axis (batched matrix products), each with its own initial
weights; that is the only difference between them, as in the paper. f and e_i are shared by all agents and see no
agent id, so that a member judges what was done, not who did it; with several types the type is part of the input.
The network reads single transitions, so batches are flat: K transitions of whichever episodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from offmarl_bench.continuous import tamed
from offmarl_bench.fused import rectified_dots
from offmarl_bench.loader import Dataset
from offmarl_bench.ops import one_hot
from offmarl_bench.types import Batch, EnvSpec
from sit.config import SITConfig
from sit.members import MemberLinear, column, spread
from sit.monotonic import MonotonicMixing

LEAST_STD = 1e-6
"""Rewards that never vary are divided by this instead of their standard deviation of 0."""


def query(
    e_s: Float[Tensor, "M K H"], W_q: Float[Tensor, "M D H"], W_k: Float[Tensor, "M D J"]
) -> Float[Tensor, "M K J"]:
    """e_sᵀ W_qᵀ W_k, what the agents' e_i are compared with. Eq. (1).

    W_kᵀ W_q is applied to the K states rather than W_k to all K·N agents: the same number, N times cheaper.

    Args:
        e_s: embedded states.
        W_q: query weights.
        W_k: key weights.
    """
    return e_s @ W_q.transpose(1, 2) @ W_k


def contribution_weights(scores: Float[Tensor, "M K N"], alive: Bool[Tensor, "K N"]) -> Float[Tensor, "M K N"]:
    """λ_i ∝ exp(e_sᵀ W_qᵀ W_k e_i), a softmax over the agents. Eq. (1).

    Args:
        scores: ``query`` times e_i.
        alive: agents that take part; the others get λ = 0 (if none takes part, all do get 0).
    """
    weights = scores.masked_fill(~alive & alive.any(-1, keepdim=True), -torch.inf).softmax(-1)
    return weights * alive


def total_reward(lam: Float[Tensor, "*L N"], r: Float[Tensor, "*L N"]) -> Float[Tensor, "*L"]:
    """r̂_tot = Σ_i λ_i r_i. Eq. (2)."""
    return (lam * r).sum(-1)


def decomposition_loss(predicted: Float[Tensor, "M K"], r_tot: Float[Tensor, " K"]) -> Float[Tensor, ""]:
    """Mean over members (and over the batch) of (r̂_tot,m − r_tot)². Eq. (3)."""
    return (predicted - r_tot).square().mean()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transitions:
    """K single transitions of any episodes, all agents together."""

    actions: Shaped[Tensor, "K N *A"]
    rewards: Float[Tensor, " K"]
    obs: Float[Tensor, "K N O"]
    state: Float[Tensor, "K S"]
    alive: Bool[Tensor, "K N"]
    """False for agents whose only legal action is one; True everywhere for continuous actions."""


def transitions(batch: Batch) -> Transitions:
    """The real steps of a batch, item after item, each by itself; robots' observations and states tamed."""
    real = batch.mask
    obs, state = batch.obs[:, :-1][real], batch.state[:, :-1][real]
    if batch.actions.is_floating_point():
        obs, state = tamed(obs), tamed(state)
    return Transitions(
        actions=batch.actions[real], rewards=batch.rewards[real], obs=obs, state=state, alive=batch.alive[:, :-1][real]
    )


def sample_steps(
    dataset: Dataset, config: SITConfig, generator: np.random.Generator, device: torch.device | str
) -> Batch:
    """A batch of stage I: uniformly drawn episodes, whole or thinned to ``decompose_transitions`` single steps."""
    episodes = generator.integers(len(dataset), size=config.decompose_episodes)
    lengths = dataset.lengths[episodes]
    keep, total = config.decompose_transitions, int(lengths.sum())
    if not keep or keep >= total:
        return dataset.batch(episodes, device=device)
    picked = generator.permutation(total)[:keep]
    ends = np.cumsum(lengths)
    item = np.searchsorted(ends, picked, side="right")
    return dataset.batch(episodes[item], starts=picked - (ends - lengths)[item], window=1, device=device)


class ARDNEM(nn.Module):
    """M decomposition networks: from states, observations and actions to λ and r of every agent.

    With ``standardise_reward`` it learns z = (r_tot − mean) / std; ``in_reward`` turns that back into reward: each
    agent gets std · λ_i f_i + mean / N, dead or alive. So the parts still sum to r̂_tot and the mean favours nobody.
    (Shared by the living only, it went to the last survivors: on 2s3z those who had kept out of the fight then came
    out ahead of those who fought and fell.)

    With ``decomposer="monotonic"`` (Appendix E.1) λ is 1 for everyone present and the r_i are mixed into r̂_tot by
    ``MonotonicMixing``; what an agent is credited with is its r_i, which then sum to nothing in particular.

    Args:
        spec: the environment, discrete or continuous.
        config: sizes and switches.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: EnvSpec, config: SITConfig) -> None:
        super().__init__()
        self.spec, self.config = spec, config
        m, hidden, width = config.members, config.attention_hidden, config.reward_hidden
        self.n_types = len(spec.types) if len(spec.types) > 1 else 0
        pair = spec.O + spec.A + self.n_types
        self.reward_in = MemberLinear(m, pair, width)
        self.reward_mid = MemberLinear(m, width, width)
        self.reward_out = MemberLinear(m, width, 1)
        self.mixing = MonotonicMixing(spec.S, spec.N, config) if config.decomposer == "monotonic" else None
        if self.attends:
            self.pair_in, self.pair_out = MemberLinear(m, pair, hidden), MemberLinear(m, hidden, hidden)
            self.state_in, self.state_out = MemberLinear(m, spec.S, hidden), MemberLinear(m, hidden, hidden)
            bound = hidden**-0.5
            self.W_q = nn.Parameter(torch.empty(m, hidden, hidden).uniform_(-bound, bound))
            self.W_k = nn.Parameter(torch.empty(m, hidden, hidden).uniform_(-bound, bound))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        kinds = torch.tensor(spec.type_index)
        self.register_buffer("kinds", one_hot(kinds, self.n_types), persistent=False)

    @property
    def attends(self) -> bool:
        """Whether λ is learnt (Eq. 1) and not 1 for every agent."""
        return self.config.attention and self.mixing is None

    def measure_reward(self, dataset: Dataset) -> None:
        """Store mean and standard deviation of the dataset's rewards (0 and 1 without ``standardise_reward``)."""
        if self.config.standardise_reward:
            lengths, offsets = dataset.lengths, np.cumsum(dataset.lengths) - dataset.lengths
            rows = np.arange(lengths.sum()) + np.repeat(dataset.row_starts - offsets, lengths)
            rewards = dataset.columns["rewards"].take(rows).astype(np.float64)
            self.mean.fill_(rewards.mean())
            self.std.fill_(max(rewards.std(), LEAST_STD))

    def present(self, data: Transitions) -> Bool[Tensor, "K N"]:
        """Which agents take part in the decomposition."""
        return data.alive if self.config.mask_dead else torch.ones_like(data.alive)

    def forward(self, data: Transitions) -> tuple[Float[Tensor, "M K N"], Float[Tensor, "M K N"]]:
        """λ and r (in the unit that is learnt) of every member, transition and agent."""
        K, N = data.obs.shape[:2]
        actions = one_hot(data.actions, self.spec.A) if self.spec.discrete else data.actions
        kinds = self.get_buffer("kinds").expand(K, N, self.n_types)
        m = self.config.members
        pairs = spread(torch.cat([data.obs, actions, kinds], -1).flatten(0, 1), m)
        present = self.present(data)
        r = column(self.reward_mid, self.reward_out, self.reward_in.rectified(pairs)).view(m, K, N)
        if not self.attends:
            return present.float().expand_as(r), r
        e_s = self.state_out(self.state_in.rectified(spread(data.state, m)))
        # e_i = P ReLU(V x_i + v) + p. W_k P takes the place of W_k, so that P meets the K states and not all K·N
        # agents; p adds the same to the scores of all agents of a transition, which the softmax does not see.
        q = query(e_s, self.W_q, self.W_k @ self.pair_out.weight.transpose(1, 2))
        scores = rectified_dots(self.pair_in.product(pairs).view(m, K, N, -1), self.pair_in.bias.squeeze(1), q)
        return contribution_weights(scores, present), r

    def loss(self, data: Transitions) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Eq. (3) on a batch, and what to log.

        The loss, explained variance, entropy of λ, the members' agreement, and as ``reward/AGENT`` the mean decomposed
        reward of a step that the agent takes part in (Figure 3a, 3d).
        """
        lam, r = self(data)
        target = (data.rewards - self.mean) / self.std
        predicted = total_reward(lam, r) if self.mixing is None else self.mixing(lam * r, data.state)
        loss = decomposition_loss(predicted, target)
        with torch.no_grad():
            metrics = {
                "loss": loss.detach(),
                "explained_variance": 1 - loss / target.var(correction=0).clamp(min=LEAST_STD),
                "lambda_entropy": entropy(lam, self.present(data)),
                "agreement": agreement((lam * r)[:, self.present(data)]),
            }
            rewards = mean_while_present(self.in_reward(lam * r).mean(0), self.present(data))
            metrics |= {f"reward/{name}": x for name, x in zip(self.spec.agents, rewards.unbind(), strict=True)}
        return loss, metrics

    def in_reward(self, weighted: Float[Tensor, "M K N"]) -> Float[Tensor, "M K N"]:
        """λ_i r_i as learnt → in units of reward, summing over the agents to r̂_tot."""
        return self.std * weighted + self.mean / self.spec.N


def entropy(lam: Float[Tensor, "M K N"], present: Bool[Tensor, "K N"]) -> Float[Tensor, ""]:
    """Mean entropy of λ as a share of the greatest possible (1: even, 0: one agent takes all); alone does not count."""
    many = present.sum(-1) > 1
    value = -torch.xlogy(lam, lam).sum(-1) / present.sum(-1).clamp(min=2).log()
    return (value * many).sum() / (many.sum() * len(lam)).clamp(min=1)


def mean_while_present(values: Float[Tensor, "K N"], present: Bool[Tensor, "K N"]) -> Float[Tensor, " N"]:
    """Mean of each agent over the transitions that it takes part in; 0 if there is none."""
    return (values * present).sum(0) / present.sum(0).clamp(min=1)


def agreement(weighted: Float[Tensor, "M L"]) -> Float[Tensor, ""]:
    """Mean pairwise correlation between the members' λ r; 1 if there is one member.

    From Σ_pairs corr = (‖Σ_m z_m‖² − M) / 2 for standardised z_m.
    """
    M = len(weighted)
    if M == 1:
        return weighted.new_ones(())
    z = weighted - weighted.mean(1, keepdim=True)
    z = z / z.norm(dim=1, keepdim=True).clamp(min=LEAST_STD)
    pairs: Tensor = (z.sum(0).square().sum() - M) / (M * (M - 1))
    return pairs
