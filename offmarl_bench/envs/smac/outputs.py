"""Compiled writers of legal actions, observations and states: SMAC's arithmetic, entry by entry.

Positions, health, shields and cooldowns are rounded to float32 first, as the game reports them, and worked on in
float64 from there, as SMAC does.
"""

from __future__ import annotations

import math

import numpy as np

from offmarl_bench.envs.smac.compiled import compiled
from offmarl_bench.envs.smac.layout import MOVES, NON_ATTACK, SHOOT, SIGHT
from offmarl_bench.envs.smac.maps import SIZE

_HALF = SIZE / 2
_MOVE_X = np.array([0, 0, 1, -1])
_MOVE_Y = np.array([1, -1, 0, 0])
# Cells that SMAC's optional terrain features look at, in its order, relative to the unit; the last is the unit's own.
_AROUND_X = np.array([0, 0, 4, -4, 2, -2, 2, -2, 0])
_AROUND_Y = np.array([4, -4, 0, 0, 2, -2, -2, 2, 0])


@compiled
def write_legal(lay, grid, look, w, legal):  # type: ignore[no-untyped-def]
    """Legal actions of one configuration, units w (U,) → legal (N, A)."""
    n = lay.n
    for i in range(n):
        for a in range(lay.actions):
            legal[i, a] = False
        if w[i].hp <= 0:
            legal[i, 0] = True
            continue
        legal[i, 1] = True
        xi, yi = float(np.float32(w[i].x)), float(np.float32(w[i].y))
        for d in range(MOVES):
            # int() truncates towards zero, so −0.5 counts as cell 0: SMAC's own quirk.
            cx, cy = int(xi + _MOVE_X[d]), int(yi + _MOVE_Y[d])
            legal[i, 2 + d] = 0 <= cx < SIZE and 0 <= cy < SIZE and grid[cx, cy]
        if look[i].heals:
            # A healer's actions 6 + j are for agent j, whom it may heal even if unhurt, other healers excepted.
            for j in range(n):
                if w[j].hp > 0 and not look[j].heals:
                    dx, dy = float(np.float32(w[j].x)) - xi, float(np.float32(w[j].y)) - yi
                    legal[i, NON_ATTACK + j] = dx * dx + dy * dy <= SHOOT * SHOOT
            continue
        for j in range(lay.e):
            if w[n + j].hp > 0:
                dx, dy = float(np.float32(w[n + j].x)) - xi, float(np.float32(w[n + j].y)) - yi
                legal[i, NON_ATTACK + j] = dx * dx + dy * dy <= SHOOT * SHOOT


@compiled
def _write_seen(lay, look, w, obs, at, i, j, first):  # type: ignore[no-untyped-def]
    """One row about unit j as unit i sees it, its first entry given; leaves zeros where i cannot see j."""
    dx = float(np.float32(w[j].x)) - float(np.float32(w[i].x))
    dy = float(np.float32(w[j].y)) - float(np.float32(w[i].y))
    dist = math.sqrt(dx * dx + dy * dy)
    if not (dist < SIGHT and w[j].hp > 0):
        return False
    obs[at] = first
    obs[at + 1] = dist / SIGHT
    obs[at + 2] = dx / SIGHT
    obs[at + 3] = dy / SIGHT
    at += 4
    if lay.health:
        obs[at] = float(np.float32(w[j].hp)) / look[j].hp_max
        at += 1
        if (lay.ally_shield and j < lay.n) or (lay.enemy_shield and j >= lay.n):
            obs[at] = float(np.float32(w[j].sh)) / look[j].sh_max
            at += 1
    if lay.bits > 0:
        obs[at + look[j].type_bit] = 1.0
    return True


