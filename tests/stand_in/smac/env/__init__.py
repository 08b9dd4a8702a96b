"""``StarCraft2Env`` with the documented interface of `smac`'s, played by our own engine, and with the game's faults.

Faults are asked for by ``$STAND_IN``: JSON objects ``{"seed": 5, "step": 3, "fault": "killed", "times": 1}``. A fault
happens ``times`` times; files in ``$STAND_IN_LOG`` remember, because the processes that it happens to do not.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from offmarl_bench.envs.smac.env import SmacEnv
from offmarl_bench.envs.smac.layout import Flags, max_reward
from offmarl_bench.envs.smac.maps import MAPS, get_map

HANG = 1000.0


class Unit:
    """A unit as far as anybody looks at it."""

    def __init__(self, health: float) -> None:
        self.health = health


class StarCraft2Env:
    """One game; its first episode depends on ``seed``, the later ones on how many there were before."""

    def __init__(self, map_name: str = "8m", seed: int | None = None, continuing_episode: bool = False) -> None:
        self._env = SmacEnv({**MAPS, "2s3y": get_map("2s3z")}[map_name], 1)  # a KeyError, as from the genuine package
        self._seed, self._continuing = seed or 0, continuing_episode
        self._limit = get_map(map_name).limit
        self.max_reward = max_reward(get_map(map_name), Flags())
        self.force_restarts = 0
        self._episodes = self._steps = 0
        self._now: Any = None

    def _fault(self) -> str:
        for fault in json.loads(os.environ.get("STAND_IN", "[]")):
            if (fault["seed"], fault["step"]) == (self._seed, self._steps):
                seen = Path(os.environ["STAND_IN_LOG"]) / f"{fault['seed']}-{fault['step']}-{fault['fault']}"
                before = seen.stat().st_size if seen.exists() else 0
                if before < fault.get("times", 1):
                    seen.write_text("x" * (before + 1))
                    return str(fault["fault"])
        return ""

    def _suffer(self) -> str:
        fault = self._fault()
        if fault == "killed":
            sys.stderr.write("the game has run out of memory\n")
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hung":
            time.sleep(HANG)
        if fault == "raised":
            raise ConnectionError("Connection to websocket was lost")
        return fault

    def reset(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Start an episode."""
        self._steps = -1
        self._suffer()
        self._steps = 0
        seed = [self._seed, *([self._episodes] if self._episodes else [])]
        words = (
            np.array(seed, np.uint64) if len(seed) == 1 else np.random.SeedSequence(seed).generate_state(1, np.uint64)
        )
        self._now = self._env.reset(words)
        self._episodes += 1
        return self.get_obs(), self.get_state()

    def step(self, actions: list[int]) -> tuple[float, bool, dict[str, Any]]:
        """Play one step; a lost game looks like an ended episode about which nothing is said."""
        self._steps += 1
        fault = self._suffer()
        if fault == "hidden":
            self.force_restarts += 1
            return 0, True, {}
        if fault == "other":  # not deterministic after all
            self._env._world["hp"] *= 0.5
        self._now = after = self._env.step(np.array([actions]))
        over = bool(after.terminated[0] or after.truncated[0])
        info = {"battle_won": bool(after.info["battle_won"][0])}
        if after.truncated[0] and self._continuing:
            info["episode_limit"] = True
        return float(after.reward[0]), over, info

    def _units(self, side: str) -> dict[int, Unit]:
        return {k: Unit(float(hp)) for k, hp in enumerate(self._env.units()[f"{side}hp"][0])}

    @property
    def agents(self) -> dict[int, Unit]:
        """Our units."""
        return self._units("a")

    @property
    def enemies(self) -> dict[int, Unit]:
        """Theirs."""
        return self._units("e")

    def get_obs(self) -> list[np.ndarray]:
        """One vector an agent."""
        return list(self._now.obs[0])

    def get_state(self) -> np.ndarray:
        """The state."""
        return np.asarray(self._now.state[0])

    def get_avail_actions(self) -> list[list[int]]:
        """One list of 0 and 1 an agent."""
        return [[int(a) for a in row] for row in self._now.legal[0]]

    def get_env_info(self) -> dict[str, int]:
        """Sizes."""
        spec = self._env.spec
        wrong = int(os.environ.get("STAND_IN_SIZES", "0"))
        return {
            "n_agents": spec.N, "n_actions": spec.A, "obs_shape": spec.O + wrong, "state_shape": spec.S,
            "episode_limit": self._limit,
        }  # fmt: skip

    def close(self) -> None:
        """End the game."""
