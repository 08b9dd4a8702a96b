"""Compiled combat: hits, timers, target acquisition and attacks of one lane, one game loop at a time.

``w`` is one lane, an array (U,) of ``UNIT`` with the n allies first; ``kinds`` and ``pairs`` are the map's tables.
"""

from __future__ import annotations

import numpy as np

from offmarl_bench.envs.smac.compiled import compiled
from offmarl_bench.envs.smac.tables import (
    DELAY_LOW,
    DELAY_SPAN,
    ENERGY_PER_LOOP,
    SHIELD_PER_LOOP,
    SHIELD_WAIT,
)
from offmarl_bench.envs.smac.units import ENERGY_MAX, MINIMUM_DAMAGE

ACQUIRE_EVERY = 4
"""The AI looks for targets every so many loops, not every loop (the published real fight fits 4)."""
NOT_ATTACKING = 32.0
"""Added to the distance of targets that are not attacking the chooser: more than any scan range, less than what makes
one no threat. A unit shoots back at those who shoot at it; docs/fidelity.md has why we think so of the real game."""
NONE, STOP, MOVE, ATTACK, ADVANCE, HUNT = 0, 1, 2, 3, 4, 5
"""Orders: none (dead), stand passively, walk to a point, attack (a healer: heal) a unit, attack-move, attack whoever of
the agents is nearest."""
IDLE, HOLD, WALK = 0, 1, 2
"""What a unit does in this loop: stands and gives way, stands its ground, walks."""


UNIT = np.dtype(
    [
        ("x", "f8"),
        ("y", "f8"),
        ("hx", "f8"),  # heading, a unit vector
        ("hy", "f8"),
        ("hp", "f8"),
        ("sh", "f8"),
        ("cd", "f8"),  # loops until the weapon is ready; a healer's energy
        ("wind", "f8"),  # loops left of the wind-up; −1: not winding up
        ("back", "f8"),  # loops left of the backswing or channel, in which the unit stays put
        ("hurt", "f8"),  # loops until the shield starts to regenerate
        ("hit_in", "f8"),  # loops until this unit's pending hit lands; 0: none
        ("hit_on", "i8"),
        ("target", "i8"),  # whom the unit attacks; −1: nobody
        ("order", "i8"),
        ("to_x", "f8"),  # where a move order or an attack-move leads
        ("to_y", "f8"),
        ("side", "i8"),  # on which side it goes round an obstacle (−1, 0 undecided, 1), kept until the way is free
        ("doing", "i8"),  # the rest is this loop's: IDLE, HOLD or WALK, whither, past whom, how far
        ("goal_x", "f8"),
        ("goal_y", "f8"),
        ("ignore", "i8"),
        ("vx", "f8"),
        ("vy", "f8"),
    ]
)
"""One unit; a lane is an array (U,) of these, a batch (B, U). One record array passes to compiled code as one pointer:
twenty separate arrays cost more to pass than the game loop costs to run."""


