"""Combining datasets: all episodes in order, provenance, hashes checked on the way, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from offmarl_bench import combine as module
from offmarl_bench.audit import verify
from offmarl_bench.combine import combine
from offmarl_bench.errors import FormatError, OffmarlError, SpecMismatch, UnknownName
from offmarl_bench.generate import generate
from offmarl_bench.loader import Dataset, load_dataset
from tests.imbalanced_toy import imbalanced
from tests.toy_pool import toy_pool


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two small generated files of toy/signals."""
    folder, pool = tmp_path_factory.mktemp("made"), toy_pool()
    return tuple(  # type: ignore[return-value]
        generate("toy/signals", quality="low", episodes=n, seed=n, pool=pool, out=folder / f"{n}.h5", progress=False)
        for n in (30, 20)
    )


def test_all_episodes_one_after_the_other(made: tuple[Path, Path], tmp_path: Path) -> None:
    out = combine(made, tmp_path / "both.h5", progress=False)
    both, parts = load_dataset(out), [load_dataset(p) for p in made]
    assert len(both) == 50
    for name, column in both.columns.items():
        if name != "episode_id":
            np.testing.assert_array_equal(column, np.concatenate([p.columns[name] for p in parts]))
    assert both.columns["episode_id"][both.row_starts].tolist() == list(range(50))
    report = verify(out)
    assert report.ok, report
    assert report.findings == ()
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".parts" and p.name != "home"] == ["both.h5"]


def test_the_metadata_says_what_it_was_made_of(made: tuple[Path, Path], tmp_path: Path) -> None:
    both = load_dataset(combine(made, tmp_path / "both.h5", progress=False))
    said, sources = both.metadata, [load_dataset(p).metadata for p in made]
    assert said["operation"]["name"] == "combine"
    assert [s["content_hash"] for s in said["operation"]["sources"]] == [s["content_hash"] for s in sources]
    assert [s["seed"] for s in said["operation"]["sources"]] == [30, 20]
    assert (said["dataset_id"], said["recipe"], said["episodes"], said["steps"]) == (None, None, 50, 400)
    assert said["return_mean"] == pytest.approx((30 * sources[0]["return_mean"] + 20 * sources[1]["return_mean"]) / 50)
    assert [(c["composition"], c["episodes"]) for c in said["compositions"]] == [
        ("[a1r,a2r,b1r,b2r]", 25), ("[a1r,a2e,b1r,b2e]", 25),
    ]  # fmt: skip
    assert (said["pool_hash"], said["reference_expert"]) == (toy_pool().hash, 8.0)
    assert said["command"].startswith("offmarl-bench combine toy/signals/low-v1 toy/signals/low-v1 --out both.h5")
    third = combine([tmp_path / "both.h5", imbalanced(8).save(tmp_path / "x.h5")], tmp_path / "c.h5", progress=False)
    said = load_dataset(third).metadata
    assert said["operation"]["sources"][0]["operation"]["name"] == "combine", "provenance goes all the way down"
    assert (said["pool_hash"], said["reference_expert"]) == (None, None), "what does not hold for both is not said"


def test_other_pools_are_pointed_out(made: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = generate(
        "toy/signals", quality="low", episodes=5, pool=toy_pool(epsilon=0.3), out=tmp_path / "o.h5", progress=False
    )
    combine([made[0], other], tmp_path / "both.h5", progress=False)
    assert "the sources were played by 2 different pools" in caplog.text


def test_what_cannot_be_combined_is_refused_before_anything_is_written(made: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "both.h5"
    with pytest.raises(FormatError, match="combine: 1 datasets were given, expected at least two"):
        combine(made[:1], out)
    with pytest.raises(FormatError, match=r"30.h5 and .*30.h5 hold the same episodes; name every dataset once"):
        combine([made[0], made[1], made[0]], out)
    target = imbalanced(4, env_id="toy/target").save(tmp_path / "target.h5")
    with pytest.raises(SpecMismatch, match=r"target.h5 is of another environment than .*30.h5: id is 'toy/target' and"):
        combine([made[0], target], out)
    with pytest.raises(UnknownName, match="dataset 'toy/signals/low' is not on this machine"):
        combine([made[0], "toy/signals/low"], out)
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(OffmarlError, match=r"both.h5 exists already; choose another name"):
        combine(made, out)
    assert out.read_text() == "mine"


def test_a_source_that_is_not_what_it_states_is_refused_and_leaves_nothing(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    changed = tmp_path / "changed.h5"
    changed.write_bytes(made[1].read_bytes())
    with h5py.File(changed, "a") as file:
        file["rewards"][2] = 7
    with pytest.raises(FormatError, match=r"changed.h5: states the content hash \w+, its content gives \w+; generate"):
        combine([made[0], changed], tmp_path / "both.h5", progress=False)
    before = {p.name for p in tmp_path.iterdir()}
    assert before == {"changed.h5"} | ({"home"} & before)


def test_ctrl_c_leaves_nothing(made: tuple[Path, Path], tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        combine(made, tmp_path / "both.h5", progress=stop)
    assert {p.name for p in tmp_path.iterdir()} <= {"home"}


def test_a_damaged_chunk_is_one_line(made: tuple[Path, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.h5"
    broken.write_bytes(made[1].read_bytes())
    with h5py.File(broken, "r") as file:
        chunk = file["observations"].id.get_chunk_info(0)
    with broken.open("r+b") as raw:
        raw.seek(chunk.byte_offset + 10)
        raw.write(b"\xff" * 40)
    with pytest.raises(FormatError, match=r"broken.h5: column 'observations', rows 0 … \d+: .*; generate or download"):
        combine([made[0], broken], tmp_path / "both.h5", progress=False)


def test_memory_stays_small(made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No column but the small ones is read as a whole."""
    spans: list[int] = []
    read = module._Stored.__getitem__

    def watch(self: module._Stored, span: slice) -> np.ndarray:
        rows = read(self, span)
        spans.append(len(rows))
        return rows

    monkeypatch.setattr(module._Stored, "__getitem__", watch)
    monkeypatch.setattr("offmarl_bench.format.writer.TASK_BYTES", 1)
    combine(made, tmp_path / "both.h5", progress=False)
    assert max(spans) <= 128
    assert isinstance(load_dataset(tmp_path / "both.h5"), Dataset)
