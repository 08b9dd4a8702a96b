"""A stranger's package: installed from its own folder, found by its entry point, checked, trained and scored."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from offmarl_bench import registry
from offmarl_bench.cli import main
from offmarl_bench.testing import check_agent
from tests.toy_data import careless_dataset

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples/third_party_agent"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The example in a folder of its own on the import path; nothing is downloaded."""
    source, target = tmp_path / "source", tmp_path / "site"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "--target", str(target), str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(str(target))
    return "best-quarter"


def test_a_package_of_its_own_is_found_checked_and_evaluated(
    installed: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installed in registry.names("agents")
    assert registry.distribution("agents", installed) == "best-quarter"
    check_agent(installed)
    data = careless_dataset(32, 0.7)
    data.save(home / "mine.h5")
    words = ["evaluate", installed, "--dataset", str(home / "mine.h5"), "--seeds", "1", "--budget", "4", "--json"]
    done = CliRunner().invoke(main, [*words, "--episodes", "2", "--workers", "1"])
    assert done.exit_code == 0, done.output
    (result,) = json.loads(done.stdout)
    assert (result["agent"], result["updates"], len(result["greedy_returns"])) == (installed, 4, 2)


def test_the_leaderboard_guide_shows_the_same_agent() -> None:
    guide = (ROOT / "docs/leaderboard.md").read_text(encoding="utf-8")
    shown = re.search(r"^<!-- guide-agent -->\n```\w+\n(.*?)^```", guide, re.DOTALL | re.MULTILINE)
    assert shown
    code = (EXAMPLE / "best_quarter.py").read_text(encoding="utf-8")
    assert shown[1] == code
    assert len(code.splitlines()) <= 60
