"""The suite ``mpe``."""

from __future__ import annotations

from offmarl_bench.envs.mpe.env import MpeEnv
from offmarl_bench.envs.mpe.maps import MAPS, get_map
from offmarl_bench.types import EnvSpec

ENGINE_VERSION = 1
"""Raised whenever an episode would go another way: data made by different versions is not the same data."""


class MpeSuite:
    """Suite ``mpe``."""

    name = "mpe"

    def maps(self) -> tuple[str, ...]:
        """See Suite."""
        return tuple(MAPS)

    def spec(self, map_name: str) -> EnvSpec:
        """See Suite."""
        return get_map(map_name).spec

    def make(self, map_name: str, num_envs: int) -> MpeEnv:
        """See Suite."""
        return MpeEnv(get_map(map_name), num_envs)

    def backend(self) -> str:
        """See Suite."""
        return f"particles-{ENGINE_VERSION}"


suite = MpeSuite()
