"""Compiled healing: medivacs look for hurt units of their side, fly to them and mend them for energy.

A healer's record keeps its energy in ``cd``, as SMAC shows it in that place, and its patient in ``target``.
"""

from __future__ import annotations

import numpy as np

from offmarl_bench.envs.smac.combat import HOLD, IDLE, WALK
from offmarl_bench.envs.smac.compiled import compiled
from offmarl_bench.envs.smac.units import HEAL_ENERGY


@compiled
def hurt_and_curable(kinds, pairs, w, u, v):  # type: ignore[no-untyped-def]
    """True if healer u could heal unit v now, wherever it is."""
    return 0 < w[v].hp < kinds[v].hp_max and pairs[u, v].scan > 0


@compiled
def find_patient(kinds, pairs, n, w, u):  # type: ignore[no-untyped-def]
    """The built-in AI's choice for healer u of the enemy: keep a patient while it is hurt, else take the nearest."""
    t = w[u].target
    if t >= 0 and hurt_and_curable(kinds, pairs, w, u, t):
        return
    best, nearest = -1, np.inf
    for v in range(n, len(w)):
        if v == u or not hurt_and_curable(kinds, pairs, w, u, v):
            continue
        dx, dy = w[v].x - w[u].x, w[v].y - w[u].y
        d = np.sqrt(dx * dx + dy * dy)
        if d < nearest and d <= pairs[u, v].scan:
            best, nearest = v, d
    w[u].target = best


@compiled
def tend(kinds, pairs, w, u):  # type: ignore[no-untyped-def]
    """Healer u's care for its patient in this loop: WALK while out of range, HOLD while it heals, else IDLE."""
    v = w[u].target
    if not hurt_and_curable(kinds, pairs, w, u, v):
        return IDLE
    dx, dy = w[v].x - w[u].x, w[v].y - w[u].y
    if dx * dx + dy * dy > pairs[u, v].reach ** 2:
        return WALK
    amount = min(kinds[u].heal, kinds[v].hp_max - w[v].hp, w[u].cd / HEAL_ENERGY)
    w[v].hp += amount
    w[u].cd -= amount * HEAL_ENERGY
    return HOLD
