"""A copy of everything that moves, in double precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Where everything is, in double precision; K particles, agents first."""

    positions: Float64[np.ndarray, "B K 2"]
    velocities: Float64[np.ndarray, "B K 2"]
    rewards: Float64[np.ndarray, " B"]
    """Team reward of the last step, before it is rounded to single precision."""
