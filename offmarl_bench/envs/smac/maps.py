"""SMAC's maps as data: who fights whom, where they stand, where they may walk. A new map is a new row.

Positions are (x, y) with y northwards on a 32 x 32 grid. Allies stand in agent order (SMAC sorts by type, x, y);
enemies in the order in which SMAC numbers them, which is the reverse of their creation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from offmarl_bench.envs.smac.spawn import ALLY_POINT, ENEMY_POINT, Point, ally_group, enemy_group
from offmarl_bench.envs.smac.units import UNITS
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.registry import unknown

SIZE = 32
"""Width and height of every map, in cells."""
Rectangle = tuple[int, int, int, int]
"""Cells x0 to x1 and y0 to y1, both included."""
CORRIDOR: tuple[Rectangle, ...] = ((0, SIZE - 1, 8, 23),)
"""Most maps: the whole width, the middle half of the height."""
EVERYWHERE: tuple[Rectangle, ...] = ((0, SIZE - 1, 0, SIZE - 1),)
GROUND, CLIFF, AIR = 1, 2, 4
"""Who may enter a cell: everybody on foot, those who climb, those who fly."""


def cells(rectangles: tuple[Rectangle, ...]) -> Bool[np.ndarray, "X Y"]:
    """The cells of all rectangles, indexed [x, y]."""
    inside = np.zeros((SIZE, SIZE), bool)
    for x0, x1, y0, y1 in rectangles:
        inside[x0 : x1 + 1, y0 : y1 + 1] = True
    return inside


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
    """Order of the type one-hot of allies; empty, then both are, on maps without types in what agents see."""
    enemy_bits: tuple[str, ...] = ()
    """… of enemies: SMAC numbers them differently on the stalker-and-zealot maps."""
    walkable: tuple[Rectangle, ...] = CORRIDOR
    """The cells that ground units may enter."""
    cliffs: tuple[Rectangle, ...] = ()
    """Cells that only climbers may enter besides."""
    detours: bool = False
    """Whether units look for a way round what they may not enter; for maps on which a straight way can be barred."""
    attack_point: Point | None = ALLY_POINT
    """Where the enemy group is sent by an attack-move at the start; None: it waits."""
    hunts: bool = False
    """Whether enemies are sent after the agents themselves, instead of to a point."""

    def __post_init__(self) -> None:
        for side, units, starts, bits in (
            ("ally", self.allies, self.ally_start, self.ally_bits),
            ("enemy", self.enemies, self.enemy_start, self.enemy_bits),
        ):
            for unit in units:
                if unit not in UNITS:
                    raise unknown(f"unit of map {self.name!r}", unit, UNITS)
            if len(units) != len(starts):
                raise SpecMismatch(
                    f"map {self.name!r}: {side}_start has {len(starts)} places for {len(units)} units; give one each"
                )
            if (self.ally_bits or self.enemy_bits) and not (
                set(units) <= set(bits) and len(bits) <= len(self.ally_bits)
            ):
                raise SpecMismatch(
                    f"map {self.name!r}: {side}_bits is {bits}; expected all of {sorted(set(units))} in at most "
                    f"{len(self.ally_bits)} places (as many as ally_bits), or neither ally_bits nor enemy_bits"
                )

    def grid(self) -> Bool[np.ndarray, "X Y"]:
        """The pathing grid, indexed [x, y]."""
        return cells(self.walkable)

    def terrain(self) -> UInt8[np.ndarray, "X Y"]:
        """Who may enter each cell: a sum of GROUND, CLIFF and AIR, indexed [x, y]."""
        walkable = self.grid()
        return np.asarray(GROUND * walkable + CLIFF * (walkable | cells(self.cliffs)) + AIR, np.uint8)


# The published first observation of the real game on 2s3z fixes these places to the last digit.
_2S3Z = ((9.0, 14.8115234375), (9.0, 16.0), (8.248046875, 16.751708984375), (9.751708984375, 16.751708984375),
         (9.94140625, 15.50537109375))  # fmt: skip
_ACROSS = ENEMY_POINT[0] - ALLY_POINT[0]
_2S3Z_ENEMY = tuple((_2S3Z[i][0] + _ACROSS, _2S3Z[i][1]) for i in (3, 2, 4, 0, 1))


def two_groups(
    name: str,
    allies: tuple[str, ...],
    enemies: tuple[str, ...],
    limit: int,
    *,
    ally_bits: tuple[str, ...] = (),
    enemy_bits: tuple[str, ...] = (),
    walkable: tuple[Rectangle, ...] = CORRIDOR,
    cliffs: tuple[Rectangle, ...] = (),
    points: tuple[Point, Point] = (ALLY_POINT, ENEMY_POINT),
    detours: bool = False,
    hunts: bool = False,
) -> SmacMap:
    """A map whose script creates two groups of units, given in order of creation, and sends one at the other.

    The groups are created at ``points``; for the rest see SmacMap.
    """
    free = cells(walkable)
    us, ally_start = ally_group(allies, points[0], ally_bits or allies[:1], free)
    them, enemy_start = enemy_group(enemies, points[1], free)
    return SmacMap(
        name=name, allies=us, enemies=them, ally_start=ally_start, enemy_start=enemy_start, limit=limit,
        ally_bits=ally_bits, enemy_bits=enemy_bits, walkable=walkable, cliffs=cliffs, detours=detours,
        attack_point=None if hunts else points[0], hunts=hunts,
    )  # fmt: skip


# Two terraces with a cliff between them, which ends in a ramp at either side.
_TERRACES = (
    (4, 27, 6, 7), (2, 29, 8, 9), (0, 31, 10, 11), (0, 3, 12, 13), (28, 31, 12, 13), (0, 31, 14, 15), (2, 29, 16, 17),
    (8, 23, 18, 19),
)  # fmt: skip
_M, _S, _Z, _C = ("marine",), ("stalker",), ("zealot",), ("colossus",)
_ROWS = (
    SmacMap(
        name="2s3z", allies=_S * 2 + _Z * 3, enemies=_Z * 3 + _S * 2, ally_start=_2S3Z, enemy_start=_2S3Z_ENEMY,
        limit=120, ally_bits=_S + _Z, enemy_bits=_Z + _S,
    ),
    SmacMap(
        name="2s_vs_1sc", allies=_S * 2, enemies=("spine crawler",),
        ally_start=((11.1208, 10.338), (16.976, 10.3662)), enemy_start=((14.0, 20.0),), limit=300,
        walkable=((8, 19, 8, 19), (10, 17, 20, 21), (12, 15, 22, 23)), attack_point=None,
    ),
    two_groups("3s_vs_5z", _S * 3, _Z * 5, 250, walkable=EVERYWHERE),
    two_groups("3s5z", _S * 3 + _Z * 5, _S * 3 + _Z * 5, 150, ally_bits=_S + _Z, enemy_bits=_Z + _S),
    two_groups(
        "1c3s5z", _C + _S * 3 + _Z * 5, _C + _S * 3 + _Z * 5, 180, ally_bits=_C + _S + _Z, enemy_bits=_C + _S + _Z
    ),
    two_groups(
        "MMM", _M * 7 + ("marauder",) * 2 + ("allied medivac",), _M * 7 + ("marauder",) * 2 + ("medivac",), 150,
        ally_bits=("marauder", "marine", "allied medivac"), enemy_bits=("marauder", "marine", "medivac"),
    ),
    two_groups("3m", _M * 3, _M * 3, 60),
    two_groups("8m", _M * 8, _M * 8, 120),
    two_groups("5m_vs_6m", _M * 5, _M * 6, 70),
    two_groups("10m_vs_11m", _M * 10, _M * 11, 150),
    two_groups(
        "2c_vs_64zg", _C * 2, ("zergling",) * 64, 400, walkable=_TERRACES, cliffs=((4, 27, 12, 13),),
        points=((16.0, 16.0), (16.0, 9.0)), detours=True, hunts=True,
    ),
)  # fmt: skip
MAPS = {m.name: m for m in _ROWS}


def get_map(name: str) -> SmacMap:
    """The map of that name. Raises UnknownName with the nearest name."""
    if name not in MAPS:
        raise unknown("map of suite smac", name, MAPS)
    return MAPS[name]
