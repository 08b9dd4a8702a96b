"""The batched environment: one robot a lane, its motors shared out among the agents."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64, UInt64

from offmarl_bench.envs.mamujoco.maps import MujocoMap
from offmarl_bench.envs.mamujoco.robots import Robot
from offmarl_bench.envs.mamujoco.scene import draw
from offmarl_bench.envs.mamujoco.simulator import batch
from offmarl_bench.envs.mamujoco.world import World
from offmarl_bench.envs.scene import Scene
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.types import Start, Step

STRONGEST = 1.0
"""Actions are cut to [−1, 1] first: neither the motors nor the control cost see more."""


class MujocoEnv:
    """``num_envs`` episodes of one map. Arrays returned by ``reset`` and ``step`` are fresh; keep them.

    Lane b starts where Gymnasium's robot starts after ``reset(seed=seeds[b])``. The team reward is Gymnasium's, once:
    speed forward, less the price of the actions, plus (where the map says so) a reward for being upright.

    Raises:
        OffmarlError: mujoco is missing or too old, or the installed Gymnasium has another body.
    """

    def __init__(self, mujoco_map: MujocoMap, num_envs: int) -> None:
        self.spec = mujoco_map.spec
        self.num_envs = num_envs
        self._map = mujoco_map
        self._views = mujoco_map.views
        self._batch = batch(mujoco_map.robot, num_envs)
        self._qpos: Float64[np.ndarray, "L C"] = self._batch.bind("qpos")
        self._qvel: Float64[np.ndarray, "L C"] = self._batch.bind("qvel")
        self._ctrl: Float64[np.ndarray, "L U"] = self._batch.bind("ctrl")
        self._t = 0
        self._terminated = np.zeros(0, bool)
        self._reward = np.zeros(0)

    def reset(self, seeds: UInt64[np.ndarray, " B"]) -> Start:
        """See BatchedEnv."""
        seeds = np.asarray(seeds, np.uint64)
        if seeds.ndim != 1 or not 1 <= len(seeds) <= self.num_envs:
            raise SpecMismatch(
                f"{self.spec.id}: reset got seeds of shape {seeds.shape}, expected 1 to {self.num_envs} of them"
            )
        b, robot = len(seeds), self._map.robot
        self._batch.reset()  # also forgets what the last episode left behind for the solver's first guess
        for lane, seed in enumerate(seeds):
            positions, velocities = _noise(robot, np.random.default_rng(int(seed)))
            self._qpos[lane] += positions
            self._qvel[lane] = velocities
        self._batch.forward(ids=np.arange(b))
        self._t = 0
        self._terminated, self._reward = np.zeros(b, bool), np.zeros(b)
        return self._view()

    def step(self, actions: Float[np.ndarray, "B N A"]) -> Step:
        """See BatchedEnv."""
        actions = np.asarray(actions)
        self._check(actions)
        b, robot = len(self._reward), self._map.robot
        self._reward = np.zeros(b)
        if self._t < self.spec.horizon and not self._terminated.all():
            running = ~self._terminated
            motors = self._motors(actions)
            x = self._qpos[:b, 0].copy()
            self._ctrl[:b] = motors
            everybody = b == self.num_envs and bool(running.all())
            self._batch.step(ids=None if everybody else np.flatnonzero(running), nstep=robot.frame_skip)
            self._t += 1
            upright = self._upright()
            earned = (self._qpos[:b, 0] - x) / robot.dt
            if robot.upright is not None:
                earned = earned + self._map.healthy_reward * upright
            earned -= robot.control_cost * np.square(motors).sum(-1)
            self._reward = np.where(running, earned, 0.0)
            self._terminated = self._terminated | (running & ~upright & self._map.fall_ends)
        obs, state, legal = self._view()
        cut = np.full(b, self._t >= self.spec.horizon) & ~self._terminated
        return Step(obs, state, legal, self._reward.astype(np.float32), self._terminated.copy(), cut, {})

    def world(self) -> World:
        """A copy of the world: for pictures, planners and comparison with other implementations."""
        b = len(self._reward)
        return World(positions=self._qpos[:b].copy(), velocities=self._qvel[:b].copy(), rewards=self._reward.copy())

    def scene(self, lane: int) -> Scene:
        """See Drawable."""
        return draw(self._map, self.world(), lane)

    def _motors(self, actions: Float[np.ndarray, "B N A"]) -> Float64[np.ndarray, "B U"]:
        """The agents' actions as the robot's: cut, in the order of its motors, padding left out."""
        real = self._views.motors >= 0
        motors = np.zeros((len(actions), len(self._map.robot.joints)))
        motors[:, self._views.motors[real]] = np.clip(actions[:, real], -STRONGEST, STRONGEST)
        return motors

    def _upright(self) -> Bool[np.ndarray, " B"]:
        """Which lanes' robots stand; all of them where falling is no matter."""
        b, healthy = len(self._reward), self._map.robot.upright
        if healthy is None:
            return np.ones(b, bool)
        height, lean = self._qpos[:b, 1], self._qpos[:b, 2]
        stands = (healthy.height[0] < height) & (height < healthy.height[1])
        return stands & (healthy.lean[0] < lean) & (lean < healthy.lean[1])

    def _view(self) -> Start:
        b, robot = len(self._reward), self._map.robot
        places = np.concatenate([self._qpos[:b], self._qvel[:b], np.zeros((b, 1))], -1).astype(np.float32)
        state = places[:, 1:-1]  # not how far it has come
        if robot.velocity_limit is not None:
            positions, velocities = np.split(state, [robot.coordinates - 1], -1)
            limited = np.clip(velocities, -robot.velocity_limit, robot.velocity_limit)
            state = np.concatenate([positions, limited], -1)
        return Start(places[:, self._views.seen], np.ascontiguousarray(state), None)

    def _check(self, actions: Float[np.ndarray, "B N A"]) -> None:
        spec, shape = self.spec, (len(self._reward), self.spec.N, self.spec.A)
        if not len(self._reward):
            raise SpecMismatch(f"{spec.id}: step before reset; call reset(seeds) first")
        if actions.shape != shape or actions.dtype.kind != "f":
            raise SpecMismatch(
                f"{spec.id}: actions have shape {actions.shape} and type {actions.dtype}, expected floats of shape "
                f"{shape}"
            )
        bad = ~np.isfinite(actions)
        if bad.any():
            b, i, _ = np.argwhere(bad)[0]
            raise SpecMismatch(
                f"{spec.id}: lane {b}, agent {spec.agents[i]}, step {self._t}: action {actions[b, i].tolist()} is not "
                "finite; expected numbers, of which [−1, 1] count"
            )


def _noise(robot: Robot, g: np.random.Generator) -> tuple[Float64[np.ndarray, " C"], Float64[np.ndarray, " C"]]:
    """How a start differs from the robot's rest, drawn as Gymnasium draws it: equal seeds start equal episodes."""
    positions = g.uniform(-robot.noise, robot.noise, robot.coordinates)
    if robot.velocity_noise == "normal":
        return positions, robot.noise * g.standard_normal(robot.coordinates)
    return positions, g.uniform(-robot.noise, robot.noise, robot.coordinates)
