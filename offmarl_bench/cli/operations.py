"""``combine`` and ``subsample``: datasets made from datasets."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from offmarl_bench.cli.options import DatasetName, examples

log = logging.getLogger(__name__)

out_option = click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The new file, ending in .h5."
)


@click.command(
    epilog=examples(
        "offmarl-bench combine smac/2s3z/low smac/2s3z/medium --out both.h5",
        "offmarl-bench combine day1.h5 day2.h5 day3.h5 --out week.h5",
    )
)
@click.argument("datasets", nargs=-1, required=True, type=DatasetName())
@out_option
def combine(datasets: tuple[str, ...], out: Path) -> None:
    """Write the episodes of several DATASETS of one environment, one after the other, as one file.

    Streams: needs little memory for files of any size. The new file names its sources by their content hashes, which
    are checked on the way.
    """
    if len(datasets) < 2:
        raise click.UsageError("give at least two datasets, e.g. smac/2s3z/low smac/2s3z/medium")
    from offmarl_bench.combine import combine as run

    click.echo(run(datasets, out))


@click.command(
    epilog=examples(
        "offmarl-bench subsample smac/2s3z/low --episodes 1000 --out small.h5",
        "offmarl-bench subsample smac/2s3z/low --target-mean 7 --out better.h5",
        "offmarl-bench subsample smac/2s3z/low --level medium --agent z2 --out z2.h5",
    )
)
@click.argument("dataset", type=DatasetName())
@click.option("--episodes", type=click.IntRange(min=1), help="How many; alone: drawn at random.")
@click.option("--target-mean", type=float, help="Mean return that they should have, changing the rest least.")
@click.option("--level", help="Only episodes with every agent (or --agent) at this level: random, medium, expert.")
@click.option("--agent", help="The agent that --level is about, e.g. z2.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the choice.")
@out_option
def subsample(
    dataset: str, episodes: int | None, target_mean: float | None, level: str | None, agent: str | None, seed: int,
    out: Path,
) -> None:  # fmt: skip
    """Write some of a DATASET's episodes as a new file.

    --level filters first, then --episodes and --target-mean choose among what is left. With --target-mean alone
    half of the most episodes that can have that mean are kept.
    """
    if episodes is None and target_mean is None and level is None:
        raise click.UsageError("give --episodes, --target-mean or --level, e.g. --episodes 1000")
    from offmarl_bench.loader import load_dataset
    from offmarl_bench.subsample import subsample as run

    chosen = run(
        load_dataset(dataset), episodes=episodes, target_mean=target_mean, level=level, agent=agent, seed=seed
    )  # fmt: skip
    path = chosen.save(out)
    log.info("%d episodes, mean return %.4f", len(chosen), chosen.returns.mean())
    click.echo(path)
