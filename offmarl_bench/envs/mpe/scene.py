"""What the particle worlds look like: agents with their velocities, landmarks, the prey, the arena."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64

from offmarl_bench.envs.mpe import pursuit
from offmarl_bench.envs.mpe.maps import MpeMap
from offmarl_bench.envs.mpe.world import World
from offmarl_bench.envs.scene import Body, Scene

ARROW = 0.3
"""Length of the arrow of a particle of speed 1: where it will be in three steps."""
COVERED = 0.15
"""A landmark whose nearest seeker is no farther than this counts as covered in the caption: the seeker lies on it."""
MARGIN = 1.15
"""Half the side of the square that is shown at least."""


def draw(mpe_map: MpeMap, world: World, lane: int) -> Scene:
    """One lane as a scene."""
    pos, vel = world.positions[lane], world.velocities[lane]
    kinds = mpe_map.scenario.kinds(mpe_map.agents)
    names, n = mpe_map.spec.agents, mpe_map.agents
    hunt = mpe_map.scenario is pursuit
    agents = [
        Body(
            x=float(pos[k, 0]), y=float(pos[k, 1]), radius=float(kinds["size"][k]), role="agent", name=names[k],
            agent=k, velocity=_arrow(vel[k]),
        )
        for k in range(n)
    ]  # fmt: skip
    others = [
        Body(
            x=float(pos[k, 0]), y=float(pos[k, 1]), radius=float(kinds["size"][k]), role="other" if hunt else "goal",
            kind="prey" if hunt else "landmark", velocity=_arrow(vel[k]),
        )
        for k in range(n, len(pos))
    ]  # fmt: skip
    bodies = agents + others
    side = mpe_map.bound
    return Scene(
        bodies=tuple(bodies), ground=((-side, -side, side, side),) if side else (),
        show=(-MARGIN, -MARGIN, MARGIN, MARGIN), caption=_caption(bodies, n, hunt),
    )  # fmt: skip


def _arrow(velocity: Float64[np.ndarray, " 2"]) -> tuple[float, float]:
    return (float(velocity[0]) * ARROW, float(velocity[1]) * ARROW)


def _caption(bodies: list[Body], n: int, hunt: bool) -> str:
    """How near they are to what they are after."""
    near = [min(math.hypot(a.x - goal.x, a.y - goal.y) for a in bodies[:n]) for goal in bodies[n:]]
    if hunt:
        touch = bodies[0].radius + bodies[n].radius
        return "caught" if near[0] < touch else f"nearest predator {near[0]:.2f} away"
    return f"covered {sum(d <= COVERED for d in near)} of {len(near)}"
