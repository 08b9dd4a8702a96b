"""The speed of environments: one row by the clock and one by the processor for every map, batch and process count."""

from __future__ import annotations

import itertools
import json

import pytest

from offmarl_bench.bench import sweep_engine
from offmarl_bench.errors import UnknownName
from tests.cli.conftest import run as run  # the command line in this process
from tests.cli.outcome import Run, succeed

MAPS = ("toy/signals", "toy/target")


def test_a_sweep_has_two_rows_for_every_combination() -> None:
    rows = list(sweep_engine(MAPS, lanes=(1, 8), processes=(1, 2), seconds=0.02))
    expected = [
        (f"{name} toy-1, {lanes} lanes, random legal actions", unit, processes)
        for processes, name, lanes, unit in itertools.product(
            (1, 2), MAPS, (1, 8), ("env-steps/s", "env-steps/CPU-s")
        )
    ]  # fmt: skip
    assert [(r.case, r.unit, r.threads) for r in rows] == expected
    assert all(r.value > 0 for r in rows)


def test_a_map_that_does_not_exist_is_said_before_anything_is_measured() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'signals'"):
        next(sweep_engine(("toy/target", "toy/signls"), lanes=(1,), processes=(1,)))


def test_the_command_takes_several_maps_and_batches(run: Run) -> None:
    asked = ("bench", "engine", "--map", MAPS[0], "--map", MAPS[1], "--num-envs", 1, "--num-envs", 4)
    lines = succeed(run(*asked, "--seconds", 0.02, "--json")).splitlines()
    assert [json.loads(line)["threads"] for line in lines] == [1] * 8
    assert "4 lanes" in lines[-1]
