"""Three differentiable operations that torch would do in several passes over memory, on the CPU in one.

Anywhere else, and in double precision, they are written out in torch: the same numbers, but for rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from offmarl_bench import kernels


def has_kernel(x: Tensor) -> bool:
    """Whether the compiled kernels can work on this: single precision, on the CPU, numbers and not a trace of them."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling()


def relu_of_sum(
    x: Float[Tensor, "K H"],
    a: Float[Tensor, "P H"],
    of_a: Int[Tensor, " K"],
    b: Float[Tensor, "Q H"] | None = None,
    of_b: Int[Tensor, " K"] | None = None,
) -> Float[Tensor, "K H"]:
    """max(0, x + a[of_a] + b[of_b]): a layer, some inputs of which are one-hot or shared by many rows.

    Args:
        x: the layer's product with the other inputs.
        a: what is added by the first index.
        of_a: −1 adds nothing.
        b: what is added by the second index; None: nothing.
        of_b: −1 adds nothing.
    """
    if b is None or of_b is None:
        b, of_b = x.new_empty(0, x.shape[1]), torch.full_like(of_a, -1)
    if has_kernel(x):
        out: Tensor = _ReluOfSum.apply(x, a, of_a, b, of_b)  # type: ignore[no-untyped-call]
        return out
    return F.relu(x + F.pad(a, (0, 0, 1, 0))[of_a + 1] + F.pad(b, (0, 0, 1, 0))[of_b + 1])


class _ReluOfSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, of_a: Tensor, b: Tensor, of_b: Tensor) -> Tensor:
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        kernels.relu_of_sum(_array(x), _array(a), _array(of_a), _array(b), _array(of_b), out.numpy())
        ctx.sizes = a.shape, b.shape
        ctx.save_for_backward(out, of_a, of_b)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        out, of_a, of_b = ctx.saved_tensors
        by_x, by_a, by_b = torch.empty_like(out), out.new_zeros(ctx.sizes[0]), out.new_zeros(ctx.sizes[1])
        kernels.relu_of_sum_back(
            _array(grads[0]), out.numpy(), _array(of_a), _array(of_b), by_x.numpy(), by_a.numpy(), by_b.numpy()
        )
        return by_x, by_a, None, by_b, None


def rectified_dots(
    x: Float[Tensor, "M *L N H"], c: Float[Tensor, "M H"], b: Float[Tensor, "M *L H"]
) -> Float[Tensor, "M *L N"]:
    """Products of each b with max(0, x + c) of its N companions: a layer's bias and ReLU, and what reads it.

    As a batch of matrix products these are too small to be fast, and what is between them is never written down.

    Args:
        x: the layer's products with its inputs.
        c: its bias, one for each entry of the leading axis.
        b: what reads it.
    """
    if has_kernel(x):
        out: Tensor = _RectifiedDots.apply(x, c, b)  # type: ignore[no-untyped-call]
        return out
    return (F.relu(x + c.view(len(c), *[1] * (x.dim() - 2), -1)) * b.unsqueeze(-2)).sum(-1)


class _RectifiedDots(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, c: Tensor, b: Tensor) -> Tensor:
        flat_x, flat_b = x.reshape(-1, *x.shape[-2:]).contiguous(), b.reshape(-1, b.shape[-1]).contiguous()
        out = x.new_empty(x.shape[:-1])
        kernels.rectified_dots(flat_x.numpy(), _array(c), flat_b.numpy(), _rows(out))
        ctx.sizes = x.shape, b.shape
        ctx.save_for_backward(flat_x, c, flat_b)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, c, b = ctx.saved_tensors
        by_x, by_c, by_b = torch.empty_like(x), x.new_zeros(c.shape), torch.zeros_like(b)
        kernels.rectified_dots_back(
            _rows(grads[0]), x.numpy(), _array(c), b.numpy(), by_x.numpy(), by_c.numpy(), by_b.numpy()
        )
        return by_x.view(ctx.sizes[0]), by_c, by_b.view(ctx.sizes[1])


def log_softmax(logits: Float[Tensor, "*L A"], legal: Bool[Tensor, "*L A"] | None) -> Float[Tensor, "*L A"]:
    """Logarithms of a softmax over the legal actions; −inf for the others. A row without any is taken as all legal."""
    if has_kernel(logits):
        out: Tensor = _LogSoftmax.apply(logits, legal)  # type: ignore[no-untyped-call]
        return out
    if legal is not None:
        logits = logits.masked_fill(~legal & legal.any(-1, keepdim=True), -torch.inf)
    return torch.log_softmax(logits, -1)


class _LogSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, legal: Tensor | None) -> Tensor:
        out = torch.empty_like(logits, memory_format=torch.contiguous_format)
        allowed = torch.ones_like(logits, dtype=torch.bool) if legal is None else legal.expand(logits.shape)
        kernels.log_softmax(_rows(logits), _rows(allowed), _rows(out))
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (out,) = ctx.saved_tensors
        by_logits = torch.empty_like(out)
        kernels.log_softmax_back(_rows(grads[0]), _rows(out), _rows(by_logits))
        return by_logits, None


def _array(x: Tensor) -> Any:
    """A numpy view, or a copy of what is not contiguous."""
    return x.contiguous().numpy()


def _rows(x: Tensor) -> Any:
    """The same in two dimensions."""
    return x.contiguous().view(-1, x.shape[-1]).numpy()
