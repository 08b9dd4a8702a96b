"""The columns of format version 1: names, order, shapes and types, in one table that all else derives from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from offmarl_bench.types import EnvSpec

FORMAT_VERSION = 1

Columns = dict[str, Shaped[np.ndarray, "R ..."]]
"""One flat array per column name, all with the same first dimension R = Σ(T_k + 1)."""


@dataclass(frozen=True, slots=True)
class Column:
    """One root dataset of the file."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    """Shape of one row."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * self.dtype.itemsize


def columns_of(spec: EnvSpec) -> tuple[Column, ...]:
    """All columns of a dataset of this environment, in the order of the file and of the content hash."""
    n = spec.N
    action = ("<i4", (n,)) if spec.discrete else ("<f4", (n, spec.A))
    table: list[tuple[str, str, tuple[int, ...]]] = [
        ("observations", "<f4", (n, spec.O)),
        ("state", "<f4", (spec.S,)),
        ("actions", *action),
        *([("legal_actions", "?", (n, spec.A))] if spec.discrete else []),
        ("rewards", "<f4", ()),
        ("is_first", "?", ()),
        ("is_last", "?", ()),
        ("is_terminal", "?", ()),
        ("episode_id", "<i4", ()),
        ("timestep", "<i4", ()),
        ("behavior_level", "|i1", (n,)),
        ("behavior_policy", "<i2", (n,)),
        ("behavior_logprob", "<f4", (n,)),
    ]
    return tuple(Column(name, np.dtype(dtype), shape) for name, dtype, shape in table)


UNKNOWN = -1
"""``behavior_level`` and ``behavior_policy`` where nobody knows who played, and on last rows, where nobody does."""
