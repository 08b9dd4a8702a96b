"""A policy pool of toy/signals whose members are untrained: enough to cast and play, and quick to make."""

from __future__ import annotations

import numpy as np
import torch

from offmarl_bench.envs.toy import SPECS
from offmarl_bench.nn import Actor
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.pool import Member, Pool
from offmarl_bench.types import LEVELS

SPEC = SPECS["signals"]
HIDDEN = 8


def toy_pool(per_level: int = 2, levels: tuple[str, ...] = LEVELS, epsilon: float = 0.1) -> Pool:
    """A pool with ``per_level`` members of each level; returns are invented."""
    members: list[Member] = []
    joints: list[SlotPolicy] = []
    for level in levels:
        for k in range(per_level):
            index = len(members)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(index)
                actors = [Actor(SPEC.O, SPEC.A, HIDDEN) for _ in range(2)]
            joints.append(SlotPolicy(SPEC, actors, np.array([0, 0, 1, 1])))
            members.append(
                Member(
                    name=f"{level}-{k}", level=level, file=f"{level}-{k}.safetensors", seed=k, steps=0,
                    return_mean=2.0 + 2 * LEVELS.index(level), return_std=1.0, win_rate=None, episodes=100,
                    sha256=f"{index:064d}",
                )
            )  # fmt: skip
    return Pool(
        spec=SPEC, members=tuple(members), epsilon=epsilon, low=2.0, high=8.0, thresholds=(3.8, 6.2),
        joints=tuple(joints),
    )  # fmt: skip
