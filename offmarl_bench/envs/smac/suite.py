"""The suite ``smac`` on the embedded engine."""

from __future__ import annotations

from offmarl_bench.envs.smac.env import SmacEnv, make_spec
from offmarl_bench.envs.smac.layout import Flags
from offmarl_bench.envs.smac.maps import MAPS, get_map
from offmarl_bench.types import EnvSpec

ENGINE_VERSION = 2
"""Raised whenever combat changes: data made by different versions is not the same data. 2: the AI prefers those who are
attacking it."""


class SmacSuite:
    """Suite ``smac``."""

    name = "smac"

    def maps(self) -> tuple[str, ...]:
        """See Suite."""
        return tuple(MAPS)

    def spec(self, map_name: str) -> EnvSpec:
        """See Suite."""
        return make_spec(get_map(map_name), Flags())

    def make(self, map_name: str, num_envs: int) -> SmacEnv:
        """See Suite."""
        return SmacEnv(get_map(map_name), num_envs)

    def backend(self) -> str:
        """See Suite."""
        return f"embedded-{ENGINE_VERSION}"


suite = SmacSuite()
