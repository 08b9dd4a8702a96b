"""The README runs: its Python tour as it stands, its commands as far as the parser, its links as files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from offmarl_bench.cli import main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def marked(name: str) -> list[str]:
    """Lines of the code block right after a marker; how the newcomer's script and the CI find it."""
    found = re.search(rf"^<!-- {name} -->\n```bash\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert found, f"README.md has no bash block right after <!-- {name} -->"
    return found.group(1).splitlines()


@pytest.mark.parametrize("code", blocks("python"))
def test_the_python_tour_runs(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(code.splitlines()) <= 24
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102  (our own file)
    assert "('s1', 's2', 'z1', 'z2', 'z3')" in capsys.readouterr().out


def test_the_two_marked_commands_are_what_the_machines_run() -> None:
    start = ["python3 -m venv .venv", ". .venv/bin/activate"]
    assert marked("main-job") == [*start, "pip install -c constraints.txt -e .", "offmarl-bench demo"]
    assert marked("tests") == [*start, "pip install -c constraints.txt -e '.[dev]'", "make check"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


@pytest.mark.parametrize(
    "line",
    sorted({x.partition("#")[0].strip() for b in blocks("bash") for x in b.splitlines() if "offmarl-bench" in x}),
)
def test_every_command_shown_is_understood(line: str) -> None:
    words = shlex.split(line)[1:]
    group, rest = main, words
    while rest and isinstance(group, type(main)) and rest[0] in group.commands:
        group, rest = group.commands[rest[0]], rest[1:]  # type: ignore[assignment]
    shown = CliRunner().invoke(main, [*words[: len(words) - len(rest)], "--help"])
    assert shown.exit_code == 0
    for option in (w for w in rest if w.startswith("--")):
        assert option in shown.output, f"{line}: no option {option}"


def test_links_to_files_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert "docs/architecture.md" in links
    for link in links:
        assert (ROOT / link).exists(), link
