"""Does a claim agree with a replay? An exact test, and the interval that it is.

If both were made by the same policy, the claimed returns and the replayed ones are draws from one distribution, so
which of them are called "claimed" is arbitrary. Relabelling them at random (within each training seed) shows how far
the two means are apart by chance alone; Phipson & Smyth (2010, arXiv:1603.05766) count the observed labelling as one of
them, which makes the error rate exact for any number of relabellings and any distribution of returns. All comparisons
of a submission share one error rate, in equal parts (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from offmarl_bench.errors import FormatError

ERROR_RATE = 0.01
"""Chance that an honest submission is said to differ, over all its comparisons together."""
RELABELLINGS_PER_TAIL = 4
"""Relabellings that are expected beyond the interval; more make its ends less random."""
BLOCK = 2048
"""Relabellings drawn at a time."""
ROUNDING = 1e-9
"""Differences that are rounding and nothing else, in relation to the largest value."""


class Agreement(NamedTuple):
    """One comparison."""

    claimed: float
    replayed: float
    low: float
    high: float

    @property
    def agrees(self) -> bool:
        """No difference at all is among the differences that the interval holds."""
        return self.low <= 0.0 <= self.high


def relabelled(
    strata: Sequence[tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " m"]]],
    count: int,
    generator: np.random.Generator,
) -> Float64[np.ndarray, " R"]:
    """Differences of means, averaged over strata, under ``count`` random relabellings within each stratum."""
    total = np.zeros(count)
    for claimed, replayed in strata:
        pooled, n = np.concatenate([claimed, replayed]), len(claimed)
        for first in range(0, count, BLOCK):
            rows = min(BLOCK, count - first)
            drawn = generator.permuted(np.broadcast_to(pooled, (rows, len(pooled))), axis=1)
            total[first : first + rows] += drawn[:, :n].mean(1) - drawn[:, n:].mean(1)
    return total / len(strata)


def compare(
    claimed: Sequence[Sequence[float] | Float64[np.ndarray, " n"]],
    replayed: Sequence[Sequence[float] | Float64[np.ndarray, " m"]],
    generator: np.random.Generator,
    *,
    error_rate: float = ERROR_RATE,
) -> Agreement:
    """Compare claimed with replayed episodes, stratum by stratum (training seeds).

    Args:
        claimed: for each stratum one number per episode.
        replayed: the same strata.
        generator: decides the relabellings.
        error_rate: chance that equal policies are said to differ.

    Returns:
        Both means (over strata of means), and an interval for their difference that leaves out 0 with the
        chance ``error_rate`` at most if nothing but chance tells the two apart.

    Raises:
        FormatError: no strata, or other strata on the other side.
    """
    if not claimed or len(claimed) != len(replayed) or not all(map(len, [*claimed, *replayed])):
        raise FormatError(f"{len(claimed)} strata claimed, {len(replayed)} replayed: expected the same, none empty")
    strata = [(np.asarray(c, np.float64), np.asarray(r, np.float64)) for c, r in zip(claimed, replayed, strict=True)]
    ours, theirs = (float(np.mean([pair[k].mean() for pair in strata])) for k in range(2))
    count = math.ceil(RELABELLINGS_PER_TAIL / error_rate) - 1
    chance = np.sort(np.abs(relabelled(strata, count, generator)))
    # At most ``beyond`` − 1 relabellings may reach the observed difference, which itself is the last of ``beyond``.
    beyond = math.floor(error_rate * (count + 1))
    largest = max(float(np.abs(np.concatenate(pair)).max()) for pair in strata)
    half = float(chance[-beyond]) + ROUNDING * max(largest, 1.0)
    return Agreement(ours, theirs, ours - theirs - half, ours - theirs + half)
