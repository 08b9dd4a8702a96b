"""Read whole HDF5 datasets with all cores.

The HDF5 library inflates under one lock. Here it only says where the chunks lie; their bytes come by plain reads and
are inflated by threads. What the library is still asked to read (uncompressed data, lzf) is bounded beforehand, as
everything else is: no chunk makes more bytes than its own share of the array.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, NamedTuple

import h5py
import numpy as np
from jaxtyping import Shaped

from offmarl_bench.errors import FormatError
from offmarl_bench.format.chunks import cores, inflate, unpack_into
from offmarl_bench.format.hdf5 import REMEDY, filters_of

TASK_BYTES = 1 << 21
"""Raw bytes that one task of the thread pool inflates."""
RUN_BYTES = 1 << 16
"""Raw bytes of small neighbouring chunks that are unshuffled in one go."""
LZF_CHUNK_BYTES = 1 << 24
"""Largest lzf chunk: it is the library that inflates those, and its buffer grows as long as the stream asks."""
GAP = 2
"""Chunks whose bytes span at most this many times their sum are fetched by one read."""
CHECKSUM_BYTES = 4
DEFLATE, SHUFFLE, FLETCHER = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32
PIPELINES = ([DEFLATE], [SHUFFLE, DEFLATE], [DEFLATE, FLETCHER], [SHUFFLE, DEFLATE, FLETCHER])


class Source(NamedTuple):
    """An HDF5 dataset to be read; its size has been checked (``hdf5.check_size``)."""

    data: h5py.Dataset
    dtype: np.dtype[np.generic]
    """Type in memory, of the same bytes as the stored one."""
    where: str
    """Names file and column in errors."""


class _Chunk(NamedTuple):
    at: tuple[int, ...]
    """Index of its first element in the array."""
    offset: int
    """Of its bytes in the file."""
    size: int
    """Stored bytes."""
    mask: int
    """Bit k: filter k was left out."""


def _located(source: Source) -> list[_Chunk]:
    """Where the chunks lie, in the order of the array. Raises FormatError unless they tile it exactly."""
    data, _, where = source
    found: list[_Chunk] = []

    def visit(info: Any) -> None:
        found.append(_Chunk(info.chunk_offset, info.byte_offset, info.size, info.filter_mask))

    data.id.chunk_iter(visit)
    found.sort()
    tiles = [-(-n // c) for n, c in zip(data.shape, data.chunks, strict=True)]
    whole = len(found) == math.prod(tiles)  # asked first: the table below is as large as the shape claims
    if not whole or (np.indices(tiles).reshape(data.ndim, -1).T * data.chunks != [c.at for c in found]).any():
        raise FormatError(
            f"{where}: {len(found)} chunks of {data.chunks[0]} rows do not make up {len(data)} rows; {REMEDY}"
        )
    size = os.path.getsize(data.file.filename)
    if any(c.offset < 0 or c.offset + c.size > size for c in found):
        raise FormatError(f"{where}: chunks lie outside of the file's {size} bytes; {REMEDY}")
    return found


def _fetched(file: BinaryIO | None, data: h5py.Dataset, chunks: Sequence[_Chunk]) -> list[memoryview | bytes]:
    """Stored bytes of each chunk; shorter where the file is."""
    if file is None:
        return [data.id.read_direct_chunk(c.at)[1] for c in chunks]
    low, high = min(c.offset for c in chunks), max(c.offset + c.size for c in chunks)
    if high - low <= GAP * sum(c.size for c in chunks):
        near = memoryview(os.pread(file.fileno(), high - low, low))
        return [near[c.offset - low : c.offset - low + c.size] for c in chunks]
    return [os.pread(file.fileno(), c.size, c.offset) for c in chunks]


def _inflated(stored: memoryview | bytes, mask: int, codes: list[int], expected: int) -> bytes:
    """A chunk's bytes before compression. Raises ValueError unless there are as many as expected."""
    if codes[-1] == FLETCHER and not mask >> (len(codes) - 1) & 1:
        stored = stored[:-CHECKSUM_BYTES]  # deflate brings a checksum of its own
    if not mask >> codes.index(DEFLATE) & 1:
        return inflate(stored, expected)
    if len(stored) != expected:
        raise ValueError(f"uncompressed data of {len(stored)} bytes, expected {expected}")
    return bytes(stored)


