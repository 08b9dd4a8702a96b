"""Datasets to the Hub: what a repository looks like afterwards, and what never gets there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard

from offmarl_bench.errors import FormatError, OffmarlError, UnknownName
from offmarl_bench.format.schema import columns_of
from offmarl_bench.hub import pull
from offmarl_bench.hub.listing import parse_listing
from offmarl_bench.loader import load_dataset
from offmarl_bench.publish import Pushed, push, send
from offmarl_bench.publish.readme import features, render, size_category
from offmarl_bench.types import EnvSpec
from tests.hub_case import ENV, REPO, dataset_file, entry_of, fill
from tests.hub_repos import Repo
from tests.hub_server import HubServer
from tests.toy_data import expert_dataset

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
"""The client library's upload uses an argument that its HTTP library calls outdated."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards without pictures: drawing them is most of the time of a push, and tested with the cards."""
    monkeypatch.setattr(send, "card_pictures", lambda _: {"low.png": b"not a picture"})


@pytest.fixture
def me(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """The Hub, and a token of somebody who owns the organisation."""
    monkeypatch.setenv("HF_TOKEN", hub.add_user("hf_me", "me", "offmarl-bench"))
    return hub


def send_file(folder: Path, quality: str, episodes: int = 8, **settings: Any) -> Pushed:
    return push(dataset_file(folder, quality, episodes), **settings)


def repo_of(hub: HubServer) -> Repo:
    return hub.repos["dataset", REPO]


def text(repo: Repo, path: str, revision: str = "main") -> str:
    content = repo.file(revision, path)[1].content
    assert content is not None
    return content.decode()


def front_matter(page: str) -> dict[str, Any]:
    """The YAML of a README, as the client library reads it."""
    found: dict[str, Any] = DatasetCard(page).data.to_dict()  # type: ignore[no-untyped-call]
    return found


def configs(repo: Repo, revision: str) -> dict[str, str]:
    """Config → file, as the README of a revision says."""
    found = front_matter(text(repo, "README.md", revision))
    return {c["config_name"]: c["data_files"][0]["path"] for c in found["configs"]}


def test_a_push_makes_a_repository_that_says_all(me: HubServer, tmp_path: Path) -> None:
    path = dataset_file(tmp_path)
    done = push(path)
    repo = repo_of(me)
    assert (done.repo, done.uploaded, done.tags) == (REPO, True, ("low-v1", "v1"))
    assert done.url == f"{me.url}/datasets/{REPO}"
    assert {"low-v1": done.commit, "v1": done.commit} == repo.tags
    entry = parse_listing(text(repo, "manifest.json").encode(), "there").files[0]
    measured = entry_of(path)
    assert (entry.sha256, entry.size, entry.content_hash) == (measured.sha256, measured.size, measured.content_hash)
    assert (entry.rows, entry.episodes, entry.return_mean) == (72, 8, 8.0)
    assert repo.file("main", "low/low-v1.h5")[1].oid == entry.sha256
    assert {"cards/low-v1.md", "cards/low-v1.json", "cards/low.png"} <= set(repo.resolve("main").files)
    page = text(repo, "README.md")
    head = front_matter(page)
    assert (head["license"], head["size_categories"]) == ("mit", ["n<1K"])
    assert head["configs"][0] == {
        "config_name": "low", "default": True, "data_files": [{"split": "train", "path": "low/low-v1.h5"}],
    }  # fmt: skip
    info = head["dataset_info"][0]
    assert [f["name"] for f in info["features"]] == [c.name for c in columns_of(load_dataset(path).spec)]
    assert info["splits"] == [{"name": "train", "num_bytes": 72 * 235, "num_examples": 72}]
    assert f"`{ENV}/low-v1` | 8 | 72 | 8.00 |" in page
    assert f"# {ENV}/low-v1" in page, "the dataset's card"
    assert "hf_me" not in page


def test_what_is_pushed_is_pulled_array_for_array(me: HubServer, tmp_path: Path) -> None:
    send_file(tmp_path, "low-v1")
    local, there = load_dataset(tmp_path / "low-v1.h5"), load_dataset(pull(f"{ENV}/low"))
    assert local.metadata == there.metadata
    assert {n: c.tobytes() for n, c in local.columns.items()} == {n: c.tobytes() for n, c in there.columns.items()}


def test_tags_show_what_they_say_in_whatever_order_versions_come(me: HubServer, tmp_path: Path) -> None:
    for quality, episodes in (("low-v1", 8), ("medium-v2", 9), ("medium-v1", 10), ("high-v1", 11), ("low-v3", 12)):
        done = send_file(tmp_path, quality, episodes)
    repo = repo_of(me)
    old = {"high": "high/high-v1.h5", "low": "low/low-v1.h5", "medium": "medium/medium-v1.h5"}
    newer = {**old, "medium": "medium/medium-v2.h5"}
    newest = {**newer, "low": "low/low-v3.h5"}
    assert configs(repo, "v1") == old
    assert configs(repo, "v2") == newer
    assert configs(repo, "v3") == configs(repo, "main") == newest
    assert done.tags == ("low-v3", "v3")
    for quality in ("low-v1", "medium-v1", "medium-v2", "high-v1", "low-v3"):
        name = quality.partition("-")[0]
        assert configs(repo, quality)[name] == f"{name}/{quality}.h5"
    assert list(repo.branches) == ["main"]
    assert [c.title.removeprefix(f"{ENV}/") for c in repo.history("main")] == [
        "low-v3", "high-v1", "medium-v1", "medium-v2", "low-v1", "initial commit",
    ]  # fmt: skip
    assert len(load_dataset(pull(f"{ENV}/medium", revision="v1"))) == 10
    assert len(load_dataset(pull(f"{ENV}/medium", revision="v2"))) == 9
    with pytest.raises(UnknownName, match="@v1 'toy/signals/low-v3'"):
        pull(f"{ENV}/low-v3", revision="v1")
    assert text(repo, "README.md").count("# toy/signals/") == 3, "the card of every config"


def test_a_push_that_is_done_changes_nothing(me: HubServer, tmp_path: Path) -> None:
    first = send_file(tmp_path, "low-v1")
    me.seen.clear()
    again = push(tmp_path / "low-v1.h5")
    assert (again.commit, again.tags, again.uploaded) == (first.commit, first.tags, False)
    assert not [s for s in me.seen if s.method == "PUT"]


def test_a_push_that_was_interrupted_is_finished_by_the_next(me: HubServer, tmp_path: Path) -> None:
    path = dataset_file(tmp_path)
    me.refuse("/api/datasets/*/commit/*", 503, times=1)  # it was made, but the answer was lost
    with pytest.raises(OffmarlError, match=r"the Hub answered 503 .*run the same command again"):
        push(path)
    me.refuse("/api/datasets/*/tag/*", 503, times=1)
    with pytest.raises(OffmarlError, match="the Hub answered 503"):
        push(path)
    assert list(repo_of(me).tags) == ["v1"]
    assert push(path).tags == ("low-v1", "v1")
    assert sorted(repo_of(me).tags) == ["low-v1", "v1"]
    sent = [s for s in me.seen if s.method == "PUT"]
    assert len(sent) == len(set(sent)), "no large file is sent twice"


def test_a_published_version_never_changes(me: HubServer, tmp_path: Path) -> None:
    send_file(tmp_path, "low-v1")
    with pytest.raises(
        OffmarlError, match=f"{REPO} has another {ENV}/low-v1 .*a published version never changes: raise"
    ):
        send_file(tmp_path, "low-v1", 9)


def test_two_pushes_at_once_do_not_lose_one(me: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send_file(tmp_path, "low-v1")
    path, opened = dataset_file(tmp_path, "medium-v1", 9), send._open

    def other_first(*args: Any) -> str:
        head = opened(*args)
        me.put("dataset", REPO, "note.txt", b"somebody else was here")
        return head

    monkeypatch.setattr(send, "_open", other_first)
    with pytest.raises(OffmarlError, match="was changed by somebody else meanwhile; run the same command again"):
        push(path)
    monkeypatch.undo()


def test_private(me: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = send_file(tmp_path, "low-v1", repo="me/secret", private=True, licence="cc-by-4.0")
    assert me.repos["dataset", "me/secret"].private
    assert "license: cc-by-4.0" in text(me.repos["dataset", "me/secret"], "README.md")
    assert done.repo == "me/secret"
    send_file(tmp_path, "medium-v1", 9, repo="me/secret")
    assert "license: cc-by-4.0" in text(me.repos["dataset", "me/secret"], "README.md"), "kept"
    fill(me, dataset_file(tmp_path), repo="me/open")
    with pytest.raises(OffmarlError, match=r"me/open .* exists and is public, so --private cannot hold"):
        send_file(tmp_path, "low-v1", repo="me/open", private=True)


def test_who_may_not_push_is_told_why(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dataset_file(tmp_path)
    with pytest.raises(OffmarlError, match="not logged in; log in with `hf auth login`, or set HF_TOKEN"):
        push(path)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(OffmarlError, match="the token was refused as invalid"):
        push(path)
    monkeypatch.setenv("HF_TOKEN", hub.add_user("hf_read", "me", writes=False))
    with pytest.raises(OffmarlError, match=r"no permission to write to me/x .*use a token with the role 'write'"):
        push(path, repo="me/x")
    monkeypatch.setenv("HF_TOKEN", hub.add_user("hf_other", "other"))
    with pytest.raises(
        OffmarlError, match=r"no permission to write to offmarl-bench/toy-signals .*or another repository"
    ):
        push(path)
    fill(hub, path)
    with pytest.raises(OffmarlError, match=r"no permission to write to offmarl-bench/toy-signals"):
        push(path)


def test_what_is_not_fit_is_not_pushed(me: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unnamed = expert_dataset(2).save(tmp_path / "unnamed.h5")
    with pytest.raises(FormatError, match="is not pushed: it has no id, expected 'toy/signals/QUALITY-vN'"):
        push(unnamed)
    for name in ("toy/other/low-v1", "toy/signals/low"):
        wrong = expert_dataset(2, dataset_id=name).save(tmp_path / f"{name.replace('/', '-')}.h5")
        with pytest.raises(FormatError, match=f"is not pushed: it calls itself '{name}'"):
            push(wrong)
    colon = expert_dataset(2, dataset_id="toy/signals/a:b-v1").save(tmp_path / "colon.h5")
    with pytest.raises(FormatError, match="quality 'a:b' cannot be the name of a git tag"):
        push(colon)
    with pytest.raises(UnknownName, match="is not on this machine"):
        push("toy/signals/low")
    bad = expert_dataset(2, dataset_id="toy/signals/low-v1")
    bad.columns["rewards"][0] = float("nan")
    with pytest.raises(FormatError, match=r"is not pushed: error: NaN|is not pushed: error: .*[Nn]aN"):
        push(bad.save(tmp_path / "bad.h5"))
    assert me.repos == {}


def test_a_repository_is_of_one_map(me: HubServer, tmp_path: Path) -> None:
    fill(me, repo="me/other")
    listing = text(me.repos["dataset", "me/other"], "manifest.json").replace("toy/signals", "toy/other")
    me.put("dataset", "me/other", "manifest.json", listing.encode())
    with pytest.raises(
        OffmarlError, match="me/other holds datasets of toy/other, not of toy/signals; use another --repo"
    ):
        send_file(tmp_path, "low-v1", repo="me/other")


def test_other_data_than_the_published_goes_to_a_place_of_its_own(
    me: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "compare", lambda _: ("differs", "episodes 8 instead of 10000"))
    with pytest.raises(OffmarlError, match=r"is not the published .*: episodes 8 instead of 10000; push it to a place"):
        send_file(tmp_path, "low-v1")
    assert send_file(tmp_path, "low-v1", repo="me/mine").uploaded


def test_features_are_in_the_words_of_datasets() -> None:
    spec = EnvSpec.from_json({**expert_dataset(1).spec.to_json(), "discrete": False, "A": 2, "action_sizes": []})
    found = {f["name"]: f for f in features(spec)}
    assert found["actions"] == {"name": "actions", "dtype": {"array2_d": {"shape": [4, 2], "dtype": "float32"}}}
    assert found["state"] == {"name": "state", "list": "float32", "length": 16}
    assert found["is_last"] == {"name": "is_last", "dtype": "bool"}
    assert "legal_actions" not in found
    assert [size_category(n) for n in (1, 999, 1000, 99_999, 564_131, 10**12)] == [
        "n<1K", "n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1B<n<10B",
    ]  # fmt: skip


def test_text_of_strangers_cannot_break_the_page(tmp_path: Path) -> None:
    entry = replace(entry_of(dataset_file(tmp_path)), recipe="a|b\n# c <script>[x](y)")
    page = render(REPO, ENV, {"low": entry}, "mit", {}, "v1")
    table = [line for line in page.splitlines() if line.startswith("| `low` |")]
    assert re.fullmatch(r".*\| a\\\|b \\# c \\<script\\>\\\[x\\\]\(y\) \| .*", table[0])
