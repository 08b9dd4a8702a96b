"""How games are run; whoever uses the command line sets it by environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from offmarl_bench.errors import FormatError

VARIABLES = {
    "games": "OFFMARL_SC2_GAMES",
    "episodes_per_game": "OFFMARL_SC2_REUSE",
    "step_seconds": "OFFMARL_SC2_TIMEOUT",
}
"""Field of ``Options`` → environment variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the real game is run. Raises FormatError for numbers that are not positive."""

    games: int = 4
    """Games side by side in one process of ours; what generates and scores plays that many lanes at a time."""
    episodes_per_game: int = 1
    """Episodes before a game is started anew. 1: every episode is a fresh game with its own seed, the same whoever
    plays it. More: faster, but SMAC restarts a running game without a new seed, so an episode depends on those
    before it."""
    step_seconds: float = 60.0
    """How long a step may take before the game counts as hung."""
    start_seconds: float = 240.0
    """How long a game may take to start."""
    attempts: int = 3
    """How often an episode's game is started before the run gives up."""
    make: str = "smac.env:StarCraft2Env"
    """Where the game's class is found, ``module:attr``."""

    def __post_init__(self) -> None:
        for name in ("games", "episodes_per_game", "step_seconds", "start_seconds", "attempts"):
            if not getattr(self, name) > 0:
                where = VARIABLES.get(name, name)
                raise FormatError(f"smac-sc2: {where} is {getattr(self, name)!r}, expected a number above 0")


def from_environment(environment: Mapping[str, str] | None = None) -> Options:
    """The options that the environment variables ask for. Raises FormatError for what is no number."""
    given = os.environ if environment is None else environment
    found: dict[str, float] = {}
    for field, variable in VARIABLES.items():
        text = given.get(variable)
        if text:
            try:
                found[field] = float(text) if field == "step_seconds" else int(text)
            except ValueError as e:
                raise FormatError(f"smac-sc2: {variable}={text!r}, expected a number") from e
    return Options(**found)  # type: ignore[arg-type]  # the two whole numbers are whole
