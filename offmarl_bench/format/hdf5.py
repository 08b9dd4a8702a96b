"""Open a stranger's HDF5 file and touch only what is plainly there: no links, no virtual data, no impossible sizes.

Both our own reader and those of other formats go through these three doors before any memory is taken.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.format.chunks import DEFLATE_MAX_RATIO

REMEDY = "generate or download the file again"
SLACK_BYTES = 1 << 16
"""Added to every bound on inflated sizes, so that tiny files are not refused."""
FILTERS = {h5py.h5z.FILTER_DEFLATE: "gzip", h5py.h5z.FILTER_LZF: "lzf"}
BOMB_BYTES = 1 << 30
"""A file that makes no more than this many bytes is let in, however well it is compressed."""
BOMB_RATIO = 250
"""Honest data of this size inflate to some 10 times their stored bytes; above this ratio a file is a bomb."""
MEMORY = Path("/proc/meminfo")
HARMLESS = {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, with whatever the HDF5 library may raise on a damaged one turned into a FormatError."""
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "does not exist"
        raise FormatError(f"dataset file {str(path)!r} {kind}; expected an HDF5 file (.h5)")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OffmarlError:
        raise
    except PermissionError as e:
        raise FormatError(f"{path}: {e.strerror}; make the file readable") from e
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as e:
        # one line of the library's text, which may run over several
        raise FormatError(
            f"{path}: not a whole HDF5 file ({str(e).splitlines()[0] if str(e) else e!r}); {REMEDY}"
        ) from e


def filters_of(data: h5py.Dataset, where: str) -> list[int]:
    """Codes of the filters a dataset went through; at most one of them compresses.

    Raises:
        FormatError: a filter that is neither gzip, lzf nor harmless; or two that compress.
    """
    plist = data.id.get_create_plist()
    codes = [plist.get_filter(k)[0] for k in range(plist.get_nfilters())]
    strange = [c for c in codes if c not in FILTERS and c not in HARMLESS]
    if strange or sum(c in FILTERS for c in codes) > 1:
        raise FormatError(
            f"{where}: HDF5 filters {codes}, expected shuffle and gzip; rewrite the file with "
            "compression='gzip', shuffle=True"
        )
    return codes


def plain_dataset(group: h5py.Group, name: str, where: str) -> h5py.Dataset:
    """The HDF5 dataset that lies under this name in this very file.

    Raises:
        FormatError: it is a link, a group, virtual or external. ``where`` names file and column.
    """
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise FormatError(f"{where} is a link to somewhere else, expected data in this file; {REMEDY}")
    data = group[name]
    if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
        raise FormatError(f"{where} is a group, virtual or external, expected a plain dataset; {REMEDY}")
    return data


def check_size(data: h5py.Dataset, where: str) -> None:
    """Refuse a dataset that claims more bytes than its stored ones can inflate to.

    Raises:
        FormatError: so it does, or its chunks do.
    """
    codes = filters_of(data, where)
    stored = data.id.get_storage_size()
    bound = stored * (DEFLATE_MAX_RATIO if any(c in FILTERS for c in codes) else 1) + SLACK_BYTES
    raw = math.prod(data.shape or ()) * data.dtype.itemsize
    chunk = 0 if data.chunks is None else math.prod(data.chunks) * data.dtype.itemsize
    if max(raw, chunk) > bound or stored > os.path.getsize(data.file.filename):
        raise FormatError(
            f"{where} claims {max(raw, chunk)} bytes, but its {stored} stored bytes hold {bound} at most; {REMEDY}"
        )


def check_total(file: h5py.File, raw: int, where: str) -> None:
    """Refuse a file that as a whole makes absurdly more bytes than it has, or more than fit into memory.

    Args:
        file: it is asked for its size.
        raw: bytes that are about to be taken.
        where: names the file in errors.

    Raises:
        FormatError: so it does.
    """
    stored = os.path.getsize(file.filename)
    if raw > max(BOMB_BYTES, BOMB_RATIO * stored):
        raise FormatError(
            f"{where}: {stored} bytes claim to hold {raw}, more than {BOMB_RATIO} times as many, as no real data do; "
            f"{REMEDY}"
        )
    free = available_memory()
    if free is not None and raw > free:
        raise FormatError(
            f"{where}: its data take {raw / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; "
            "use a machine with more memory, or a dataset with fewer episodes"
        )


def available_memory() -> int | None:
    """Bytes that programs may still take without swapping, or None where the system does not say (not Linux)."""
    try:
        lines = MEMORY.read_text().splitlines()
        kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return int(kilobytes) << 10
    except (OSError, StopIteration, IndexError, ValueError):
        return None


def text_attribute(owner: h5py.File | h5py.Group, name: str, limit: int, where: str) -> str | bytes:
    """One text of at most ``limit`` bytes; what it is and how large it is are asked before it is read.

    A text of variable length does not say how long it is until it is read, but it lies uncompressed in the file, so
    a single one takes no more memory than the file takes disk.

    Raises:
        FormatError: an array, a number, or longer.
    """
    attribute = owner.attrs.get_id(name)
    alone = attribute.get_space().get_simple_extent_type() == h5py.h5s.SCALAR
    is_text = isinstance(attribute.get_type(), h5py.h5t.TypeStringID)
    if not alone or not is_text or attribute.get_storage_size() > limit:
        raise FormatError(f"{where}: attribute {name!r} is no text of at most {limit} bytes; {REMEDY}")
    text: str | bytes = owner.attrs[name]
    return text
