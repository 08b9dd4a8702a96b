"""2s_vs_1sc, where standing and shooting loses: two stalkers that take turns under fire win, by the same arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from offmarl_bench.envs.smac.combat import UNIT
from offmarl_bench.envs.smac.env import SmacEnv
from offmarl_bench.envs.smac.maps import get_map

LANES = 128
NOTHING, STOP, NORTH, SOUTH, EAST, WEST, ATTACK = range(7)
APPROACH = np.array([[EAST, NORTH], [NORTH, NORTH], [NORTH, NORTH], [NORTH, WEST]])
"""The first four steps of both stalkers, which end 5.6 cells from the crawler, as near to 6 as moves of 1.48 allow."""
CRAWLER = 2


def fight(flee_below: float) -> tuple[float, float]:
    """Share of battles won and steps of a won one, if whoever is under fire leaves with less life than that.

    One who leaves comes back as soon as the crawler has turned to the other, who must be in better shape.
    """
    env = SmacEnv(get_map("2s_vs_1sc"), LANES)
    view: Any = env.reset(np.arange(LANES, dtype=np.uint64))
    lengths, running = np.zeros(LANES), np.ones(LANES, bool)
    for t in range(80):
        units, world = env.units(), env._world
        assert world.dtype == UNIT
        life = units["ahp"] + units["ash"]
        aimed_at = world["target"][:, CRAWLER, None] == np.arange(2)
        flees = aimed_at & (life <= flee_below) & (life[:, ::-1] > flee_below) & (units["ehp"] > 16)
        fires = np.where(view.legal[:, :, ATTACK], ATTACK, NORTH)
        wish = APPROACH[t] if t < len(APPROACH) else np.where(flees, SOUTH, fires)
        wish = np.broadcast_to(wish, (LANES, 2))
        allowed = np.take_along_axis(view.legal, wish[..., None], -1)[..., 0]
        view = env.step(np.where(allowed, wish, view.legal.argmax(-1)))
        lengths += running
        running = ~(view.terminated | view.truncated)
    won = view.info["battle_won"]
    return float(won.mean()), float(lengths[won].mean()) if won.any() else 0.0


def test_taking_turns_wins_where_standing_does_not() -> None:
    """12 hits of 30 kill both stalkers, at 3.76 steps a hit by step 44; 20 hits of 16, which regeneration asks for,
    take 38 steps if both shoot all the time. So little is to be lost on the way, and the first must not die at 22. Who
    is about to die steps back, and the crawler shoots back at the other: the real game's winners need 40 to 42 steps.
    """
    assert fight(flee_below=-1.0)[0] == 0.0
    share, steps = fight(flee_below=30.0)
    assert share > 0.95
    assert 40 < steps < 43
