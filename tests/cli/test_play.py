"""``play`` from the command line: a file, a line about it, and one line where it cannot be."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.outcome import Run, fails, succeed


def test_play_writes_a_gif_and_says_what_happened(run: Run, pool: Path, tmp_path: Path) -> None:
    said = succeed(run("play", "toy", "signals", "--recipe", "100%[a1r,a2m,b1r,b2e]", "--gif", tmp_path / "a.gif"))
    assert "toy/signals played by [a1r,a2m,b1r,b2e]: 8 steps, return" in said
    assert (tmp_path / "a.gif").read_bytes()[:6] == b"GIF89a"


def test_play_prints_json_for_a_program(run: Run, tmp_path: Path) -> None:
    told = json.loads(succeed(run("play", "mpe", "CN_3ls3l", "--gif", tmp_path / "a.gif", "--seed", 2, "--json")))
    assert told["length"] == 25
    assert told["return"] < 0
    assert told["won"] is None
    assert told["file"] == str(tmp_path / "a.gif")
    assert told["players"] == "uniformly random play"


def test_play_refuses_in_one_line(run: Run, pool: Path, tmp_path: Path) -> None:
    gif = ("--gif", tmp_path / "a.gif")
    fails(
        run("play", "toy", "signals", "--policy", "expert", "--recipe", "low", *gif), 2, "either --policy or --recipe"
    )
    fails(run("play", "toy", "signals", "--recipe", "100%[a1r]", *gif), 2, "--recipe", "missing")
    fails(run("play", "toy", "signals", "--gif", tmp_path / "a.png"), 2, "--gif", "ends in .gif")
    fails(run("play", "toy", "signals", "--policy", "exprt", *gif), 2, "Did you mean 'expert'")
    fails(run("play", "toy", "target", "--policy", "expert", *gif), 2, "no policy pool of toy/target")
    fails(run("play", "toy", "signls", *gif), 2, "Did you mean 'signals'")
    fails(run("play", "toy", "signals", "--policy", "bc", *gif), 1, "no finished run of bc", "train one with")
    (tmp_path / "file").write_text("in the way")
    fails(run("play", "toy", "signals", "--gif", tmp_path / "file" / "a.gif"), 1, "cannot write")
    assert not (tmp_path / "a.gif").exists()
