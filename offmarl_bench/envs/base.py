"""The batched environment that everything steps, and the suite that makes it.

``reset(seeds) → Start`` and ``step(actions) → Step`` on arrays with a leading B, never dicts. There is no hidden
auto-reset: a finished lane stays finished, repeats its last observation and earns 0. One team reward per step is
decided here, at the boundary, and nowhere else.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped, UInt64

from offmarl_bench.types import EnvSpec, Start, Step


@runtime_checkable
class BatchedEnv(Protocol):
    """B independent copies ("lanes") of one environment, stepped together."""

    spec: EnvSpec
    num_envs: int

    def reset(self, seeds: UInt64[np.ndarray, " B"]) -> Start:
        """Start B episodes, lane b from ``seeds[b]`` alone; B may be anything from 1 to ``num_envs``.

        Raises:
            SpecMismatch: more seeds than lanes, or none.
        """
        ...

    def step(self, actions: Shaped[np.ndarray, "B N *A"]) -> Step:
        """Advance every unfinished lane by one step; actions of finished lanes are ignored.

        Raises:
            SpecMismatch: a wrong shape, or an illegal action (the message names lane and agent).
        """
        ...


@runtime_checkable
class Suite(Protocol):
    """A family of environments under one name; what the entry-point group ``offmarl_bench.environments`` holds."""

    name: str

    def maps(self) -> tuple[str, ...]:
        """Names of the maps, cheap to list."""
        ...

    def spec(self, map_name: str) -> EnvSpec:
        """The spec of one map without building it. Raises UnknownName."""
        ...

    def make(self, map_name: str, num_envs: int) -> BatchedEnv:
        """Build ``num_envs`` lanes of one map. Raises UnknownName."""
        ...

    def backend(self) -> str:
        """Name and version of what simulates, stored with every dataset (e.g. ``embedded-1``)."""
        ...