@compiled
def _write_terrain(lay, grid, obs, at, x, y):  # type: ignore[no-untyped-def]
    """Optional surroundings: walkable cells, then heights (flat maps: 0); outside the map both count as 1."""
    cx, cy = int(float(np.float32(x))), int(float(np.float32(y)))
    for k in range(17):
        if (k < 8 and not lay.pathing) or (k >= 8 and not lay.height):
            continue
        px, py = cx + _AROUND_X[k % 8 if k < 16 else 8], cy + _AROUND_Y[k % 8 if k < 16 else 8]
        if 0 <= px < SIZE and 0 <= py < SIZE:
            obs[at] = 1.0 if k < 8 and grid[px, py] else 0.0
        else:
            obs[at] = 1.0
        at += 1


@compiled
def write_obs(lay, grid, look, w, last, t, legal, obs):  # type: ignore[no-untyped-def]
    """Observations of one configuration; ``legal`` must be up to date. → obs (N, O)."""
    n = lay.n
    for i in range(n):
        row = obs[i]
        row[:] = 0.0
        if w[i].hp > 0:
            for d in range(MOVES):
                row[d] = 1.0 if legal[i, 2 + d] else 0.0
            if lay.pathing or lay.height:
                _write_terrain(lay, grid, row, MOVES, w[i].x, w[i].y)
            at = lay.move_feats
            for j in range(lay.e):
                _write_seen(lay, look, w, row, at, i, n + j, 1.0 if legal[i, NON_ATTACK + j] else 0.0)
                at += lay.enemy_feats
            for k in range(n):
                if k == i:
                    continue
                seen = _write_seen(lay, look, w, row, at, i, k, 1.0)
                at += lay.ally_feats
                if seen and lay.last_action and last[k] >= 0:
                    row[at - lay.actions + last[k]] = 1.0
            if lay.own_health:
                row[at] = float(np.float32(w[i].hp)) / look[i].hp_max
                at += 1
                if lay.ally_shield:
                    row[at] = float(np.float32(w[i].sh)) / look[i].sh_max
                    at += 1
            if lay.bits > 0:
                row[at + look[i].type_bit] = 1.0
        if lay.timestep:
            row[lay.obs_size - 1] = t / lay.limit


@compiled
def write_state(lay, look, w, last, t, obs, state):  # type: ignore[no-untyped-def]
    """The global state of one configuration → state (S,)."""
    state[:] = 0.0
    if lay.from_obs:
        for i in range(lay.n):
            state[i * lay.obs_size : (i + 1) * lay.obs_size] = obs[i]
        return
    at = 0
    for u in range(lay.n + lay.e):
        ally = u < lay.n
        width = lay.ally_state if ally else lay.enemy_state
        if w[u].hp > 0:
            k = at
            state[k] = float(np.float32(w[u].hp)) / look[u].hp_max
            k += 1
            if ally:
                state[k] = float(np.float32(w[u].cd)) / look[u].cd_max
                k += 1
            state[k] = (float(np.float32(w[u].x)) - _HALF) / SIZE
            state[k + 1] = (float(np.float32(w[u].y)) - _HALF) / SIZE
            k += 2
            if (ally and lay.ally_shield) or (not ally and lay.enemy_shield):
                state[k] = float(np.float32(w[u].sh)) / look[u].sh_max
                k += 1
            if lay.bits > 0:
                state[k + look[u].type_bit] = 1.0
        at += width
    if lay.state_last_action:
        for i in range(lay.n):
            if last[i] >= 0:
                state[at + last[i]] = 1.0
            at += lay.actions
    if lay.state_timestep:
        state[at] = t / lay.limit


@compiled
def write_all(lay, grid, look, w, last, t, obs, state, legal):  # type: ignore[no-untyped-def]
    """Legal actions, observations and state of one configuration."""
    write_legal(lay, grid, look, w, legal)
    write_obs(lay, grid, look, w, last, t, legal, obs)
    write_state(lay, look, w, last, t, obs, state)


@compiled
def write_batch(lay, grid, look, world, last, t, obs, state, legal):  # type: ignore[no-untyped-def]
    """All three outputs for K configurations: world (K, U), last (K, N), t (K,)."""
    for k in range(len(world)):
        write_all(lay[0], grid, look, world[k], last[k], t[k], obs[k], state[k], legal[k])
