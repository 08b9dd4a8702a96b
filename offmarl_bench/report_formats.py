"""A report as text for a terminal, Markdown, LaTeX, CSV, JSON or HTML.

Names come from files that others may have written, so each format neutralises what it could be tricked with:
control characters (all), table bars and HTML (Markdown, HTML), commands (LaTeX), formulas (CSV).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from offmarl_bench import registry
from offmarl_bench.report import Report, Section
from offmarl_bench.report_html import to_html
from offmarl_bench.report_lines import FIRST, aggregate_table, lines, marked_lines, plain, printable

WIDTH = 100
"""Columns of a terminal that the text version fits in."""
GAP = "  "
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "±": r"$\pm$", "†": r"$^\dagger$", "–": "--",
}  # fmt: skip
MARKDOWN = "\\`*_[]<>|~"
FORMULA = "=+-@"


def markdown(text: str) -> str:
    """``text`` with every character that Markdown or HTML might interpret escaped."""
    return "".join(f"\\{c}" if c in MARKDOWN else "&amp;" if c == "&" else c for c in printable(text))


def latex(text: str) -> str:
    """``text`` with every character that LaTeX might interpret replaced."""
    return "".join(LATEX.get(c, c) for c in printable(text))


def _table(report: Report, section: Section, columns: Sequence[int]) -> list[list[str]]:
    """Heading and lines of some columns of a section."""
    table = [[*FIRST, *(plain(report.columns[k]) for k in columns)]]
    for row in section.rows:
        table += [
            [plain(line.label), line.kind, line.texts[0], *(line.texts[k + 1] for k in columns)] for line in lines(row)
        ]
    return table


def _width(table: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, c)) for c in zip(*table, strict=True)) + len(GAP) * (len(table[0]) - 1)


def _blocks(report: Report, section: Section) -> Iterator[list[list[str]]]:
    """Tables that fit into a terminal one after the other; each repeats the first columns."""
    block: list[int] = []
    for k in section.columns:
        if block and _width(_table(report, section, [*block, k])) > WIDTH:
            yield _table(report, section, block)
            block = []
        block.append(k)
    yield _table(report, section, block)


def _side_by_side(table: Sequence[Sequence[str]]) -> Iterator[list[list[str]]]:
    """The columns of a table as blocks that fit into a terminal one after the other, each with the first column."""
    if not table:
        return
    chosen = [0]
    for k in range(1, len(table[0])):
        if len(chosen) > 1 and _width([[row[j] for j in [*chosen, k]] for row in table]) > WIDTH:
            yield [[row[j] for j in chosen] for row in table]
            chosen = [0]
        chosen.append(k)
    yield [[row[j] for j in chosen] for row in table]


def _wrapped(text: str, mark: str) -> list[str]:
    """A note as lines of at most WIDTH characters, hanging under its mark."""
    out, now = [], mark
    for word in printable(text).split():
        if len(now) + len(word) + 1 > WIDTH and now.strip():
            out.append(now)
            now = " " * len(mark)
        now = f"{now} {word}" if now != mark or not mark.endswith(" ") else f"{now}{word}"
    return [*out, now]


def _aligned(table: Sequence[Sequence[str]], left: int) -> list[str]:
    """Lines of a table, ``left`` columns flush left, a rule under the heading."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    out = []
    for k, cells in enumerate(table):
        first = [c.ljust(w) for c, w in zip(cells[:left], widths[:left], strict=True)]
        rest = [c.rjust(w) for c, w in zip(cells[left:], widths[left:], strict=True)]
        out.append(GAP.join([*first, *rest]).rstrip())
        if k == 0:
            out.append("-" * _width(table))
    return out


def to_text(report: Report) -> str:
    """A table for a terminal of 100 columns."""
    out: list[str] = []
    for section in report.sections:
        out += [printable(section.title), ""]
        for table in _blocks(report, section):
            out += [*_aligned(table, 2), ""]
    if report.aggregates:
        out += ["All datasets together", ""]
    for block in _side_by_side(aggregate_table(report)):
        out += [*_aligned(block, 1), ""]
    for note in report.notes:
        out += _wrapped(note, "  ")
    for warning in report.warnings:
        out += _wrapped(warning, "! ")
    return "\n".join(out) + "\n"


