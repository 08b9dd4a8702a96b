"""``submit``: stored results and policies → one folder, or a pull request on the Hub."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from offmarl_bench.cli.options import DatasetName, Setting, examples, json_option, print_json, settings

FORMS = ("auto", "weights", "onnx", "none")
MB = 1e6


@click.command(
    epilog=examples(
        'offmarl-bench submit --agent sit --name "SIT (reference)"',
        'offmarl-bench submit --agent my_agent.agent:Mine --name Mine --author "A. Person" --out mine',
        "offmarl-bench submit --agent bc --name BC --dataset smac/2s3z/low --hub ORG/leaderboard",
    )
)
@click.option("--agent", required=True, help="Whose stored results: a registered name, or module:attr.")
@click.option("--name", required=True, help="Title of the entry.")
@click.option("--dataset", "datasets", type=DatasetName(), multiple=True, help="Repeatable; default: all with results.")
@click.option("--preset", default="default", show_default=True, help="Of the results.")
@click.option("--set", "pairs", type=Setting(), multiple=True, help="A setting of the results, as in evaluate.")
@click.option("--description", default="", help="A sentence or two of plain text.")
@click.option("--author", "authors", multiple=True, help="Repeatable.")
@click.option("--url", default=None, help="https://… of code or paper.")
@click.option("--readme", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="More words, Markdown.")
@click.option(
    "--policies",
    type=click.Choice(FORMS),
    default="auto",
    show_default=True,
    help="How policies go in. auto: weights for agents of this package, an ONNX graph for any other.",
)
@click.option(
    "--graphs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Graphs of your own making, DATASET_seed-K.onnx, with - for / in DATASET.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to make; default: one named after NAME, here.")
@click.option("--hub", metavar="ORG/NAME", help="Open it as a pull request on this dataset repository, too.")
@json_option
def submit(
    agent: str, name: str, datasets: tuple[str, ...], preset: str, pairs: tuple[tuple[str, Any], ...], description: str,
    authors: tuple[str, ...], url: str | None, readme: Path | None, policies: str, graphs: Path | None,
    out: Path | None, hub: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Bundle what `evaluate` stored into a submission for the leaderboard.

    Results, settings, versions, dataset hashes and the trained policies go into one folder; nothing is sent anywhere
    without --hub.
    """
    from leaderboard.bundle import bundle_files, bundle_hash
    from leaderboard.known import known_datasets
    from leaderboard.send import check_target, open_pull_request
    from leaderboard.submit import default_slug
    from leaderboard.submit import submit as make
    from leaderboard.validate import validate

    if hub is not None:
        check_target(hub)
    path = make(
        agent, name, out=out or Path(default_slug(name)), datasets=datasets, preset=preset, overrides=settings(pairs),
        description=description, authors=authors, url=url, policies=policies, graphs=graphs,
        readme=None if readme is None else readme.read_text(encoding="utf-8"),
    )  # fmt: skip
    try:
        checked = validate(path, known=known_datasets(local=True), trust=True)
        request = open_pull_request(path, hub) if hub is not None else None
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)  # so that the same command can be given again
        raise
    size = sum((path / f).stat().st_size for f in bundle_files(path))
    if as_json:
        print_json(
            {"path": str(path), "hash": bundle_hash(path), "results": len(checked.bundle.results), "bytes": size,
             "policies": checked.policies, "pull_request": request}
        )  # fmt: skip
        return
    click.echo(f"{path}: {len(checked.bundle.results)} results, {checked.policies} policies, {size / MB:.1f} MB")
    click.echo(f"hash {bundle_hash(path)}")
    if request is not None:
        click.echo(f"pull request {request}")
    else:
        click.echo(f"next: offmarl-bench leaderboard verify {path}")
