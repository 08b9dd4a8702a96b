"""OMIGA's flat HDF5: ``s`` (M, N, S), ``o`` (M, N, O), ``a`` (M, N, A), ``r`` (M, 1), ``d`` (M, 1).

Its loader takes a row with ``d`` as the final observation of an episode and makes no step of it, so an episode of T
steps has T + 1 rows; ``s`` is there once an agent. The SMAC variant also carries the legal actions, and its training
code does not look at ``d`` but takes ``s == s'`` for an end.

Source: datasets/offline_dataset.py and framework/ of ZhengYinan-AIR/OMIGA.
"""

from __future__ import annotations

from pathlib import Path

import h5py

from offmarl_bench.foreign.arrays import first_name
from offmarl_bench.foreign.d4rl import flat_file
from offmarl_bench.foreign.view import Recording

FORMAT = "omiga"
NAMES: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "obs": (("o",), (2, 3)),
    "actions": (("a",), (2, 3)),
    "rewards": (("r",), (1, 2, 3)),
    "terminated": (("d",), (1, 2, 3)),
    "state": (("s", "g"), (2, 3)),
    "legal": (("ava", "avail", "available_actions"), (3,)),
}
"""Spellings and possible numbers of axes."""


def looks_like(file: h5py.File) -> bool:
    """Whether an HDF5 file has OMIGA's one-letter arrays."""
    return all(first_name(file, NAMES[k][0]) for k in ("obs", "actions", "rewards"))


def read_omiga(path: Path) -> Recording:
    """A flat file under OMIGA's names.

    Raises:
        FormatError: not such a file, or damaged.
    """
    return flat_file(path, NAMES, FORMAT, 1)
