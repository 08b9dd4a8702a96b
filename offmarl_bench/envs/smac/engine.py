"""One agent step of the compiled engine: orders from actions, eight game loops, reward and outputs, lane by lane."""

from __future__ import annotations

import numpy as np

from offmarl_bench.envs.smac.combat import (
    ACQUIRE_EVERY,
    ADVANCE,
    ATTACK,
    HOLD,
    HUNT,
    IDLE,
    MOVE,
    NONE,
    STOP,
    WALK,
    acquire,
    clocks,
    fight,
    nearest_agent,
)
from offmarl_bench.envs.smac.compiled import compiled
from offmarl_bench.envs.smac.heal import find_patient, tend
from offmarl_bench.envs.smac.layout import NON_ATTACK
from offmarl_bench.envs.smac.movement import move
from offmarl_bench.envs.smac.outputs import write_all
from offmarl_bench.envs.smac.reward import LOST, ONGOING, WON, battle, outcome, total
from offmarl_bench.envs.smac.units import ENERGY_START, LOOPS_PER_STEP

MOVE_AMOUNT = 2.0
"""A move order goes to a point this far away, of which a step covers the part that the unit's speed allows."""
BOOK = np.dtype(
    [
        ("t", "i8"),
        ("running", "b1"),
        ("terminated", "b1"),
        ("truncated", "b1"),
        ("won", "b1"),
        ("dead_allies", "i8"),
        ("dead_enemies", "i8"),
    ]
)
"""What is kept about one lane."""
_STEP_X = np.array([0.0, 0.0, MOVE_AMOUNT, -MOVE_AMOUNT])
_STEP_Y = np.array([MOVE_AMOUNT, -MOVE_AMOUNT, 0.0, 0.0])


@compiled
def spawn(kinds, n, w):  # type: ignore[no-untyped-def]
    """Put all units of one lane at their places, whole and ready."""
    for u in range(len(w)):
        w[u].x, w[u].y = kinds[u].start_x, kinds[u].start_y
        w[u].hx, w[u].hy = kinds[u].face_x, 0.0
        w[u].hp, w[u].sh = kinds[u].hp_max, kinds[u].sh_max
        w[u].cd = ENERGY_START if kinds[u].heal > 0 else 0.0
        w[u].wind, w[u].back, w[u].hurt = -1.0, 0.0, 0.0
        w[u].hit_in, w[u].hit_on, w[u].target, w[u].side = 0.0, -1, -1, 0
        advances = u >= n and not np.isnan(kinds[u].goal_x)
        w[u].order = HUNT if kinds[u].hunts else ADVANCE if advances else STOP
        w[u].to_x, w[u].to_y = kinds[u].goal_x, kinds[u].goal_y


@compiled
def give_orders(kinds, pairs, n, w, actions):  # type: ignore[no-untyped-def]
    """Turn the agents' actions (N,) into orders; a new order ends a wind-up and a channelled second hit."""
    for i in range(n):
        if w[i].hp <= 0:
            w[i].order = NONE
            continue
        a = actions[i]
        if a >= NON_ATTACK:
            v = a - NON_ATTACK if kinds[i].heal > 0 else n + a - NON_ATTACK
            if pairs[i, v].scan < 0:
                # The game refuses an order that cannot be carried out (a marauder against a flier): the old one stays.
                continue
            if w[i].order == ATTACK and w[i].target == v:
                # The same order again changes nothing: a wind-up and a channelled second hit go on.
                continue
            w[i].order, w[i].target = ATTACK, v
        elif a >= 2:
            w[i].order, w[i].target = MOVE, -1
            w[i].to_x, w[i].to_y = w[i].x + _STEP_X[a - 2], w[i].y + _STEP_Y[a - 2]
        else:
            w[i].order, w[i].target = STOP, -1
        if w[i].wind >= 0:
            w[i].wind = -1.0
            w[i].cd = 0.0
        if kinds[i].missile == 0:
            w[i].hit_in = 0.0
        w[i].back = 0.0
        w[i].side = 0


