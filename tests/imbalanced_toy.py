"""toy/signals played by agents of different quality, and the loop that trains on it: what the tests of SIT share."""

from __future__ import annotations

import numpy as np

from offmarl_bench.agent import Agent
from offmarl_bench.envs import make_env
from offmarl_bench.loader import Dataset
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds, generator
from offmarl_bench.types import LEVELS, Episode

RANDOM, EXPERT = LEVELS.index("random"), LEVELS.index("expert")


def imbalanced(episodes: int = 256, expert_share: float = 0.5, seed: int = 0, env_id: str = "toy/signals") -> Dataset:
    """In ``expert_share`` of the episodes every second agent (a2, b2) plays like an expert; all others are random."""
    env = make_env(env_id, episodes)
    spec, rng = env.spec, np.random.default_rng(seed)
    now = env.reset(episode_seeds(seed, "verify", 0, episodes))
    levels = np.full((episodes, spec.N), RANDOM, np.int8)
    levels[: round(episodes * expert_share), 1::2] = EXPERT
    seen, done = [now], []
    for _ in range(spec.horizon):
        expert = (levels == EXPERT).reshape(episodes, spec.N, *[1] * (not spec.discrete))
        if spec.discrete:
            careless = (rng.random(seen[-1].legal.shape) * seen[-1].legal).argmax(-1)
            actions = np.where(expert, env.answers(), careless).astype(np.int32)
        else:
            actions = np.where(expert, env.answers(), rng.uniform(-1, 1, (episodes, spec.N, spec.A))).astype(np.float32)
        step = env.step(actions)
        done.append((actions, step.reward))
        seen.append(step)
    obs, state = (np.stack([getattr(s, name) for s in seen], 1) for name in ("obs", "state"))
    legal = np.stack([s.legal for s in seen], 1) if spec.discrete else None
    played = [
        Episode(
            actions=np.stack([a[k] for a, _ in done]),
            rewards=np.stack([r[k] for _, r in done]),
            observations=obs[k],
            state=state[k],
            legal_actions=None if legal is None else legal[k],
            terminal=False,
            behavior_level=np.repeat(levels[k][None], spec.horizon, 0),
        )
        for k in rng.permutation(episodes)
    ]
    return Dataset.from_episodes(played, spec)


def train(agent: Agent, data: Dataset, seed: int = 0) -> dict[str, dict[str, float]]:
    """Run all phases; returns each phase's last metrics."""
    last = {}
    for k, phase in enumerate(agent.phases(data)):
        g = generator(seed, "train", k)
        phase.start()
        for _ in range(phase.steps):
            metrics = phase.update(phase.batches(g))
        last[phase.name] = {name: float(value) for name, value in metrics.items()}
    return last


def mean_return(agent: Agent, greedy: bool = True, episodes: int = 64) -> float:
    """Score on fresh episodes; 8 is the best possible, blind play gets about 2.7."""
    env = make_env("toy/signals", episodes)
    played = rollout(env, agent.policy(greedy), episode_seeds(0, "evaluate", 0, episodes), generator(0, "evaluate"))
    return float(played.returns.mean())
