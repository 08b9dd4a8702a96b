"""``card``: a dataset's page, made from its file."""

from __future__ import annotations

from pathlib import Path

import click

from offmarl_bench.cli.failures import Failure
from offmarl_bench.cli.options import DatasetName, examples

DEFAULT_OUT = Path("datasets_cards")


@click.command(
    epilog=examples(
        "offmarl-bench card smac/2s3z/low                one card, from its file",
        "offmarl-bench card --published                  all published datasets that are here; `make cards`",
        "offmarl-bench card --check                      is any card in datasets_cards stale?",
    )
)
@click.argument("datasets", metavar="[DATASET]...", nargs=-1, type=DatasetName())
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=DEFAULT_OUT, show_default=True,
    help="The folder of cards.",
)  # fmt: skip
@click.option("--published", is_flag=True, help="Cards of all published datasets here; the others are drawn again.")
@click.option("--check", is_flag=True, help="Write nothing; fail if a card is stale.")
def card(datasets: tuple[str, ...], out: Path, published: bool, check: bool) -> None:
    """Write the cards of datasets: Markdown, pictures, and the data that both are made from.

    Prints the Markdown files. Doing it again changes nothing.
    """
    from offmarl_bench import card_files as library

    if check == bool(datasets or published):
        raise click.UsageError("name datasets or give --published; or --check alone, which writes nothing")
    if check:
        found = library.stale(out)
        for line in found:
            click.echo(line)
        if found:
            raise Failure(f"{len(found)} faults in the cards under {out}")
        click.echo(f"{len(library.stored(out))} cards under {out}, all up to date")
        return
    _write([*datasets, *(library.published_here() if published else [])], out, published)


def _write(names: list[str], out: Path, redraw: bool) -> None:
    from tqdm import tqdm

    from offmarl_bench import card_files as library

    done = []
    for name in tqdm(names, desc="cards", unit="dataset", disable=None):
        done.append(library.write_card(name, out))
        click.echo(done[-1])
    for path in library.stored(out) if redraw else ():
        if path.with_suffix(".md") not in done:
            click.echo(library.redraw(path, out))
    library.write_list(out)
