"""Two tiny cooperative tasks, solved in seconds: for tests, for trying an agent, for learning the interface.

``toy/signals`` (discrete): every agent sees a one-hot signal and should answer with the same index; the team earns
the share of right answers. One answer per agent and step is illegal (never the right one). Two agent types (a, b)
read the signal differently (b in reverse), so what is good for a type must be learnt per type.
``toy/target`` (continuous): every agent sees a point in [−1, 1] and should output it; the team earns
1 − mean |error|.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped, UInt64

from offmarl_bench import registry
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.types import EnvSpec, Start, Step

SPECS = {
    "signals": EnvSpec(
        id="toy/signals", agents=("a1", "a2", "b1", "b2"), agent_types=("a", "a", "b", "b"), O=6, S=16, A=4,
        discrete=True, horizon=8,
    ),
    "target": EnvSpec(
        id="toy/target", agents=("a1", "a2"), agent_types=("a", "a"), O=2, S=2, A=1, discrete=False, horizon=8
    ),
}  # fmt: skip


class ToyEnv:
    """Both toys: signals are drawn once per lane for the whole episode, so lanes depend on their seed alone."""

    def __init__(self, spec: EnvSpec, num_envs: int) -> None:
        self.spec = spec
        self.num_envs = num_envs
        self._signal: Shaped[np.ndarray, "B T N"] = np.zeros((0, spec.horizon + 1, spec.N))
        self._t = 0

    def reset(self, seeds: UInt64[np.ndarray, " B"]) -> Start:
        """See BatchedEnv."""
        if not 1 <= len(seeds) <= self.num_envs:
            raise SpecMismatch(f"{self.spec.id}: {len(seeds)} seeds for {self.num_envs} lanes")
        shape = (self.spec.horizon + 1, self.spec.N)
        rngs = [np.random.default_rng(int(s)) for s in seeds]
        draw = [g.integers(self.spec.A, size=shape) if self.spec.discrete else g.uniform(-1, 1, shape) for g in rngs]
        self._signal = np.stack(draw)
        self._t = 0
        return self._view()

    def _view(self) -> Start:
        spec, now = self.spec, self._signal[:, min(self._t, self.spec.horizon)]
        clock = np.full((*now.shape, 1), self._t / spec.horizon, np.float32)
        if not spec.discrete:
            obs = np.concatenate([now[..., None].astype(np.float32), clock], -1)
            return Start(obs, now.astype(np.float32), None)
        hot = np.eye(spec.A, dtype=np.float32)[now]
        kind = np.broadcast_to(np.asarray(spec.type_index, np.float32)[None, :, None], clock.shape)
        obs = np.concatenate([hot, clock, kind], -1)
        legal = np.ones((*now.shape, spec.A), bool)
        legal[np.arange(len(now))[:, None], np.arange(spec.N)[None], (self.answers() + 1) % spec.A] = False
        return Start(obs, hot.reshape(len(now), -1), legal)

    def answers(self) -> Shaped[np.ndarray, "B N"]:
        """The right actions at this step: what an expert plays."""
        now = self._signal[:, min(self._t, self.spec.horizon)]
        if not self.spec.discrete:
            return now[..., None].astype(np.float32)
        flip = np.array(self.spec.type_index, bool)
        return np.where(flip[None], self.spec.A - 1 - now, now)

    def step(self, actions: Shaped[np.ndarray, "B N *A"]) -> Step:
        """See BatchedEnv."""
        b, spec = len(self._signal), self.spec
        expected = (b, spec.N) if spec.discrete else (b, spec.N, spec.A)
        if actions.shape != expected:
            raise SpecMismatch(f"{spec.id}: actions have shape {actions.shape}, expected {expected}")
        running = self._t < spec.horizon
        if spec.discrete:
            legal = self._view().legal
            assert legal is not None  # noqa: S101  (narrowing for the type checker)
            bad = ~np.take_along_axis(legal, actions[..., None].astype(np.int64), -1)[..., 0]
            if running and bad.any():
                lane, agent = np.argwhere(bad)[0]
                raise SpecMismatch(
                    f"{spec.id}: lane {lane}, agent {spec.agents[agent]}: action {actions[lane, agent]} is illegal"
                )
            reward = (actions == self.answers()).mean(-1)
        else:
            reward = 1 - np.abs(np.clip(actions, -1, 1) - self.answers()).mean((1, 2))
        self._t = min(self._t + 1, spec.horizon)  # a finished lane repeats its last observation
        done = np.full(b, self._t >= spec.horizon)
        obs, state, now_legal = self._view()
        return Step(obs, state, now_legal, np.asarray(reward * running, np.float32), np.zeros(b, bool), done, {})


class ToySuite:
    """Suite ``toy``."""

    name = "toy"

    def maps(self) -> tuple[str, ...]:
        """See Suite."""
        return tuple(SPECS)

    def spec(self, map_name: str) -> EnvSpec:
        """See Suite."""
        if map_name not in SPECS:
            raise registry.unknown("map of suite toy", map_name, SPECS)
        return SPECS[map_name]

    def make(self, map_name: str, num_envs: int) -> ToyEnv:
        """See Suite."""
        return ToyEnv(self.spec(map_name), num_envs)

    def backend(self) -> str:
        """See Suite."""
        return "toy-1"


suite = ToySuite()
