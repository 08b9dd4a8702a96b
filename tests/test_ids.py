"""Names of datasets, where they live, and what is said about one that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from offmarl_bench import provenance
from offmarl_bench.errors import FormatError, UnknownName
from offmarl_bench.generate import generate
from offmarl_bench.home import datasets_dir, home, results_dir, runs_dir
from offmarl_bench.ids import DatasetId, local_datasets, parse_dataset_id, path_of
from offmarl_bench.loader import find_dataset, load_dataset
from tests.toy_pool import toy_pool


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OFFMARL_HOME", str(tmp_path))
    return tmp_path


def make(out: Path | None = None, **settings: object) -> Path:
    given: dict[str, object] = {"quality": "low", "episodes": 3, **settings}
    return generate("toy/signals", pool=toy_pool(), out=out, progress=False, **given)  # type: ignore[arg-type]


def test_ids_and_text_are_the_same_thing() -> None:
    for text in ("smac/2s3z/low", "smac/2s3z/low-v1", "smac/2s3z/random-balanced-v12", "my_pkg:suite/map/x"):
        assert str(parse_dataset_id(text)) == text
    assert parse_dataset_id("smac/2s3z/random-balanced-v12") == DatasetId("smac", "2s3z", "random-balanced", 12)
    assert parse_dataset_id("smac/2s3z/low").env_id == "smac/2s3z"


@pytest.mark.parametrize(
    "text", ["", "smac", "smac/2s3z", "a/b/c/d", "smac//low", "../2s3z/low", "smac/../low", "a/b/-v1"]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match=r"dataset id.*expected 'suite/map/quality' or 'suite/map/quality-vN'"):
        parse_dataset_id(text)


def test_a_version_zero_is_part_of_the_name() -> None:
    assert parse_dataset_id("a/b/c-v0").version is None


def test_a_path_needs_a_version(own_home: Path) -> None:
    assert path_of(parse_dataset_id("a/b/c-v2")) == own_home / "datasets" / "a" / "b" / "c-v2.h5"
    with pytest.raises(FormatError, match=r"'a/b/c' names no version, so no file; write e.g. 'a/b/c-v1'"):
        path_of(parse_dataset_id("a/b/c"))


def test_home_follows_the_variable_and_is_a_folder(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (datasets_dir(), runs_dir(), results_dir()) == tuple(own_home / x for x in ("datasets", "runs", "results"))
    monkeypatch.delenv("OFFMARL_HOME")
    assert home().name == "offmarl-bench"
    (own_home / "file").touch()
    monkeypatch.setenv("OFFMARL_HOME", str(own_home / "file"))
    with pytest.raises(FormatError, match=r"OFFMARL_HOME='.*file' is not a folder"):
        home()


def test_the_newest_version_is_the_highest_number(own_home: Path) -> None:
    first = make()
    assert str(find_dataset("toy/signals/low")) == str(first)
    for version in (2, 10, 9):
        first.with_name(f"low-v{version}.h5").write_bytes(first.read_bytes())
    first.with_name("low-v1.h5.parts").mkdir()
    assert find_dataset("toy/signals/low").name == "low-v10.h5"
    assert find_dataset("toy/signals/low-v2").name == "low-v2.h5"
    assert [d.version for d in local_datasets()] == [1, 2, 9, 10]
    with pytest.raises(
        UnknownName, match=r"'toy/signals/low-v3' is not on this machine. Versions here: toy/signals/low-v1, "
    ):
        find_dataset("toy/signals/low-v3")


def test_a_file_is_named_by_its_path(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(own_home / "mine.h5")
    monkeypatch.chdir(own_home)
    for name in (path, str(path), "mine.h5", Path("mine.h5")):
        assert len(load_dataset(name)) == 3
    odd = path.rename(own_home / "odd name")
    assert len(load_dataset("odd name")) == len(load_dataset(odd)) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "smac/2s3z/low",
            "'smac/2s3z/low' is not on this machine. Generate it: `offmarl-bench generate smac 2s3z --quality low`",
        ),
        ("smac/2s3z/lwo", r"Did you mean 'low'\? Qualities of smac/2s3z: .*low.*Generate it: `.* --quality low`"),
        ("smac/2s3/low", r"unknown map.*'2s3'. Did you mean '2s3z'\?"),
        ("smak/2s3z/low", r"unknown environment 'smak'. Did you mean 'smac'\?"),
    ],
)
def test_a_dataset_that_is_not_here_comes_with_the_way_to_get_it(text: str, says: str) -> None:
    with pytest.raises(UnknownName, match=says):
        load_dataset(text)


def test_provenance_names_versions_and_commit() -> None:
    assert provenance.versions()["offmarl-bench"]
    assert "python" in provenance.versions()
    commit = provenance.commit()
    assert commit is None or len(commit.removesuffix("-dirty")) == 40
