"""What an environment may offer to have its episodes drawn: where things are, not how they look.

An environment with a method ``scene(lane) → Scene`` is ``Drawable`` and gets pictures; nothing else depends on it.
How a scene becomes pixels is the business of ``offmarl_bench.render``, the same for everybody's environments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Rectangle = tuple[float, float, float, float]
"""x0, y0, x1, y1; y points upwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One thing in the world, drawn as a disc. Lengths are in the world's own unit."""

    x: float
    y: float
    radius: float
    role: Literal["agent", "other", "goal"] = "other"
    """``agent``: one of the spec's agents, coloured by who plays it. ``other``: an opponent, a prey, an obstacle.
    ``goal``: a mark on the ground."""
    kind: str = ""
    """What it is, for the legend: ``landmark``, ``enemy``."""
    name: str = ""
    """Written on it."""
    agent: int | None = None
    """Index in ``spec.agents``, for the role ``agent``."""
    velocity: tuple[float, float] = (0.0, 0.0)
    """Drawn as an arrow of this length."""
    health: float | None = None
    """Share that is left, from 0 to 1; None: it has none, no bar."""
    shield: float | None = None
    """Likewise, a second bar."""
    aims_at: int | None = None
    """Index of the body that it attacks or helps; drawn as a line."""
    present: bool = True
    """False: it has died; a faint mark stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stick:
    """A part of something jointed, drawn as a thick line with round ends, below the bodies."""

    x0: float
    y0: float
    x1: float
    y1: float
    radius: float
    """Half its width."""
    agent: int | None = None
    """Index in ``spec.agents`` of the agent that moves it; None: nobody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One moment of one lane."""

    bodies: tuple[Body, ...]
    sticks: tuple[Stick, ...] = ()
    """In the order in which they are drawn."""
    ground: tuple[Rectangle, ...] = ()
    """Where things can be; drawn lighter than the rest. Empty: everywhere."""
    show: Rectangle | None = None
    """What the picture shows at least; it is widened until every body and every agent's stick of the episode fits."""
    caption: str = ""
    """A short line of the environment's own, e.g. ``covered 2 of 3``."""


@runtime_checkable
class Drawable(Protocol):
    """What a batched environment may be in addition."""

    def scene(self, lane: int) -> Scene:
        """The present moment of one lane of the running ``reset``."""
        ...
