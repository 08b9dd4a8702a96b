"""A map's units turned into the numbers that the compiled engine works with, per game loop and per pair of units."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from offmarl_bench.envs.smac.maps import AIR, CLIFF, GROUND, SmacMap
from offmarl_bench.envs.smac.units import (
    ENERGY_REGEN,
    LOOPS_PER_SECOND,
    SHIELD_DELAY,
    SHIELD_REGEN,
    UNITS,
    WEAPON_DELAY,
    UnitType,
)

_SLACK = 1.0 / 16.0
"""The game keeps this much space between two units that touch."""
_WITHIN = 1.0 / 64.0
"""How far within its range a fighter may come at least."""


SHIELD_PER_LOOP = SHIELD_REGEN / LOOPS_PER_SECOND
SHIELD_WAIT = SHIELD_DELAY * LOOPS_PER_SECOND
ENERGY_PER_LOOP = ENERGY_REGEN / LOOPS_PER_SECOND
NO_THREAT = 64.0
"""Added to the distance of targets that cannot strike back: more than any distance on a map, so they come last."""
DELAY_LOW = WEAPON_DELAY[0] * LOOPS_PER_SECOND
DELAY_SPAN = (WEAPON_DELAY[1] - WEAPON_DELAY[0]) * LOOPS_PER_SECOND

KIND = np.dtype(
    [
        ("hp_max", "f8"),
        ("sh_max", "f8"),
        ("armour", "f8"),
        ("hits", "i8"),
        ("second_hit", "f8"),
        ("period", "f8"),
        ("wind_up", "f8"),
        ("backswing", "f8"),
        ("slop", "f8"),
        ("missile", "f8"),  # cells per loop; 0: instant
        ("splash_half", "f8"),
        ("splash_width", "f8"),
        ("speed", "f8"),  # cells per loop
        ("radius", "f8"),
        ("turn_cos", "f8"),  # of the angle by which the unit turns in a loop
        ("turn_sin", "f8"),
        ("heal", "f8"),  # health given per loop; 0: no healer
        ("hp_regen", "f8"),
        ("start_x", "f8"),
        ("start_y", "f8"),
        ("goal_x", "f8"),  # where an attack-move takes the unit; NaN: nowhere
        ("goal_y", "f8"),
        ("face_x", "f8"),
        ("enters", "i8"),  # GROUND, CLIFF or AIR: which cells the unit may enter
        ("turns", "b1"),  # one-byte fields come last: numbers that are not aligned are slower to read
        ("fixed", "b1"),
        ("hunts", "b1"),
    ],
    align=True,
)
"""What does not change about a unit; times in loops."""
PAIR = np.dtype(
    [
        ("damage", "f8"),  # of one hit before armour
        ("reach", "f8"),  # weapon range, centre to centre
        ("scan", "f8"),  # how far the AI looks, centre to centre; −1: the first can do nothing to the second
        ("rank", "f8"),  # added to the distance when the AI chooses: 0 or NO_THREAT
        ("channel", "f8"),  # greatest centre distance at which a channelled second hit lands; 0: no channel
        ("contact", "f8"),  # centre distance at which the two touch; 0: they never do
    ]
)
"""What does not change about [attacker or mover, other]."""


class Tables(NamedTuple):
    """Constants of one map: n allies, ``kinds`` (U,) and ``pairs`` (U, U), allies before enemies."""

    n: int
    kinds: Shaped[np.ndarray, " U"]
    pairs: Shaped[np.ndarray, "U U"]


def _contact(a: UnitType, b: UnitType, foes: bool) -> float:
    if a.layer != b.layer:
        return 0.0
    apart = max(a.inner + b.separation, b.inner + a.separation) + _SLACK
    # A zergling's inner radius is larger than the rest of it; what it fights it must be able to reach.
    near = min(a.range, b.range) + a.radius + b.radius - _WITHIN
    return min(apart, near) if foes else apart


def _can_strike(a: UnitType, b: UnitType) -> bool:
    return a.damage > 0 and (a.hits_air or b.layer != "air")


def _acts_on(a: UnitType, b: UnitType) -> bool:
    return "biological" in b.attributes if a.heal else _can_strike(a, b)


def tables(smac_map: SmacMap) -> Tables:
    """Compile one map's data."""
    units = [UNITS[name] for name in smac_map.allies + smac_map.enemies]
    n, rate = len(smac_map.allies), LOOPS_PER_SECOND
    start = np.array(smac_map.ally_start + smac_map.enemy_start)
    goal = np.full((len(units), 2), np.nan)
    if smac_map.attack_point is not None:
        # One order to the whole group keeps its formation: each unit walks to the point plus its own offset.
        goal[n:] = start[n:] - start[n:].mean(0) + np.array(smac_map.attack_point)
    kinds = np.zeros(len(units), KIND)
    pairs = np.zeros((len(units), len(units)), PAIR)
    for i, a in enumerate(units):
        angle = math.radians(a.turn_rate / rate)
        kinds[i] = (
            a.health, a.shield, a.armour, a.hits, a.second_hit * rate, a.period * rate, a.damage_point * rate,
            a.backswing * rate, a.range_slop, a.missile / rate, a.splash[0], a.splash[1], a.speed / rate, a.radius,
            math.cos(angle), math.sin(angle), a.heal / rate, a.health_regen / rate, *start[i], *goal[i],
            1.0 if i < n else -1.0, AIR if a.layer == "air" else CLIFF if a.climbs else GROUND, a.turn_rate > 0,
            a.structure, i >= n and smac_map.hunts,
        )  # fmt: skip
        for j, b in enumerate(units):
            gap = a.radius + b.radius
            pairs[i, j] = (
                a.damage + a.bonus * (a.bonus_against in b.attributes), a.range + gap,
                a.scan + gap if _acts_on(a, b) else -1.0, 0.0 if _can_strike(b, a) else NO_THREAT,
                a.channel_range + gap if a.channel_range > 0 else 0.0, _contact(a, b, (i < n) != (j < n)),
            )  # fmt: skip
    return Tables(n, kinds, pairs)
