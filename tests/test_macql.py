"""MACQL: Eq. (13) by hand, the update as a whole, and that the conservative term is what makes it work."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from baselines.macql import MACQL, MACQLConfig, conservative_gap, tree_backup
from baselines.macql_equations import cql_loss
from offmarl_bench.agent import make_agent
from offmarl_bench.collate import collate
from offmarl_bench.errors import FormatError
from offmarl_bench.loader import Dataset
from offmarl_bench.testing import check_agent
from offmarl_bench.types import Episode
from tests.imbalanced_toy import mean_return, train
from tests.test_qmix import episodes, shortened
from tests.toy_data import SPEC, careless_dataset, expert_dataset, legal_at, shaken, stepwise

LEARN: dict[str, Any] = {"lr": 5e-3, "steps": 200}


def agent(**settings: Any) -> MACQL:
    made = make_agent("macql", SPEC, **settings)
    assert isinstance(made, MACQL)
    return made


def test_eq_13_gap_by_hand() -> None:
    # Agent 0: w = 2, Q = (0, ln 3 / 2), so the log-sum is ln(1 + 3), less 0 for its own action; its third is illegal.
    # Agent 1 is dead. b = 5 would count once for each living agent and once in Q.
    w, q = torch.tensor([2.0, 1.0]), torch.tensor([[0.0, math.log(3.0) / 2, 99.0], [7.0, 8.0, 9.0]])
    legal = torch.tensor([[True, True, False], [True, True, True]])
    actions, alive = torch.tensor([0, 1]), torch.tensor([True, False])
    assert conservative_gap(w, q, None, actions, legal, alive).item() == pytest.approx(math.log(4))
    both = torch.tensor([True, True])
    b = torch.tensor(5.0)
    more = math.log(1 + math.exp(-1) + math.exp(1))
    assert conservative_gap(w, q, None, actions, legal, both).item() == pytest.approx(math.log(4) + more)
    assert conservative_gap(w, q, b, actions, legal, both).item() == pytest.approx(math.log(4) + more + (2 - 1) * 5)


def test_eq_13_printed_with_the_bias_by_hand() -> None:
    w, q, b = torch.tensor([1.0, 3.0]), torch.tensor([[0.5, 1.0], [2.0, -1.0]]), torch.tensor(0.7)
    actions = torch.tensor([1, 0])
    printed = sum(math.log(sum(math.exp(w[i] * q[i, a] + b) for a in range(2))) for i in range(2))
    printed -= float(w[0] * q[0, 1] + w[1] * q[1, 0] + b)
    ours = conservative_gap(w, q, b, actions, None, torch.tensor([True, True]))
    assert ours.item() == pytest.approx(printed, rel=1e-5)


def test_a_single_legal_action_leaves_no_gap() -> None:
    w, q = torch.ones(1), torch.tensor([[3.0, 99.0]])
    legal, actions = torch.tensor([[True, False]]), torch.tensor([0])
    assert conservative_gap(w, q, None, actions, legal, torch.tensor([True])).item() == 0


def test_eq_13_loss_by_hand() -> None:
    gap, q_tot, y = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0]), torch.tensor([4.0, 2.0])
    assert cql_loss(gap, q_tot, y, 10.0).item() == (10 + 2 + 30 + 0) / 2


def test_tree_backup_by_hand() -> None:
    # γ = λ = ½. Backwards: t = 2 ends the task: G = 3. t = 1 goes on greedily: 2 + ½ (20 + ½ (3 − 10)) = 10.25.
    # t = 0 is followed by an action that is not greedy: 1 + ½ · 40 = 21. The horizon would have added ½ · 60 at t = 2.
    reward, value = torch.tensor([[1.0, 2.0, 3.0]] * 2), torch.tensor([[40.0, 20.0, 60.0]] * 2)
    taken, trace = torch.tensor([[8.0, 10.0, 99.0]] * 2), torch.tensor([[False, True, False]] * 2)
    terminated = torch.tensor([[False, False, True], [False, False, False]])
    ends, cut = tree_backup(reward, value, taken, trace, terminated, 0.5, 0.5).tolist()
    assert ends == [21, 10.25, 3]
    assert cut == [21, 2 + 0.5 * (20 + 0.5 * (33 - 10)), 33]
    assert tree_backup(reward, value, taken, trace, terminated, 0.5, 0.0).tolist()[0] == [21, 12, 3]


@torch.no_grad()
def by_hand(model: MACQL, episode: Episode) -> float:
    """Sum of both terms of Eq. (13) over one episode, by loops."""
    q, target_q = (stepwise(net, episode) for net in (model.actor, model.target_actor))
    state, config, end, total = torch.from_numpy(episode.state), model.config, len(episode), 0.0

    def mixed(values: list[torch.Tensor], t: int) -> float:
        return model.target_mixer(torch.stack(values), state[t]).item()  # type: ignore[no-any-return]

    later = 0.0
    for t in range(end - 1, -1, -1):
        ends = episode.terminal and t == end - 1
        best = [max(legal_at(episode, t + 1, n), key=lambda a, n=n: float(q[t + 1, n, a])) for n in range(SPEC.N)]  # type: ignore[misc]
        backed = mixed([target_q[t + 1, n, best[n]] for n in range(SPEC.N)], t + 1)
        if t + 1 < end and best == episode.actions[t + 1].tolist():
            done = mixed([target_q[t + 1, n, best[n]] for n in range(SPEC.N)], t + 1)
            backed += config.backup_lambda * (later - done)
        later = float(episode.rewards[t]) + config.gamma * (0.0 if ends else backed)
        w, b = model.mixer.weights(state[t])
        assert b is not None
        took = [q[t, n, episode.actions[t, n]] for n in range(SPEC.N)]
        gap = 0.0
        for n in range(SPEC.N):
            gap += math.log(sum(math.exp(w[n] * q[t, n, a]) for a in legal_at(episode, t, n))) - float(w[n] * took[n])
        total += config.beta_cql * gap + (later - float((w * torch.stack(took)).sum() + b)) ** 2 / 2
    return total


def test_update_computes_the_loss_of_plain_loops_with_padding_ends_and_cuts() -> None:
    model, (a, b, c, *_) = agent(trust_at_cut=1.0), episodes()
    shaken(model.actor, model.target_actor, model.target_mixer)
    batch = [shortened(a, 3), b, shortened(c, 5)]
    q = stepwise(model.actor, b)
    for t in (3, 4):  # so that some traces go on
        for n in range(SPEC.N):
            b.actions[t, n] = max(legal_at(b, t, n), key=lambda a: float(q[t, n, a]))
        q = stepwise(model.actor, b)
    expected = sum(by_hand(model, e) for e in batch) / sum(len(e) for e in batch)
    metrics = model.update(collate(batch, SPEC))
    assert float(metrics["loss"]) == pytest.approx(expected, rel=1e-4)
    assert float(metrics["greedy_share"]) >= 2 / 16


def test_dead_agents_have_no_part_in_the_gap() -> None:
    batch = collate(episodes(2), SPEC)
    nobody = replace(batch, alive=torch.zeros_like(batch.alive))
    assert float(agent().update(nobody)["gap"]) == 0
    assert float(agent().update(batch)["gap"]) > 0


def test_it_learns_from_data_that_show_only_right_answers() -> None:
    model = agent(**LEARN)
    train(model, expert_dataset(128))
    assert mean_return(model) > 0.95 * SPEC.horizon


def test_without_the_conservative_term_it_trusts_what_it_never_saw() -> None:
    model = agent(**LEARN, beta_cql=0.0)
    train(model, expert_dataset(128))
    assert mean_return(model) < 0.8 * SPEC.horizon


def test_rewards_still_decide_where_the_data_show_both() -> None:
    model = agent(**LEARN, beta_cql=0.1)
    train(model, careless_dataset(256, right=0.35))
    assert mean_return(model) > 0.85 * SPEC.horizon


def test_the_printed_equation_pushes_the_bias_down_without_end() -> None:
    model = agent(**LEARN, bias_in_gap=True)
    metrics = train(model, expert_dataset(32))
    assert metrics["learn"]["gap"] < -50


def test_it_keeps_the_contract() -> None:
    check_agent("macql", hidden=8, mixer_embed=4, target_interval=4)


def test_offline_it_is_one_phase_of_sampled_episodes() -> None:
    (phase,) = agent(steps=7, batch_size=5).phases(Dataset.from_episodes(episodes(), SPEC))
    assert (phase.name, phase.steps) == ("learn", 7)
    assert phase.batches(np.random.default_rng(0)).rewards.shape == (5, SPEC.horizon)


def test_presets_and_what_it_refuses() -> None:
    assert agent(preset="paper").config == MACQLConfig(
        double_q=False, bias_in_gap=True, beta_cql=2.0, lr=5e-4, largest_return=0.0
    )
    assert agent().policy().epsilon == 0
    assert agent(play_epsilon=0.2).policy(greedy=False).epsilon == 0.2
    with pytest.raises(FormatError, match=r"MACQL: beta_cql is -1\.0, expected a number from 0"):
        MACQLConfig(beta_cql=-1.0)
    with pytest.raises(FormatError, match="MACQL: backup_lambda is 2, expected a number from 0 to 1"):
        MACQLConfig(backup_lambda=2)
