"""The compiled layer over candidates does what the same thing written out in torch does, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from offmarl_bench import candidates
from offmarl_bench.candidates import ROWS, hidden_layer
from offmarl_bench.continuous import ContinuousCritic

CLOSE = 1e-5
"""What single precision leaves of sums of some hundreds of numbers near 1."""


def written_out(features: Tensor, x: Tensor, first: Tensor, second: Tensor, bias: Tensor) -> Tensor:
    return F.linear(F.relu(features + F.linear(x, first)), second, bias)


def leaves(lead: tuple[int, ...], candidates: int, inputs: int, hidden: int, outputs: int) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = [(*lead, hidden), (candidates, *lead, inputs), (hidden, inputs), (outputs, hidden), (outputs,)]
    return [torch.randn(*shape, requires_grad=True) for shape in shapes]


def test_a_layer_by_hand() -> None:
    # Hidden units ReLU(1 + 2 · 3) = 7 and ReLU(−9 + 1 · 3) = 0 for x = 3; 1 and 0 for x = 0; then 10 h + 0.5.
    features, x = torch.tensor([[1.0, -9.0]]), torch.tensor([[[3.0]], [[0.0]]])
    out = hidden_layer(features, x, torch.tensor([[2.0], [1.0]]), torch.tensor([[10.0, 10.0]]), torch.tensor([0.5]))
    assert out.flatten().tolist() == [70.5, 10.5]


@pytest.mark.parametrize("lead", [(ROWS + 3,), (5, 2), ()], ids=str)
@pytest.mark.parametrize("outputs", [1, 3])
def test_values_and_derivatives_are_those_of_torch(
    lead: tuple[int, ...], outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    kernel = candidates.forward
    monkeypatch.setattr(candidates, "forward", lambda *arrays: calls.append(kernel(*arrays)))
    given = leaves(lead, 4, 2, 16, outputs)
    found, expected = hidden_layer(*given), written_out(*given)
    assert len(calls) == 1, "the kernel must have been at work"
    assert torch.allclose(found, expected, atol=CLOSE, rtol=CLOSE)
    towards = torch.cos(torch.arange(found.numel())).view(found.shape)
    pairs = zip(*(torch.autograd.grad(y, given, towards) for y in (found, expected)), strict=True)
    for ours, theirs in pairs:
        assert torch.allclose(ours, theirs, atol=10 * CLOSE, rtol=CLOSE)


def test_what_the_kernel_cannot_do_is_written_out() -> None:
    features, x, *weights = leaves((3,), 4, 2, 8, 1)
    single = x[0]
    assert torch.equal(hidden_layer(features, single, *weights), written_out(features, single, *weights))
    for_all = x[:, :1]  # the same candidates for every history
    assert torch.equal(hidden_layer(features, for_all, *weights), written_out(features, for_all, *weights))
    double = [v.double() for v in (features, x, *weights)]
    assert torch.equal(hidden_layer(*double), written_out(*double))


def test_inputs_that_are_not_contiguous() -> None:
    features, x, *weights = leaves((3,), 4, 2, 8, 1)
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert not turned.is_contiguous()
    found = hidden_layer(features.t().contiguous().t(), turned, *weights)
    assert torch.allclose(found, written_out(features, x, *weights), atol=CLOSE)


def test_a_critic_values_candidates_as_one_by_one() -> None:
    torch.manual_seed(0)
    critic, features, actions = ContinuousCritic(3, 2, 8), torch.randn(6, 2, 8), torch.randn(5, 6, 2, 2)
    together = critic.value(features, actions)
    alone = torch.stack([critic.value(features, a) for a in actions])
    assert together.shape == (5, 6, 2)
    assert torch.allclose(together, alone, atol=CLOSE)
