"""Compiled combat: hits, timers, target acquisition and attacks of one lane, one game loop at a time.

All arrays are one lane's rows, (U,) with allies first. ``World`` holds what changes, ``Tables`` what does not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numba import njit

ACQUIRE_EVERY = 4
"""The AI looks for targets every so many loops, not every loop (the published real fight fits 4)."""
NONE, STOP, MOVE, ATTACK, ADVANCE = 0, 1, 2, 3, 4
"""Orders: none (dead), stand passively, walk to a point, attack a unit, attack-move."""
IDLE, HOLD, WALK = 0, 1, 2
"""What a unit does in this loop: stands and gives way, stands its ground, walks."""


class World(NamedTuple):
    """Everything that changes in one lane; the batched arrays have a leading B."""

    x: Float64[np.ndarray, " U"]
    y: Float64[np.ndarray, " U"]
    hx: Float64[np.ndarray, " U"]
    """Heading, a unit vector."""
    hy: Float64[np.ndarray, " U"]
    hp: Float64[np.ndarray, " U"]
    sh: Float64[np.ndarray, " U"]
    cd: Float64[np.ndarray, " U"]
    """Loops until the weapon is ready."""
    wind: Float64[np.ndarray, " U"]
    """Loops left of the wind-up; −1: not winding up."""
    back: Float64[np.ndarray, " U"]
    """Loops left of the backswing or channel, in which the unit stays put."""
    hurt: Float64[np.ndarray, " U"]
    """Loops until the shield starts to regenerate."""
    hit_in: Float64[np.ndarray, " U"]
    """Loops until this unit's pending hit lands; 0: none."""
    hit_on: Int64[np.ndarray, " U"]
    target: Int64[np.ndarray, " U"]
    """Whom the unit attacks; −1: nobody."""
    order: Int64[np.ndarray, " U"]
    to_x: Float64[np.ndarray, " U"]
    to_y: Float64[np.ndarray, " U"]
    side: Int64[np.ndarray, " U"]
    """On which side the unit goes round an obstacle (−1, 0 undecided, 1); kept until the way is free."""


@njit(cache=True, inline="always")
def draw(rng):  # type: ignore[no-untyped-def]
    """A uniform number in [0, 1) from a lane's xorshift64* state, rng (1,) uint64."""
    s = rng[0]
    s ^= s >> np.uint64(12)
    s ^= s << np.uint64(25)
    s ^= s >> np.uint64(27)
    rng[0] = s
    return float((s * np.uint64(2685821657736338717)) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True)
def hurt(tab, w, attacker, victim):  # type: ignore[no-untyped-def]
    """One hit: shields without armour first, the rest less armour on health."""
    if w.hp[victim] <= 0:
        return
    amount = tab.damage[attacker, victim]
    absorbed = min(w.sh[victim], amount)
    w.sh[victim] -= absorbed
    amount -= absorbed
    if amount > 0 or absorbed == 0:
        w.hp[victim] -= max(amount - tab.armour[victim], tab.minimum)
        if w.hp[victim] < 0:
            w.hp[victim] = 0.0
    w.hurt[victim] = tab.sh_delay


@njit(cache=True)
def splash(tab, w, a, v):  # type: ignore[no-untyped-def]
    """A line of splash through the victim, across the shot: every unit of the victim's side that it touches."""
    dx, dy = w.x[v] - w.x[a], w.y[v] - w.y[a]
    d = max(np.sqrt(dx * dx + dy * dy), 1e-9)
    dx, dy = dx / d, dy / d
    ally = v < tab.n
    for o in range(tab.u):
        if o == v or (o < tab.n) != ally or w.hp[o] <= 0:
            continue
        px, py = w.x[o] - w.x[v], w.y[o] - w.y[v]
        along, across = abs(px * dx + py * dy), abs(px * dy - py * dx)
        if across <= 0.5 * tab.splash_length[a] + tab.radius[o] and along <= 0.5 * tab.splash_depth[a] + tab.radius[o]:
            for _ in range(tab.hits[a]):
                hurt(tab, w, a, o)


@njit(cache=True)
def strike(tab, w, a, v):  # type: ignore[no-untyped-def]
    """The moment of the attack: launch a missile, or hit at once and schedule a channelled second hit."""
    if tab.missile[a] > 0:
        dx, dy = w.x[v] - w.x[a], w.y[v] - w.y[a]
        gap = np.sqrt(dx * dx + dy * dy) - tab.radius[a] - tab.radius[v]
        w.hit_in[a] = max(gap / tab.missile[a], 1e-6)
        w.hit_on[a] = v
        w.back[a] = tab.backswing[a]
        return
    hurt(tab, w, a, v)
    if tab.hits[a] == 2 and tab.second_hit[a] > 0:
        w.hit_in[a] = tab.second_hit[a]
        w.hit_on[a] = v
        w.back[a] = max(tab.second_hit[a], tab.backswing[a])
        return
    for _ in range(1, tab.hits[a]):
        hurt(tab, w, a, v)
    if tab.splash_length[a] > 0:
        splash(tab, w, a, v)
    w.back[a] = tab.backswing[a]


