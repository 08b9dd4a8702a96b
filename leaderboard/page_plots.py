"""The page's pictures: intervals, seeds, chances and curves as inline SVG and plain tables.

A picture is as wide as it is given room: positions are shares of the width, and strokes do not scale, so a dot (a line
of no length with round ends) stays round. Each picture says in words what it shows, for those who do not see it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.board import Cell, Line, Table, improvement
from leaderboard.bundle import Curves
from leaderboard.markup import esc, name, number
from leaderboard.ranks import Estimate
from offmarl_bench.results import PERCENT

WIDTH, HEIGHT = 1000, 10
"""Units across a strip, and down."""
MEAN_AT, SEEDS_AT = 3, 7
"""Where in a strip the mean is drawn, and below it the seeds."""
ROOM = 0.03
"""Part of the range left free at each end, so that no mark is cut."""
TICKS = 6
"""At most."""
STEPS = (1, 2, 5)
MOST = 12
"""Rows of a picture; all entries are in the tables, and a page of many stays small."""
CHANCES = (0.1, 0.35, 0.65, 0.9)
"""Where the shades of the matrix change."""
POINTS = 40
"""Points of a drawn curve; a longer one is thinned."""
CURVE_HEIGHT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The range of normalised scores that a picture covers."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Position of a value, in units of the strip."""
        return WIDTH * (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """Round numbers inside of the range, few enough to be read."""
        raw = (self.high - self.low) / TICKS
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * s for s in (*STEPS, 10) if power * s >= raw)
        return [step * k for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def scale_of(values: Sequence[float], *, anchors: Sequence[float] = (0.0, PERCENT)) -> Scale:
    """A scale on which all these values have room, and random play (0) and the expert (100), unless told otherwise."""
    low, high = min((*values, *anchors), default=0.0), max((*values, *anchors), default=PERCENT)
    room = ROOM * ((high - low) or PERCENT)
    return Scale(low=low - room, high=high + room)


def _x(scale: Scale, value: float) -> str:
    return f"{scale.at(value):.0f}"


def _lines(kind: str, scale: Scale, values: Sequence[float]) -> str:
    return f'<path class="{kind}" d="{"".join(f"M{_x(scale, v)} 0V{HEIGHT}" for v in values)}"/>'


def _dots(kind: str, scale: Scale, values: Sequence[float], y: int) -> str:
    return f'<path class="{kind}" d="{"".join(f"M{_x(scale, v)} {y}h.01" for v in values)}"/>'


def _svg(parts: Sequence[str]) -> str:
    return (
        f'<svg class="strip" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def _interval(scale: Scale, estimate: Estimate | None, value: float, y: int) -> str:
    span = f'<path class="span" d="M{_x(scale, estimate.low)} {y}H{_x(scale, estimate.high)}"/>' if estimate else ""
    return span + _dots("mean", scale, [value], y)


def seeds_strip(
    scale: Scale, estimate: Estimate | None, value: float, seeds: Sequence[float], behavior: float | None
) -> str:
    """One row of a picture: grid, mean and interval, every seed below them."""
    parts = [_lines("grid", scale, scale.ticks)]
    if behavior is not None:
        parts.append(_lines("data", scale, [behavior]))
    return _svg([*parts, _dots("seeds", scale, seeds, SEEDS_AT), _interval(scale, estimate, value, MEAN_AT)])


def group_strip(scale: Scale, estimate: Estimate | None, value: float, leader: Estimate | None) -> str:
    """A small strip for a table: the interval, on a band that is the interval of the group's leader."""
    band = ""
    if leader is not None:
        left = scale.at(leader.low)
        band = f'<rect class="band" x="{left:.0f}" width="{scale.at(leader.high) - left:.0f}" height="{HEIGHT}"/>'
    return _svg([band, _interval(scale, estimate, value, HEIGHT // 2)])


def axis(scale: Scale) -> str:
    """The numbers under a column of strips."""
    texts = "".join(f'<text x="{scale.at(t) / WIDTH:.1%}" y="13">{number(t, 0)}</text>' for t in scale.ticks)
    return f'<svg class="axis" aria-hidden="true">{texts}</svg>'


def _in_words(line: Line, cell: Cell) -> str:
    words = [f"{name(line.entry.name)}: {number(cell.value)}"]
    if cell.estimate:
        words.append(f"95 % interval {number(cell.estimate.low)} to {number(cell.estimate.high)}")
    words.append("seeds " + ", ".join(number(x) for x in cell.score.normalised if x is not None))
    return "; ".join(words)


def dataset_figure(table: Table, column: int, ids: dict[str, str]) -> str:
    """All entries on one dataset, best first: mean, interval, every seed. ``ids``: slug of an entry → its element."""
    found = [(line, cell) for line in table.lines if (cell := line.cells[column]) is not None]
    rows = [(line, cell, cell.value) for line, cell in found if cell.value is not None]
    if not rows:
        return ""
    rows.sort(key=lambda row: -row[2])
    shown = rows[:MOST]
    behavior = table.behavior[column]
    reference = behavior[1] if behavior else None
    values = [x for _, c, _ in shown for x in c.score.normalised if x is not None]
    values += [x for _, c, _ in shown if c.estimate for x in (c.estimate.low, c.estimate.high)]
    scale = scale_of([*values, *([reference] if reference is not None else [])])
    items = []
    for line, cell, value in shown:
        seeds = [x for x in cell.score.normalised if x is not None]
        key = ids[line.entry.slug]
        best = ' class="best"' if cell.group == 1 else ""
        items.append(
            f'<li data-part="{key}"{best}><span class="label"><a href="#{key}">{name(line.entry.name)}</a></span>'
            f"{seeds_strip(scale, cell.estimate, value, seeds, reference)}"
            f'<span class="number" aria-hidden="true">{number(value)}</span>'
            f'<span class="unseen">{_in_words(line, cell)}</span></li>'
        )
    of = f"; the best {MOST} of {len(rows)}" if len(rows) > MOST else ""
    dashed = f"; dashed: the data’s own play, {number(reference)}" if reference is not None else ""
    return (
        f"<figure><figcaption><b>{esc(table.labels[column])}</b>Normalised score{dashed}{of}</figcaption>"
        f'<ul class="dots" role="list">{"".join(items)}</ul>'
        f'<div class="dots" aria-hidden="true">{axis(scale)}</div></figure>'
    )


def matrix_figure(table: Table, ids: dict[str, str]) -> str:
    """How probable it is that a seed of the row's entry beats one of the column's; empty for fewer than two."""
    lines = [line for line in table.lines if line.value is not None][:MOST]
    if len(lines) < 2:
        return ""
    chances = improvement(table, lines)
    keys = [ids[line.entry.slug] for line in lines]
    heads = "".join(
        f'<th scope="col" data-against="{key}"><span aria-hidden="true">{k}</span>'
        f'<span class="unseen">against {name(line.entry.name)}</span></th>'
        for k, (key, line) in enumerate(zip(keys, lines, strict=True), 1)
    )
    rows = []
    for k, (key, line, row) in enumerate(zip(keys, lines, chances, strict=True), 1):
        cells = "".join(
            f'<td data-against="{other}"><span class="unseen">itself</span></td>'
            if p is None
            else f'<td class="p{sum(p > c for c in CHANCES)}" data-against="{other}">{p:.2f}</td>'
            for other, p in zip(keys, row, strict=True)
        )
        rows.append(f'<tr data-part="{key}"><th scope="row">{k}&ensp;{name(line.entry.name)}</th>{cells}</tr>')
    return (
        "<figure><figcaption><b>Probability of improvement</b>How often a random seed of the row beats one of the "
        'column, on a random dataset; one half is a draw</figcaption><div class="wide">'
        f'<table class="matrix"><caption class="unseen">Probability of improvement, row over column</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></figure>"
    )


Points = Sequence[tuple[float, float]]


def _thinned(points: Points) -> Points:
    if len(points) <= POINTS:
        return points
    return [points[round(k * (len(points) - 1) / (POINTS - 1))] for k in range(POINTS)]


def logged(metric: str, curves: Sequence[Curves | None]) -> list[Points]:
    """One logged number over the updates, for each seed that has it."""
    found: list[Points] = []
    for c in curves:
        values = c.metrics.get(metric) if c else None
        if c and isinstance(values, list):
            pairs = zip(c.updates, values, strict=False)
            found.append([(x, y) for x, y in pairs if isinstance(y, int | float) and math.isfinite(y)])
    return found


def curve_figure(title: str, label: str, lines: Sequence[Points]) -> str:
    """A number over the updates, a line per seed; empty if there is nothing to draw.

    Args:
        title: what the number is.
        label: of what, e.g. a dataset.
        lines: for each seed (updates, value), in the order of the updates.
    """
    drawn = [_thinned(points) for points in lines if len(points) > 1]
    if not drawn:
        return ""
    xs, ys = zip(*itertools.chain.from_iterable(drawn), strict=True)
    low, high, last = min(ys), max(ys), max(xs)
    height = (high - low) or 1.0

    def path(points: Points) -> str:
        at = (f"{WIDTH * x / (last or 1):.0f} {CURVE_HEIGHT * (high - y) / height:.0f}" for x, y in points)
        return f'<path d="M{"L".join(at)}"/>'

    words = f"{len(drawn)} seed{'s'[: len(drawn) > 1]}, {low:.3g} to {high:.3g}, up to update {last:,.0f}"
    return (
        f"<figure><figcaption><b>{esc(title)}</b>{esc(label)}: {words}</figcaption>"
        f'<svg class="curve" viewBox="0 0 {WIDTH} {CURVE_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(map(path, drawn))}</svg></figure>"
    )
