"""The leaderboard as Markdown: what GitHub shows without a browser opening a file. ``LEADERBOARD.md`` is its output."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.board import Cell, Line, Table, build_board
from leaderboard.entries import Entry
from leaderboard.markup import interval, number, spread
from leaderboard.page_tables import BADGES
from offmarl_bench.report_formats import markdown
from offmarl_bench.report_lines import plain

HEAD = """# Leaderboard

<!-- Written by `offmarl-bench leaderboard --markdown LEADERBOARD.md`; a test fails when it is stale. -->

Normalised scores of greedy play with 95 % bootstrap intervals over training seeds: uniformly random play is 0, the best
policy of the pool that made the data is 100. *Group* is a rank group: nobody in it can be told from its leader.
`offmarl-bench leaderboard --html FILE` writes the same as a page with every seed, settings, curves and verdicts;
[leaderboard/README.md](leaderboard/README.md) says how to submit.
"""
NOBODY = "There are no submissions yet.\n"
NOTHING = "–"


def _text(value: str) -> str:
    return markdown(plain(value))


def _score(cell: Cell | Line | None) -> str:
    """A score and its interval, bold in the first group."""
    if cell is None or cell.value is None:
        return NOTHING
    shown = f"**{number(cell.value)}**" if cell.group == 1 else number(cell.value)
    return f"{shown} {interval(cell.estimate.low, cell.estimate.high)}" if cell.estimate else shown


def _rows(table: Table) -> list[list[str]]:
    alone = len(table.datasets) == 1
    rows = []
    for line in table.lines:
        place = str(line.group) if line.group is not None else NOTHING
        state = BADGES.get(line.entry.state, line.entry.state)
        why = f"; not ranked: {_text(line.unranked)}" if line.unranked else ""
        who = f"{_text(line.entry.name)} ({_text(line.entry.agent)})"
        overall = [] if alone else [_score(line)]
        rows.append([place, who, state + why, *overall, *map(_score, line.cells)])
    if any(table.behavior):
        shown = [NOTHING if b is None or b[1] is None else number(b[1]) for b in table.behavior]
        rows.append(["", "*the data’s own play*", "", *([] if alone else [""]), *shown])
    return rows


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    rule = ["--:"] + [":--"] * left + ["--:"] * (len(heads) - left - 1)
    return ["| " + " | ".join(row) + " |" for row in [heads, rule, *rows]]


def _section(table: Table) -> list[str]:
    labels = [_text(label) for label in table.labels]
    alone = len(table.datasets) == 1
    out = [f"## {_text(table.title)}, {_text(table.quality)} quality", ""]
    out += _grid(["Group", "Entry", "Verdict", *([] if alone else ["Overall"]), *labels], _rows(table), 2)
    if not alone:
        over = ", ".join(labels[k] for k in table.basis)
        out += ["", f"Overall: interquartile mean over all seeds of {over}."]
    if table.paper:
        game = "real StarCraft II" if table.real_game else "the authors’ policies and data"
        paper = [
            [markdown(line.title), *(NOTHING if v is None else spread(*v) for v in line.values)] for line in table.paper
        ]
        out += [
            "",
            f"The paper’s Table 1, {game}: **returns as printed**, not scores, not comparable, never ranked.",
            "",
        ]
        out += ["| " + " | ".join(["Paper", *labels]) + " |", "|:--|" + "--:|" * len(labels)]
        out += ["| " + " | ".join(row) + " |" for row in paper]
        out += ["", *(f"- {markdown(text)}" for text in table.remarks)] if table.remarks else []
    return [*out, ""]


def render_markdown(entries: Sequence[Entry]) -> str:
    """The whole leaderboard as GitHub-flavoured Markdown; the same for the same entries.

    Raises:
        FormatError: an entry names a dataset by something that is no dataset id.
    """
    lines = [line for table in build_board(entries) for line in _section(table)]
    return HEAD + "\n" + ("\n".join(lines).rstrip() + "\n" if lines else NOBODY)
