"""For environments that show no scene: a bar for every step's reward, and what every agent just did."""

from __future__ import annotations

from offmarl_bench.render import theme
from offmarl_bench.render.canvas import Canvas
from offmarl_bench.render.field import Window
from offmarl_bench.render.film import Film
from offmarl_bench.types import LEVELS

BARS = 180
"""Height of the part with the bars."""
COLUMNS = 2
FILL = 0.8
"""Share of its place that a bar fills."""
MAX_ROWS = 4
ROW = 22


def chart_height(film: Film) -> float:
    """Bars, a row for every pair of agents, and room for what has no room."""
    rows = min(-(-film.spec.N // COLUMNS), MAX_ROWS) + (film.spec.N > MAX_ROWS * COLUMNS)
    return float(BARS + theme.PAD + ROW * rows + theme.PAD)


def draw_chart(canvas: Canvas, film: Film, k: int, window: Window) -> None:
    """The field of moment k."""
    top, bottom = theme.HEADER + theme.PAD, float(theme.HEADER + BARS)
    left, right = float(theme.PAD), float(theme.WIDTH - theme.PAD)
    canvas.box((0, theme.HEADER), (theme.WIDTH, theme.HEADER + window.height), theme.GROUND)
    canvas.text((left, top + 2), "reward of each step", theme.SMALL, theme.FAINT)
    rewards = [s.reward for s in film.shots[1:]]
    high, low = max([0.0, *rewards]), min([0.0, *rewards])
    span = (high - low) or 1.0
    top += theme.SMALL + 4
    zero = top + (bottom - top) * high / span
    place = (right - left) / max(film.spec.horizon, 1)
    for t, reward in enumerate(rewards[:k]):
        x = left + place * t
        edge = zero - (bottom - top) * reward / span
        canvas.box((x, min(zero, edge)), (x + place * FILL, max(zero, edge)), theme.GAIN if reward >= 0 else theme.LOSS)
    canvas.line((left, zero), (right, zero), theme.EDGE, 1)
    _actions(canvas, film, k, bottom + theme.PAD)


def _actions(canvas: Canvas, film: Film, k: int, top: float) -> None:
    """Who did what, in columns; those for whom there is no room are counted."""
    actions, names = film.shots[k].actions, film.spec.agents
    wide = (theme.WIDTH - 2 * theme.PAD) / COLUMNS
    room = MAX_ROWS * COLUMNS
    for i, name in enumerate(names[:room]):
        x, y = theme.PAD + wide * (i % COLUMNS), top + theme.PAD + ROW * (i // COLUMNS)
        canvas.disc((x + 5, y), 5, theme.agent_colour(film.levels, i))
        level = LEVELS[film.levels[i]][0] if film.levels is not None else ""
        did = f"action {actions[i]}" if actions else "starts"
        line = canvas.fitted(f"{name}{level}   {did}", theme.TEXT, wide - 24)
        canvas.text((x + 16, y), line, theme.TEXT, theme.INK)
    if len(names) > room:
        y = top + theme.PAD + ROW * MAX_ROWS
        canvas.text((theme.PAD, y), f"and {len(names) - room} more", theme.SMALL, theme.FAINT)
