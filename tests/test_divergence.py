"""Numbers that are not finite stop every agent, in every phase, with one line; the last good checkpoint stays whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offmarl_bench import registry
from offmarl_bench.agent import Agent, Metrics, Phase, make_agent
from offmarl_bench.checkpoint import load_checkpoint
from offmarl_bench.errors import OffmarlError, SpecMismatch
from offmarl_bench.loader import Dataset
from offmarl_bench.logs import read_log
from offmarl_bench.testing.agent import trial_dataset
from offmarl_bench.train import train
from offmarl_bench.types import Batch
from tests.imbalanced_toy import imbalanced
from tests.test_conformance import OURS, SMALL

UPDATES = 12
STOPPED = r"stopped: .* (became (nan|-?inf)|is no longer finite|is not finite)"
IMITATORS = ("bc",)
"""Agents that never look at a reward."""


def small(name: str) -> dict[str, Any]:
    """Settings for speed, and several chunks of SIT's stage II."""
    known = registry.resolve("agents", name).Config.__dataclass_fields__
    return SMALL.get(name, {}) | ({"share_episodes": 8} if "share_episodes" in known else {})


def setting(name: str) -> tuple[Dataset, Callable[[], Agent]]:
    """A toy dataset that the agent can learn from, and what builds the agent."""
    data = imbalanced(24)
    try:
        make_agent(name, data.spec, **small(name))
    except SpecMismatch:
        data = trial_dataset("toy/target", 24)
    return data, lambda: make_agent(name, data.spec, seed=0, **small(name))


def phases_of(name: str) -> list[str]:
    data, build = setting(name)
    return [phase.name for phase in build().phases(data)]


def poisoned(agent: Agent, at: int, update: int) -> Agent:
    """The same agent whose first weight turns NaN before this update (from 0) of phase ``at``."""
    original, count = agent.phases, iter(range(10_000))

    def phases(dataset: Dataset) -> list[Phase]:
        found = original(dataset)
        inner = found[at]

        def step(batch: Batch) -> Metrics:
            if next(count) == update:
                with torch.no_grad():
                    next(agent.parameters()).fill_(torch.nan)
            return inner.update(batch)

        found[at] = replace(inner, update=step)
        return found

    agent.phases = phases  # type: ignore[method-assign]
    return agent


@pytest.mark.parametrize(("name", "phase"), [(name, phase) for name in OURS for phase in phases_of(name)])
def test_a_weight_that_turns_nan_stops_the_run_before_it_is_saved(name: str, phase: str, tmp_path: Path) -> None:
    data, build = setting(name)
    at = phases_of(name).index(phase)
    with pytest.raises(OffmarlError, match=STOPPED) as error:
        train(poisoned(build(), at, 2), data, tmp_path, seed=0, budget=UPDATES, checkpoint_every=1, progress=False)
    assert "\n" not in str(error.value)
    assert "checkpoint" in str(error.value)
    kept = build()
    position = load_checkpoint(tmp_path, kept, np.random.default_rng())
    assert position is not None
    assert (position.phase, position.step) == (at, 2), "the update before"
    assert all(torch.isfinite(weight).all() for weight in kept.parameters())
    assert len(read_log(tmp_path)) >= position.step

    # With the cause gone the same call goes on from there, and ends as a run that never met it.
    train(kept := build(), data, tmp_path, seed=0, budget=UPDATES, progress=False)
    train(whole := build(), data, tmp_path / "whole", seed=0, budget=UPDATES, progress=False)
    for mine, theirs in zip(kept.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("name", OURS)
def test_a_reward_that_is_nan_stops_whoever_looks_at_rewards(name: str, tmp_path: Path) -> None:
    data, build = setting(name)
    data.columns["rewards"] = data.columns["rewards"].copy()
    data.columns["rewards"][data.row_starts] = np.nan
    agent = build()
    if name in IMITATORS:
        train(agent, data, tmp_path, seed=0, budget=UPDATES, progress=False)
        assert all(torch.isfinite(weight).all() for weight in agent.parameters())
        return
    with pytest.raises(OffmarlError, match=STOPPED) as error:
        train(agent, data, tmp_path, seed=0, budget=UPDATES, progress=False)
    assert "\n" not in str(error.value)
