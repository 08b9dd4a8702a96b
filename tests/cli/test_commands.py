"""Every command on the toy task: what it makes, what it prints, how it explains itself."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import click
import pytest

from offmarl_bench.cli import main
from offmarl_bench.cli.options import Setting
from offmarl_bench.loader import load_dataset
from offmarl_bench.pool import save_pool
from tests.cli.outcome import DATA, Run, fails, succeed
from tests.toy_pool import toy_pool

RECIPE = "50%[a1r,a2r,b1r,b2r] + 50%[a1r,a2e,b1r,b2e]"


def test_generate_describe_verify_and_list(run: Run, pool: Path, home: Path, tmp_path: Path) -> None:
    path = succeed(run("generate", "toy", "signals", "--quality", "low", "--episodes", 64, "--workers", 1)).strip()
    assert Path(path) == home / "datasets/toy/signals/low-v1.h5"
    assert len(load_dataset(DATA)) == 64
    listed = json.loads(succeed(run("datasets", "--json")))
    assert listed[0]["id"] == "toy/signals/low-v1"
    assert listed[0]["episodes"] == 64
    assert "toy/signals/low-v1" in succeed(run("datasets"))
    text = succeed(run("describe", DATA, "--plots", tmp_path / "plots"))
    assert "64 episodes, 512 steps" in text
    assert "Who is good in which share of the data" in text
    assert {p.name for p in (tmp_path / "plots").iterdir()} == {"returns.png", "agents.png", "coverage.png"}
    found = json.loads(succeed(run("describe", path, "--json")))
    assert found["returns"]["episodes"] == 64
    assert {(p["agent"], p["level"]): p["share"] for p in found["played"]}["a2", "random"] == 0.5
    assert succeed(run("verify", DATA))
    assert json.loads(succeed(run("verify", DATA, "--json")))


def test_a_recipe_makes_a_file_of_ones_own(run: Run, pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.h5"
    succeed(run("generate", "toy", "signals", "--recipe", RECIPE, "--episodes", 8, "--workers", 1, "--out", out))
    assert len(load_dataset(out)) == 8
    again = run("generate", "toy", "signals", "--recipe", RECIPE, "--episodes", 9, "--workers", 1, "--out", out)
    fails(again, 1, "exists and is another dataset: episodes was 8 and is 9", "--overwrite")


def test_train_evaluate_and_table(run: Run, data: str) -> None:
    budget = ("--budget", 4, "--seeds", 2, "--workers", 1, "--set", "hidden=8")
    folders = succeed(run("train", "bc", data, *budget)).split()
    assert len(folders) == 2
    assert all((Path(f) / "agent.safetensors").exists() for f in folders)
    before = [(Path(f) / "agent.json").stat().st_mtime_ns for f in folders]
    report = succeed(run("evaluate", "bc", "--dataset", data, "--episodes", 8, *budget))
    assert "Behavior" in report
    # `evaluate` found what `train` had trained.
    assert [(Path(f) / "agent.json").stat().st_mtime_ns for f in folders] == before
    found = json.loads(succeed(run("evaluate", "bc", "--episodes", 8, *budget, "--json")))
    assert [r["seed"] for r in found] == [0, 1]
    for layout in ("text", "md", "latex", "csv", "json"):
        assert succeed(run("table", "--format", layout))
    rows = list(csv.DictReader(io.StringIO(succeed(run("table", "--format", "csv")))))
    assert rows


def test_evaluate_without_any_dataset_generates_the_first_one(
    run: Run, pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offmarl_bench.cli.evaluate.FIRST", ("toy/signals", "low"))
    monkeypatch.setattr("offmarl_bench.cli.evaluate.DEFAULT_EPISODES", 16)
    done = run("evaluate", "bc", "--budget", 2, "--seeds", 1, "--episodes", 4, "--workers", 1, "--set", "hidden=8")
    assert "Behavior" in succeed(done)
    assert "no dataset here yet: generating toy/signals/low first (16 episodes)" in done.stderr
    again = run("evaluate", "bc", "--budget", 2, "--seeds", 1, "--episodes", 4, "--workers", 1, "--set", "hidden=8")
    assert "taking all of toy/signals/low-v1" in again.stderr


def test_demo_goes_the_whole_way_in_a_home_of_its_own(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_pool(toy_pool(), home / "demo" / "pools" / "toy" / "signals")
    done = run(
        "demo", "--map", "toy/signals", "--episodes", 16, "--seeds", 1, "--budget", 3, "--workers", 1, "--device", "cpu"
    )
    text = succeed(done)
    assert "Behavior" in text
    assert f"under {home / 'demo'}" in text
    assert not (home / "datasets").exists()


def test_pool_show(run: Run, pool: Path) -> None:
    assert "expert-1" in succeed(run("pool", "show", "toy", "signals"))
    found = json.loads(succeed(run("pool", "show", "toy", "signals", "--json")))
    assert len(found["members"]) == 6
    assert found["thresholds"] == [3.8, 6.2]


def test_what_there_is(run: Run) -> None:
    assert "toy/signals" in succeed(run("envs"))
    specs = {s["id"]: s for s in json.loads(succeed(run("envs", "--json")))}
    assert specs["smac/2s3z"]["agents"] == ["s1", "s2", "z1", "z2", "z3"]
    assert "bc: " in succeed(run("agents"))
    found = {a["name"]: a for a in json.loads(succeed(run("agents", "--json")))}
    assert "paper" in found["sit"]["presets"]
    assert found["bc"]["settings"]["hidden"] == 64


def test_bench_prints_json_lines(run: Run, data: str) -> None:
    calls = (
        ("engine", "--map", "toy/signals", "--num-envs", 8, "--seconds", 0.05),
        ("load", "--dataset", data, "--seconds", 0.05),
        ("train", "--map", "toy/signals", "--agent", "bc", "--seconds", 0.05),
        ("generate", "--map", "toy/signals", "--episodes", 16, "--workers", 1),
    )
    for call in calls:
        rows = [json.loads(line) for line in succeed(run("bench", *call, "--json")).splitlines()]
        for row in rows:
            assert row["bench"] == call[0]
            assert row["value"] > 0
            assert {"case", "unit", "threads", "versions"} <= set(row)
    assert "env-steps/s" in succeed(run("bench", *calls[0]))


def commands(group: click.Group, trail: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found += [(*trail, name)]
        found += commands(command, (*trail, name)) if isinstance(command, click.Group) else []
    return found


@pytest.mark.parametrize("command", commands(main), ids=" ".join)
def test_every_command_explains_itself(command: tuple[str, ...], run: Run) -> None:
    text = succeed(run(*command, "--help"))
    assert "Usage: offmarl-bench" in text
    assert "Options:" in text


def test_version(run: Run) -> None:
    assert succeed(run("--version")).startswith("offmarl-bench 0.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("beta=0.1", ("beta", 0.1)),
        ("n=3", ("n", 3)),
        ("on=true", ("on", True)),
        ("alpha=auto", ("alpha", "auto")),
        ("name='x y'", ("name", "x y")),
        ("limit=none", ("limit", None)),
        ("sizes=[1, 2]", ("sizes", (1, 2))),
        (" lr = 1e-3 ", ("lr", 1e-3)),
    ],
)
def test_settings_are_toml_values_and_bare_words_are_text(text: str, expected: tuple[str, Any]) -> None:
    assert Setting().convert(text, None, None) == expected
