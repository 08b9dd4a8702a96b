"""Options and parameter types that several commands share, so that each is spelled and checked the same way."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from typing import Any, TypeVar

import click

from offmarl_bench.errors import FormatError, OffmarlError, UnknownName

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_SEEDS = 5
"""The paper's number of training seeds."""
DEFAULT_EPISODES = 10_000
"""Episodes in a generated dataset, as in the paper."""
EVALUATION_EPISODES = 32
"""Episodes a trained agent is scored on."""


def cores() -> int:
    """Cores this process may use: the default number of workers."""
    from offmarl_bench.format import chunks

    return chunks.cores()


def examples(*lines: str) -> str:
    """The end of a help page: command lines to copy, kept as they are (that is what the backspace tells click)."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


class EnvId(click.ParamType[str]):
    """``suite/map``."""

    name = "suite/map"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what is not an id; whether it exists is for the library to say."""
        from offmarl_bench.envs import split_id

        try:
            split_id(value)
        except FormatError as e:
            self.fail(str(e), param, ctx)
        return str(value)


class DatasetName(click.ParamType[str]):
    """``suite/map/quality[-vN]``, or a path to an .h5 file."""

    name = "dataset"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what is neither an id nor looks like a file."""
        from offmarl_bench.ids import SUFFIX, parse_dataset_id

        if str(value).endswith(SUFFIX) or os.path.isfile(value):
            return str(value)
        try:
            parse_dataset_id(value)
        except FormatError as e:
            self.fail(str(e), param, ctx)
        return str(value)


class BudgetType(click.ParamType[str | int]):
    """``paper``, ``quick``, or a number of updates."""

    name = "paper|quick|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """See ``offmarl_bench.budget``."""
        from offmarl_bench.budget import parse_budget

        try:
            return parse_budget(value)
        except FormatError as e:
            self.fail(str(e), param, ctx)


class Setting(click.ParamType[tuple[str, Any]]):
    """``key=value`` with a TOML value; bare words are text."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """``beta=0.1`` → ("beta", 0.1); ``alpha=auto`` → ("alpha", "auto")."""
        if isinstance(value, tuple):
            return value
        key, equals, raw = str(value).partition("=")
        key, raw = key.strip(), raw.strip()
        if not equals or not key.isidentifier() or not raw:
            self.fail(f"{value!r}: expected key=value with a TOML value, e.g. beta=0.1", param, ctx)
        try:
            parsed = tomllib.loads(f"value = {raw}")
        except tomllib.TOMLDecodeError:
            return key, _word(raw)
        if set(parsed) != {"value"} or isinstance(parsed["value"], dict):
            self.fail(f"{value!r}: expected one TOML value, e.g. beta=0.1, name='x' or on=true", param, ctx)
        found = parsed["value"]
        return key, tuple(found) if isinstance(found, list) else found


def _word(raw: str) -> str | None:
    """Text without quotes, as a shell leaves it; ``none`` is None."""
    return None if raw.lower() == "none" else raw


def settings(pairs: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """The pairs of ``--set`` as a mapping. Raises UsageError when a key is set twice."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise click.UsageError(f"--set {key} is given twice")
        found[key] = value
    return found


def device_name(device: str) -> str:
    """``auto`` → a GPU where there is one, else the CPU.

    Raises:
        OffmarlError: a device that does not exist here.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as e:
        raise OffmarlError(f"device {device!r} cannot be used here: {str(e).splitlines()[0]}; try --device cpu") from e
    return device


def print_json(value: Any) -> None:
    """Machine-readable output: one JSON document on stdout."""
    click.echo(json.dumps(value, indent=1, allow_nan=False))


def json_option(command: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")(command)


def workers_option(command: F) -> F:
    """``--workers``."""
    return click.option(
        "--workers", type=click.IntRange(min=1), default=cores, show_default="all cores",
        help="Processes. Changes how long it takes, never the result.",
    )(command)  # fmt: skip


def backend_option(command: F) -> F:
    """``--backend``."""
    return click.option(
        "--backend", type=click.Choice(["embedded", "sc2"]), default="embedded", show_default=True,
        help="What plays smac's maps: our engine, or the real game (suite smac-sc2; see docs/sc2.md).",
    )(command)  # fmt: skip


def played_suite(suite: str, backend: str) -> str:
    """The suite that plays SUITE's maps by a backend. Raises BadParameter where there is none."""
    from offmarl_bench.envs import backend_suite

    try:
        return backend_suite(suite, backend)
    except UnknownName as e:
        raise click.BadParameter(str(e), param_hint="--backend") from e


def training_options(command: F) -> F:
    """The options of everything that trains agents."""
    for option in reversed(
        [
            click.option(
                "--seeds", type=click.IntRange(min=1), default=DEFAULT_SEEDS, show_default=True,
                help="How many training seeds: 0, 1, …",
            ),
            click.option(
                "--budget", type=BudgetType(), default="paper", show_default=True,
                help="The paper's length, a quick look, or a number of updates.",
            ),
            click.option("--preset", default="default", show_default=True, help="Settings: default, paper, …"),
            click.option(
                "--set", "pairs", type=Setting(), multiple=True, help="One setting, e.g. --set beta=0.1; repeatable."
            ),
            click.option(
                "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …"
            ),
            click.option(
                "--wandb", metavar="PROJECT", help="Send metrics to this project of Weights & Biases as well."
            ),
        ]
    ):  # fmt: skip
        command = option(command)
    return workers_option(command)
