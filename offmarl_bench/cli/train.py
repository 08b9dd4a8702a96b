"""``train``: agents on a dataset."""

from __future__ import annotations

from typing import Any

import click

from offmarl_bench.cli.options import DatasetName, device_name, examples, settings, training_options


@click.command(
    epilog=examples(
        "offmarl-bench train sit smac/2s3z/low --seeds 3 --budget quick",
        "offmarl-bench train my_package:MyAgent mine.h5 --set learning_rate=1e-4",
    )
)
@click.argument("agent")
@click.argument("dataset", type=DatasetName())
@training_options
def train(
    agent: str, dataset: str, seeds: int, budget: str | int, preset: str, pairs: tuple[tuple[str, Any], ...],
    device: str, workers: int, wandb: str | None,
) -> None:  # fmt: skip
    """Train AGENT on DATASET with several seeds; prints the folder of each run.

    Finished runs are not repeated and killed ones resume, to the same weights. Metrics are in each folder as JSON
    lines and CSV (log, curve) and for TensorBoard.
    """
    from offmarl_bench.train_runs import train_runs

    folders = train_runs(
        agent, dataset, seeds=seeds, budget=budget, preset=preset, overrides=settings(pairs),
        device=device_name(device), workers=workers, wandb=wandb,
    )  # fmt: skip
    for folder in folders:
        click.echo(folder)
