"""What a report prints, line by line and cell by cell, before any format dresses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from offmarl_bench.report import Cell, Report, Row, Spread

FIRST = ("", "", "Behavior")
"""Headings of the columns before the agents."""
MAX_NAME = 60
"""Longer names are cut in every format but JSON."""
BEST = "*"
"""``Cell.mark`` of the best in its row."""


@dataclass(frozen=True, slots=True)
class Line:
    """One printed line of a dataset: what it shows, then a text for the behaviour and for each column."""

    label: str
    kind: str
    texts: tuple[str, ...]


def plain(text: str) -> str:
    """One line of printable characters, of a bearable length."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= MAX_NAME else f"{shown[: MAX_NAME - 1]}…"


def printable(text: str) -> str:
    """One line of printable characters, of any length."""
    return "".join(c if c.isprintable() else "?" for c in text)


def spread(value: Spread | None, mark: str = "") -> str:
    """``*3.1±1.7``; without ± for a single seed."""
    if value is None:
        return ""
    mean, std = value
    return f"{mark}{mean:.1f}" + ("" if std is None else f"±{std:.1f}")


def number(value: float | None) -> str:
    """One decimal, or nothing."""
    return "" if value is None else f"{value:.1f}"


def lines(row: Row) -> list[Line]:
    """The lines of one dataset; those with nothing to show are left out."""

    def each(show: Callable[[Cell], str]) -> tuple[str, ...]:
        return tuple("" if c is None else show(c) for c in row.cells)

    found = [
        Line(row.label, "greedy", (number(row.behavior), *each(lambda c: spread(c.greedy, c.mark)))),
        Line("", "sampled", ("", *each(lambda c: spread(c.sampled)))),
        Line("", "score", (number(row.behavior_score), *each(lambda c: number(c.score)))),
        Line("", "won %", ("", *each(lambda c: number(c.wins)))),
        Line("", "steps", ("", *each(lambda c: number(c.steps) if row.lengths_vary else ""))),
        Line("", "paper†", (number(row.paper_behavior), *each(lambda c: spread(c.paper)))),
    ]
    return [found[0], *(line for line in found[1:] if any(line.texts))]


def aggregate_table(report: Report) -> list[list[str]]:
    """Heading and one line per agent over all shared datasets; empty if there is nothing to compare."""
    if not report.aggregates:
        return []
    titles = [plain(report.columns[a.column]) for a in report.aggregates]
    table = [["", "IQM", "95 % interval", *(f"P(>{t})" for t in titles)]]
    for a, title in zip(report.aggregates, titles, strict=True):
        ends = "" if a.interval is None else f"{a.interval[0]:.1f} … {a.interval[1]:.1f}"
        table.append([title, number(a.iqm), ends, *("" if p is None else f"{p:.2f}" for p in a.improvement)])
    return table


def marked_lines(
    row: Row, columns: Sequence[int], escape: Callable[[str], str], bold: tuple[str, str]
) -> Iterator[tuple[Line, list[str]]]:
    """The lines of a dataset with escaped texts, the best in bold; its mark stays, for readers without bold."""
    for line in lines(row):
        texts = [escape(line.texts[0])]
        for k in columns:
            text = escape(line.texts[k + 1])
            texts.append(text.join(bold) if line.texts[k + 1].startswith(BEST) else text)
        yield line, texts
