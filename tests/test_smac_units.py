"""Units with mechanics of their own, by arithmetic: colossus, spine crawler, medivac, and marines in concert."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from offmarl_bench.envs.smac.combat import acquire, strike
from offmarl_bench.envs.smac.engine import loop
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


@pytest.mark.parametrize(("at", "hit"), [((9.0, 16.0), True), ((14.0, 11.0), False)])
def test_a_spine_crawler_turns_before_it_strikes(at: Point, hit: bool) -> None:
    """It starts facing west and turns by 360 degrees a second, 22.5 a loop: for a quarter turn, three loops wait.

    It looks for targets at loop 3, winds up for 5.33 loops and its tentacle flies for 2.07, each one begun counts:
    3 + 6 + 3 = 12, so fourteen loops, 0 to 13, are enough in the west, and with the turn they are not.
    """
    env = arena({at: "stalker"}, {(14.0, 16.0): "spine crawler"})
    everyone(env, STOP)
    tab, w = env._tables, env._world[0]
    for tick in range(LOOPS, 14):
        loop(tab.kinds, tab.pairs, tab.n, *env._land, w, env._rng[0], tick, np.zeros(len(w), np.int64))
    assert w["sh"][0] == (50.0 if hit else 80.0)


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


def test_a_medivac_heals_whom_it_is_told_to_and_pays_with_energy() -> None:
    """9 health a second are 4.5 a step, 0.33 energy each; energy comes back at 0.5625 a second, from 50."""
    env = arena({(10.0, 16.0): "marauder", (12.0, 16.0): "allied medivac"}, {(31.0, 31.0): "marine"})
    env._world["hp"][:, 0] = 60.0
    everyone(env, STOP, STOP)
    assert (env.units()["ahp"][:, 0] == 60.0).all()
    for _ in range(2):
        everyone(env, STOP, ATTACK)
    np.testing.assert_allclose(env.units()["ahp"][:, 0], 69.0)
    np.testing.assert_allclose(env.units()["aen"][:, 1], 50 + 3 * 0.5625 / 2 - 9 * 0.33)


def test_a_medivac_without_energy_heals_only_what_it_regains() -> None:
    """0.5625 energy a second buy 0.5625 / 0.33 = 1.70 health."""
    env = arena({(10.0, 16.0): "marauder", (12.0, 16.0): "allied medivac"}, {(31.0, 31.0): "marine"})
    env._world["hp"][:, 0], env._world["cd"][:, 1] = 60.0, 0.0
    for _ in range(2):
        everyone(env, STOP, ATTACK)
    np.testing.assert_allclose(env.units()["ahp"][:, 0], 60 + 0.5625 / 0.33)


def test_a_medivac_heals_no_further_than_full_health_and_not_at_a_distance() -> None:
    """Range 4 from edge to edge, 0.5625 + 0.75 + 4 = 5.3125 from centre to centre: beyond, it flies there first."""
    env = arena({(10.0, 16.0): "marauder", (15.9, 16.0): "allied medivac"}, {(31.0, 31.0): "marine"})
    env._world["hp"][:, 0] = 124.0
    everyone(env, STOP, ATTACK)
    assert (env.units()["ahp"][:, 0] == 125.0).all()
    x = env.units()["apos"][:, 1, 0]
    assert ((x > 15.0) & (x < 15.3126)).all()


def test_the_medivac_of_the_enemy_heals_the_nearest_hurt_unit_by_itself() -> None:
    enemies = {(16.0, 16.0): "medivac", (16.0, 18.0): "marine", (16.0, 13.0): "marauder"}
    env = arena({(1.0, 1.0): "marine"}, enemies)
    env._world["hp"][:, 2:] = 40.0, 90.0
    everyone(env, STOP)
    everyone(env, STOP)
    hp = env.units()["ehp"]
    assert (hp[:, 1] == 45.0).all()
    assert (hp[:, 2] > 90.0).all()


def test_marauders_cannot_shoot_at_what_flies() -> None:
    """The order is legal for SMAC, and the game refuses it: the marauder goes on with what it did before."""
    env = arena({(10.0, 16.0): "marauder", (10.0, 20.0): "marine"}, {(14.0, 16.0): "medivac", (31.0, 31.0): "marine"})
    everyone(env, EAST, ATTACK)
    for _ in range(2):
        everyone(env, ATTACK, ATTACK)
    assert (env.units()["ehp"][:, 0] < 150.0).all()
    assert lost_to_one_shot(env, 1, 2)[2] == 6 - 1
    np.testing.assert_allclose(env.units()["apos"][:, 0, 0], 12.0)


def test_the_ai_shoots_at_those_who_strike_back_before_medivacs() -> None:
    env = arena({(15.0, 16.0): "allied medivac", (12.0, 16.0): "marine"}, {(17.0, 16.0): "marine"})
    tab, w = env._tables, env._world[0]
    for keeps in (-1, 0):
        w["target"][2] = keeps
        acquire(tab.kinds, tab.pairs, tab.n, w, 2)
        assert w["target"][2] == 1
    w["hp"][1] = 0.0
    acquire(tab.kinds, tab.pairs, tab.n, w, 2)
    assert w["target"][2] == 0


def test_medivacs_fly_over_units_and_walls() -> None:
    smac_map = SmacMap(
        name="wall", allies=("allied medivac", "marine"), enemies=("marine",), ally_start=((10.0, 16.0), (11.0, 16.0)),
        enemy_start=((31.0, 16.0),), limit=9, attack_point=None, walkable=((0, 11, 8, 23), (13, 31, 8, 23)),
    )  # fmt: skip
    env = SmacEnv(smac_map, LANES)
    env.reset(np.arange(LANES, dtype=np.uint64))
    for _ in range(2):
        env._outputs[2][:] = True  # SMAC offers no way into a wall
        everyone(env, EAST, EAST)
    x = env.units()["apos"][:, :, 0]
    np.testing.assert_allclose(x[:, 0], 10 + 2.75)
    assert (x[:, 1] < 12.0).all()


def test_a_last_enemy_that_is_a_medivac_counts_as_none() -> None:
    env = arena({(10.0, 16.0): "marine"}, {(14.0, 16.0): "medivac"})
    step = everyone(env, STOP)
    assert step.terminated.all()
    assert step.info["battle_won"].all()


def test_allies_of_whom_only_a_medivac_is_left_have_lost() -> None:
    env = arena({(10.0, 16.0): "marine", (12.0, 16.0): "allied medivac"}, {(31.0, 31.0): "marine"})
    env._world["hp"][:, 0] = 0.0
    env._outputs[2][:, 0, 0] = True
    step = everyone(env, 0, STOP)
    assert step.terminated.all()
    assert not step.info["battle_won"].any()
