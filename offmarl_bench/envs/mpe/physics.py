"""How particles move: one step of the multi-agent particle world, compiled, for one lane at a time.

The arithmetic is that of ``mpe2`` 1.1 (``_mpe_utils/core.py``), operation by operation in double precision, so that
positions are equal to the last bit and anybody's results on ``mpe2`` can be compared with ours. The tests step both
side by side.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from offmarl_bench.envs.smac.compiled import compiled, drop_stale_code

drop_stale_code(Path(__file__).parent)

DT = 0.1
"""Length of a step."""
DAMPING = 0.25
"""Share of its velocity that a particle loses in a step."""
CONTACT_FORCE = 1e2
"""Force per unit of penetration."""
CONTACT_MARGIN = 1e-3
"""Width of the zone in which contact sets in softly."""
OUT_OF_REACH = 746.0
"""In contact margins: at this gap the contact force is exactly 0, since e^−746 is 0 in double precision."""
SPREAD_ACCEL = 5.0
"""Force of an action where the scenario states none."""
ACTIONS = ("noop", "left", "right", "down", "up")
"""The five discrete actions in the order of ``mpe2``."""
PUSH_X = np.array([0.0, -1.0, 1.0, 0.0, 0.0])
PUSH_Y = np.array([0.0, 0.0, 0.0, -1.0, 1.0])
"""Direction in which each action pushes."""

KIND = np.dtype([("size", "f8"), ("accel", "f8"), ("max_speed", "f8"), ("moves", "b1"), ("collides", "b1")])
"""What is constant about one particle; ``size`` is its radius, ``max_speed`` may be infinite, every mass is 1."""


def particles(
    count: int, *, size: float, accel: float = SPREAD_ACCEL, max_speed: float = math.inf, moves: bool = True,
    collides: bool = True,
) -> Shaped[np.ndarray, " K"]:  # fmt: skip
    """``count`` equal particles, as records of ``KIND``."""
    return np.array([(size, accel, max_speed, moves, collides)] * count, KIND)


@compiled
def contact(gap):  # type: ignore[no-untyped-def]
    """How deep two particles press into each other, softly: margin · ln(1 + e^(−gap/margin))."""
    depth = gap / CONTACT_MARGIN
    if depth > 0.0:
        return math.log1p(math.exp(-depth)) * CONTACT_MARGIN
    if depth < 0.0:
        return (-depth + math.log1p(math.exp(depth))) * CONTACT_MARGIN
    return math.log(2.0) * CONTACT_MARGIN


@compiled
def distance(ax, ay, bx, by):  # type: ignore[no-untyped-def]
    """Euclidean distance of two points."""
    dx, dy = ax - bx, ay - by
    return math.sqrt(dx * dx + dy * dy)


@compiled
def push(kinds, actions, force):  # type: ignore[no-untyped-def]
    """Force (movers, 2) of the particles' actions (movers,)."""
    for i in range(len(actions)):
        force[i, 0] = PUSH_X[actions[i]] * kinds[i].accel
        force[i, 1] = PUSH_Y[actions[i]] * kinds[i].accel


@compiled
def collide(kinds, pos, force):  # type: ignore[no-untyped-def]
    """Add what touching particles do to each other; particles that move come first in every array."""
    movers = len(force)
    for a in range(movers):
        if not kinds[a].collides:
            continue
        for b in range(a + 1, len(kinds)):
            if not kinds[b].collides:
                continue
            dx, dy = pos[a, 0] - pos[b, 0], pos[a, 1] - pos[b, 1]
            apart = math.sqrt(dx * dx + dy * dy)
            gap = apart - (kinds[a].size + kinds[b].size)
            if gap > OUT_OF_REACH * CONTACT_MARGIN:
                continue
            depth = contact(gap)
            fx, fy = CONTACT_FORCE * dx / apart * depth, CONTACT_FORCE * dy / apart * depth
            force[a, 0] += fx
            force[a, 1] += fy
            if b < movers:
                force[b, 0] -= fx
                force[b, 1] -= fy


@compiled
def integrate(kinds, pos, vel, force):  # type: ignore[no-untyped-def]
    """Move first, with the velocity there was; then damp, accelerate and limit the velocity."""
    for i in range(len(force)):
        for k in range(2):
            pos[i, k] += vel[i, k] * DT
            vel[i, k] = vel[i, k] * (1 - DAMPING) + force[i, k] * DT
        speed = math.sqrt(vel[i, 0] * vel[i, 0] + vel[i, 1] * vel[i, 1])
        if speed > kinds[i].max_speed:
            for k in range(2):
                vel[i, k] = vel[i, k] / speed * kinds[i].max_speed


@compiled
def advance(kinds, pos, vel, actions, force):  # type: ignore[no-untyped-def]
    """One step of one lane, in place.

    Args:
        kinds: (K,) records of ``KIND``, those that move first.
        pos: (K, 2) positions.
        vel: (K, 2) velocities.
        actions: (movers,) indices into ``ACTIONS``.
        force: (movers, 2) scratch.
    """
    push(kinds, actions, force)
    collide(kinds, pos, force)
    integrate(kinds, pos, vel, force)
