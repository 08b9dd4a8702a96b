"""The suite ``smac-sc2``: every map of suite ``smac`` in the real game, with the same sizes, agents and limits."""

from __future__ import annotations

from dataclasses import replace

from offmarl_bench.envs.sc2.env import Sc2Env
from offmarl_bench.envs.sc2.installation import check_game, check_package, installed_versions
from offmarl_bench.envs.sc2.options import from_environment
from offmarl_bench.envs.smac.env import make_spec
from offmarl_bench.envs.smac.layout import Flags, max_reward
from offmarl_bench.envs.smac.maps import MAPS, get_map
from offmarl_bench.registry import unknown
from offmarl_bench.types import EnvSpec


class Sc2Suite:
    """Suite ``smac-sc2``. Listing maps and specs needs no game."""

    name = "smac-sc2"
    plays_as = "smac"
    """Suite whose pools, recipes and agents fit here unchanged."""

    @property
    def lanes(self) -> int:
        """Lanes worth having side by side: each is a game."""
        return from_environment().games

    def maps(self) -> tuple[str, ...]:
        """See Suite."""
        return tuple(MAPS)

    def spec(self, map_name: str) -> EnvSpec:
        """See Suite."""
        if map_name not in MAPS:
            raise unknown(f"map of suite {self.name}", map_name, MAPS)
        return replace(make_spec(get_map(map_name), Flags()), id=f"{self.name}/{map_name}")

    def make(self, map_name: str, num_envs: int) -> Sc2Env:
        """See Suite. Raises OffmarlError: the package, the game or its map is not installed."""
        spec = self.spec(map_name)
        check_package()
        check_game(map_name)
        return Sc2Env(spec, map_name, max_reward(get_map(map_name), Flags()), num_envs, from_environment())

    def backend(self) -> str:
        """See Suite. Raises OffmarlError: the package or the game is not installed."""
        reuse = from_environment().episodes_per_game
        return f"sc2-{installed_versions()}" + (f"-reuse{reuse}" if reuse > 1 else "")


suite = Sc2Suite()
