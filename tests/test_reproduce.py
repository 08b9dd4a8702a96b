"""Reproductions: curves from stored results, and the decomposition that sit's package brings to the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from offmarl_bench.cli import main
from offmarl_bench.curves import curves, plot_curves
from offmarl_bench.errors import FormatError
from offmarl_bench.evaluation import benchmark
from offmarl_bench.jobs import forget
from offmarl_bench.results import save_result
from tests.imbalanced_toy import imbalanced
from tests.test_report import a_result, seeds


def test_mean_and_range_over_seeds_at_shared_points() -> None:
    results = [
        a_result(seed=0, curve=((10, 1.0), (20, 3.0))),
        a_result(seed=1, curve=((10, 3.0), (20, 4.0), (30, 9.0))),
        a_result(agent="sit", curve=((10, 2.0),)),
        a_result(agent="icq"),
    ]
    bc, sit = curves(results)
    assert (bc.agent, bc.seeds, bc.updates) == ("bc", (0, 1), (10, 20))
    assert (bc.mean, bc.low, bc.high) == ((2.0, 3.5), (1.0, 3.0), (3.0, 4.0))
    assert (sit.agent, sit.mean, sit.behavior) == ("sit", (2.0,), 3.24)


def test_without_a_curve_it_says_how_to_get_one() -> None:
    with pytest.raises(FormatError, match=r"no stored result has a learning curve; .*evaluate"):
        curves([a_result()])


def test_a_hostile_name_is_drawn_as_text(tmp_path: Path) -> None:
    found = curves([a_result(agent="$\\frac{$\n\x1b[31m", curve=((1, 1.0), (2, 2.0)))])
    with Image.open(plot_curves(found, tmp_path)) as picture:
        assert picture.format == "PNG"


def test_the_command_plots_what_is_stored(home: Path, tmp_path: Path) -> None:
    for r in seeds([3.0, 5.0], curve=((100, 1.0), (200, 2.5))):
        save_result(r)
    done = CliRunner().invoke(main, ["reproduce", "curves", "--plots", str(tmp_path / "p"), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert Path(said["plot"]).exists()
    assert said["curves"][0]["mean"] == [1.0, 2.5]


def test_decomposition_comes_with_sit(home: Path) -> None:
    forget()
    data = imbalanced(32)
    data.metadata.update(dataset_id="toy/signals/low-v1", recipe="by hand")
    data.save(home / "datasets/toy/signals/low-v1.h5")
    assert "decomposition" in CliRunner().invoke(main, ["reproduce", "--help"]).output
    words = ["reproduce", "decomposition", "--dataset", "toy/signals/low"]
    none = CliRunner().invoke(main, words)
    assert none.exit_code == 1, none.output
    assert "no usable run of sit on toy/signals/low-v1: run `offmarl-bench evaluate sit" in none.stderr
    small = {"members": 2, "reward_hidden": 8, "attention_hidden": 8, "actor_hidden": 8, "critic_hidden": 8}
    benchmark(["sit"], ["toy/signals/low-v1"], seeds=2, budget=8, episodes=2, overrides=small, progress=False)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "Recipe `by hand`; 2 runs." in done.stdout
    assert "| a2 | expert |" in done.stdout
    (plain,) = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert {row["level"] for row in plain["credit"]} == {"random", "expert"}
    assert any(row["measure"] == "a/auc" for row in plain["measures"])
