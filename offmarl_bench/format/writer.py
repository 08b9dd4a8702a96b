"""Write a dataset file: all cores pack chunks, one writes them in order, the name appears when all is done."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Shaped

from offmarl_bench.atomic import temporary_beside
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.format.chunks import GZIP_LEVEL, cores, pack
from offmarl_bench.format.content_hash import ContentHash
from offmarl_bench.format.metadata import ATTRIBUTE, encode
from offmarl_bench.format.schema import Column, Columns, columns_of
from offmarl_bench.types import EnvSpec

CHUNK_ROWS = 128
"""Large enough to compress well, small enough that one episode touches few chunks."""
TASK_BYTES = 1 << 20
"""Raw bytes that one task of the thread pool packs: many small chunks, or a few large ones."""
AHEAD = 4
"""Tasks under way for each thread; bounds memory."""
LIBRARY = ("v110", "v110")
"""HDF5 1.10 (2016) and later read the file; older versions of the format cap attributes at 64 kB."""


class _Rows:
    """One column over several parts, addressed as if they were one array."""

    def __init__(self, column: Column, parts: Sequence[Columns]) -> None:
        self._parts = [part[column.name] for part in parts]
        self._ends = np.cumsum([len(p) for p in self._parts]).tolist()
        for part in self._parts:
            if part.dtype != column.dtype or part.shape[1:] != column.shape:
                raise FormatError(
                    f"column {column.name}: rows are {part.dtype} {part.shape[1:]}, "
                    f"expected {column.dtype} {column.shape}"
                )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, span: slice) -> Shaped[np.ndarray, "C ..."]:
        at, pieces = span.start, []
        while at < span.stop:
            k = bisect_right(self._ends, at)
            first = self._ends[k - 1] if k else 0
            pieces.append(self._parts[k][at - first : span.stop - first])
            at += len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _pack_chunks(rows: Shaped[np.ndarray, "K ..."], chunk: int) -> list[bytes]:
    packed = []
    for at in range(0, len(rows), chunk):
        piece = rows[at : at + chunk]
        if len(piece) < chunk:  # HDF5 stores a last chunk at full size
            piece = np.concatenate([piece, np.zeros((chunk - len(piece), *piece.shape[1:]), piece.dtype)])
        packed.append(pack(piece))
    return packed


def _write_column(
    file: h5py.File, column: Column, rows: _Rows, digest: ContentHash, pool: ThreadPoolExecutor, ahead: int
) -> Iterator[int]:
    """Yields the number of raw bytes whenever some have been written."""
    chunk = min(CHUNK_ROWS, len(rows))
    data = file.create_dataset(
        column.name, shape=(len(rows), *column.shape), dtype=column.dtype, chunks=(chunk, *column.shape),
        compression="gzip", compression_opts=GZIP_LEVEL, shuffle=True,
    )  # fmt: skip
    step = chunk * max(1, TASK_BYTES // max(1, chunk * column.row_bytes))
    under_way: deque[tuple[int, Future[list[bytes]]]] = deque()
    rest = (0,) * len(column.shape)

    def finish() -> int:
        first, future = under_way.popleft()
        for k, stored in enumerate(future.result()):
            data.id.write_direct_chunk((first + k * chunk, *rest), stored)
        return (min(first + step, len(rows)) - first) * column.row_bytes

    for first in range(0, len(rows), step):
        piece = rows[first : min(first + step, len(rows))]
        under_way.append((first, pool.submit(_pack_chunks, piece, chunk)))
        digest.update(column.name, piece)
        if len(under_way) > ahead:
            yield finish()
    while under_way:
        yield finish()


def write_dataset(
    path: Path,
    spec: EnvSpec,
    parts: Sequence[Columns],
    metadata: Mapping[str, Any],
    *,
    temporary: Path | None = None,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> str:
    """Write the parts, one after the other, as one dataset file of format version 1.

    Args:
        path: the file; an existing one is replaced when, and only when, the new one is complete.
        spec: the environment.
        parts: columns with the same names; may be memory maps, no part is copied as a whole.
        metadata: JSON fields beside those of ``format.metadata.encode``.
        temporary: the name while it is written, on the same disk; None means a hidden one beside ``path``.
        threads: packing threads; None means one for each core.
        progress: called with a number of raw bytes whenever so many have been written.

    Returns:
        The content hash.

    Raises:
        FormatError: no rows, columns that do not fit the spec, or metadata that is not JSON.
        OffmarlError: the file cannot be written (full or read-only disk, …).
    """
    columns = columns_of(spec)
    for part in parts:
        if set(part) != {c.name for c in columns}:
            raise FormatError(f"columns {sorted(part)} do not fit {spec.id}, expected {[c.name for c in columns]}")
    rows = {c.name: _Rows(c, parts) for c in columns} if parts else {}
    if not rows or not len(rows["rewards"]) or len({len(r) for r in rows.values()}) != 1:
        sizes = {name: len(r) for name, r in rows.items()}
        raise FormatError(f"{path}: rows per column are {sizes}, expected the same number ≥ 1 in all; nothing written")
    encode(spec, "", metadata)  # refuse bad metadata before the long work, not after it
    workers = threads or cores()
    digest = ContentHash(spec)
    temporary = temporary or temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(workers) as pool, h5py.File(temporary, "w", libver=LIBRARY) as file:
            for column in columns:
                for written in _write_column(file, column, rows[column.name], digest, pool, AHEAD * workers):
                    if progress is not None:
                        progress(written)
            file.attrs[ATTRIBUTE] = encode(spec, digest.hexdigest(), metadata)
        with temporary.open("rb") as done:
            os.fsync(done.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as e:  # h5py says RuntimeError when a full disk shows at closing
        raise OffmarlError(
            f"cannot write {path}: {e.strerror if isinstance(e, OSError) and e.strerror else e}; "
            "free some space or make the folder writable, or choose another file, and run again"
        ) from e
    finally:
        temporary.unlink(missing_ok=True)
    return digest.hexdigest()
