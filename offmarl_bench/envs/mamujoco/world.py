"""A copy of where the robots are, in double precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """C coordinates: x, height and lean of the torso, then the joints' angles in radians."""

    positions: Float64[np.ndarray, "B C"]
    velocities: Float64[np.ndarray, "B C"]
    rewards: Float64[np.ndarray, " B"]
    """Team reward of the last step, before it is rounded to single precision."""
