"""``describe``: what is in a dataset, as a page for the terminal, as JSON, as pictures."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from offmarl_bench.cli.options import DatasetName, examples, json_option, print_json

if TYPE_CHECKING:
    from offmarl_bench.describe_text import Terminal

GRAPHICS = "░█"
"""If stdout cannot carry these, it gets plain characters."""


def terminal() -> Terminal:
    """What stdout can show: colour only at a terminal, and never where NO_COLOR is set (https://no-color.org)."""
    from offmarl_bench.describe_text import Terminal

    try:
        GRAPHICS.encode(sys.stdout.encoding or "ascii")
        unicode = True
    except (UnicodeEncodeError, LookupError):
        unicode = False
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return Terminal(width=shutil.get_terminal_size().columns, colour=sys.stdout.isatty() and not plain, unicode=unicode)


@click.command(
    epilog=examples("offmarl-bench describe smac/2s3z/low", "offmarl-bench describe mine.h5 --plots pictures --json")
)
@click.argument("dataset", type=DatasetName())
@click.option(
    "--plots", type=click.Path(file_okay=False, path_type=Path),
    help="Also draw returns.png, agents.png and coverage.png into this folder.",
)  # fmt: skip
@json_option
def describe(dataset: str, plots: Path | None, as_json: bool) -> None:
    """Who is good in which share of a dataset, returns, lengths and coverage.

    The JSON is described in docs/describe.md.
    """
    from offmarl_bench import describe as library

    found = library.describe(dataset)
    if plots is not None:
        from offmarl_bench.describe_plots import write_pictures

        write_pictures(found, plots)
    if as_json:
        print_json(library.as_json(found))
    else:
        from offmarl_bench.describe_text import as_text

        click.echo(as_text(found, terminal()))