@compiled
def draw(rng):  # type: ignore[no-untyped-def]
    """A uniform number in [0, 1) from a lane's xorshift64* state, rng (1,) uint64."""
    s = rng[0]
    s ^= s >> np.uint64(12)
    s ^= s << np.uint64(25)
    s ^= s >> np.uint64(27)
    rng[0] = s
    return float((s * np.uint64(2685821657736338717)) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled
def hurt(kinds, pairs, w, attacker, victim):  # type: ignore[no-untyped-def]
    """One hit: shields without armour first, the rest less armour on health."""
    if w[victim].hp <= 0:
        return
    amount = pairs[attacker, victim].damage
    absorbed = min(w[victim].sh, amount)
    w[victim].sh -= absorbed
    amount -= absorbed
    if amount > 0 or absorbed == 0:
        w[victim].hp -= max(amount - kinds[victim].armour, MINIMUM_DAMAGE)
        if w[victim].hp < 0:
            w[victim].hp = 0.0
    w[victim].hurt = SHIELD_WAIT


@compiled
def splash(kinds, pairs, n, w, a, v):  # type: ignore[no-untyped-def]
    """A line of splash through the victim, across the shot: every other unit of its side whose edge it touches."""
    dx, dy = w[v].x - w[a].x, w[v].y - w[a].y
    d = max(np.sqrt(dx * dx + dy * dy), 1e-9)
    dx, dy = dx / d, dy / d
    ally = v < n
    for o in range(len(w)):
        if o == v or (o < n) != ally or w[o].hp <= 0:
            continue
        px, py = w[o].x - w[v].x, w[o].y - w[v].y
        # Distance from the line, which ends splash_half to either side: beyond its ends it is round.
        along, beyond = px * dx + py * dy, max(abs(px * dy - py * dx) - kinds[a].splash_half, 0.0)
        if np.sqrt(along * along + beyond * beyond) <= kinds[a].splash_width + kinds[o].radius:
            for _ in range(kinds[a].hits):
                hurt(kinds, pairs, w, a, o)


@compiled
def strike(kinds, pairs, n, w, a, v):  # type: ignore[no-untyped-def]
    """The moment of the attack: launch a missile, or hit at once and schedule a channelled second hit."""
    if kinds[a].missile > 0:
        dx, dy = w[v].x - w[a].x, w[v].y - w[a].y
        gap = np.sqrt(dx * dx + dy * dy) - kinds[a].radius - kinds[v].radius
        w[a].hit_in = max(gap / kinds[a].missile, 1e-6)
        w[a].hit_on = v
        w[a].back = kinds[a].backswing
        return
    hurt(kinds, pairs, w, a, v)
    if kinds[a].hits == 2 and kinds[a].second_hit > 0:
        w[a].hit_in = kinds[a].second_hit
        w[a].hit_on = v
        w[a].back = max(kinds[a].second_hit, kinds[a].backswing)
        return
    for _ in range(1, kinds[a].hits):
        hurt(kinds, pairs, w, a, v)
    if kinds[a].splash_half > 0:
        splash(kinds, pairs, n, w, a, v)
    w[a].back = kinds[a].backswing


@compiled
def clocks(kinds, pairs, w):  # type: ignore[no-untyped-def]
    """Pending hits land, weapons cool down, shields and health regenerate."""
    for u in range(len(w)):
        if w[u].hit_in > 0:
            w[u].hit_in -= 1.0
            if w[u].hit_in <= 0:
                w[u].hit_in = 0.0
                v = w[u].hit_on
                if kinds[u].missile > 0:
                    hurt(kinds, pairs, w, u, v)
                elif w[u].hp > 0:
                    dx, dy = w[v].x - w[u].x, w[v].y - w[u].y
                    if dx * dx + dy * dy <= pairs[u, v].channel ** 2:
                        hurt(kinds, pairs, w, u, v)
    for u in range(len(w)):
        if w[u].hp <= 0:
            continue
        if kinds[u].heal > 0:
            w[u].cd = min(w[u].cd + ENERGY_PER_LOOP, ENERGY_MAX)
        else:
            w[u].cd = max(w[u].cd - 1.0, 0.0)
        w[u].back = max(w[u].back - 1.0, 0.0)
        if w[u].hurt > 0:
            w[u].hurt -= 1.0
        elif w[u].sh < kinds[u].sh_max:
            w[u].sh = min(w[u].sh + SHIELD_PER_LOOP, kinds[u].sh_max)
        if kinds[u].hp_regen > 0 and w[u].hp < kinds[u].hp_max:
            w[u].hp = min(w[u].hp + kinds[u].hp_regen, kinds[u].hp_max)


@compiled
def urgency(kinds, pairs, w, u, v):  # type: ignore[no-untyped-def]
    """What counts against target v in u's choice before distance does: 0 for one that is attacking u."""
    return pairs[u, v].rank + (0.0 if w[v].target == u else NOT_ATTACKING)


@compiled
def acquire(kinds, pairs, n, w, u):  # type: ignore[no-untyped-def]
    """The built-in AI's choice: those that attack it first, then those that could, then the nearest.

    A target in weapon range is kept unless a more urgent one is in range too.
    """
    t = w[u].target
    kept = np.inf
    if t >= 0 and w[t].hp > 0 and pairs[u, t].rank == 0:
        dx, dy = w[t].x - w[u].x, w[t].y - w[u].y
        if dx * dx + dy * dy <= pairs[u, t].reach ** 2:
            kept = urgency(kinds, pairs, w, u, t)
            if kept == 0.0:
                return
    best, nearest = -1, np.inf
    if kept < np.inf:
        best, nearest = t, kept
    for v in range(n):
        if w[v].hp <= 0:
            continue
        dx, dy = w[v].x - w[u].x, w[v].y - w[u].y
        # Nearest edge to edge, as ranges are measured.
        d = np.sqrt(dx * dx + dy * dy) - kinds[v].radius
        r = urgency(kinds, pairs, w, u, v)
        if kept < np.inf and (r >= kept or d + kinds[v].radius > pairs[u, v].reach):
            continue
        if d + r < nearest and d + kinds[v].radius <= pairs[u, v].scan:
            best, nearest = v, d + r
    w[u].target = best


@compiled
def nearest_agent(n, w, u):  # type: ignore[no-untyped-def]
    """The living agent whose centre is nearest to unit u, -1 if none lives."""
    best, nearest = -1, np.inf
    for v in range(n):
        if w[v].hp > 0:
            dx, dy = w[v].x - w[u].x, w[v].y - w[u].y
            if dx * dx + dy * dy < nearest:
                best, nearest = v, dx * dx + dy * dy
    return best


@compiled
def turn(kinds, w, u, dx, dy):  # type: ignore[no-untyped-def]
    """Turn unit u towards the unit vector (dx, dy); True once it faces there."""
    if not kinds[u].turns:
        return True
    dot = w[u].hx * dx + w[u].hy * dy
    c, s = kinds[u].turn_cos, kinds[u].turn_sin
    if dot >= c:
        w[u].hx, w[u].hy = dx, dy
        return True
    if w[u].hx * dy - w[u].hy * dx < 0:
        s = -s
    hx, hy = w[u].hx, w[u].hy
    w[u].hx, w[u].hy = hx * c - hy * s, hx * s + hy * c
    return False


@compiled
def fight(kinds, pairs, n, w, rng, u):  # type: ignore[no-untyped-def]
    """Unit u's attack on its target in this loop: HOLD while it attacks or waits in range, WALK if out of range."""
    v = w[u].target
    dx, dy = w[v].x - w[u].x, w[v].y - w[u].y
    d = np.sqrt(dx * dx + dy * dy)
    reach = pairs[u, v].reach
    if w[u].wind >= 0:
        if d > reach + kinds[u].slop:
            w[u].wind = -1.0
            w[u].cd = 0.0
        else:
            w[u].wind -= 1.0
            if w[u].wind <= 0:
                w[u].wind = -1.0
                strike(kinds, pairs, n, w, u, v)
            return HOLD
    if w[u].back > 0 and (d > reach or w[u].cd > 0):
        return HOLD
    if d > reach:
        return WALK
    facing = turn(kinds, w, u, dx / max(d, 1e-9), dy / max(d, 1e-9))
    if w[u].cd <= 0 and facing:
        w[u].cd = kinds[u].period + DELAY_LOW + DELAY_SPAN * draw(rng)
        if kinds[u].wind_up > 0:
            w[u].wind = kinds[u].wind_up
        else:
            strike(kinds, pairs, n, w, u, v)
    return HOLD
