"""SIT as a whole: it learns from good trajectories, resumes bitwise, says what it cannot do."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offmarl_bench.agent import make_agent, make_config
from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.testing.agent import check_agent
from sit.agent import SIT
from sit.config import SITConfig
from sit.diagnostics import auc, auc_within, decomposition, rank_correlation, warn_if_inverted
from tests.imbalanced_toy import imbalanced, interrupted, mean_return, train

QUICK: dict[str, Any] = {
    "decompose_steps": 250,
    "decompose_lr": 1e-3,
    "decompose_episodes": 16,
    "reward_hidden": 32,
    "attention_hidden": 16,
    "learn_steps": 200,
    "critic_warmup": 50,
    "critic_lr": 1e-3,
    "actor_lr": 3e-3,
}
"""Enough for the toy."""
TINY = QUICK | {"decompose_steps": 6, "learn_steps": 6, "share_episodes": 3, "target_interval": 2, "critic_warmup": 2}
"""Enough to run every line."""


def test_learns_from_the_good_trajectories_of_an_imbalanced_dataset() -> None:
    data = imbalanced()
    agent = make_agent("sit", data.spec, **QUICK)
    logged = train(agent, data)
    assert data.returns.mean() < 4.2
    assert mean_return(agent) > 7.8
    assert mean_return(agent, greedy=False) > 7.5
    for kind in ("a", "b"):
        assert logged["share"][f"{kind}/auc"] > 0.9
        assert logged["share"][f"{kind}/auc_within"] > 0.9
        assert logged["share"][f"{kind}/best_share"] > 0.9
        assert logged["share"][f"{kind}/best_present"] == 0.25
        assert logged["share"][f"{kind}/priority_ess_share"] == pytest.approx(0.05, rel=0.01)
    assert logged["decompose"]["explained_variance"] > 0.8

    assert isinstance(agent, SIT)
    table = {(row["agent"], row["level"]): row for row in decomposition(agent, data).to_dict("records")}
    assert table["a2", "expert"]["reward"] > 1.5 * table["a1", "random"]["reward"]
    assert table["b2", "expert"]["reward"] > 1.5 * table["b1", "random"]["reward"]
    assert table["a2", "expert"]["episodes"] == 128


def test_without_priorities_rare_good_trajectories_are_lost() -> None:
    """Figure 4b: where 5 % of the episodes have experts, plain imitation of the samples shows what was sampled."""
    data = imbalanced(expert_share=0.05)
    imitate = QUICK | {"critic_warmup": QUICK["learn_steps"], "effective_share": 0.01}
    scores = {}
    for priority in (True, False):
        agent = make_agent("sit", data.spec, **imitate, priority=priority)
        train(agent, data)
        scores[priority] = mean_return(agent, greedy=False)
    assert scores[True] > 6.5
    assert scores[False] < 4.0


def test_the_papers_literal_settings_run() -> None:
    data = imbalanced(32)
    agent = make_agent("sit", data.spec, preset="paper", **{k: v for k, v in TINY.items() if k != "critic_warmup"})
    logged = train(agent, data)
    assert logged["share"]["a/alpha"] == 0.2
    assert logged["share"]["a/priority_ess"] < 10
    assert np.isfinite(list(logged["learn"].values())).all()


@pytest.mark.parametrize(
    "switch",
    [
        {"decomposition": False},
        {"attention": False},
        {"members": 1},
        {"gat": False},
        {"priority": False},
        {"decomposer": "monotonic"},
        {"score": "advantage"},
        {"score": "q"},
        {"score": "advantage", "objective": "value"},
    ],
)
def test_every_ablation_of_the_paper_trains(switch: dict[str, Any]) -> None:
    data = imbalanced(16)
    agent = make_agent("sit", data.spec, **(TINY | switch))
    logged = train(agent, data)
    assert list(logged) == (["share", "learn"] if "decomposition" in switch else ["decompose", "share", "learn"])
    assert np.isfinite(list(logged["learn"].values())).all()
    assert 0 <= mean_return(agent) <= 8


@pytest.mark.parametrize(
    "stop", [("decompose", 3), ("share", 0), ("share", 2), ("learn", 0), ("learn", 1), ("learn", 5)]
)
def test_a_resumed_run_is_bitwise_an_uninterrupted_one(stop: tuple[str, int], tmp_path: Path) -> None:
    data = imbalanced(16)
    whole, first, second = (make_agent("sit", data.spec, seed=s, **TINY) for s in (0, 0, 1))
    interrupted(whole, data, tmp_path, None)
    interrupted(first, data, tmp_path, stop)
    interrupted(second, data, tmp_path, None, resume=True)
    expected, got = whole.state_dict(), second.state_dict()
    assert all(torch.equal(v, got[k]) for k, v in expected.items())
    assert int(whole.state_dict()["updates"]) == TINY["learn_steps"]


def test_targets_are_copied_at_their_interval() -> None:
    data = imbalanced(16)
    agent = make_agent("sit", data.spec, **(TINY | {"learn_steps": 3}))
    assert isinstance(agent, SIT)
    train(agent, data)  # copied after update 2, not after update 3
    assert any(not torch.equal(v, agent.targets.state_dict()[k]) for k, v in agent.critics.state_dict().items())
    agent = make_agent("sit", data.spec, **(TINY | {"learn_steps": 4}))
    assert isinstance(agent, SIT)
    train(agent, data)
    assert all(torch.equal(v, agent.targets.state_dict()[k]) for k, v in agent.critics.state_dict().items())


def test_keeps_the_contract_of_agents() -> None:
    check_agent("sit", **TINY)


def test_a_dataset_of_another_environment_is_refused() -> None:
    data = imbalanced(2)
    agent = make_agent("sit", replace(data.spec, id="toy/other", O=7))
    with pytest.raises(SpecMismatch, match=r"sit was built for toy/other but the dataset is of toy/signals"):
        agent.phases(data)


def test_stage_three_refuses_a_batch_that_is_not_its_own() -> None:
    data = imbalanced(2)
    agent = make_agent("sit", data.spec, **TINY)
    with pytest.raises(SpecMismatch, match="stage III learns from individual trajectories, got a Batch"):
        agent.phases(data)[2].update(data.batch([0]))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"members": 0}, "members is 0, expected a positive integer"),
        ({"members": 2.5}, "members is 2.5, expected a positive integer"),
        ({"decompose_transitions": -1}, "decompose_transitions is -1, expected an integer of at least 0"),
        ({"beta": 0}, "beta is 0, expected a positive number"),
        ({"gamma": 1.5}, "gamma is 1.5, expected between 0 and 1"),
        ({"attention": 1}, "attention is 1, expected true or false"),
        ({"alpha": "high"}, "alpha is 'high', expected a positive number or 'auto'"),
        ({"alpha": -1.0}, "alpha is -1.0, expected a positive number or 'auto'"),
        ({"sampler": "heap"}, "sampler is 'heap', expected one of sum-tree, cumulative"),
        ({"uncertainty": "x"}, "uncertainty is 'x', expected one of clipped, literal, none"),
        ({"policy": "normal"}, "policy is 'normal', expected one of gaussian, deterministic"),
        ({"objective": "q"}, "objective is 'q', expected one of likelihood, value"),
        ({"objective": "value"}, "score is 'return', expected 'advantage' or 'q' with objective='value'"),
        ({"action_samples": 0}, "action_samples is 0, expected a positive integer"),
        ({"uncertainty_low": 20.0}, "uncertainty_low is 20.0, expected at most uncertainty_high"),
    ],
)
def test_bad_settings_are_named(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        make_config("sit", "toy/signals", overrides=setting)


def test_the_paper_preset_is_tables_10_and_11() -> None:
    c = make_config("sit", "toy/signals", "paper")
    assert isinstance(c, SITConfig)
    table_10 = (c.decompose_lr, c.decompose_steps, c.clip_norm, c.reward_hidden, c.attention_hidden)
    assert table_10 == (1e-4, 20_000, 10, 64, 64)
    assert (c.decompose_episodes, c.decompose_transitions, c.members) == (32, 0, 5)
    table_11 = (c.actor_lr, c.gamma, c.learn_steps, c.target_interval, c.critic_hidden, c.actor_hidden)
    assert table_11 == (5e-4, 0.99, 15_000, 100, 32, 64)
    assert (c.learn_trajectories, c.critic_lr, c.alpha, c.beta, c.eta, c.priority_range) == (32, 1e-4, 0.2, 0.1, 1, 20)
    literal = (c.score, c.td_lambda, c.critic_warmup, c.uncertainty, c.standardise_reward, c.scale_return)
    assert literal == ("q", 0, 0, "literal", False, False)


def test_auc_counts_pairs_of_different_level() -> None:
    score, level = np.array([3.0, 1.0, 2.0, 2.0, 9.0]), np.array([2, 0, 0, 2, -1])
    # pairs (better, worse): 3>1, 3>2, 2>1, 2=2
    assert auc(score, level) == 3.5 / 4
    assert auc(-score, level) == 0.5 / 4
    three = np.array([0.0, 1.0, 2.0]), np.array([0, 1, 2])
    assert auc(*three) == 1.0
    assert auc(score, np.full(5, -1)) is None
    assert auc(score, np.full(5, 1)) is None


def test_auc_within_compares_teammates_of_one_episode() -> None:
    score = np.array([[1.0, 2.0], [9.0, 8.0], [3.0, 3.0], [0.0, 5.0]])
    level = np.array([[0, 2], [0, 2], [2, 1], [2, -1]])  # right, wrong, tie, unknown
    assert auc_within(score, level) == 1.5 / 3
    assert auc_within(score, np.zeros((4, 2), int)) is None


def test_rank_correlation_is_spearmans() -> None:
    # ranks of the scores 1 2 3 4, of the levels 1 2.5 2.5 4: 4.5 / √(5 · 4.5)
    score, level = np.array([0.1, 0.2, 7.0, 9.0]), np.array([0, 1, 1, 2])
    assert rank_correlation(score, level) == pytest.approx(math.sqrt(0.9))
    assert rank_correlation(-score, level) == pytest.approx(-math.sqrt(0.9))
    assert rank_correlation(score, np.array([1, 1, 1, -1])) is None


def test_an_inverted_stage_one_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_if_inverted({"a/auc": 0.4, "b/auc": 0.6, "c/auc": 0.499, "a/alpha": 0.1})
    assert "type a: better trajectories get LOWER priorities (AUC 0.40, blind is 0.5): stage I is inv" in caplog.text
    assert "type b" not in caplog.text
    assert "type c: priorities hardly tell better trajectories from worse (AUC 0.50, blind is 0.5); tr" in caplog.text
