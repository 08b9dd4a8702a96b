"""What every picture has around its field: who plays where, how far, what was earned, and the legend."""

from __future__ import annotations

from PIL import Image

from offmarl_bench.render import theme
from offmarl_bench.render.canvas import Canvas
from offmarl_bench.render.chart import chart_height, draw_chart
from offmarl_bench.render.field import Window, draw_scene, window_of
from offmarl_bench.render.film import Film

BAR = 3
"""Height of the line that shows how much of the horizon has passed."""
DOT = 5
GAP = 18


def draw_frames(film: Film) -> list[Image.Image]:
    """A picture of every moment of an episode."""
    scenes = [shot.scene for shot in film.shots]
    window = window_of([s for s in scenes if s is not None]) if all(scenes) else Window.plain(chart_height(film))
    return [_frame(film, k, window) for k in range(len(film.shots))]


def _frame(film: Film, k: int, window: Window) -> Image.Image:
    canvas = Canvas(theme.WIDTH, theme.HEADER + round(window.height) + theme.FOOTER)
    if film.shots[k].scene is None:
        draw_chart(canvas, film, k, window)
    else:
        draw_scene(canvas, film, k, window)
    # After the field: bodies at its edge must not cover the text.
    canvas.box((0, 0), (theme.WIDTH, theme.HEADER - 1), theme.PAPER)
    canvas.box((0, theme.HEADER + window.height), (theme.WIDTH, canvas.height), theme.PAPER)
    _header(canvas, film, k)
    _footer(canvas, film, k)
    return canvas.picture()


def _header(canvas: Canvas, film: Film, k: int) -> None:
    shot, spec = film.shots[k], film.spec
    right = theme.WIDTH - theme.PAD
    score = f"return {shot.episode_return:.2f}"
    canvas.text((right, 18), score, theme.TITLE, theme.INK, "rm")
    room = right - canvas.width_of(score, theme.TITLE) - 2 * theme.PAD
    canvas.text((theme.PAD, 18), canvas.fitted(spec.id, theme.TITLE, room), theme.TITLE, theme.INK)
    clock = f"step {shot.t} of {spec.horizon}"
    canvas.text((right, 40), clock, theme.TEXT, theme.FAINT, "rm")
    room = right - canvas.width_of(clock, theme.TEXT) - 2 * theme.PAD
    canvas.text((theme.PAD, 40), canvas.fitted(film.title, theme.TEXT, room), theme.TEXT, theme.FAINT)
    top = theme.HEADER - BAR - 1
    canvas.box((0, top), (theme.WIDTH, top + BAR), theme.BAR_BACK)
    canvas.box((0, top), (theme.WIDTH * shot.t / spec.horizon, top + BAR), theme.FAINT)


def _footer(canvas: Canvas, film: Film, k: int) -> None:
    shot, x = film.shots[k], float(theme.PAD)
    y = canvas.height - theme.FOOTER / 2
    right = float(theme.WIDTH - theme.PAD)
    note = "" if shot.scene is None else shot.scene.caption
    if k == len(film.shots) - 1 and film.won is not None:
        note = f"{note}: {'won' if film.won else 'not won'}"
    if note:
        right -= canvas.text((right, y), note, theme.TEXT, theme.INK, "rm") + GAP
    for name, colour, ring in _legend(film, k):
        needed = 2 * DOT + 6 + canvas.width_of(name, theme.TEXT)
        if x + needed > right:
            break
        canvas.disc((x + DOT, y), DOT, None if ring else colour, colour if ring else None, 2)
        x += 2 * DOT + 6
        x += canvas.text((x, y), name, theme.TEXT, theme.INK) + GAP


def _legend(film: Film, k: int) -> list[tuple[str, theme.Colour, bool]]:
    """Name, colour, and whether it is a ring: levels first, then what else there is."""
    found = [(name, colour, False) for name, colour in theme.legend(film.levels)]
    scene = film.shots[k].scene
    if scene is None:
        return found
    if film.levels is None:
        found.append(("agents", theme.TEAM, False))
    kinds = {b.kind: b.role for b in scene.bodies if b.role != "agent" and b.kind}
    return found + [
        (kind, theme.GOAL if role == "goal" else theme.OTHER, role == "goal") for kind, role in kinds.items()
    ]
