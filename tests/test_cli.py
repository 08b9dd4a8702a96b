"""The command line: every command on the toy task, and every kind of bad input as one clear line and an exit code."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from offmarl_bench import registry
from offmarl_bench.cli import main
from offmarl_bench.cli.options import Setting
from offmarl_bench.loader import load_dataset
from offmarl_bench.pool import save_pool
from tests.toy_pool import toy_pool

Run = Callable[..., Result]
DATA = "toy/signals/low"
RECIPE = "50%[a1r,a2r,b1r,b2r] + 50%[a1r,a2e,b1r,b2e]"


@pytest.fixture
def run(home: Path) -> Run:
    """Calls the command line in this process."""

    def call(*args: str | Path) -> Result:
        return CliRunner().invoke(main, [str(a) for a in args], prog_name="offmarl-bench")

    return call


def succeed(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def fails(result: Result, code: int, *words: str) -> None:
    """One clear line on stderr, nothing on stdout, no traceback, this exit code."""
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("Error: "), result.stderr
    for word in words:
        assert word in line, line


@pytest.fixture
def pool(home: Path) -> Path:
    """A pool of toy/signals where `generate` looks for one."""
    return save_pool(toy_pool(), home / "pools" / "toy" / "signals")


@pytest.fixture
def data(run: Run, pool: Path) -> str:
    """A generated dataset."""
    succeed(run("generate", "toy", "signals", "--quality", "low", "--episodes", 64, "--workers", 1))
    return DATA


# ---- the whole way ----


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
    assert "a2 expert 50%" in text
    assert {p.name for p in (tmp_path / "plots").iterdir()} == {"returns.png", "agents.png"}
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


# ---- help ----


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


# ---- bad input: one clear line each ----


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ("generat smac 2s3z", 2, ["No such command 'generat'", "Did you mean", "'generate'"]),
        ("generate smac 2s3z --qualty low", 2, ["No such option '--qualty'", "Did you mean", "'--quality'"]),
        ("generate smac 2s3z", 2, ["give either --quality or --recipe"]),
        ("generate smac 2s3x --quality low", 2, ["unknown map of suite smac '2s3x'", "Did you mean '2s3z'?"]),
        ("generate smca 2s3z --quality low", 2, ["unknown environment 'smca'", "Did you mean 'smac'?"]),
        ("generate smac 2s3z --quality lwo", 2, ["unknown quality of smac/2s3z 'lwo'", "Did you mean 'low'?"]),
        ("generate smac 2s3z --recipe 50%[s1r", 2, ["--recipe", "no share and bracket here"]),
        ("generate smac 2s3z --quality low --episodes 0", 2, ["--episodes", "x>=1"]),
        ("generate smac 2s3z --quality low --executor lcoal", 2, ["unknown executor 'lcoal'", "'local'"]),
        ("describe smac/2s3z", 2, ["dataset id 'smac/2s3z': expected 'suite/map/quality'"]),
        ("describe smac/2s3z/low-v7", 2, ["is not on this machine", "offmarl-bench generate smac 2s3z"]),
        ("describe nothing.h5", 1, ["'nothing.h5' does not exist"]),
        ("verify nothing.h5", 1, ["'nothing.h5' does not exist"]),
        ("pool show toy signals", 2, ["no policy pool of toy/signals", "offmarl-bench pool train toy signals"]),
        ("train bd nothing.h5", 1, ["does not exist"]),
        ("evaluate", 2, ["Missing argument 'AGENT...'"]),
        ("evaluate bc --budget soon", 2, ["budget 'soon': expected 'paper', 'quick' or a positive number"]),
        ("evaluate bc --set beta", 2, ["'beta': expected key=value with a TOML value"]),
        ("evaluate bc --set beta={x=1}", 2, ["expected one TOML value"]),
        ("evaluate bc --dataset smac", 2, ["dataset id 'smac'"]),
        ("table", 1, ["no results to report: run `offmarl-bench evaluate"]),
        ("table --format pdf", 2, ["'pdf' is not one of 'text', 'md'"]),
        ("demo --map signals", 2, ["environment id 'signals': expected 'suite/map'"]),
        ("bench engine --map 3m", 2, ["unknown map of suite smac '3m'"]),
        ("bench engine --seconds 0", 2, ["--seconds"]),
        ("bench train --map toy/signals --agent bcc", 2, ["unknown agent 'bcc'", "Did you mean 'bc'?"]),
        ("bench train --map toy/signals --device gpu7", 1, ["device 'gpu7' cannot be used here", "--device cpu"]),
    ],
)
def test_bad_input_ends_in_one_line(args: str, code: int, words: list[str], run: Run) -> None:
    fails(run(*args.split()), code, *words)


def test_bad_agents_settings_and_presets_are_refused_before_anything_is_trained(run: Run, data: str) -> None:
    fails(run("evaluate", "bd", "--dataset", data), 2, "unknown agent 'bd'", "Did you mean 'bc'?")
    fails(run("evaluate", "no.such:thing", "--dataset", data), 2, "cannot find 'no.such:thing'")
    fails(run("train", "bc", data, "--set", "hiden=8"), 2, "unknown setting of agent bc 'hiden'", "'hidden'")
    fails(run("train", "bc", data, "--set", "hidden=-8"), 1, "bad configuration")
    fails(run("train", "bc", data, "--set", "hidden=8", "--set", "hidden=9"), 2, "--set hidden is given twice")
    fails(run("train", "bc", data, "--preset", "papr"), 2, "unknown preset of agent bc 'papr'", "Did you mean 'paper'?")


def test_damaged_files_are_refused(run: Run, data: str, home: Path, tmp_path: Path) -> None:
    whole = (home / "datasets/toy/signals/low-v1.h5").read_bytes()
    for name, content in {"cut": whole[: len(whole) // 2], "text": b"hello" * 99, "empty": b""}.items():
        path = tmp_path / f"{name}.h5"
        path.write_bytes(content)
        for command in ("describe", "verify"):
            fails(run(command, path), 1, str(path))
    fails(run("describe", tmp_path), 2, "dataset id")


def test_a_failed_verification_exits_with_1_and_says_what(run: Run, data: str, home: Path) -> None:
    import h5py

    with h5py.File(home / "datasets/toy/signals/low-v1.h5", "r+") as file:
        file["rewards"][0] = 99.0
    done = run("verify", data)
    assert done.exit_code == 1
    assert "hash" in done.output
    assert "Traceback" not in done.output


def test_places_that_cannot_be_written_are_named(run: Run, pool: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "x.h5"
    fails(
        run("generate", "toy", "signals", "--quality", "low", "--episodes", 4, "--workers", 1, "--out", out), 1, "file"
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "big.h5"), ["big.h5", "the disk is full", "--out"]),
        (OSError(errno.EROFS, "Read-only file system", "big.h5"), ["big.h5", "read-only"]),
        (PermissionError(errno.EACCES, "Permission denied", "big.h5"), ["big.h5", "permission denied", "--out"]),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), ["x: No such file"]),
        (MemoryError(), ["not enough memory"]),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: Exception, words: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Any:
        raise error

    monkeypatch.setattr("offmarl_bench.catalog.list_datasets", refuse)
    fails(run("datasets"), 1, *words)


def test_a_fault_of_ours_stays_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault() -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr("offmarl_bench.catalog.list_datasets", fault)
    assert isinstance(run("datasets").exception, KeyError)


def test_ctrl_c_ends_in_one_line_and_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("offmarl_bench.catalog.list_datasets", stop)
    done = run("datasets")
    assert done.exit_code == 130
    assert done.stderr.strip() == "interrupted; what was finished is kept, and the same command goes on from there"


WAITING = """
import time, click
from offmarl_bench.cli import main

