"""A map's units turned into the numbers that the compiled engine works with, per game loop and per pair of units."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from offmarl_bench.envs.smac.maps import SmacMap
from offmarl_bench.envs.smac.units import (
    LOOPS_PER_SECOND,
    MINIMUM_DAMAGE,
    SHIELD_DELAY,
    SHIELD_REGEN,
    TURN_RATE,
    UNITS,
    WEAPON_DELAY,
    UnitType,
)

_SLACK = 1.0 / 16.0
"""The game keeps this much space between two units that touch."""


class Tables(NamedTuple):
    """Constants of one map. U = allies then enemies; pairs are [attacker or mover, other]. Times in loops."""

    n: int
    u: int
    hp_max: Float64[np.ndarray, " U"]
    sh_max: Float64[np.ndarray, " U"]
    armour: Float64[np.ndarray, " U"]
    damage: Float64[np.ndarray, "U U"]
    """Damage of one hit before armour."""
    hits: Int64[np.ndarray, " U"]
    second_hit: Float64[np.ndarray, " U"]
    channel: Float64[np.ndarray, "U U"]
    """Greatest centre distance at which a channelled second hit lands (0: the weapon does not channel)."""
    period: Float64[np.ndarray, " U"]
    wind_up: Float64[np.ndarray, " U"]
    backswing: Float64[np.ndarray, " U"]
    reach: Float64[np.ndarray, "U U"]
    """Weapon range, centre to centre."""
    slop: Float64[np.ndarray, " U"]
    scan: Float64[np.ndarray, "U U"]
    missile: Float64[np.ndarray, " U"]
    """Cells per loop; 0: instant."""
    splash_length: Float64[np.ndarray, " U"]
    splash_depth: Float64[np.ndarray, " U"]
    speed: Float64[np.ndarray, " U"]
    """Cells per loop."""
    radius: Float64[np.ndarray, " U"]
    contact: Float64[np.ndarray, "U U"]
    turns: Bool[np.ndarray, " U"]
    fixed: Bool[np.ndarray, " U"]
    hp_regen: Float64[np.ndarray, " U"]
    turn_cos: float
    turn_sin: float
    sh_regen: float
    sh_delay: float
    delay_low: float
    delay_span: float
    minimum: float
    start_x: Float64[np.ndarray, " U"]
    start_y: Float64[np.ndarray, " U"]
    goal_x: Float64[np.ndarray, " U"]
    """Where an attack-move takes each unit; NaN: nowhere."""
    goal_y: Float64[np.ndarray, " U"]
    face_x: Float64[np.ndarray, " U"]


def _contact(a: UnitType, b: UnitType) -> float:
    return max(a.inner + b.separation, b.inner + a.separation) + _SLACK


def tables(smac_map: SmacMap) -> Tables:
    """Compile one map's data."""
    units = [UNITS[name] for name in smac_map.allies + smac_map.enemies]
    n, rate = len(smac_map.allies), LOOPS_PER_SECOND

    def each(field: str, by: float = 1.0) -> Float64[np.ndarray, " U"]:
        return np.array([float(getattr(a, field)) * by for a in units])

    def edge(field: str) -> Float64[np.ndarray, "U U"]:
        return np.array([[getattr(a, field) + a.radius + b.radius for b in units] for a in units])

    damage = [[a.damage + a.bonus * (a.bonus_against in b.attributes) for b in units] for a in units]
    channels = np.array([a.channel_range > 0 for a in units])
    start = np.array(smac_map.ally_start + smac_map.enemy_start)
    goal = np.full((len(units), 2), np.nan)
    if smac_map.attack_point is not None:
        # One order to the whole group keeps its formation: each unit walks to the point plus its own offset.
        goal[n:] = start[n:] - start[n:].mean(0) + np.array(smac_map.attack_point)
    turn = math.radians(TURN_RATE / rate)
    return Tables(
        n=n, u=len(units), hp_max=each("health"), sh_max=each("shield"), armour=each("armour"),
        damage=np.array(damage, dtype=np.float64), hits=np.array([a.hits for a in units], np.int64),
        second_hit=each("second_hit", rate), channel=np.where(channels[:, None], edge("channel_range"), 0.0),
        period=each("period", rate), wind_up=each("damage_point", rate), backswing=each("backswing", rate),
        reach=edge("range"), slop=each("range_slop"), scan=edge("scan"), missile=each("missile", 1 / rate),
        splash_length=np.array([a.splash[0] for a in units]), splash_depth=np.array([a.splash[1] for a in units]),
        speed=each("speed", 1 / rate), radius=each("radius"),
        contact=np.array([[_contact(a, b) for b in units] for a in units]),
        turns=np.array([a.turns for a in units]), fixed=np.array([a.structure for a in units]),
        hp_regen=each("health_regen", 1 / rate), turn_cos=math.cos(turn), turn_sin=math.sin(turn),
        sh_regen=SHIELD_REGEN / rate, sh_delay=SHIELD_DELAY * rate, delay_low=WEAPON_DELAY[0] * rate,
        delay_span=(WEAPON_DELAY[1] - WEAPON_DELAY[0]) * rate, minimum=MINIMUM_DAMAGE,
        start_x=start[:, 0].copy(), start_y=start[:, 1].copy(), goal_x=goal[:, 0].copy(), goal_y=goal[:, 1].copy(),
        face_x=np.where(np.arange(len(units)) < n, 1.0, -1.0),
    )  # fmt: skip
