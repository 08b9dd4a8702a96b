"""What is in a dataset: returns, lengths and who played, over all and per agent and behaviour level; and pictures.

Levels are the ground truth that the files carry and learning must not use; here they say what a method would have to
find out by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure

from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.loader import Dataset, load_dataset
from offmarl_bench.types import LEVELS

QUARTILES = (0, 25, 50, 75, 100)
BINS = 40
"""Bars of a histogram."""
SIZE = (8.0, 4.5)
"""Inches of a picture."""
DPI = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Distribution of one number over episodes."""

    episodes: int
    mean: float
    std: float
    quartiles: tuple[float, ...]
    """Smallest, 25 %, median, 75 %, largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The episodes that one agent played at one level."""

    agent: str
    level: str
    share: float
    """Part of the episodes."""
    returns: Spread
    """Team return of those episodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """All that ``describe`` finds."""

    dataset: str
    env_id: str
    agents: tuple[str, ...]
    episodes: int
    steps: int
    returns: Spread
    lengths: Spread
    terminated: float
    """Part of the episodes that ended by themselves."""
    rewarded: float
    """Part of the steps whose team reward is not 0."""
    played: tuple[Played, ...]
    """Per agent and level; empty where nobody knows who played."""
    provenance: dict[str, Any]
    """Recipe, seed, references, hash, … as the file says."""


def _spread(values: Float64[np.ndarray, " E"]) -> Spread:
    x = np.asarray(values, np.float64)
    quartiles = tuple(float(q) for q in np.percentile(x, QUARTILES))
    return Spread(episodes=len(x), mean=float(x.mean()), std=float(x.std()), quartiles=quartiles)


def _played(dataset: Dataset) -> tuple[Played, ...]:
    levels = dataset.columns["behavior_level"][dataset.row_starts]
    found = []
    for i, agent in enumerate(dataset.spec.agents):
        for k, level in enumerate(LEVELS):
            mine = levels[:, i] == k
            if mine.any():
                spread = _spread(dataset.returns[mine])
                found.append(Played(agent=agent, level=level, share=float(mine.mean()), returns=spread))
    return tuple(found)


KEPT = (
    "recipe", "recipe_provenance", "paper_mean", "seed", "pool_hash", "backend", "reference_random",
    "reference_expert", "command", "content_hash",
)  # fmt: skip
"""Metadata shown as provenance."""


def describe(dataset: str | Path | Dataset, plots: Path | None = None) -> Description:
    """Statistics of a dataset, and pictures of them.

    Args:
        dataset: id, path, or one that is loaded.
        plots: folder for ``returns.png`` and ``agents.png``; None draws nothing.

    Raises:
        UnknownName, FormatError: no such dataset, a damaged or an empty one. OffmarlError: no place for the pictures.
    """
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset)
    if not len(data):
        raise FormatError(f"dataset {dataset!r} has no episodes to describe")
    ends = data.row_starts + data.lengths
    steps = int(data.lengths.sum())
    mine = np.concatenate([np.arange(s, e) for s, e in zip(data.row_starts, ends, strict=True)])
    found = Description(
        dataset=str(data.metadata.get("dataset_id") or (dataset if not isinstance(dataset, Dataset) else data.spec.id)),
        env_id=data.spec.id,
        agents=data.spec.agents,
        episodes=len(data),
        steps=steps,
        returns=_spread(data.returns),
        lengths=_spread(data.lengths.astype(np.float64)),
        terminated=float(data.columns["is_terminal"][ends].mean()),
        rewarded=float((data.columns["rewards"][mine] != 0).mean()),
        played=_played(data),
        provenance={k: data.metadata[k] for k in KEPT if data.metadata.get(k) is not None},
    )
    if plots is not None:
        _draw(data, found, plots)
    return found


def as_json(found: Description) -> dict[str, Any]:
    """Plain values for JSON."""
    return asdict(found)


def _line(name: str, s: Spread) -> str:
    low, q25, median, q75, high = s.quartiles
    return f"  {name:18}{s.mean:9.2f} ± {s.std:<7.2f} {low:8.2f} {q25:8.2f} {median:8.2f} {q75:8.2f} {high:8.2f}"


def as_text(found: Description) -> str:
    """A page for the terminal."""
    out = [
        f"{found.dataset}  ({found.env_id}: {' '.join(found.agents)})",
        f"{found.episodes} episodes, {found.steps} steps; {found.terminated:.1%} ended by themselves; "
        f"{found.rewarded:.1%} of the steps carry reward",
        "",
        f"  {'':18}{'mean':>9} ± {'std':7} {'least':>8} {'25 %':>8} {'median':>8} {'75 %':>8} {'most':>8}",
        _line("return", found.returns),
        _line("length", found.lengths),
    ]
    if found.played:
        out += ["", "Team return of the episodes in which an agent was played at a level:"]
        out += [_line(f"{p.agent} {p.level} {p.share:.0%}", p.returns) for p in found.played]
    out += ["", *(f"{k}: {v}" for k, v in found.provenance.items())]
    return "\n".join(out)


def _draw(data: Dataset, found: Description, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in (("returns", _returns_figure(data, found)), ("agents", _agents_figure(found))):
            figure.savefig(folder / f"{name}.png", dpi=DPI, bbox_inches="tight")
    except OSError as e:
        raise OffmarlError(f"{folder}: cannot write pictures there ({e.strerror}); choose another folder") from e


def _returns_figure(data: Dataset, found: Description) -> Figure:
    """Histogram of returns, one colour per composition of levels."""
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    levels = data.columns["behavior_level"][data.row_starts]
    kinds, kind = np.unique(levels, axis=0, return_inverse=True)
    edges = np.histogram_bin_edges(data.returns, BINS)
    parts = [data.returns[kind.ravel() == k] for k in range(len(kinds))]
    labels = [_composition(found.agents, row) for row in kinds]
    axes.hist(parts, edges.tolist(), stacked=True, label=labels)
    for name, style in (("reference_random", ":"), ("reference_expert", "--")):
        if isinstance(found.provenance.get(name), int | float):
            axes.axvline(found.provenance[name], color="black", linestyle=style, label=name.replace("_", " "))
    axes.set(xlabel="undiscounted team return", ylabel="episodes", title=found.dataset)
    axes.legend(fontsize="small")
    return figure


def _composition(agents: Sequence[str], row: Sequence[int]) -> str:
    letters = [LEVELS[k][0] if 0 <= k < len(LEVELS) else "?" for k in row]
    return " ".join(a + x for a, x in zip(agents, letters, strict=True))


def _agents_figure(found: Description) -> Figure:
    """How much of each agent's data is of which level."""
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    bottom = np.zeros(len(found.agents))
    for level in LEVELS:
        share = {p.agent: p.share for p in found.played if p.level == level}
        height = np.array([share.get(a, 0.0) for a in found.agents])
        axes.bar(found.agents, height, bottom=bottom, label=level)
        bottom += height
    axes.set(xlabel="agent", ylabel="share of episodes", title=f"{found.dataset}: who played")
    axes.legend()
    return figure
