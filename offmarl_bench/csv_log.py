"""A log as a CSV table that grows line by line, and by a column when a number appears that was not there before.

Phases log different numbers, so the columns of a run are known only at its end; a spreadsheet wants them in one header
all the same. A line that brings a new column has the file written anew, which happens once or twice a phase.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from offmarl_bench.atomic import write_atomic

Row = Mapping[str, str | int | float | None]


class CsvTable:
    """One growing CSV file; None is an empty field.

    Args:
        path: the file, written anew.
        rows: lines it starts with.

    Raises:
        OffmarlError: the file cannot be written.
    """

    def __init__(self, path: Path, rows: Iterable[Row] = ()) -> None:
        self.path = path
        self._rows: list[Row] = list(rows)
        self._columns: list[str] = []
        self._write()

    def append(self, row: Row) -> None:
        """Add a line. Raises OffmarlError (new columns) or OSError (disk full)."""
        self._rows.append(row)
        if set(row) <= set(self._columns):
            with self.path.open("a", encoding="utf-8", newline="") as file:
                self._writer(file).writerow(dict(row))
        else:
            self._write()

    def _writer(self, file: io.TextIOBase) -> csv.DictWriter[str]:
        return csv.DictWriter(file, self._columns, lineterminator="\n")

    def _write(self) -> None:
        self._columns = list(dict.fromkeys(name for row in self._rows for name in row))
        text = io.StringIO(newline="")
        writer = self._writer(text)
        if self._columns:
            writer.writeheader()
        writer.writerows(dict(row) for row in self._rows)
        write_atomic(self.path, text.getvalue().encode())
