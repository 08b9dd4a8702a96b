"""Arrays of a foreign file, checked before they are read: kind, number of axes, common length, honest size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from jaxtyping import Shaped

from offmarl_bench.errors import FormatError
from offmarl_bench.format.hdf5 import check_size, plain_dataset

NUMBERS = "biuf"
"""Kinds of numbers that data can be: bool, integers, floats."""
NPY_SUFFIX = ".npy"


class Array(Protocol):
    """What an HDF5 dataset and a numpy array have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of all axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""

    def __getitem__(self, key: Any) -> Any:
        """Some rows, as a numpy array."""


def first_name(group: Any, names: Sequence[str]) -> str | None:
    """The first of these names that the group has; formats differ in spelling only."""
    return next((name for name in names if name in group), None)


def h5_array(group: h5py.Group, name: str, axes: tuple[int, ...], where: str) -> h5py.Dataset:
    """A dataset of numbers with one of these numbers of axes.

    Raises:
        FormatError: a link, another kind or rank, or a size that the stored bytes cannot hold.
    """
    label = f"{where}: array {name!r}"
    data = plain_dataset(group, name, label)
    if data.dtype.kind not in NUMBERS or data.dtype.itemsize > 8:
        raise FormatError(f"{label} holds {data.dtype}, expected numbers; it cannot be audited")
    if len(data.shape or ()) not in axes:
        raise FormatError(f"{label} has shape {data.shape}, expected {' or '.join(map(str, axes))} axes")
    check_size(data, label)
    return data


def npy_array(path: Path, axes: tuple[int, ...]) -> Shaped[np.ndarray, "..."]:
    """A ``.npy`` file, mapped and not loaded; pickled objects are refused unread.

    Raises:
        FormatError: it is missing, cut off, pickled, or no array of numbers with one of these numbers of axes.
    """
    try:
        data: Shaped[np.ndarray, "..."] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as e:
        raise FormatError(f"{path} is missing; download the folder again") from e
    except (ValueError, OSError, EOFError, SyntaxError, OverflowError, MemoryError, TypeError) as e:
        reason = str(e).splitlines()[0] if str(e) else repr(e)
        raise FormatError(
            f"{path}: not a plain numpy array ({reason}); expected numbers saved by numpy.save, without pickled objects"
        ) from e
    if not isinstance(data, np.ndarray) or data.dtype.kind not in NUMBERS or data.dtype.itemsize > 8:
        raise FormatError(f"{path} holds {getattr(data, 'dtype', type(data).__name__)}, expected numbers")
    if data.ndim not in axes:
        raise FormatError(f"{path} has shape {data.shape}, expected {' or '.join(map(str, axes))} axes")
    return data


def same_length(arrays: dict[str, Array | None], where: str) -> int:
    """The first size that all of them share.

    Raises:
        FormatError: they differ, or there are no rows.
    """
    sizes = {name: a.shape[0] for name, a in arrays.items() if a is not None}
    if len(set(sizes.values())) != 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise FormatError(f"{where}: arrays of different lengths ({listed}), expected one row of each a step")
    length = next(iter(sizes.values()))
    if not length:
        raise FormatError(f"{where}: the arrays are empty, expected at least one episode")
    return length


def raw_bytes(arrays: dict[str, Array | None]) -> int:
    """Size of all arrays in memory."""
    return sum(int(np.prod(a.shape, dtype=np.int64)) * a.dtype.itemsize for a in arrays.values() if a is not None)


def squeezed(x: Shaped[np.ndarray, "..."], axes: int) -> Shaped[np.ndarray, "..."]:
    """Without trailing axes of size 1, down to ``axes`` axes."""
    while x.ndim > axes and x.shape[-1] == 1:
        x = x[..., 0]
    return x
