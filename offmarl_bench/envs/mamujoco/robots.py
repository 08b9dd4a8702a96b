"""The robots that we step ourselves: joints, how they hang together, who moves which, what is paid.

Numbers are those of Gymnasium's ``HalfCheetah-v5`` and ``Walker2d-v5`` and of the splits in ``gymnasium_robotics``'
MaMuJoCo; the tests step both beside ours. The bodies themselves are Gymnasium's XML files, which are part of a package
that we need anyway; a file with other content would be another robot, so its hash stands here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ROOTS = ("rootx", "rootz", "rooty")
"""Where the torso is and how it leans: the first three coordinates of both robots, seen by every agent, except x."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upright:
    """When a walker counts as healthy: strictly between these bounds."""

    height: tuple[float, float]
    """Of the torso, in metres."""
    lean: tuple[float, float]
    """Of the torso, in radians."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Robot:
    """One robot; a position, a velocity and a motor for each of its J joints."""

    name: str
    """As MaMuJoCo calls the scenario."""
    xml: str
    """File among Gymnasium's assets."""
    sha256: str
    """Of that file."""
    joints: tuple[str, ...]
    """In the order of the model; its motors have the same order."""
    edges: tuple[tuple[str, str], ...]
    """Neighbouring joints: who is at distance 1 from whom."""
    splits: dict[str, tuple[tuple[str, ...], ...]]
    """By MaMuJoCo's name: the joints of each agent, in the order of its actions."""
    frame_skip: int
    """Steps of the simulator in a step of the environment."""
    timestep: float
    """Seconds in a step of the simulator; the XML file's, repeated to be checked."""
    control_cost: float
    """Price of a squared action."""
    noise: float
    """Half the width of the uniform noise on positions at the start."""
    velocity_noise: Literal["normal", "uniform"]
    """Of scale ``noise`` too."""
    upright: Upright | None = None
    """None: nothing can make it fall."""
    velocity_limit: float | None = None
    """The state shows velocities cut to this; observations show them as they are."""

    @property
    def coordinates(self) -> int:
        """Number of positions, and of velocities: roots and joints."""
        return len(ROOTS) + len(self.joints)

    @property
    def dt(self) -> float:
        """Seconds in a step of the environment."""
        return self.timestep * self.frame_skip


HALF_CHEETAH = Robot(
    name="HalfCheetah",
    xml="half_cheetah.xml",
    sha256="11797a5d69e8ac955e89ca6fdd3a0087f1c990094fda401ac51420de1b6c5494",
    joints=("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"),
    edges=(("bfoot", "bshin"), ("bshin", "bthigh"), ("bthigh", "fthigh"), ("fthigh", "fshin"), ("fshin", "ffoot")),
    splits={
        "2x3": (("bthigh", "bshin", "bfoot"), ("fthigh", "fshin", "ffoot")),
        "6x1": (("bthigh",), ("bshin",), ("bfoot",), ("fthigh",), ("fshin",), ("ffoot",)),
    },
    frame_skip=5,
    timestep=0.01,
    control_cost=0.1,
    noise=0.1,
    velocity_noise="normal",
)
WALKER = Robot(
    name="Walker2d",
    xml="walker2d_v5.xml",
    sha256="6bed53a6cc3ca73c4fe8ac3486d3b4228927264a6454f4ef16d3eed3c58bc09d",
    joints=("thigh_joint", "leg_joint", "foot_joint", "thigh_left_joint", "leg_left_joint", "foot_left_joint"),
    edges=(
        ("foot_joint", "leg_joint"), ("leg_joint", "thigh_joint"), ("foot_left_joint", "leg_left_joint"),
        ("leg_left_joint", "thigh_left_joint"), ("thigh_joint", "thigh_left_joint"),
    ),
    splits={
        "2x3": (
            ("foot_joint", "leg_joint", "thigh_joint"), ("foot_left_joint", "leg_left_joint", "thigh_left_joint"),
        )
    },
    frame_skip=4,
    timestep=0.002,
    control_cost=1e-3,
    noise=5e-3,
    velocity_noise="uniform",
    upright=Upright(height=(0.8, 2.0), lean=(-1.0, 1.0)),
    velocity_limit=10.0,
)  # fmt: skip
ROBOTS = {r.name: r for r in (HALF_CHEETAH, WALKER)}
