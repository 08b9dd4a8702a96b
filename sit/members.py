"""The ensemble as one network: every layer has a leading member axis, so M members cost one batched product."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from offmarl_bench.fused import rectified_dots, relu_of_sum


class MemberLinear(nn.Module):
    """M linear maps at once; each member starts like an ``nn.Linear`` of its own."""

    def __init__(self, members: int, in_size: int, out_size: int) -> None:
        super().__init__()
        bound = in_size**-0.5
        self.weight = nn.Parameter(torch.empty(members, in_size, out_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, out_size).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "M K I"]) -> Float[Tensor, "M K out"]:
        """Member m maps ``x[m]``."""
        return torch.baddbmm(self.bias, x, self.weight)

    def product(self, x: Float[Tensor, "M K I"]) -> Float[Tensor, "M K out"]:
        """``forward`` without the bias."""
        return torch.bmm(x, self.weight)

    def rectified(self, x: Float[Tensor, "M K I"]) -> Float[Tensor, "M K out"]:
        """The ReLU of ``forward``, bias and ReLU in one pass."""
        product, bias = self.product(x), self.bias.squeeze(1)
        member = torch.arange(len(bias), device=x.device).repeat_interleave(x.shape[1])
        return relu_of_sum(product.flatten(0, 1), bias, member).view(product.shape)


def column(inner: MemberLinear, outer: MemberLinear, x: Float[Tensor, "M K I"]) -> Float[Tensor, "M K"]:
    """``outer``, which has one column, of ``inner.rectified(x)``; a matrix product would be several times slower."""
    products = rectified_dots(inner.product(x), inner.bias.squeeze(1), outer.weight.squeeze(2))
    return products + outer.bias.squeeze(2)


def spread(x: Float[Tensor, "K I"], members: int) -> Float[Tensor, "M K I"]:
    """The same input for all members; no copy."""
    return x.expand(members, *x.shape)
