"""Seed by seed, what a mean of five hides: returns, from when on curves are flat, where values end, stage I of SIT.

    python benchmarks/seeds.py mpe/PP_3p1p/low mpe/PP_3p1p/medium

Reads the committed submissions and plays nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from leaderboard.bundle import SUBMISSIONS, Curves
from leaderboard.entries import DatasetScore, load_entries
from offmarl_bench.ids import newest_among

NEAR = 10.0
"""Points of return within which a curve counts as flat."""
LAST = 3
"""The points at a curve's end whose mean it has to stay near."""
STAGE_ONE = (0.3, 0.5, 1.0)
"""Shares of stage I at which its explained variance is shown."""


def flat_from(curve: Sequence[tuple[int, float]]) -> float:
    """Share of a curve from which on every point is near the mean of the last three; 1 or more: not before it ends."""
    values = np.array([value for _, value in curve])
    far = np.abs(values - values[-LAST:].mean()) > NEAR
    return (1 + (int(np.flatnonzero(far)[-1]) + 1 if far.any() else 0)) / len(values)


def logged(curves: Curves | None, metric: str, phase: str) -> list[float]:
    """What was logged of a metric in a phase; empty where it was not."""
    if curves is None or metric not in curves.metrics:
        return []
    pairs = zip(curves.phases, curves.metrics[metric], strict=True)
    return [float(value) for name, value in pairs if name == phase and value is not None]


def row(agent: str, score: DatasetScore) -> str:
    """One agent on one dataset."""
    flat = max(flat_from(curve) for curve in score.learning)
    targets = [logged(c, "target", "learn")[-1:] for c in score.curves]
    known = ", ".join(f"{x:.1f}" for one in targets for x in one)
    returns = ", ".join(str(round(x)) for x in score.greedy_means)
    numbers = f"{returns} | {f'{flat:.1f}' if flat < 1 else '–'} | {known or '–'}".replace("-", "−")
    return f"| {agent} | {numbers} |"


def stage_one(score: DatasetScore) -> str:
    """The explained variance of stage I, from the worst to the best seed, at some shares of it."""
    seeds = [logged(c, "explained_variance", "decompose") for c in score.curves]
    parts = []
    for share in STAGE_ONE:
        values = [one[round(share * len(one)) - 1] for one in seeds if one]
        parts.append(f"{min(values):.2f} to {max(values):.2f} after {share:.0%}")
    return "SIT, stage I, explained variance: " + "; ".join(parts)


@click.command()
@click.argument("datasets", nargs=-1, required=True)
@click.option("--budget", default="paper", show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=SUBMISSIONS, help="A folder of submissions.")
def main(datasets: tuple[str, ...], budget: str, results: Path) -> None:
    """Show the agents' seeds on DATASETS (the newest version where none is named)."""
    entries = [e for e in load_entries(results) if e.preset == "default" and not e.overrides]
    known = sorted({s.dataset for e in entries for s in e.scores})
    for asked in datasets:
        name = newest_among(asked, known)
        found = [(e.agent, s) for e in entries for s in e.scores if s.dataset == name and str(s.budget) == budget]
        if not found:
            raise click.UsageError(f"{asked}: no submission at budget {budget} in {results}; known: {', '.join(known)}")
        click.echo(f"### {name}\n\n| agent | greedy return | flat from | last mean target |\n|---|---|---|---|")
        for agent, score in found:
            click.echo(row(agent, score))
        click.echo("".join(f"\n{stage_one(score)}\n" for agent, score in found if agent == "sit"))


if __name__ == "__main__":
    main()
