"""SIT on continuous actions: all three stages learn from vectors, and nothing breaks at the bounds."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offmarl_bench.agent import make_agent
from offmarl_bench.continuous import ContinuousActor
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.loader import Dataset
from offmarl_bench.testing.agent import check_agent
from offmarl_bench.types import EnvSpec
from sit.agent import SIT
from sit.diagnostics import decomposition
from tests import toy_continuous as toy
from tests.imbalanced_toy import interrupted, train

QUICK: dict[str, Any] = {
    "decompose_steps": 120,
    "decompose_lr": 2e-3,
    "decompose_episodes": 16,
    "reward_hidden": 32,
    "attention_hidden": 16,
    "learn_steps": 100,
    "critic_warmup": 25,
    "critic_lr": 1e-3,
    "actor_lr": 3e-3,
}
"""Enough for the toy."""
TINY = QUICK | {"decompose_steps": 6, "learn_steps": 6, "share_episodes": 3, "target_interval": 2, "critic_warmup": 2}
"""Enough to run every line."""
FORMS: tuple[dict[str, Any], ...] = (
    {},
    {"score": "advantage"},
    {"score": "q"},
    {"policy": "deterministic"},
    {"policy": "deterministic", "score": "advantage"},
    {"score": "advantage", "objective": "value"},
    {"policy": "deterministic", "score": "q", "objective": "value"},
)
"""The default, and every way in which the continuous form can be ablated."""
CONTROLS = ("bc-shared", "bc-joint-sampler", "bc-sit-sampler", "bc-oracle")


def contrary(episodes: int = 128, spec: EnvSpec = toy.SPEC) -> Dataset:
    """The second agent answers rightly in every second episode; everybody else answers the opposite.

    So a good trajectory has a bad teammate in its own episode, and whoever imitates all of them learns the opposite.
    """
    expert = np.zeros((episodes, spec.N), bool)
    expert[::2, 1] = True

    def play(answer: Any, g: np.random.Generator) -> Any:
        return np.where(expert[..., None], 1, -1) * answer + toy.NOISE * g.standard_normal(answer.shape)

    return toy.played(play, episodes, spec, 0, expert)


def at_bounds(episodes: int = 16, spec: EnvSpec = toy.SPEC) -> Dataset:
    """Every component of every action is exactly −1 or 1, as clipped noise often leaves it."""
    return toy.played(lambda right, g: g.choice([-1.0, 1.0], size=right.shape), episodes, spec, 0)


# Learning.


@pytest.mark.parametrize("form", FORMS[:4], ids=str)
def test_learns_from_the_good_trajectories_of_an_imbalanced_dataset(form: dict[str, Any]) -> None:
    data = contrary()
    assert data.returns.mean() < -10
    agent = make_agent("sit", data.spec, **(QUICK | form))
    logged = train(agent, data)
    assert toy.mean_return(agent) > -0.1
    assert toy.mean_return(agent, greedy=False) > -0.15
    shared = logged["share"]
    assert shared["a/auc"] > 0.95
    assert shared["a/auc_within"] > 0.95
    assert shared["a/best_share"] > 0.95
    assert shared["a/best_present"] == 0.25
    assert logged["decompose"]["explained_variance"] > 0.8
    assert ("a/half_squared_error" in logged["learn"]) is ("policy" in form)


def test_what_is_lost_without_each_stage() -> None:
    """Imitating everything learns the opposite; the sampler of stage II, or the filter of stage III, prevents it."""
    data, score = contrary(), {}
    for name, settings in {
        "imitation": {"priority": False, "filter": False},
        "sampler": {"filter": False},
        "filter": {"priority": False},
        "no stage I": {"decomposition": False},
    }.items():
        agent = make_agent("sit", data.spec, **(QUICK | settings))
        train(agent, data)
        score[name] = toy.mean_return(agent)
    assert score["imitation"] < -10
    assert score["sampler"] > -0.2
    assert -1.0 < score["filter"] < score["sampler"]
    assert score["no stage I"] < -2, "the team's reward cannot tell an expert from its teammate"


def test_credit_goes_to_the_agent_that_earned_it() -> None:
    data = contrary()
    agent = make_agent("sit", data.spec, **(QUICK | {"learn_steps": 1}))
    train(agent, data)
    assert isinstance(agent, SIT)
    table = {(row["agent"], row["level"]): row["reward"] for row in decomposition(agent, data).to_dict("records")}
    # An expert's step is worth about 0, the opposite of it −(2 · 0.6)².
    assert table["a2", "expert"] > table["a1", "random"] + 0.6
    assert table["a2", "random"] == pytest.approx(table["a1", "random"], abs=0.4)


def test_controls_differ_in_what_they_draw() -> None:
    data, drawn, score = contrary(), {}, {}
    for name in CONTROLS:
        agent = make_agent(name, data.spec, **QUICK)
        drawn[name] = train(agent, data)["share"]["a/best_share"]
        score[name] = toy.mean_return(agent)
    assert drawn["bc-shared"] == 0.25
    assert drawn["bc-joint-sampler"] == pytest.approx(0.5, abs=0.05)
    assert drawn["bc-sit-sampler"] > 0.95
    assert drawn["bc-oracle"] == pytest.approx(1.0)
    assert score["bc-shared"] < score["bc-joint-sampler"] < -3
    assert min(score["bc-sit-sampler"], score["bc-oracle"]) > -0.2


@pytest.mark.parametrize(
    "switch",
    [*FORMS[4:], {"attention": False}, {"members": 1}, {"gat": False}, {"decomposer": "monotonic"},
     {"uncertainty": "literal"}],
    ids=str,
)  # fmt: skip
def test_every_ablation_trains(switch: dict[str, Any]) -> None:
    data = toy.imbalanced_dataset(16)
    agent = make_agent("sit", data.spec, **(TINY | switch))
    logged = train(agent, data)
    assert list(logged) == ["decompose", "share", "learn"]
    assert np.isfinite(list(logged["learn"].values())).all()
    assert math.isfinite(toy.mean_return(agent))


def test_the_papers_literal_settings_run() -> None:
    data = toy.imbalanced_dataset(16)
    tiny = {k: v for k, v in TINY.items() if k != "critic_warmup"}
    agent = make_agent("sit", data.spec, preset="paper", **tiny)
    assert np.isfinite(list(train(agent, data)["learn"].values())).all()


# What must never break.


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_actions_at_the_bounds_stay_finite(form: dict[str, Any]) -> None:
    data = at_bounds()
    agent = make_agent("sit", data.spec, **(TINY | form | {"critic_warmup": 3}))
    logged = train(agent, data)
    assert np.isfinite(list(logged["learn"].values())).all()
    assert all(bool(torch.isfinite(v).all()) for v in agent.state_dict().values())


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_padded_components_are_never_played_and_never_learnt(form: dict[str, Any]) -> None:
    """Agent b1 has one component of two: whatever its actor says about the other changes nothing."""
    data = toy.expert_dataset(16, toy.PADDED)
    agent = make_agent("sit", data.spec, **(TINY | form))
    assert isinstance(agent, SIT)
    actor = agent.actors[1]
    assert isinstance(actor, ContinuousActor)
    before = actor.net.head.weight.detach().clone()
    train(agent, data)
    after = actor.net.head.weight.detach()
    assert torch.equal(before[1::2], after[1::2]), "rows of the padded component: mean, log σ"
    assert not torch.equal(before[0::2], after[0::2])
    for greedy in (True, False):
        policy = agent.policy(greedy)
        policy.reset(3)
        actions, _ = policy.decide(np.ones((3, 2, 2), np.float32), None, np.random.default_rng(0))
        assert (actions[:, 1, 1] == 0).all()
        assert (actions[:, 0] != 0).all()


@pytest.mark.parametrize("form", [{}, {"score": "advantage"}, {"policy": "deterministic"}], ids=str)
@pytest.mark.parametrize("stop", [("decompose", 3), ("share", 2), ("learn", 0), ("learn", 5)])
def test_a_resumed_run_is_bitwise_an_uninterrupted_one(
    stop: tuple[str, int], form: dict[str, Any], tmp_path: Path
) -> None:
    data = toy.imbalanced_dataset(16)
    whole, first, second = (make_agent("sit", data.spec, seed=s, **(TINY | form)) for s in (0, 0, 1))
    interrupted(whole, data, tmp_path, None)
    interrupted(first, data, tmp_path, stop)
    interrupted(second, data, tmp_path, None, resume=True)
    got = second.state_dict()
    assert all(torch.equal(v, got[k]) for k, v in whole.state_dict().items())


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_keeps_the_contract_of_agents(form: dict[str, Any]) -> None:
    check_agent("sit", dataset=toy.imbalanced_dataset(16), **(TINY | form))


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_keep_the_contract_of_agents(name: str) -> None:
    check_agent(name, dataset=toy.imbalanced_dataset(16), **TINY)


def test_agents_of_one_type_share_one_actor_and_their_trajectories() -> None:
    data = toy.imbalanced_dataset(8)
    together = make_agent("sit", data.spec, **TINY)
    apart = make_agent("sit", replace(data.spec, agent_types=("l", "r")), **TINY)
    assert isinstance(together, SIT)
    assert isinstance(apart, SIT)
    assert (len(together.actors), len(apart.actors)) == (1, 2)


def test_data_of_the_other_kind_is_refused() -> None:
    data = toy.uniform_dataset(2)
    agent = make_agent("sit", replace(data.spec, id="test/choices", discrete=True))
    with pytest.raises(SpecMismatch, match="sit was built for test/choices but the dataset is of"):
        agent.phases(data)
