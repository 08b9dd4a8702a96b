"""A tiny continuous task with data of a known quality: what tests of learning start from.

At every step each agent sees a sign and answers with a vector: component c should be sign · 0.6 · (−1)^c. The team
earns −Σ_i mean_c (a_ic − target_ic)²; perfect play earns 0, blind play (a = 0) −0.72 a step, uniform play about −1.39.
``tests.toy_continuous:suite/answers`` has two agents of two components; in ``…/padded`` the second agent has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt64

from offmarl_bench import registry
from offmarl_bench.agent import Agent
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.loader import Dataset
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds, generator
from offmarl_bench.types import LEVELS, EnvSpec, Episode, Start, Step

NAME = "tests.toy_continuous:suite"
SIZE = 0.6
NOISE = 0.05
"""Standard deviation of the data's actions around the answers."""
SPEC = EnvSpec(
    id=f"{NAME}/answers", agents=("a1", "a2"), agent_types=("a", "a"), O=2, S=3, A=2, discrete=False, horizon=5
)
PADDED = EnvSpec(
    id=f"{NAME}/padded", agents=("a1", "b1"), agent_types=("a", "b"), O=2, S=3, A=2, discrete=False, horizon=5,
    action_sizes=(2, 1),
)  # fmt: skip
SPECS = {"answers": SPEC, "padded": PADDED}
BLIND = -2 * SIZE**2 * SPEC.horizon
"""Return of always answering 0."""


class AnswersEnv:
    """Signs are drawn once per lane for the whole episode, so lanes depend on their seed alone."""

    def __init__(self, spec: EnvSpec, num_envs: int) -> None:
        self.spec, self.num_envs = spec, num_envs
        sizes = np.array(spec.action_sizes or (spec.A,) * spec.N)
        self.real: Bool[np.ndarray, "N A"] = np.arange(spec.A) < sizes[:, None]
        self._sign: Float32[np.ndarray, "B T+1 N"] = np.zeros((0, spec.horizon + 1, spec.N), np.float32)
        self._t = 0

    def reset(self, seeds: UInt64[np.ndarray, " B"]) -> Start:
        """See BatchedEnv."""
        shape = (self.spec.horizon + 1, self.spec.N)
        draws = [np.random.default_rng(int(s)).integers(2, size=shape) for s in seeds]
        self._sign, self._t = (2 * np.stack(draws) - 1).astype(np.float32), 0
        return self._view()

    def _view(self) -> Start:
        sign, clock = self._sign[:, self._t], np.full((len(self._sign), 1), self._t / self.spec.horizon, np.float32)
        obs = np.stack([sign, np.broadcast_to(clock, sign.shape)], -1)
        return Start(obs, np.concatenate([sign, clock], -1), None)

    def answers(self) -> Float32[np.ndarray, "B N A"]:
        """The right actions at this step: what an expert plays."""
        turned = np.where(np.arange(self.spec.A) % 2, -SIZE, SIZE) * self.real
        return np.asarray(self._sign[:, self._t, :, None] * turned, np.float32)

    def step(self, actions: Float32[np.ndarray, "B N A"]) -> Step:
        """See BatchedEnv."""
        b, spec = len(self._sign), self.spec
        if actions.shape != (b, spec.N, spec.A):
            raise SpecMismatch(f"{spec.id}: actions have shape {actions.shape}, expected {(b, spec.N, spec.A)}")
        running = self._t < spec.horizon
        error = np.square(np.clip(actions, -1, 1) - self.answers()) * self.real
        reward = -(error.sum(-1) / self.real.sum(-1)).sum(-1)
        self._t = min(self._t + 1, spec.horizon)
        done = np.full(b, self._t >= spec.horizon)
        obs, state, _ = self._view()
        return Step(obs, state, None, np.asarray(reward * running, np.float32), np.zeros(b, bool), done, {})


class AnswersSuite:
    """Suite ``tests.toy_continuous:suite``."""

    name = NAME

    def maps(self) -> tuple[str, ...]:
        """See Suite."""
        return tuple(SPECS)

    def spec(self, map_name: str) -> EnvSpec:
        """See Suite."""
        if map_name not in SPECS:
            raise registry.unknown(f"map of suite {NAME}", map_name, SPECS)
        return SPECS[map_name]

    def make(self, map_name: str, num_envs: int) -> AnswersEnv:
        """See Suite."""
        return AnswersEnv(self.spec(map_name), num_envs)

    def backend(self) -> str:
        """See Suite."""
        return "answers-1"


