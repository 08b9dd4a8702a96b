"""Cliffs, ways round them, and the swarm of 2c_vs_64zg: by arithmetic and by what the ground allows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from offmarl_bench.envs.smac.combat import strike
from offmarl_bench.envs.smac.env import SmacEnv
from offmarl_bench.envs.smac.maps import AIR, CLIFF, EVERYWHERE, GROUND, SIZE, SmacMap, get_map, two_groups
from offmarl_bench.envs.smac.routes import STRAIGHT, nearest_free, routes, sees, towards
from offmarl_bench.envs.smac.spawn import Point, group
from offmarl_bench.errors import SpecMismatch

LANES = 16
STOP, NORTH, SOUTH, EAST, ATTACK = 1, 2, 3, 4, 6
WALL = ((0, 14, 0, 31), (17, 31, 0, 31), (15, 16, 0, 3))
"""Two halves of a map with a wall between them, x = 15 and 16, and a gap in the south."""


def battle(allies: dict[Point, str], enemies: dict[Point, str], **changes: Any) -> SmacEnv:
    """Lanes with the given units; enemies wait unless told otherwise."""
    rest: dict[str, Any] = {"attack_point": None, "walkable": EVERYWHERE, **changes}
    smac_map = SmacMap(
        name="arena", allies=tuple(allies.values()), enemies=tuple(enemies.values()), ally_start=tuple(allies),
        enemy_start=tuple(enemies), limit=200, **rest,
    )  # fmt: skip
    env = SmacEnv(smac_map, LANES)
    env.reset(np.arange(LANES, dtype=np.uint64))
    return env


def everyone(env: SmacEnv, *actions: int) -> Any:
    """One step in which every lane plays the same actions, allowed or not."""
    env._outputs[2][:] = True
    return env.step(np.tile(actions, (LANES, 1)))


def cell(x: float, y: float) -> int:
    return int(x) * SIZE + int(y)


def test_a_colossus_walks_over_a_cliff_and_a_stalker_does_not() -> None:
    """The wall is a cliff: eight steps east are 8 × 1.125 cells for the colossus, and the edge for the stalker."""
    start = {(12.0, 16.0): "colossus", (12.0, 20.0): "stalker"}
    env = battle(start, {(31.0, 31.0): "zealot"}, walkable=WALL, cliffs=((15, 16, 4, 31),))
    for _ in range(8):
        everyone(env, EAST, EAST)
    x = env.units()["apos"][:, :, 0]
    np.testing.assert_allclose(x[:, 0], 21.0, atol=1e-9)
    assert ((x[:, 1] > 14.5) & (x[:, 1] < 15.0)).all()


def test_what_is_no_cliff_stops_a_colossus_too() -> None:
    env = battle({(12.0, 16.0): "colossus"}, {(31.0, 31.0): "zealot"}, walkable=WALL)
    for _ in range(8):
        everyone(env, EAST)
    assert (env.units()["apos"][:, 0, 0] < 15.0).all()


def test_who_may_enter_which_cell() -> None:
    terrain = get_map("2c_vs_64zg").terrain()
    assert terrain[16, 9] == GROUND + CLIFF + AIR
    assert terrain[16, 12] == CLIFF + AIR
    assert terrain[16, 2] == AIR
    assert (get_map("2s3z").terrain() & GROUND == 1).sum() == 32 * 16


def test_the_table_of_routes_by_hand() -> None:
    """From one side of the wall to the other the way leads through the gap; on one side all ways are straight."""
    table = routes(replace(get_map("3m"), walkable=WALL, detours=True))
    here, there = cell(10.5, 10.5), cell(21.5, 10.5)
    assert table[here, cell(10.5, 29.5)] == STRAIGHT
    corner = table[here, there]
    assert corner // SIZE in (14, 15, 16, 17)
    assert corner % SIZE == 3
    assert table[corner, there] in (STRAIGHT, cell(17.5, 3.5), cell(16.5, 3.5))
    assert routes(get_map("2s3z")).shape == (0, 0)


def test_the_pieces_of_the_table() -> None:
    free = np.ones((SIZE, SIZE), bool)
    free[5, 5] = False
    assert sees(free, cell(3, 3), cell(3, 9))
    assert not sees(free, cell(5, 3), cell(5, 9))
    assert nearest_free(free, cell(5, 5)) == cell(4, 5)
    assert nearest_free(np.zeros((SIZE, SIZE), bool), cell(5, 5)) == -1
    following = towards(free, cell(5, 7))
    # Straight below the obstacle one step to the side comes first: never between two corners that touch.
    assert following[cell(5, 4)] in (cell(4, 4), cell(6, 4))
    free[:, 20] = False
    assert towards(free, cell(5, 7))[cell(5, 25)] == -1


def test_an_enemy_on_the_other_side_of_a_wall_comes_round_it() -> None:
    """A zergling hunts a stalker: 13 cells down to the gap, 8 across, 13 up again, at 1.4766 a step."""
    env = battle(
        {(12.0, 16.0): "stalker"}, {(20.0, 16.0): "zergling"}, walkable=WALL, detours=True, hunts=True,
    )  # fmt: skip
    first = 0
    for t in range(1, 40):
        everyone(env, STOP)
        if first == 0 and (env.units()["ash"] < 80).any():
            first = t
    shortest = 2 * math.dist((20, 16), (17.5, 3.5)) + 3 - 1.5
    assert shortest / 1.4766 - 1 < first < 1.3 * shortest / 1.4766


def test_without_detours_it_stands_at_the_wall() -> None:
    env = battle({(12.0, 16.0): "stalker"}, {(20.0, 16.0): "zergling"}, walkable=WALL, hunts=True)
    for _ in range(30):
        everyone(env, STOP)
    assert (env.units()["ash"] == 80).all()


def test_hunters_follow_whoever_is_nearest() -> None:
    """The nearer agent first; when it is dead, the other one."""
    env = battle({(4.0, 16.0): "stalker", (24.0, 16.0): "stalker"}, {(16.0, 16.0): "zergling"}, hunts=True)
    everyone(env, STOP, STOP)
    assert (env.units()["epos"][:, 0, 0] > 17.0).all()
    env._world["hp"][:, 1] = 0.0
    for _ in range(3):
        everyone(env, STOP, 0)
    assert (env.units()["epos"][:, 0, 0] < 16.0).all()


def test_a_zergling_needs_eighty_bites_for_a_colossus() -> None:
    """150 shield in bites of 5, then 200 health in bites of 5 − 1: 30 + 50."""
    env = battle({(10.0, 16.0): "colossus"}, {(11.4, 16.0): "zergling"})
    tab, w = env._tables, env._world[0]
    for bites in range(1, 81):
        assert w["hp"][0] > 0, bites
        strike(tab.kinds, tab.pairs, tab.n, w, 1, 0)
    assert w["hp"][0] == 0


def test_two_shots_of_a_colossus_kill_a_row_of_zerglings() -> None:
    """15 + 15 a shot against light, armour 0: 35 health need two. Edges within 0.15 of the line burn: 1.25 + 0.525."""
    row: dict[Point, str] = {(16.0, 14.3 + 0.94 * k): "zergling" for k in range(5)}
    env = battle({(10.0, 16.18): "colossus"}, row)
    tab, w = env._tables, env._world[0]
    strike(tab.kinds, tab.pairs, tab.n, w, 0, 3)
    np.testing.assert_array_equal(w["hp"][1:], [35, 5, 5, 5, 35])
    strike(tab.kinds, tab.pairs, tab.n, w, 0, 3)
    np.testing.assert_array_equal(w["hp"][1:], [35, 0, 0, 0, 35])


def test_only_so_many_can_bite_at_once() -> None:
    """Zerglings round a stalker stand 0.375 + 0.625 + 0.1 from its centre at most, 0.94 from each other: at most 7.

    On a circle of radius 1.1 the chord between two is 2 · 1.1 · sin(π / 7) = 0.95; eight would be 0.84 apart.
    """
    swarm: dict[Point, str] = {(20.0 + 0.95 * (k % 4), 13.0 + 0.95 * (k // 4)): "zergling" for k in range(24)}
    env = battle({(14.0, 15.0): "stalker"}, swarm, hunts=True)
    env._world["sh"][:, 0] = env._world["hp"][:, 0] = 1e6
    for _ in range(24):
        everyone(env, STOP)
    u = env.units()
    away = np.linalg.norm(u["epos"] - u["apos"], axis=-1)
    bites = (away <= 1.1 + 1e-9).sum(-1)
    assert bites.max() <= 7
    assert bites.mean() > 4, "they surround it"


def test_the_swarm_starts_on_its_own_terrace_and_comes_up_both_ramps() -> None:
    smac_map = get_map("2c_vs_64zg")
    places = np.array(smac_map.enemy_start)
    assert len(places) == 64
    assert (places[:, 1] < 12.0).all()
    env = SmacEnv(smac_map, 1)
    view: Any = env.reset(np.zeros(1, np.uint64))
    low = {True: False, False: False}
    for _ in range(16):
        view = env.step(np.where(view.legal[:, :, STOP], STOP, 0))
        up = env.units()["epos"][0]
        for west in (True, False):
            low[west] |= bool(((up[:, 1] > 14.0) & ((up[:, 0] < 6) == west)).any())
    assert low == {True: True, False: True}
    assert (env.units()["ehp"] > 0).all()


def test_a_group_that_finds_no_room_is_named() -> None:
    free = np.zeros((SIZE, SIZE), bool)
    free[8:10, 8:10] = True
    with pytest.raises(SpecMismatch, match=r"no room for 9 units at \(9\.0, 9\.0\); make the walkable ground larger"):
        group(("stalker",) * 9, (9.0, 9.0), free)


def test_a_map_with_cliffs_and_a_hunt_is_one_row_too() -> None:
    new = two_groups(
        "1c_vs_6zg", ("colossus",), ("zergling",) * 6, 90, walkable=WALL, cliffs=((15, 16, 4, 31),),
        points=((8.0, 20.0), (24.0, 20.0)), detours=True, hunts=True,
    )  # fmt: skip
    env = SmacEnv(new, 4)
    view: Any = env.reset(np.arange(4, dtype=np.uint64))
    for _ in range(90):
        targets = view.legal[:, :, ATTACK:]
        view = env.step(np.where(targets.any(-1), targets.argmax(-1) + ATTACK, view.legal[:, :, :2].argmax(-1)))
    assert view.info["battle_won"].all()
