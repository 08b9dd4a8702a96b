"""BC of continuous actions: its one equation by hand, what it must ignore, and that it learns."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from baselines.bc import BC
from baselines.bc_continuous import ContinuousBC, bc_loss
from offmarl_bench.agent import make_agent
from offmarl_bench.continuous import tanh_log_prob
from offmarl_bench.testing import check_agent
from offmarl_bench.types import EnvSpec
from tests.continuous_case import at_the_bounds, batch_of, everything_is_finite, mixed_lengths, stepwise
from tests.imbalanced_toy import train
from tests.toy_continuous import NOISE, PADDED, SPEC, careless_dataset, expert_dataset, mean_return, uniform_dataset


def agent(spec: EnvSpec = PADDED, **settings: Any) -> ContinuousBC:
    made = make_agent("bc", spec, **settings)
    assert isinstance(made, ContinuousBC)
    return made


def test_one_name_has_two_forms() -> None:
    assert BC.form(SPEC) is ContinuousBC
    assert agent(SPEC).name == "bc"


def test_eq_11_by_hand() -> None:
    log_pi, mask = torch.tensor([[-1.0, 3.0, math.nan]]), torch.tensor([[True, True, False]])
    assert bc_loss(log_pi, mask).item() == -1


def test_update_computes_the_loss_of_plain_loops() -> None:
    model, found = agent(), mixed_lengths()
    total, count = 0.0, 0
    for e in found:
        law = model.actor.law(stepwise(model.actor, e)[:-1])
        total -= tanh_log_prob(law, torch.from_numpy(e.actions), model.real).sum().item()
        count += e.actions.shape[0] * e.actions.shape[1]
    assert float(model.update(batch_of(found))["loss"]) == pytest.approx(total / count, rel=1e-4)


def test_padding_dead_agents_and_components_that_are_not_there_teach_nothing() -> None:
    batch = batch_of(mixed_lengths())
    alive, actions, obs = batch.alive.clone(), batch.actions.clone(), batch.obs.clone()
    alive[1, 4, 0] = False  # the last step of the longest episode, so that nobody sees it as a previous action
    actions[1, 4, 0] = 0.9
    actions[0, 3:], obs[0, 4:] = 0.9, 9.0
    batch = replace(batch, alive=alive)
    losses = [agent(seed=3).update(b)["loss"] for b in (batch, replace(batch, actions=actions, obs=obs))]
    assert losses[0] == losses[1]
    actions = batch.actions.clone()
    actions[1, 4, 1, 1] = 0.9  # the second agent has one component
    assert agent(seed=3).update(replace(batch, actions=actions))["loss"] == losses[0]


def test_actions_at_the_bounds_leave_everything_finite() -> None:
    model = agent()
    for _ in range(20):
        metrics = model.update(at_the_bounds(batch_of(mixed_lengths())))
    assert everything_is_finite(model, metrics)


def test_it_learns_to_play_like_the_expert() -> None:
    model = agent(SPEC, learning_rate=5e-3, updates=150)
    train(model, expert_dataset(128))
    assert mean_return(model) > -0.02
    sampled = mean_return(model, greedy=False)
    assert -0.1 < sampled < -2 * SPEC.horizon * NOISE**2 / 2, "sampled play has the data's noise"


def test_it_learns_of_two_agents_one_of_which_has_less_to_move() -> None:
    model = agent(learning_rate=5e-3, updates=150)
    train(model, expert_dataset(128, PADDED))
    assert mean_return(model) > -0.02


def test_it_imitates_what_most_do_and_not_what_pays() -> None:
    model = agent(SPEC, learning_rate=5e-3, updates=100)
    train(model, careless_dataset(128, right=0.2))
    assert mean_return(model) < -4


def test_it_keeps_the_contract() -> None:
    check_agent("bc", uniform_dataset(12, PADDED), hidden=8)
    check_agent("bc", uniform_dataset(12), hidden=8, agent_id=False)
