"""The command line in this process, on the toy task."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from offmarl_bench.cli import main
from offmarl_bench.pool import save_pool
from tests.cli.outcome import DATA, Run, succeed
from tests.toy_pool import toy_pool


@pytest.fixture
def run(home: Path) -> Run:
    """Calls the command line in this process."""

    def call(*args: str | Path) -> Result:
        return CliRunner().invoke(main, [str(a) for a in args], prog_name="offmarl-bench")

    return call


@pytest.fixture
def pool(home: Path) -> Path:
    """A pool of toy/signals where `generate` looks for one."""
    return save_pool(toy_pool(), home / "pools" / "toy" / "signals")


@pytest.fixture
def data(run: Run, pool: Path) -> str:
    """A generated dataset."""
    succeed(run("generate", "toy", "signals", "--quality", "low", "--episodes", 64, "--workers", 1))
    return DATA
