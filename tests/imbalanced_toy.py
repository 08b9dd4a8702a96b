"""toy/signals played by agents of different quality, and the loop that trains on it: what the tests of SIT share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from offmarl_bench.agent import Agent
from offmarl_bench.checkpoint import Position, load_checkpoint, save_checkpoint
from offmarl_bench.envs import make_env, split_id
from offmarl_bench.envs.toy import suite
from offmarl_bench.loader import Dataset
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds, generator
from offmarl_bench.types import LEVELS, Episode, Start

RANDOM, EXPERT = LEVELS.index("random"), LEVELS.index("expert")


def imbalanced(
    episodes: int = 256, expert_share: float = 0.5, seed: int = 0, env_id: str = "toy/signals", **metadata: Any
) -> Dataset:
    """In ``expert_share`` of the episodes every second agent (a2, b2) plays like an expert; all others are random."""
    env = suite.make(split_id(env_id)[1], episodes)
    spec, rng = env.spec, np.random.default_rng(seed)
    levels = np.full((episodes, spec.N), RANDOM, np.int8)
    levels[: round(episodes * expert_share), 1::2] = EXPERT
    seen, done = [env.reset(episode_seeds(seed, "verify", 0, episodes))], []
    for _ in range(spec.horizon):
        legal = seen[-1].legal
        if legal is not None:
            careless = (rng.random(legal.shape) * legal).argmax(-1)
            actions = np.where(levels == EXPERT, env.answers(), careless).astype(np.int32)
        else:
            careless = rng.uniform(-1, 1, (episodes, spec.N, spec.A))
            actions = np.where((levels == EXPERT)[..., None], env.answers(), careless).astype(np.float32)
        step = env.step(actions)
        done.append((actions, step.reward))
        seen.append(Start(step.obs, step.state, step.legal))
    obs, state = (np.stack([getattr(s, name) for s in seen], 1) for name in ("obs", "state"))
    legals = np.stack([s.legal for s in seen if s.legal is not None], 1) if spec.discrete else None
    played = [
        Episode(
            actions=np.stack([a[k] for a, _ in done]),
            rewards=np.stack([r[k] for _, r in done]),
            observations=obs[k],
            state=state[k],
            legal_actions=None if legals is None else legals[k],
            terminal=False,
            behavior_level=np.repeat(levels[k][None], spec.horizon, 0),
        )
        for k in rng.permutation(episodes)
    ]
    return Dataset.from_episodes(played, spec, metadata)


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


def interrupted(agent: Agent, data: Dataset, home: Path, stop: tuple[str, int] | None, resume: bool = False) -> None:
    """Train, from the checkpoint in ``home`` if ``resume``; at ``stop`` (phase, step) save one and leave."""
    g = generator(0, "train")
    start = (load_checkpoint(home, agent, g) if resume else None) or Position()
    for p, phase in enumerate(agent.phases(data)):
        if p < start.phase:
            continue
        phase.start()
        for step in range(start.step if p == start.phase else 0, phase.steps):
            if stop == (phase.name, step):
                save_checkpoint(home, agent, g, Position(phase=p, step=step))
                return
            phase.update(phase.batches(g))


def mean_return(agent: Agent, greedy: bool = True, episodes: int = 64) -> float:
    """Score on fresh episodes; 8 is the best possible, blind play gets about 2.7."""
    env = make_env("toy/signals", episodes)
    played = rollout(env, agent.policy(greedy), episode_seeds(0, "evaluate", 0, episodes), generator(0, "evaluate"))
    return float(played.returns.mean())
