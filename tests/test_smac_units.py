"""Units with mechanics of their own, by arithmetic: colossus, spine crawler, and marines that focus their fire."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from offmarl_bench.envs.smac.combat import strike
from offmarl_bench.envs.smac.env import SmacEnv
from offmarl_bench.envs.smac.maps import EVERYWHERE, SmacMap
from offmarl_bench.envs.smac.spawn import Point

STOP, NORTH, EAST, ATTACK = 1, 2, 4, 6
LANES, LOOPS = 64, 8


def arena(allies: dict[Point, str], enemies: dict[Point, str]) -> SmacEnv:
    """Lanes with the given units on open ground; enemies wait."""
    smac_map = SmacMap(
        name="arena", allies=tuple(allies.values()), enemies=tuple(enemies.values()), ally_start=tuple(allies),
        enemy_start=tuple(enemies), limit=200, attack_point=None, walkable=EVERYWHERE,
    )  # fmt: skip
    env = SmacEnv(smac_map, LANES)
    env.reset(np.arange(LANES, dtype=np.uint64))
    return env


def everyone(env: SmacEnv, *actions: int) -> Any:
    """One step in which every lane plays the same actions."""
    return env.step(np.tile(actions, (LANES, 1)))


def lost_to_one_shot(env: SmacEnv, attacker: int, victim: int) -> np.ndarray:
    """Health plus shield that each unit of lane 0 loses when ``attacker`` fires at ``victim`` once."""
    tab, w = env._tables, env._world[0]
    before = w["hp"] + w["sh"]
    strike(tab.kinds, tab.pairs, tab.n, w, attacker, victim)
    return np.asarray(before - w["hp"] - w["sh"])


def test_a_colossus_burns_a_line_across_its_shot() -> None:
    """Both beams sweep 1.25 cells to either side and take what is within 0.15 of a unit's edge, each beam once.

    Zealots have radius 0.5: beside the target up to 1.25 + 0.65 = 1.90 cells away, before and behind it up to 0.65.
    Each loses 2 × (10 + 5 against light). The colossus's own side is spared even where the line crosses it.
    """
    enemies = {
        (16.0, 16.0): "zealot",  # the target
        (16.0, 17.89): "zealot",
        (16.0, 14.11): "zealot",
        (16.64, 15.0): "zealot",
        (16.0, 17.92): "zealot",  # just beyond the end
        (16.66, 16.0): "zealot",  # just behind the line
        (16.46, 17.71): "zealot",  # the end is round: √(0.46² + 0.46²) = 0.6505
        (16.45, 17.70): "zealot",  # √(0.45² + 0.45²) = 0.636
    }
    env = arena({(10.0, 16.0): "colossus", (15.9, 16.5): "zealot"}, enemies)
    lost = lost_to_one_shot(env, 0, 2)
    np.testing.assert_array_equal(lost, [0, 0, 30, 30, 30, 30, 0, 0, 0, 30])


def test_the_line_of_a_colossus_lies_across_a_slanting_shot_too() -> None:
    """Shot along (3, 4) / 5: the line runs along (−4, 3) / 5. One cell along it is hit, one along the shot is not."""
    enemies = {(13.0, 14.0): "zealot", (12.2, 14.6): "zealot", (13.6, 14.8): "zealot"}
    lost = lost_to_one_shot(arena({(10.0, 10.0): "colossus"}, enemies), 0, 1)
    np.testing.assert_array_equal(lost, [0, 30, 30, 0])


def test_a_colossus_of_the_enemy_burns_allies_and_hits_armored_units_less() -> None:
    """Stalkers are armored, not light: two hits of 10."""
    env = arena({(10.0, 16.0): "stalker", (10.0, 17.5): "stalker"}, {(16.0, 16.0): "colossus", (10.5, 16.0): "zealot"})
    np.testing.assert_array_equal(lost_to_one_shot(env, 2, 0), [20, 20, 0, 0])


def test_a_colossus_strides_over_small_units() -> None:
    """Zealots standing in its way neither stop it nor are pushed: 1.125 cells a step straight on."""
    env = arena({(10.0, 16.0): "colossus", (11.0, 16.0): "zealot"}, {(31.0, 31.0): "zealot"})
    for _ in range(3):
        everyone(env, EAST, STOP)
    np.testing.assert_allclose(env.units()["apos"][0], [[13.375, 16.0], [11.0, 16.0]], atol=1e-9)


def test_a_spine_crawler_never_moves_and_nobody_moves_it() -> None:
    """Stalkers beside it push against it for ten steps; it fires and stays."""
    env = arena({(12.0, 20.0): "stalker", (12.0, 21.0): "stalker"}, {(14.0, 20.0): "spine crawler"})
    for _ in range(4):
        everyone(env, EAST, EAST)
        np.testing.assert_array_equal(env.units()["epos"], np.full((LANES, 1, 2), (14.0, 20.0)))
    # They stop where they touch: inner 0.5 + separation 0.875 against inner 0.875 + separation 0.625, plus 1/16.
    distance = np.linalg.norm(env.units()["apos"] - (14.0, 20.0), axis=-1)
    assert distance.min() > 1.5625 - 0.2


@pytest.mark.parametrize(("distance", "hit"), [(8.49, True), (8.51, False)])
def test_a_spine_crawler_reaches_seven_cells_from_edge_to_edge(distance: float, hit: bool) -> None:
    """Centre to centre 7 + 0.875 + 0.625 = 8.5; 25 + 5 against armored, first off the stalker's shield."""
    env = arena({(14.0 - distance, 16.0): "stalker"}, {(14.0, 16.0): "spine crawler"})
    everyone(env, STOP)
    everyone(env, STOP)
    assert (env.units()["ash"] == (50.0 if hit else 80.0)).all()


