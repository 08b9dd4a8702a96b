"""One agent step of the compiled engine: orders from actions, eight game loops, reward and outputs, lane by lane."""

from __future__ import annotations

import numpy as np
from numba import njit

from offmarl_bench.envs.smac.combat import (
    ACQUIRE_EVERY,
    ADVANCE,
    ATTACK,
    HOLD,
    IDLE,
    MOVE,
    NONE,
    STOP,
    WALK,
    World,
    acquire,
    clocks,
    fight,
)
from offmarl_bench.envs.smac.layout import NON_ATTACK
from offmarl_bench.envs.smac.movement import move
from offmarl_bench.envs.smac.outputs import write_legal, write_obs, write_state
from offmarl_bench.envs.smac.reward import battle, outcome
from offmarl_bench.envs.smac.units import LOOPS_PER_STEP

MOVE_AMOUNT = 2.0
"""A move order goes to a point this far away, of which a step covers the part that the unit's speed allows."""
_STEP_X = np.array([0.0, 0.0, MOVE_AMOUNT, -MOVE_AMOUNT])
_STEP_Y = np.array([MOVE_AMOUNT, -MOVE_AMOUNT, 0.0, 0.0])


@njit(cache=True)
def lane(world, b):  # type: ignore[no-untyped-def]
    """Lane b of a batched world, as views."""
    return World(
        world.x[b], world.y[b], world.hx[b], world.hy[b], world.hp[b], world.sh[b], world.cd[b], world.wind[b],
        world.back[b], world.hurt[b], world.hit_in[b], world.hit_on[b], world.target[b], world.order[b],
        world.to_x[b], world.to_y[b], world.side[b],
    )  # fmt: skip


@njit(cache=True)
def spawn(tab, w):  # type: ignore[no-untyped-def]
    """Put all units of one lane at their places, whole and ready."""
    for u in range(tab.u):
        w.x[u], w.y[u] = tab.start_x[u], tab.start_y[u]
        w.hx[u], w.hy[u] = tab.face_x[u], 0.0
        w.hp[u], w.sh[u] = tab.hp_max[u], tab.sh_max[u]
        w.cd[u], w.wind[u], w.back[u], w.hurt[u] = 0.0, -1.0, 0.0, 0.0
        w.hit_in[u], w.hit_on[u], w.target[u], w.side[u] = 0.0, -1, -1, 0
        advances = u >= tab.n and not np.isnan(tab.goal_x[u])
        w.order[u] = ADVANCE if advances else STOP
        w.to_x[u], w.to_y[u] = tab.goal_x[u], tab.goal_y[u]


@njit(cache=True)
def give_orders(tab, w, actions):  # type: ignore[no-untyped-def]
    """Turn the agents' actions (N,) into orders; a new order ends a wind-up and a channelled second hit."""
    for i in range(tab.n):
        if w.hp[i] <= 0:
            w.order[i] = NONE
            continue
        a = actions[i]
        if a >= NON_ATTACK:
            v = tab.n + a - NON_ATTACK
            if w.order[i] == ATTACK and w.target[i] == v:
                # The same order again keeps a wind-up going, but interrupts the channelled second hit.
                if tab.missile[i] == 0:
                    w.hit_in[i] = 0.0
                    w.back[i] = 0.0
                continue
            w.order[i], w.target[i] = ATTACK, v
        elif a >= 2:
            w.order[i], w.target[i] = MOVE, -1
            w.to_x[i], w.to_y[i] = w.x[i] + _STEP_X[a - 2], w.y[i] + _STEP_Y[a - 2]
        else:
            w.order[i], w.target[i] = STOP, -1
        if w.wind[i] >= 0:
            w.wind[i] = -1.0
            w.cd[i] = 0.0
        if tab.missile[i] == 0:
            w.hit_in[i] = 0.0
        w.back[i] = 0.0
        w.side[i] = 0


