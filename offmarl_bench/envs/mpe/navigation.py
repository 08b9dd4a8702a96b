"""Cooperative navigation: seekers cover landmarks without bumping into each other (``simple_spread`` of ``mpe2``).

A seeker sees its velocity and position, the two nearest landmarks and the nearest other seeker (the paper's Table 3),
in the layout that ``mpe2`` has for that; the last two entries are ``mpe2``'s communication channel, always 0.

The team reward of a step is the sum over agents of (global + local): −Σ over landmarks of the distance of the nearest
seeker, and −1 for each other seeker touched. That is twice what ``mpe2`` pays at its default ``local_ratio`` of 0.5,
summed over the agents, and what the environment's first authors pay; ``docs/mpe.md`` says why it is the paper's.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64, Shaped

from offmarl_bench.envs.mpe.physics import advance, distance, particles
from offmarl_bench.envs.smac.compiled import compiled

SEEKER_SIZE = 0.15
LANDMARK_SIZE = 0.05
START = 1.0
"""Seekers and landmarks start anywhere in the square from −START to START."""
SEEN_LANDMARKS = 2
SEEN_SEEKERS = 1
OBS_SIZE = 2 + 2 + 2 * SEEN_LANDMARKS + 2 * SEEN_SEEKERS + 2 * SEEN_SEEKERS
"""Velocity, position, landmarks, seekers, their communication."""


def kinds(n: int) -> Shaped[np.ndarray, " K"]:
    """N seekers, then n landmarks."""
    seekers = particles(n, size=SEEKER_SIZE)
    return np.concatenate([seekers, particles(n, size=LANDMARK_SIZE, moves=False, collides=False)])


def start(n: int, generator: np.random.Generator) -> Float64[np.ndarray, "K 2"]:
    """Random positions, drawn as ``mpe2`` draws them: equal seeds start equal episodes."""
    return generator.uniform(-START, START, (2 * n, 2))


def state_size(n: int) -> int:
    """Positions and velocities of the seekers, positions of the landmarks."""
    return 6 * n


@compiled
def touches(kinds, pos, i, j):  # type: ignore[no-untyped-def]
    """Do two particles overlap?"""
    return distance(pos[i, 0], pos[i, 1], pos[j, 0], pos[j, 1]) < kinds[i].size + kinds[j].size


@compiled
def team_reward(kinds, n, pos):  # type: ignore[no-untyped-def]
    """See the module's text; in the order of ``mpe2``'s additions."""
    shared = 0.0
    for k in range(n, len(kinds)):
        nearest = math.inf
        for i in range(n):
            nearest = min(nearest, distance(pos[i, 0], pos[i, 1], pos[k, 0], pos[k, 1]))
        shared -= nearest
    total = 0.0
    for i in range(n):
        own = 0.0
        for j in range(n):
            if j != i and touches(kinds, pos, i, j):
                own -= 1.0
        total += shared + own
    return total


@compiled
def write_nearest(pos, i, first, last, count, taken, out):  # type: ignore[no-untyped-def]
    """Relative positions of the ``count`` particles among first…last−1 nearest to i (not i itself), nearest first."""
    taken[first:last] = False
    for slot in range(count):
        best, best_far = -1, math.inf
        for k in range(first, last):
            if k == i or taken[k]:
                continue
            far = distance(pos[k, 0], pos[k, 1], pos[i, 0], pos[i, 1])
            if far < best_far:
                best, best_far = k, far
        if best < 0:
            return
        taken[best] = True
        out[2 * slot] = pos[best, 0] - pos[i, 0]
        out[2 * slot + 1] = pos[best, 1] - pos[i, 1]


@compiled
def write_lane(n, pos, vel, taken, obs, state):  # type: ignore[no-untyped-def]
    """Observations (N, O) and state (S,) of one lane."""
    for i in range(n):
        obs[i, 0], obs[i, 1] = vel[i, 0], vel[i, 1]
        obs[i, 2], obs[i, 3] = pos[i, 0], pos[i, 1]
        write_nearest(pos, i, n, len(pos), SEEN_LANDMARKS, taken, obs[i, 4:])
        write_nearest(pos, i, 0, n, SEEN_SEEKERS, taken, obs[i, 4 + 2 * SEEN_LANDMARKS :])
    for i in range(n):
        at = 4 * i
        state[at], state[at + 1] = pos[i, 0], pos[i, 1]
        state[at + 2], state[at + 3] = vel[i, 0], vel[i, 1]
    for k in range(n, len(pos)):
        at = 4 * n + 2 * (k - n)
        state[at], state[at + 1] = pos[k, 0], pos[k, 1]


@compiled
def observe_lanes(n, pos, vel, obs, state):  # type: ignore[no-untyped-def]
    """Observations (B, N, O) and states (B, S) of all lanes."""
    taken = np.zeros(pos.shape[1], np.bool_)
    for b in range(len(pos)):
        write_lane(n, pos[b], vel[b], taken, obs[b], state[b])


@compiled
def step_lanes(kinds, n, bound, pos, vel, actions, obs, state, reward):  # type: ignore[no-untyped-def]
    """Advance all lanes by one step, in place; ``bound`` is for scenarios with a script and unused here."""
    taken, force = np.zeros(pos.shape[1], np.bool_), np.zeros((n, 2))
    for b in range(len(pos)):
        advance(kinds, pos[b], vel[b], actions[b], force)
        reward[b] = team_reward(kinds, n, pos[b])
        write_lane(n, pos[b], vel[b], taken, obs[b], state[b])