def _runs(chunks: Sequence[_Chunk], size: int) -> Iterator[Sequence[_Chunk]]:
    """Neighbours that are unpacked together: small ones that went through the same filters."""
    step = max(1, RUN_BYTES // size)
    for k in range(0, len(chunks), step):
        run = chunks[k : k + step]
        yield from [run] if len({c.mask for c in run}) == 1 else [[c] for c in run]


def _fill(file: BinaryIO | None, source: Source, codes: list[int], out: np.ndarray, chunks: list[_Chunk]) -> None:
    """Inflate neighbouring chunks of a deflated dataset into their places."""
    data, _, where = source
    shape = data.chunks
    expected = math.prod(shape) * out.itemsize
    whole_rows = shape[1:] == out.shape[1:]
    stored = iter(_fetched(file, data, chunks))
    for run in _runs(chunks, expected if whole_rows else RUN_BYTES):
        raw = []
        for chunk in run:
            try:
                raw.append(_inflated(next(stored), chunk.mask, codes, expected))
            except ValueError as e:
                rows = f"rows {chunk.at[0]} … {chunk.at[0] + shape[0] - 1}"
                raise FormatError(f"{where}, {rows}: {e}; {REMEDY}") from e
        shuffled = codes[0] == SHUFFLE and not run[0].mask & 1
        if whole_rows:
            place = out[run[0].at[0] : run[-1].at[0] + shape[0]]
            unpack_into(place, raw, shuffled)
        else:
            block = np.empty(shape, out.dtype)
            unpack_into(block, raw, shuffled)
            place = out[tuple(slice(a, a + n) for a, n in zip(run[0].at, shape, strict=True))]
            place[...] = block[tuple(slice(n) for n in place.shape)]


def _by_library(source: Source, codes: list[int]) -> np.ndarray:
    """Uncompressed or lzf data, read by the HDF5 library."""
    data, dtype, where = source
    chunk = 0 if data.chunks is None else math.prod(data.chunks) * dtype.itemsize
    if h5py.h5z.FILTER_LZF in codes and chunk > LZF_CHUNK_BYTES:
        raise FormatError(
            f"{where}: lzf chunks of {chunk} bytes, expected at most {LZF_CHUNK_BYTES}; rewrite the file with "
            "compression='gzip', shuffle=True"
        )
    if h5py.h5z.FILTER_LZF in codes:
        _refuse_swollen(data, chunk, where)
    out = np.empty(data.shape, dtype)
    data.read_direct(out)
    return out


def _refuse_swollen(data: h5py.Dataset, chunk: int, where: str) -> None:
    """Refuse stored chunks larger than what they stand for: a library's buffer would grow with them."""
    sizes: list[int] = []
    data.id.chunk_iter(lambda info: sizes.append(info.size))
    if max(sizes, default=0) > chunk + CHECKSUM_BYTES:
        raise FormatError(f"{where}: a stored chunk of {max(sizes)} bytes stands for {chunk} bytes; {REMEDY}")


def read_arrays(sources: Sequence[Source], *, threads: int | None = None) -> list[Shaped[np.ndarray, "R ..."]]:
    """Read these datasets of one file.

    Args:
        sources: what to read; the sizes they declare must have been checked.
        threads: inflating threads; None means one for each core.

    Raises:
        FormatError: chunks that are damaged, missing, outside of the file, or larger or smaller than declared.
    """
    found: list[np.ndarray] = []
    with ThreadPoolExecutor(threads or cores()) as pool, open(sources[0].data.file.filename, "rb") as opened:
        # Addresses in a file with a block of the user's before it are the library's business.
        file = opened if hasattr(os, "pread") and not sources[0].data.file.userblock_size else None
        futures = []
        for source in sources:
            codes = filters_of(source.data, source.where)
            if DEFLATE not in codes:
                found.append(_by_library(source, codes))
                continue
            if codes not in PIPELINES:
                raise FormatError(
                    f"{source.where}: HDF5 filters {codes}, expected shuffle, gzip, checksum in this order; rewrite "
                    "the file with compression='gzip', shuffle=True"
                )
            chunks = _located(source)
            found.append(np.empty(source.data.shape, source.dtype))
            step = max(1, TASK_BYTES // (math.prod(source.data.chunks) * source.dtype.itemsize))
            futures += [
                pool.submit(_fill, file, source, codes, found[-1], chunks[k : k + step])
                for k in range(0, len(chunks), step)
            ]
        for future in futures:
            future.result()
    return found
