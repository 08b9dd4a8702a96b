"""``pool train`` and ``pool show``: the policies that datasets are played from."""

from __future__ import annotations

from pathlib import Path

import click

from offmarl_bench.cli.options import examples, json_option, print_json, workers_option
from offmarl_bench.cli.table import text_table


@click.group(epilog=examples("offmarl-bench pool train smac 2s3z --workers 2"))
def pool() -> None:
    """The policies that datasets are played from."""


@pool.command("train")
@click.argument("suite")
@click.argument("map_name", metavar="MAP")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Training seeds: 0, 1, …")
@click.option("--steps", type=click.IntRange(min=1), help="Environment steps of each seed; default: the pools' own.")
@workers_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder; default: in $OFFMARL_HOME.")
def pool_train(
    suite: str, map_name: str, seeds: int, steps: int | None, workers: int, out: Path | None
) -> None:  # fmt: skip
    """Train a pool for SUITE/MAP online, from several seeds, and sort what was saved into levels.

    A killed run goes on where it stopped; a finished one is made longer by asking for more steps.
    """
    from dataclasses import replace

    from offmarl_bench.pool_train import pool_training_of, train_pool

    own = pool_training_of(f"{suite}/{map_name}")
    online = own.online if steps is None else replace(own.online, steps=steps)
    config = replace(own, seeds=tuple(range(seeds)), online=online)
    click.echo(train_pool(f"{suite}/{map_name}", config, workers=workers, out=out))


@pool.command(
    "show", epilog=examples("offmarl-bench pool show smac 2s3z", "offmarl-bench pool show smac 2s3z --plot pool.png")
)
@click.argument("suite")
@click.argument("map_name", metavar="MAP")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw curves and members into a file.")
@json_option
def pool_show(suite: str, map_name: str, plot: Path | None, as_json: bool) -> None:
    """Show the members of a pool: level, return, wins, where they come from."""
    from dataclasses import asdict

    from offmarl_bench.pool import load_pool

    found = load_pool(f"{suite}/{map_name}")
    members = sorted(found.members, key=lambda m: m.return_mean)
    if plot is not None:
        from offmarl_bench.pool_plot import plot_pool

        plot_pool(found, plot)
    if as_json:
        print_json(
            {
                "env_id": found.env_id, "hash": found.hash, "low": found.low, "high": found.high,
                "thresholds": found.thresholds, "epsilon": found.epsilon, "members": [asdict(m) for m in members],
            }
        )  # fmt: skip
        return
    click.echo(f"{found.env_id}: {len(members)} members, hash {found.hash[:12]}")
    medium, expert = found.thresholds
    click.echo(
        f"random play {found.low:.2f}, best {found.high:.2f}; medium from {medium:.2f}, expert from {expert:.2f}; "
        f"members play with {found.exploration}"
    )
    header = ("member", "level", "return", "± std", "wins", "episodes", "seed", "steps")
    rows = [(m.name, m.level, m.return_mean, m.return_std, m.win_rate, m.episodes, m.seed, m.steps) for m in members]
    click.echo(text_table(header, rows))
