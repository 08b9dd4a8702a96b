"""Rank groups: places that are only as fine as the evidence.

Every ranked entry has an estimate and an interval. Walk down the estimates, the best first. The first entry leads
group 1. Each next entry belongs to the group of the entry before it as long as its interval overlaps (or touches) the
interval of that group's *leader*; the first that does not leads the next group. So

- groups are contiguous: nobody stands in a better group than an entry with a higher estimate;
- nobody can be told from the leader of the own group, and every leader can be told from the leader before it;
- a wide interval does not buy a better place: who falls behind a group that somebody better was already told apart
  from, falls into the later group;
- neighbours on the two sides of a border may overlap. A border says that the *leaders* differ, no more.

Chains ("a overlaps b, b overlaps c, so all are equal") are what this rule avoids: many entries would be one group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from offmarl_bench.errors import FormatError


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value and how well it is known.

    Raises:
        FormatError: a number that is not finite, or an interval that is upside down.
    """

    value: float
    """Point estimate, in points of the normalised score."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.value, self.low, self.high))) or self.low > self.high:
            raise FormatError(
                f"estimate {self.value} with interval [{self.low}, {self.high}]: expected finite numbers, low ≤ high"
            )

    def overlaps(self, other: Estimate) -> bool:
        """Whether the two intervals share a point; ends that touch do."""
        return self.low <= other.high and other.low <= self.high


def rank_groups(estimates: Sequence[Estimate]) -> list[int]:
    """Group of each estimate, 1 the best, in the order given. The rule is the text at the head of this module."""
    order = sorted(range(len(estimates)), key=lambda k: -estimates[k].value)
    groups = [0] * len(estimates)
    leader: Estimate | None = None
    group = 0
    for k in order:
        if leader is None or not estimates[k].overlaps(leader):
            leader = estimates[k]
            group += 1
        groups[k] = group
    return groups
