"""Read a dataset file fast, and trust nothing in it.

Everything that decides how much memory is taken is checked before any is taken: names, kinds, types and shapes
against the spec in the metadata, declared sizes against what the stored bytes could inflate to. A file can be
damaged or hostile; the answer is one line that names file, column, expectation and remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int64

from offmarl_bench.errors import FormatError
from offmarl_bench.format.arrays import Source, read_arrays
from offmarl_bench.format.hdf5 import REMEDY, check_size, check_total, opened, plain_dataset, text_attribute
from offmarl_bench.format.metadata import ATTRIBUTE, MAX_BYTES, decode
from offmarl_bench.format.schema import Column, Columns, columns_of
from offmarl_bench.types import LEVELS, EnvSpec

CHECKED = ("actions", "is_first", "is_last", "is_terminal", "timestep", "behavior_level")
"""The columns whose values ``checked_values`` looks at."""


@dataclass(frozen=True, slots=True)
class Contents:
    """A checked file in memory."""

    spec: EnvSpec
    metadata: dict[str, Any]
    columns: Columns
    row_starts: Int64[np.ndarray, " E"]
    lengths: Int64[np.ndarray, " E"]


def _checked_column(file: h5py.File, column: Column, rows: int | None, where: str) -> h5py.Dataset:
    """The HDF5 dataset behind one column, once nothing about it can surprise."""
    where = f"{where}: column {column.name!r}"
    if file.get(column.name, getlink=True) is None:
        raise FormatError(f"{where} is missing, expected {column.dtype.name} of shape (rows, {column.shape}); {REMEDY}")
    data = plain_dataset(file, column.name, where)
    if h5py.check_enum_dtype(data.dtype) is not None:
        raise FormatError(f"{where} holds an enumeration, expected {column.dtype.name}; {REMEDY}")
    if data.dtype != column.dtype:
        raise FormatError(f"{where} holds {data.dtype}, expected {column.dtype.name}; {REMEDY}")
    found: tuple[int, ...] = data.shape or ()
    if len(found) != 1 + len(column.shape) or found[1:] != column.shape or found[0] != (rows or found[0]):
        raise FormatError(f"{where} has shape {found}, expected ({rows or 'rows'}, *{column.shape}); {REMEDY}")
    if not found[0]:
        raise FormatError(f"{where} has no rows, expected at least two; {REMEDY}")
    check_size(data, where)
    return data


def checked_values(columns: Columns, spec: EnvSpec, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Episode starts and lengths, once flags, time steps and actions are such that nothing can index out of range.

    Args:
        columns: at least those in ``CHECKED``.
        spec: the environment.
        where: named in errors.

    Raises:
        FormatError: the columns contradict each other or the spec.
    """
    for name, column in columns.items():
        if column.dtype == bool and column.view(np.uint8).max() > 1:
            raise FormatError(f"{where}: column {name!r} holds values that are neither true nor false; {REMEDY}")
    starts, lasts = np.flatnonzero(columns["is_first"]), np.flatnonzero(columns["is_last"])
    rows = len(columns["is_first"])
    paired = len(starts) == len(lasts) and len(starts) > 0 and starts[0] == 0 and lasts[-1] == rows - 1
    if not paired or (starts[1:] != lasts[:-1] + 1).any() or (lasts <= starts).any():
        raise FormatError(
            f"{where}: is_first and is_last do not divide {rows} rows into episodes of at least one step; {REMEDY}"
        )
    lengths = lasts - starts
    if (columns["timestep"] != np.arange(rows) - np.repeat(starts, lengths + 1)).any():
        raise FormatError(f"{where}: column 'timestep' does not count 0, 1, 2, … within each episode; {REMEDY}")
    if (columns["is_terminal"] & ~columns["is_last"]).any():
        raise FormatError(f"{where}: column 'is_terminal' is true on a row that is not an episode's last; {REMEDY}")
    if spec.discrete and not 0 <= columns["actions"].min() <= columns["actions"].max() < spec.A:
        raise FormatError(f"{where}: column 'actions' leaves the range 0 … {spec.A - 1}; {REMEDY}")
    levels = columns["behavior_level"]
    if not -1 <= levels.min() <= levels.max() < len(LEVELS):
        raise FormatError(f"{where}: column 'behavior_level' leaves the range -1 … {len(LEVELS) - 1}; {REMEDY}")
    return starts, lengths


def read_metadata(path: Path) -> tuple[EnvSpec, dict[str, Any]]:
    """Spec and metadata of a file, without its data. Raises FormatError."""
    with opened(path) as file:
        return _metadata(file, str(path))


def _metadata(file: h5py.File, where: str) -> tuple[EnvSpec, dict[str, Any]]:
    if ATTRIBUTE not in file.attrs:
        raise FormatError(
            f"{where}: no root attribute {ATTRIBUTE!r}, so not a dataset of ours; "
            "expected a file written by `offmarl-bench generate` (docs/format.md)"
        )
    return decode(text_attribute(file, ATTRIBUTE, MAX_BYTES, where), where)


@contextmanager
def open_columns(
    path: Path,
) -> Iterator[tuple[h5py.File, EnvSpec, dict[str, Any], list[tuple[Column, h5py.Dataset]]]]:
    """A file with its spec, its metadata and its columns, checked for what they are but not read.

    For those who cannot afford a whole dataset in memory. Raises FormatError.
    """
    where = str(path)
    with opened(path) as file:
        spec, metadata = _metadata(file, where)
        sources, rows = [], None
        for column in columns_of(spec):
            data = _checked_column(file, column, rows, where)
            rows = len(data)
            sources.append((column, data))
        yield file, spec, metadata, sources


def read_dataset(path: Path, *, threads: int | None = None) -> Contents:
    """Read and check a whole file.

    Args:
        path: a file of format version 1.
        threads: inflating threads; None means one for each core.

    Raises:
        FormatError: the file does not exist, is damaged, or is not what it claims; one line.
    """
    where = str(path)
    with open_columns(path) as (file, spec, metadata, sources):
        wanted = [Source(data, column.dtype, f"{where}: column {column.name!r}") for column, data in sources]
        check_total(file, sum(len(data) * column.row_bytes for column, data in sources), where)
        arrays = read_arrays(wanted, threads=threads)
    columns = {column.name: array for (column, _), array in zip(sources, arrays, strict=True)}
    starts, lengths = checked_values(columns, spec, where)
    return Contents(spec, metadata, columns, starts, lengths)
