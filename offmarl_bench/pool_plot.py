"""A picture of a pool: how its training seeds learned, and where its members were taken from."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from offmarl_bench.atomic import write_atomic
from offmarl_bench.errors import OffmarlError
from offmarl_bench.pool import Pool
from offmarl_bench.types import LEVELS

COLOURS = dict(zip(LEVELS, ("tab:red", "tab:orange", "tab:green"), strict=True))
MILLION = 1e6


def plot_pool(pool: Pool, path: Path) -> None:
    """Write a picture (PNG, SVG or PDF, by the file's ending) of the pool's learning curves and members.

    Raises:
        OffmarlError: the pool stores no curves, or the file cannot be written.
    """
    curves = pool.provenance.get("curves")
    if not isinstance(curves, dict) or not curves:
        raise OffmarlError(f"the pool of {pool.env_id} stores no learning curves; train it with `pool train`")
    knows_victory = any(m.win_rate is not None for m in pool.members)
    figure = Figure(figsize=(9 if knows_victory else 6, 3.6), layout="constrained")
    panels = figure.subplots(1, 1 + knows_victory, squeeze=False)[0]
    returns = panels[0]
    # Seeds that were trained for minutes only would be dots at the left edge; their members show all the same.
    longest = max(rows[-1]["steps"] for rows in curves.values())
    full = {seed: rows for seed, rows in curves.items() if rows[-1]["steps"] > longest / 2}
    _curves(returns, full, "return_mean", "greedy test return")
    if knows_victory:
        _curves(panels[1], full, "win_rate", "greedy test win rate")
        panels[1].set_ylim(-0.02, 1.02)
    for level, colour in COLOURS.items():
        there = [m for m in pool.members if m.level == level]
        returns.scatter([m.steps / MILLION for m in there], [m.return_mean for m in there], s=28, color=colour,
                        zorder=3, edgecolors="white", label=f"{level} members ({pool.exploration})")  # fmt: skip
    for bound in pool.thresholds:
        returns.axhline(bound, color="grey", linewidth=0.8, linestyle=":")
    returns.axhline(pool.low, color="grey", linewidth=0.8, linestyle="--", label="uniformly random play")
    returns.legend(fontsize="x-small", loc="lower right")
    figure.suptitle(f"Policy pool of {pool.env_id}", fontsize="medium")
    buffer = BytesIO()
    figure.savefig(buffer, format=path.suffix.lstrip(".").lower() or "png", dpi=110)
    write_atomic(path, buffer.getvalue())


def _curves(axes: Axes, curves: dict[str, list[dict[str, float]]], key: str, label: str) -> None:
    for seed, rows in curves.items():
        axes.plot([r["steps"] / MILLION for r in rows], [r[key] for r in rows], linewidth=1.1, label=f"seed {seed}")
    axes.set_xlabel("environment steps (millions)")
    axes.set_ylabel(label)
    axes.grid(alpha=0.2)
