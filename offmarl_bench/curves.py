"""Learning curves from stored results: one panel for each dataset, a line for each agent, its seeds' range around it.

The points are greedy early evaluations, on other episodes than the final one's. Nothing is smoothed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from offmarl_bench.atomic import write_atomic
from offmarl_bench.describe_plots import DPI, PART_COLOURS, STYLE
from offmarl_bench.errors import FormatError
from offmarl_bench.marl_eval import name_of
from offmarl_bench.report import one_run
from offmarl_bench.report_lines import plain
from offmarl_bench.results import Result

FILE = "curves.png"
PANEL = (4.2, 3.0)
"""Inches of a panel."""
ACROSS = 3
"""Panels in a row."""
LEGEND_ACROSS = 2
"""Entries of the legend side by side, for each panel of a row."""
DASHES: tuple[Literal["-", "--", ":"], ...] = ("-", "--", ":")
"""One for each round of the colours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One agent on one dataset, at the points that all of its seeds have."""

    dataset: str
    agent: str
    """With preset and overrides."""
    seeds: tuple[int, ...]
    updates: tuple[int, ...]
    mean: tuple[float, ...]
    """Over seeds, of the mean return at each point."""
    low: tuple[float, ...]
    """The worst seed's."""
    high: tuple[float, ...]
    """The best seed's."""
    behavior: float | None
    """Mean return of the data."""


def curves(results: Iterable[Result]) -> list[Curve]:
    """The curves of all results that have one, by dataset and agent; of several budgets the longest counts.

    Raises:
        FormatError: none has a curve.
    """
    groups: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for r in results:
        if r.curve:
            groups[r.dataset or r.env_id, name_of(r)].append(r)
    found = []
    for (dataset, agent), members in sorted(groups.items()):
        chosen, _ = one_run(members, dataset)
        points = [dict(r.curve) for r in chosen]
        shared = sorted(set.intersection(*(set(p) for p in points)))
        if not shared:
            continue
        values = np.array([[p[u] for u in shared] for p in points])
        found.append(
            Curve(
                dataset=dataset, agent=agent, seeds=tuple(r.seed for r in chosen), updates=tuple(shared),
                mean=tuple(values.mean(0).tolist()), low=tuple(values.min(0).tolist()),
                high=tuple(values.max(0).tolist()), behavior=chosen[0].behavior_mean,
            )
        )  # fmt: skip
    if not found:
        raise FormatError(
            "no stored result has a learning curve; `offmarl-bench evaluate AGENT --dataset DATASET` makes them"
        )
    return found


def plot_curves(found: Sequence[Curve], folder: Path) -> Path:
    """Write ``curves.png`` into a folder. Raises OffmarlError if it cannot be written."""
    datasets = sorted({c.dataset for c in found})
    agents = sorted({c.agent for c in found})
    styles = {
        a: (PART_COLOURS[k % len(PART_COLOURS)], DASHES[k // len(PART_COLOURS) % len(DASHES)])
        for k, a in enumerate(agents)
    }
    across = min(ACROSS, len(datasets))
    down = -(-len(datasets) // across)
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):
        figure = Figure(figsize=(PANEL[0] * across, PANEL[1] * down), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes in panels[len(datasets) :]:
            axes.set_axis_off()
        for dataset, axes in zip(datasets, panels, strict=False):
            here = [c for c in found if c.dataset == dataset]
            for c in here:
                colour, dash = styles[c.agent]
                axes.plot(c.updates, c.mean, color=colour, linestyle=dash, marker=".")
                axes.fill_between(c.updates, c.low, c.high, color=colour, alpha=0.15, linewidth=0)
            if here[0].behavior is not None:
                axes.axhline(here[0].behavior, color="#666666", linewidth=0.9, linestyle=":")
            axes.set_title(_text(dataset))
            axes.set_xlabel("updates")
            axes.set_ylabel("mean greedy return")
        lines = [Line2D([], [], color=c, linestyle=d, marker=".") for c, d in styles.values()]
        lines.append(Line2D([], [], color="#666666", linewidth=0.9, linestyle=":"))
        labels = [f"{_text(a)} ({_seeds([c for c in found if c.agent == a])})" for a in agents]
        columns = LEGEND_ACROSS * across
        figure.legend(lines, [*labels, "mean return of the data"], loc="outside lower center", ncols=columns)
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI)
    path = folder / FILE
    write_atomic(path, buffer.getvalue())
    return path


def _text(name: str) -> str:
    """A name as it is; matplotlib would read formulas into it."""
    return plain(name).replace("$", r"\$")


def _seeds(curves: Sequence[Curve]) -> str:
    """``5 seeds``, or ``2–5 seeds`` where datasets differ."""
    few, many = (f(len(c.seeds) for c in curves) for f in (min, max))
    return f"{few} seed{'s'[: few > 1]}" if few == many else f"{few}–{many} seeds"
