"""``reproduce fig1``: why the paper exists, ICQ on agent-wise imbalanced data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from offmarl_bench.cli.figures import datasets_option, effort, figure_options, show
from offmarl_bench.cli.options import examples

IMBALANCED = "smac/3s_vs_5z/fig1"


@click.command(
    epilog=examples(
        "offmarl-bench reproduce fig1 --budget quick --plots plots",
        "offmarl-bench reproduce fig1 --dataset mpe/CN_3ls3l/low",
    )
)
@datasets_option(IMBALANCED)
@figure_options
def fig1(datasets: tuple[str, ...], plots: Path, as_json: bool, no_generate: bool, **options: Any) -> None:
    """Figure 1(f): ICQ on data in which one agent plays well, against the joint policies that the data come from.

    And on the same data with individual trajectories exchanged at random among agents of a type.
    """
    from baselines.exchanged import figure1
    from offmarl_bench.comparison import plot_panels, to_json, to_markdown
    from offmarl_bench.reproduction import ready

    how = effort(options)
    there, missing = ready(datasets or (IMBALANCED,), workers=how.workers, make=not no_generate)
    panels = []
    for name in there:
        found, failed = figure1(name, how)
        panels.append(found)
        missing += failed
    show(plots, "fig1", [plot_panels(panels, plots / "fig1.png")], to_markdown(panels), to_json(panels), missing,
         as_json)  # fmt: skip
