"""Variants side by side, as the paper's bar charts show them: one panel a dataset or question, one line a variant.

Every seed is a dot, the mean a mark with its standard deviation over seeds. Nothing is smoothed or cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from offmarl_bench.atomic import write_atomic
from offmarl_bench.describe_plots import DPI, PART_COLOURS, STYLE
from offmarl_bench.errors import OffmarlError
from offmarl_bench.report_lines import plain
from offmarl_bench.results import Result
from offmarl_bench.stats import mean_std

WIDTH = 4.4
"""Inches of a panel."""
FRAME = 1.0
"""Inches of a panel's height for title and axis."""
LINE = 0.3
"""Inches of its height for each variant."""
ACROSS = 3
"""Panels in a row."""
MARKED, SEEDS, GREY = PART_COLOURS[0], "#9aa3b5", "#666666"
THIN = 0.9
"""Width of a line to compare with."""
DASHES: tuple[Literal[":", "--", "-."], ...] = (":", "--", "-.")
"""One for each line of a panel, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One variant on one dataset."""

    label: str
    greedy: tuple[float, ...]
    """Mean return of each seed, played greedily."""
    sampled: tuple[float, ...]
    """The same, sampled."""
    updates: int | None
    """Updates behind it."""
    command: str | None
    """What makes one seed of it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Variants that are compared with each other."""

    title: str
    bars: tuple[Bar, ...]
    lines: tuple[tuple[str, float], ...] = ()
    """Returns to compare with, e.g. the mean of the data."""


def bar(label: str, results: Sequence[Result]) -> Bar:
    """One variant out of its seeds' results."""
    sampled = tuple(r.stochastic_mean for r in results if r.stochastic_mean is not None)
    return Bar(
        label=label, greedy=tuple(r.mean for r in results), sampled=sampled, updates=results[0].updates,
        command=results[-1].command,
    )  # fmt: skip


def panel(
    title: str, found: Mapping[str, Sequence[Result]], lines: Sequence[tuple[str, float]] = ()
) -> Panel:  # fmt: skip
    """One panel out of the results of ``run_variants``, with the mean return of the data."""
    bars = tuple(bar(label, results) for label, results in found.items())
    behavior = next((r.behavior_mean for results in found.values() for r in results), None)
    data = () if behavior is None else (("mean of the data", behavior),)
    return Panel(title=title, bars=bars, lines=(*data, *lines))


def plot_panels(panels: Sequence[Panel], path: Path) -> Path:
    """Write a PNG. Raises OffmarlError: there is nothing to draw, or the file cannot be written."""
    if not panels:
        raise OffmarlError(f"{path}: there is nothing to draw")
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    height = FRAME + LINE * max(len(p.bars) for p in panels)
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):
        figure = Figure(figsize=(WIDTH * across, height * down), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for unused in axes[len(panels) :]:
            unused.set_axis_off()
        for one, place in zip(panels, axes, strict=False):
            _draw(one, place)
        # One legend for all panels: the same dash means the same thing in each.
        labels = list(dict.fromkeys(label for p in panels for label, _ in p.lines))
        if labels:
            handles = [Line2D([], [], color=GREY, linewidth=THIN, linestyle=_dash(p)) for p in range(len(labels))]
            figure.legend(handles, map(as_text, labels), loc="outside lower center", ncols=min(len(labels), across + 1))
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI)
    write_atomic(path, buffer.getvalue())
    return path


def _draw(one: Panel, axes: Axes) -> None:
    for k, b in enumerate(one.bars):
        mean, deviation = mean_std(b.greedy)
        axes.plot(b.greedy, [k] * len(b.greedy), "o", color=SEEDS, markersize=3, zorder=2)
        axes.errorbar(mean, k, xerr=deviation, fmt="D", color=MARKED, markersize=5, capsize=3, zorder=3)
    for k, (_, value) in enumerate(one.lines):
        axes.axvline(value, color=GREY, linewidth=THIN, linestyle=_dash(k))
    axes.set_yticks(range(len(one.bars)), [as_text(b.label) for b in one.bars])
    axes.set_ylim(len(one.bars) - 0.5, -0.5)
    axes.set_title(as_text(one.title))
    axes.set_xlabel("mean greedy return")


def _dash(k: int) -> Literal[":", "--", "-."]:
    return DASHES[k % len(DASHES)]


def as_text(name: str) -> str:
    """A name as it is; matplotlib would read formulas into it."""
    return plain(name).replace("$", r"\$")


def to_markdown(panels: Sequence[Panel]) -> str:
    """One table a panel: mean ± standard deviation over seeds, greedy and sampled, and how it came about."""
    out = []
    for one in panels:
        out += [f"### {_cell(one.title)}", ""]
        out += [f"- {_cell(label)}: {value:.1f}" for label, value in one.lines]
        out += ["", "| | greedy | sampled | seeds | updates |", "|:--|--:|--:|--:|--:|"]
        for b in one.bars:
            cells = [_cell(b.label), _spread(b.greedy), _spread(b.sampled), str(len(b.greedy)), str(b.updates or "")]
            out.append("| " + " | ".join(cells) + " |")
        out.append("")
    return "\n".join(out)


def to_json(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Plain values at full precision."""
    return [asdict(one) for one in panels]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean, deviation = mean_std(values)
    return f"{mean:.1f}" + ("" if deviation is None else f" ± {deviation:.1f}")


def _cell(text: str) -> str:
    return plain(text).replace("|", r"\|")
