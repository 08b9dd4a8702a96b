"""Where datasets are on the Hub, what a manifest may say, and when the Hub is not asked at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from offmarl_bench.errors import FormatError, OffmarlError, UnknownName
from offmarl_bench.hub import pull, remote_versions
from offmarl_bench.hub.listing import Listing, parse_listing
from offmarl_bench.hub.place import HubFile, check_repo, offline, parse_hub_file, path_in_repo, repository
from offmarl_bench.hub.transfer import prepare
from offmarl_bench.ids import DatasetId, parse_dataset_id
from tests.hub_case import ENV, dataset_file, entry_of


def test_one_repository_per_map_one_folder_per_quality(monkeypatch: pytest.MonkeyPatch) -> None:
    assert repository("smac/2s3z") == "offmarl-bench/smac-2s3z"
    assert path_in_repo(parse_dataset_id("smac/2s3z/low-v1")) == "low/low-v1.h5"
    monkeypatch.setenv("OFFMARL_HUB", "my-lab")
    assert repository("mamujoco/Walker_2l") == "my-lab/mamujoco-Walker_2l"
    monkeypatch.setenv("OFFMARL_HUB", "no/org")
    with pytest.raises(FormatError, match="'no/org/smac-2s3z': expected OWNER/NAME"):
        repository("smac/2s3z")


@pytest.mark.parametrize("name", ["alone", "a/b/c", "a/../b", "-a/b", "a/b-", "a/b..c", "a/", "a b/c", "a/" + "x" * 97])
def test_what_is_no_repository_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="expected OWNER/NAME of letters"):
        check_repo(name)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hf://a/b/c.h5", HubFile(repo="a/b", path="c.h5")),
        ("hf://datasets/a/b/low/low-v1.h5", HubFile(repo="a/b", path="low/low-v1.h5")),
        ("hf://a/b@v1/c.hdf5", HubFile(repo="a/b", path="c.hdf5", revision="v1")),
        ("hf://a/b@refs%2Fpr%2F1/c.h5", HubFile(repo="a/b", path="c.h5", revision="refs/pr/1")),
    ],
)
def test_addresses(text: str, found: HubFile) -> None:
    assert parse_hub_file(text) == found
    assert parse_hub_file(str(HubFile(repo="a/b", path="c.h5", revision="v1"))).revision == "v1"


@pytest.mark.parametrize(
    "text",
    ["hf://a", "hf://a/b", "hf://a/b/", "hf://a/b/c.txt", "hf://a/b/../c.h5", "hf://a/b/x//c.h5", "hf://a/b/x\\c.h5"],
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(FormatError, match=r"expected hf://OWNER/NAME/PATH.h5"):
        parse_hub_file(text)


def test_a_tag_of_the_map_shows_the_newest_versions_up_to_its_own(tmp_path: Path) -> None:
    listing = Listing(env_id=ENV)
    for quality in ("low-v1", "medium-v1", "medium-v3", "high-v2"):
        listing = listing.with_file(entry_of(dataset_file(tmp_path, quality)))

    def shown(version: int) -> list[str]:
        return [e.id.removeprefix(f"{ENV}/") for e in listing.up_to(version).values()]

    assert listing.versions() == [1, 2, 3]
    assert shown(1) == ["low-v1", "medium-v1"]
    assert shown(2) == ["high-v2", "low-v1", "medium-v1"]
    assert shown(3) == ["high-v2", "low-v1", "medium-v3"]
    assert listing.at_most(1).ids() == [f"{ENV}/low-v1", f"{ENV}/medium-v1"]
    newest = listing.get(parse_dataset_id(f"{ENV}/medium"))
    assert newest is not None
    assert newest.id == f"{ENV}/medium-v3"


def test_a_manifest_reads_as_it_was_written(tmp_path: Path) -> None:
    listing = Listing(env_id=ENV, licence="mit").with_file(entry_of(dataset_file(tmp_path)))
    assert parse_listing(listing.to_bytes(), "here") == listing
    with pytest.raises(UnknownName, match=r"dataset of here 'toy/signals/lwo-v1'. Did you mean 'toy/signals/low-v1'"):
        listing.find(DatasetId("toy", "signals", "lwo", 1), "here")
    with pytest.raises(UnknownName, match="'toy/other/low'"):
        listing.find(DatasetId("toy", "other", "low"), "here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "format 'other', expected 'offmarl-bench-hub-1'"),
        ({"env_id": "toy/other"}, "expected datasets of toy/other"),
        ({"files": [{"id": "x"}]}, "file 0: HubEntry lacks"),
        ({"path": "low/../../low-v1.h5"}, r"at 'low/../../low-v1.h5': expected an id with its version"),
        ({"id": "toy/signals/low"}, "names no version|expected an id with its version"),
        ({"sha256": "F" * 64}, "sha256 'FFFF.*is no SHA-256"),
        ({"content_hash": "12"}, "content_hash '12' is no SHA-256"),
        ({"size": 0}, "0 bytes, 9 rows, 1 episodes; expected ≥ 1"),
        ({"size": 1e300}, "size is 1e.300, expected"),
        ({"twice": True}, "each once"),
    ],
)
def test_a_manifest_that_is_not_right_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    data = json.loads(Listing(env_id=ENV).with_file(entry_of(dataset_file(tmp_path))).to_bytes())
    if change.pop("twice", False):
        data["files"] *= 2
    for name, value in change.items():
        (data if name in data else data["files"][0])[name] = value
    with pytest.raises(FormatError, match=message) as failure:
        parse_listing(json.dumps(data).encode(), "a/b/manifest.json")
    assert "a/b/manifest.json" in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff", b"[]"])
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(FormatError, match=r"a/b/manifest.json: "):
        parse_listing(content, "a/b/manifest.json")


@pytest.mark.parametrize("variable", ["OFFMARL_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_the_hub_is_not_asked(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OFFMARL_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "yes" if name == variable else "0")
    assert offline() == variable
    with pytest.raises(OffmarlError, match=f"{variable} is set, so the Hub is not asked; unset it"):
        pull("toy/signals/low")
    with pytest.raises(OffmarlError, match=f"{variable} is set"):
        remote_versions("toy/signals")


def test_only_huggingface_co_is_taken_to_have_xet(monkeypatch: pytest.MonkeyPatch) -> None:
    for address, told in ((None, None), ("https://hub.example.org", "1")):
        monkeypatch.delenv("HF_HUB_DISABLE_XET", raising=False)
        monkeypatch.delenv("HF_ENDPOINT", raising=False)
        if address:
            monkeypatch.setenv("HF_ENDPOINT", address)
        prepare()
        assert os.environ.get("HF_HUB_DISABLE_XET") == told
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "0")
    prepare()
    assert os.environ["HF_HUB_DISABLE_XET"] == "0", "who has said it knows better"
