"""OMIGA and implicit Q-learning for teams: their losses by hand, the update as a whole, and what makes them work."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from baselines.in_sample import InSample, bellman_loss, weighted_imitation
from baselines.maiql import MAIQLConfig, advantage_weight, expectile_loss
from baselines.omiga import OMIGAConfig, exponent, value_loss
from offmarl_bench.agent import make_agent
from offmarl_bench.collate import collate
from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.testing import check_agent
from offmarl_bench.types import Episode
from tests import toy_continuous
from tests.imbalanced_toy import mean_return, train
from tests.test_qmix import episodes, shortened
from tests.toy_data import SPEC, careless_dataset, shaken, stepwise

NAMES = ("omiga", "maiql")
LEARN: dict[str, dict[str, Any]] = {
    "omiga": {"actor_lr": 5e-3, "critic_lr": 3e-3, "steps": 250, "alpha": 0.02},
    "maiql": {"actor_lr": 5e-3, "critic_lr": 3e-3, "steps": 250, "beta": 30.0},
}
BLIND: dict[str, dict[str, Any]] = {"omiga": {"alpha": 1e6}, "maiql": {"beta": 1e-6}}
"""Settings that weigh all actions alike."""


def agent(name: str, **settings: Any) -> InSample:
    made = make_agent(name, SPEC, **settings)
    assert isinstance(made, InSample)
    return made


def test_bellman_loss_and_imitation_by_hand() -> None:
    assert bellman_loss(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])).item() == (4 + 9) / 2
    log_pi, weight = torch.tensor([-1.0, -2.0, -99.0]), torch.tensor([3.0, 0.5, 9.0])
    assert weighted_imitation(log_pi, weight, torch.tensor([True, True, False])).item() == (3 + 1) / 2


def test_omigas_exponent_by_hand() -> None:
    q, v, w = torch.tensor([3.0, 0.0, -999.0]), torch.tensor([1.0, 1.0, 0.0]), torch.tensor([2.0, 0.5, 1.0])
    assert exponent(q, v, w, 4.0).tolist() == [1.0, -0.125, -10.0]


def test_omigas_loss_of_v_by_hand() -> None:
    # z = 1 and −0.5; the largest of what counts is 1. The third agent is dead, and its z of 10 would rule.
    q, v, w = torch.tensor([3.0, 0.0, 40.0]), torch.tensor([1.0, 1.0, 0.0]), torch.tensor([2.0, 2.0, 1.0])
    alive = torch.tensor([True, True, False])
    by_hand = [math.exp(0) + math.exp(-1) * 2 * 1 / 4, math.exp(-1.5) + math.exp(-1) * 2 * 1 / 4]
    assert value_loss(q, v, w, 4.0, alive).item() == pytest.approx(sum(by_hand) / 2)


def test_omigas_v_is_a_soft_maximum() -> None:
    """Where E exp((Q − V)/α) = 1: of the values 0 and 2 that lies above their mean, and the more so the smaller α."""
    q = torch.tensor([0.0, 2.0])
    for alpha in (0.5, 5.0):
        expected = alpha * math.log(sum(math.exp(x / alpha) for x in (0.0, 2.0)) / 2)
        v = torch.full((2,), expected, requires_grad=True)
        value_loss(q, v, torch.ones(2), alpha, torch.ones(2, dtype=torch.bool)).backward()  # type: ignore[no-untyped-call]
        assert v.grad is not None
        assert float(v.grad.sum()) == pytest.approx(0, abs=1e-6)
        assert 1 < expected < 2


def test_implicit_q_learning_by_hand() -> None:
    q, v, mask = torch.tensor([3.0, 0.0, 9.0]), torch.tensor([1.0, 1.0, 0.0]), torch.tensor([True, True, False])
    assert expectile_loss(q, v, 0.7, mask).item() == pytest.approx((0.7 * 4 + 0.3 * 1) / 2)
    weights = advantage_weight(torch.tensor([1.0, 0.0, 9.0]), torch.tensor([0.0, 1.0, 0.0]), 2.0)
    assert weights.tolist() == pytest.approx([math.exp(2), math.exp(-2), 100.0])


def by_hand(model: InSample, batch: list[Episode]) -> dict[str, float]:
    """The three losses by plain loops over steps and agents."""
    config, critic, value, actor, steps, agents = model.config, 0.0, 0.0, 0.0, 0, 0
    rows = []
    for e in batch:
        state = torch.from_numpy(e.state)
        now, old, logits = (stepwise(x, e) for x in (model.values, model.target_values, model.actor))
        (w, b), (old_w, old_b) = model.mixer.weights(state), model.target_mixer.weights(state)
        assert b is not None
        assert old_b is not None
        assert e.legal_actions is not None
        log_p = logits.masked_fill(~torch.from_numpy(e.legal_actions), -torch.inf).log_softmax(-1)
        for t in range(len(e)):
            did, ends = e.actions[t], e.terminal and t + 1 == len(e)
            q = sum(float(w[t, n] * now[t, n, did[n]]) for n in range(SPEC.N)) + float(b[t])
            future = sum(float(old_w[t + 1, n] * old[t + 1, n, -1]) for n in range(SPEC.N)) + float(old_b[t + 1])
            critic += (float(e.rewards[t]) + (0.0 if ends else config.gamma * future) - q) ** 2
            steps += 1
            rows += [
                (float(old[t, n, did[n]]), float(now[t, n, -1]), float(old_w[t, n]), float(log_p[t, n, did[n]]))
                for n in range(SPEC.N)
            ]
    top = max(max(k * (good - v) / getattr(config, "alpha", 1.0) for good, v, k, _ in rows), -1.0)
    for good, v, weight, log_pi in rows:
        agents += 1
        if isinstance(config, OMIGAConfig):
            z = weight * (good - v) / config.alpha
            value += math.exp(z - top) + math.exp(-top) * weight * v / config.alpha
            actor -= math.exp(z) * log_pi
        elif isinstance(config, MAIQLConfig):
            value += (config.expectile if good > v else 1 - config.expectile) * (good - v) ** 2
            actor -= min(math.exp(config.beta * (good - v)), 100.0) * log_pi
    return {"critic_loss": critic / steps, "value_loss": value / agents, "actor_loss": actor / agents}


@pytest.mark.parametrize("name", NAMES)
def test_update_computes_the_losses_of_plain_loops_with_padding_ends_and_cuts(name: str) -> None:
    model, (a, b, c, *_) = agent(name, trust_at_cut=1.0), episodes()
    shaken(model.values, model.target_values, model.target_mixer, model.actor)
    batch = [shortened(a, 3), b, shortened(c, 5)]
    with torch.no_grad():
        expected = by_hand(model, batch)
    metrics = model.update(collate(batch, SPEC))
    assert {k: float(metrics[k]) for k in expected} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_what_few_in_the_data_do(name: str) -> None:
    model = agent(name, **LEARN[name])
    train(model, careless_dataset(256, right=0.35))
    assert mean_return(model) > 0.9 * SPEC.horizon


@pytest.mark.parametrize("name", NAMES)
def test_without_the_weights_it_does_what_most_do(name: str) -> None:
    model = agent(name, **LEARN[name] | BLIND[name])
    metrics = train(model, careless_dataset(256, right=0.35))
    assert metrics["learn"]["weights_ess"] == pytest.approx(1, abs=1e-3)
    assert mean_return(model) < 0.5 * SPEC.horizon


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_the_contract(name: str) -> None:
    check_agent(name, hidden=8, mixer_embed=4, target_interval=4)


def test_what_they_refuse() -> None:
    with pytest.raises(SpecMismatch, match="OMIGA needs discrete actions here; for continuous ones use 'icq'"):
        make_agent("omiga", toy_continuous.SPEC)
    with pytest.raises(FormatError, match=r"OMIGA: alpha is 0\.0, expected a number above 0"):
        OMIGAConfig(alpha=0.0)
    with pytest.raises(FormatError, match=r"MAIQL: expectile is 1\.5, expected a number from 0 to 1"):
        MAIQLConfig(expectile=1.5)
