"""Performance profiles of stored results: for every normalised score the share of runs that exceed it.

Agarwal et al. (2021, arXiv:2108.13264), Figure 4 there. A line that lies above another all the way is better whatever
one cares about; where lines cross, a mean hides who is better at what. Bands are stratified bootstrap 95 % intervals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from offmarl_bench.aggregate import BOOTSTRAP_SEED, seed_scores
from offmarl_bench.atomic import write_atomic
from offmarl_bench.comparison import as_text
from offmarl_bench.describe_plots import DPI, PART_COLOURS, STYLE
from offmarl_bench.errors import FormatError
from offmarl_bench.report import build_report
from offmarl_bench.report_lines import plain
from offmarl_bench.results import Result
from offmarl_bench.stats import CONFIDENCE, performance_profile

FILE = "profiles.png"
POINTS = 101
"""Thresholds τ, evenly spaced over the range of all scores."""
STEPS = 5
"""Of the scores that the table shows, from the least to the greatest."""
RESAMPLES = 500
"""Bootstrap resamples behind a band."""
SIZE = (7.6, 3.8)
"""Inches."""
DASHES = ("-", "--", ":")
"""One for each round of the colours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One agent over the datasets that all agents share."""

    agent: str
    """Title of its column."""
    datasets: tuple[str, ...]
    runs: int
    """Scores that went in."""
    thresholds: tuple[float, ...]
    """τ: random 0, expert 100."""
    share: tuple[float, ...]
    """Of its runs that score above τ."""
    low: tuple[float, ...] | None
    """Lower end of the band; None where a dataset has a single seed."""
    high: tuple[float, ...] | None


def profiles(results: Iterable[Result]) -> list[Profile]:
    """The profile of every column of the report.

    Raises:
        FormatError: no results, none that can be normalised, or no dataset that all agents were scored on.
    """
    report = build_report(results)
    rows = [row for section in report.sections for row in section.rows]
    scores = [[seed_scores(c.results) if c is not None else [] for c in row.cells] for row in rows]
    shared = [k for k, row in enumerate(scores) if all(row)]
    if not shared:
        raise FormatError(
            f"no dataset has normalised scores of all of {', '.join(report.columns)}; evaluate them on the same "
            "datasets, or name those that are with --dataset"
        )
    everything = [s for k in shared for cell in scores[k] for s in cell]
    thresholds = np.linspace(min(everything), max(everything), POINTS)
    found = []
    for column, title in enumerate(report.columns):
        strata = [scores[k][column] for k in shared]
        band = _band(strata, thresholds) if all(len(s) > 1 for s in strata) else None
        found.append(
            Profile(
                agent=title, datasets=tuple(rows[k].dataset for k in shared), runs=sum(map(len, strata)),
                thresholds=tuple(thresholds.tolist()), share=tuple(performance_profile(strata, thresholds).tolist()),
                low=None if band is None else tuple(band[0].tolist()),
                high=None if band is None else tuple(band[1].tolist()),
            )
        )  # fmt: skip
    return found


def _band(strata: Sequence[Sequence[float]], thresholds: np.ndarray) -> np.ndarray:
    """(2, K) ends of the interval at every threshold, seeds resampled within each dataset."""
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = [performance_profile([generator.choice(s, len(s)) for s in strata], thresholds) for _ in range(RESAMPLES)]
    tail = (1 - CONFIDENCE) / 2
    return np.asarray(np.quantile(drawn, [tail, 1 - tail], axis=0))


def plot_profiles(found: Sequence[Profile], folder: Path) -> Path:
    """Write ``profiles.png`` into a folder. Raises OffmarlError if it cannot be written."""
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):
        figure = Figure(figsize=SIZE, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for k, p in enumerate(found):
            colour, dash = PART_COLOURS[k % len(PART_COLOURS)], DASHES[k // len(PART_COLOURS) % len(DASHES)]
            axes.plot(p.thresholds, p.share, color=colour, linestyle=dash, drawstyle="steps-post",
                      label=f"{as_text(p.agent)} ({p.runs} runs)")  # fmt: skip
            if p.low is not None and p.high is not None:
                axes.fill_between(p.thresholds, p.low, p.high, color=colour, alpha=0.15, linewidth=0, step="post")
        count = len(found[0].datasets)
        axes.set_title(f"Performance profiles, {count} dataset{'s'[: count > 1]}")
        axes.set_xlabel("normalised score τ (random 0, expert 100)")
        axes.set_ylabel("share of runs above τ")
        axes.set_ylim(-0.02, 1.02)
        figure.legend(loc="outside right upper")
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI)
    path = folder / FILE
    write_atomic(path, buffer.getvalue())
    return path


def to_markdown(found: Sequence[Profile]) -> str:
    """The share of runs above a few scores, one line an agent."""
    shown = range(0, POINTS, (POINTS - 1) // STEPS)
    titles = ["", "runs", *(f"> {found[0].thresholds[k]:.0f}" for k in shown)]
    out = ["| " + " | ".join(titles) + " |", "|:--|" + "--:|" * (len(titles) - 1)]
    for p in found:
        name = plain(p.agent).replace("|", r"\|")
        out.append("| " + " | ".join([name, str(p.runs), *(f"{p.share[k]:.2f}" for k in shown)]) + " |")
    return "\n".join([*out, "", f"Over {', '.join(found[0].datasets)}.", ""])
