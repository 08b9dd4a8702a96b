"""The record of a training run: one JSON line per logging interval, the same numbers as CSV and as TensorBoard events.

Early evaluations (the learning curve) have files of their own. Weights & Biases gets everything too, where asked for.

When a run resumes, lines beyond its checkpoint are dropped first, so that no update appears twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tensorboardX import SummaryWriter

from offmarl_bench.atomic import write_atomic
from offmarl_bench.csv_log import CsvTable
from offmarl_bench.errors import OffmarlError
from offmarl_bench.wandb_log import WandbLog

FILE = "log.jsonl"
CURVE = "curve.jsonl"
EVENTS = "tensorboard"
PLACE = ("phase", "step", "total", "seconds")
"""Where in a run a line of the log stands; everything else in it is a metric."""
TABLE = ".csv"
"""Ending of the CSV file beside each file of JSON lines."""


def read_curve(directory: Path) -> list[tuple[int, float]]:
    """(updates so far, mean return) at the early evaluations of a run, oldest first; empty if there were none."""
    return [(row["total"], row["mean_return"]) for row in read_log(directory, CURVE) if "mean_return" in row]


def read_log(directory: Path, file: str = FILE) -> list[dict[str, Any]]:
    """All whole lines of a run's log, oldest first; a line cut by a kill ends the reading."""
    rows: list[dict[str, Any]] = []
    path = directory / file
    if not path.exists():
        return rows
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not isinstance(row, dict) or not isinstance(row.get("total"), int):
            break
        rows.append(row)
    return rows


class RunLog:
    """Appends to the log of one run; a context manager that closes the files.

    Args:
        directory: the run's folder.
        total: updates already done, over all phases; later lines are dropped.
        wandb: gets the numbers too, and is closed with the files; None: nobody asked for it.

    Raises:
        OffmarlError: the folder cannot be written.
    """

    def __init__(self, directory: Path, total: int = 0, wandb: WandbLog | None = None) -> None:
        self._wandb = wandb
        tables = {}
        for file in (FILE, CURVE):
            kept = [row for row in read_log(directory, file) if row["total"] <= total]
            write_atomic(directory / file, "".join(json.dumps(row) + "\n" for row in kept).encode())
            tables[file] = CsvTable((directory / file).with_suffix(TABLE), kept)
        self._table, self._curve_table = tables[FILE], tables[CURVE]
        try:
            self._file = (directory / FILE).open("a", encoding="utf-8")
            self._curve = (directory / CURVE).open("a", encoding="utf-8")
            # purge_step makes TensorBoard forget what an earlier, longer attempt wrote.
            self._events = SummaryWriter(str(directory / EVENTS), purge_step=total + 1 if total else None)
        except OSError as e:
            raise OffmarlError(f"cannot write the log in {directory}: {e.strerror or e}") from e

    def write(self, phase: str, step: int, total: int, seconds: float, metrics: Mapping[str, float]) -> None:
        """One interval: means of ``metrics`` over it. A number that is not finite is stored as null.

        Args:
            phase: name of the phase.
            step: updates done in it.
            total: updates done in all phases.
            seconds: wall time of training so far.
            metrics: name → mean over the interval.
        """
        plain = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
        self.again({"phase": phase, "step": step, "total": total, "seconds": round(seconds, 3), **plain})

    def again(self, row: Mapping[str, Any]) -> None:
        """One interval as ``read_log`` gives it: of this run, or of another with which it shares a phase."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        self._table.append(dict(row))
        scalars = {f"{row['phase']}/{name}": value for name, value in row.items() if name not in PLACE}
        self._scalars({name: value for name, value in scalars.items() if value is not None}, row["total"])

    def curve(self, total: int, seconds: float, mean_return: float) -> None:
        """One early evaluation.

        Args:
            total: updates done in all phases.
            seconds: wall time of training so far.
            mean_return: of the episodes played.
        """
        row = {"total": total, "seconds": round(seconds, 3), "mean_return": mean_return}
        self._curve.write(json.dumps(row) + "\n")
        self._curve.flush()
        self._curve_table.append(row)
        self._scalars({"evaluate/mean_return": mean_return}, total)

    def _scalars(self, values: Mapping[str, float], total: int) -> None:
        for name, value in values.items():
            self._events.add_scalar(name, value, total)
        if self._wandb is not None:
            self._wandb.scalars(values, total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._curve.close()
        self._events.close()
        if self._wandb is not None:
            self._wandb.close(failed=error is not None)
