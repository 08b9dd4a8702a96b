"""``reproduce decomposition``: what SIT's stage I made of the team reward (the paper's Fig. 3d)."""

from __future__ import annotations

import click

from offmarl_bench.cli.options import DatasetName, examples, json_option, print_json


@click.command(epilog=examples("offmarl-bench reproduce decomposition --dataset smac/2s3z/low"))
@click.option("--dataset", "datasets", type=DatasetName(), multiple=True, required=True, help="Repeatable.")
@json_option
def decomposition(datasets: tuple[str, ...], as_json: bool) -> None:
    """Do the agents that played badly get less of the reward? From finished runs of sit, against the known levels.

    Prints Markdown tables: the mean decomposed return of each agent by behaviour level, and how well priorities tell
    the levels apart.
    """
    from sit.decomposition import decompositions

    found = [decompositions(name) for name in datasets]
    if as_json:
        print_json([d.to_json() for d in found])
    else:
        click.echo("\n".join(d.to_markdown() for d in found), nl=False)
