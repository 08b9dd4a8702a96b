"""A batched environment as a PettingZoo ``ParallelEnv``; the way back is in ``envs.from_pettingzoo``.

PettingZoo is the boundary to everybody else's code. The face holds one lane of the batched environment, so what a
stranger's program sees is what our agents are scored on. Every agent is given the whole team reward, and every
agent stays until the episode is over, as in the batched environment (a dead unit has one legal action left).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Float32
from pettingzoo import ParallelEnv

from offmarl_bench.envs import make_env
from offmarl_bench.envs.base import BatchedEnv
from offmarl_bench.envs.from_pettingzoo import ParallelSuite as ParallelSuite
from offmarl_bench.envs.from_pettingzoo import wrap_parallel_env as wrap_parallel_env
from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.types import Start

Observations = dict[str, Any]
Infos = dict[str, dict[str, Any]]
SEED_LIMIT = 2**64


class ParallelFace(ParallelEnv[str, Any, Any]):  # type: ignore[misc]  # pettingzoo ships no types
    """One lane of a batched environment with PettingZoo's methods.

    Discrete agents observe ``{"observation": (O_i,) float32, "action_mask": (A_i,) int8}``; continuous ones the
    bare array and act in [−1, 1]. An action that the mask forbids (PettingZoo's own seed test draws such) is replaced
    by the agent's first legal one and reported as ``info["illegal_action"]``; ``strict=True`` raises SpecMismatch.
    """

    def __init__(self, env: BatchedEnv, *, strict: bool = False) -> None:
        spec = env.spec
        self.metadata: dict[str, Any] = {"name": spec.id, "render_modes": [], "is_parallelizable": True}
        self.render_mode: str | None = None
        self.spec = spec
        self.possible_agents = list(spec.agents)
        self.agents: list[str] = []
        self.state_space = spaces.Box(-np.inf, np.inf, (spec.S,), np.float32)
        self._env = env
        self._strict = strict
        self._obs_sizes = dict(zip(spec.agents, spec.obs_sizes or (spec.O,) * spec.N, strict=True))
        self._action_sizes = dict(zip(spec.agents, spec.action_sizes or (spec.A,) * spec.N, strict=True))
        self._seeds = np.random.default_rng()
        self._now: Start | None = None

    @functools.cache  # noqa: B019  (PettingZoo wants the same object each time; an environment is not short-lived)
    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Where observations of ``agent`` lie; features have no bound that holds for every environment."""
        seen = spaces.Box(-np.inf, np.inf, (self._obs_sizes[agent],), np.float32)
        if not self.spec.discrete:
            return seen
        mask = spaces.Box(0, 1, (self._action_sizes[agent],), np.int8)
        return spaces.Dict({"observation": seen, "action_mask": mask})

    @functools.cache  # noqa: B019
    def action_space(self, agent: str) -> spaces.Space[Any]:
        """``Discrete(A_i)``, or a box [−1, 1]^A_i."""
        size = self._action_sizes[agent]
        return spaces.Discrete(size) if self.spec.discrete else spaces.Box(-1.0, 1.0, (size,), np.float32)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observations, Infos]:
        """Start an episode. ``seed`` is the lane's own seed: ``reset(k)`` plays what ``make_env(…).reset([k])`` does.

        Without a seed the episode follows from the last seed given (or from the system's entropy if there was none).

        Raises:
            FormatError: a seed that is negative or has more than 64 bits.
        """
        if seed is None:
            seed = int(self._seeds.integers(SEED_LIMIT - 1, dtype=np.uint64, endpoint=True))
        elif not 0 <= seed < SEED_LIMIT:
            raise FormatError(f"{self.spec.id}: reset(seed={seed!r}), expected an integer from 0 to 2**64 − 1")
        else:
            self._seeds = np.random.default_rng(seed)
        self._now = self._env.reset(np.array([seed], dtype=np.uint64))
        self.agents = list(self.possible_agents)
        return self._observations(self._now), {a: {"illegal_action": False} for a in self.agents}

    def _observations(self, now: Start) -> Observations:
        views: Observations = {}
        for i, agent in enumerate(self.possible_agents):
            seen = now.obs[0, i, : self._obs_sizes[agent]].copy()
            if now.legal is None:
                views[agent] = seen
            else:
                mask = now.legal[0, i, : self._action_sizes[agent]].astype(np.int8)
                views[agent] = {"observation": seen, "action_mask": mask}
        return views

    def _joint(self, actions: dict[str, Any], now: Start) -> tuple[np.ndarray, list[str]]:
        """The (1, N) or (1, N, A) array of a dict of actions, and the agents whose action had to be replaced."""
        missing = [a for a in self.agents if a not in actions]
        if missing:
            raise SpecMismatch(f"{self.spec.id}: step without an action for {missing[0]!r}; every agent acts each step")
        replaced: list[str] = []
        if now.legal is None:
            joint = np.zeros((1, self.spec.N, self.spec.A), np.float32)
            for i, agent in enumerate(self.possible_agents):
                joint[0, i, : self._action_sizes[agent]] = np.asarray(actions[agent], np.float32)
            return joint, replaced
        choice = np.array([[int(actions[a]) for a in self.possible_agents]], np.int32)
        for i, agent in enumerate(self.possible_agents):
            legal = now.legal[0, i]
            if 0 <= choice[0, i] < self._action_sizes[agent] and legal[choice[0, i]]:
                continue
            if self._strict:
                allowed = np.flatnonzero(legal).tolist()
                raise SpecMismatch(
                    f"{self.spec.id}: action {choice[0, i]} of agent {agent!r} is illegal now; its action_mask "
                    f"allows {allowed}"
                )
            choice[0, i] = int(legal.argmax())
            replaced.append(agent)
        return choice, replaced

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Play one step. Raises SpecMismatch before ``reset``, after the end, or without an action for an agent."""
        if self._now is None or not self.agents:
            raise SpecMismatch(f"{self.spec.id}: step without a running episode; call reset first")
        joint, replaced = self._joint(actions, self._now)
        after = self._env.step(joint)
        self._now = Start(after.obs, after.state, after.legal)
        agents = self.agents
        shared = {k: v[0].item() for k, v in after.info.items()}
        infos = {a: shared | {"illegal_action": a in replaced} for a in agents}
        rewards = dict.fromkeys(agents, float(after.reward[0]))
        terminated = dict.fromkeys(agents, bool(after.terminated[0]))
        truncated = dict.fromkeys(agents, bool(after.truncated[0]))
        if after.terminated[0] or after.truncated[0]:
            self.agents = []
        return self._observations(self._now), rewards, terminated, truncated, infos

    def state(self) -> Float32[np.ndarray, " S"]:
        """The global state, for training only. Raises SpecMismatch before the first ``reset``."""
        if self._now is None:
            raise SpecMismatch(f"{self.spec.id}: state() before the first reset; call reset first")
        return np.array(self._now.state[0])

    def render(self) -> None:
        """Nothing to show: there is no picture."""

    def close(self) -> None:
        """End whatever the environment runs outside of this process."""
        self.agents = []
        if hasattr(self._env, "close"):
            self._env.close()


def parallel_env(env_id: str, *, strict: bool = False) -> ParallelFace:
    """``suite/map`` as a PettingZoo ``ParallelEnv``.

    Args:
        env_id: as for ``make_env``.
        strict: raise SpecMismatch on an illegal action instead of replacing it.

    Raises:
        UnknownName: no such suite or map. FormatError: an id without a slash.
    """
    return ParallelFace(make_env(env_id, num_envs=1), strict=strict)
