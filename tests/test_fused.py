"""The compiled kernels do what the same thing written out in torch does, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from offmarl_bench.fused import log_softmax, rectified_dots, relu_of_sum
from offmarl_bench.kernels import exponential, sigmoid
from offmarl_bench.nn import Actor
from offmarl_bench.recurrence import packed_gru

CLOSE = 2e-6
"""What single precision leaves of sums of some dozens of numbers near 1."""


def derivatives(result: Tensor, inputs: list[Tensor], towards: Tensor) -> list[Tensor]:
    finite = torch.isfinite(result.detach())
    total = (result.masked_fill(~finite, 0.0) * towards.to(result)).sum()
    return [result.masked_fill(~finite, 7.0).detach(), *torch.autograd.grad(total, inputs)]


def assert_same(compute: Callable[..., Tensor], *inputs: Tensor) -> None:
    """The kernel, in single precision, against the torch code that runs in double precision."""
    found = []
    for kind in (torch.float32, torch.float64):
        leaves = [x.to(kind, copy=True).requires_grad_() for x in inputs]
        result = compute(*leaves)
        towards = torch.cos(torch.arange(result.numel())).view(result.shape)
        found.append(derivatives(result, leaves, towards))
    for single, double in zip(*found, strict=True):
        assert single.dtype == torch.float32
        assert torch.allclose(single.double(), double, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("x", [-80.0, -1.5, -1e-4, 0.0, 0.3465, 0.3467, 5.0, 80.0])
def test_the_exponential_is_exact_to_single_precision(x: float) -> None:
    assert float(exponential(np.float32(x))) == pytest.approx(math.exp(np.float32(x)), rel=4e-7)


def test_the_exponential_saturates_and_passes_nan_on() -> None:
    assert 0 < float(exponential(np.float32(-np.inf))) < 1e-37
    assert 1e37 < float(exponential(np.float32(np.inf))) < math.inf
    assert math.isnan(exponential(np.float32(np.nan)))
    assert float(sigmoid(np.float32(0))) == 0.5


def test_a_layer_with_inputs_that_are_looked_up() -> None:
    torch.manual_seed(0)
    of_a, of_b = torch.tensor([-1, 0, 2, 2, 1]), torch.tensor([0, 1, -1, 1, 0])
    x, a, b = torch.randn(5, 6), torch.randn(3, 6), torch.randn(2, 6)
    assert_same(lambda x, a, b: relu_of_sum(x, a, of_a, b, of_b), x, a, b)
    by_hand = torch.relu(x[2] + a[2])
    assert torch.allclose(relu_of_sum(x, a, of_a, b, of_b)[2], by_hand)


def test_products_of_rows_with_their_rectified_companions() -> None:
    torch.manual_seed(0)
    x, c, b = torch.randn(2, 3, 4, 20), torch.randn(2, 20), torch.randn(2, 3, 20)
    assert_same(rectified_dots, x, c, b)
    assert_same(rectified_dots, x[:, 0], c, b[:, 0])  # one for each bias
    assert torch.allclose(rectified_dots(x, c, b)[1, 2, 3], (x[1, 2, 3] + c[1]).clamp(min=0) @ b[1, 2], atol=CLOSE)


@pytest.mark.parametrize("shape", [(1, 3), (7, 10, 5), (200, 11)])
def test_a_softmax_over_legal_actions(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    logits, legal = 5 * torch.randn(shape), torch.rand(shape) > 0.4
    legal[0] = False  # a row of padding is all legal
    assert_same(lambda x: log_softmax(x, legal), logits)
    assert_same(lambda x: log_softmax(x, None), logits)
    assert torch.isfinite(log_softmax(logits, legal)).equal(legal | ~legal.any(-1, keepdim=True))


def test_a_loss_that_is_not_a_number_is_not_hidden() -> None:
    rows = torch.tensor([[0.0, math.nan, 1.0]])
    assert log_softmax(rows, None).isnan().all()
    assert rectified_dots(rows.unsqueeze(0), rows, rows).isnan().all()
    assert relu_of_sum(rows, rows, torch.tensor([-1]), rows, torch.tensor([-1])).isnan()[0, 1]
    gru = nn.GRU(3, 4)
    assert packed_gru(gru, rows, torch.tensor([1])).isnan().all()


def test_the_gru_against_torch_in_double_precision() -> None:
    torch.manual_seed(0)
    gru, counts = nn.GRU(3, 20), torch.tensor([9, 9, 4, 1])
    x, towards = torch.randn(23, 3, requires_grad=True), torch.randn(23, 20)
    ours = derivatives(packed_gru(gru, x, counts), [x, *gru.parameters()], towards)
    gru.double()
    exact = x.detach().double().requires_grad_()
    theirs = derivatives(gru(PackedSequence(exact, counts))[0].data, [exact, *gru.parameters()], towards)
    for single, double in zip(ours, theirs, strict=True):
        assert torch.allclose(single.double(), double, atol=5e-6)


@pytest.mark.parametrize(("n_ids", "last_action"), [(3, True), (0, True), (3, False), (0, False)])
def test_an_unrolled_actor_is_the_actor_on_its_inputs(n_ids: int, last_action: bool) -> None:
    torch.manual_seed(0)
    actor, counts = Actor(4, 5, 8, n_ids=n_ids, last_action=last_action), torch.tensor([3, 2])
    obs, last = torch.randn(5, 3, 4), torch.randint(-1, 5, (5, 3))
    ids = torch.arange(3).expand(5, -1) if n_ids else None
    expected = actor.net.packed(actor.inputs(obs, last, ids), counts)
    assert torch.allclose(actor.unroll(obs, last, counts, ids), expected, atol=CLOSE)
