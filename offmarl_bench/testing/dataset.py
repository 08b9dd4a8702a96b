"""Does a dataset in memory keep format version 1, row by row?

``verify`` (``offmarl_bench.audit``) reads files, hashes them and looks for what is unwise; this looks for what is
wrong, in any Dataset: one converted by a stranger's script as well as ours. How rows make up episodes is checked here,
since nothing can look further if they do not; what the rows hold is for those of the doctor's lints that are a
contract.
"""

from __future__ import annotations

import numpy as np

from offmarl_bench.doctor.examine import breaches
from offmarl_bench.errors import ConformanceError
from offmarl_bench.foreign.native import recording_of
from offmarl_bench.format.schema import columns_of
from offmarl_bench.loader import Dataset
from offmarl_bench.testing.rules import require, require_array
from offmarl_bench.types import EnvSpec


def check_dataset(dataset: Dataset) -> None:
    """Check every rule of the flat table.

    Raises:
        ConformanceError: the first broken rule, with the row or episode where it breaks.
    """
    spec = dataset.spec
    require(isinstance(spec, EnvSpec), "dataset", f"spec is a {type(spec).__name__}", "an EnvSpec")
    who = f"dataset {dataset.metadata.get('dataset_id') or spec.id!r}"
    require(len(dataset) > 0, who, "it has no episodes", "at least one")
    _check_columns(who, dataset)
    _check_rows(who, dataset)
    _check_content(who, dataset)


def _check_columns(who: str, dataset: Dataset) -> None:
    """Every column of the schema is there, with one common first dimension, the right type and finite numbers."""
    rows = len(dataset.columns.get("rewards", ()))
    for column in columns_of(dataset.spec):
        if column.name not in dataset.columns:
            require(False, who, f"column {column.name!r} is missing", "all columns of format version 1")
        values = dataset.columns[column.name]
        if column.name == "behavior_logprob" and values.dtype.kind == "f":
            values = np.where(np.isnan(values), np.float32(0), values)  # NaN: unknown
        require_array(who, f"column {column.name!r}", values, (rows, *column.shape), column.dtype)


def _at(bad: np.ndarray) -> str:
    return f"first in row {int(np.flatnonzero(bad)[0])}" if bad.any() else "nowhere"


def _check_rows(who: str, dataset: Dataset) -> None:
    """Episodes have T + 1 rows; flags, clocks and ids follow from where they begin and end."""
    c = dataset.columns
    rows = len(c["rewards"])
    first, last = np.zeros(rows, bool), np.zeros(rows, bool)
    starts, lengths = dataset.row_starts, dataset.lengths
    require(bool((lengths >= 1).all()), who, "an episode has no steps", "at least 1")
    ends = starts + lengths
    require(int(ends.max()) < rows, who, f"an episode ends in row {int(ends.max())} of {rows}", "T + 1 rows each")
    first[starts], last[ends] = True, True
    # A view holds some of the episodes; only their rows are judged.
    count = np.zeros(rows + 1, np.int64)
    np.add.at(count, starts, 1)
    np.add.at(count, ends + 1, -1)
    owned = count.cumsum()[:rows]
    require(not (owned > 1).any(), who, f"two episodes share a row, {_at(owned > 1)}", "rows of their own")
    mine = owned == 1
    for name, expected in (("is_first", first), ("is_last", last)):
        bad = (c[name] != expected) & mine
        require(not bad.any(), who, f"{name} is wrong, {_at(bad)}", "it exactly where an episode begins or ends")
    bad = c["is_terminal"] & ~last & mine
    require(not bad.any(), who, f"is_terminal inside an episode, {_at(bad)}", "it on last rows only")
    owner = np.repeat(np.arange(len(starts)), lengths + 1)
    clock = np.arange(len(owner)) - np.repeat(np.cumsum(lengths + 1) - lengths - 1, lengths + 1)
    own_rows = starts[owner] + clock
    bad = c["timestep"][own_rows] != clock
    require(not bad.any(), who, f"timestep is wrong, {_at(bad)}", "0 … T in every episode")


def _check_content(who: str, dataset: Dataset) -> None:
    """What the doctor calls errors in the rows of these episodes."""
    spec, metadata = dataset.spec, dataset.metadata
    seen = recording_of(spec, dataset.columns, dataset.row_starts, dataset.lengths, metadata, who)
    for finding in breaches(seen):
        raise ConformanceError(f"{who}: {finding.what}: {finding.evidence}; {finding.fix}")
