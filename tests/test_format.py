"""The file format: exact round trips, the content hash, the metadata, and readers that are not ours."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import datasets
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.format.chunks import inflate, pack, unpack_into
from offmarl_bench.format.content_hash import content_hash
from offmarl_bench.format.flatten import flatten
from offmarl_bench.format.reader import read_dataset, read_metadata
from offmarl_bench.format.schema import Columns, columns_of
from offmarl_bench.format.writer import write_dataset
from offmarl_bench.loader import Dataset
from offmarl_bench.types import EnvSpec, Episode

SPEC = EnvSpec(
    id="toy/x", agents=("a1", "a2", "b1"), agent_types=("a", "a", "b"), O=4, S=5, A=3, discrete=True, horizon=200
)


def episodes(spec: EnvSpec, lengths: list[int], seed: int = 0, known: bool = True) -> list[Episode]:
    g = np.random.default_rng(seed)
    made = []
    for steps in lengths:
        n = spec.N
        actions = g.integers(spec.A, size=(steps, n)).astype(np.int32)
        made.append(
            Episode(
                actions=actions if spec.discrete else g.normal(size=(steps, n, spec.A)).astype(np.float32),
                rewards=g.normal(size=steps).astype(np.float32),
                observations=g.normal(size=(steps + 1, n, spec.O)).astype(np.float32),
                state=g.normal(size=(steps + 1, spec.S)).astype(np.float32),
                legal_actions=np.ones((steps + 1, n, spec.A), bool) if spec.discrete else None,
                terminal=bool(g.integers(2)),
                behavior_level=g.integers(3, size=(steps, n)).astype(np.int8) if known else None,
                behavior_policy=g.integers(9, size=(steps, n)).astype(np.int16) if known else None,
                behavior_logprob=-g.random((steps, n)).astype(np.float32) if known else None,
            )
        )
    return made


specs = st.builds(
    lambda n, o, s, a, discrete: EnvSpec(
        id="toy/any", agents=tuple(f"a{k}" for k in range(n)), agent_types=("a",) * n, O=o, S=s, A=a,
        discrete=discrete, horizon=50,
    ),
    st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.booleans(),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(
    spec=specs,
    lengths=st.lists(st.integers(1, 140), min_size=1, max_size=4),
    known=st.booleans(),
    seed=st.integers(0, 99),
)
def test_write_then_read_is_exact(
    tmp_path_factory: pytest.TempPathFactory, spec: EnvSpec, lengths: list[int], known: bool, seed: int
) -> None:
    path = tmp_path_factory.mktemp("round") / "x.h5"
    made = episodes(spec, lengths, seed, known)
    columns, steps = flatten(made, spec)
    digest = write_dataset(path, spec, [columns], {"note": "ü"})
    got = read_dataset(path)
    assert got.spec == spec
    assert got.metadata["content_hash"] == digest == content_hash(got.columns, spec)
    assert got.metadata["note"] == "ü"
    assert list(got.columns) == [c.name for c in columns_of(spec)]
    for name, column in columns.items():
        assert got.columns[name].dtype == column.dtype
        np.testing.assert_array_equal(got.columns[name], column)
    np.testing.assert_array_equal(got.lengths, steps)
    again = list(Dataset(got.spec, got.columns, got.row_starts, got.lengths))
    for one, other in zip(made, again, strict=True):
        for field in ("actions", "rewards", "observations", "state", "legal_actions", "behavior_logprob"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
        assert one.terminal == other.terminal


@pytest.fixture
def columns() -> Columns:
    return flatten(episodes(SPEC, [150, 3, 170, 1]), SPEC)[0]


@pytest.fixture
def path(tmp_path: Path, columns: Columns) -> Path:
    write_dataset(tmp_path / "x.h5", SPEC, [columns], {"dataset_id": "toy/x/low-v1"})
    return tmp_path / "x.h5"


def test_h5py_alone_reads_every_column(path: Path, columns: Columns) -> None:
    with h5py.File(path) as file:
        for name, column in columns.items():
            np.testing.assert_array_equal(file[name][()], column)
            assert file[name].chunks[0] == 128
            assert (file[name].compression, file[name].compression_opts, file[name].shuffle) == ("gzip", 1, True)
        assert json.loads(file.attrs["metadata"])["spec"]["agents"] == ["a1", "a2", "b1"]


def test_hugging_face_datasets_reads_it(path: Path, columns: Columns, tmp_path: Path) -> None:
    rows = datasets.load_dataset("hdf5", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == len(columns["rewards"])
    for name, column in columns.items():
        np.testing.assert_array_equal(rows.with_format("numpy")[:][name], column)


def test_last_rows_hold_no_action_no_reward_and_nobody(columns: Columns) -> None:
    last = columns["is_last"]
    assert last.sum() == 4
    assert not columns["actions"][last].any()
    assert not columns["rewards"][last].any()
    assert (columns["behavior_level"][last] == -1).all()
    assert (columns["behavior_policy"][last] == -1).all()
    assert (columns["behavior_logprob"][last] == 0).all()


def test_the_content_hash_is_what_the_documentation_says(columns: Columns) -> None:
    lines = ""
    for column in columns_of(SPEC):
        data = columns[column.name]
        digest = hashlib.sha256(data.tobytes()).hexdigest()
        lines += f"{column.name} {data.dtype.str} {data.shape} {digest}\n"
    assert content_hash(columns, SPEC) == hashlib.sha256(lines.encode()).hexdigest()


def test_the_content_hash_ignores_how_the_file_is_stored_and_cut(columns: Columns, tmp_path: Path) -> None:
    cut = [{k: v[a:b] for k, v in columns.items()} for a, b in ((0, 1), (1, 130), (130, 328))]
    whole = write_dataset(tmp_path / "a.h5", SPEC, [columns], {}, threads=1)
    assert write_dataset(tmp_path / "b.h5", SPEC, cut, {}, threads=3) == whole
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "c.h5", "w") as file:  # somebody rewrote it without compression
        for name, column in columns.items():
            file[name] = column
        with h5py.File(tmp_path / "a.h5") as source:
            file.attrs["metadata"] = source.attrs["metadata"]
    assert content_hash(read_dataset(tmp_path / "c.h5").columns, SPEC) == whole
    changed = dict(columns, rewards=columns["rewards"] + np.float32(1))
    assert content_hash(changed, SPEC) != whole


@pytest.mark.parametrize(
    "storage",
    [{"compression": "lzf"}, {"compression": "gzip"}, {"chunks": True}, {"compression": "gzip", "fletcher32": True}],
)
def test_other_storage_is_read_through_the_library(
    columns: Columns, path: Path, tmp_path: Path, storage: dict[str, object]
) -> None:
    with h5py.File(path) as source, h5py.File(tmp_path / "other.h5", "w") as file:
        for name, column in columns.items():
            file.create_dataset(name, data=column, **storage)
        file.attrs["metadata"] = source.attrs["metadata"]
    got = read_dataset(tmp_path / "other.h5").columns
    for name, column in columns.items():
        np.testing.assert_array_equal(got[name], column)


def test_long_metadata_fits(columns: Columns, tmp_path: Path) -> None:
    long = ["x" * 1000] * 300  # HDF5's classic limit for an attribute is 64 kB
    write_dataset(tmp_path / "x.h5", SPEC, [columns], {"long": long})
    assert read_metadata(tmp_path / "x.h5")[1]["long"] == long


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(columns: Columns, path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(FormatError, match=r"metadata of a toy/x dataset cannot be JSON: .*give plain numbers and text"):
        write_dataset(path, SPEC, [columns], {"x": float("nan")})
    with pytest.raises(FormatError, match="column state: rows are float64"):
        write_dataset(path, SPEC, [dict(columns, state=columns["state"].astype(np.float64))], {})
    with pytest.raises(FormatError, match="do not fit toy/x, expected"):
        write_dataset(path, SPEC, [{"state": columns["state"]}], {})
    with pytest.raises(FormatError, match="expected the same number ≥ 1 in all; nothing written"):
        write_dataset(path, SPEC, [dict(columns, state=columns["state"][:5])], {})
    with pytest.raises(FormatError, match="expected the same number ≥ 1 in all; nothing written"):
        write_dataset(path, SPEC, [], {})
    with pytest.raises(OffmarlError, match=r"cannot write /proc/nothing/x.h5: .*choose another file, and run again"):
        write_dataset(Path("/proc/nothing/x.h5"), SPEC, [columns], {})
    assert [p.name for p in path.parent.iterdir()] == ["x.h5"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("dtype", ["<f4", "<i4", "<i2", "|i1", "?"])
def test_packed_chunks_are_what_hdf5s_own_filters_make(dtype: str, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(2, size=(128, 3)).astype(dtype)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        data = file.create_dataset(
            "x", data=rows, chunks=(128, 3), compression="gzip", compression_opts=1, shuffle=True
        )
        stored = data.id.read_direct_chunk((0, 0))[1]
    out = np.empty_like(rows)
    for packed in (stored, pack(rows)):
        unpack_into(out, [inflate(packed, rows.nbytes)], True)
        np.testing.assert_array_equal(out, rows)


def test_saving_a_view_keeps_its_episodes_and_metadata(tmp_path: Path) -> None:
    whole = Dataset.from_episodes(episodes(SPEC, [9, 2, 5]), SPEC, {"dataset_id": "toy/x/mine-v1"})
    view = whole.episodes(min_return=float(np.median(whole.returns)))
    file = view.save(tmp_path / "view.h5")
    got = read_dataset(file)
    assert got.lengths.tolist() == view.lengths.tolist()
    assert got.metadata["dataset_id"] == "toy/x/mine-v1"
    with pytest.raises(OffmarlError, match=r"view.h5 exists already; choose another name"):
        view.save(file)
