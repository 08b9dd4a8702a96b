"""A GRU over episodes of different length, without padding: forward and backward written out for the CPU.

Episodes of one batch differ in length by a factor of two or more, so half of a padded unroll is wasted. torch has
a packed GRU, but on a CPU its backward pass makes a gradient as large as the whole batch for every time step. Here
whatever does not depend on the next step (input products, weight gradients) is done for all rows at once; one matrix
product and one pass of a compiled kernel are left per time step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence

from offmarl_bench.kernels import gru_step, gru_step_back


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
        before[: counts[0]] = 0
        own = gates.new_empty(counts[0], 3 * h)
        views = [a.numpy() for a in (gates, own, out, before, inner)]
        u_t, first = u.t().contiguous(), 0
        for n, following in zip(counts, [*counts[1:], 0], strict=True):
            torch.addmm(c, before[first : first + n], u_t, out=own[:n])
            gru_step(first, n, following, *views)
            first += n
        ctx.counts = counts
        ctx.save_for_backward(x, w, u, gates, before, inner)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Float[Tensor, "K H"]) -> tuple[Tensor | None, ...]:
        x, w, u, gates, before, inner = ctx.saved_tensors
        k, h = before.shape
        slopes, sums = gates.new_empty(k, 4 * h), gates.new_zeros(4 * h)
        by_u, by_w = slopes[:, : 3 * h], slopes[:, h:]
        new_first = torch.cat([u[2 * h :], u[: 2 * h]])  # the order of by_u: n, r, z
        carry, last = gates.new_zeros(ctx.counts[0], h), k
        views = [a.numpy() for a in (gates, before, inner, grads[0].contiguous(), carry, slopes, sums)]
        for n in reversed(ctx.counts):
            last -= n
            gru_step_back(last, n, *views)
            torch.addmm(carry[:n], by_u[last : last + n], new_first, out=carry[:n])
        du, dw = by_u.t() @ before, by_w.t() @ x
        dx = by_w @ w if ctx.needs_input_grad[0] else None
        return dx, None, dw, torch.cat([du[h:], du[:h]]), sums[h:], torch.cat([sums[h : 3 * h], sums[:h]])


def packed_gru(gru: nn.GRU, x: Float[Tensor, "K I"], counts: Int[Tensor, " U"]) -> Float[Tensor, "K H"]:
    """Memory after every row, from zeros.

    Args:
        gru: one layer, one direction, not ``batch_first``.
        x: inputs, time-major, in the order of ``pack`` (several agents of one episode side by side).
        counts: rows at each time.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32:  # the kernels are for the CPU, in single precision
        out: Tensor = gru(PackedSequence(x, counts))[0].data
        return out
    w, u, b, c = gru.all_weights[0]
    memory: Tensor = _PackedGRU.apply(x, counts.tolist(), w, u, b, c)  # type: ignore[no-untyped-call]
    return memory
