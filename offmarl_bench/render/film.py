"""Record what there is to see in one episode, while the one stepper of the library plays it.

``Camera`` stands between ``rollout`` and the environment and takes a shot of every moment that passes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Shaped, UInt64

from offmarl_bench.agent import Policy
from offmarl_bench.envs import make_env
from offmarl_bench.envs.base import BatchedEnv
from offmarl_bench.envs.scene import Drawable, Scene
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds, generator
from offmarl_bench.types import EnvSpec, Start, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One moment."""

    t: int
    """Steps taken so far."""
    episode_return: float
    """Sum of the rewards so far."""
    reward: float
    """Reward of the step that led here; 0 at the start."""
    actions: tuple[str, ...]
    """What each agent did in that step, as text; empty at the start."""
    scene: Scene | None
    """None for an environment that offers none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One episode."""

    spec: EnvSpec
    shots: tuple[Shot, ...]
    """T + 1 moments."""
    title: str = ""
    """Who plays."""
    levels: tuple[int, ...] | None = None
    """Index into ``LEVELS`` of each agent's behaviour; None: one policy plays all."""
    won: bool | None = None
    """None where the environment does not say."""

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of the team reward."""
        return self.shots[-1].episode_return

    @property
    def length(self) -> int:
        """Steps."""
        return self.shots[-1].t


class Camera:
    """An environment that remembers its lane 0; everything else passes through."""

    def __init__(self, env: BatchedEnv) -> None:
        self.spec = env.spec
        self.num_envs = env.num_envs
        self.shots: list[Shot] = []
        self._env = env

    def reset(self, seeds: UInt64[np.ndarray, " B"]) -> Start:
        """See BatchedEnv; forgets what was recorded."""
        start = self._env.reset(seeds)
        self.shots = [Shot(t=0, episode_return=0.0, reward=0.0, actions=(), scene=self._scene())]
        return start

    def step(self, actions: Shaped[np.ndarray, "B N *A"]) -> Step:
        """See BatchedEnv."""
        after, last = self._env.step(actions), self.shots[-1]
        reward = float(after.reward[0])
        shot = Shot(
            t=last.t + 1, episode_return=last.episode_return + reward, reward=reward,
            actions=tuple(_text(a) for a in actions[0]), scene=self._scene(),
        )  # fmt: skip
        self.shots.append(shot)
        return after

    def _scene(self) -> Scene | None:
        return self._env.scene(0) if isinstance(self._env, Drawable) else None


def _text(action: Shaped[np.ndarray, "*A"]) -> str:
    """An action as few characters: its index, or its components."""
    return str(int(action)) if np.ndim(action) == 0 else " ".join(f"{x:+.1f}" for x in action)


def film(
    env_id: str, policy: Policy, *, seed: int = 0, title: str = "", levels: tuple[int, ...] | None = None,
    env: BatchedEnv | None = None,
) -> Film:  # fmt: skip
    """Play one episode and record it: the first of those that evaluation with this master seed would play.

    Args:
        env_id: ``suite/map``.
        policy: plays one lane.
        seed: master seed of the start and of the policy's draws.
        title: who plays, for the picture.
        levels: who plays each agent, for the colours.
        env: an environment of one lane or more; None: ``env_id`` is made.

    Raises:
        UnknownName: no such environment. SpecMismatch: a policy for another one.
    """
    camera = Camera(make_env(env_id, 1) if env is None else env)
    played = rollout(camera, policy, episode_seeds(seed, "evaluate", 0, 1), generator(seed, "evaluate"))
    won = played.info.get("battle_won")
    made = Film(spec=camera.spec, shots=tuple(camera.shots), title=title, levels=levels)
    return made if won is None else replace(made, won=bool(won[0]))
