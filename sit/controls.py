"""Controls: plain imitation on a sampler, to show which part of SIT a gain comes from.

All four are stage III of SIT without its critic: one recurrent actor per agent type that sees no agent id, the same
batches of individual trajectories, the loss of Eq. (11). They differ in one thing, what they draw:

- ``bc-shared`` draws every trajectory of a type alike. What SIT gains over it, it owes to choosing.
- ``bc-joint-sampler`` draws by the return of the whole team: Eq. (6) and Eq. (7) with r_tot for r̂_i. What SIT's sampler
  gains over it, it owes to the decomposition of stage I.
- ``bc-sit-sampler`` draws as SIT does. What SIT gains over it, it owes to the critic of stage III.
- ``bc-oracle`` draws evenly among the trajectories of the best level, read from the data's ground truth: the most that
  any choice of trajectories could give. A measure, not a method.
"""

from __future__ import annotations

from dataclasses import dataclass

from sit.agent import SIT
from sit.config import SITConfig

SHARP = 0.01
"""Temperature of Eq. (7) at which one level's difference (of 20 in all) leaves the lower level without any weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SITSamplerConfig(SITConfig):
    """SIT without the critic: stages I and II, then imitation."""

    filter: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JointSamplerConfig(SITSamplerConfig):
    """No stage I: every agent is credited with the team's reward."""

    decomposition: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedConfig(JointSamplerConfig):
    """No priorities."""

    priority: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleConfig(JointSamplerConfig):
    """Priorities from the ground truth."""

    oracle: bool = True
    alpha: float | str = SHARP


class SITSamplerBC(SIT):
    """Imitation of what SIT's stage II draws."""

    Config = SITSamplerConfig


class JointSamplerBC(SIT):
    """Imitation of trajectories drawn by the team's return."""

    Config = JointSamplerConfig


class SharedBC(SIT):
    """Imitation of all trajectories of a type, without agent id."""

    Config = SharedConfig


class OracleBC(SIT):
    """Imitation of the trajectories of the best level in the data."""

    Config = OracleConfig
