"""CFCQL: its parts by hand, the update as a whole, and that the conservative term is what makes it work."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from baselines.cfcql import CFCQL, CFCQLConfig, cfcql_loss, counterfactual_gap, divergence, shares
from offmarl_bench.agent import make_agent
from offmarl_bench.collate import collate
from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.mixers import Mixer
from offmarl_bench.testing import check_agent
from offmarl_bench.types import Episode
from tests import toy_continuous
from tests.imbalanced_toy import mean_return, train
from tests.test_qmix import episodes, shortened
from tests.toy_data import SPEC, careless_dataset, expert_dataset, legal_at, shaken, stepwise

LEARN: dict[str, Any] = {"lr": 5e-3, "behaviour_steps": 50, "steps": 200}


def agent(**settings: Any) -> CFCQL:
    made = make_agent("cfcql", SPEC, **settings)
    assert isinstance(made, CFCQL)
    return made


def test_each_counterfactual_mix_is_the_mix_of_the_changed_team() -> None:
    mixer = Mixer(3, 4, 5, 6)
    q, state = torch.randn(7, 3, 2), torch.randn(7, 4)
    actions = torch.randint(0, 2, (7, 3))
    taken = q.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    each = mixer.each(q, taken, state)
    for i in range(3):
        for a in range(2):
            changed = taken.clone()
            changed[:, i] = q[:, i, a]
            torch.testing.assert_close(each[:, i, a], mixer(changed, state))


def test_the_gap_by_hand() -> None:
    # Agent 0 could make Q ln 3 or 0 (its own); agent 1's second action is illegal, so it has no choice.
    each = torch.tensor([[0.0, math.log(3.0)], [0.0, -math.inf]])
    lam = torch.tensor([0.75, 0.25])
    assert counterfactual_gap(each, torch.tensor(0.0), lam).item() == pytest.approx(0.75 * math.log(4))


def test_divergence_by_hand() -> None:
    mu, beta = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.25, 0.75, 0.0])
    expected = 0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75)
    legal = torch.tensor([True, True, False])
    assert divergence(mu.log(), beta.log(), legal).item() == pytest.approx(expected)


def test_shares_by_hand() -> None:
    strayed = torch.tensor([0.0, math.log(3.0), 99.0])
    alive = torch.tensor([True, True, False])
    assert shares(strayed, 1.0, alive).tolist() == pytest.approx([0.25, 0.75, 0])
    assert shares(strayed, 0.0, alive).tolist() == pytest.approx([0.5, 0.5, 0])
    assert shares(strayed, -1.0, alive).tolist() == pytest.approx([0.75, 0.25, 0])
    assert shares(strayed, 1.0, torch.zeros(3, dtype=torch.bool)).tolist() == [0, 0, 0]


def test_the_loss_by_hand() -> None:
    gap, q, y = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0]), torch.tensor([2.0, 2.0])
    assert cfcql_loss(gap, q, y, 0.5).item() == pytest.approx((0.5 + 2 + 1.5 + 0) / 2)


@torch.no_grad()
def by_hand(model: CFCQL, episode: Episode) -> float:
    """Sum of α · gap + ½ (y − Q)² over one episode."""
    config, state, total, later = model.config, torch.from_numpy(episode.state), 0.0, 0.0
    q, old, logits = (stepwise(x, episode) for x in (model.actor, model.target_actor, model.behaviour))

    def mixed(mixer: Mixer, values: list[torch.Tensor], t: int) -> float:
        return float(mixer(torch.stack(values), state[t]))

    for t in range(len(episode) - 1, -1, -1):
        did, team = episode.actions[t], range(SPEC.N)
        best = [max(legal_at(episode, t + 1, n), key=lambda a: float(q[t + 1, n, a])) for n in team]
        future = mixed(model.target_mixer, [old[t + 1, n, best[n]] for n in team], t + 1)
        last = t + 1 == len(episode)
        blend = future if last else (1 - config.td_lambda) * future + config.td_lambda * later
        later = float(episode.rewards[t]) + config.gamma * (0.0 if last and episode.terminal else blend)
        took = [q[t, n, did[n]] for n in team]
        q_tot, terms, strayed = mixed(model.mixer, took, t), [], []
        for n in team:
            choices = legal_at(episode, t, n)
            would = [mixed(model.mixer, [*took[:n], q[t, n, a], *took[n + 1 :]], t) for a in choices]
            most = math.log(sum(math.exp(x) for x in would))
            terms.append(most - q_tot)
            norm = math.log(sum(math.exp(float(logits[t, n, a])) for a in choices))
            strayed.append(
                sum(
                    math.exp(x - most) * (x - most - float(logits[t, n, a]) + norm)
                    for x, a in zip(would, choices, strict=True)
                )
            )
        weights = np.exp(config.temperature * np.array(strayed))
        total += config.alpha * float((weights / weights.sum()) @ terms) + (later - q_tot) ** 2 / 2
    return total


def test_update_computes_the_loss_of_plain_loops_with_padding_ends_and_cuts() -> None:
    model, (a, b, c, *_) = agent(temperature=2.0, trust_at_cut=1.0), episodes()
    shaken(model.actor, model.target_actor, model.target_mixer, model.behaviour)
    batch = [shortened(a, 3), b, shortened(c, 5)]
    expected = sum(by_hand(model, e) for e in batch) / sum(len(e) for e in batch)
    metrics = model.learn(collate(batch, SPEC))
    assert float(metrics["loss"]) == pytest.approx(expected, rel=1e-4)
    assert float(metrics["largest_share"]) > 1.01 / SPEC.N


def test_dead_agents_have_no_part_in_the_gap() -> None:
    batch = collate(episodes(2), SPEC)
    nobody = replace(batch, alive=torch.zeros_like(batch.alive))
    assert float(agent().learn(nobody)["gap"]) == 0
    assert float(agent().learn(batch)["gap"]) > 0


def test_it_learns_from_data_that_show_only_right_answers() -> None:
    model = agent(**LEARN)
    train(model, expert_dataset(128))
    assert mean_return(model) > 0.95 * SPEC.horizon


def test_without_the_conservative_term_it_trusts_what_it_never_saw() -> None:
    model = agent(**LEARN, alpha=0.0)
    train(model, expert_dataset(128))
    assert mean_return(model) < 0.8 * SPEC.horizon


def test_rewards_still_decide_where_the_data_show_both() -> None:
    model = agent(**LEARN | {"steps": 400, "alpha": 0.1})
    train(model, careless_dataset(256, right=0.35))
    assert mean_return(model) > 0.85 * SPEC.horizon


def test_it_keeps_the_contract() -> None:
    check_agent("cfcql", hidden=8, mixer_embed=4, hypernet_hidden=4, target_interval=4)


def test_what_it_refuses() -> None:
    with pytest.raises(SpecMismatch, match="CFCQL needs discrete actions here; for continuous ones use 'macql'"):
        make_agent("cfcql", toy_continuous.SPEC)
    with pytest.raises(FormatError, match=r"CFCQL: alpha is -1\.0, expected a number from 0"):
        CFCQLConfig(alpha=-1.0)
    with pytest.raises(FormatError, match="CFCQL: temperature is nan, expected a finite number"):
        CFCQLConfig(temperature=math.nan)
