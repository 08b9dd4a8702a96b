"""The random numbers of an update, from torch's own generator on the CPU.

The trainer seeds that generator and stores its state with every checkpoint, so that a resumed run draws what an
unbroken one would. Numbers are drawn on the CPU wherever the agent is: a GPU's own generator is not stored.
"""

from __future__ import annotations

import torch
from torch import Tensor


def normal(*shape: int, device: torch.device) -> Tensor:
    """Standard normal numbers of this shape."""
    return torch.randn(shape).to(device)


def uniform(*shape: int, device: torch.device) -> Tensor:
    """Numbers of this shape, uniform in [−1, 1)."""
    return (2.0 * torch.rand(shape) - 1.0).to(device)
