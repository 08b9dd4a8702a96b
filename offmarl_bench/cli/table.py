"""Plain-text tables for the terminal: columns as wide as they need to be, numbers to the right."""

from __future__ import annotations

from collections.abc import Sequence


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The rows under the header; None becomes a dash, floats get two decimals."""
    cells = [[_text(x) for x in row] for row in rows]
    widths = [max(len(line[k]) for line in [list(header), *cells]) for k in range(len(header))]
    right = [bool(rows) and all(isinstance(row[k], int | float | None) for row in rows) for k in range(len(header))]

    def line(row: Sequence[str]) -> str:
        parts = [x.rjust(w) if r else x.ljust(w) for x, w, r in zip(row, widths, right, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), "  ".join("-" * w for w in widths), *(line(row) for row in cells)])


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
