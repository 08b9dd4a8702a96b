"""A report as one self-contained page without scripts."""

from __future__ import annotations

import html

from offmarl_bench.report import Report
from offmarl_bench.report_lines import FIRST, aggregate_table, marked_lines, plain, printable

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse}th,td{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #8884}"
    "th[scope=row]{text-align:left}"
)


def to_html(report: Report) -> str:
    """One self-contained page without scripts."""
    out = [f"<!doctype html><meta charset=utf-8><title>Results</title><style>{STYLE}</style>"]
    for section in report.sections:
        titles = ["", "", FIRST[2], *(html.escape(plain(report.columns[k])) for k in section.columns)]
        out.append(f"<h2>{html.escape(printable(section.title))}</h2><table>")
        out.append("<tr>" + "".join(f"<th scope=col>{t}</th>" for t in titles) + "</tr>")
        for row in section.rows:
            for line, texts in marked_lines(row, section.columns, html.escape, ("<b>", "</b>")):
                label = html.escape(plain(line.label))
                cells = "".join(f"<td>{t}</td>" for t in texts)
                out.append(f"<tr><th scope=row>{label}</th><td>{line.kind}</td>{cells}</tr>")
        out.append("</table>")
    if table := aggregate_table(report):
        out.append("<h2>All datasets together</h2><table>")
        out.append("<tr>" + "".join(f"<th scope=col>{html.escape(t)}</th>" for t in table[0]) + "</tr>")
        for agent, *values in table[1:]:
            rest = "".join(f"<td>{html.escape(t)}</td>" for t in values)
            out.append(f"<tr><th scope=row>{html.escape(agent)}</th>{rest}</tr>")
        out.append("</table>")
    notes = [*report.notes, *(f"Warning: {w}" for w in report.warnings)]
    out += ["<ul>", *(f"<li>{html.escape(printable(n))}</li>" for n in notes), "</ul>"]
    return "\n".join(out) + "\n"
