"""Stage II: decomposed prioritised experience replay (DPER), Eq. (4) to Eq. (7).

Every joint episode k becomes N individual trajectories (k, j); those of one agent type share a buffer, from which
any agent of the type learns. A trajectory is not copied: it is the pair (k, j), and teammates' observations come
from its own episode. Arithmetic is float64, since priorities span a hundred powers of e.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64

from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.loader import Dataset
from offmarl_bench.types import Batch
from sit.ardnem import ARDNEM, agreement, entropy, transitions
from sit.config import AUTO, SITConfig
from sit.sum_tree import CumulativeSampler, Sampler, SumTree

ALPHA_BOUNDS = (1e-4, 1e6)
"""Between these temperatures ``alpha = "auto"`` is searched: all weight on the best … uniform."""
BISECTIONS = 60
"""Halvings of log α; 60 exhaust float64."""
LEAST_SCALE = 1e-6
"""Buffers whose returns never vary are scaled by this instead of their standard deviation of 0."""


def individual_reward(weighted: Float64[np.ndarray, "M *L"]) -> Float64[np.ndarray, "*L"]:
    """r̂_i = mean over members of λ_i,m r_i,m. Eq. (4)."""
    mean: Float64[np.ndarray, "*L"] = weighted.mean(0)
    return mean


def uncertainty(weighted: Float64[np.ndarray, "M *L"]) -> Float64[np.ndarray, "*L"]:
    """û_i = √(mean over members of (λ_i,m r_i,m − r̂_i)²). Eq. (5)."""
    return np.asarray(np.sqrt(np.square(weighted - individual_reward(weighted)).mean(0)))


def monte_carlo_return(reward: Float64[np.ndarray, "B T *L"], gamma: float) -> Float64[np.ndarray, "B T *L"]:
    """ĝ_t = Σ_{t' ≥ t} γ^(t' − t) r̂_t'. Eq. (6), whose printed exponent t − t' is a slip of sign.

    Args:
        reward: r̂, zero beyond an episode's end.
        gamma: γ.
    """
    out = np.array(reward, np.float64)
    for t in range(out.shape[1] - 2, -1, -1):
        out[:, t] += gamma * out[:, t + 1]
    return out


def trajectory_priority(
    g: Float64[np.ndarray, "B T N"], present: Bool[np.ndarray, "B T N"]
) -> Float64[np.ndarray, "B N"]:
    """p̂ = (1/T) Σ_t ĝ_t over the T steps of each individual trajectory; the text above Eq. (7).

    Args:
        g: ĝ.
        present: steps that belong to the trajectory: those of its own episode, and (with ``mask_dead``) only while the
            agent lives. The steps after a death, with little left to earn, would count an early fight against it.
    """
    return np.asarray((g * present).sum(1) / np.maximum(present.sum(1), 1))


def rescale(priority: Float64[np.ndarray, " K"], top: float) -> Float64[np.ndarray, " K"]:
    """Linear to [0, top], as the text below Eq. (7) asks; all 0 where priorities do not differ."""
    low, high = priority.min(), priority.max()
    return top * (priority - low) / (high - low) if high > low else np.zeros_like(priority)


def sampling_probability(priority: Float64[np.ndarray, " K"], alpha: float) -> Float64[np.ndarray, " K"]:
    """Softmax p ∝ exp(p̂ / α) over all trajectories of a type, the greatest exponent taken out. Eq. (7)."""
    weights = np.exp((priority - priority.max()) / alpha)
    return np.asarray(weights / weights.sum())


def effective_sample(probability: Float64[np.ndarray, " K"]) -> float:
    """1 / Σ p²: how many equally likely trajectories the distribution is worth."""
    return float(1 / np.square(probability).sum())


def temperature(priority: Float64[np.ndarray, " K"], share: float) -> float:
    """The α of Eq. (7) at which the effective sample is ``share`` of the K trajectories, by bisection.

    The effective sample grows with α. Where it cannot be met (too many equal priorities) the nearest bound is given.
    """
    low, high = np.log(ALPHA_BOUNDS)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if effective_sample(sampling_probability(priority, float(np.exp(middle)))) < share * len(priority):
            low = middle
        else:
            high = middle
    return float(np.exp(high))


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeBuffer:
    """𝔹_J: all individual trajectories of one agent type, with their probabilities."""

    name: str
    """The agent type."""
    agents: Int64[np.ndarray, " J"]
    """𝕁, the agents of this type; trajectory e·|𝕁| + a is agent ``agents[a]`` in episode e."""
    priority: Float64[np.ndarray, " K"]
    """p̂ after rescaling."""
    probability: Float64[np.ndarray, " K"]
    """p of Eq. (7)."""
    alpha: float
    """Temperature in use; infinite if priorities are switched off."""
    sampler: Sampler
    reward_scale: float
    """Standard deviation of ĝ over the living steps of this type."""
    return_mean: float
    """Mean of the same."""
    median_uncertainty: float
    """Median of û over the same."""

    def sample(self, n: int, generator: np.random.Generator) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """(episodes, agents) of n trajectories drawn by P_J."""
        episode, member = np.divmod(self.sampler.sample(n, generator), len(self.agents))
        return episode, self.agents[member]


def type_buffer(
    name: str,
    agents: Int64[np.ndarray, " J"],
    raw_priority: Float64[np.ndarray, "E J"],
    config: SITConfig,
    *,
    returns: Float[np.ndarray, " L"],
    uncertainties: Float[np.ndarray, " L"],
) -> TypeBuffer:
    """Build a buffer from raw priorities and from ĝ and û of all its living steps."""
    priority = rescale(raw_priority.ravel(), config.priority_range)
    alpha = np.inf
    if config.priority:
        alpha = temperature(priority, config.effective_share) if config.alpha == AUTO else float(config.alpha)
    probability = sampling_probability(priority, alpha)
    make = SumTree if config.sampler == "sum-tree" else CumulativeSampler
    return TypeBuffer(
        name=name, agents=agents, priority=priority, probability=probability, alpha=alpha, sampler=make(probability),
        reward_scale=max(float(returns.std(dtype=np.float64)), LEAST_SCALE),
        return_mean=float(returns.mean(dtype=np.float64)), median_uncertainty=float(np.median(uncertainties)),
    )  # fmt: skip


class DPER:
    """The whole replay, filled chunk by chunk; ``finish`` turns it into one buffer per agent type.

    Chunks are always the same episodes and may be filled in any order, so a resumed run gets the same replay.

    Args:
        dataset: what to decompose; not copied.
        config: stage II settings.
    """

    def __init__(self, dataset: Dataset, config: SITConfig) -> None:
        if not len(dataset):
            raise FormatError(f"{dataset!r} is empty: there are no trajectories to share; loosen the filter")
        self.dataset, self.config, self.spec = dataset, config, dataset.spec
        self.lengths = dataset.lengths
        self.offsets = np.cumsum(self.lengths) - self.lengths
        steps = int(self.lengths.sum())
        self.reward: Float32[np.ndarray, "L N"] = np.zeros((steps, self.spec.N), np.float32)
        """r̂ of every step, episode after episode."""
        self.uncertainty = np.zeros_like(self.reward)
        self.returns = np.zeros_like(self.reward)
        self.present = np.zeros(self.reward.shape, bool)
        """Which agents took part in each step."""
        self.raw_priority = np.full((len(dataset), self.spec.N), np.nan)
        self.chunks = -(-len(dataset) // config.share_episodes)
        self.buffers: tuple[TypeBuffer, ...] = ()

    def next_chunk(self) -> Int64[np.ndarray, " B"]:
        """Episodes of the first chunk that has not been filled; empty when all are."""
        missing = np.flatnonzero(np.isnan(self.raw_priority[:, 0]))
        if not len(missing):
            return missing
        size = self.config.share_episodes
        first = int(missing[0]) // size * size
        return np.arange(first, min(first + size, len(self.dataset)))

    @torch.no_grad()
    def fill(self, batch: Batch, network: ARDNEM) -> dict[str, float]:
        """Decompose one chunk with stage I's network, Eq. (4) to Eq. (6); returns what to log.

        Args:
            batch: the whole episodes of ``next_chunk()``.
            network: stage I's result.

        Raises:
            OffmarlError: a trajectory whose worth is not finite; nothing could be drawn by it.
        """
        episodes = batch.episodes.cpu().numpy()
        data = transitions(batch)
        present = network.present(data)
        if self.config.decomposition:
            lam, individual = network(data)
            logged = {
                "agreement": float(agreement((lam * individual)[:, present])),
                "lambda_entropy": float(entropy(lam, present)),
            }
            weighted = network.in_reward(lam * individual)
        else:  # the ablation "w/o decomp": the whole reward to everyone
            weighted, logged = (data.rewards[:, None] * present).unsqueeze(0), {}
        parts = weighted.double().cpu().numpy()
        r, u = individual_reward(parts), uncertainty(parts)
        if self.config.decomposition:
            logged["residual"] = float(np.sqrt(np.square(r.sum(-1) - data.rewards.cpu().numpy()).mean()))

        real = batch.mask.cpu().numpy()
        padded = np.zeros((*real.shape, self.spec.N))
        padded[real] = r
        alive = np.zeros(padded.shape, bool)
        alive[real] = present.cpu().numpy()
        g = monte_carlo_return(padded, self.config.gamma)
        flat = slice(int(self.offsets[episodes[0]]), int(self.offsets[episodes[0]]) + len(r))
        self.reward[flat], self.uncertainty[flat], self.returns[flat] = r, u, g[real]
        self.present[flat] = alive[real]
        worth = trajectory_priority(g, alive)
        if not np.isfinite(worth).all():
            first = int(episodes[np.flatnonzero(~np.isfinite(worth).all(-1))[0]])
            raise OffmarlError(
                f"stage II stopped: the individual return of episode {first} is not finite; checkpoints are kept; "
                "check the rewards with `offmarl-bench verify`, or lower decompose_lr and train anew"
            )
        self.raw_priority[episodes] = worth
        return logged

    def finish(self) -> None:
        """Build the buffers, Eq. (7); every chunk must have been filled.

        Raises:
            FormatError: the priorities should be the known behaviour levels (``oracle``), but the data has none.
        """
        if self.config.oracle:
            levels = self.dataset.levels
            if (levels < 0).any():
                raise FormatError(
                    f"{self.dataset!r} does not say at which level every agent was played, so there is no oracle; "
                    "take another agent, or data with behavior_level"
                )
            self.raw_priority = levels.astype(np.float64)
        kinds = np.array(self.spec.type_index)
        groups = [np.flatnonzero(kinds == k) for k in range(len(self.spec.types))]
        self.buffers = tuple(
            type_buffer(
                name, agents, self.raw_priority[:, agents], self.config,
                returns=self.returns[:, agents][self.present[:, agents]],
                uncertainties=self.uncertainty[:, agents][self.present[:, agents]],
            )
            for name, agents in zip(self.spec.types, groups, strict=True)
        )  # fmt: skip

    def individual(
        self, values: Float32[np.ndarray, "L N"], episodes: Int64[np.ndarray, " B"], agents: Int64[np.ndarray, " B"]
    ) -> Float32[np.ndarray, "B T"]:
        """Values of these trajectories, padded with 0 to the longest."""
        lengths = self.lengths[episodes]
        clock = np.arange(lengths.max())
        real = clock[None] < lengths[:, None]
        rows = self.offsets[episodes][:, None] + np.minimum(clock[None], lengths[:, None] - 1)
        return np.asarray(values[rows, agents[:, None]] * real)
