"""The controls: each draws what it says, imitates it, and asks nothing of the critic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from offmarl_bench.agent import make_agent
from offmarl_bench.errors import FormatError
from offmarl_bench.loader import Dataset
from offmarl_bench.testing.agent import check_agent
from sit.agent import SIT
from tests.imbalanced_toy import imbalanced, mean_return, train

NAMES = ("bc-shared", "bc-joint-sampler", "bc-sit-sampler", "bc-oracle")
QUICK: dict[str, Any] = {
    "decompose_steps": 250,
    "decompose_lr": 1e-3,
    "decompose_episodes": 16,
    "reward_hidden": 32,
    "attention_hidden": 16,
    "learn_steps": 150,
    "actor_lr": 3e-3,
}
"""Enough for the toy."""
TINY = QUICK | {"decompose_steps": 2, "learn_steps": 2}


def trained(name: str, data: Dataset, settings: dict[str, Any]) -> tuple[SIT, dict[str, Any]]:
    agent = make_agent(name, data.spec, **settings)
    logged = train(agent, data)
    assert isinstance(agent, SIT)
    return agent, dict(logged)


def test_they_differ_in_what_they_draw() -> None:
    """Half of the episodes have experts, as every second agent: a quarter of each type's trajectories is expert's."""
    data = imbalanced()
    drawn, scores = {}, {}
    for name in NAMES:
        agent, logged = trained(name, data, QUICK)
        drawn[name] = min(logged["share"][f"{kind}/best_share"] for kind in "ab")
        scores[name] = mean_return(agent, greedy=False)
    assert drawn["bc-shared"] == 0.25
    # A good episode has as many random agents as experts: the team's return cannot tell them apart.
    assert 0.4 < drawn["bc-joint-sampler"] <= 0.55
    assert drawn["bc-sit-sampler"] > 0.9
    assert drawn["bc-oracle"] == pytest.approx(1.0)
    assert scores["bc-shared"] < scores["bc-joint-sampler"] < scores["bc-sit-sampler"]
    assert scores["bc-oracle"] > 7.5


@pytest.mark.parametrize("name", NAMES)
def test_the_critic_is_neither_asked_nor_trained(name: str) -> None:
    data = imbalanced(16)
    untouched = make_agent(name, data.spec, **TINY).state_dict()
    agent, logged = trained(name, data, TINY)
    phases = ["decompose", "share", "learn"] if name == "bc-sit-sampler" else ["share", "learn"]
    assert list(logged) == phases
    for key, value in agent.state_dict().items():
        if key.startswith(("critics", "targets")):
            assert torch.equal(value, untouched[key]), key
        if key.startswith("actors"):
            assert not torch.equal(value, untouched[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_keeps_the_contract_of_agents(name: str) -> None:
    check_agent(name, dataset=imbalanced(24))


def test_no_oracle_without_ground_truth() -> None:
    data = imbalanced(8)
    blind = Dataset.from_episodes([replace(e, behavior_level=None) for e in data], data.spec)
    assert (blind.levels == -1).all()
    with pytest.raises(FormatError, match="does not say at which level every agent was played, so there is no oracle"):
        trained("bc-oracle", blind, TINY)


def test_the_oracle_never_draws_below_the_best_level() -> None:
    data = imbalanced(64)
    agent = make_agent("bc-oracle", data.spec, **TINY)
    train(agent, data)
    learn = agent.phases(data)[-1]
    learn.start()
    batch: Any = learn.batches(np.random.default_rng(0))
    played = data.levels[batch.episodes.numpy(), batch.agent.numpy()]
    assert (played == data.levels.max()).all()
