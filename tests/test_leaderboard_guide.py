"""The contributor's guide runs: its agent, as it stands, from stored runs to a verified entry by its commands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

import leaderboard.verify
from leaderboard.onnx_policy import OnnxPolicy
from offmarl_bench.cli import main
from offmarl_bench.envs.toy import SPECS
from offmarl_bench.testing import check_agent
from tests.toy_bundle import fill_home, replay_here

GUIDE = (Path(__file__).resolve().parent.parent / "docs/leaderboard.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    found = re.search(rf"^<!-- {name} -->\n```\w+\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    assert found, f"docs/leaderboard.md has no block after <!-- {name} -->"
    return found.group(1)


def commands() -> list[list[str]]:
    return [shlex.split(line, comments=True) for line in block("guide-commands").splitlines()]


def test_it_takes_fewer_than_ten_commands_and_all_are_understood() -> None:
    assert len(commands()) < 10
    for words in (w[1:] for w in commands() if w[0] == "offmarl-bench"):
        inner = words[:2] if words[1:2] in (["validate"], ["verify"]) else words[:1]
        shown = CliRunner().invoke(main, [*inner, "--help"])
        assert shown.exit_code == 0, shown.output
        assert all(w in shown.output for w in words if w.startswith("--")), words


def test_the_guide_s_agent_becomes_a_verified_entry(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that only its author has goes in as graphs, and is verified without its code."""
    monkeypatch.setattr(leaderboard.verify, "replay", replay_here)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_agent.py").write_text(block("guide-agent"))
    check_agent("my_agent:Best")
    fill_home(home, "my_agent:Best", seeds=2)

    def run(*words: str) -> str:
        done = CliRunner().invoke(main, [*words])
        assert done.exit_code == 0, done.output
        return done.stdout

    submit = next(w[1:] for w in commands() if w[1] == "submit")
    made = json.loads(run(*submit, "--json"))
    assert (made["path"], made["results"], made["policies"]) == ("best-quarter", 2, 2)
    graph = next((tmp_path / "best-quarter/policies").glob("*.onnx"))
    assert isinstance(OnnxPolicy(graph, SPECS["signals"]), OnnxPolicy)
    assert run("leaderboard", "validate", "best-quarter", "--local-datasets").startswith(
        "best-quarter: valid, 2 results"
    )
    said = run("leaderboard", "verify", "best-quarter", "--local-datasets", "--salt", "x")
    assert said == "best-quarter: verified: all 6 comparisons agree; 128 of 128 claimed episodes repeat exactly\n"
    shown = run("leaderboard", "--submissions", ".")
    assert "Best quarter" in shown
    assert "2 of 5 seeds" in shown
    (plain,) = json.loads(run("leaderboard", "--submissions", ".", "--json"))
    assert (plain["state"], plain["scores"][0]["seeds"]) == ("verified", 2)
    again = CliRunner().invoke(main, ["leaderboard", "verify", "best-quartr", "--local-datasets"])
    assert (again.exit_code, "unknown submission 'best-quartr'" in again.stderr) == (2, True)


def test_the_workflow_runs_the_code_of_main_on_a_stranger_s_data_without_rights() -> None:
    folder = Path(__file__).resolve().parent.parent / ".github/workflows"
    text = (folder / "leaderboard.yml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    assert "pull_request_target" not in "\n".join(lines)
    assert "permissions:\n  contents: read\n" in text
    assert "secrets." not in text
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")
    head = text.index("pull_request.head.sha")
    assert "sparse-checkout: leaderboard/submissions" in text[head : text.index("setup-python")]
    installed = text[text.index("- name: Install") : text.index("- name: Which")]
    assert "working-directory: main" in installed
    assert "proposed" not in installed
    runs = [line for line in lines if "offmarl-bench leaderboard" in line]
    assert [w for line in runs for w in ("validate", "verify", "--html") if w in line] == [
        "validate",
        "verify",
        "--html",
    ]
    assert all("permissions:\n  contents: read\n" in p.read_text(encoding="utf-8") for p in folder.glob("*.yml"))
