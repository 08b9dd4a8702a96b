"""The words that every module shares: environment specs, steps, episodes and batches.

One alphabet everywhere: B batch, T steps, N agents, O observation, S state, A actions (choices, or components of
a continuous action), E episodes, R rows of a dataset. An episode has T steps and T + 1 observations; that makes
bootstrapping across an episode's end impossible to write by accident.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped

from offmarl_bench.errors import FormatError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LEVELS = ("random", "medium", "expert")
"""Behaviour levels in ascending order; the index is what ``behavior_level`` stores (−1: unknown)."""

MAX_SIZE = 2**31 - 1
"""Time steps and actions are stored in 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvSpec:
    """What an environment looks like from outside; stored with every dataset, agent and result.

    Raises:
        FormatError: a size that is not positive, or lists whose lengths disagree.
    """

    id: str
    """``suite/map``, e.g. ``smac/2s3z``."""
    agents: tuple[str, ...]
    """N agent names, e.g. ``s1 s2 z1 z2 z3``."""
    agent_types: tuple[str, ...]
    """N type names, e.g. ``s s z z z``; agents of one type are exchangeable and may share trajectories."""
    O: int  # noqa: E741  (the field's letter, see the module docstring)
    """Observation size after padding."""
    S: int
    """State size."""
    A: int
    """Number of choices (discrete) or of action components (continuous), after padding."""
    discrete: bool
    horizon: int
    """Longest episode in steps; an episode that reaches it is truncated, not terminated."""
    obs_sizes: tuple[int, ...] = ()
    """True observation size per agent; empty means O for all."""
    action_sizes: tuple[int, ...] = ()
    """True number of choices or components per agent; empty means A for all."""

    def __post_init__(self) -> None:
        if not self.agents or len(self.agents) != len(self.agent_types):
            raise FormatError(
                f"EnvSpec {self.id!r}: {len(self.agents)} agents but {len(self.agent_types)} agent types; "
                "give every agent exactly one type"
            )
        for name in ("O", "S", "A", "horizon"):
            if not isinstance(getattr(self, name), int) or not 1 <= getattr(self, name) <= MAX_SIZE:
                raise FormatError(
                    f"EnvSpec {self.id!r}: {name} is {getattr(self, name)!r}, expected a positive integer of 32 bits"
                )
        for name in ("obs_sizes", "action_sizes"):
            if getattr(self, name) and len(getattr(self, name)) != len(self.agents):
                raise FormatError(f"EnvSpec {self.id!r}: {name} needs one entry for each of {len(self.agents)} agents")
        for name, most in (("obs_sizes", self.O), ("action_sizes", self.A)):
            if not all(isinstance(n, int) and 0 <= n <= most for n in getattr(self, name)):
                raise FormatError(f"EnvSpec {self.id!r}: {name} are {getattr(self, name)!r}, expected 0 … {most} each")

    @property
    def N(self) -> int:
        """Number of agents."""
        return len(self.agents)

    @property
    def types(self) -> tuple[str, ...]:
        """Distinct agent types in order of first appearance."""
        return tuple(dict.fromkeys(self.agent_types))

    @property
    def type_index(self) -> tuple[int, ...]:
        """For each agent the index of its type in ``types``."""
        return tuple(self.types.index(t) for t in self.agent_types)

    def to_json(self) -> dict[str, Any]:
        """Plain dict for JSON; the inverse of ``from_json``."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EnvSpec:
        """Rebuild a spec from JSON; raises FormatError on unknown, missing or ill-typed fields."""
        known = {f.name for f in fields(cls)}
        if not isinstance(data, dict) or not set(data) <= known:
            extra = sorted(set(data) - known) if isinstance(data, dict) else type(data).__name__
            raise FormatError(f"EnvSpec: unknown content {extra!r}, expected fields {sorted(known)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        try:
            spec = cls(**values)
        except TypeError as e:
            raise FormatError(f"EnvSpec: {e}") from e
        named = spec.agents + spec.agent_types
        if not isinstance(spec.id, str) or not all(isinstance(x, str) for x in named):
            raise FormatError(f"EnvSpec {spec.id!r}: id, agents and agent_types are text")
        if not isinstance(spec.discrete, bool):
            raise FormatError(f"EnvSpec {spec.id!r}: discrete is {spec.discrete!r}, expected true or false")
        return spec


class Start(NamedTuple):
    """What ``reset`` returns. ``legal`` is None for continuous actions."""

    obs: Float32[np.ndarray, "B N O"]
    state: Float32[np.ndarray, "B S"]
    legal: Bool[np.ndarray, "B N A"] | None


class Step(NamedTuple):
    """What ``step`` returns. A lane that has finished repeats its last observation with reward 0."""

    obs: Float32[np.ndarray, "B N O"]
    state: Float32[np.ndarray, "B S"]
    legal: Bool[np.ndarray, "B N A"] | None
    reward: Float32[np.ndarray, " B"]
    terminated: Bool[np.ndarray, " B"]
    truncated: Bool[np.ndarray, " B"]
    info: dict[str, Shaped[np.ndarray, " B"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One episode: T steps, T + 1 observations. Arrays are views where they can be; do not write to them."""

    actions: Shaped[np.ndarray, "T N *A"]
    """(T, N) int32, or (T, N, A) float32."""
    rewards: Float32[np.ndarray, " T"]
    observations: Float32[np.ndarray, "T+1 N O"]
    state: Float32[np.ndarray, "T+1 S"]
    legal_actions: Bool[np.ndarray, "T+1 N A"] | None
    terminal: bool
    """True if the episode ended by itself, False if it was cut by the horizon (so: bootstrap)."""
    behavior_level: Shaped[np.ndarray, "T N"] | None = None
    """int8 index into ``LEVELS``: who played; ground truth, never an input to learning."""
    behavior_policy: Shaped[np.ndarray, "T N"] | None = None
    """int16 index of the pool member that played."""
    behavior_logprob: Float32[np.ndarray, "T N"] | None = None
    """log μ(a | history)."""
    index: int = -1
    """Position in its dataset."""

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of the team reward."""
        return float(self.rewards.sum(dtype=np.float64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Padded episodes or windows, as tensors; T is the longest length among the B of them.

    Entries beyond an item's end are zero, except ``legal`` where action 0 is legal so that a masked softmax
    stays finite. ``terminated`` is True on a last step that ended by itself.
    """

    actions: Shaped[Tensor, "B T N *A"]
    """(B, T, N) int64, or (B, T, N, A) float32."""
    rewards: Float[Tensor, "B T"]
    terminated: Bool[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    """True on real steps."""
    obs: Float[Tensor, "B T+1 N O"]
    state: Float[Tensor, "B T+1 S"]
    legal: Bool[Tensor, "B T+1 N A"] | None
    alive: Bool[Tensor, "B T+1 N"]
    """False on padding and for agents whose only legal action is one (dead): keep them out of every mean."""
    lengths: Int[Tensor, " B"]
    episodes: Int[Tensor, " B"]
    """Index of each item's episode in its dataset (−1: none)."""
    starts: Int[Tensor, " B"]
    """Time step at which each item begins in its episode (0 for whole episodes)."""

    def to(self, device: str | torch.device) -> Batch:
        """The same batch on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(device) for k, v in moved.items() if v is not None})
