"""All datasets together: interquartile means with intervals, and how likely one agent beats another.

Scores are normalised (uniformly random play 0, the pool's best policy 100), since returns of different maps cannot be
added. Only datasets on which every agent of the report was scored count, so nobody is judged on easier ones.
Agarwal et al. (2021, arXiv:2108.13264).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from offmarl_bench.results import Result
from offmarl_bench.stats import bootstrap_interval, interquartile_mean, interquartile_means, probability_of_improvement

BOOTSTRAP_SEED = 0
"""Every agent is resampled from this seed anew: its interval depends on its own scores only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """One agent over all datasets that all agents share."""

    column: int
    """Its column in the report."""
    datasets: int
    runs: int
    """Scores that went in: seeds of all those datasets."""
    iqm: float
    """Interquartile mean of the normalised greedy scores."""
    interval: tuple[float, float] | None
    """Stratified bootstrap 95 % interval of it; None where a dataset has a single seed."""
    improvement: tuple[float | None, ...]
    """For every column the probability that a run of this agent beats one of that agent; None for itself."""


def seed_scores(results: Sequence[Result]) -> list[float]:
    """Normalised greedy score of each seed; empty where the data has no references."""
    return [score for r in results if (score := r.normalised(r.mean)) is not None]


def aggregate(cells: Sequence[Sequence[Sequence[Result] | None]]) -> tuple[Aggregate, ...]:
    """One ``Aggregate`` per column.

    Args:
        cells: for every dataset and column the results (one per seed), None where there are none.

    Returns:
        Empty if fewer than two columns share a dataset: there is nothing to compare.
    """
    scores = [[None if c is None else seed_scores(c) for c in row] for row in cells]
    shared = [[s for s in row if s] for row in scores if row and all(row)]
    if not shared or len(shared[0]) < 2:
        return ()
    found = []
    for k in range(len(shared[0])):
        strata = [row[k] for row in shared]
        known = all(len(s) > 1 for s in strata)
        generator = np.random.default_rng(BOOTSTRAP_SEED)
        found.append(
            Aggregate(
                column=k,
                datasets=len(shared),
                runs=sum(map(len, strata)),
                iqm=interquartile_mean([score for s in strata for score in s]),
                interval=bootstrap_interval(strata, generator, interquartile_means) if known else None,
                improvement=tuple(
                    None if j == k else probability_of_improvement(strata, [row[j] for row in shared])
                    for j in range(len(shared[0]))
                ),
            )
        )
    return tuple(found)
