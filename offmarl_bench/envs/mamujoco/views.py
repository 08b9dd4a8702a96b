"""Who sees and moves what: the numbers of an agent's observation as places in the robot's coordinates.

As in MaMuJoCo: position and velocity of the agent's own joints, then the positions of joints up to ``depth`` edges
away, joints of one distance in alphabetical order; then height and lean of the torso and its three velocities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from offmarl_bench.envs.mamujoco.robots import ROOTS, Robot


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """Index tables of one split. Places count the 2 C coordinates, positions first; place 2 C is a constant 0."""

    seen: Int[np.ndarray, "N O"]
    """Place of every number that an agent sees; padding is place 2 C."""
    obs_sizes: tuple[int, ...]
    """Numbers that each agent really sees."""
    motors: Int[np.ndarray, "N A"]
    """Motor that each component of an agent's action drives; padding is −1."""
    action_sizes: tuple[int, ...]
    """Motors of each agent."""


def neighbours(robot: Robot, own: tuple[str, ...], depth: int) -> list[list[str]]:
    """Joints at distance 0, 1, … ``depth`` from an agent's own, each distance in alphabetical order."""
    known, rings = set(own), [sorted(own)]
    for _ in range(depth):
        last = set(rings[-1])
        near = {b for edge in robot.edges for a, b in (edge, edge[::-1]) if a in last} - known
        known |= near
        rings.append(sorted(near))
    return rings


def views(robot: Robot, split: str, depth: int) -> Views:
    """The tables of one split of a robot's joints."""
    c, roots = robot.coordinates, len(ROOTS)
    place = {joint: roots + k for k, joint in enumerate(robot.joints)}
    torso = [*range(1, roots), *(c + k for k in range(roots))]  # not how far it has come
    seen, moved = [], []
    for own in robot.splits[split]:
        rings = neighbours(robot, own, depth)
        local = [p for joint in rings[0] for p in (place[joint], c + place[joint])]
        seen.append([*local, *(place[joint] for ring in rings[1:] for joint in ring), *torso])
        moved.append([robot.joints.index(joint) for joint in own])
    return Views(
        seen=_padded(seen, 2 * c), obs_sizes=tuple(map(len, seen)),
        motors=_padded(moved, -1), action_sizes=tuple(map(len, moved)),
    )  # fmt: skip


def _padded(rows: list[list[int]], filler: int) -> Int[np.ndarray, "N K"]:
    """Rows of different lengths as one table."""
    table = np.full((len(rows), max(map(len, rows))), filler, np.int64)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table
