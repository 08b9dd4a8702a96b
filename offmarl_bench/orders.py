"""Where our order of agents on a dataset is not the paper's: one sentence, with how many pairs and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True, slots=True)
class Standing:
    """One agent on one dataset."""

    name: str
    ours: float
    """Mean greedy return."""
    interval: tuple[float, float] | None
    """Its 95 % bootstrap interval; None for a single seed."""
    paper: float
    """The paper's mean."""


def _apart(a: Standing, b: Standing) -> bool:
    if a.interval is None or b.interval is None:
        return False
    return a.interval[1] < b.interval[0] or b.interval[1] < a.interval[0]


def _listed(standings: Sequence[Standing], values: Sequence[float]) -> str:
    ranked = sorted(zip(values, standings, strict=True), key=lambda pair: -pair[0])
    return ", ".join(s.name for _, s in ranked)


def order_sentence(label: str, standings: Sequence[Standing]) -> str | None:
    """What differs, or None where every pair of agents stands as in the paper (equal values contradict nothing).

    Args:
        label: the dataset's.
        standings: agents for which the paper has a value, in any order.
    """
    swapped = [(a, b) for a, b in combinations(standings, 2) if (a.ours - b.ours) * (a.paper - b.paper) < 0]
    if not swapped:
        return None
    sure = sum(_apart(a, b) for a, b in swapped)
    pairs = len(standings) * (len(standings) - 1) // 2
    return (
        f"{label}: best to worst {_listed(standings, [s.ours for s in standings])}; in the paper "
        f"{_listed(standings, [s.paper for s in standings])}: {len(swapped)} of {pairs} pairs the other way round, "
        f"{sure} beyond our 95 % intervals"
    )
