"""``regenerate`` and ``manifest``: published versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from offmarl_bench.cli.failures import Failure
from offmarl_bench.cli.options import examples, json_option, print_json, workers_option
from offmarl_bench.cli.table import text_table
from offmarl_bench.errors import FormatError

DIGITS = 12
"""Digits of a hash that are shown."""


class PublishedId(click.ParamType[str]):
    """``suite/map/quality[-vN]``; a file is not asked for here."""

    name = "dataset"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what is no id; whether it was published is for the library to say."""
        from offmarl_bench.ids import parse_dataset_id

        try:
            return str(parse_dataset_id(str(value)))
        except FormatError as e:
            self.fail(str(e), param, ctx)


@click.command(
    epilog=examples(
        "offmarl-bench regenerate smac/2s3z/low", "offmarl-bench regenerate smac/2s3z/low-v1 --out again.h5 --json"
    )
)
@click.argument("dataset", type=PublishedId())
@workers_option
@click.option("--executor", default="local", show_default=True, help="What the work is spread over.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file; default: the dataset's place in $OFFMARL_HOME, or none if it is there already.",
)
@json_option
def regenerate(dataset: str, workers: int, executor: str, out: Path | None, as_json: bool) -> None:  # fmt: skip
    """Make a published dataset again from its recipe and compare it with what was published.

    On another machine arithmetic may differ in the last bit, and the content hash with it; then returns and lengths
    are compared. Exits with 1 if these differ by more than chance explains. A killed run goes on where it stopped.
    """
    from offmarl_bench import registry
    from offmarl_bench.regenerate import regenerate as run

    found = run(dataset, workers=workers, executor=registry.resolve("executors", executor)(workers), out=out)
    if as_json:
        print_json(found.to_json())
    else:
        click.echo(str(found))
    if found.outcome == "differs":
        worst = next(c for c in found.comparisons if not c.agrees)
        raise Failure(
            f"{found.id} came out otherwise than published: {worst.what} is {worst.here:.4f}, published "
            f"{worst.published:.4f}, {worst.allowed:.4f} allowed"
        )


@click.group()
def manifest() -> None:
    """The published versions: show them, or (for maintainers) add to them."""


@manifest.command(epilog=examples("offmarl-bench manifest show", "offmarl-bench manifest show --json"))
@json_option
def show(as_json: bool) -> None:
    """List what was published: how it was made and what came out."""
    from dataclasses import asdict

    from offmarl_bench.manifest import published

    found = list(published().values())
    if as_json:
        print_json([asdict(entry) for entry in found])
        return
    header = ("dataset", "episodes", "rows", "seed", "mean return", "backend", "pool", "hash", "recipe")
    rows = [
        (e.id, e.episodes, e.rows, e.seed, float(e.returns["mean"]), e.backend, e.pool_hash[:DIGITS],
         e.content_hash[:DIGITS], e.recipe) for e in found
    ]  # fmt: skip
    click.echo(text_table(header, rows))


@manifest.command(epilog=examples("offmarl-bench manifest add ~/.cache/offmarl-bench/datasets/smac/2s3z/low-v1.h5"))
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@json_option
def add(files: tuple[Path, ...], as_json: bool) -> None:
    """Add generated FILES to the manifest of this checkout; commit the two JSON files it writes.

    For maintainers. Every file is verified first. A version that was published with other content is refused: raise
    the version of its recipe instead.
    """
    from dataclasses import asdict

    from offmarl_bench.admit import admit as run

    found = run(files)
    if as_json:
        print_json([asdict(entry) for entry in found])
        return
    for entry in found:
        click.echo(f"{entry.id}  {entry.rows} rows  {entry.content_hash}")
