"""Sizes and orders of SMAC's observation and state vectors for one map and one set of SMAC's flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from offmarl_bench.envs.smac.maps import SIZE, SmacMap
from offmarl_bench.envs.smac.units import UNITS

MOVES = 4
"""North, south, east, west: actions 2–5, after no-op 0 and stop 1."""
NON_ATTACK = 6
"""Actions before the first attack action."""
PATHING_POINTS = 8
HEIGHT_POINTS = 9
SIGHT = 9.0
SHOOT = 6.0
"""SMAC's sight and shooting range in cells, centre to centre, the same for every unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """SMAC's switches, under its own names and defaults."""

    obs_all_health: bool = True
    obs_own_health: bool = True
    obs_last_action: bool = False
    obs_pathing_grid: bool = False
    obs_terrain_height: bool = False
    obs_timestep_number: bool = False
    obs_instead_of_state: bool = False
    state_last_action: bool = True
    state_timestep_number: bool = False
    reward_sparse: bool = False
    reward_only_positive: bool = True
    reward_scale: bool = True
    reward_scale_rate: float = 20.0
    reward_death_value: float = 10.0
    reward_win: float = 200.0
    reward_defeat: float = 0.0
    reward_negative_scale: float = 0.5


class Layout(NamedTuple):
    """What the compiled writer of observations needs; plain numbers and arrays only."""

    n: int
    e: int
    bits: int
    ally_shield: bool
    enemy_shield: bool
    health: bool
    own_health: bool
    last_action: bool
    pathing: bool
    height: bool
    timestep: bool
    from_obs: bool
    state_last_action: bool
    state_timestep: bool
    move_feats: int
    enemy_feats: int
    ally_feats: int
    own_feats: int
    obs_size: int
    ally_state: int
    enemy_state: int
    state_size: int
    actions: int
    limit: int
    hp_max: Float64[np.ndarray, " U"]
    sh_max: Float64[np.ndarray, " U"]
    cd_max: Float64[np.ndarray, " N"]
    type_bit: Int64[np.ndarray, " U"]
    grid: Bool[np.ndarray, "X Y"]


def layout(smac_map: SmacMap, flags: Flags) -> Layout:
    """Compute the layout: allies first, then enemies, wherever there is one entry per unit (U = N + enemies)."""
    units = [UNITS[u] for u in smac_map.allies + smac_map.enemies]
    n, e = len(smac_map.allies), len(smac_map.enemies)
    ally_shield = any(u.shield for u in units[:n])
    enemy_shield = any(u.shield for u in units[n:])
    bits = len(smac_map.ally_bits)
    orders = [smac_map.ally_bits] * n + [smac_map.enemy_bits] * e
    actions = NON_ATTACK + e
    move = MOVES + PATHING_POINTS * flags.obs_pathing_grid + HEIGHT_POINTS * flags.obs_terrain_height
    enemy = 4 + bits + flags.obs_all_health * (1 + enemy_shield)
    ally = 4 + bits + flags.obs_all_health * (1 + ally_shield) + actions * flags.obs_last_action
    # SMAC counts the time step in the own features and appends it once more: the counted slot stays zero.
    own = bits + flags.obs_own_health * (1 + ally_shield) + flags.obs_timestep_number
    obs_size = move + e * enemy + (n - 1) * ally + own + flags.obs_timestep_number
    ally_state, enemy_state = 4 + ally_shield + bits, 3 + enemy_shield + bits
    state_size = n * ally_state + e * enemy_state + n * actions * flags.state_last_action + flags.state_timestep_number
    return Layout(
        n=n, e=e, bits=bits, ally_shield=ally_shield, enemy_shield=enemy_shield, health=flags.obs_all_health,
        own_health=flags.obs_own_health, last_action=flags.obs_last_action, pathing=flags.obs_pathing_grid,
        height=flags.obs_terrain_height, timestep=flags.obs_timestep_number, from_obs=flags.obs_instead_of_state,
        state_last_action=flags.state_last_action, state_timestep=flags.state_timestep_number, move_feats=move,
        enemy_feats=enemy, ally_feats=ally, own_feats=own, obs_size=obs_size, ally_state=ally_state,
        enemy_state=enemy_state, state_size=n * obs_size if flags.obs_instead_of_state else state_size,
        actions=actions, limit=smac_map.limit,
        hp_max=np.array([u.health for u in units]), sh_max=np.array([u.shield for u in units]),
        cd_max=np.array([u.cooldown_shown for u in units[:n]]),
        type_bit=np.array([o.index(u.name) if o else -1 for o, u in zip(orders, units, strict=True)], np.int64),
        grid=smac_map.grid(),
    )  # fmt: skip


def max_reward(smac_map: SmacMap, flags: Flags) -> float:
    """The sum that SMAC scales to ``reward_scale_rate``: all kills, all damage, the win."""
    units = [UNITS[u] for u in smac_map.enemies]
    return len(units) * flags.reward_death_value + flags.reward_win + sum(u.health + u.shield for u in units)


def in_bounds(x: int, y: int) -> bool:
    """True for a cell of the map."""
    return 0 <= x < SIZE and 0 <= y < SIZE
