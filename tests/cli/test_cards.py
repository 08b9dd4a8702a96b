"""``card`` and ``describe`` as a user types them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from offmarl_bench.cli.describe import terminal
from tests.cli.outcome import DATA, Run, fails, succeed


def test_card_check_and_card_again(run: Run, data: str, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "cards"
    assert succeed(run("card", data, "--out", out)).strip() == str(out / "toy/signals/low-v1.md")
    assert (out / "toy/signals/low-v1.md").read_text().count("# toy/signals/low-v1\n") == 1
    assert json.loads((out / "toy/signals/low-v1.json").read_text())["id"] == "toy/signals/low-v1"
    # The pool of this test is the user's own and not the package's, and so such a card is not one to publish.
    done = run("card", "--check", "--out", out)
    assert done.exit_code == 1
    assert "pool_hash is" in done.stdout
    assert f"Error: 1 faults in the cards under {out}" in done.stderr
    again = succeed(run("card", "--published", "--out", out))  # nothing is published here, so it is drawn again
    assert again.strip() == str(out / "toy/signals/low-v1.md")
    assert succeed(run("card", "--check", "--out", tmp_path / "none")).startswith("0 cards")


def test_bad_input_of_card(run: Run, data: str, tmp_path: Path) -> None:
    fails(run("card"), 2, "name datasets or give --published")
    fails(run("card", data, "--check"), 2, "--check alone")
    fails(run("card", "toy/signals/lo", "--out", tmp_path), 2, "is not on this machine")
    fails(run("card", "nothing.h5", "--out", tmp_path), 1, "does not exist")
    (tmp_path / "file").write_text("in the way")
    fails(run("card", data, "--out", tmp_path / "file" / "x"), 1, "cannot write")


def test_describe_is_plain_where_it_is_piped(run: Run, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    text = succeed(run("describe", DATA))
    assert "\x1b" not in text
    assert "Who is good in which share of the data" in text


@pytest.mark.parametrize(
    ("tty", "environment", "colour"),
    [(True, {}, True), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False), (False, {}, False)],
)
def test_colour_at_a_terminal_only(
    tty: bool, environment: dict[str, str], colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:

    class Stream:
        encoding = "latin-1"

        def isatty(self) -> bool:
            return tty

    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", Stream())
    found = terminal()
    assert (found.colour, found.unicode) == (colour, False)
