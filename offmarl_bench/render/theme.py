"""Colours and sizes, in one place. Levels keep apart for colour-blind eyes, and every name says its level as well."""

from __future__ import annotations

from offmarl_bench.types import LEVELS

Colour = tuple[int, int, int]

WIDTH = 640
"""Pixels; everything below is in pixels too, before ``SCALE``."""
MIN_HEIGHT, MAX_HEIGHT = 320, 600
"""Of the field between header and footer."""
HEADER, FOOTER = 62, 34
PAD = 14
SCALE = 2
"""Drawn this many times larger and then reduced, which smooths every edge."""

PAPER: Colour = (250, 249, 246)
OUTSIDE: Colour = (229, 228, 223)
GROUND: Colour = (255, 255, 255)
EDGE: Colour = (205, 203, 196)
INK: Colour = (34, 34, 38)
FAINT: Colour = (128, 127, 124)
OTHER: Colour = (66, 66, 78)
GOAL: Colour = (150, 148, 142)
TEAM: Colour = (46, 103, 178)
"""Agents that are all played by one policy."""
BY_LEVEL: tuple[Colour, ...] = ((206, 66, 59), (232, 163, 23), (20, 140, 110))
"""random, medium, expert."""
HEALTH: Colour = (76, 175, 80)
HURT: Colour = (211, 84, 63)
SHIELD: Colour = (66, 165, 235)
BAR_BACK: Colour = (214, 212, 205)
GAIN: Colour = (76, 150, 105)
LOSS: Colour = (206, 96, 84)
WHITE: Colour = (255, 255, 255)

PALETTE = (PAPER, OUTSIDE, GROUND, EDGE, INK, FAINT, OTHER, GOAL, TEAM, *BY_LEVEL, HEALTH, HURT, SHIELD, BAR_BACK)
"""Colours that a picture of few colours must have."""

TITLE, TEXT, SMALL = 17, 14, 12
"""Font sizes."""


def agent_colour(levels: tuple[int, ...] | None, agent: int) -> Colour:
    """Colour of an agent by who plays it."""
    return TEAM if levels is None else BY_LEVEL[levels[agent]]


def mixed(a: Colour, b: Colour, share: float) -> Colour:
    """``share`` of b, the rest a."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def legend(levels: tuple[int, ...] | None) -> list[tuple[str, Colour]]:
    """Names and colours of the levels that play."""
    return [] if levels is None else [(LEVELS[k], BY_LEVEL[k]) for k in sorted(set(levels))]
