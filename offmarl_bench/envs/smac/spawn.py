"""Where a map's script puts its units: two groups, each packed around one point as the game packs them.

The real game's first observation of 2s3z shows the rule: the first unit stands on the point itself, the next ones
round it, a unit keeping its inner radius plus the separation radius of its neighbour, plus a small gap. In
which order directions are tried is known from that one map only; nobody has published other maps' places.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from jaxtyping import Bool

from offmarl_bench.envs.smac.units import UNITS
from offmarl_bench.errors import SpecMismatch

Point = tuple[float, float]

ALLY_POINT: Point = (9.0, 16.0)
ENEMY_POINT: Point = (23.0, 16.0)
"""Where the scripts create the two groups, and where enemies are sent: to the allies' point."""
GAP = 1.0 / 16.0 + 1.0 / 1024.0
"""Room between units that the game has just placed: its usual slack, and its grid of 1/1024."""
DIRECTIONS = (270, 315, 135, 45, 225, 0, 180, 90)
"""Degrees, in the order in which they are tried; the first four are the published places of 2s3z."""
TURNS = (0, 4, -4, 8, -8, 12, -12, 16, -16, 20, -20)
"""Degrees by which a place that is taken is moved along its ring before the next direction is tried."""
RING_STEP = 1.0 / 16.0
"""How much wider the next ring is when one is full."""
SAMPLES = 4
"""Points a cell at which the way to a place is looked at."""
FARTHEST = 45.0
"""Cells; no map is larger."""
ROUNDING = 1e-9
"""A ring touches the first unit exactly; this much is no overlap."""


def room(new: str, old: str) -> float:
    """Least distance between the centres of a new unit and one already placed; 0 on different layers."""
    a, b = UNITS[new], UNITS[old]
    return a.inner + b.separation + GAP if a.layer == b.layer else 0.0


Free = Bool[np.ndarray, "X Y"]
"""Cells on which units may be put, indexed [x, y]; None: all."""


def group(created: tuple[str, ...], point: Point, free: Free | None = None) -> tuple[Point, ...]:
    """Places of units created one after another at ``point``, in that order. Raises SpecMismatch: no room."""
    placed: list[Point] = []
    full: dict[str, float] = {}
    for i, unit in enumerate(created):
        placed.append(point if i == 0 else _nearest_free(unit, created, placed, free, full))
    return tuple(placed)


def _nearest_free(
    unit: str, created: tuple[str, ...], placed: list[Point], free: Free | None, full: dict[str, float]
) -> Point:
    """The first free place on the narrowest ring round the first unit that has one.

    ``full`` keeps for each type of unit up to which ring there is no room any more.
    """
    x, y = placed[0]
    radius = full.get(unit, room(unit, created[0]))
    while radius < FARTHEST:
        full[unit] = radius
        for direction, turned in itertools.product(DIRECTIONS, TURNS):
            angle = math.radians(direction + turned)
            place = (x + radius * math.cos(angle), y + radius * math.sin(angle))
            if not _open(free, placed[0], place):
                continue
            if all(math.dist(place, p) > room(unit, o) - ROUNDING for o, p in zip(created, placed, strict=False)):
                return place
        radius += RING_STEP
    raise SpecMismatch(f"no room for {len(created)} units at {placed[0]}; make the walkable ground larger")


def _open(free: Free | None, point: Point, place: Point) -> bool:
    """True if a straight way over free cells leads from one to the other: nobody is put beyond a cliff."""
    if free is None:
        return True
    count = 1 + int(SAMPLES * math.dist(point, place))
    for k in range(count, 0, -1):
        x, y = (a + (b - a) * k / count for a, b in zip(point, place, strict=True))
        if not (0 <= x < free.shape[0] and 0 <= y < free.shape[1] and free[int(x), int(y)]):
            return False
    return True


def ally_group(
    created: tuple[str, ...], point: Point, order: tuple[str, ...], free: Free | None = None
) -> tuple[tuple[str, ...], tuple[Point, ...]]:
    """Units and places in agent order: SMAC sorts allies by type, then x, then y."""
    units = sorted(zip(created, group(created, point, free), strict=True), key=lambda u: (order.index(u[0]), u[1]))
    return tuple(u for u, _ in units), tuple(p for _, p in units)


def enemy_group(
    created: tuple[str, ...], point: Point, free: Free | None = None
) -> tuple[tuple[str, ...], tuple[Point, ...]]:
    """Units and places in SMAC's numbering of enemies: the reverse of their creation."""
    return created[::-1], group(created, point, free)[::-1]
