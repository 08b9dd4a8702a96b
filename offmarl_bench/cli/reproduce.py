"""``reproduce``: figures and tables of the paper. Those that belong to one agent come with that agent's package."""

from __future__ import annotations

from pathlib import Path

import click

from offmarl_bench import registry
from offmarl_bench.cli.group import OffmarlGroup
from offmarl_bench.cli.options import DatasetName, examples, json_option, print_json


class ReproductionGroup(OffmarlGroup):
    """Ours, then those that other packages bring through ``offmarl_bench.reproductions``."""

    kind: registry.Kind = "reproductions"


@click.group(
    cls=ReproductionGroup,
    epilog=examples(
        "offmarl-bench reproduce curves --plots plots",
        "offmarl-bench reproduce decomposition --dataset smac/2s3z/low",
    ),
)
def reproduce() -> None:
    """Figures and tables of the paper, from stored runs and results."""


@reproduce.command(epilog=examples("offmarl-bench reproduce curves --dataset smac/2s3z/low-v1 --plots plots"))
@click.option("--dataset", "datasets", type=DatasetName(), multiple=True, help="Repeatable; default: all results.")
@click.option(
    "--plots", type=click.Path(file_okay=False, path_type=Path), default=Path(), show_default="here",
    help="Folder for curves.png.",
)  # fmt: skip
@json_option
def curves(datasets: tuple[str, ...], plots: Path, as_json: bool) -> None:
    """Plot the learning curves of stored results: mean and range over seeds, a panel for each dataset."""
    from dataclasses import asdict

    from offmarl_bench.curves import curves as find
    from offmarl_bench.curves import plot_curves
    from offmarl_bench.results import load_results, of_datasets

    results = load_results()
    found = find(of_datasets(results, datasets) if datasets else results)
    path = plot_curves(found, plots)
    if as_json:
        print_json({"plot": str(path), "curves": [asdict(c) for c in found]})
    else:
        click.echo(path)
