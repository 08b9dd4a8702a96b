"""Datasets from the Hub, through the unmodified client library and a server on this machine."""

from __future__ import annotations

import fcntl
import logging
import shutil
import socket
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from offmarl_bench.errors import FormatError, OffmarlError, UnknownName
from offmarl_bench.hub import bring, fetch, pull, remote_versions
from offmarl_bench.hub.listing import Listing
from offmarl_bench.loader import load_dataset
from tests.hub_case import ENV, REPO, dataset_file, downloads, entry_of, fill
from tests.hub_repos import regular
from tests.hub_server import HubServer

ADDRESS = f"hf://{REPO}/low/low-v1.h5"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return dataset_file(tmp_path)


def here(home: Path, quality: str = "low-v1") -> Path:
    return home / "datasets" / "toy" / "signals" / f"{quality}.h5"


def left_over(home: Path) -> list[Path]:
    return [p for p in home.rglob("*.partial") if p.is_file()]


def test_load_dataset_finds_here_then_on_the_hub(hub: HubServer, file: Path, home: Path) -> None:
    fill(hub, file)
    loaded, original = load_dataset(f"{ENV}/low"), load_dataset(file)
    assert here(home).read_bytes() == file.read_bytes()
    for name, column in original.columns.items():
        assert np.array_equal(loaded.columns[name], column, equal_nan=name == "behavior_logprob")
    asked = len(hub.seen)
    load_dataset(f"{ENV}/low-v1")
    assert len(hub.seen) == asked, "what is here is not asked for"


def test_what_is_neither_here_nor_there_says_how_to_generate_it(hub: HubServer) -> None:
    with pytest.raises(UnknownName, match=r"'toy/signals/low' is not on this machine. Nor is it on the Hub \(http.*"
                       r"toy-signals\). Generate it: `offmarl-bench generate toy signals --quality low`"):  # fmt: skip
        load_dataset(f"{ENV}/low")
    asked = len(hub.seen)
    with pytest.raises(UnknownName, match="Did you mean 'toy'"):
        load_dataset("tyo/signals/low")
    assert len(hub.seen) == asked, "a slip of the pen asks nobody"


def test_a_newer_version_than_the_one_here_is_on_the_hub(hub: HubServer, tmp_path: Path, home: Path) -> None:
    fill(hub, dataset_file(tmp_path, "low-v1"), dataset_file(tmp_path, "low-v2", 9))
    pull(f"{ENV}/low-v1")
    assert len(load_dataset(f"{ENV}/low-v2")) == 9
    with pytest.raises(UnknownName, match=r"Nor is it on the Hub .* Versions here: toy/signals/low-v1"):
        load_dataset(f"{ENV}/low-v3")


def test_a_pull_that_is_done_is_not_done_again(hub: HubServer, file: Path, home: Path) -> None:
    fill(hub, file)
    assert pull(f"{ENV}/low") == here(home)
    assert pull(f"{ENV}/low") == here(home)
    assert len(downloads(hub)) == 1
    dataset_file(here(home).parent, episodes=5)
    with pytest.raises(OffmarlError, match=f"is here and is not what {REPO} holds; move it away, or use --overwrite"):
        pull(f"{ENV}/low")
    assert load_dataset(pull(f"{ENV}/low", overwrite=True)).columns["rewards"].shape == (72,)


def test_corruption_on_the_way_is_found(hub: HubServer, file: Path, home: Path) -> None:
    fill(hub, file)
    hub.corrupt("*.h5", times=1)
    with pytest.raises(FormatError, match=r"low-v1.h5: what came has the hash .* damaged on the way or at its source, "
                       "and is thrown away; run the same command again"):  # fmt: skip
        pull(f"{ENV}/low")
    assert not here(home).exists()
    assert left_over(home) == []
    assert pull(f"{ENV}/low").read_bytes() == file.read_bytes()


