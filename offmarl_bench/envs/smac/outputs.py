"""Compiled writers of legal actions, observations and states: SMAC's arithmetic, entry by entry.

Positions, health, shields and cooldowns are rounded to float32 first, as the game reports them, and worked on in
float64 from there, as SMAC does.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from offmarl_bench.envs.smac.layout import MOVES, NON_ATTACK, SHOOT, SIGHT
from offmarl_bench.envs.smac.maps import SIZE

_HALF = SIZE / 2
_MOVE_X = np.array([0, 0, 1, -1])
_MOVE_Y = np.array([1, -1, 0, 0])
# Cells that SMAC's optional terrain features look at, in its order, relative to the unit; the last is the unit's own.
_AROUND_X = np.array([0, 0, 4, -4, 2, -2, 2, -2, 0])
_AROUND_Y = np.array([4, -4, 0, 0, 2, -2, -2, 2, 0])


@njit(cache=True)
def write_legal(lay, x, y, hp, legal):  # type: ignore[no-untyped-def]
    """Legal actions of one configuration: x, y, hp (U,) → legal (N, A)."""
    n = lay.n
    for i in range(n):
        for a in range(lay.actions):
            legal[i, a] = False
        if hp[i] <= 0:
            legal[i, 0] = True
            continue
        legal[i, 1] = True
        xi, yi = float(np.float32(x[i])), float(np.float32(y[i]))
        for d in range(MOVES):
            # int() truncates towards zero, so −0.5 counts as cell 0: SMAC's own quirk.
            cx, cy = int(xi + _MOVE_X[d]), int(yi + _MOVE_Y[d])
            legal[i, 2 + d] = 0 <= cx < SIZE and 0 <= cy < SIZE and lay.grid[cx, cy]
        for j in range(lay.e):
            if hp[n + j] > 0:
                dx, dy = float(np.float32(x[n + j])) - xi, float(np.float32(y[n + j])) - yi
                legal[i, NON_ATTACK + j] = dx * dx + dy * dy <= SHOOT * SHOOT


@njit(cache=True)
def _write_seen(lay, obs, at, x, y, hp, sh, i, j, first):  # type: ignore[no-untyped-def]
    """One row about unit j as unit i sees it, its first entry given; leaves zeros where i cannot see j."""
    dx = float(np.float32(x[j])) - float(np.float32(x[i]))
    dy = float(np.float32(y[j])) - float(np.float32(y[i]))
    dist = math.sqrt(dx * dx + dy * dy)
    if not (dist < SIGHT and hp[j] > 0):
        return False
    obs[at] = first
    obs[at + 1] = dist / SIGHT
    obs[at + 2] = dx / SIGHT
    obs[at + 3] = dy / SIGHT
    at += 4
    if lay.health:
        obs[at] = float(np.float32(hp[j])) / lay.hp_max[j]
        at += 1
        if (lay.ally_shield and j < lay.n) or (lay.enemy_shield and j >= lay.n):
            obs[at] = float(np.float32(sh[j])) / lay.sh_max[j]
            at += 1
    if lay.bits > 0:
        obs[at + lay.type_bit[j]] = 1.0
    return True


@njit(cache=True)
def _write_terrain(lay, obs, at, x, y):  # type: ignore[no-untyped-def]
    """Optional surroundings: walkable cells, then heights (flat maps: 0); outside the map both count as 1."""
    cx, cy = int(float(np.float32(x))), int(float(np.float32(y)))
    for k in range(17):
        if (k < 8 and not lay.pathing) or (k >= 8 and not lay.height):
            continue
        px, py = cx + _AROUND_X[k % 8 if k < 16 else 8], cy + _AROUND_Y[k % 8 if k < 16 else 8]
        if 0 <= px < SIZE and 0 <= py < SIZE:
            obs[at] = 1.0 if k < 8 and lay.grid[px, py] else 0.0
        else:
            obs[at] = 1.0
        at += 1


@njit(cache=True)
def write_obs(lay, x, y, hp, sh, last, t, legal, obs):  # type: ignore[no-untyped-def]
    """Observations of one configuration; ``legal`` must be up to date. → obs (N, O)."""
    n = lay.n
    for i in range(n):
        row = obs[i]
        row[:] = 0.0
        if hp[i] > 0:
            for d in range(MOVES):
                row[d] = 1.0 if legal[i, 2 + d] else 0.0
            if lay.pathing or lay.height:
                _write_terrain(lay, row, MOVES, x[i], y[i])
            at = lay.move_feats
            for j in range(lay.e):
                _write_seen(lay, row, at, x, y, hp, sh, i, n + j, 1.0 if legal[i, NON_ATTACK + j] else 0.0)
                at += lay.enemy_feats
            for k in range(n):
                if k == i:
                    continue
                seen = _write_seen(lay, row, at, x, y, hp, sh, i, k, 1.0)
                at += lay.ally_feats
                if seen and lay.last_action and last[k] >= 0:
                    row[at - lay.actions + last[k]] = 1.0
            if lay.own_health:
                row[at] = float(np.float32(hp[i])) / lay.hp_max[i]
                at += 1
                if lay.ally_shield:
                    row[at] = float(np.float32(sh[i])) / lay.sh_max[i]
                    at += 1
            if lay.bits > 0:
                row[at + lay.type_bit[i]] = 1.0
        if lay.timestep:
            row[lay.obs_size - 1] = t / lay.limit


@njit(cache=True)
def write_state(lay, x, y, hp, sh, cd, last, t, obs, state):  # type: ignore[no-untyped-def]
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
        if hp[u] > 0:
            k = at
            state[k] = float(np.float32(hp[u])) / lay.hp_max[u]
            k += 1
            if ally:
                state[k] = float(np.float32(cd[u])) / lay.cd_max[u]
                k += 1
            state[k] = (float(np.float32(x[u])) - _HALF) / SIZE
            state[k + 1] = (float(np.float32(y[u])) - _HALF) / SIZE
            k += 2
            if (ally and lay.ally_shield) or (not ally and lay.enemy_shield):
                state[k] = float(np.float32(sh[u])) / lay.sh_max[u]
                k += 1
            if lay.bits > 0:
                state[k + lay.type_bit[u]] = 1.0
        at += width
    if lay.state_last_action:
        for i in range(lay.n):
            if last[i] >= 0:
                state[at + last[i]] = 1.0
            at += lay.actions
    if lay.state_timestep:
        state[at] = t / lay.limit


@njit(cache=True)
def write_batch(lay, x, y, hp, sh, cd, last, t, obs, state, legal):  # type: ignore[no-untyped-def]
    """All three outputs for B configurations: x, y, hp, sh (B, U), cd (B, U), last (B, N), t (B,)."""
    for b in range(x.shape[0]):
        write_legal(lay, x[b], y[b], hp[b], legal[b])
        write_obs(lay, x[b], y[b], hp[b], sh[b], last[b], t[b], legal[b], obs[b])
        write_state(lay, x[b], y[b], hp[b], sh[b], cd[b], last[b], t[b], obs[b], state[b])
