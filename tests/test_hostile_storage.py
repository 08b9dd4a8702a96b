"""How columns are stored may differ and may be hostile: the same content comes out, or one line and no memory."""

from __future__ import annotations

import re
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from offmarl_bench.errors import FormatError
from offmarl_bench.format import hdf5
from offmarl_bench.format.reader import read_dataset, read_metadata
from tests.test_hostile_files import HUGE, ROWS, SPEC, attribute, change_metadata, path, put, refusal, replace

__all__ = ["path"]  # the fixture: a good file of three agents, 328 rows, two chunks of 128 rows and a part of one

Change = Callable[[h5py.File], None]


def stored(file: h5py.File, name: str, pieces: dict[int, bytes], mask: int = 0) -> None:
    """Put these bytes, as they are, where the chunks beginning at these rows lie."""
    data = file[name]
    for row, content in pieces.items():
        data.id.write_direct_chunk((row, *(0,) * (data.ndim - 1)), content, mask)


def again(name: str, **storage: Any) -> Change:
    """The same column, stored in another way."""

    def change(file: h5py.File) -> None:
        values = file[name][()]
        del file[name]
        file.create_dataset(name, data=values, **storage)

    return change


def uncompressed_first_chunk(file: h5py.File) -> None:
    values = file["state"][:128]
    planes = values.reshape(-1).view(np.uint8).reshape(-1, 4).T
    stored(file, "state", {0: np.ascontiguousarray(planes).tobytes()}, mask=0b10)


def unshuffled_first_chunk(file: h5py.File) -> None:
    stored(file, "state", {0: zlib.compress(file["state"][:128].tobytes())}, mask=0b01)


@pytest.mark.parametrize(
    "change",
    [
        again("state"),
        again("state", compression="gzip"),
        again("state", compression="gzip", shuffle=True, chunks=(1, 5)),
        again("state", compression="gzip", shuffle=True, chunks=(100, 2)),
        again("observations", compression="gzip", shuffle=True, chunks=(327, 2, 3)),
        again("observations", compression="gzip", shuffle=True, fletcher32=True, chunks=(128, 3, 4)),
        again("state", compression="gzip", fletcher32=True),
        again("state", compression="lzf", shuffle=True),
        again("state", shuffle=True, chunks=(10, 5)),
        uncompressed_first_chunk,
        unshuffled_first_chunk,
    ],
)
def test_every_way_to_store_a_column_that_the_format_allows_reads_the_same(path: Path, change: Change) -> None:
    before = read_dataset(path)
    with h5py.File(path, "r+") as file:
        change(file)
    after = read_dataset(path)
    for name, column in before.columns.items():
        np.testing.assert_array_equal(after.columns[name], column)


