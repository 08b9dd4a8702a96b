"""Pictures of a ``Description``: returns, who is good, lengths and coverage; the same bytes for the same numbers.

They are drawn from the description alone, so a dataset card can be drawn again from its JSON. Levels are light to
dark in the order of their quality, which survives every kind of colour vision and a grey printer; parts take the
palette of Okabe and Ito. Matplotlib's global state and the user's style are left out of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from offmarl_bench.atomic import write_atomic
from offmarl_bench.describe import OTHERS, Description, Part, Spread, as_json
from offmarl_bench.describe_text import percent
from offmarl_bench.records import json_digest
from offmarl_bench.report_lines import plain
from offmarl_bench.types import LEVELS

SIZE = (7.6, 3.1)
"""Inches of a picture."""
AGENT_INCHES = 0.34
"""More height for each agent above five."""
DPI = 120
COLOURS = 96
"""Palette of the PNG: what keeps it small; the pictures have a dozen colours and their blends."""
LEVEL_COLOURS = dict(zip(LEVELS, ("#f2c14e", "#3f9c9c", "#26356f"), strict=True))
PART_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999")
"""Okabe and Ito; grey is for the rest."""
MAX_SHOWN = len(PART_COLOURS)
LONGEST_NAMES = 34
"""Characters of a list of agents; a longer one is a count."""
SMOOTH = 1.2
"""Standard deviation of a violin's smoothing, in bars."""
HEADROOM = 1.06
"""Top of a histogram over its highest bar."""
LABEL_SHARE = 0.08
"""Shares below this are not written into their bar: they would not fit."""
DIGEST = "description"
"""PNG text that holds the digest of the numbers drawn."""
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 8.5, "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlesize": 9.5, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.grid": True,
    "axes.axisbelow": True, "grid.alpha": 0.25, "legend.frameon": False, "legend.fontsize": 8,
}  # fmt: skip


def words(part: Part, agents: Sequence[str]) -> str:
    """A composition for a reader: ``s1 z1 random, s2 z2 z3 medium``."""
    if not part.levels:
        return OTHERS
    groups = {level: [a for a, x in zip(agents, part.levels, strict=True) if x == level] for level in part.levels}
    if len(groups) == 1:
        return f"all {next(iter(groups))}"
    order = [level for level in LEVELS if level in groups] + [level for level in groups if level not in LEVELS]
    named = ", ".join(f"{' '.join(groups[level])} {level}" for level in order)
    return plain(named if len(named) <= LONGEST_NAMES else ", ".join(f"{len(groups[k])} {k}" for k in order))


def _told(parts: Sequence[Part]) -> list[tuple[list[Part], str]]:
    """Parts with a colour each; those beyond the palette share the last."""
    own = [([p], c) for p, c in zip(parts, PART_COLOURS, strict=False)]
    if len(parts) > MAX_SHOWN:
        own[-1] = (list(parts[MAX_SHOWN - 1 :]), PART_COLOURS[-1])
    return own


def _label(group: Sequence[Part], agents: Sequence[str]) -> str:
    name = words(group[0], agents) if len(group) == 1 else OTHERS
    return f"{percent(sum(p.share for p in group))}: {name}"


def _stacked(axes: Axes, found: Description, edges: Sequence[float], field: str) -> None:
    bottom = np.zeros(len(edges) - 1)
    for group, colour in _told(found.parts):
        counts = np.sum([getattr(p, field) for p in group], axis=0)
        axes.bar(edges[:-1], counts, np.diff(edges), bottom, align="edge", color=colour,
                 label=_label(group, found.agents))  # fmt: skip
        bottom += counts
    axes.set(ylabel="episodes", ylim=(0, float(bottom.max()) * HEADROOM))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def _outline(counts: Sequence[int]) -> Float64[np.ndarray, " B"]:
    """Half-widths of a violin: the smoothed histogram, 1 at its widest."""
    reach = np.arange(-4, 5)
    kernel = np.exp(-0.5 * (reach / SMOOTH) ** 2)
    smooth = np.convolve(counts, kernel / kernel.sum(), mode="same")
    return np.asarray(smooth / max(smooth.max(), 1e-12), np.float64)


def _violin(axes: Axes, at: float, width: float, edges: Sequence[float], counts: Sequence[int], spread: Spread,
            colour: str) -> None:  # fmt: skip
    """A sideways violin on the axes' x: outline, quartiles as a line, mean as a dot."""
    x = (np.asarray(edges[:-1]) + np.asarray(edges[1:])) / 2
    half = width * _outline(counts)
    seen = half > width / 200
    axes.fill_between(x, at - half, at + half, where=seen.tolist(), color=colour, linewidth=0, alpha=0.85)
    axes.plot(spread.quartiles[1:4:2], [at, at], color="black", linewidth=1.6, solid_capstyle="butt")
    axes.plot([spread.mean], [at], marker="o", markersize=4.5, color="white", markeredgecolor="black")


