"""Compiled movement: all units choose where to go first, then steer round what stands, then push apart.

Pushing and steering decide how long a fight takes more than any other mechanic: units that only slide jam behind
those that stand and shoot.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from offmarl_bench.envs.smac.combat import HOLD, IDLE, WALK, turn
from offmarl_bench.envs.smac.maps import SIZE

LOOK_AHEAD = 1.0
"""How far beyond contact a unit sees an obstacle, in cells."""
ROUNDS = 2
"""How often a way round is corrected for the next obstacle, and how often overlaps are pushed apart."""


@njit(cache=True)
def steer(tab, w, doing, u, dx, dy, dist, ignore):  # type: ignore[no-untyped-def]
    """Bend unit u's direction (dx, dy) round units that stand in its way; ``ignore``: the one it walks to."""
    side = w.side[u]
    free = True
    for _ in range(ROUNDS):
        nearest, block = np.inf, -1
        for o in range(tab.u):
            if o == u or o == ignore or w.hp[o] <= 0 or doing[o] == WALK:
                continue
            px, py = w.x[o] - w.x[u], w.y[o] - w.y[u]
            c = tab.contact[u, o]
            along = px * dx + py * dy
            if along <= 0 or along > c + LOOK_AHEAD or along > dist + c:
                continue
            if abs(px * dy - py * dx) < c - 1e-3 and along < nearest:
                nearest, block = along, o
        if block < 0:
            break
        free = False
        px, py = w.x[block] - w.x[u], w.y[block] - w.y[u]
        d = max(np.sqrt(px * px + py * py), 1e-9)
        px, py = px / d, py / d
        if side == 0:
            # The obstacle's centre is left of the way (cross > 0): pass on the right, and the other way round.
            side = -1 if dx * py - dy * px > 0 else 1
        s = min(tab.contact[u, block] / d, 1.0)
        c = np.sqrt(1.0 - s * s)
        dx, dy = px * c - py * s * side, py * c + px * s * side
    w.side[u] = 0 if free else side
    return dx, dy


@njit(cache=True)
def walkable(grid, x, y):  # type: ignore[no-untyped-def]
    """True if the cell under (x, y) may be entered."""
    return 0.0 <= x < SIZE and 0.0 <= y < SIZE and grid[int(x), int(y)]


@njit(cache=True)
def move(tab, grid, w, doing, gx, gy, ignore, vx, vy):  # type: ignore[no-untyped-def]
    """Walk every unit with ``doing == WALK`` towards (gx, gy) for one loop. vx, vy (U,) are scratch."""
    for u in range(tab.u):
        vx[u], vy[u] = 0.0, 0.0
        if doing[u] != WALK or w.hp[u] <= 0:
            continue
        dx, dy = gx[u] - w.x[u], gy[u] - w.y[u]
        dist = np.sqrt(dx * dx + dy * dy)
        if dist < 1e-6:
            continue
        dx, dy = steer(tab, w, doing, u, dx / dist, dy / dist, dist, ignore[u])
        if turn(tab, w, u, dx, dy):
            step = min(tab.speed[u], dist)
            vx[u], vy[u] = dx * step, dy * step
    for _ in range(ROUNDS):
        for u in range(tab.u):
            if w.hp[u] <= 0:
                continue
            for o in range(u + 1, tab.u):
                if w.hp[o] <= 0:
                    continue
                px, py = w.x[o] + vx[o] - w.x[u] - vx[u], w.y[o] + vy[o] - w.y[u] - vy[u]
                c = tab.contact[u, o]
                d2 = px * px + py * py
                if d2 >= c * c:
                    continue
                # Who gives way: walkers always; idle units to walkers of their own side; those who fight never.
                same = (u < tab.n) == (o < tab.n)
                mu = doing[u] == WALK or (doing[u] == IDLE and same and doing[o] == WALK)
                mo = doing[o] == WALK or (doing[o] == IDLE and same and doing[u] == WALK)
                mu, mo = mu and not tab.fixed[u], mo and not tab.fixed[o]
                if not mu and not mo:
                    continue
                d = max(np.sqrt(d2), 1e-6)
                share = (c - d) / d * (0.5 if mu and mo else 1.0)
                if mu:
                    vx[u] -= px * share
                    vy[u] -= py * share
                if mo:
                    vx[o] += px * share
                    vy[o] += py * share
    for u in range(tab.u):
        if w.hp[u] <= 0 or (vx[u] == 0.0 and vy[u] == 0.0):
            continue
        limit = tab.speed[u]
        d = np.sqrt(vx[u] * vx[u] + vy[u] * vy[u])
        if d > limit and d > 0:
            vx[u], vy[u] = vx[u] * limit / d, vy[u] * limit / d
        if walkable(grid, w.x[u] + vx[u], w.y[u] + vy[u]):
            w.x[u] += vx[u]
            w.y[u] += vy[u]
        elif walkable(grid, w.x[u] + vx[u], w.y[u]):
            w.x[u] += vx[u]
        elif walkable(grid, w.x[u], w.y[u] + vy[u]):
            w.y[u] += vy[u]
