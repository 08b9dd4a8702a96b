r"""The content hash: what a dataset says, whatever its compression, chunks or file library.

SHA-256 over the text of one line per column, in the order of ``schema.columns_of``::

    <name> <dtype> <shape> <SHA-256 of the column's little-endian bytes, in C order>\n

for instance ``rewards <f4 (128,) 9f86…``. Hashing the columns apart lets them be computed in any order, in pieces
and in parallel.
"""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Shaped

from offmarl_bench.format.schema import Column, Columns, columns_of
from offmarl_bench.types import EnvSpec


class ContentHash:
    """Takes each column's rows in order, in pieces of any size."""

    def __init__(self, spec: EnvSpec) -> None:
        self._columns: tuple[Column, ...] = columns_of(spec)
        self._digests = {c.name: hashlib.sha256() for c in self._columns}
        self._rows = dict.fromkeys(self._digests, 0)

    def update(self, name: str, rows: Shaped[np.ndarray, "R ..."]) -> None:
        """Take the next rows of one column."""
        dtype = next(c.dtype for c in self._columns if c.name == name)
        self._digests[name].update(np.ascontiguousarray(rows, dtype).reshape(-1).view(np.uint8).data)
        self._rows[name] += len(rows)

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        lines = [
            f"{c.name} {c.dtype.str} {(self._rows[c.name], *c.shape)} {self._digests[c.name].hexdigest()}\n"
            for c in self._columns
        ]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def content_hash(columns: Columns, spec: EnvSpec) -> str:
    """The content hash of columns in memory."""
    digest = ContentHash(spec)
    for name in [c.name for c in columns_of(spec)]:
        digest.update(name, columns[name])
    return digest.hexdigest()