def test_a_lost_connection_is_taken_up_within_the_same_pull(
    hub: HubServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(hub, file)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # of 10 MB, so that a small file has several
    hub.cut("*.h5", after=5500)
    assert pull(f"{ENV}/low").read_bytes() == file.read_bytes()
    assert downloads(hub) == [(None, 200), ("bytes=5000-", 206)]


def test_an_interrupted_pull_goes_on_where_it_stopped(hub: HubServer, file: Path, home: Path) -> None:
    fill(hub, file)
    partial = here(home).parent / f".low-v1.h5.{entry_of(file).sha256[:16]}.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(file.read_bytes()[:6000])  # what a killed process leaves: see test_hub_clients
    assert pull(f"{ENV}/low").read_bytes() == file.read_bytes()
    assert downloads(hub) == [("bytes=6000-", 206)]
    assert left_over(home) == []


def test_a_partial_file_that_is_wrong_is_not_kept(hub: HubServer, file: Path, home: Path) -> None:
    fill(hub, file)
    partial = here(home).parent / f".low-v1.h5.{entry_of(file).sha256[:16]}.partial"
    for content, ranges in ((b"x" * 100, ["bytes=100-"]), (file.read_bytes() + b"more", [None])):
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        hub.seen.clear()
        if ranges == ["bytes=100-"]:
            with pytest.raises(FormatError, match="what came has the hash"):
                pull(f"{ENV}/low")
        else:
            pull(f"{ENV}/low")
        assert [r for r, _ in downloads(hub)] == ranges
        assert left_over(home) == []


def test_two_pulls_do_not_write_into_one_file(hub: HubServer, file: Path, home: Path) -> None:
    fill(hub, file)
    partial = here(home).parent / f".low-v1.h5.{entry_of(file).sha256[:16]}.partial"
    partial.parent.mkdir(parents=True)
    with partial.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OffmarlError, match=r"another process is downloading .*; wait for it or end it"):
            pull(f"{ENV}/low")


def test_a_full_disk_is_told_before_it_is_full(hub: HubServer, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(hub, file)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1))
    with pytest.raises(OffmarlError, match=r"has 0.0 MB left, but 0.0 MB are to come; free space, or choose"):
        pull(f"{ENV}/low")


def test_what_does_not_exist_is_named(hub: HubServer, file: Path) -> None:
    fill(hub, file)
    with pytest.raises(UnknownName, match=r"dataset of offmarl-bench/toy-signals@main 'toy/signals/hihg'.*Known: toy"):
        pull(f"{ENV}/hihg")
    with pytest.raises(UnknownName, match=r"no such revision; http.*lists its tags"):
        pull(f"{ENV}/low", revision="v9")
    with pytest.raises(
        UnknownName, match=r"no dataset repository some/where at http.*check the name .* or it is private"
    ):
        pull(f"{ENV}/low", repo="some/where")
    hub.create("dataset", "me/empty")
    with pytest.raises(UnknownName, match=r"me/empty at http.* has no such file"):
        pull(f"{ENV}/low", repo="me/empty")


def test_a_private_repository_needs_a_token_that_may_see_it(
    hub: HubServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(hub, file, repo="me/secret", private=True)
    with pytest.raises(UnknownName, match="or it is private: then log in with `hf auth login`, or set HF_TOKEN"):
        pull(f"{ENV}/low", repo="me/secret")
    monkeypatch.setenv("HF_TOKEN", hub.add_user("hf_other", "other"))
    with pytest.raises(UnknownName, match="this token may not see it"):
        pull(f"{ENV}/low", repo="me/secret")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(OffmarlError, match="the token was refused as invalid"):
        pull(f"{ENV}/low", repo="me/secret")
    monkeypatch.setenv("HF_TOKEN", hub.add_user("hf_me", "me"))
    assert pull(f"{ENV}/low", repo="me/secret").read_bytes() == file.read_bytes()
    assert {s.token for s in hub.seen if s.path.startswith("/cdn/")} == {None}, "no token to the host of the files"


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, r"no permission to read offmarl-bench/toy-signals .*\(refused by the test\)"),
        (503, "the Hub answered 503 .*wait a little and run the same command again"),
        (418, "the Hub answered 418"),
    ],
)
def test_a_hub_that_refuses(status: int, message: str, hub: HubServer, file: Path) -> None:
    fill(hub, file)
    hub.refuse("manifest.json", status)
    with pytest.raises(OffmarlError, match=message) as failure:
        pull(f"{ENV}/low")
    assert "\n" not in str(failure.value)


