"""Data of toy/signals with a known quality, made by the environment itself: what tests of learning start from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from offmarl_bench.envs.toy import SPECS, ToyEnv
from offmarl_bench.loader import Dataset
from offmarl_bench.nn import Actor
from offmarl_bench.seeding import episode_seeds
from offmarl_bench.types import Episode

SPEC = SPECS["signals"]


def expert_episodes(count: int, master: int = 0) -> list[Episode]:
    """Perfect play, recorded by hand because the expert is the environment itself."""
    env = ToyEnv(SPEC, count)
    start = env.reset(episode_seeds(master, "generate", 0, count))
    seen: list[Any] = [start.obs]
    states: list[Any] = [start.state]
    legal: list[Any] = [start.legal]
    acts: list[Any] = []
    rewards: list[Any] = []
    for _ in range(SPEC.horizon):
        acts.append(env.answers().astype(np.int32))
        step = env.step(acts[-1])
        for row, value in ((seen, step.obs), (states, step.state), (legal, step.legal), (rewards, step.reward)):
            row.append(value)
    return [
        Episode(
            actions=np.stack([a[k] for a in acts]),
            rewards=np.stack([r[k] for r in rewards]),
            observations=np.stack([o[k] for o in seen]),
            state=np.stack([s[k] for s in states]),
            legal_actions=np.stack([m[k] for m in legal]),
            terminal=False,
            behavior_level=np.full((SPEC.horizon, SPEC.N), 2, np.int8),
            behavior_policy=np.zeros((SPEC.horizon, SPEC.N), np.int16),
            behavior_logprob=np.zeros((SPEC.horizon, SPEC.N), np.float32),
            index=k,
        )
        for k in range(count)
    ]


def expert_dataset(count: int = 64, **metadata: Any) -> Dataset:
    """Perfect play as a dataset."""
    return Dataset.from_episodes(expert_episodes(count), SPEC, metadata)


def careless_dataset(count: int, right: float, seed: int = 0) -> Dataset:
    """Every agent gives the right answer with this probability at every step, and the same wrong one otherwise.

    Below one half imitation learns the wrong answer; rewards tell which is right.
    """
    generator = np.random.default_rng(seed)
    episodes = []
    for episode in expert_episodes(count):
        correct = generator.random(episode.actions.shape) < right
        wrong = (episode.actions + SPEC.A // 2) % SPEC.A
        actions, rewards = np.where(correct, episode.actions, wrong), correct.mean(-1, dtype=np.float32)
        episodes.append(replace(episode, actions=actions.astype(np.int32), rewards=rewards))
    return Dataset.from_episodes(episodes, SPEC)


@torch.no_grad()
def stepwise(actor: Actor, episode: Episode) -> torch.Tensor:
    """The actor's (T + 1, N, A) outputs on one episode, one step at a time: what fused unrolls are compared with."""
    h, rows = actor.initial(SPEC.N), []
    for t in range(len(episode) + 1):
        last = torch.from_numpy(episode.actions[t - 1]).long() if t else torch.full((SPEC.N,), -1)
        out, h = actor.step(torch.from_numpy(episode.observations[t]), last, h, torch.arange(SPEC.N))
        rows.append(out)
    return torch.stack(rows)


def legal_at(episode: Episode, t: int, agent: int) -> list[int]:
    """The actions that an agent may choose among at one observation."""
    assert episode.legal_actions is not None
    return [int(a) for a in np.flatnonzero(episode.legal_actions[t, agent])]


@torch.no_grad()
def shaken(*networks: torch.nn.Module) -> None:
    """Move weights at random, so that mixing up two networks would be seen."""
    generator = torch.Generator().manual_seed(1)
    for network in networks:
        for p in network.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
