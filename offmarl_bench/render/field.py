"""The field: a scene's bodies in a window on its world that stays put for the whole episode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from offmarl_bench.envs.scene import Body, Rectangle, Scene, Stick
from offmarl_bench.render import theme
from offmarl_bench.render.canvas import Canvas, Point
from offmarl_bench.render.film import Film
from offmarl_bench.types import LEVELS

MARGIN = 0.06
"""Share of the window that stays free around what happens."""
EMPTY: Rectangle = (-1.0, -1.0, 1.0, 1.0)
"""Shown of a world in which nothing is."""
SMALLEST = 11.0
"""No body that counts is drawn with a smaller radius, in pixels."""
TRAIL = 8
"""Moments that a body's track goes back."""
TRACK_WIDTH, TRACK_FADE = 2.5, 0.45
"""Pixels; how pale the newest piece of a track is."""
AIM_FADE = 0.3
DEAD_FADE = 0.6
OVER = 2.0
"""Ground is cut this many pixels beyond the field."""
THINNEST = 0.5
"""Half the width of the thinnest stick, in pixels."""
BAR_HEIGHT, BAR_WIDTH = 4.0, 26.0
LOW = 0.35
"""Health below this share is drawn in the colour of danger."""
NAME_ROOM = 2.0
"""A name is written inside a disc if it is no wider than this many of its radii, else below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How the world's coordinates become pixels."""

    x0: float
    y1: float
    unit: float
    """Pixels per unit of length."""
    height: float
    """Of the field, in pixels."""

    def at(self, x: float, y: float) -> Point:
        """Pixel of a point of the world."""
        return ((x - self.x0) * self.unit, theme.HEADER + (self.y1 - y) * self.unit)

    @classmethod
    def plain(cls, height: float) -> Window:
        """For pictures without a world: one unit is one pixel."""
        return cls(x0=0.0, y1=0.0, unit=1.0, height=height)


def window_of(scenes: Sequence[Scene]) -> Window:
    """A window that shows every body and every agent's stick of every scene, and what the scenes ask for."""
    boxes: list[Rectangle] = [s.show for s in scenes if s.show is not None]
    for body in (b for s in scenes for b in s.bodies):
        r = body.radius
        boxes.append((body.x - r, body.y - r, body.x + r, body.y + r))
    for stick in (k for s in scenes for k in s.sticks if k.agent is not None):
        (x0, x1), (y0, y1), r = sorted((stick.x0, stick.x1)), sorted((stick.y0, stick.y1)), stick.radius
        boxes.append((x0 - r, y0 - r, x1 + r, y1 + r))
    boxes = boxes or [EMPTY]
    x0, y0, x1, y1 = (min(c) if k < 2 else max(c) for k, c in enumerate(zip(*boxes, strict=True)))
    wide, high = max(x1 - x0, 1e-9) * (1 + 2 * MARGIN), max(y1 - y0, 1e-9) * (1 + 2 * MARGIN)
    height = min(max(theme.WIDTH * high / wide, theme.MIN_HEIGHT), theme.MAX_HEIGHT)
    unit = min(theme.WIDTH / wide, height / high)
    return Window(
        x0=(x0 + x1) / 2 - theme.WIDTH / unit / 2, y1=(y0 + y1) / 2 + height / unit / 2, unit=unit, height=height
    )


def draw_scene(canvas: Canvas, film: Film, k: int, window: Window) -> None:
    """The field of moment k, with the tracks of the moments before."""
    scene = film.shots[k].scene
    if scene is None:
        return
    _ground(canvas, scene, window)
    for body in scene.bodies:
        if body.role == "goal":
            _goal(canvas, body, window)
    for stick in scene.sticks:
        _stick(canvas, film, stick, window)
    _tracks(canvas, film, k, window)
    for body in scene.bodies:
        if body.aims_at is not None:
            _aim(canvas, film, body, scene.bodies[body.aims_at], window)
        if body.role != "goal" and body.present:
            _bars(canvas, body, window)
    for body in sorted(scene.bodies, key=lambda b: b.present):
        if body.role != "goal":
            _body(canvas, film, body, window)


def _colour(film: Film, body: Body) -> theme.Colour:
    return theme.OTHER if body.agent is None else theme.agent_colour(film.levels, body.agent)


def _radius(body: Body, window: Window) -> float:
    return max(body.radius * window.unit, SMALLEST)


def _ground(canvas: Canvas, scene: Scene, window: Window) -> None:
    bottom = theme.HEADER + window.height
    canvas.box((0, theme.HEADER), (theme.WIDTH, bottom), theme.OUTSIDE if scene.ground else theme.GROUND)
    boxes = []
    for x0, y0, x1, y1 in scene.ground:
        a, b = window.at(x0, y1), window.at(x1, y0)
        a = (max(a[0], -OVER), max(a[1], theme.HEADER - OVER))
        boxes.append((a, (min(b[0], theme.WIDTH + OVER), min(b[1], bottom + OVER))))
    for (ax, ay), (bx, by) in boxes:  # all edges first, so that none runs through the ground
        canvas.box((ax - 1, ay - 1), (bx + 1, by + 1), theme.EDGE)
    for a, b in boxes:
        canvas.box(a, b, theme.GROUND)


