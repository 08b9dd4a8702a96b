"""The process of one game: ``python -m offmarl_bench.envs.sc2.worker PORT`` makes a ``StarCraft2Env`` and obeys.

The game is a program that crashes, hangs and leaks, and its Python packages want old versions of others; so each game
has a process of its own, which can be killed without harm. Only what ``smac`` documents is used of its class.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from typing import Any

import numpy as np

from offmarl_bench.envs.sc2.wire import TOKEN, Arrays, receive, send

HOST = "127.0.0.1"


class Unusable(Exception):
    """The package is not what it should be: another game would do no better."""


class Player:
    """One lane: the game's environment, made anew whenever a fresh game is wanted."""

    def __init__(self, make: str, map_name: str, max_reward: float) -> None:
        module, _, attribute = make.partition(":")
        self._class = getattr(importlib.import_module(module), attribute)
        self._map = map_name
        self._max_reward = max_reward
        self._env: Any = None
        self._restarts = 0

    def reset(self, seed: int, fresh: bool) -> tuple[dict[str, Any], Arrays]:
        """Start an episode, in a new game if ``fresh``."""
        if self._env is None or fresh:
            self.close()
            # continuing_episode only makes SMAC say which ends are the time limit's.
            try:
                self._env = self._class(map_name=self._map, seed=seed, continuing_episode=True)
            except Exception as e:
                raise Unusable(f"{type(e).__name__}: {e}") from e
        self._restarts = self._count()
        self._env.reset()
        if self._count() != self._restarts:
            raise RuntimeError("the game was lost while the episode started")
        # SMAC counts the enemies' health twice when a first look comes before all units are there.
        if getattr(self._env, "max_reward", 0.0) > self._max_reward:
            self._env.max_reward = self._max_reward
        found = self._env.get_env_info()
        names = ("n_agents", "n_actions", "obs_shape", "state_shape", "episode_limit")
        return {"sizes": {name: int(found[name]) for name in names}}, self._view()

    def _count(self) -> int:
        return int(getattr(self._env, "force_restarts", 0))

    def _view(self) -> Arrays:
        env = self._env
        return {
            "obs": np.asarray(env.get_obs(), np.float32),
            "state": np.asarray(env.get_state(), np.float32),
            "legal": np.asarray(env.get_avail_actions()) != 0,
        }

    def step(self, actions: list[int]) -> tuple[dict[str, Any], Arrays]:
        """Play one step. Raises RuntimeError where SMAC hides that the game was lost: an end about which it is mum."""
        reward, ended, info = self._env.step(actions)
        if "battle_won" not in info or self._count() != self._restarts:
            raise RuntimeError("the game was lost during the step")
        limit = bool(info.get("episode_limit", False))
        told = {"reward": float(reward), "over": bool(ended), "limit": limit, "battle_won": bool(info["battle_won"])}
        dead = {f"dead_{side}": _dead(getattr(self._env, side, {})) for side in ("agents", "enemies")}
        return told | dead, self._view()

    def close(self) -> None:
        """End the game."""
        if self._env is not None:
            self._env.close()
            self._env = None


def _dead(units: dict[int, Any]) -> int:
    return sum(unit.health <= 0 for unit in units.values())


def serve(link: socket.socket) -> None:
    """Obey until the other side is gone."""
    hello, _ = receive(link)
    player: Player | None = None
    try:
        player = Player(hello["make"], hello["map"], hello["max_reward"])
        send(link, {"ready": True})
        while True:
            wish, arrays = receive(link)
            try:
                if "seed" in wish:
                    answer: tuple[dict[str, Any], Arrays] = player.reset(wish["seed"], wish["fresh"])
                else:
                    answer = player.step(arrays["actions"].tolist())
            except Unusable as e:
                answer = {"broken": str(e)}, {}
            except Exception as e:  # whatever a stranger's package raises: the lane is lost, and says why
                answer = {"lost": f"{type(e).__name__}: {e}"}, {}
            send(link, *answer)
    except (EOFError, OSError):
        return
    except Exception as e:
        send(link, {"broken": f"{type(e).__name__}: {e}"})
    finally:
        if player is not None:
            player.close()


def main(port: int) -> None:
    """Connect to the process that started this one."""
    with socket.create_connection((HOST, port)) as link:
        link.sendall(os.environ.pop(TOKEN).encode())
        serve(link)


if __name__ == "__main__":
    main(int(sys.argv[1]))
