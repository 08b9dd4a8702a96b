"""Read a dataset file fast, and trust nothing in it.

Everything that decides how much memory is taken is checked before any is taken: names, kinds, types and shapes
against the spec in the metadata, declared sizes against what the stored bytes could inflate to. A file can be
damaged or hostile; the answer is one line that names file, column, expectation and remedy.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int64

from offmarl_bench.errors import FormatError
from offmarl_bench.format.chunks import cores, inflate, unpack_into
from offmarl_bench.format.hdf5 import REMEDY, check_size, filters_of, opened, plain_dataset
from offmarl_bench.format.metadata import ATTRIBUTE, decode
from offmarl_bench.format.schema import Column, Columns, columns_of
from offmarl_bench.types import EnvSpec

TASK_BYTES = 1 << 21
"""Raw bytes that one task of the thread pool inflates."""


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
    if data.dtype != column.dtype or h5py.check_enum_dtype(data.dtype) is not None:
        raise FormatError(f"{where} holds {data.dtype}, expected {column.dtype.name}; {REMEDY}")
    found: tuple[int, ...] = data.shape or ()
    if len(found) != 1 + len(column.shape) or found[1:] != column.shape or found[0] != (rows or found[0]):
        raise FormatError(f"{where} has shape {found}, expected ({rows or 'rows'}, *{column.shape}); {REMEDY}")
    if not found[0]:
        raise FormatError(f"{where} has no rows, expected at least two; {REMEDY}")
    check_size(data, where)
    return data


def _chunk_table(data: h5py.Dataset, column: Column, where: str) -> list[tuple[int, int, int]] | None:
    """(first row, byte offset, stored bytes) of all chunks, or None where only the library can read them."""
    codes = filters_of(data, where)
    whole = data.chunks is not None and data.chunks[1:] == column.shape
    plain = codes in ([h5py.h5z.FILTER_DEFLATE], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE])
    if not whole or not plain or data.file.userblock_size or not hasattr(os, "pread"):
        return None
    table: list[tuple[int, int, int]] = []
    skipped = []

    def visit(info: Any) -> None:
        table.append((info.chunk_offset[0], info.byte_offset, info.size))
        if info.filter_mask:
            skipped.append(info.chunk_offset[0])

    data.id.chunk_iter(visit)
    if skipped:
        return None
    rows = data.chunks[0]
    if sorted(t[0] for t in table) != list(range(0, len(data), rows)):
        raise FormatError(f"{where}: {len(table)} chunks of {rows} rows do not make up {len(data)} rows; {REMEDY}")
    return table


def _read_chunks(
    fd: int, out: np.ndarray, table: list[tuple[int, int, int]], rows: int, shuffled: bool, where: str
) -> None:
    expected = rows * math.prod(out.shape[1:]) * out.dtype.itemsize
    for first, offset, size in table:
        try:
            stored = os.pread(fd, size, offset)
            unpack_into(out[first : first + rows], inflate(stored, expected), shuffled)
        except (ValueError, OverflowError, OSError) as e:
            raise FormatError(f"{where}, rows {first} … {first + rows - 1}: {e}; {REMEDY}") from e


def _read_columns(file: h5py.File, sources: list[tuple[Column, h5py.Dataset]], where: str, threads: int) -> Columns:
    size = os.path.getsize(file.filename)
    columns: Columns = {}
    with ThreadPoolExecutor(threads) as pool, open(file.filename, "rb") as raw:
        futures = []
        for column, data in sources:
            label = f"{where}: column {column.name!r}"
            table = _chunk_table(data, column, label)
            if table is None:
                columns[column.name] = data[()]
                continue
            if any(n < 0 or at < 0 or at + n > size for _, at, n in table):
                raise FormatError(f"{label}: chunks lie outside of the file's {size} bytes; {REMEDY}")
            out = columns[column.name] = np.empty((len(data), *column.shape), column.dtype)
            rows = data.chunks[0]
            step = max(1, TASK_BYTES // max(1, rows * column.row_bytes))
            shuffled = filters_of(data, label)[0] == h5py.h5z.FILTER_SHUFFLE
            table.sort(key=lambda t: t[1])  # in the order of the file
            futures += [
                pool.submit(_read_chunks, raw.fileno(), out, table[k : k + step], rows, shuffled, label)
                for k in range(0, len(table), step)
            ]
        for future in futures:
            future.result()
    return columns


def _checked_values(columns: Columns, spec: EnvSpec, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Episode starts and lengths, once flags, time steps and actions are such that nothing can index out of range."""
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
    return decode(file.attrs[ATTRIBUTE], where)


def read_dataset(path: Path, *, threads: int | None = None) -> Contents:
    """Read and check a whole file.

    Args:
        path: a file of format version 1.
        threads: inflating threads; None means one for each core.

    Raises:
        FormatError: the file does not exist, is damaged, or is not what it claims; one line.
    """
    where = str(path)
    with opened(path) as file:
        spec, metadata = _metadata(file, where)
        sources, rows = [], None
        for column in columns_of(spec):
            data = _checked_column(file, column, rows, where)
            rows = len(data)
            sources.append((column, data))
        columns = _read_columns(file, sources, where, threads or cores())
    starts, lengths = _checked_values(columns, spec, where)
    return Contents(spec, metadata, columns, starts, lengths)
