"""Statistics, each against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from offmarl_bench.errors import FormatError
from offmarl_bench.stats import (
    bootstrap_interval,
    interquartile_mean,
    interquartile_means,
    mean_std,
    performance_profile,
    probability_of_improvement,
)


def test_mean_and_sample_deviation() -> None:
    mean, std = mean_std([1.0, 2.0, 6.0])
    assert (mean, std) == (3.0, np.sqrt((4 + 1 + 9) / 2))
    assert mean_std([5.0]) == (5.0, None)


def test_interquartile_mean_ignores_the_outer_quarters() -> None:
    assert interquartile_mean([-1000.0, 1.0, 3.0, 1000.0]) == 2.0
    assert interquartile_mean([9.0, 0.0, 3.0]) == 4.0  # fewer than four scores: nothing to cut


def test_point_estimates_are_those_of_rliable() -> None:
    """Its IQM is ``scipy.stats.trim_mean(x, 0.25)`` of all runs of all tasks together, which cuts ⌊n/4⌋ at each end."""
    tasks = [[0.0, 10.0, 20.0], [40.0, 50.0, 90.0, 1000.0]]  # seven runs: one is cut at each end
    assert interquartile_mean(np.concatenate(tasks)) == (10 + 20 + 40 + 50 + 90) / 5
    assert interquartile_mean(np.arange(8.0) ** 2) == (4 + 9 + 16 + 25) / 4
    # P(X > Y) = Mann–Whitney U / (n m), averaged over tasks: U = 4 of 4 and, with one tie, 2.5 of 4.
    ours, theirs = [[3.0, 4.0], [1.0, 2.0]], [[1.0, 2.0], [0.0, 2.0]]
    assert probability_of_improvement(ours, theirs) == (4 / 4 + 2.5 / 4) / 2
    # Profiles count scores strictly above τ.
    assert performance_profile([[0.5, 1.0]], np.array([0.5, 1.0])).tolist() == [0.5, 0.0]


def test_bootstrap_of_two_values_by_hand() -> None:
    # Means of resamples of {0, 1} are 0, 1/2, 1 with probability 1/4, 1/2, 1/4: the middle 40 % is 1/2 alone.
    generator = np.random.default_rng(0)
    assert bootstrap_interval([[0.0, 1.0]], generator, confidence=0.4) == (0.5, 0.5)
    assert bootstrap_interval([[0.0, 1.0]], generator, confidence=0.95) == (0.0, 1.0)


def test_strata_are_never_mixed() -> None:
    # Were the strata pooled, resamples of {0, 0, 100, 100} would spread from 0 to 100.
    low, high = bootstrap_interval([[0.0, 0.0], [100.0, 100.0]], np.random.default_rng(0))
    assert (low, high) == (50.0, 50.0)


def test_the_same_generator_gives_the_same_interval() -> None:
    scores = [np.arange(5.0), np.arange(3.0) ** 2]
    one, two = (bootstrap_interval(scores, np.random.default_rng(7), interquartile_means) for _ in range(2))
    assert one == two
    assert one[0] < interquartile_mean(np.concatenate(scores)) < one[1]


def test_probability_of_improvement_by_hand() -> None:
    # Pairs (1,0) (1,2) (2,0) (2,2): two wins, one loss, one draw.
    assert probability_of_improvement([[1.0, 2.0]], [[0.0, 2.0]]) == 2.5 / 4
    assert probability_of_improvement([[1.0], [0.0]], [[0.0], [1.0]]) == 0.5


def test_performance_profile_by_hand() -> None:
    # Above 1: one of two runs of the first task, both of the second, the tasks weighing the same.
    profile = performance_profile([[1.0, 2.0], [3.0, 4.0, 5.0]], np.array([-1.0, 1.0, 3.0, 9.0]))
    assert profile.tolist() == pytest.approx([1.0, (0.5 + 1) / 2, (0 + 2 / 3) / 2, 0.0])


def test_bad_scores() -> None:
    with pytest.raises(FormatError, match="no strata"):
        performance_profile([], np.array([0.0]))
    with pytest.raises(FormatError, match="expected at least one finite number"):
        mean_std([])
    with pytest.raises(FormatError, match="expected at least one finite number"):
        interquartile_mean([1.0, float("nan")])
    with pytest.raises(FormatError, match="no strata"):
        bootstrap_interval([], np.random.default_rng(0))
    with pytest.raises(FormatError, match="1 tasks against 0"):
        probability_of_improvement([[1.0]], [])
