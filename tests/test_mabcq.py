"""MABCQ: Eq. (11) and (12) by hand, the update as a whole, and that the mask is what makes it work."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from baselines.behaviour import bc_loss
from baselines.mabcq import MABCQ, MABCQConfig, bcq_loss, known_actions, known_max, known_values
from offmarl_bench.agent import make_agent
from offmarl_bench.collate import collate
from offmarl_bench.errors import FormatError
from offmarl_bench.testing import check_agent
from offmarl_bench.types import Episode
from tests.imbalanced_toy import mean_return, train
from tests.test_qmix import episodes, shortened
from tests.toy_data import SPEC, expert_dataset, legal_at, shaken, stepwise

LEARN: dict[str, Any] = {"lr": 5e-3, "behaviour_steps": 100, "steps": 200}


def agent(**settings: Any) -> MABCQ:
    made = make_agent("mabcq", SPEC, **settings)
    assert isinstance(made, MABCQ)
    return made


def test_eq_11_by_hand() -> None:
    log_mu, mask = torch.tensor([[-1.0, -3.0, -99.0]]), torch.tensor([[True, True, False]])
    assert bc_loss(log_mu, mask).item() == 2


def test_eq_12_known_actions_by_hand() -> None:
    # μ is 10 : 4 : 3 : 1 against the likeliest legal action; the illegal one, likelier still, does not count.
    logits = torch.tensor([math.log(10.0), math.log(4.0), math.log(3.0), 0.0, 9.0])
    legal = torch.tensor([True, True, True, True, False])
    assert known_actions(logits, legal, 0.35).tolist() == [True, True, False, False, False]
    assert known_actions(logits, legal, 0.25).tolist() == [True, True, True, False, False]
    assert known_actions(logits, legal, 0.0).tolist() == [True, True, True, True, False]
    assert known_actions(logits, None, 0.9).tolist() == [False, False, False, False, True]


def test_eq_12_maximum_and_loss_by_hand() -> None:
    online, target = torch.tensor([[1.0, 9.0, 5.0]]), torch.tensor([[10.0, 20.0, 3.0]])
    known = torch.tensor([[True, False, True]])
    assert known_max(target, target, known).tolist() == [10]
    assert known_max(online, target, known).tolist() == [3]
    assert bcq_loss(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])).item() == (4 + 9) / 2


def test_play_is_the_best_known_action_even_where_the_likeliest_is_illegal() -> None:
    q, logits = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, -9.0, 9.0])
    outputs = torch.cat([q, logits])
    assert known_values(outputs, None, zeta=0.3).argmax() == 2
    assert known_values(outputs, torch.tensor([True, True, False]), zeta=0.3).argmax() == 0
    assert known_values(outputs, torch.tensor([True, True, False]), zeta=0.0).argmax() == 1


@torch.no_grad()
def by_hand(model: MABCQ, episode: Episode) -> float:
    """Sum of squared errors of one episode of Eq. (12), by loops."""
    q, target_q, logits = (stepwise(net, episode) for net in (model.actor, model.target_actor, model.behaviour))
    state = torch.from_numpy(episode.state)
    total = 0.0
    for t in range(len(episode)):
        best = []
        for n in range(SPEC.N):
            free = legal_at(episode, t + 1, n)
            most = max(math.exp(logits[t + 1, n, a]) for a in free)
            known = [a for a in free if math.exp(logits[t + 1, n, a]) / most > model.config.zeta]
            best.append(target_q[t + 1, n, max(known, key=lambda a: float(q[t + 1, n, a]))])
        future = model.target_mixer(torch.stack(best), state[t + 1]).item()
        ends = episode.terminal and t == len(episode) - 1
        target = episode.rewards[t] + model.config.gamma * (0.0 if ends else future)
        taken = torch.stack([q[t, n, episode.actions[t, n]] for n in range(SPEC.N)])
        total += (model.mixer(taken, state[t]).item() - target) ** 2
    return total


def test_update_computes_the_loss_of_plain_loops_with_padding_ends_and_cuts() -> None:
    model, (a, b, c, *_) = agent(zeta=0.9, trust_at_cut=1.0), episodes()
    shaken(model.target_actor, model.target_mixer, model.behaviour)
    batch = [shortened(a, 3), b, shortened(c, 5)]
    expected = sum(by_hand(model, e) for e in batch) / sum(len(e) for e in batch)
    metrics = model.learn(collate(batch, SPEC))
    assert float(metrics["loss"]) == pytest.approx(expected, rel=1e-4)
    assert 1 < float(metrics["known_actions"]) < SPEC.A - 1, "the mask must have had something to do"


def test_the_behaviour_policy_is_learnt_first_and_then_left_alone() -> None:
    model, data = agent(), expert_dataset(8)
    imitate, learn = model.phases(data)
    assert [p.name for p in (imitate, learn)] == ["imitate", "learn"]
    batch = imitate.batches(np.random.default_rng(0))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    imitate.update(batch)
    middle = {k: v.clone() for k, v in model.state_dict().items()}
    learn.update(batch)
    changed = [{k.split(".")[0] for k in a if not torch.equal(a[k], b[k])} for a, b in (
        (before, middle), (middle, model.state_dict()),
    )]  # fmt: skip
    assert changed == [{"behaviour"}, {"actor", "mixer", "renewal"}]


def test_it_learns_from_data_that_show_only_right_answers() -> None:
    model = agent(**LEARN)
    metrics = train(model, expert_dataset(128))
    assert mean_return(model) > 0.95 * SPEC.horizon
    assert metrics["learn"]["known_actions"] == pytest.approx(1, abs=0.1)


def test_without_the_mask_it_trusts_what_it_never_saw() -> None:
    model = agent(**LEARN, zeta=0.0)
    train(model, expert_dataset(128))
    assert mean_return(model) < 0.8 * SPEC.horizon


def test_it_keeps_the_contract() -> None:
    check_agent("mabcq", hidden=8, mixer_embed=4, target_interval=4)


def test_presets_and_what_it_refuses() -> None:
    assert agent(preset="paper").config == MABCQConfig(
        double_q=False, zeta=0.3, lr=5e-4, target_interval=100, clip=10, largest_return=0.0
    )
    assert agent().policy().epsilon == 0
    assert agent(play_epsilon=0.2).policy(greedy=False).epsilon == 0.2
    with pytest.raises(FormatError, match="MABCQ: steps is 0, expected at least 1"):
        MABCQConfig(steps=0)
    with pytest.raises(FormatError, match=r"MABCQ: zeta is -0\.1, expected a number from 0 to 1"):
        MABCQConfig(zeta=-0.1)
    with pytest.raises(FormatError, match="MABCQ: lr is 0, expected a number above 0"):
        MABCQConfig(lr=0)
    with pytest.raises(FormatError, match="zeta is 1, so that no action would be known; expected a number below 1"):
        MABCQConfig(zeta=1.0)