def test_no_server(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    with pytest.raises(OffmarlError, match=r"cannot reach the Hub at http://127.0.0.1.*check the network and proxy"):
        pull(f"{ENV}/low")
    with pytest.raises(OffmarlError, match="cannot reach the Hub"):
        remote_versions(ENV)
    with pytest.raises(UnknownName, match=r"The Hub could not be asked: cannot reach [^;]*. Generate it: `offmarl"):
        load_dataset(f"{ENV}/low")


def test_a_silent_hub_costs_little_and_only_once(hub: HubServer, file: Path) -> None:
    fill(hub, file)
    hub.hang("manifest.json", seconds=10)
    took = []
    for words in (
        r"The Hub could not be asked: .*(no answer within 1.2 s|timed out).*Generate it",
        r"on this machine. Generate it",
    ):
        begin = time.monotonic()
        with pytest.raises(UnknownName, match=words):
            load_dataset(f"{ENV}/low")
        took.append(time.monotonic() - begin)
    assert took[0] < 6  # 1.2 s, on a busy machine
    assert took[1] < 1.2
    assert len(hub.seen) <= 1


def test_a_repository_that_is_not_what_it_says(hub: HubServer, tmp_path: Path, home: Path) -> None:
    low, other = dataset_file(tmp_path), dataset_file(tmp_path, "other-v1", 9)
    fill(hub, low)
    swapped = entry_of(low)
    raw = other.read_bytes()
    hub.put("dataset", REPO, "low/low-v1.h5", raw)
    entry = replace(swapped, size=len(raw), sha256=entry_of(other).sha256)
    hub.put("dataset", REPO, "manifest.json", Listing(env_id=ENV).with_file(entry).to_bytes())
    with pytest.raises(FormatError, match=r"low-v1.h5 calls itself 'toy/signals/other-v1'.*its manifest says 'toy/sig"):
        pull(f"{ENV}/low")
    assert not here(home).exists()
    entry = replace(entry, size=len(raw) + 1)
    hub.put("dataset", REPO, "manifest.json", Listing(env_id=ENV).with_file(entry).to_bytes())
    with pytest.raises(FormatError, match=f"{len(raw)} bytes came, expected {len(raw) + 1}"):
        pull(f"{ENV}/low")
    hub.put("dataset", REPO, "manifest.json", b"x" * (17 << 20))
    with pytest.raises(FormatError, match="larger than 16777216 bytes"):
        pull(f"{ENV}/low")


def test_data_that_is_not_the_published_one_is_refused(
    hub: HubServer, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Entry:
        content_hash = "0" * 64

    fill(hub, file)
    monkeypatch.setattr(bring, "published", lambda: {f"{ENV}/low-v1": Entry})
    with pytest.raises(
        FormatError, match=r"has another toy/signals/low-v1 than the published one .*generate it instead"
    ):
        pull(f"{ENV}/low")
    with caplog.at_level(logging.WARNING, "offmarl_bench.hub"):
        pull(f"{ENV}/low", repo=REPO)
    assert "than the published one" in caplog.text


def test_remote_versions(hub: HubServer, tmp_path: Path) -> None:
    fill(hub, dataset_file(tmp_path, "low-v1"), dataset_file(tmp_path, "low-v2", 9))
    assert remote_versions(ENV) == [f"{ENV}/low-v1", f"{ENV}/low-v2"]
    assert remote_versions("smac/2s3z") == []


def test_any_file_by_its_address(hub: HubServer, file: Path, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(hub, file)
    data = load_dataset(ADDRESS)
    assert len(data) == 8
    commit = hub.repos["dataset", REPO].branches["main"]
    assert fetch(ADDRESS) == home / "hub" / REPO.replace("/", "--") / commit / "low" / "low-v1.h5"
    assert len(downloads(hub)) == 1
    hub.refuse("*", 503)
    with caplog.at_level(logging.WARNING, "offmarl_bench.hub"):
        assert fetch(ADDRESS).is_file()
    assert f"taking what {ADDRESS} was last time, commit {commit[:12]}" in caplog.text
    asked = len(hub.seen)
    assert fetch(f"hf://{REPO}@{commit}/low/low-v1.h5").is_file()
    assert len(hub.seen) == asked, "a commit cannot have changed"
    with pytest.raises(OffmarlError, match="the Hub answered 503"):
        fetch(f"hf://{REPO}@v1/low/low-v1.h5")
    hub.heal()
    with pytest.raises(UnknownName, match="no such file"):
        fetch(f"hf://{REPO}/low/low-v2.h5")


def test_an_address_is_checked_by_the_hash_that_the_hub_gives(hub: HubServer, file: Path, home: Path) -> None:
    fill(hub, file)
    hub.corrupt("*.h5", times=1)
    with pytest.raises(FormatError, match="what came has the hash"):
        load_dataset(ADDRESS)
    assert not list((home / "hub").rglob("*.h5"))


def test_small_files_have_the_hash_that_git_gives_them(hub: HubServer, file: Path) -> None:
    fill(hub, file)
    repo = hub.repos["dataset", REPO]
    head = repo.resolve("main")
    added = repo.add_commit(head.oid, "small", {**head.files, "small.h5": regular(file.read_bytes())})
    repo.branches["main"] = added.oid
    hub.corrupt("small.h5", times=1)
    with pytest.raises(FormatError, match="what came has the hash"):
        fetch(f"hf://{REPO}/small.h5")
    assert fetch(f"hf://{REPO}/small.h5").read_bytes() == file.read_bytes()
