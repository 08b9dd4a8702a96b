"""HDF5's shuffle and gzip filters on whole chunks, outside of the HDF5 library, so that threads can share the work.

The library compresses and inflates under one lock, at 170 MB/s however many cores there are. ``zlib``, ``isal``
(Intel's ISA-L, which inflates twice as fast) and numpy release Python's lock, so the same bytes go through as many
cores as the machine has.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence

import numpy as np
from isal import isal_zlib
from jaxtyping import Shaped, UInt8

GZIP_LEVEL = 1
DEFLATE_MAX_RATIO = 1032
"""No deflate stream inflates to more than this many times its size; anything that claims to is lying."""


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pack(rows: Shaped[np.ndarray, "C ..."]) -> bytes:
    """One chunk as the file holds it: bytes transposed (all first bytes, all second bytes, …), then deflated."""
    size = rows.dtype.itemsize
    flat = np.ascontiguousarray(rows).reshape(-1).view(np.uint8)
    planes = np.ascontiguousarray(flat.reshape(-1, size).T) if size > 1 else flat
    return zlib.compress(planes.data, GZIP_LEVEL)


def inflate(stored: bytes | memoryview, expected: int) -> bytes:
    """The bytes behind a deflate stream; never makes more than ``expected`` of them, and one.

    Raises:
        ValueError: the stream is damaged, or holds more or fewer bytes.
    """
    stream = isal_zlib.decompressobj()
    try:
        raw: bytes = stream.decompress(stored, expected + 1)
    except isal_zlib.error as e:  # type: ignore[misc]  # an exception, whatever its stub says
        raise ValueError(f"damaged gzip data ({e})") from e
    if len(raw) > expected:
        raise ValueError(f"gzip data of more than the expected {expected} bytes")
    if len(raw) != expected or not stream.eof:
        raise ValueError(f"gzip data ends after {len(raw)} bytes, expected {expected}")
    return raw


def unpack_into(out: Shaped[np.ndarray, "C ..."], raw: Sequence[bytes], shuffled: bool) -> None:
    """Write the bytes of neighbouring chunks of one size, after inflation, into contiguous rows.

    Surplus rows of the last chunk are dropped.
    """
    size = out.dtype.itemsize
    flat: UInt8[np.ndarray, " X"] = out.reshape(-1).view(np.uint8)
    given = np.frombuffer(raw[0] if len(raw) == 1 else b"".join(raw), np.uint8)
    if not shuffled or size == 1:
        flat[:] = given[: len(flat)]
        return
    planes = given.reshape(len(raw), size, -1)
    target = flat if len(flat) == len(given) else np.empty_like(given)
    elements = target.reshape(len(raw), -1, size)
    for k in range(size):  # a plane at a time: four times as fast as assigning the transpose
        elements[..., k] = planes[:, k]
    if target is not flat:
        flat[:] = target[: len(flat)]