@njit(cache=True)
def loop(tab, grid, w, rng, tick, doing, gx, gy, ignore, vx, vy):  # type: ignore[no-untyped-def]
    """One game loop of one lane."""
    clocks(tab, w)
    for u in range(tab.u):
        doing[u], ignore[u] = IDLE, -1
        if w.hp[u] <= 0:
            continue
        if u >= tab.n and w.wind[u] < 0 and (tick + u) % ACQUIRE_EVERY == 0:
            acquire(tab, w, u)
        t = w.target[u]
        if t >= 0 and w.hp[t] <= 0:
            w.target[u] = -1
            w.wind[u] = -1.0
            if u < tab.n:
                w.order[u] = STOP
            t = -1
        if t >= 0:
            doing[u] = fight(tab, w, rng, u)
            if doing[u] == WALK:
                gx[u], gy[u], ignore[u] = w.x[t], w.y[t], t
        elif w.back[u] > 0:
            doing[u] = HOLD
        elif w.order[u] == MOVE or w.order[u] == ADVANCE:
            doing[u] = WALK
            gx[u], gy[u] = w.to_x[u], w.to_y[u]
            if abs(gx[u] - w.x[u]) + abs(gy[u] - w.y[u]) < 1e-3:
                w.order[u] = STOP
                doing[u] = IDLE
        if tab.speed[u] == 0.0 and doing[u] == WALK:
            doing[u] = HOLD
    move(tab, grid, w, doing, gx, gy, ignore, vx, vy)


@njit(cache=True)
def reset_lanes(tab, lay, world, last, t, running, obs, state, legal):  # type: ignore[no-untyped-def]
    """Start all B lanes."""
    for b in range(t.shape[0]):
        w = lane(world, b)
        spawn(tab, w)
        last[b, :] = -1
        t[b] = 0
        running[b] = True
        write_legal(lay, w.x, w.y, w.hp, legal[b])
        write_obs(lay, w.x, w.y, w.hp, w.sh, last[b], 0, legal[b], obs[b])
        write_state(lay, w.x, w.y, w.hp, w.sh, w.cd, last[b], 0, obs[b], state[b])


@njit(cache=True)
def step_lanes(  # type: ignore[no-untyped-def]
    tab, lay, flags, world, rng, last, t, running, actions, obs, state, legal, reward, terminated, truncated, won,
    dead_allies, dead_enemies,
):  # fmt: skip
    """Advance every running lane by one agent step."""
    only_positive, negative_scale, death_value, win, defeat, scale, sparse = flags
    u = tab.u
    doing, ignore = np.zeros(u, np.int64), np.zeros(u, np.int64)
    gx, gy, vx, vy = np.zeros(u), np.zeros(u), np.zeros(u), np.zeros(u)
    before = np.zeros(u)
    for b in range(t.shape[0]):
        reward[b] = 0.0
        if not running[b]:
            continue
        w = lane(world, b)
        for k in range(u):
            before[k] = w.hp[k] + w.sh[k] if w.hp[k] > 0 else 0.0
        give_orders(tab, w, actions[b])
        for k in range(LOOPS_PER_STEP):
            loop(tab, lay.grid, w, rng[b], t[b] * LOOPS_PER_STEP + k, doing, gx, gy, ignore, vx, vy)
        t[b] += 1
        for i in range(tab.n):
            last[b, i] = actions[b, i]
        for k in range(u):
            gx[k] = w.hp[k] + w.sh[k] if w.hp[k] > 0 else 0.0
        gain = 0.0 if sparse else battle(tab.n, before, gx, only_positive, negative_scale, death_value)
        end = outcome(tab.n, w.hp)
        if end != 2:
            terminated[b] = True
            running[b] = False
            if end == 1:
                won[b] = True
                gain = 1.0 if sparse else gain + win
            elif end == -1:
                gain = -1.0 if sparse else gain + defeat
        elif t[b] >= lay.limit:
            truncated[b] = True
            running[b] = False
        reward[b] = gain if sparse else gain / scale
        write_legal(lay, w.x, w.y, w.hp, legal[b])
        write_obs(lay, w.x, w.y, w.hp, w.sh, last[b], t[b], legal[b], obs[b])
        write_state(lay, w.x, w.y, w.hp, w.sh, w.cd, last[b], t[b], obs[b], state[b])
        if not running[b]:
            a, e = 0, 0
            for k in range(u):
                if w.hp[k] <= 0:
                    if k < tab.n:
                        a += 1
                    else:
                        e += 1
            dead_allies[b], dead_enemies[b] = a, e
