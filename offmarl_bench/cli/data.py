"""``generate``, ``verify``: datasets."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from offmarl_bench.cli.failures import Failure
from offmarl_bench.cli.options import (
    DEFAULT_EPISODES,
    DatasetName,
    backend_option,
    examples,
    json_option,
    played_suite,
    print_json,
    workers_option,
)
from offmarl_bench.errors import FormatError

log = logging.getLogger(__name__)


def _check_recipe(env_id: str, recipe: str) -> None:
    """A recipe with a slip is a usage error (exit 2), unlike whatever fails later."""
    from offmarl_bench.envs import get_spec
    from offmarl_bench.recipes import parse_recipe

    try:
        parse_recipe(recipe, get_spec(env_id))
    except FormatError as e:
        raise click.BadParameter(str(e), param_hint="--recipe") from e


def _generate_dial(
    env_id: str, imbalance: float, expert: str | None, *, twin: bool, episodes: int, seed: int, workers: int,
    executor: str, out: Path | None, overwrite: bool,
) -> None:  # fmt: skip
    """``generate --imbalance``: the dataset, then its twin beside it."""
    from offmarl_bench import registry
    from offmarl_bench.dial import dial, generate_imbalanced
    from offmarl_bench.twin import generate_twin

    try:
        where = dial(env_id, imbalance, expert)
    except FormatError as e:
        raise click.BadParameter(str(e), param_hint="--imbalance") from e
    spread = registry.resolve("executors", executor)(workers)
    path = generate_imbalanced(
        where, episodes=episodes, seed=seed, workers=workers, executor=spread, out=out, overwrite=overwrite
    )  # fmt: skip
    click.echo(path)
    if twin:
        beside = None if out is None else out.with_name(f"{out.stem}-twin{out.suffix}")
        other, match = generate_twin(
            where, path, workers=workers, executor=spread, out=beside, overwrite=overwrite
        )  # fmt: skip
        click.echo(other)
        log.info("%s", match)


@click.command(
    epilog=examples(
        "offmarl-bench generate smac 2s3z --quality low",
        'offmarl-bench generate smac 2s3z --recipe "50%[s1r,s2r,z1r,z2r,z3r] + 50%[s1r,s2m,z1r,z2m,z3m]" --out mine.h5',
        "offmarl-bench generate smac 2s3z --imbalance 0.5             and its return-matched balanced twin",
        "offmarl-bench generate smac 2s3z --quality low --backend sc2  in the real game",
    )
)
@click.argument("suite")
@click.argument("map_name", metavar="MAP")
@click.option("--quality", help="A named recipe, e.g. low or medium.")
@click.option("--recipe", help="A recipe in the paper's notation.")
@click.option("--imbalance", type=click.FloatRange(0, 1), help="0: all agents alike … 1: one expert among randoms.")
@click.option("--expert", help="With --imbalance: who is the expert; default: the first agent; 'each': in turn.")
@click.option("--no-twin", is_flag=True, help="With --imbalance: without the return-matched balanced twin.")
@click.option("--episodes", type=click.IntRange(min=1), default=DEFAULT_EPISODES, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Master seed.")
@workers_option
@click.option("--executor", default="local", show_default=True, help="What the work is spread over.")
@backend_option
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file; default: in $OFFMARL_HOME.")
@click.option("--overwrite", is_flag=True, help="Replace another dataset that is in the way.")
def generate(
    suite: str, map_name: str, quality: str | None, recipe: str | None, imbalance: float | None, expert: str | None,
    no_twin: bool, episodes: int, seed: int, workers: int, executor: str, backend: str, out: Path | None,
    overwrite: bool,
) -> None:  # fmt: skip
    """Generate a dataset of SUITE/MAP by playing trained policies in the composition of a recipe.

    With --imbalance, two datasets: one whose agents are as unequal as asked for, and a balanced twin with the same
    mean return (docs/datasets.md). A killed run goes on where it stopped, and ends with the same content.
    """
    if imbalance is None and (expert is not None or no_twin):
        raise click.UsageError("--expert and --no-twin go with --imbalance")
    if sum(given is not None for given in (quality, recipe, imbalance)) != 1:
        raise click.UsageError("give one of --quality, --recipe and --imbalance, e.g. --quality low")
    env_id = f"{played_suite(suite, backend)}/{map_name}"
    if imbalance is not None:
        _generate_dial(
            env_id, imbalance, expert, twin=not no_twin, episodes=episodes, seed=seed, workers=workers,
            executor=executor, out=out, overwrite=overwrite,
        )  # fmt: skip
        return
    from offmarl_bench import registry
    from offmarl_bench.generate import generate as run

    if recipe is not None:
        _check_recipe(env_id, recipe)
    path = run(
        env_id, recipe=recipe, quality=quality, episodes=episodes, seed=seed, workers=workers,
        executor=registry.resolve("executors", executor)(workers), out=out, overwrite=overwrite,
    )  # fmt: skip
    click.echo(path)


@click.command(epilog=examples("offmarl-bench verify smac/2s3z/low", "offmarl-bench verify downloaded.h5 --json"))
@click.argument("dataset", type=DatasetName())
@json_option
def verify(dataset: str, as_json: bool) -> None:
    """Check a dataset: hash, schema, and what is wrong or unwise in its content.

    Exits with 1 if anything is wrong.
    """
    from offmarl_bench import audit as library

    report = library.verify(dataset)
    if as_json:
        print_json(report.to_json())
    elif report.episodes:  # else the file could not be read, and the line below says all there is to say
        click.echo(str(report))
    errors = [f for f in report.findings if f.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise Failure(f"{report.path} is not ok: {errors[0]}{more}")
