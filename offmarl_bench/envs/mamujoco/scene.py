"""What the robots look like: a stick for every part, in the plane in which they move, seen from beside the torso."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float64

from offmarl_bench.envs.mamujoco.maps import MujocoMap
from offmarl_bench.envs.mamujoco.simulator import load_model, optional
from offmarl_bench.envs.mamujoco.world import World
from offmarl_bench.envs.scene import Body, Scene, Stick

WIDE, HIGH, DEEP = 1.9, 1.75, 0.3
"""What is shown at least: metres to either side of the torso, above the floor, below it."""
MARK_DEPTH, MARK = 0.12, 0.008
"""Length and half the width of the floor's marks, one every metre, by which one sees how far a robot has come."""
FOOT = 0.075
"""Radius of the disc with an agent's name, in metres."""
FLOOR = "floor"


def draw(mujoco_map: MujocoMap, world: World, lane: int) -> Scene:
    """One lane as a scene."""
    robot, model = mujoco_map.robot, load_model(mujoco_map.robot)
    mujoco = optional("mujoco", "mujoco")
    data = mujoco.MjData(model)
    data.qpos[:] = world.positions[lane]
    mujoco.mj_kinematics(model, data)
    x = float(world.positions[lane, 0])
    owner = {joint: k for k, own in enumerate(robot.splits[mujoco_map.split]) for joint in own}
    sticks, feet = [], {}
    for part in range(model.ngeom):
        if model.geom(part).name == FLOOR:
            continue
        agent = owner.get(_joint(model, part))
        a, b = _ends(model, data, part)
        sticks.append(
            Stick(x0=a[0] - x, y0=a[2], x1=b[0] - x, y1=b[2], radius=float(model.geom_size[part, 0]), agent=agent)
        )
        if agent is not None:
            feet[agent] = (a + b) / 2  # the last part of an agent's is its farthest from the torso
    bodies = tuple(
        Body(x=at[0] - x, y=at[2], radius=FOOT, role="agent", name=mujoco_map.spec.agents[agent], agent=agent)
        for agent, at in sorted(feet.items())
    )
    return Scene(
        bodies=bodies, sticks=(*_marks(x), *sticks), ground=((-2 * WIDE, 0.0, 2 * WIDE, 2 * HIGH),),
        show=(-WIDE, -DEEP, WIDE, HIGH),
        caption=f"{x:+.2f} m, {float(world.velocities[lane, 0]):+.2f} m/s",
    )  # fmt: skip


def _joint(model: Any, part: int) -> str:
    """Name of the joint by which a part hangs on the rest."""
    body = model.geom_bodyid[part]
    return str(model.joint(model.body_jntadr[body] + model.body_jntnum[body] - 1).name)


def _ends(model: Any, data: Any, part: int) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, " 3"]]:
    """The two ends of a capsule, whose axis is its own z."""
    middle, axis = data.geom_xpos[part], data.geom_xmat[part].reshape(3, 3)[:, 2]
    half = axis * model.geom_size[part, 1]
    return middle - half, middle + half


def _marks(x: float) -> list[Stick]:
    """The floor's marks near the torso."""
    near = range(math.ceil(x - 2 * WIDE), math.floor(x + 2 * WIDE) + 1)
    return [Stick(x0=m - x, y0=-MARK_DEPTH, x1=m - x, y1=0.0, radius=MARK) for m in near]
