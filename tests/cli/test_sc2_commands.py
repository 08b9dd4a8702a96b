"""``--backend sc2`` from the command line: data and scores from the stand-in, one line where it is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from offmarl_bench.loader import load_dataset
from offmarl_bench.recipes import named_recipe
from tests.cli.outcome import Run, fails, succeed
from tests.sc2_game import BACKEND, install

SMALL = ("--episodes", 3, "--workers", 1)
LOW = ("generate", "smac", "2s3z", "--quality", "low")


@pytest.fixture
def game(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation with two games side by side."""
    install(monkeypatch, tmp_path)
    monkeypatch.setenv("OFFMARL_SC2_GAMES", "2")


def test_generate_and_score_in_the_real_game(run: Run, game: None) -> None:
    """Two shards of two and one episodes with our pool's policies; then BC, trained on it and on our engine's data."""
    succeed(run(*LOW, "--backend", "sc2", *SMALL))
    data = load_dataset("smac-sc2/2s3z/low")
    assert len(data) == 3
    assert data.metadata["backend"] == BACKEND
    assert data.metadata["signature"]["shard_episodes"] == 2
    assert data.metadata["recipe_name"] == "low"
    assert "ok" in succeed(run("verify", "smac-sc2/2s3z/low"))
    succeed(run(*LOW, *SMALL))
    asked = ("evaluate", "bc", "--dataset", "smac/2s3z/low", "--seeds", 1, "--budget", 2, "--episodes", 2)
    told = json.loads(succeed(run(*asked, "--workers", 1, "--backend", "sc2", "--json")))
    dataset = f"smac/2s3z/low-v{named_recipe('smac/2s3z', 'low').version}"
    assert [(r["env_id"], r["dataset"], r["backend"]) for r in told] == [("smac-sc2/2s3z", dataset, BACKEND)]
    assert "--backend sc2" in told[0]["command"]
    assert BACKEND in succeed(run("table", "--backend", "sc2"))
    fails(run("table"), 1, "no results")  # they are not mixed with those of our engine


def test_without_the_game_or_for_another_suite_one_line_says_so(run: Run, tmp_path: Path) -> None:
    gif = ("--gif", tmp_path / "a.gif")
    fails(run(*LOW, "--backend", "sc2"), 1, "the package smac is missing", "pip install")
    fails(run("play", "smac", "2s3z", "--backend", "sc2", *gif), 1, "the package smac is missing")
    fails(run("generate", "mpe", "CN_3ls3l", "--quality", "low", "--backend", "sc2"), 2, "--backend", "only smac")
    fails(run("generate", "smac", "2s3y", "--quality", "low", "--backend", "sc2"), 2, "Did you mean '2s3z'")
    fails(run("generate", "smac-sc2", "2s3z", "--quality", "lwo"), 2, "unknown quality of smac-sc2/2s3z", "'low'")
    assert "smac-sc2/2c_vs_64zg" in succeed(run("envs"))
