"""Every kind of bad input, and whatever the system refuses: one clear line and an exit code, never a traceback."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import pytest

from tests.cli.outcome import Run, fails


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ("generat smac 2s3z", 2, ["No such command 'generat'", "Did you mean", "'generate'"]),
        ("generate smac 2s3z --qualty low", 2, ["No such option '--qualty'", "Did you mean", "'--quality'"]),
        ("generate smac 2s3z", 2, ["give one of --quality, --recipe and --imbalance"]),
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
        (
            "evaluate bc --budget soon",
            2,
            ["budget 'soon': expected 'paper', 'quick', '10%' of the paper's or a positive number"],
        ),
        ("evaluate bc --set beta", 2, ["'beta': expected key=value with a TOML value"]),
        ("evaluate bc --set beta={x=1}", 2, ["expected one TOML value"]),
        ("evaluate bc --dataset smac", 2, ["dataset id 'smac'"]),
        ("table", 1, ["no results to report: run `offmarl-bench evaluate"]),
        ("table --format pdf", 2, ["'pdf' is not one of 'text', 'md'"]),
        ("demo --map signals", 2, ["environment id 'signals': expected 'suite/map'"]),
        ("bench engine --map 2s3m", 2, ["unknown map of suite smac '2s3m'"]),
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
    with h5py.File(home / "datasets/toy/signals/low-v1.h5", "r+") as file:
        file["rewards"][0] = 99.0
    done = run("verify", data)
    assert done.exit_code == 1
    assert "NOT OK" in done.stdout
    assert "is not ok: error: content hash: the file states" in done.stderr


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
    def refuse(*_: object) -> Any:
        raise error

    monkeypatch.setattr("offmarl_bench.shelf.list_datasets", refuse)
    fails(run("datasets"), 1, *words)


def test_a_fault_of_ours_stays_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr("offmarl_bench.shelf.list_datasets", fault)
    assert isinstance(run("datasets").exception, KeyError)


def test_ctrl_c_ends_in_one_line_and_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("offmarl_bench.shelf.list_datasets", stop)
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