@main.command()
def wait():
    click.echo("ready")
    time.sleep(60)

main(["wait"])
"""


def test_a_real_ctrl_c_in_a_real_process() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip().startswith("interrupted;")
    assert "Traceback" not in err


def test_a_reader_that_leaves_is_no_error() -> None:
    command = [sys.executable, "-m", "offmarl_bench", "--help"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    process.wait(30)
    assert err == ""


# ---- settings ----


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


# ---- plug-ins ----


@click.command()
def hello() -> None:
    """Say hello."""
    click.echo("hello from a plug-in")


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other packages bring commands: a good one, and three that cannot be loaded."""
    points = {
        "hello": EntryPoint("hello", "tests.test_cli:hello", "offmarl_bench.commands"),
        "gone": EntryPoint("gone", "no_such_package:command", "offmarl_bench.commands"),
        "odd": EntryPoint("odd", "tests.test_cli:DATA", "offmarl_bench.commands"),
        "envs": EntryPoint("envs", "tests.test_cli:hello", "offmarl_bench.commands"),
    }
    real = registry._points
    monkeypatch.setattr(registry, "_points", lambda kind: points if kind == "commands" else real(kind))


@pytest.mark.usefixtures("plugins")
def test_plugin_commands_are_found_and_broken_ones_hurt_nobody(run: Run) -> None:
    listed = succeed(run("--help"))
    assert "Say hello." in listed
    assert "(cannot be loaded)" in listed
    assert succeed(run("hello")) == "hello from a plug-in\n"
    assert "toy/signals" in succeed(run("envs"))
    fails(run("gone", "--any", "thing"), 1, "the command 'gone' cannot be loaded", "no_such_package", "reinstall")
    fails(run("odd"), 1, "is not a click command")
    assert os.environ["OFFMARL_HOME"]