def _returns(found: Description, figure: Figure) -> None:
    """Histogram by composition; beneath it, one violin a composition."""
    top, low = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1 + min(len(found.parts), MAX_SHOWN) * 0.45))
    _stacked(top, found, found.return_edges, "return_counts")
    for key, style, label in (("random", ":", "random play"), ("expert", "--", "best of the pool")):
        value = found.provenance.get(f"reference_{key}")
        if isinstance(value, int | float):
            top.axvline(value, color="black", linewidth=1, linestyle=style, label=f"{label}: {value:.1f}")
    top.set_title(f"{plain(found.dataset)}: return of {found.episodes:,} episodes, by who played")
    top.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    groups = _told(found.parts)
    for k, (group, colour) in enumerate(groups):
        counts = np.sum([p.return_counts for p in group], axis=0).tolist()
        if len(group) == 1:
            _violin(low, -k, 0.42, found.return_edges, counts, group[0].returns, colour)
    low.set_yticks([-k for k in range(len(groups))], [percent(sum(p.share for p in g)) for g, _ in groups])
    low.set_ylim(-len(groups) + 0.45, 0.55)
    low.grid(axis="y", visible=False)
    low.set_xlabel("undiscounted team return        (○ mean, ━ middle half of the episodes)")


def _agents(found: Description, figure: Figure) -> None:
    """How much of each agent's data is of which level, and the team's return then."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    rows = {a: -k for k, a in enumerate(found.agents)}
    start = dict.fromkeys(found.agents, 0.0)
    for level in LEVELS:
        mine = [p for p in found.played if p.level == level]
        left.barh([rows[p.agent] for p in mine], [p.share for p in mine], 0.72, [start[p.agent] for p in mine],
                  color=LEVEL_COLOURS[level])  # fmt: skip
        for p in mine:
            if p.share >= LABEL_SHARE:
                ink = "black" if level == LEVELS[0] else "white"
                left.text(start[p.agent] + p.share / 2, rows[p.agent], percent(p.share), ha="center", va="center",
                          color=ink)  # fmt: skip
            start[p.agent] += p.share
    left.set(xlim=(0, 1), xlabel="share of the episodes", title="who is good in which share")
    left.xaxis.set_major_formatter(PercentFormatter(1))
    for p in found.played:
        # An agent's levels lie beside each other in its row, so that none hides another.
        there = [q.level for q in found.played if q.agent == p.agent]
        height = 0.8 / len(there)
        at = rows[p.agent] + 0.4 - height * (there.index(p.level) + 0.5)
        _violin(right, at, height * 0.46, found.return_edges, p.return_counts, p.returns, LEVEL_COLOURS[p.level])
    right.set(xlabel="team return", title="team return when the agent plays so")
    for axes in (left, right):
        axes.set_yticks(list(rows.values()), [plain(a) for a in rows])
        axes.set_ylim(-len(rows) + 0.4, 0.6)
        axes.grid(axis="y", visible=False)
    handles = [Patch(color=colour, label=level) for level, colour in LEVEL_COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(LEVELS))


def _coverage(found: Description, figure: Figure) -> None:
    """Episode lengths by composition; shares of what is new."""
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _stacked(left, found, found.length_edges, "length_counts")
    left.set(xlabel=f"length in steps (at most {found.horizon})", title="episode lengths")
    left.legend(loc="upper left")
    c = found.coverage
    names = ["episodes", "joint SACo", *(plain(a) for a in found.agents)]
    values = [c.unique_episodes, c.joint, *c.agents]
    colours = ["#56b4e9", "#0072b2", *["#999999"] * len(c.agents)]
    right.barh([-k for k in range(len(values))], values, 0.72, color=colours)
    for k, value in enumerate(values):
        inside = value > 0.85
        right.text(value - 0.02 if inside else value + 0.02, -k, f"{value:.2f}", va="center",
                   ha="right" if inside else "left", color="white" if inside and k != 0 else "black")  # fmt: skip
    right.set_yticks([-k for k in range(len(values))], names)
    right.set(xlim=(0, 1), xlabel="distinct / all", title="state-action coverage")
    right.grid(axis="y", visible=False)


DRAWN = {"returns": _returns, "agents": _agents, "coverage": _coverage}
"""Name of each picture and who draws it; ``agents`` only where the file says who played."""


def digest(found: Description) -> str:
    """SHA-256 of the numbers that pictures are drawn from; it stands in each of them."""
    return json_digest(as_json(found))


def picture_digest(png: bytes) -> str | None:
    """The digest in a picture, None if there is none. Raises OSError for what is no PNG."""
    with Image.open(BytesIO(png), formats=("PNG",)) as image:
        found = image.info.get(DIGEST)
    return found if isinstance(found, str) else None


def pictures(found: Description) -> dict[str, bytes]:
    """PNG files by name (``returns``, ``agents``, ``coverage``); the same numbers give the same bytes."""
    return {name: _png(found, name) for name in DRAWN if found.played or name != "agents"}


def _png(found: Description, name: str) -> bytes:
    more = AGENT_INCHES * max(0, len(found.agents) - 5) if name != "returns" else 0.0
    with mpl.rc_context():
        mpl.rcdefaults()  # not the user's style: the same numbers give the same picture everywhere
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(SIZE[0], SIZE[1] + more), dpi=DPI, layout="constrained")
        canvas: Any = FigureCanvasAgg(figure)  # untyped in matplotlib
        if name != "returns":  # its own title says it
            figure.suptitle(plain(found.dataset), x=0.01, ha="left", fontsize=STYLE["axes.titlesize"])
        DRAWN[name](found, figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    info, out = PngInfo(), BytesIO()
    info.add_text(DIGEST, digest(found))
    Image.fromarray(pixels).quantize(COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True, pnginfo=info)
    return out.getvalue()


def write_pictures(found: Description, folder: Path) -> list[Path]:
    """Write all pictures as ``NAME.png`` into a folder. Raises OffmarlError where that cannot be."""
    written = []
    for name, content in pictures(found).items():
        written.append(folder / f"{name}.png")
        write_atomic(written[-1], content)
    return written
