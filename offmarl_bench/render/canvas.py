"""A picture to draw on in pixels, smoothed at the end, and the few shapes that pictures here are made of."""

from __future__ import annotations

import functools
import math

from PIL import Image, ImageDraw, ImageFont

from offmarl_bench.render.theme import PAPER, SCALE, Colour

Point = tuple[float, float]
HEAD = 4.0
"""Half the width of an arrow's head."""
HEAD_LENGTH = 8.0
ELLIPSIS = "..."
"""Three dots: the font has no sign for them."""


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * SCALE)


class Canvas:
    """``width`` × ``height`` pixels; y points downwards."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._image = Image.new("RGB", (width * SCALE, height * SCALE), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def picture(self) -> Image.Image:
        """What was drawn, reduced to its size."""
        return self._image.reduce(SCALE)

    def disc(
        self, at: Point, radius: float, fill: Colour | None, outline: Colour | None = None, width: float = 1.5
    ) -> None:
        """A disc or a ring around a point."""
        box = [(at[0] - radius) * SCALE, (at[1] - radius) * SCALE, (at[0] + radius) * SCALE, (at[1] + radius) * SCALE]
        self._draw.ellipse(box, fill=fill, outline=outline, width=round(width * SCALE))

    def box(self, a: Point, b: Point, fill: Colour | None, outline: Colour | None = None, rounding: float = 0) -> None:
        """A rectangle from its upper left to its lower right corner."""
        if b[0] <= a[0] or b[1] <= a[1]:
            return
        where = [a[0] * SCALE, a[1] * SCALE, b[0] * SCALE, b[1] * SCALE]
        self._draw.rounded_rectangle(where, rounding * SCALE, fill=fill, outline=outline, width=SCALE)

    def line(self, a: Point, b: Point, colour: Colour, width: float = 1.5) -> None:
        """A straight line."""
        self._draw.line([_big(a), _big(b)], fill=colour, width=max(round(width * SCALE), 1))

    def arrow(self, a: Point, b: Point, colour: Colour, width: float = 2.0) -> None:
        """A line with a head at b; nothing where they are too near for a head."""
        dx, dy = b[0] - a[0], b[1] - a[1]
        length = math.hypot(dx, dy)
        if length < HEAD:
            return
        ux, uy = dx / length, dy / length
        back = min(HEAD_LENGTH, length)
        neck = (b[0] - ux * back, b[1] - uy * back)
        self.line(a, neck, colour, width)
        sides = [(neck[0] - uy * HEAD * s, neck[1] + ux * HEAD * s) for s in (1, -1)]
        self._draw.polygon([_big(b), *map(_big, sides)], fill=colour)

    def text(self, at: Point, what: str, size: int, colour: Colour, anchor: str = "lm") -> float:
        """Write in one line; the anchor is Pillow's (``lm``: left, middle). Returns the width in pixels."""
        font = _font(size)
        self._draw.text(_big(at), what, fill=colour, font=font, anchor=anchor)
        return self.width_of(what, size)

    def width_of(self, what: str, size: int) -> float:
        """Width of a line of text in pixels."""
        return float(self._draw.textlength(what, font=_font(size))) / SCALE

    def fitted(self, what: str, size: int, room: float) -> str:
        """The text, cut with an ellipsis where it is wider than ``room``."""
        if self.width_of(what, size) <= room:
            return what
        while what and self.width_of(what + ELLIPSIS, size) > room:
            what = what[:-1]
        return what + ELLIPSIS


def _big(p: Point) -> Point:
    return (p[0] * SCALE, p[1] * SCALE)
