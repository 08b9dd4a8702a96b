"""What the commands under ``reproduce`` share: their options, and how a figure is written and printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from offmarl_bench.cli.options import (
    EVALUATION_EPISODES,
    DatasetName,
    device_name,
    json_option,
    print_json,
    settings,
    training_options,
)

if TYPE_CHECKING:
    from offmarl_bench.reproduction import Effort

F = TypeVar("F", bound=Callable[..., Any])


def plots_option(command: F) -> F:
    """``--plots``."""
    return click.option(
        "--plots", type=click.Path(file_okay=False, path_type=Path), default=Path(), show_default="here",
        help="Folder for what is written.",
    )(command)  # fmt: skip


def datasets_option(default: str) -> Callable[[F], F]:
    """``--dataset``, repeatable; ``default`` says what is taken without it."""
    return click.option(
        "--dataset", "datasets", type=DatasetName(), multiple=True, help=f"Repeatable; default: {default}."
    )


def figure_options(command: F) -> F:
    """Options of every figure that trains agents; the command takes them as ``**options`` for ``effort``."""
    for option in (
        click.option("--no-generate", is_flag=True, help="Leave out datasets that are not here yet."),
        click.option("--executor", default="local", show_default=True, help="What the runs are spread over."),
        click.option("--episodes", type=click.IntRange(min=1), default=EVALUATION_EPISODES, show_default=True),
    ):
        command = option(command)
    return plots_option(json_option(training_options(command)))


def effort(options: Mapping[str, Any]) -> Effort:
    """The options of ``figure_options`` for the library."""
    from offmarl_bench.reproduction import Effort

    return Effort(
        seeds=options["seeds"], budget=options["budget"], episodes=options["episodes"], preset=options["preset"],
        overrides=settings(options["pairs"]), workers=options["workers"], executor=options["executor"],
        device=device_name(options["device"]),
        wandb=options["wandb"],
    )  # fmt: skip


def show(
    folder: Path, name: str, pictures: Sequence[Path], markdown: str, data: Any, missing: Sequence[str], as_json: bool
) -> None:
    """Write ``NAME.md`` and ``NAME.json`` beside the pictures and print one of them; what is missing stands in both."""
    from offmarl_bench.atomic import write_atomic

    text = markdown.rstrip("\n") + "\n" + "".join(f"\n- {line}\n" for line in missing)
    pages = "".join(f"![{name}]({p.name})\n" for p in pictures)
    whole = {"figure": name, "pictures": [str(p) for p in pictures], "missing": list(missing), "data": data}
    write_atomic(folder / f"{name}.md", f"# {name}\n\n{pages}\n{text}".encode())
    write_atomic(folder / f"{name}.json", f"{json.dumps(whole, indent=1)}\n".encode())
    if as_json:
        print_json(whole)
        return
    click.echo(text)
    for path in (*pictures, folder / f"{name}.md", folder / f"{name}.json"):
        click.echo(path)