def test_a_file_behind_a_block_of_the_users_own(path: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.h5"
    with h5py.File(path) as old, h5py.File(moved, "w", userblock_size=1024) as new:
        for name in old:
            old.copy(name, new)
        new.attrs["metadata"] = old.attrs["metadata"]
    for name, column in read_dataset(path).columns.items():
        np.testing.assert_array_equal(read_dataset(moved).columns[name], column)


def strange_filter(file: h5py.File) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((128, 5))
    plist.set_filter(305, h5py.h5z.FLAG_OPTIONAL, ())
    space, kind = h5py.h5s.create_simple((ROWS, 5)), h5py.h5t.IEEE_F32LE
    del file["state"]
    h5py.h5d.create(file.id, b"state", kind, space, plist)


def gzip_twice(file: h5py.File) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((128, 5))
    plist.set_deflate(1)
    plist.set_deflate(1)
    del file["state"]
    h5py.h5d.create(file.id, b"state", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((ROWS, 5)), plist)


def gzip_before_shuffle(file: h5py.File) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((128, 5))
    plist.set_deflate(1)
    plist.set_shuffle()
    del file["state"]
    h5py.h5d.create(file.id, b"state", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((ROWS, 5)), plist)


def one_chunk_missing(file: h5py.File) -> None:
    values = file["state"][()]
    replace("state", shape=(ROWS, 5), dtype="f4", chunks=(128, 5), compression="gzip")(file)
    file["state"][:256] = values[:256]


def swollen_lzf(file: h5py.File) -> None:
    again("state", compression="lzf", chunks=(128, 5))(file)
    stored(file, "state", {0: bytes(1 << 20)})


def bit(name: str, at: int) -> Change:
    """One byte of the first chunk turned round."""

    def change(file: h5py.File) -> None:
        content = bytearray(file[name].id.read_direct_chunk((0,) * file[name].ndim)[1])
        content[at] ^= 0xFF
        stored(file, name, {0: bytes(content)})

    return change


def cut(name: str, keep: int) -> Change:
    def change(file: h5py.File) -> None:
        content = file[name].id.read_direct_chunk((0,) * file[name].ndim)[1]
        stored(file, name, {0: content[:keep]})

    return change


BOMB = zlib.compress(bytes(1 << 28), 9)
"""270 kB that inflate to 256 MB."""


def bomb(**storage: Any) -> Change:
    def change(file: h5py.File) -> None:
        again("state", compression="gzip", **storage)(file)
        stored(file, "state", {0: BOMB + bytes(4 if "fletcher32" in storage else 0)})

    return change


STORAGE: dict[str, tuple[Change, str]] = {
    "unknown filter": (strange_filter, r"column 'state': HDF5 filters \[305\], expected shuffle and gzip"),
    "gzip twice": (gzip_twice, r"column 'state': HDF5 filters \[1, 1\], expected shuffle and gzip"),
    "wrong order": (gzip_before_shuffle, r"HDF5 filters \[1, 2\], expected shuffle, gzip, checksum in this order"),
    "bit rot": (bit("state", 50), r"column 'state', rows 0 … 127: damaged gzip data"),
    "not gzip at all": (
        lambda f: stored(f, "state", {0: b"never was gzip"}),
        r"column 'state', rows 0 … 127: damaged gzip data",
    ),
    "cut chunk": (cut("state", 100), r"column 'state', rows 0 … 127: gzip data ends after \d+ bytes, expected 2560"),
    "empty chunk": (cut("timestep", 1), r"column 'timestep', rows 0 … 127: gzip data ends after 0 bytes, expected 512"),
    "raw chunk of another size": (
        lambda f: stored(f, "state", {0: bytes(7)}, mask=0b10),
        r"rows 0 … 127: uncompressed data of 7 bytes, expected 2560",
    ),
    "bomb in a chunk": (lambda f: stored(f, "state", {0: BOMB}), "gzip data of more than the expected 2560 bytes"),
    "bomb in a chunk with checksum": (
        bomb(fletcher32=True, chunks=(128, 5)),
        "gzip data of more than the expected 2560 bytes",
    ),
    "bomb in a narrow chunk": (
        bomb(chunks=(128, 1)),
        "gzip data of more than the expected 512 bytes",
    ),
    "swollen lzf": (swollen_lzf, r"a stored chunk of 1048576 bytes stands for 2560 bytes"),
    "missing chunk": (one_chunk_missing, r"column 'state': 2 chunks of 128 rows do not make up 328 rows"),
    "huge chunk": (
        replace("state", shape=(ROWS, 5), maxshape=(None, 5), dtype="f4", chunks=(10**8, 5), compression="gzip"),
        r"column 'state' claims 2000000000 bytes, but its 0 stored bytes hold 65536 at most",
    ),
    "rows beyond 2⁶³ bytes": (
        replace("observations", shape=(2**60, 3, 4), dtype="f4", chunks=(128, 3, 4), compression="gzip"),
        rf"column 'observations' claims {2**60 * 48} bytes",
    ),
    "complex numbers": (replace("state", data=np.zeros((ROWS, 5), "c8")), "column 'state' holds complex64"),
    "numbers of any length": (
        replace("rewards", shape=(ROWS,), dtype=h5py.vlen_dtype(np.float32)),
        "column 'rewards' holds object, expected float32",
    ),
    "references": (replace("rewards", shape=(ROWS,), dtype=h5py.ref_dtype), "column 'rewards' holds object"),
    "records": (
        replace("rewards", shape=(ROWS,), dtype=np.dtype([("a", "f4")])),
        r"column 'rewards' holds \[\('a', '<f4'\)\], expected float32",
    ),
    "an enumeration": (
        replace("timestep", shape=(ROWS,), dtype=h5py.enum_dtype({"a": 0}, "i4")),
        "column 'timestep' holds an enumeration, expected int32",
    ),
    "no dataspace": (
        lambda f: (f.__delitem__("rewards"), f.create_dataset("rewards", data=h5py.Empty("f4")))[0],
        r"column 'rewards' has shape \(\)",
    ),
    "metadata: many texts": (
        attribute(np.array(["x"] * 9, dtype=h5py.string_dtype())),
        "attribute 'metadata' is no text of at most 4194304 bytes",
    ),
    "metadata: too long": (attribute("x" * (1 << 23)), "attribute 'metadata' is no text of at most 4194304 bytes"),
    "metadata: too long, fixed": (
        attribute(np.bytes_(b"x" * (1 << 23))),
        "attribute 'metadata' is no text of at most 4194304 bytes",
    ),
    "metadata: nothing": (attribute(h5py.Empty("S10")), "attribute 'metadata' is no text"),
    "metadata: numbers": (attribute(np.zeros(9)), "attribute 'metadata' is no text"),
    "metadata: not text": (attribute(np.bytes_(b"\xff\xfe{}")), "attribute 'metadata' is not JSON"),
    "metadata: a number without end": (attribute("1" * 10_000), "attribute 'metadata' is not JSON"),
    "metadata: text for a size": (change_metadata(spec={**SPEC.to_json(), "horizon": "9" * 99}), "horizon is '999"),
    "metadata: huge horizon": (change_metadata(spec={**SPEC.to_json(), "horizon": 10**30}), "horizon is 10{30}"),
    "metadata: negative sizes": (
        change_metadata(spec={**SPEC.to_json(), "obs_sizes": [-1, 4, 4]}),
        r"obs_sizes are \(-1, 4, 4\), expected 0 … 4 each",
    ),
    "unheard-of level": (put("behavior_level", (0, 0), 3), r"column 'behavior_level' leaves the range -1 … 2"),
    "negative time": (put("timestep", 1, -1), "column 'timestep' does not count"),
    "an end without a beginning": (put("is_last", 4, True), "is_first and is_last do not divide"),
    "nothing begins": (put("is_first", slice(None), False), "is_first and is_last do not divide"),
    "everything ends": (put("is_last", slice(None), True), "is_first and is_last do not divide"),
}


@pytest.mark.parametrize("kind", STORAGE)
def test_hostile_storage_is_refused_with_a_line_that_names_it(path: Path, kind: str) -> None:
    change, says = STORAGE[kind]
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        change(file)
    tracemalloc.start()
    try:
        said = refusal(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert re.search(says, said)
    assert peak < 1 << 25, f"{peak} bytes were taken before the file was refused"


def test_a_file_that_inflates_beyond_all_measure(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every column is honest about its size, and the whole is a bomb all the same."""
    monkeypatch.setattr(hdf5, "BOMB_BYTES", 1 << 20)
    monkeypatch.setattr(hdf5, "BOMB_RATIO", 50)
    rows = 100_000
    with h5py.File(path, "r+") as file:
        for name in list(file):
            kind, shape = file[name].dtype, (rows, *file[name].shape[1:])
            del file[name]
            file.create_dataset(
                name, data=np.zeros(shape, kind), chunks=(rows, *shape[1:]), compression="gzip", compression_opts=9
            )
    assert re.search(r"\d+ bytes claim to hold \d+, more than 50 times as many, as no real data do", refusal(path))


def test_a_dataset_larger_than_memory(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable:       9 kB\n")
    monkeypatch.setattr(hdf5, "MEMORY", tmp_path / "meminfo")
    assert "its data take 0.0 GB of memory and 0.0 GB are free; use a machine with more memory" in refusal(path)
    monkeypatch.setattr(hdf5, "MEMORY", tmp_path / "no such file")
    assert len(read_dataset(path).lengths) == 4


def test_large_lzf_chunks_are_not_left_to_the_library(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offmarl_bench.format.arrays.LZF_CHUNK_BYTES", 1000)
    with h5py.File(path, "r+") as file:
        again("state", compression="lzf", chunks=(128, 5))(file)
    assert "column 'state': lzf chunks of 2560 bytes, expected at most 1000; rewrite the file with" in refusal(path)


def test_metadata_is_refused_the_same_way_when_nothing_else_is_read(path: Path) -> None:
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        attribute("x" * (1 << 23))(file)
    with pytest.raises(FormatError, match="is no text of at most"):
        read_metadata(path)


LIMITED = """
import resource, sys
from pathlib import Path
from offmarl_bench.errors import FormatError
from offmarl_bench.format.reader import read_dataset
read_dataset(Path(sys.argv[1]), threads=2)
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (200 << 20),) * 2)
for name in sys.argv[2:]:
    try:
        read_dataset(Path(name), threads=2)
        print("read")
    except FormatError as e:
        print(e)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on a process's memory is Linux's")
def test_no_hostile_file_needs_more_than_200_mb(path: Path, tmp_path: Path) -> None:
    """A process that may not take more reads them all, and every one is refused for what it is."""
    expected: dict[Path, str] = {}
    for k, (change, says) in enumerate(STORAGE.values()):
        expected[tmp_path / f"{k}.h5"] = says
        (tmp_path / f"{k}.h5").write_bytes(path.read_bytes())
        with h5py.File(tmp_path / f"{k}.h5", "r+", libver=("v110", "v110")) as file:
            change(file)
    big = tmp_path / "big.h5"
    big.write_bytes(path.read_bytes())
    with h5py.File(big, "r+") as file:
        replace("observations", shape=(HUGE, 3, 4), dtype="f4", chunks=(128, 3, 4), compression="gzip")(file)
    expected[big] = "column 'observations' claims 48000000000000 bytes"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), *map(str, expected)], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(expected)
    for says, line in zip(expected.values(), lines, strict=True):
        assert re.search(says, line)
