"""A GRU over episodes of different length, without padding: forward and backward written out for the CPU.

Episodes of one batch differ in length by a factor of two or more, so half of a padded unroll is wasted. torch has
a packed GRU, but on a CPU its backward pass makes a gradient as large as the whole batch for every time step. Here
whatever does not depend on the next step (input products, all derivatives, weight gradients) is done for all rows
at once; only one product and a few in-place operations are left per time step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence

CACHED_ROWS = 512
"""Rows of derivatives computed in one go: their temporaries stay in a core's own cache."""


class Packing(NamedTuple):
    """Where each real observation of a padded batch of episodes stands in a flat, time-major array of K rows."""

    lane: Int[Tensor, " K"]
    time: Int[Tensor, " K"]
    counts: Int[Tensor, " U"]
    """Episodes that still have an observation at each time; never grows, and lies on the CPU."""
    row: Int[Tensor, "U B"]
    """The inverse: row of (time, lane), −1 for padding."""


def pack(lengths: Int[Tensor, " B"]) -> Packing:
    """The packing of episodes with these numbers of steps (so one more observation each)."""
    seen = lengths + 1
    order = seen.argsort(descending=True, stable=True)
    present = torch.arange(int(seen.max()), device=lengths.device).unsqueeze(1) < seen[order]
    time, place = present.nonzero(as_tuple=True)
    lane = order[place]
    row = torch.full(present.shape, -1, device=lengths.device)
    row[time, lane] = torch.arange(len(lane), device=lengths.device)
    return Packing(lane, time, present.sum(1).cpu(), row)


def _slopes(
    gate: Float[Tensor, "K 3 H"],
    before: Float[Tensor, "K H"],
    inner: Float[Tensor, "K H"],
    slope: Float[Tensor, "K 3 H"],
    by_n: Float[Tensor, "K H"],
) -> None:
    """Write the derivatives by h' of the hidden products' r, z and n rows, and of n's input product."""
    r, z, n = gate.unbind(1)
    torch.mul(1 - z, 1 - n * n, out=by_n)
    torch.mul(by_n * inner, r * (1 - r), out=slope[:, 0])
    torch.mul(before - n, z * (1 - z), out=slope[:, 1])
    torch.mul(by_n, r, out=slope[:, 2])


class _PackedGRU(torch.autograd.Function):
    """torch's GRU: r, z = σ(W x + b + U h + c), n = tanh(W x + b + r (U h + c)), h' = (1 − z) n + z h."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "K I"],
        counts: list[int],
        w: Float[Tensor, "3H I"],
        u: Float[Tensor, "3H H"],
        b: Float[Tensor, " 3H"],
        c: Float[Tensor, " 3H"],
    ) -> Float[Tensor, "K H"]:
        k, h = len(x), u.shape[1]
        gates = torch.addmm(b, x, w.t())  # becomes r, z, n in place
        out, before, inner = (gates.new_empty(k, h) for _ in range(3))
        u_t, first = u.t().contiguous(), 0
        memory = out.new_zeros(counts[0], h)
        for n in counts:
            rows = slice(first, first + n)
            before[rows] = memory[:n]
            own = torch.addmm(c, before[rows], u_t)
            gate = gates[rows]
            gate[:, : 2 * h].add_(own[:, : 2 * h]).sigmoid_()
            inner[rows] = own[:, 2 * h :]
            gate[:, 2 * h :].addcmul_(gate[:, :h], inner[rows]).tanh_()
            memory = torch.lerp(gate[:, 2 * h :], before[rows], gate[:, h : 2 * h], out=out[rows])
            first += n
        ctx.counts = counts
        ctx.save_for_backward(x, w, u, gates, before, inner)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Float[Tensor, "K H"]) -> tuple[Tensor | None, ...]:
        x, w, u, gates, before, inner = ctx.saved_tensors
        k, h = before.shape
        gate, slope, by_n = gates.view(k, 3, h), gates.new_empty(k, 3, h), gates.new_empty(k, h)
        for first in range(0, k, CACHED_ROWS):
            rows = slice(first, first + CACHED_ROWS)
            _slopes(gate[rows], before[rows], inner[rows], slope[rows], by_n[rows])
        z, dh = gate[:, 1], grads[0].clone()
        last, carry = k, dh.new_zeros(0, h)
        for count in reversed(ctx.counts):
            rows = slice(last - count, last)
            here = dh[rows]
            here[: len(carry)] += carry
            slope[rows] *= here.unsqueeze(1)
            carry = torch.addmm(here * z[rows], slope[rows].view(count, 3 * h), u)
            last -= count
        flat = slope.view(k, 3 * h)
        dc, du = flat.sum(0), flat.t() @ before
        torch.mul(dh, by_n, out=slope[:, 2])  # by the input's share of n, which r does not scale
        return flat @ w if ctx.needs_input_grad[0] else None, None, flat.t() @ x, du, flat.sum(0), dc


def packed_gru(gru: nn.GRU, x: Float[Tensor, "K I"], counts: Int[Tensor, " U"]) -> Float[Tensor, "K H"]:
    """Memory after every row, from zeros.

    Args:
        gru: one layer, one direction, not ``batch_first``.
        x: inputs, time-major, in the order of ``pack`` (several agents of one episode side by side).
        counts: rows at each time.
    """
    if x.is_cuda or not torch.is_grad_enabled():  # only the CPU's backward pass is slow
        out: Tensor = gru(PackedSequence(x, counts))[0].data
        return out
    w, u, b, c = gru.all_weights[0]
    memory: Tensor = _PackedGRU.apply(x, counts.tolist(), w, u, b, c)  # type: ignore[no-untyped-call]
    return memory
