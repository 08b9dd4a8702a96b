"""The suite ``mamujoco``."""

from __future__ import annotations

from offmarl_bench.envs.base import BatchedEnv
from offmarl_bench.envs.mamujoco.env import MujocoEnv
from offmarl_bench.envs.mamujoco.foreign import make_foreign
from offmarl_bench.envs.mamujoco.maps import PAPER, SUITE, ForeignMap, get_map
from offmarl_bench.envs.mamujoco.simulator import mujoco_version
from offmarl_bench.types import EnvSpec


class MamujocoSuite:
    """Suite ``mamujoco``. Lists the paper's maps; knows every split of MaMuJoCo by its id (see ``maps``)."""

    name = SUITE

    def maps(self) -> tuple[str, ...]:
        """See Suite."""
        return tuple(PAPER)

    def spec(self, map_name: str) -> EnvSpec:
        """See Suite. Our own robots' are known without MuJoCo; another one says what it is once it is built."""
        found = get_map(map_name)
        return make_foreign(found, 1).spec if isinstance(found, ForeignMap) else found.spec

    def make(self, map_name: str, num_envs: int) -> BatchedEnv:
        """See Suite. Raises OffmarlError where a package is missing."""
        found = get_map(map_name)
        return make_foreign(found, num_envs) if isinstance(found, ForeignMap) else MujocoEnv(found, num_envs)

    def backend(self) -> str:
        """See Suite. MuJoCo's version: the same actions lead elsewhere in another one."""
        return f"mujoco-{mujoco_version()}"


suite = MamujocoSuite()
