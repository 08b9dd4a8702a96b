"""Pictures of an episode as one animated GIF."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from offmarl_bench.atomic import write_atomic
from offmarl_bench.errors import FormatError
from offmarl_bench.render import theme
from offmarl_bench.render.film import Film
from offmarl_bench.render.frame import draw_frames

LAST_SECONDS = 2.0
"""How long the last picture stays before the film begins again."""
MILLISECONDS = 1000
SLOWEST, FASTEST = 0.5, 50.0
"""Pictures a second; viewers do not keep up with more, since a GIF counts in hundredths of a second."""
COLOURS = 128
SWATCH = 40
"""Height of a colour's stripe in the picture that the palette is taken from."""
SUFFIX = ".gif"


def frames(film: Film) -> list[Image.Image]:
    """A picture of every moment of an episode, T + 1 of them, all of one size."""
    return draw_frames(film)


def write_gif(film: Film, path: Path, *, fps: float = 6.0) -> Path:
    """Draw an episode and write it.

    Args:
        film: the episode.
        path: ends in ``.gif``; replaced if it exists.
        fps: steps shown per second.

    Raises:
        FormatError: another ending, or a speed that a GIF cannot have. OffmarlError: the place cannot be written.
    """
    check_target(path, fps)
    pictures = frames(film)
    palette = _palette(pictures)
    small = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    each = round(MILLISECONDS / fps)
    buffer = io.BytesIO()
    small[0].save(
        buffer, format="GIF", save_all=True, append_images=small[1:], loop=0, optimize=False,
        duration=[*[each] * (len(small) - 1), round(LAST_SECONDS * MILLISECONDS)],
    )  # fmt: skip
    write_atomic(path, buffer.getvalue())
    return path


def _palette(pictures: list[Image.Image]) -> Image.Image:
    """One palette for all, from three of them: a palette of its own per picture would flicker.

    The theme's colours stand beside them, large, so that rare ones (a bar's blue) are kept as they are.
    """
    wide, high = pictures[0].size
    chosen = (pictures[0], pictures[len(pictures) // 2], pictures[-1])
    sample = Image.new("RGB", (wide, len(chosen) * high + SWATCH * len(theme.PALETTE)))
    for k, picture in enumerate(chosen):
        sample.paste(picture, (0, k * high))
    for k, colour in enumerate(theme.PALETTE):
        top = len(chosen) * high + SWATCH * k
        sample.paste(colour, (0, top, wide, top + SWATCH))
    return sample.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)


def check_target(path: Path, fps: float) -> None:
    """Refuse before playing what could not be written. Raises FormatError."""
    if path.suffix.lower() != SUFFIX:
        raise FormatError(f"{path}: the picture is an animated GIF; give a file that ends in {SUFFIX}")
    if path.is_dir():
        raise FormatError(f"{path} is a folder; give a file that ends in {SUFFIX}")
    if not SLOWEST <= fps <= FASTEST:
        raise FormatError(f"fps is {fps}, expected {SLOWEST} to {FASTEST} pictures a second")
