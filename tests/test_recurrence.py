"""The padding-free GRU is torch's GRU, forward and backward."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from offmarl_bench.recurrence import pack, packed_gru


def test_packing_lists_the_real_observations_time_first_longest_first() -> None:
    rows = pack(torch.tensor([1, 2, 0]))
    assert list(zip(rows.time.tolist(), rows.lane.tolist(), strict=True)) == [
        (0, 1),
        (0, 0),
        (0, 2),
        (1, 1),
        (1, 0),
        (2, 1),
    ]
    assert rows.counts.tolist() == [3, 2, 1]
    assert rows.row.tolist() == [[1, 0, 2], [4, 3, -1], [-1, 5, -1]]


def test_outputs_and_all_gradients_are_those_of_torch() -> None:
    torch.manual_seed(0)
    gru, counts = nn.GRU(3, 4).double(), torch.tensor([5, 5, 3, 1])
    x = torch.randn(14, 3, dtype=torch.float64, requires_grad=True)
    towards = torch.randn(14, 4, dtype=torch.float64)
    memories = (gru(PackedSequence(x, counts))[0].data, packed_gru(gru, x, counts))
    theirs, ours = ([m, *torch.autograd.grad((m * towards).sum(), [x, *gru.parameters()])] for m in memories)
    for expected, got in zip(theirs, ours, strict=True):
        assert torch.allclose(expected, got, atol=1e-12)


def test_inputs_that_need_no_gradient_get_none_and_no_grad_works() -> None:
    gru, counts = nn.GRU(2, 3), torch.tensor([2, 1])
    packed_gru(gru, torch.randn(3, 2), counts).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in gru.parameters())
    with torch.no_grad():
        assert not packed_gru(gru, torch.randn(3, 2), counts).requires_grad
