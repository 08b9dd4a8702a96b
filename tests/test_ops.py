"""Every formula in ops against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from offmarl_bench import ops


def test_one_hot_of_minus_one_is_a_row_of_zeros() -> None:
    assert ops.one_hot(torch.tensor([[1, -1], [2, 0]]), 3).tolist() == [[[0, 1, 0], [0, 0, 0]], [[0, 0, 1], [1, 0, 0]]]


def test_take_reads_the_chosen_entries() -> None:
    assert ops.take(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0])).tolist() == [2, 3]


def test_masked_logits_give_illegal_actions_probability_zero_and_leave_hopeless_rows_finite() -> None:
    legal = torch.tensor([[True, False, True], [False, False, False]])
    p = ops.masked_logits(torch.zeros(2, 3), legal).softmax(-1)
    assert p[0].tolist() == [0.5, 0, 0.5]
    assert p[1].tolist() == pytest.approx([1 / 3] * 3)
    assert ops.masked_logits(p, None) is p


def test_masked_argmax_never_picks_an_illegal_action() -> None:
    values = torch.tensor([[1.0, 9.0, 2.0]])
    assert ops.masked_argmax(values, torch.tensor([[True, False, True]])).tolist() == [2]
    assert ops.masked_argmax(values, None).tolist() == [1]


def test_masked_mean_ignores_masked_entries_even_nan_and_in_the_gradient() -> None:
    x = torch.tensor([[1.0, 2.0], [math.nan, math.inf]], requires_grad=True)
    mean = ops.masked_mean(x, torch.tensor([[True], [False]]))
    mean.backward()  # type: ignore[no-untyped-call]
    assert mean.item() == 1.5
    assert x.grad is not None
    assert x.grad.tolist() == [[0.5, 0.5], [0, 0]]
    assert ops.masked_mean(x, torch.tensor(False)).item() == 0


def test_td_target_bootstraps_unless_terminated() -> None:
    target = ops.td_target(torch.tensor([1.0, 1.0]), torch.tensor([10.0, math.nan]), torch.tensor([False, True]), 0.5)
    assert target.tolist() == [6, 1]


def test_lambda_return_by_hand() -> None:
    # Row 0: three steps, cut by the horizon. G2 = 1 + .5·8 = 5; G1 = 1 + .5·(.5·4 + .5·5) = 3.25;
    # G0 = 1 + .5·(.5·2 + .5·3.25) = 2.3125. Row 1: two steps, ended by itself: G1 = 1, G0 = 1 + .5·(.5·2 + .5·1).
    reward = torch.ones(2, 3)
    value = torch.tensor([[2.0, 4.0, 8.0], [2.0, 4.0, 99.0]])
    terminated = torch.tensor([[False, False, False], [False, True, False]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    g = ops.lambda_return(reward, value, terminated, mask, 0.5, 0.5)
    assert g[0].tolist() == [2.3125, 3.25, 5]
    assert g[1, :2].tolist() == [1.75, 1]


def test_lambda_return_at_its_ends_is_the_td_target_and_monte_carlo() -> None:
    reward, value = torch.tensor([[1.0, 2.0, 4.0, 0.0]]), torch.tensor([[3.0, 5.0, 7.0, 0.0]])
    terminated, mask = torch.zeros(1, 4, dtype=torch.bool), torch.tensor([[True, True, True, False]])
    one_step = ops.td_target(reward, value, terminated, 0.9)
    assert torch.allclose(ops.lambda_return(reward, value, terminated, mask, 0.9, 0.0)[mask], one_step[mask])
    monte_carlo = 1 + 0.9 * (2 + 0.9 * (4 + 0.9 * 7))
    assert ops.lambda_return(reward, value, terminated, mask, 0.9, 1.0)[0, 0].item() == pytest.approx(monte_carlo)


def test_polyak_and_hard_update() -> None:
    old, new = nn.Linear(1, 1), nn.Linear(1, 1)
    nn.init.constant_(old.weight, 1.0)
    nn.init.constant_(new.weight, 2.0)
    ops.polyak(old, new, 0.25)
    assert old.weight.item() == 1.25
    ops.hard_update(old, new)
    assert old.weight.item() == 2
    assert old.bias.item() == new.bias.item()
    assert old.weight is not new.weight


def test_polyak_copies_buffers() -> None:
    old, new = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    nn.init.constant_(new.running_mean, 3.0)  # type: ignore[arg-type]
    ops.polyak(old, new, 0.5)
    assert old.running_mean is not None
    assert old.running_mean.item() == 3


def test_effective_sample_size() -> None:
    assert ops.effective_sample_size(torch.tensor([1.0, 1.0, 1.0, 1.0])).item() == 4
    assert ops.effective_sample_size(torch.tensor([2.0, 0.0, 0.0])).item() == 1
    assert ops.effective_sample_size(torch.tensor([3.0, 1.0])).item() == pytest.approx(1.6)
    assert ops.effective_sample_size(torch.zeros(3)).item() == 0


def test_log_prob_by_hand() -> None:
    # Odds 3 : 1 among the legal ones, whatever the illegal action's logit.
    logits, legal = torch.tensor([[math.log(3.0), 0.0, 50.0]]), torch.tensor([[True, True, False]])
    assert ops.log_prob(logits, torch.tensor([0]), legal).item() == pytest.approx(math.log(3 / 4))
    assert ops.log_prob(logits, torch.tensor([2]), legal).item() == -math.inf


def test_batch_softmax_by_hand() -> None:
    # First column: e^0 : e^ln 3, so 1/4 and 3/4 of 2; the masked 99 has no part. Second: alone, so 1. Third: none.
    score = torch.tensor([[0.0, 7.0, 1.0], [math.log(3.0), 99.0, 2.0], [99.0, 99.0, 3.0]])
    mask = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    weights = ops.batch_softmax(score, mask)
    assert weights.tolist() == [pytest.approx([0.5, 1, 0]), pytest.approx([1.5, 0, 0]), [0, 0, 0]]