@compiled
def loop(kinds, pairs, n, terrain, routes, w, rng, tick, who):  # type: ignore[no-untyped-def]
    """One game loop of one lane."""
    clocks(kinds, pairs, w)
    for u in range(len(w)):
        w[u].doing, w[u].ignore = IDLE, -1
        if w[u].hp <= 0:
            continue
        if u >= n and w[u].wind < 0 and (tick + u) % ACQUIRE_EVERY == 0:
            if kinds[u].heal > 0:
                find_patient(kinds, pairs, n, w, u)
            else:
                acquire(kinds, pairs, n, w, u)
        t = w[u].target
        if t >= 0 and w[t].hp <= 0:
            w[u].target = -1
            w[u].wind = -1.0
            if u < n:
                w[u].order = STOP
            t = -1
        if t >= 0:
            w[u].doing = tend(kinds, pairs, w, u) if kinds[u].heal > 0 else fight(kinds, pairs, n, w, rng, u)
            if w[u].doing == WALK:
                w[u].goal_x, w[u].goal_y, w[u].ignore = w[t].x, w[t].y, t
        elif w[u].back > 0:
            w[u].doing = HOLD
        elif w[u].order == MOVE or w[u].order == ADVANCE:
            w[u].doing = WALK
            w[u].goal_x, w[u].goal_y = w[u].to_x, w[u].to_y
            if abs(w[u].goal_x - w[u].x) + abs(w[u].goal_y - w[u].y) < 1e-3:
                w[u].order = STOP
                w[u].doing = IDLE
        elif w[u].order == HUNT:
            prey = nearest_agent(n, w, u)
            if prey >= 0:
                w[u].doing, w[u].ignore = WALK, prey
                w[u].goal_x, w[u].goal_y = w[prey].x, w[prey].y
        if kinds[u].speed == 0.0 and w[u].doing == WALK:
            w[u].doing = HOLD
    move(kinds, pairs, n, terrain, routes, w, who)


@compiled
def reset_lanes(kinds, n, lay, grid, look, world, books, last, obs, state, legal):  # type: ignore[no-untyped-def]
    """Start all B lanes."""
    for b in range(len(books)):
        spawn(kinds, n, world[b])
        last[b, :] = -1
        books[b].t = 0
        books[b].running = True
        books[b].terminated = books[b].truncated = books[b].won = False
        write_all(lay[0], grid, look, world[b], last[b], 0, obs[b], state[b], legal[b])


@compiled
def first_illegal(legal, books, actions):  # type: ignore[no-untyped-def]
    """The first (lane, agent) of a running lane whose action is not legal; (-1, -1) if there is none."""
    for b in range(len(books)):
        if books[b].running:
            for i in range(actions.shape[1]):
                a = actions[b, i]
                if a < 0 or a >= legal.shape[2] or not legal[b, i, a]:
                    return b, i
    return -1, -1


@compiled
def settle(kinds, n, limit, rules, w, book, gain):  # type: ignore[no-untyped-def]
    """End of a step: add win or defeat to the battle's reward, scale it, and close the lane if it is over."""
    end = outcome(kinds, n, w)
    if end != ONGOING:
        book.terminated = True
        book.won = end == WON
        if rules.sparse:
            gain = float(end)
        elif end == WON:
            gain += rules.win
        elif end == LOST:
            gain += rules.defeat
    elif book.t >= limit:
        book.truncated = True
    if end != ONGOING or book.truncated:
        book.running = False
        book.dead_allies = book.dead_enemies = 0
        for u in range(len(w)):
            if w[u].hp <= 0:
                if u < n:
                    book.dead_allies += 1
                else:
                    book.dead_enemies += 1
    return gain / rules.scale


@compiled
def step_lanes(  # type: ignore[no-untyped-def]
    kinds,
    pairs,
    n,
    terrain,
    routes,
    lay,
    grid,
    look,
    rules,
    world,
    books,
    rng,
    last,
    actions,
    obs,
    state,
    legal,
    reward,
):
    """Advance every running lane by one agent step; reward (B,)."""
    before, now = np.zeros(len(kinds)), np.zeros(len(kinds))
    who = np.zeros(len(kinds), np.int64)
    for b in range(len(books)):
        reward[b] = 0.0
        if not books[b].running:
            continue
        w = world[b]
        total(w, before)
        give_orders(kinds, pairs, n, w, actions[b])
        for k in range(LOOPS_PER_STEP):
            loop(kinds, pairs, n, terrain, routes, w, rng[b], books[b].t * LOOPS_PER_STEP + k, who)
        books[b].t += 1
        last[b, :] = actions[b, :]
        total(w, now)
        reward[b] = settle(kinds, n, lay[0].limit, rules[0], w, books[b], battle(n, rules[0], before, now))
        write_all(lay[0], grid, look, w, last[b], books[b].t, obs[b], state[b], legal[b])
