"""The ensemble as one network: every layer has a leading member axis, so M members cost one batched product."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from offmarl_bench.fused import dots, relu_of_sum


class MemberLinear(nn.Module):
    """M linear maps at once; each member starts like an ``nn.Linear`` of its own."""

    def __init__(self, members: int, in_size: int, out_size: int) -> None:
        super().__init__()
        bound = in_size**-0.5
        self.weight = nn.Parameter(torch.empty(members, in_size, out_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, out_size).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "M K I"]) -> Float[Tensor, "M K out"]:
        """Member m maps ``x[m]``."""
        if self.weight.shape[2] == 1:  # a product with one column is several times slower than the same sum
            return dots(x, self.weight.squeeze(2)).unsqueeze(-1) + self.bias
        return torch.baddbmm(self.bias, x, self.weight)

    def rectified(self, x: Float[Tensor, "M K I"]) -> Float[Tensor, "M K out"]:
        """The ReLU of ``forward``, bias and ReLU in one pass."""
        product, bias = torch.bmm(x, self.weight), self.bias.squeeze(1)
        member = torch.arange(len(bias), device=x.device).repeat_interleave(x.shape[1])
        return relu_of_sum(product.flatten(0, 1), bias, member).view(product.shape)


def shared(layer: MemberLinear, x: Float[Tensor, "K I"]) -> Float[Tensor, "M K out"]:
    """All members applied to the same input."""
    out: Tensor = layer(x.expand(len(layer.weight), *x.shape))
    return out


def shared_rectified(layer: MemberLinear, x: Float[Tensor, "K I"]) -> Float[Tensor, "M K out"]:
    """The ReLU of ``shared``."""
    return layer.rectified(x.expand(len(layer.weight), *x.shape))
