"""Ways round obstacles: for every two cells of a map the next corner on the shortest way between them.

A table, because the ground never changes: a unit that wants to go somewhere looks up one number. Most maps need
none, since on open ground every way is straight.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Bool, Int16

from offmarl_bench.envs.smac.compiled import compiled
from offmarl_bench.envs.smac.maps import SIZE, SmacMap

STRAIGHT = -1
"""Nothing is in the way: walk to the goal itself."""
SAMPLES = 8
"""Points a cell at which a straight way is looked at."""
DIAGONAL = 2.0**0.5


@compiled
def sees(free, a, b):  # type: ignore[no-untyped-def]
    """True if the straight way between the centres of cells a and b leads over free cells only."""
    ax, ay, bx, by = a // SIZE + 0.5, a % SIZE + 0.5, b // SIZE + 0.5, b % SIZE + 0.5
    points = int(max(abs(bx - ax), abs(by - ay)) * SAMPLES) + 1
    for k in range(points + 1):
        x, y = ax + (bx - ax) * k / points, ay + (by - ay) * k / points
        if not free[int(x), int(y)]:
            return False
    return True


@compiled
def towards(free, goal):  # type: ignore[no-untyped-def]
    """For every cell (S·S,) the next of its eight neighbours on the shortest way to ``goal``; −1 where there is none.

    No way leads between two obstacles that touch at a corner.
    """
    away = np.full(SIZE * SIZE, np.inf)
    following = np.full(SIZE * SIZE, -1, np.int64)
    queue = [goal]
    away[goal] = 0.0
    following[goal] = goal
    at = 0
    while at < len(queue):
        cell = queue[at]
        at += 1
        x, y = cell // SIZE, cell % SIZE
        for dx in range(-1, 2):
            for dy in range(-1, 2):
                px, py = x + dx, y + dy
                if (dx == 0 and dy == 0) or not (0 <= px < SIZE and 0 <= py < SIZE) or not free[px, py]:
                    continue
                if not (free[px, y] and free[x, py]):
                    continue
                length = away[cell] + (DIAGONAL if dx != 0 and dy != 0 else 1.0)
                if length < away[px * SIZE + py] - 1e-9:
                    away[px * SIZE + py] = length
                    following[px * SIZE + py] = cell
                    queue.append(px * SIZE + py)
    return following


@compiled
def nearest_free(free, cell):  # type: ignore[no-untyped-def]
    """The free cell whose centre is nearest to that of ``cell``; −1 if there is none."""
    best, nearest = -1, np.inf
    for other in range(SIZE * SIZE):
        if free[other // SIZE, other % SIZE]:
            dx, dy = other // SIZE - cell // SIZE, other % SIZE - cell % SIZE
            if dx * dx + dy * dy < nearest:
                best, nearest = other, float(dx * dx + dy * dy)
    return best


@compiled
def table(free):  # type: ignore[no-untyped-def]
    """``routes`` of a grid of free cells; a goal that is not free is approached by the nearest cell that is."""
    out = np.full((SIZE * SIZE, SIZE * SIZE), STRAIGHT, np.int16)
    for goal in range(SIZE * SIZE):
        end = nearest_free(free, goal)
        if end < 0:
            continue
        following = towards(free, end)
        for cell in range(SIZE * SIZE):
            way = following[cell]
            if way < 0:
                continue
            while way != end and sees(free, cell, following[way]):
                way = following[way]
            if way != end:
                out[cell, goal] = way
    return out


@functools.lru_cache(maxsize=8)
def _of(walkable: bytes) -> Int16[np.ndarray, "K K"]:
    free: Bool[np.ndarray, "X Y"] = np.frombuffer(walkable, np.bool_).reshape(SIZE, SIZE)
    found: Int16[np.ndarray, "K K"] = table(free)
    return found


def routes(smac_map: SmacMap) -> Int16[np.ndarray, "K K"]:
    """For units on foot, indexed [cell, cell of the goal] with cell = x · SIZE + y: the cell to walk to next.

    STRAIGHT where the goal itself can be walked to. Of shape (0, 0) for maps without ``detours``.
    """
    return _of(smac_map.grid().tobytes()) if smac_map.detours else np.zeros((0, 0), np.int16)
