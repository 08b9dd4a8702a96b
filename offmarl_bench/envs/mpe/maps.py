"""The maps: who is in them, and which scenario's functions run them. A new map is a new line."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from offmarl_bench import registry
from offmarl_bench.envs.mpe import navigation, pursuit
from offmarl_bench.envs.mpe.physics import ACTIONS
from offmarl_bench.types import EnvSpec

HORIZON = 25
"""Steps of every episode; an episode is cut there and never ends by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MpeMap:
    """One map."""

    name: str
    """As in the paper's Table 3."""
    agents: int
    """N: agents that learn."""
    letter: str
    """Their type, and what their names begin with in recipes (Table 8)."""
    scenario: ModuleType
    """``navigation`` or ``pursuit``: start, physics of the scene, observations, reward."""
    bound: float = 0.0
    """Half the side of the square that a scripted prey keeps within."""

    @property
    def spec(self) -> EnvSpec:
        """What it looks like from outside."""
        n = self.agents
        return EnvSpec(
            id=f"mpe/{self.name}", agents=tuple(f"{self.letter}{i + 1}" for i in range(n)),
            agent_types=(self.letter,) * n, O=self.scenario.OBS_SIZE, S=self.scenario.state_size(n),
            A=len(ACTIONS), discrete=True, horizon=HORIZON,
        )  # fmt: skip


MAPS = {
    m.name: m
    for m in (
        MpeMap(name="CN_3ls3l", agents=3, letter="ls", scenario=navigation),
        MpeMap(name="CN_4ls4l", agents=4, letter="ls", scenario=navigation),
        MpeMap(name="PP_3p1p", agents=3, letter="p", scenario=pursuit, bound=pursuit.ARENA),
    )
}


def get_map(name: str) -> MpeMap:
    """The map of that name. Raises UnknownName with the nearest."""
    if name not in MAPS:
        raise registry.unknown("map of suite mpe", name, MAPS)
    return MAPS[name]
