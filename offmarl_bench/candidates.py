"""One hidden layer over many candidates for each history: what valuing and generating continuous actions comes down to.

y = second · ReLU(features + first · x) + bias, for C inputs x of a few numbers at each of K features. Written out in
torch that is a dozen passes over arrays of C · K · H numbers, and products with an inner size of three, which no matrix
library is made for; here nothing of size H is stored for a candidate, forward or backward.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from offmarl_bench.fused import has_kernel

compiled = njit(cache=True, error_model="numpy", nogil=True, fastmath={"contract", "reassoc", "nsz"})
ZERO = np.float32(0)
ROWS = 64
"""Rows of features whose share of the weights' derivatives is summed apart: less is lost to rounding."""


def hidden_layer(
    features: Float[Tensor, "*#L H"],
    x: Float[Tensor, "*#L I"],
    first: Float[Tensor, "H I"],
    second: Float[Tensor, "P H"],
    bias: Float[Tensor, " P"],
) -> Float[Tensor, "*L P"]:
    """Outputs of one hidden layer, second · ReLU(features + first · x) + bias; features and inputs broadcast.

    Compiled for single precision on the CPU and several candidates a history, elsewhere written out in torch.

    Args:
        features: of histories; (K, N, H), say.
        x: inputs; (C, K, N, I) for C candidates of each history.
        first: weights of the inputs.
        second: weights of the hidden units.
        bias: of the outputs.
    """
    lead = features.shape[:-1]
    if x.dim() <= features.dim() or x.shape[x.dim() - features.dim() : -1] != lead or not has_kernel(features):
        return F.linear(F.relu(features + F.linear(x, first)), second, bias)
    flat, rows = features.reshape(-1, features.shape[-1]), x.reshape(-1, lead.numel(), x.shape[-1])
    out: Tensor = _HiddenLayer.apply(flat, rows, first, second, bias)  # type: ignore[no-untyped-call]
    return out.view(*x.shape[:-1], -1)


@compiled
def forward(
    features: Float32[np.ndarray, "K H"],
    x: Float32[np.ndarray, "C K I"],
    first: Float32[np.ndarray, "I H"],
    second: Float32[np.ndarray, "P H"],
    bias: Float32[np.ndarray, " P"],
    out: Float32[np.ndarray, "C K P"],
) -> None:
    """``hidden_layer`` of flat arrays into ``out``; ``first`` is transposed."""
    (C, K, inputs), (P, H) = x.shape, second.shape
    h = np.empty(H, np.float32)
    for k in range(K):
        for c in range(C):
            for j in range(H):
                h[j] = features[k, j]
            for i in range(inputs):
                for j in range(H):
                    h[j] += x[c, k, i] * first[i, j]
            for p in range(P):
                total = ZERO
                for j in range(H):
                    total += max(h[j], ZERO) * second[p, j]
                out[c, k, p] = total + bias[p]


@compiled
def backward(
    grad: Float32[np.ndarray, "C K P"],
    features: Float32[np.ndarray, "K H"],
    x: Float32[np.ndarray, "C K I"],
    first: Float32[np.ndarray, "I H"],
    second: Float32[np.ndarray, "P H"],
    by_features: Float32[np.ndarray, "K H"],
    by_x: Float32[np.ndarray, "C K I"],
    by_first: Float32[np.ndarray, "I H"],
    by_second: Float32[np.ndarray, "P H"],
) -> None:
    """Derivatives of ``forward``; ``by_x`` is overwritten, the others, zeros before, are added to."""
    (C, K, inputs), (P, H) = x.shape, second.shape
    h, g = np.empty(H, np.float32), np.empty(H, np.float32)
    part_first, part_second = np.zeros_like(first), np.zeros_like(second)
    for k in range(K):
        for c in range(C):
            for j in range(H):
                h[j] = features[k, j]
                g[j] = ZERO
            for i in range(inputs):
                for j in range(H):
                    h[j] += x[c, k, i] * first[i, j]
            for p in range(P):
                slope = grad[c, k, p]
                for j in range(H):
                    part_second[p, j] += slope * max(h[j], ZERO)
                    g[j] += slope * second[p, j]
            for j in range(H):
                g[j] = g[j] if h[j] > ZERO else ZERO
                by_features[k, j] += g[j]
            for i in range(inputs):
                total = ZERO
                for j in range(H):
                    part_first[i, j] += x[c, k, i] * g[j]
                    total += g[j] * first[i, j]
                by_x[c, k, i] = total
        if k % ROWS == ROWS - 1 or k == K - 1:
            by_first += part_first
            by_second += part_second
            part_first[:] = ZERO
            part_second[:] = ZERO


class _HiddenLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, x: Tensor, first: Tensor, second: Tensor, bias: Tensor
    ) -> Float[Tensor, "C K P"]:
        features, x, first, second = features.contiguous(), x.contiguous(), first.t().contiguous(), second.contiguous()
        out = x.new_empty(*x.shape[:-1], len(second))
        forward(features.numpy(), x.numpy(), first.numpy(), second.numpy(), bias.numpy(), out.numpy())
        ctx.save_for_backward(features, x, first, second)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        features, x, first, second = ctx.saved_tensors
        grad, by_x = grads[0].contiguous(), torch.empty_like(x)
        by_features, by_first, by_second = (torch.zeros_like(v) for v in (features, first, second))
        backward(*(v.numpy() for v in (grad, features, x, first, second, by_features, by_x, by_first, by_second)))
        return by_features, by_x, by_first.t(), by_second, grad.sum((0, 1))