def test_a_spine_crawler_regenerates_seventy_4096ths_of_a_point_a_loop() -> None:
    env = arena({(1.0, 1.0): "stalker"}, {(14.0, 20.0): "spine crawler"})
    env._world["hp"][:, 1] = 200.0
    reward = everyone(env, STOP).reward
    np.testing.assert_allclose(env.units()["ehp"], 200.0 + LOOPS * 70 / 4096, atol=1e-9)
    # SMAC takes the absolute value of damage, so the crawler's recovery is paid: × 20 / (10 + 200 + 300).
    np.testing.assert_allclose(reward, LOOPS * 70 / 4096 * 20 / 510, rtol=1e-6)


def test_a_stalker_takes_sixteen_off_a_spine_crawler() -> None:
    """13 + 5 against armored − 2 armour: what decodes the returns of the real 2s_vs_1sc."""
    env = arena({(10.0, 16.0): "stalker"}, {(14.0, 16.0): "spine crawler"})
    for _ in range(2):
        everyone(env, ATTACK)
    assert (np.abs(env.units()["ehp"] - 284.0) < 16 * 70 / 4096 + 1e-9).all()


@pytest.mark.parametrize(("shooters", "first", "last"), [(1, 91, 114), (5, 13, 18), (8, 1, 3)])
def test_marines_that_focus_their_fire_need_eight_hits(shooters: int, first: int, last: int) -> None:
    """45 health in hits of 6 are 8 hits: 8, 2 or 1 volleys.

    A marine fires every 13.77 + U(−1, 2) loops, so 13 to 16 whole ones, and winds up for less than two loops before
    the first shot: 7 more shots are 91 to 112 loops, one more 13 to 16.
    """
    places = [(10.0, 12.0 + k) for k in range(shooters)]
    env = arena(dict.fromkeys(places, "marine"), {(13.0, 12.0 + (shooters - 1) / 2): "marine"})
    env._world["hp"][:, :shooters] = 1000.0
    died = np.zeros(LANES, int)
    for t in range(1, 20):
        step = everyone(env, *[ATTACK] * shooters)
        died[(died == 0) & step.terminated] = t
    assert (died * LOOPS >= first).all()
    assert ((died - 1) * LOOPS < last).all()
