"""Predator–prey: slower predators chase a faster prey that follows a script (``simple_tag`` of ``mpe2``, no obstacles).

A predator sees its velocity and position, the nearest other predator, and the prey with its velocity (the paper's
Table 3): ``mpe2``'s full observation with the farther predators left out.

The team reward of a step is the sum over agents of (shared + own): −Σ over predators of their distance to the prey,
as in ``mpe2``'s shaped reward, and −1 for each other predator touched. The paper states neither reward nor arena;
``docs/mpe.md`` derives both from its range of returns.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64, Shaped

from offmarl_bench.envs.mpe.navigation import touches, write_nearest
from offmarl_bench.envs.mpe.physics import ACTIONS, DAMPING, DT, PUSH_X, PUSH_Y, advance, distance, particles
from offmarl_bench.envs.smac.compiled import compiled

PREDATOR = particles(1, size=0.075, accel=3.0, max_speed=1.0)
PREY = particles(1, size=0.05, accel=4.0, max_speed=1.3)
START = 1.0
"""All start anywhere in the square from −START to START."""
ARENA = 0.9
"""The prey keeps within the square from −ARENA to ARENA, beyond which ``mpe2`` begins to fine it; nothing keeps the
predators, as in ``mpe2``."""
OBS_SIZE = 2 + 2 + 2 + 2 + 2
"""Velocity, position, a predator, the prey, the prey's velocity."""
INSIDE_FIRST = 1e6
"""Staying inside counts for more than any distance from a predator."""


def kinds(n: int) -> Shaped[np.ndarray, " K"]:
    """N predators, then the prey."""
    return np.concatenate([PREDATOR.repeat(n), PREY])


def start(n: int, generator: np.random.Generator) -> Float64[np.ndarray, "K 2"]:
    """Random positions, drawn as ``mpe2`` draws them: equal seeds start equal episodes."""
    return generator.uniform(-START, START, (n + 1, 2))


def state_size(n: int) -> int:
    """Positions and velocities of the predators and the prey."""
    return 4 * (n + 1)


@compiled
def flee(kinds, n, bound, pos, vel):  # type: ignore[no-untyped-def]
    """The prey's action: of those after which it would coast to rest inside, the one that points most away.

    "Away" is from the nearest predator. Where every action would carry it out (it was pushed there), the one that
    carries it out least.
    """
    hunter, near = 0, math.inf
    for i in range(n):
        far = distance(pos[i, 0], pos[i, 1], pos[n, 0], pos[n, 1])
        if far < near:
            hunter, near = i, far
    away_x, away_y = pos[n, 0] - pos[hunter, 0], pos[n, 1] - pos[hunter, 1]
    gain = kinds[n].accel * DT
    best, best_score = 0, -math.inf
    for a in range(len(ACTIONS)):
        ux, uy = PUSH_X[a], PUSH_Y[a]
        rest_x = pos[n, 0] + DT * (vel[n, 0] + (vel[n, 0] * (1 - DAMPING) + gain * ux) / DAMPING)
        rest_y = pos[n, 1] + DT * (vel[n, 1] + (vel[n, 1] * (1 - DAMPING) + gain * uy) / DAMPING)
        outside = max(abs(rest_x) - bound, 0.0) + max(abs(rest_y) - bound, 0.0)
        score = ux * away_x + uy * away_y - INSIDE_FIRST * outside
        if score > best_score:
            best, best_score = a, score
    return best


@compiled
def team_reward(kinds, n, pos):  # type: ignore[no-untyped-def]
    """See the module's text."""
    shared, bumps = 0.0, 0.0
    for i in range(n):
        shared -= distance(pos[i, 0], pos[i, 1], pos[n, 0], pos[n, 1])
        for j in range(n):
            if j != i and touches(kinds, pos, i, j):
                bumps += 1.0
    return n * shared - bumps


@compiled
def write_lane(n, pos, vel, taken, obs, state):  # type: ignore[no-untyped-def]
    """Observations (N, O) and state (S,) of one lane."""
    for i in range(n):
        obs[i, 0], obs[i, 1] = vel[i, 0], vel[i, 1]
        obs[i, 2], obs[i, 3] = pos[i, 0], pos[i, 1]
        write_nearest(pos, i, 0, n, 1, taken, obs[i, 4:])
        obs[i, 6], obs[i, 7] = pos[n, 0] - pos[i, 0], pos[n, 1] - pos[i, 1]
        obs[i, 8], obs[i, 9] = vel[n, 0], vel[n, 1]
    for i in range(n + 1):
        at = 4 * i
        state[at], state[at + 1] = pos[i, 0], pos[i, 1]
        state[at + 2], state[at + 3] = vel[i, 0], vel[i, 1]


@compiled
def observe_lanes(n, pos, vel, obs, state):  # type: ignore[no-untyped-def]
    """Observations (B, N, O) and states (B, S) of all lanes."""
    taken = np.zeros(pos.shape[1], np.bool_)
    for b in range(len(pos)):
        write_lane(n, pos[b], vel[b], taken, obs[b], state[b])


@compiled
def step_lanes(kinds, n, bound, pos, vel, actions, obs, state, reward):  # type: ignore[no-untyped-def]
    """Advance all lanes by one step, in place; the prey acts by its script, on what it sees before the step."""
    taken, force = np.zeros(pos.shape[1], np.bool_), np.zeros((n + 1, 2))
    joint = np.zeros(n + 1, np.int64)
    for b in range(len(pos)):
        joint[:n] = actions[b]
        joint[n] = flee(kinds, n, bound, pos[b], vel[b])
        advance(kinds, pos[b], vel[b], joint, force)
        reward[b] = team_reward(kinds, n, pos[b])
        write_lane(n, pos[b], vel[b], taken, obs[b], state[b])
