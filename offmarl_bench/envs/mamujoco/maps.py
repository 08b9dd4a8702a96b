"""The maps: the paper's two, and every split of MaMuJoCo by ``SCENARIO-SPLIT``, e.g. ``Ant-2x4`` or ``Walker2d-2x3``.

``-k0`` behind an id sets how far agents see (1 unless told otherwise), ``-apart`` gives every agent a type of its own,
so that no trajectory is shared between them: ``HalfCheetah_2l-apart``, ``HalfCheetah-6x1-k0``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from offmarl_bench import registry
from offmarl_bench.envs.mamujoco.robots import HALF_CHEETAH, ROBOTS, WALKER, Robot
from offmarl_bench.envs.mamujoco.views import Views, views
from offmarl_bench.errors import UnknownName
from offmarl_bench.types import EnvSpec

SUITE = "mamujoco"
HORIZON = 200
"""Steps of the paper's maps (Appendix C.1); nothing ends them before."""
LONG = 1000
"""Steps of Gymnasium's own ``HalfCheetah-v5`` and ``Walker2d-v5``."""
DEPTH = 1
"""How many edges away a joint is still seen, unless the id says otherwise. MaMuJoCo's default; the paper is silent."""
APART = "-apart"
LEG = "l"
"""Type of the paper's agents (Table 9): ``l1`` and ``l2``."""
SCENARIOS = {
    "Ant": ("2x4", "2x4d", "4x2"),
    "HalfCheetah": ("2x3", "6x1"),
    "Hopper": ("3x1",),
    "Humanoid": ("9+8",),
    "HumanoidStandup": ("9+8",),
    "Pusher": ("3p",),
    "Reacher": ("2x1",),
    "Swimmer": ("2x1",),
    "Walker2d": ("2x3",),
    "CoupledHalfCheetah": ("1p1",),
    "ManySegmentAnt": ("NxM",),
    "ManySegmentSwimmer": ("NxM",),
}
"""MaMuJoCo's splits; its ``9|8`` is written ``9+8``, since an id is also a folder's name."""
FREE = "NxM"
"""Stands for any number of agents times any number of segments."""
_ID = re.compile(r"(?P<scenario>[A-Za-z0-9]+)-(?P<split>[0-9][0-9a-z+]*)")
_DEPTH = re.compile(r"(?P<name>.+)-k(?P<depth>[0-9])")
_FREE = re.compile(r"[1-9][0-9]?x[1-9][0-9]?")


@dataclass(frozen=True, slots=True, kw_only=True)
class MujocoMap:
    """One map of a robot that we step ourselves."""

    name: str
    robot: Robot
    split: str
    """One of the robot's ``splits``."""
    depth: int = DEPTH
    """How many edges away a joint's position is still seen."""
    horizon: int = LONG
    """Steps after which an episode is cut."""
    healthy_reward: float = 1.0
    """Earned in every step that ends upright; only for robots that can fall."""
    fall_ends: bool = True
    """An episode ends when the robot falls; only for robots that can."""
    apart: bool = False
    """Every agent is a type of its own."""

    @property
    def views(self) -> Views:
        """Who sees and moves what."""
        return views(self.robot, self.split, self.depth)

    @property
    def spec(self) -> EnvSpec:
        """What it looks like from outside."""
        tables = self.views
        agents = tuple(f"{LEG}{i + 1}" for i in range(len(tables.obs_sizes)))
        return EnvSpec(
            id=f"{SUITE}/{self.name}", agents=agents, agent_types=agents if self.apart else _types(tables),
            O=tables.seen.shape[1], S=2 * self.robot.coordinates - 1, A=tables.motors.shape[1], discrete=False,
            horizon=self.horizon, obs_sizes=tables.obs_sizes, action_sizes=tables.action_sizes,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignMap:
    """A split of another robot, which ``gymnasium_robotics`` steps."""

    name: str
    scenario: str
    split: str
    """As MaMuJoCo writes it."""
    depth: int
    apart: bool


PAPER = {
    "HalfCheetah_2l": MujocoMap(name="HalfCheetah_2l", robot=HALF_CHEETAH, split="2x3", horizon=HORIZON),
    "Walker_2l": MujocoMap(
        name="Walker_2l", robot=WALKER, split="2x3", horizon=HORIZON, healthy_reward=0.0, fall_ends=False
    ),
}
"""The paper's maps; ``docs/mamujoco.md`` derives what Appendix C.1 leaves open."""


def _types(tables: Views) -> tuple[str, ...]:
    """One type for all agents of one size (they may learn from each other), else one type for each size."""
    sizes = list(zip(tables.obs_sizes, tables.action_sizes, strict=True))
    kinds = list(dict.fromkeys(sizes))
    return tuple(LEG if len(kinds) == 1 else f"{LEG}{'abcdefgh'[kinds.index(s)]}" for s in sizes)


def get_map(name: str) -> MujocoMap | ForeignMap:
    """The map of that name. Raises UnknownName with the nearest."""
    bare = name.removesuffix(APART)
    apart = bare != name
    deep = _DEPTH.fullmatch(bare)
    base, depth = (deep["name"], int(deep["depth"])) if deep else (bare, DEPTH)
    if base in PAPER:
        return replace(PAPER[base], name=name, depth=depth, apart=apart)
    parts = _ID.fullmatch(base)
    if not parts or not _has_split(parts["scenario"], parts["split"]):
        raise _unknown(name)
    robot, split = ROBOTS.get(parts["scenario"]), parts["split"]
    if robot is not None:
        return MujocoMap(name=name, robot=robot, split=split, depth=depth, apart=apart)
    return ForeignMap(name=name, scenario=parts["scenario"], split=split.replace("+", "|"), depth=depth, apart=apart)


def _has_split(scenario: str, split: str) -> bool:
    known = SCENARIOS.get(scenario, ())
    return split in known or (FREE in known and _FREE.fullmatch(split) is not None)


def _unknown(name: str) -> UnknownName:
    known = [*PAPER, *(f"{scenario}-{split}" for scenario, splits in SCENARIOS.items() for split in splits)]
    return registry.unknown(
        f"map of suite {SUITE}", name, known, f"Behind a name: -k0 to -k9 (how far agents see), then {APART}."
    )