suite = AnswersSuite()
Play = Callable[[Float32[np.ndarray, "B N A"], np.random.Generator], Float32[np.ndarray, "B N A"]]
"""Actions from the right answers."""


def played(
    play: Play,
    count: int,
    spec: EnvSpec,
    seed: int,
    levels: Bool[np.ndarray, "B N"] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Dataset:
    """A dataset of ``count`` episodes; ``levels`` says which (episode, agent) pairs are recorded as experts."""
    env, rng = AnswersEnv(spec, count), np.random.default_rng(seed)
    seen, acts, rewards = [env.reset(episode_seeds(seed, "generate", 0, count))], [], []
    for _ in range(spec.horizon):
        acts.append((np.clip(play(env.answers(), rng), -1, 1) * env.real).astype(np.float32))
        step = env.step(acts[-1])
        seen.append(Start(step.obs, step.state, None))
        rewards.append(step.reward)
    expert = np.ones((count, spec.N), bool) if levels is None else levels
    level = np.where(expert, LEVELS.index("expert"), LEVELS.index("random")).astype(np.int8)
    episodes = [
        Episode(
            actions=np.stack([a[k] for a in acts]),
            rewards=np.stack([r[k] for r in rewards]),
            observations=np.stack([s.obs[k] for s in seen]),
            state=np.stack([s.state[k] for s in seen]),
            legal_actions=None,
            terminal=False,
            behavior_level=np.repeat(level[k][None], spec.horizon, 0),
            behavior_policy=np.zeros((spec.horizon, spec.N), np.int16),
            behavior_logprob=np.zeros((spec.horizon, spec.N), np.float32),
            index=k,
        )
        for k in range(count)
    ]
    return Dataset.from_episodes(episodes, spec, metadata or {})


def expert_dataset(count: int = 64, spec: EnvSpec = SPEC, seed: int = 0, **metadata: Any) -> Dataset:
    """The right answers with a little noise."""

    def play(right: Float32[np.ndarray, "B N A"], g: np.random.Generator) -> Float32[np.ndarray, "B N A"]:
        return np.asarray(right + NOISE * g.standard_normal(right.shape), np.float32)

    return played(play, count, spec, seed, metadata=metadata)


def expert_episodes(count: int, spec: EnvSpec = SPEC) -> list[Episode]:
    """Episodes of ``expert_dataset``."""
    data = expert_dataset(count, spec)
    return list(data.episodes())


def careless_dataset(count: int, right: float, spec: EnvSpec = SPEC, seed: int = 0) -> Dataset:
    """Every agent answers rightly with this probability at every step, and with the opposite otherwise.

    Below one half imitation learns the wrong answer; rewards tell which is right.
    """

    def play(answer: Float32[np.ndarray, "B N A"], g: np.random.Generator) -> Float32[np.ndarray, "B N A"]:
        sign = np.where(g.random(answer.shape[:2]) < right, 1, -1)[..., None]
        return np.asarray(sign * answer + NOISE * g.standard_normal(answer.shape), np.float32)

    return played(play, count, spec, seed)


def uniform_dataset(count: int, spec: EnvSpec = SPEC, seed: int = 0) -> Dataset:
    """Uniformly random play."""
    return played(lambda right, g: g.uniform(-1, 1, right.shape), count, spec, seed)


def imbalanced_dataset(count: int, share: float = 0.5, spec: EnvSpec = SPEC, seed: int = 0) -> Dataset:
    """In a ``share`` of the episodes the second agent plays like an expert; everybody else plays uniformly."""
    expert = np.zeros((count, spec.N), bool)
    expert[: round(share * count), 1] = True
    np.random.default_rng(seed + 1).shuffle(expert)

    def play(answer: Float32[np.ndarray, "B N A"], g: np.random.Generator) -> Float32[np.ndarray, "B N A"]:
        good = answer + NOISE * g.standard_normal(answer.shape)
        return np.where(expert[..., None], good, g.uniform(-1, 1, answer.shape))

    return played(play, count, spec, seed, expert)


def mean_return(agent: Agent, greedy: bool = True, episodes: int = 64) -> float:
    """Score on fresh episodes; 0 is the best possible, blind play gets ``BLIND`` = −3.6."""
    env = AnswersEnv(agent.spec, episodes)
    seeds = episode_seeds(0, "evaluate", 0, episodes)
    return float(rollout(env, agent.policy(greedy), seeds, generator(0, "evaluate")).returns.mean())