def _goal(canvas: Canvas, body: Body, window: Window) -> None:
    at, r = window.at(body.x, body.y), max(body.radius * window.unit, SMALLEST)
    canvas.disc(at, r, None, theme.GOAL, 2)
    for dx, dy in ((1, 0), (0, 1)):
        canvas.line((at[0] - dx * r, at[1] - dy * r), (at[0] + dx * r, at[1] + dy * r), theme.GOAL, 1)


def _stick(canvas: Canvas, film: Film, stick: Stick, window: Window) -> None:
    a, b = window.at(stick.x0, stick.y0), window.at(stick.x1, stick.y1)
    colour = theme.OTHER if stick.agent is None else theme.agent_colour(film.levels, stick.agent)
    half = max(stick.radius * window.unit, THINNEST)
    canvas.line(a, b, colour, 2 * half)
    for end in (a, b):
        canvas.disc(end, half, colour)


def _tracks(canvas: Canvas, film: Film, k: int, window: Window) -> None:
    """Where everybody came from, fading."""
    for age in range(min(TRAIL, k), 0, -1):
        before, after = film.shots[k - age].scene, film.shots[k - age + 1].scene
        if before is None or after is None or len(before.bodies) != len(after.bodies):
            continue
        for old, new in zip(before.bodies, after.bodies, strict=True):
            if new.role != "goal" and new.present:
                shade = theme.mixed(_colour(film, new), theme.GROUND, TRACK_FADE + (1 - TRACK_FADE) * age / (TRAIL + 1))
                canvas.line(window.at(old.x, old.y), window.at(new.x, new.y), shade, TRACK_WIDTH)


def _aim(canvas: Canvas, film: Film, body: Body, target: Body, window: Window) -> None:
    """From a body to the edge of its target."""
    a, b = window.at(body.x, body.y), window.at(target.x, target.y)
    shade = theme.mixed(_colour(film, body), theme.GROUND, AIM_FADE)
    canvas.arrow(a, _towards(b, a, _radius(target, window)), shade)


def _towards(a: Point, b: Point, far: float) -> Point:
    """The point that lies ``far`` pixels from a in the direction of b."""
    length = math.hypot(b[0] - a[0], b[1] - a[1]) or 1.0
    return (a[0] + (b[0] - a[0]) / length * far, a[1] + (b[1] - a[1]) / length * far)


def _body(canvas: Canvas, film: Film, body: Body, window: Window) -> None:
    at, r, colour = window.at(body.x, body.y), _radius(body, window), _colour(film, body)
    if not body.present:
        cross = theme.mixed(colour, theme.GROUND, DEAD_FADE)
        for s in (1, -1):
            canvas.line((at[0] - r / 2, at[1] - s * r / 2), (at[0] + r / 2, at[1] + s * r / 2), cross, 2.5)
        return
    canvas.disc(at, r, colour, theme.mixed(colour, theme.INK, 0.35), 1.5)
    ahead = window.at(body.x + body.velocity[0], body.y + body.velocity[1])
    fast = math.hypot(ahead[0] - at[0], ahead[1] - at[1])
    canvas.arrow(_towards(at, ahead, r), _towards(at, ahead, r + fast), theme.INK)
    name = body.name
    if body.agent is not None and film.levels is not None:
        name += LEVELS[film.levels[body.agent]][0]
    if not name:
        return
    if canvas.width_of(name, theme.SMALL) <= NAME_ROOM * r:
        canvas.text(at, name, theme.SMALL, theme.WHITE, "mm")
    else:
        canvas.text((at[0], at[1] + r + theme.SMALL * 0.7), name, theme.SMALL, theme.INK, "mm")


def _bars(canvas: Canvas, body: Body, window: Window) -> None:
    """Health below, shield above it, over the body."""
    at, r = window.at(body.x, body.y), _radius(body, window)
    x, y = at[0] - BAR_WIDTH / 2, at[1] - r - 3 - BAR_HEIGHT
    shares = [(body.health, theme.HURT if (body.health or 0) < LOW else theme.HEALTH), (body.shield, theme.SHIELD)]
    for share, colour in shares:
        if share is None:
            continue
        canvas.box((x, y), (x + BAR_WIDTH, y + BAR_HEIGHT), theme.BAR_BACK)
        canvas.box((x, y), (x + BAR_WIDTH * min(share, 1.0), y + BAR_HEIGHT), colour)
        y -= BAR_HEIGHT + 1
