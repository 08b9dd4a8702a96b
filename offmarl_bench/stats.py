"""Statistics of a handful of seeds, as Agarwal et al. (2021, arXiv:2108.13264) recommend them.

A stratum is one task (a dataset); its scores are one number per seed. Resampling keeps the strata apart, so an easy
task never stands in for a hard one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Float64

from offmarl_bench.errors import FormatError

RESAMPLES = 2000
"""Bootstrap resamples: the ends of a 95 % interval are then known to about 3 % of its width."""
CONFIDENCE = 0.95
TRIM = 0.25
"""Part cut off at each end for the interquartile mean."""

Statistic = Callable[[Float64[np.ndarray, "K n"]], Float64[np.ndarray, " K"]]


def _checked(scores: Sequence[float] | Float[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    found = np.asarray(scores, np.float64)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise FormatError(f"scores of shape {found.shape}: expected at least one finite number, one for each seed")
    return found


def mean_std(scores: Sequence[float] | Float[np.ndarray, " n"]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n − 1); the deviation of a single seed is None: nothing is known of it.

    Raises:
        FormatError: no scores, or one that is not finite.
    """
    x = _checked(scores)
    return float(x.mean()), float(x.std(ddof=1)) if len(x) > 1 else None


def means(x: Float64[np.ndarray, "K n"]) -> Float64[np.ndarray, " K"]:
    """Mean of each row."""
    return np.asarray(x.mean(-1))


def interquartile_means(x: Float64[np.ndarray, "K n"]) -> Float64[np.ndarray, " K"]:
    """Mean of the middle half of each row: ⌊n/4⌋ values are cut at each end. Section 4.3, arXiv:2108.13264."""
    cut = int(TRIM * x.shape[-1])
    return np.asarray(np.sort(x, -1)[..., cut : x.shape[-1] - cut].mean(-1))


def interquartile_mean(scores: Sequence[float] | Float[np.ndarray, " n"]) -> float:
    """Mean of the middle half of the scores. Raises FormatError on none or on one that is not finite."""
    return float(interquartile_means(_checked(scores)[None])[0])


def bootstrap_interval(
    strata: Sequence[Sequence[float] | Float[np.ndarray, " n"]],
    generator: np.random.Generator,
    statistic: Statistic = means,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> tuple[float, float]:
    """Percentile interval of a statistic of all scores, resampling seeds within each stratum.

    Args:
        strata: for each task its scores, one per seed.
        generator: the only source of randomness.
        statistic: row-wise, e.g. ``means`` or ``interquartile_means``.
        resamples: how many times.
        confidence: probability mass between the two ends.

    Raises:
        FormatError: no strata, an empty one, or a score that is not finite.
    """
    if not strata:
        raise FormatError("no strata: give the scores of at least one task")
    drawn = []
    for scores in strata:
        x = _checked(scores)
        drawn.append(x[generator.integers(len(x), size=(resamples, len(x)))])
    values = statistic(np.concatenate(drawn, axis=-1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def probability_of_improvement(
    ours: Sequence[Sequence[float] | Float[np.ndarray, " n"]],
    theirs: Sequence[Sequence[float] | Float[np.ndarray, " n"]],
) -> float:
    """Probability that a seed of ours beats one of theirs on a random task; a draw counts one half.

    The mean over tasks of the Mann–Whitney statistic. Section 4.3, arXiv:2108.13264.

    Raises:
        FormatError: different numbers of tasks, or scores that are missing or not finite.
    """
    if len(ours) != len(theirs) or not ours:
        raise FormatError(f"{len(ours)} tasks against {len(theirs)}: expected the same tasks on both sides")
    per_task = []
    for a, b in zip(ours, theirs, strict=True):
        x, y = _checked(a)[:, None], _checked(b)[None, :]
        per_task.append(float(((x > y) + 0.5 * (x == y)).mean()))
    return float(np.mean(per_task))


def performance_profile(
    strata: Sequence[Sequence[float] | Float[np.ndarray, " n"]], thresholds: Float[np.ndarray, " K"]
) -> Float64[np.ndarray, " K"]:
    """For each τ the share of runs that score above τ, every task weighing the same. Eq. (5), arXiv:2108.13264.

    Args:
        strata: for each task its scores, one per seed.
        thresholds: τ.

    Raises:
        FormatError: no strata, an empty one, or a score that is not finite.
    """
    if not strata:
        raise FormatError("no strata: give the scores of at least one task")
    tau = np.asarray(thresholds, np.float64)
    return np.mean([(_checked(s)[:, None] > tau).mean(0) for s in strata], axis=0)  # type: ignore[no-any-return]