def to_markdown(report: Report) -> str:
    """GitHub-flavoured tables, one per section, the best in bold."""
    out: list[str] = []
    for section in report.sections:
        out += [f"### {markdown(section.title)}", ""]
        titles = ["", "", FIRST[2], *(markdown(plain(report.columns[k])) for k in section.columns)]
        out += ["| " + " | ".join(titles) + " |", "|:--|:--|" + "--:|" * (len(titles) - 2)]
        for row in section.rows:
            for line, texts in marked_lines(row, section.columns, markdown, ("**", "**")):
                out.append("| " + " | ".join([markdown(plain(line.label)), line.kind, *texts]) + " |")
        out.append("")
    if table := aggregate_table(report):
        out += ["### All datasets together", "", "| " + " | ".join(map(markdown, table[0])) + " |"]
        out += ["|:--|" + "--:|" * (len(table[0]) - 1)]
        out += [*("| " + " | ".join(map(markdown, row)) + " |" for row in table[1:]), ""]
    out += [f"- {markdown(note)}" for note in report.notes]
    out += [f"- **Warning:** {markdown(warning)}" for warning in report.warnings]
    return "\n".join(out) + "\n"


def to_latex(report: Report) -> str:
    """One ``tabular`` for the whole report; needs the package booktabs."""
    out = ["% needs \\usepackage{booktabs}", "\\begin{tabular}{ll" + "r" * (1 + len(report.columns)) + "}", "\\toprule"]
    out.append(" & ".join(["", "", FIRST[2], *(latex(plain(t)) for t in report.columns)]) + r" \\")
    for section in report.sections:
        span = 3 + len(report.columns)
        out += ["\\midrule", f"\\multicolumn{{{span}}}{{l}}{{{latex(section.title)}}} \\\\", "\\midrule"]
        for row in section.rows:
            for line, texts in marked_lines(row, range(len(report.columns)), latex, (r"\textbf{", "}")):
                out.append(" & ".join([latex(plain(line.label)), latex(line.kind), *texts]) + r" \\")
    out += ["\\bottomrule", "\\end{tabular}"]
    out += [f"% {printable(note)}" for note in report.notes]
    out += [f"% Warning: {printable(warning)}" for warning in report.warnings]
    return "\n".join(out) + "\n"


def records(report: Report) -> list[dict[str, Any]]:
    """One flat record per cell, full precision: what CSV and JSON show."""
    found = []
    for section in report.sections:
        for row in section.rows:
            for title, cell in zip(report.columns, row.cells, strict=True):
                if cell is None:
                    continue
                r = cell.results[0]
                found.append({
                    "dataset": row.dataset, "column": title, "agent": r.agent, "preset": r.preset,
                    "seeds": len(cell.results), "episodes": len(r.greedy_returns), "budget": r.budget,
                    "updates": r.updates, "behavior_mean": row.behavior,
                    "greedy_mean": cell.greedy[0], "greedy_std": cell.greedy[1],
                    "greedy_low": cell.interval[0] if cell.interval else None,
                    "greedy_high": cell.interval[1] if cell.interval else None,
                    "sampled_mean": cell.sampled[0] if cell.sampled else None,
                    "sampled_std": cell.sampled[1] if cell.sampled else None,
                    "score": cell.score, "win_percent": cell.wins, "steps": cell.steps, "mark": cell.mark,
                    "paper_real_game_mean": cell.paper[0] if cell.paper else None,
                    "paper_real_game_std": cell.paper[1] if cell.paper else None,
                    "paper_real_game_behavior": row.paper_behavior,
                    "backend": r.backend, "commit": r.commit,
                })  # fmt: skip
    return found


def to_csv(report: Report) -> str:
    """One line per cell, full precision."""
    out = io.StringIO()
    rows = records(report)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(list(rows[0]))

    def safe(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return f"'{printable(value)}" if value[:1] in FORMULA and value else printable(value)

    writer.writerows([[safe(v) for v in row.values()] for row in rows])
    return out.getvalue()


def to_json(report: Report) -> str:
    """Cells at full precision with the scores of every seed, notes and warnings."""
    cells = [c for s in report.sections for row in s.rows for c in row.cells if c is not None]
    rows = records(report)
    for row, cell in zip(rows, cells, strict=True):
        row["seed_means"] = {str(r.seed): r.mean for r in cell.results}
        row["commands"] = [r.command for r in cell.results]
    together = [asdict(a) | {"column": report.columns[a.column]} for a in report.aggregates]
    found = {"cells": rows, "aggregates": together, "notes": report.notes, "warnings": report.warnings}
    return json.dumps(found, indent=1) + "\n"


FORMATS: dict[str, Callable[[Report], str]] = {
    "text": to_text, "md": to_markdown, "latex": to_latex, "csv": to_csv, "json": to_json, "html": to_html,
}  # fmt: skip


def render(report: Report, fmt: str = "text") -> str:
    """The report in one of ``FORMATS``, ending with a newline.

    Raises:
        UnknownName: no such format.
    """
    if fmt not in FORMATS:
        raise registry.unknown("report format", fmt, FORMATS)
    return FORMATS[fmt](report)


def formats() -> Sequence[str]:
    """Names of all formats."""
    return tuple(FORMATS)