@njit(cache=True)
def clocks(tab, w):  # type: ignore[no-untyped-def]
    """Pending hits land, weapons cool down, shields and health regenerate."""
    for u in range(tab.u):
        if w.hit_in[u] > 0:
            w.hit_in[u] -= 1.0
            if w.hit_in[u] <= 0:
                w.hit_in[u] = 0.0
                v = w.hit_on[u]
                if tab.missile[u] > 0:
                    hurt(tab, w, u, v)
                elif w.hp[u] > 0:
                    dx, dy = w.x[v] - w.x[u], w.y[v] - w.y[u]
                    if dx * dx + dy * dy <= tab.channel[u, v] ** 2:
                        hurt(tab, w, u, v)
    for u in range(tab.u):
        if w.hp[u] <= 0:
            continue
        w.cd[u] = max(w.cd[u] - 1.0, 0.0)
        w.back[u] = max(w.back[u] - 1.0, 0.0)
        if w.hurt[u] > 0:
            w.hurt[u] -= 1.0
        elif w.sh[u] < tab.sh_max[u]:
            w.sh[u] = min(w.sh[u] + tab.sh_regen, tab.sh_max[u])
        if tab.hp_regen[u] > 0 and w.hp[u] < tab.hp_max[u]:
            w.hp[u] = min(w.hp[u] + tab.hp_regen[u], tab.hp_max[u])


@njit(cache=True)
def acquire(tab, w, u):  # type: ignore[no-untyped-def]
    """The built-in AI's choice: keep a target in weapon range, else take the nearest within the scan range."""
    t = w.target[u]
    if t >= 0 and w.hp[t] > 0:
        dx, dy = w.x[t] - w.x[u], w.y[t] - w.y[u]
        if dx * dx + dy * dy <= tab.reach[u, t] ** 2:
            return
    best, nearest = -1, np.inf
    for v in range(tab.n):
        if w.hp[v] <= 0:
            continue
        dx, dy = w.x[v] - w.x[u], w.y[v] - w.y[u]
        # Nearest edge to edge, as ranges are measured.
        d = np.sqrt(dx * dx + dy * dy) - tab.radius[v]
        if d < nearest and d + tab.radius[v] <= tab.scan[u, v]:
            best, nearest = v, d
    w.target[u] = best


@njit(cache=True, inline="always")
def turn(tab, w, u, dx, dy):  # type: ignore[no-untyped-def]
    """Turn unit u towards the unit vector (dx, dy); True once it faces there."""
    if not tab.turns[u]:
        return True
    dot = w.hx[u] * dx + w.hy[u] * dy
    if dot >= tab.turn_cos:
        w.hx[u], w.hy[u] = dx, dy
        return True
    s = tab.turn_sin if w.hx[u] * dy - w.hy[u] * dx >= 0 else -tab.turn_sin
    hx, hy = w.hx[u], w.hy[u]
    w.hx[u], w.hy[u] = hx * tab.turn_cos - hy * s, hx * s + hy * tab.turn_cos
    return False


@njit(cache=True)
def fight(tab, w, rng, u):  # type: ignore[no-untyped-def]
    """Unit u's attack on its target in this loop: HOLD while it attacks or waits in range, WALK if out of range."""
    v = w.target[u]
    dx, dy = w.x[v] - w.x[u], w.y[v] - w.y[u]
    d = np.sqrt(dx * dx + dy * dy)
    reach = tab.reach[u, v]
    if w.wind[u] >= 0:
        if d > reach + tab.slop[u]:
            w.wind[u] = -1.0
            w.cd[u] = 0.0
        else:
            w.wind[u] -= 1.0
            if w.wind[u] <= 0:
                w.wind[u] = -1.0
                strike(tab, w, u, v)
            return HOLD
    if w.back[u] > 0 and (d > reach or w.cd[u] > 0):
        return HOLD
    if d > reach:
        return WALK
    facing = turn(tab, w, u, dx / max(d, 1e-9), dy / max(d, 1e-9))
    if w.cd[u] <= 0 and facing:
        w.cd[u] = tab.period[u] + tab.delay_low + tab.delay_span * draw(rng)
        if tab.wind_up[u] > 0:
            w.wind[u] = tab.wind_up[u]
        else:
            strike(tab, w, u, v)
    return HOLD
