"""Damaged and hostile dataset files: one line that names file and column, never a crash, never much memory."""

from __future__ import annotations

import json
import re
import resource
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from offmarl_bench.errors import FormatError
from offmarl_bench.format.flatten import flatten
from offmarl_bench.format.reader import read_dataset
from offmarl_bench.format.writer import write_dataset
from offmarl_bench.types import EnvSpec
from tests.test_format import episodes

SPEC = EnvSpec(
    id="toy/x", agents=("a1", "a2", "b1"), agent_types=("a", "a", "b"), O=4, S=5, A=3, discrete=True, horizon=200
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "x.h5", SPEC, [flatten(episodes(SPEC, [150, 3, 170, 1]), SPEC)[0]], {})
    return tmp_path / "x.h5"


def refusal(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(FormatError) as caught:
        read_dataset(path)
    said = str(caught.value)
    assert str(path) in said
    assert "\n" not in said
    return said


def replace(name: str, **storage: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        if storage:
            file.create_dataset(name, **storage)

    return change


def change_metadata(**changes: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file.attrs["metadata"] = json.dumps({**json.loads(file.attrs["metadata"]), **changes})

    return change


def put(name: str, where: Any, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[name][where] = value

    return change


def attribute(value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.__setitem__("metadata", value)


def link(kind: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file["elsewhere"] = file["state"]
        del file["state"]
        file["state"] = h5py.SoftLink("/elsewhere") if kind == "soft" else h5py.ExternalLink("/etc/passwd", "/x")

    return change


def group(file: h5py.File) -> None:
    del file["state"]
    file.create_group("state")


def virtual(file: h5py.File) -> None:
    rows = len(file["rewards"])
    layout = h5py.VirtualLayout((rows, 5), "<f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (rows, 5))
    del file["state"]
    file.create_virtual_dataset("state", layout)


def external(file: h5py.File) -> None:
    rows = len(file["rewards"])
    del file["state"]
    file.create_dataset("state", (rows, 5), "<f4", external=[("/etc/passwd", 0, rows * 20)])


ROWS = 328
HUGE = 10**12
spec_json = SPEC.to_json()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (replace("state"), r"column 'state' is missing, expected float32 of shape \(rows, \(5,\)\)"),
        (replace("state", data=np.zeros((ROWS, 5))), "column 'state' holds float64, expected float32"),
        (replace("state", data=np.zeros((ROWS, 5), ">f4")), "column 'state' holds >f4, expected float32"),
        (replace("state", data=np.zeros((ROWS, 6), "f4")), r"'state' has shape \(328, 6\), expected \(328, \*\(5,\)\)"),
        (replace("state", data=np.zeros((ROWS - 1, 5), "f4")), r"column 'state' has shape \(327, 5\)"),
        (replace("state", data=np.float32(0)), r"column 'state' has shape \(\)"),
        (replace("state", shape=(ROWS, 5), dtype=h5py.string_dtype()), "column 'state' holds object"),
        (replace("observations", shape=(HUGE, 3, 4), dtype="f4", chunks=(128, 3, 4), compression="gzip"),
         r"column 'observations' claims 48000000000000 bytes, but its 0 stored bytes hold 65536 at most"),
        (replace("observations", shape=(0, 3, 4), dtype="f4"), "column 'observations' has no rows"),
        (replace("state", data=np.zeros((ROWS, 5), "f4"), scaleoffset=2), "column 'state': HDF5 filters"),
        (link("soft"), "column 'state' is a link to somewhere else, expected data in this file"),
        (link("external"), "column 'state' is a link to somewhere else"),
        (group, "column 'state' is a group, virtual or external, expected a plain dataset"),
        (virtual, "column 'state' is a group, virtual or external"),
        (external, "column 'state' is a group, virtual or external"),
        (lambda file: file.attrs.__delitem__("metadata"), "no root attribute 'metadata', so not a dataset of ours"),
        (attribute("{"), "attribute 'metadata' is not JSON"),
        (attribute("[" * 100_000), "attribute 'metadata' is not JSON"),
        (attribute("[]"), "attribute 'metadata' does not say 'format': 'offmarl-bench'"),
        (attribute(7), "attribute 'metadata' is no text of at most 4194304 bytes"),
        (change_metadata(format="minari"), "attribute 'metadata' does not say 'format': 'offmarl-bench'"),
        (change_metadata(format_version=2), "format version 2, but this release reads version 1; update"),
        (change_metadata(spec=None), "metadata has no 'spec' that describes the environment"),
        (change_metadata(spec={**spec_json, "O": -1}), "metadata: EnvSpec 'toy/x': O is -1, expected a positive"),
        (change_metadata(spec={**spec_json, "O": 10**15}), "O is 1000000000000000, expected a positive integer of 32"),
        (change_metadata(spec={**spec_json, "O": 10**9}), r"column 'observations' has shape \(328, 3, 4\)"),
        (change_metadata(spec={**spec_json, "agents": ["a"]}), "EnvSpec 'toy/x': 1 agents but 3 agent types"),
        (change_metadata(spec={**spec_json, "extra": 1}), "metadata: EnvSpec: unknown content"),
        (change_metadata(spec={**spec_json, "agents": 5}), "metadata: "),
        (change_metadata(spec={**spec_json, "discrete": False}), r"column 'actions' holds int32, expected float32"),
        (put("is_first", 0, False), "is_first and is_last do not divide 328 rows into episodes"),
        (put("is_last", -1, False), "is_first and is_last do not divide"),
        (put("is_first", 5, True), "is_first and is_last do not divide"),
        (put("is_terminal", 5, True), "column 'is_terminal' is true on a row that is not an episode's last"),
        (put("timestep", 5, 0), "column 'timestep' does not count 0, 1, 2, … within each episode"),
        (put("actions", (5, 0), 3), r"column 'actions' leaves the range 0 … 2"),
        (put("actions", (5, 0), -1), r"column 'actions' leaves the range 0 … 2"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_should_be_is_named(path: Path, change: Callable[[h5py.File], None], says: str) -> None:
    with h5py.File(path, "r+") as file:
        change(file)
    assert re.search(says, refusal(path))


def test_booleans_that_are_neither(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        stored = np.full(128, 7, np.uint8)
        file["is_terminal"].id.write_direct_chunk((0,), zlib.compress(stored.tobytes()))
    assert "column 'is_terminal' holds values that are neither true nor false" in refusal(path)


def test_a_chunk_that_inflates_to_more_or_less(path: Path) -> None:
    for size, says in (
        (4 * 128 + 1, "gzip data of more than the expected 512 bytes"),
        (4 * 128 - 1, "gzip data ends after 511 bytes, expected 512"),
        (1 << 24, "gzip data of more than the expected 512 bytes"),
    ):
        with h5py.File(path, "r+") as file:
            file["rewards"].id.write_direct_chunk((128,), zlib.compress(bytes(size), 9))
        assert f"column 'rewards', rows 128 … 255: {says}" in refusal(path)


def test_an_uncompressed_file_that_claims_too_much(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        replace("observations", shape=(HUGE, 3, 4), dtype="f4")(file)
    assert "column 'observations' claims" in refusal(path)


def test_not_a_file_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty.h5").touch()
    (tmp_path / "text.h5").write_text("hello")
    assert "not a whole HDF5 file" in refusal(tmp_path / "empty.h5")
    assert "not a whole HDF5 file" in refusal(tmp_path / "text.h5")
    assert "does not exist; expected an HDF5 file (.h5)" in refusal(tmp_path / "none.h5")
    assert "is a folder" in refusal(tmp_path)


def test_truncated_anywhere(path: Path) -> None:
    whole = path.read_bytes()
    for at in range(0, len(whole), len(whole) // 40):
        path.write_bytes(whole[:at])
        assert "not a whole HDF5 file" in refusal(path)


def test_damaged_anywhere_it_is_refused_or_read_but_never_crashes(path: Path) -> None:
    whole, g = path.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for at in g.integers(len(whole), size=g.integers(1, 4)):
            damaged[at] = g.integers(256)
        path.write_bytes(damaged)
        said = ""
        try:
            read_dataset(path)
        except FormatError as e:
            said = str(e)
        assert not said or (str(path) in said and "\n" not in said)


def test_refusals_take_little_memory(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        replace("observations", shape=(HUGE, 3, 4), dtype="f4", chunks=(128, 3, 4), compression="gzip")(file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusal(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kilobytes"
