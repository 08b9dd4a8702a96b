"""The root of the command line: version, verbosity, and the list of commands."""

from __future__ import annotations

import logging

import click

from offmarl_bench.cli.bench import bench
from offmarl_bench.cli.card import card
from offmarl_bench.cli.data import generate, verify
from offmarl_bench.cli.demo import demo
from offmarl_bench.cli.describe import describe
from offmarl_bench.cli.doctor import doctor
from offmarl_bench.cli.evaluate import evaluate, table
from offmarl_bench.cli.group import OffmarlGroup
from offmarl_bench.cli.hub import pull, push
from offmarl_bench.cli.interop import export, import_
from offmarl_bench.cli.operations import combine, subsample
from offmarl_bench.cli.options import examples
from offmarl_bench.cli.play import play
from offmarl_bench.cli.pool import pool
from offmarl_bench.cli.reproduce import reproduce
from offmarl_bench.cli.show import agents, datasets, envs
from offmarl_bench.cli.train import train
from offmarl_bench.cli.versions import manifest, regenerate

OUR_PACKAGES = ("offmarl_bench", "sit", "baselines", "leaderboard")


class _Stderr(logging.Handler):
    """Log lines to whatever stderr is now, without tearing a progress bar apart."""

    def emit(self, record: logging.LogRecord) -> None:
        import sys

        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def _log_to_stderr(level: int) -> None:
    for name in OUR_PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = False
        logger.handlers = [_Stderr()]


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"offmarl-bench {version('offmarl-bench')}")
        ctx.exit()


@click.group(
    cls=OffmarlGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "offmarl-bench demo                                 the whole way on a small budget",
        "offmarl-bench generate smac 2s3z --quality low",
        "offmarl-bench evaluate bc sit --dataset smac/2s3z/low",
    ),
)
@click.option("-v", "--verbose", is_flag=True, help="Log more to stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Log warnings only.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def main(verbose: bool, quiet: bool) -> None:
    """Offline multi-agent reinforcement learning with imbalanced data.

    Results go to stdout, logs and progress bars to stderr. Files live under $OFFMARL_HOME.
    """
    _log_to_stderr(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)


for _command in (
    demo, envs, datasets, agents, generate, combine, subsample, regenerate, manifest, describe, card, verify,
    doctor, pool, play, train, evaluate, table, reproduce, push, pull, bench, export, import_
):  # fmt: skip
    main.add_command(_command)
