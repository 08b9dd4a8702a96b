"""``bench engine|generate|load|train``: speed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from offmarl_bench.cli.options import DatasetName, cores, device_name, examples
from offmarl_bench.cli.table import text_table

if TYPE_CHECKING:
    from offmarl_bench.bench import Measurement

MAP = click.option("--map", "map_name", default="2s3z", show_default=True, help="A map of smac, or suite/map.")
SECONDS = click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), default=5.0, show_default=True, help="Per case."
)
JSON = click.option("--json", "as_json", is_flag=True, help="One line of JSON per case.")


def _env_id(map_name: str) -> str:
    return map_name if "/" in map_name else f"smac/{map_name}"


def three_digits(value: float) -> str:
    """Steps a second and seconds an update side by side: 826,159 and 0.0247."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _print(rows: Sequence[Measurement], as_json: bool) -> None:
    if as_json:
        for row in rows:
            click.echo(json.dumps(row.to_json()))
        return
    shown = [three_digits(r.value) for r in rows]
    width = max(map(len, shown), default=0)
    table = [(r.bench, r.case, s.rjust(width), r.unit, r.threads, r.seconds) for r, s in zip(rows, shown, strict=True)]
    click.echo(text_table(("bench", "case", "value", "unit", "threads", "seconds"), table))


@click.group(
    epilog=examples(
        "offmarl-bench bench engine --map 2s3z --json",
        "offmarl-bench bench engine --sweep --seconds 1     all maps, 1 to 4096 lanes, 1 and 2 processes",
        "offmarl-bench bench generate --workers 1 --workers 2",
        "offmarl-bench bench load --dataset smac/2s3z/low",
        "offmarl-bench bench train --agent bc --seconds 10",
    )
)
def bench() -> None:
    """Measure speed; JSON lines with --json."""


@bench.command(
    epilog=examples(
        "offmarl-bench bench engine --map 2s3z --json",
        "offmarl-bench bench engine --map 8m --map mpe/CN_3ls3l --num-envs 64 --num-envs 1024 --processes 2",
        "offmarl-bench bench engine --sweep --seconds 1",
    )
)
@click.option("--map", "map_names", multiple=True, help="A map of smac, or suite/map; repeatable; default: 2s3z.")
@click.option("--num-envs", type=click.IntRange(min=1), multiple=True, help="Lanes; repeatable; default: 256.")
@click.option("--processes", type=click.IntRange(min=1), multiple=True, help="Repeatable; default: 1.")
@click.option("--sweep", is_flag=True, help="Where nothing is named: all of smac's maps, 1 to 4096 lanes, 1 and 2.")
@SECONDS
@JSON
def engine(
    map_names: tuple[str, ...], num_envs: tuple[int, ...], processes: tuple[int, ...], sweep: bool, seconds: float,
    as_json: bool,
) -> None:  # fmt: skip
    """Environment steps per second, random legal actions, everything included.

    By the clock, and by the processor: on a machine that others use as well, the latter is what a core can do.
    """
    from offmarl_bench.bench import LANES, SWEEP_LANES, SWEEP_PROCESSES, sweep_engine
    from offmarl_bench.envs import get_suite

    maps = map_names or (get_suite("smac").maps() if sweep else ("2s3z",))
    rows = sweep_engine(
        [_env_id(m) for m in maps], lanes=num_envs or (SWEEP_LANES if sweep else (LANES,)),
        processes=processes or (SWEEP_PROCESSES if sweep else (1,)), seconds=seconds,
    )  # fmt: skip
    if as_json:
        for row in rows:  # one by one, because a sweep takes minutes
            _print([row], as_json)
    else:
        _print(list(rows), as_json)


@bench.command()
@MAP
@click.option("--quality", default="low", show_default=True)
@click.option("--episodes", type=click.IntRange(min=1), default=2048, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), multiple=True, help="Repeatable; default: 1 and all cores.")
@JSON
def generate(map_name: str, quality: str, episodes: int, workers: tuple[int, ...], as_json: bool) -> None:
    """Episodes per second of generating a dataset, start-up and writing included."""
    from offmarl_bench.bench import bench_generate

    counts = workers or tuple(sorted({1, cores()}))
    _print(bench_generate(_env_id(map_name), quality, episodes=episodes, workers=counts), as_json)


@bench.command()
@click.option("--dataset", type=DatasetName(), default="smac/2s3z/low", show_default=True)
@SECONDS
@JSON
def load(dataset: str, seconds: float, as_json: bool) -> None:
    """Reading a dataset into memory and batches per second from it, beside plain h5py and Minari."""
    from offmarl_bench.bench_load import bench_load

    _print(bench_load(dataset, seconds=seconds), as_json)


@bench.command()
@MAP
@click.option("--agent", "agents", multiple=True, help="NAME or NAME@PRESET, repeatable; default: all that can play.")
@click.option("--length", "lengths", type=click.IntRange(min=1), multiple=True, help="Steps of episodes: 60 and 120.")
@click.option("--device", default="cpu", show_default=True)
@SECONDS
@JSON
def train(
    map_name: str, agents: tuple[str, ...], lengths: tuple[int, ...], device: str, seconds: float, as_json: bool
) -> None:
    """Seconds an update of every phase of the agents, and their share of the core's matrix-multiply rate."""
    from offmarl_bench.bench_train import LENGTHS, bench_train, players

    env_id = _env_id(map_name)
    rows = bench_train(
        agents or players(env_id), env_id, lengths=lengths or LENGTHS, seconds=seconds, device=device_name(device)
    )
    _print(rows, as_json)
