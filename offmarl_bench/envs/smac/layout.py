"""Sizes and orders of SMAC's observation and state vectors for one map and one set of SMAC's flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped

from offmarl_bench.envs.smac.maps import SmacMap
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


LAYOUT = np.dtype(
    [
        ("n", "i8"),
        ("e", "i8"),
        ("bits", "i8"),
        ("ally_shield", "b1"),
        ("enemy_shield", "b1"),
        ("health", "b1"),
        ("own_health", "b1"),
        ("last_action", "b1"),
        ("pathing", "b1"),
        ("height", "b1"),
        ("timestep", "b1"),
        ("from_obs", "b1"),
        ("state_last_action", "b1"),
        ("state_timestep", "b1"),
        ("move_feats", "i8"),
        ("enemy_feats", "i8"),
        ("ally_feats", "i8"),
        ("own_feats", "i8"),
        ("obs_size", "i8"),
        ("ally_state", "i8"),
        ("enemy_state", "i8"),
        ("state_size", "i8"),
        ("actions", "i8"),
        ("limit", "i8"),
    ]
)
LOOK = np.dtype([("hp_max", "f8"), ("sh_max", "f8"), ("cd_max", "f8"), ("type_bit", "i8"), ("heals", "b1")])
"""What SMAC divides a unit's health, shield and cooldown (a healer's energy) by, which bit of the one-hot is its type,
and whether its actions on units heal."""


class Layout(NamedTuple):
    """What the compiled writers need: one ``LAYOUT`` record (1,), ``LOOK`` (U,), the pathing grid [x, y]."""

    record: Shaped[np.ndarray, " 1"]
    look: Shaped[np.ndarray, " U"]
    grid: Bool[np.ndarray, "X Y"]

    def __getattr__(self, name: str) -> Any:
        return self.record[name][0].item()


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
    record = np.array(
        [(
            n, e, bits, ally_shield, enemy_shield, flags.obs_all_health, flags.obs_own_health, flags.obs_last_action,
            flags.obs_pathing_grid, flags.obs_terrain_height, flags.obs_timestep_number, flags.obs_instead_of_state,
            flags.state_last_action, flags.state_timestep_number, move, enemy, ally, own, obs_size, ally_state,
            enemy_state, n * obs_size if flags.obs_instead_of_state else state_size, actions, smac_map.limit,
        )],
        LAYOUT,
    )  # fmt: skip
    seen = [
        (u.health, u.shield, u.cooldown_shown, o.index(u.name) if o else -1, u.heal > 0)
        for o, u in zip(orders, units, strict=True)
    ]
    return Layout(record, np.array(seen, LOOK), smac_map.grid())


def max_reward(smac_map: SmacMap, flags: Flags) -> float:
    """The sum that SMAC scales to ``reward_scale_rate``: all kills, all damage, the win."""
    units = [UNITS[u] for u in smac_map.enemies]
    return len(units) * flags.reward_death_value + flags.reward_win + sum(u.health + u.shield for u in units)
