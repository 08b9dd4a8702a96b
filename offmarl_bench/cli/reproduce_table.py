"""``reproduce table1`` and ``reproduce profiles``: all agents over all datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from offmarl_bench.cli.figures import datasets_option, effort, figure_options, plots_option, show
from offmarl_bench.cli.options import examples, json_option


@click.command(
    epilog=examples(
        "offmarl-bench reproduce table1 --budget quick --plots plots",
        "offmarl-bench reproduce table1 --dataset mpe/CN_3ls3l/low --dataset mpe/CN_3ls3l/medium",
    )
)
@datasets_option("the 22 of the table")
@figure_options
def table1(datasets: tuple[str, ...], plots: Path, as_json: bool, no_generate: bool, **options: Any) -> None:
    """Table 1: every agent of the paper on every dataset that can be had, the paper's value beside.

    Finished runs are reused. Datasets that are not here are generated first, where their map has a pool; each row that
    cannot be run is named with what it lacks.
    """
    from offmarl_bench.paper import paper_table
    from offmarl_bench.table1 import run_table1

    how = effort(options)
    table = run_table1(datasets or tuple(paper_table().values), how, make=not no_generate)
    show(plots, "table1", [table.plot(plots / "table1.png")], table.markdown(), table.records(), table.missing, as_json)


@click.command(epilog=examples("offmarl-bench reproduce profiles --plots plots"))
@datasets_option("all results")
@plots_option
@json_option
def profiles(datasets: tuple[str, ...], plots: Path, as_json: bool) -> None:
    """Performance profiles of stored results: the share of runs above every normalised score.

    Over the datasets that all agents share. `offmarl-bench table` has the interquartile means and the probabilities of
    improvement that belong to them.
    """
    from dataclasses import asdict

    from offmarl_bench.profiles import plot_profiles, to_markdown
    from offmarl_bench.profiles import profiles as find
    from offmarl_bench.results import load_results, of_datasets

    results = load_results()
    found = find(of_datasets(results, datasets) if datasets else results)
    show(plots, "profiles", [plot_profiles(found, plots)], to_markdown(found), [asdict(p) for p in found], [], as_json)
