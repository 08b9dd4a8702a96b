"""Settings of BC: one dataclass for its discrete (``bc``) and its continuous form (``bc_continuous``)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BCConfig:
    """Settings of BC; the defaults are Table 11's.

    Raises:
        ValueError: a setting that is not positive.
    """

    hidden: int = 64
    """RNN hidden dimension (Table 11)."""
    agent_id: bool = True
    """Append a one-hot agent id to the shared network's input (PyMARL)."""
    learning_rate: float = 5e-4
    """Agent network learning rate (Table 11)."""
    rms_alpha: float = 0.99
    """Decay of RMSprop's mean square (PyMARL)."""
    rms_eps: float = 1e-5
    """Added to RMSprop's denominator (PyMARL)."""
    clip: float = 10.0
    """Greatest norm of the gradient (Table 11)."""
    batch_size: int = 32
    """Episodes a batch (Table 11)."""
    updates: int = 15_000
    """Gradient steps ("training epoch" of Table 11)."""

    def __post_init__(self) -> None:
        for name in ("hidden", "learning_rate", "rms_alpha", "rms_eps", "clip", "batch_size", "updates"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected a positive number")
