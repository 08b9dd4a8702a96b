"""Compiled movement: all units choose where to go first, then steer round what stands, then push apart.

Pushing and steering decide how long a fight takes more than any other mechanic: units that only slide jam behind
those that stand and shoot.
"""

from __future__ import annotations

import numpy as np

from offmarl_bench.envs.smac.combat import IDLE, WALK, turn
from offmarl_bench.envs.smac.compiled import compiled
from offmarl_bench.envs.smac.maps import GROUND, SIZE
from offmarl_bench.envs.smac.routes import STRAIGHT

LOOK_AHEAD = 1.0
"""How far beyond contact a unit sees an obstacle, in cells."""
ROUNDS = 2
"""How often a way round is corrected for the next obstacle, and how often overlaps are pushed apart."""


@compiled
def living(w, walkers, who):  # type: ignore[no-untyped-def]
    """List in ``who`` (U,) the living units, with or without those that walk; returns how many they are.

    What all pairs of units are asked in every game loop, they are asked faster if the dead are not there.
    """
    count = 0
    for u in range(len(w)):
        if w[u].hp > 0 and (walkers or w[u].doing != WALK):
            who[count] = u
            count += 1
    return count


@compiled
def steer(pairs, w, who, standing, u, dx, dy, dist):  # type: ignore[no-untyped-def]
    """Bend unit u's direction (dx, dy) round those of ``who[:standing]``, the units that stand, that are in its way."""
    side = w[u].side
    free = True
    for _ in range(ROUNDS):
        nearest, block = np.inf, -1
        for k in range(standing):
            o = who[k]
            px, py = w[o].x - w[u].x, w[o].y - w[u].y
            c = pairs[u, o].contact
            along = px * dx + py * dy
            if along <= 0 or along > c + LOOK_AHEAD or along > dist + c:
                continue
            if abs(px * dy - py * dx) < c - 1e-3 and along < nearest and o != w[u].ignore:
                nearest, block = along, o
        if block < 0:
            break
        free = False
        px, py = w[block].x - w[u].x, w[block].y - w[u].y
        d = max(np.sqrt(px * px + py * py), 1e-9)
        px, py = px / d, py / d
        if side == 0:
            # The obstacle's centre is left of the way (cross > 0): pass on the right, and the other way round.
            side = -1 if dx * py - dy * px > 0 else 1
        s = min(pairs[u, block].contact / d, 1.0)
        c = np.sqrt(1.0 - s * s)
        dx, dy = px * c - py * s * side, py * c + px * s * side
    w[u].side = 0 if free else side
    return dx, dy


@compiled
def walkable(terrain, enters, x, y):  # type: ignore[no-untyped-def]
    """True if the cell under (x, y) may be entered by those who enter GROUND, CLIFF or AIR."""
    return 0.0 <= x < SIZE and 0.0 <= y < SIZE and (terrain[int(x), int(y)] & enters) != 0


@compiled
def next_point(routes, x, y, goal_x, goal_y):  # type: ignore[no-untyped-def]
    """Where to walk from (x, y) in order to come to the goal: the next corner on the way, or the goal itself."""
    gx, gy = min(max(int(goal_x), 0), SIZE - 1), min(max(int(goal_y), 0), SIZE - 1)
    way = routes[int(x) * SIZE + int(y), gx * SIZE + gy]
    if way == STRAIGHT:
        return goal_x, goal_y
    return way // SIZE + 0.5, way % SIZE + 0.5


@compiled
def move(kinds, pairs, n, terrain, routes, w, who):  # type: ignore[no-untyped-def]
    """Walk every unit with ``doing == WALK`` towards its goal for one loop; ``who`` (U,) is scratch."""
    standing = living(w, False, who)
    for u in range(len(w)):
        w[u].vx, w[u].vy = 0.0, 0.0
        if w[u].doing != WALK or w[u].hp <= 0:
            continue
        goal_x, goal_y = w[u].goal_x, w[u].goal_y
        if len(routes) > 0 and kinds[u].enters == GROUND:
            goal_x, goal_y = next_point(routes, w[u].x, w[u].y, goal_x, goal_y)
        dx, dy = goal_x - w[u].x, goal_y - w[u].y
        dist = np.sqrt(dx * dx + dy * dy)
        if dist < 1e-6:
            continue
        dx, dy = steer(pairs, w, who, standing, u, dx / dist, dy / dist, dist)
        if turn(kinds, w, u, dx, dy):
            step = min(kinds[u].speed, dist)
            w[u].vx, w[u].vy = dx * step, dy * step
    count = living(w, True, who)
    for _ in range(ROUNDS):
        pushed = False
        for a in range(count):
            u = who[a]
            walks = w[u].doing == WALK
            for b in range(a + 1, count):
                o = who[b]
                px, py = w[o].x + w[o].vx - w[u].x - w[u].vx, w[o].y + w[o].vy - w[u].y - w[u].vy
                c = pairs[u, o].contact
                d2 = px * px + py * py
                # Only walkers push: two that stand need no look.
                if d2 >= c * c or (not walks and w[o].doing != WALK):
                    continue
                # Who gives way: walkers always; idle units to walkers of their own side; those who fight never.
                same = (u < n) == (o < n)
                mu = w[u].doing == WALK or (w[u].doing == IDLE and same and w[o].doing == WALK)
                mo = w[o].doing == WALK or (w[o].doing == IDLE and same and w[u].doing == WALK)
                mu, mo = mu and not kinds[u].fixed, mo and not kinds[o].fixed
                if not mu and not mo:
                    continue
                pushed = True
                d = max(np.sqrt(d2), 1e-6)
                share = (c - d) / d * (0.5 if mu and mo else 1.0)
                if mu:
                    w[u].vx -= px * share
                    w[u].vy -= py * share
                if mo:
                    w[o].vx += px * share
                    w[o].vy += py * share
        if not pushed:
            break
    for u in range(len(w)):
        if w[u].hp <= 0 or (w[u].vx == 0.0 and w[u].vy == 0.0):
            continue
        limit = kinds[u].speed
        d = np.sqrt(w[u].vx * w[u].vx + w[u].vy * w[u].vy)
        if d > limit and d > 0:
            w[u].vx, w[u].vy = w[u].vx * limit / d, w[u].vy * limit / d
        if walkable(terrain, kinds[u].enters, w[u].x + w[u].vx, w[u].y + w[u].vy):
            w[u].x += w[u].vx
            w[u].y += w[u].vy
        elif walkable(terrain, kinds[u].enters, w[u].x + w[u].vx, w[u].y):
            w[u].x += w[u].vx
        elif walkable(terrain, kinds[u].enters, w[u].x, w[u].y + w[u].vy):
            w[u].y += w[u].vy
