"""``demo``: the whole way on a small budget."""

from __future__ import annotations

import click

from offmarl_bench.cli.options import BudgetType, EnvId, device_name, examples, workers_option

AGENTS = ("bc", "sit")
"""What the demo compares: plain cloning, and the paper's agent."""
FOLDER = "demo"
"""Its home inside ``$OFFMARL_HOME``: a small dataset must not be taken for the real one of the same name."""


@click.command(epilog=examples("offmarl-bench demo", "offmarl-bench demo --seeds 1 --budget 200"))
@click.option("--map", "env_id", type=EnvId(), default="smac/2s3z", show_default=True, help="suite/map to play.")
@click.option("--quality", default="low", show_default=True)
@click.option("--episodes", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--seeds", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--budget", type=BudgetType(), default="quick", show_default=True)
@click.option("--device", default="auto", show_default=True)
@workers_option
def demo(env_id: str, quality: str, episodes: int, seeds: int, budget: str | int, device: str, workers: int) -> None:
    """Generate a small dataset, train BC and SIT briefly, play, and print the table.

    Meant to show that everything works, in minutes. Its scores are not results: the data are a tenth and the
    training a twentieth of the paper's.
    """
    import os

    from offmarl_bench import home
    from offmarl_bench.demo import demo as run
    from offmarl_bench.report import build_report
    from offmarl_bench.report_formats import render

    place = home.home() / FOLDER
    os.environ[home.VARIABLE] = str(place)
    results = run(
        AGENTS, env_id=env_id, quality=quality, episodes=episodes, seeds=seeds, budget=budget, workers=workers,
        device=device_name(device),
    )  # fmt: skip
    click.echo(render(build_report(results, seeds=seeds)))
    click.echo(f"The dataset, the trained agents and the results are under {place}")
