"""The batched environment over the compiled particle world."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int, UInt64

from offmarl_bench.envs.mpe.maps import MpeMap
from offmarl_bench.envs.mpe.scene import draw
from offmarl_bench.envs.mpe.world import World
from offmarl_bench.envs.scene import Scene
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.types import Start, Step


class MpeEnv:
    """``num_envs`` episodes of one map. Arrays returned by ``reset`` and ``step`` are fresh; keep them.

    All lanes end together, cut by the horizon; none ends by itself. Lane b starts where ``mpe2`` starts with the seed
    ``seeds[b]``.
    """

    def __init__(self, mpe_map: MpeMap, num_envs: int) -> None:
        self.spec = mpe_map.spec
        self.num_envs = num_envs
        self._map = mpe_map
        self._kinds = mpe_map.scenario.kinds(mpe_map.agents)
        self._t = 0
        self._pos: Float64[np.ndarray, "B K 2"] = np.zeros((0, len(self._kinds), 2))
        self._vel = np.zeros_like(self._pos)
        self._reward = np.zeros(0)

    def reset(self, seeds: UInt64[np.ndarray, " B"]) -> Start:
        """See BatchedEnv."""
        seeds = np.asarray(seeds, np.uint64)
        if seeds.ndim != 1 or not 1 <= len(seeds) <= self.num_envs:
            raise SpecMismatch(
                f"{self.spec.id}: reset got seeds of shape {seeds.shape}, expected 1 to {self.num_envs} of them"
            )
        scenario, n = self._map.scenario, self._map.agents
        self._pos = np.stack([scenario.start(n, np.random.default_rng(int(seed))) for seed in seeds])
        self._vel = np.zeros_like(self._pos)
        self._reward = np.zeros(len(seeds))
        self._t = 0
        return self._view()

    def step(self, actions: Int[np.ndarray, "B N"]) -> Step:
        """See BatchedEnv."""
        actions = np.asarray(actions)
        self._check(actions)
        b, spec = len(self._pos), self.spec
        if self._t >= spec.horizon:
            self._reward = np.zeros(b)
            obs, state, legal = self._view()
        else:
            self._t += 1
            obs, state, legal = self._blank()
            self._reward = np.zeros(b)
            self._map.scenario.step_lanes(
                self._kinds, spec.N, self._map.bound, self._pos, self._vel, actions.astype(np.int64), obs, state,
                self._reward,
            )  # fmt: skip
        over = np.full(b, self._t >= spec.horizon)
        return Step(obs, state, legal, self._reward.astype(np.float32), np.zeros(b, bool), over, {})

    def world(self) -> World:
        """A copy of the world: for pictures, planners and comparison with other implementations."""
        return World(positions=self._pos.copy(), velocities=self._vel.copy(), rewards=self._reward.copy())

    def scene(self, lane: int) -> Scene:
        """See Drawable."""
        return draw(self._map, self.world(), lane)

    def place(self, positions: Float64[np.ndarray, "B K 2"], velocities: Float64[np.ndarray, "B K 2"]) -> Start:
        """Put every particle of every running lane somewhere; the clock goes on.

        Raises:
            SpecMismatch: arrays of another shape, numbers that are not finite, or no ``reset`` before.
        """
        self._check_started("place")
        for name, given in (("positions", positions), ("velocities", velocities)):
            if np.shape(given) != self._pos.shape or not np.isfinite(given).all():
                raise SpecMismatch(
                    f"{self.spec.id}: place got {name} of shape {np.shape(given)}, expected finite {self._pos.shape}"
                )
        self._pos, self._vel = np.array(positions, np.float64), np.array(velocities, np.float64)
        return self._view()

    def _blank(self) -> Start:
        b, spec = len(self._pos), self.spec
        obs, state = np.zeros((b, spec.N, spec.O), np.float32), np.zeros((b, spec.S), np.float32)
        return Start(obs, state, np.ones((b, spec.N, spec.A), bool))

    def _view(self) -> Start:
        now = self._blank()
        self._map.scenario.observe_lanes(self.spec.N, self._pos, self._vel, now.obs, now.state)
        return now

    def _check_started(self, call: str) -> None:
        if not len(self._pos):
            raise SpecMismatch(f"{self.spec.id}: {call} before reset; call reset(seeds) first")

    def _check(self, actions: Int[np.ndarray, "B N"]) -> None:
        self._check_started("step")
        spec, shape = self.spec, (len(self._pos), self.spec.N)
        if actions.shape != shape or actions.dtype.kind not in "iu":
            raise SpecMismatch(
                f"{spec.id}: actions have shape {actions.shape} and type {actions.dtype}, expected integers of shape "
                f"{shape}"
            )
        bad = (actions < 0) | (actions >= spec.A)
        if bad.any() and self._t < spec.horizon:
            b, i = np.argwhere(bad)[0]
            raise SpecMismatch(
                f"{spec.id}: lane {b}, agent {spec.agents[i]}, step {self._t}: action {actions[b, i]} is illegal; "
                f"legal actions are {list(range(spec.A))}"
            )
