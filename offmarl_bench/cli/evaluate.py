"""``evaluate`` and ``table``: scores."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from offmarl_bench.cli.options import (
    DEFAULT_EPISODES,
    EVALUATION_EPISODES,
    BudgetType,
    DatasetName,
    backend_option,
    device_name,
    examples,
    json_option,
    played_suite,
    print_json,
    settings,
    training_options,
)

log = logging.getLogger(__name__)

FIRST = ("smac/2s3z", "low")
"""What is generated when there is no dataset at all."""
REAL = "smac"
"""The suite that has another backend than the embedded one."""
FORMATS = ("text", "md", "latex", "csv", "json", "html", "marl-eval")


def _datasets(given: tuple[str, ...], workers: int) -> list[str]:
    """The named datasets, else all there are, else a first one."""
    if given:
        return list(given)
    from offmarl_bench.ids import local_datasets

    here = [str(d) for d in local_datasets()]
    if here:
        log.info("no --dataset given: taking all of %s", ", ".join(here))
        return here
    from offmarl_bench.generate import generate

    env_id, quality = FIRST
    log.info("no dataset here yet: generating %s/%s first (%d episodes)", env_id, quality, DEFAULT_EPISODES)
    generate(env_id, quality=quality, episodes=DEFAULT_EPISODES, workers=workers)
    return [str(d) for d in local_datasets()]


@click.command(
    epilog=examples(
        "offmarl-bench evaluate sit",
        "offmarl-bench evaluate bc sit --dataset smac/2s3z/low --seeds 3 --budget quick",
        "offmarl-bench evaluate sit@paper --dataset smac/2s3z/low --set hidden=32",
        "offmarl-bench evaluate sit --dataset smac/2s3z/low --backend sc2",
    )
)
@click.argument("agents", nargs=-1, required=True, metavar="AGENT...")
@click.option("--dataset", "datasets", type=DatasetName(), multiple=True, help="Repeatable; default: all there are.")
@click.option("--episodes", type=click.IntRange(min=1), default=EVALUATION_EPISODES, show_default=True)
@click.option("--executor", default="local", show_default=True, help="What the runs are spread over.")
@backend_option
@training_options
@json_option
def evaluate(
    agents: tuple[str, ...], datasets: tuple[str, ...], episodes: int, executor: str, backend: str, seeds: int,
    budget: str | int, preset: str, pairs: tuple[tuple[str, Any], ...], device: str, workers: int, wandb: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Train what has no finished run, play, and print a report in the layout of the paper's Table 1.

    Without --dataset every dataset under $OFFMARL_HOME is taken; where there is none, smac/2s3z/low is generated.
    With --backend sc2 agents are trained as always and scored in the real game; `table --backend sc2` shows those.
    """
    from offmarl_bench.evaluation import benchmark
    from offmarl_bench.report import build_report
    from offmarl_bench.report_formats import render

    overrides = settings(pairs)
    results = benchmark(
        list(agents), _datasets(datasets, workers), seeds=seeds, episodes=episodes, budget=budget, workers=workers,
        executor=executor, preset=preset, overrides=overrides, device=device_name(device), wandb=wandb,
        backend=backend,
    )  # fmt: skip
    if as_json:
        from offmarl_bench.records import to_json

        print_json([to_json(r) for r in results])
    else:
        click.echo(render(build_report(results, seeds=seeds)), nl=False)


@click.command(
    epilog=examples(
        "offmarl-bench table",
        "offmarl-bench table --format latex --dataset smac/2s3z/low-v1",
        "offmarl-bench table --agent sit --agent icq --budget paper",
        "offmarl-bench table --results leaderboard/submissions --dataset mpe/CN_3ls3l/low",
    )
)
@click.option("--format", "layout", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--dataset", "datasets", type=DatasetName(), multiple=True, help="Repeatable; default: all results.")
@click.option("--agent", "agents", multiple=True, help="Repeatable; default: all with results.")
@click.option("--budget", type=BudgetType(), help="Only runs of this length.  [default: the longest of each agent]")
@click.option(
    "--results",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of results, or of submissions.  [default: those under $OFFMARL_HOME]",
)
@backend_option
def table(
    layout: str, datasets: tuple[str, ...], agents: tuple[str, ...], budget: str | int | None, directory: Path | None,
    backend: str,
) -> None:  # fmt: skip
    """Print the stored results as a table: Behavior, the agents, the paper's value beside."""
    from offmarl_bench.envs import EMBEDDED
    from offmarl_bench.home import results_dir
    from offmarl_bench.report import build_report
    from offmarl_bench.report_formats import render
    from offmarl_bench.results import load_results, of_agents, of_budget, of_datasets

    stored = results_dir("" if backend == EMBEDDED else played_suite(REAL, backend))
    results = load_results(directory or stored)
    results = of_datasets(results, datasets) if datasets else results
    results = of_agents(results, agents) if agents else results
    results = of_budget(results, budget) if budget is not None else results
    if layout == "marl-eval":
        from offmarl_bench.marl_eval import to_marl_eval

        click.echo(to_marl_eval(results), nl=False)
        return
    click.echo(render(build_report(results), layout), nl=False)
