"""Splits of other robots, stepped one lane at a time by ``gymnasium_robotics``' own MaMuJoCo.

Their observations (contact forces, inertias, points of the body) and rewards are many formulas that the paper needs
nowhere; a second version of them would only be a place to be wrong. So they are those of the package, with its ends
of episodes, its horizons and its actions stretched to [−1, 1].
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from offmarl_bench.envs.from_pettingzoo import WrappedParallel, wrap_parallel_env
from offmarl_bench.envs.mamujoco.maps import LONG, SUITE, ForeignMap
from offmarl_bench.envs.mamujoco.simulator import mujoco_version, optional, warnings_to_log
from offmarl_bench.errors import OffmarlError

HORIZONS = {"Reacher": 50, "Pusher": 100}
"""Steps of Gymnasium's own; all others have 1000."""


def make_foreign(foreign: ForeignMap, num_envs: int) -> WrappedParallel:
    """Lanes of one map. Raises OffmarlError where mujoco or gymnasium-robotics is missing."""
    with warnings_to_log():
        module = optional("gymnasium_robotics.envs.multiagent_mujoco.mamujoco_v1", "gymnasium-robotics")

    def build() -> Any:
        try:
            with warnings_to_log():
                return module.parallel_env(foreign.scenario, foreign.split, agent_obsk=foreign.depth)
        except Exception as e:
            raise OffmarlError(
                f"{SUITE}/{foreign.name}: gymnasium-robotics {version('gymnasium-robotics')} with mujoco "
                f"{mujoco_version()} cannot build {foreign.scenario} {foreign.split} ({type(e).__name__}: {e}); this "
                "robot needs other versions of them"
            ) from e

    types: Any = {a: a for a in build().possible_agents} if foreign.apart else "space"
    return wrap_parallel_env(
        build, num_envs, env_id=f"{SUITE}/{foreign.name}", types=types,
        horizon=HORIZONS.get(foreign.scenario, LONG),
    )  # fmt: skip
