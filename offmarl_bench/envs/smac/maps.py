"""SMAC's maps as data: who fights whom, where they stand, where they may walk. A new map is a new row.

Positions are (x, y) with y northwards on a 32 x 32 grid. Allies stand in agent order (SMAC sorts by type, x, y);
enemies in the order in which SMAC numbers them, which is the reverse of their creation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from offmarl_bench.registry import unknown

SIZE = 32
"""Width and height of every map, in cells."""
ALLY_POINT = (9.0, 16.0)
ENEMY_POINT = (23.0, 16.0)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SmacMap:
    """One map."""

    name: str
    allies: tuple[str, ...]
    """Unit type of each agent."""
    enemies: tuple[str, ...]
    """Unit type of each enemy in SMAC's numbering."""
    ally_start: tuple[Point, ...]
    enemy_start: tuple[Point, ...]
    limit: int
    """Episode limit in agent steps."""
    ally_bits: tuple[str, ...] = ()
    """Order of the type one-hot of allies; empty when the map has one ally type."""
    enemy_bits: tuple[str, ...] = ()
    """… of enemies: SMAC numbers them differently on the stalker-and-zealot maps."""
    walkable: tuple[tuple[int, int, int, int], ...] = ((0, 31, 8, 23),)
    """Rectangles of cells x0, x1, y0, y1 (inclusive) that ground units may enter."""
    attack_point: Point | None = ALLY_POINT
    """Where the enemy group is sent by an attack-move at the start; None: it waits."""

    def grid(self) -> Bool[np.ndarray, "X Y"]:
        """The pathing grid, indexed [x, y]."""
        cells = np.zeros((SIZE, SIZE), bool)
        for x0, x1, y0, y1 in self.walkable:
            cells[x0 : x1 + 1, y0 : y1 + 1] = True
        return cells


def _shift(points: tuple[Point, ...], by: Point) -> tuple[Point, ...]:
    return tuple((x + by[0], y + by[1]) for x, y in points)


def packed(count: int, spacing: float, centre: Point) -> tuple[Point, ...]:
    """``count`` places on a hexagonal lattice around ``centre``, nearest first: how the game packs a group."""
    row = spacing * np.sqrt(3) / 2
    lattice = [
        (spacing * (i + 0.5 * (j % 2)), row * j) for i in range(-count, count + 1) for j in range(-count, count + 1)
    ]
    lattice.sort(key=lambda p: (round(p[0] ** 2 + p[1] ** 2, 6), p[1], p[0]))
    chosen: Float64[np.ndarray, "K 2"] = np.array(lattice[:count])
    chosen = chosen - chosen.mean(0) + np.array(centre)
    return tuple((float(x), float(y)) for x, y in sorted(map(tuple, chosen)))


# The published first observation of the real game on 2s3z fixes these places to the last digit.
_2S3Z = ((9.0, 14.8115234375), (9.0, 16.0), (8.248046875, 16.751708984375), (9.751708984375, 16.751708984375),
         (9.94140625, 15.50537109375))  # fmt: skip
_2S3Z_ENEMY = tuple(_shift(_2S3Z, (14.0, 0.0))[i] for i in (3, 2, 4, 0, 1))

_ROWS = (
    SmacMap(
        name="2s3z", allies=("stalker",) * 2 + ("zealot",) * 3, enemies=("zealot",) * 3 + ("stalker",) * 2,
        ally_start=_2S3Z, enemy_start=_2S3Z_ENEMY, limit=120, ally_bits=("stalker", "zealot"),
        enemy_bits=("zealot", "stalker"),
    ),
)  # fmt: skip
MAPS = {m.name: m for m in _ROWS}


def get_map(name: str) -> SmacMap:
    """The map of that name. Raises UnknownName with the nearest name."""
    if name not in MAPS:
        raise unknown("map of suite smac", name, MAPS)
    return MAPS[name]
