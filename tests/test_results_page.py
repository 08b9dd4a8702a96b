"""docs/results.md shows what its commands print, run on the submissions that are committed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from offmarl_bench.cli import main

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/results.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```text\n\$ (offmarl-bench (?:.*\\\n)*.*)\n((?:.*\n)*?)^```$", PAGE, re.M)
"""Commands and what stands below them."""


def test_the_page_has_a_table_for_each_length_that_was_run() -> None:
    assert len(BLOCKS) >= 2
    assert all("--results leaderboard/submissions" in command for command, _ in BLOCKS)


@pytest.mark.parametrize(("command", "shown"), BLOCKS, ids=[f"block {k}" for k in range(len(BLOCKS))])
def test_every_table_is_what_its_command_prints(command: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(command.replace("\\\n", " "))
    done = CliRunner().invoke(main, words[1:])
    assert done.exit_code == 0, done.output
    assert done.stdout == shown, "stale: run the command that stands above the table again"
