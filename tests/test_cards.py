"""Cards of datasets made here: what they say, what they are drawn from, and that a stale one is found out."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from offmarl_bench.card_files import BEGIN, END, LIST, read_card, redraw, stale, stored, write_card, write_list
from offmarl_bench.card_words import CITATION
from offmarl_bench.cards import card_data, card_pictures, render_card
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.generate import generate
from offmarl_bench.loader import Dataset, load_dataset
from offmarl_bench.manifest import Published
from offmarl_bench.pool import load_pool, save_pool
from tests.imbalanced_toy import imbalanced
from tests.toy_pool import toy_pool

ID = "toy/signals/low-v1"
EPISODES = 32


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pools with that of toy/signals."""
    root = tmp_path_factory.mktemp("pools")
    save_pool(toy_pool(), root / "toy" / "signals")
    return root


@pytest.fixture(scope="module")
def file(pools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated dataset."""
    out = tmp_path_factory.mktemp("made") / "low-v1.h5"
    pool = load_pool("toy/signals", pools / "toy" / "signals")
    return generate("toy/signals", quality="low", episodes=EPISODES, out=out, pool=pool, progress=False)


@pytest.fixture
def shipped(pools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool that played, as if it came with the package."""
    for module in ("cards", "card_files"):
        monkeypatch.setattr(f"offmarl_bench.{module}.SHIPPED", pools)


@pytest.fixture(scope="module")
def made(file: Path, pools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one fresh card; drawing takes a while, so tests get a copy."""
    out = tmp_path_factory.mktemp("cards")
    (out / LIST).write_text(f"# Cards\n\n{BEGIN}\n{END}\n\nWords.\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("offmarl_bench.cards.SHIPPED", pools)
        write_card(file, out)
    write_list(out)
    return out


@pytest.fixture
def cards(made: Path, tmp_path: Path, shipped: None) -> Path:
    """A folder with one fresh card, to spoil."""
    return Path(shutil.copytree(made, tmp_path / "cards"))


def test_a_card_says_what_is_in_the_file(file: Path, shipped: None) -> None:
    data, metadata = load_dataset(file), load_dataset(file).metadata
    text = render_card(card_data(file))
    assert text.startswith("<!-- Made by")
    assert f"# {ID}\n" in text
    assert f"| episodes | {EPISODES} ({EPISODES * 8} steps, {EPISODES * 9} rows) |" in text
    assert f"**{data.returns.mean():.2f} ± {data.returns.std():.2f}**" in text
    assert f"`{metadata['content_hash']}`" in text
    assert f"`{metadata['pool_hash']}`" in text
    assert metadata["command"] in text
    assert "| 50 % | a1 b1 random, a2 b2 expert | random | expert | random | expert | 16 |" in text
    assert re.search(r"\| a2 \| 50 % \| – \| 50 % \| [\d.]+ ± [\d.]+ \| – \| [\d.]+ ± [\d.]+ \|", text)


def test_it_names_the_pool_members_that_played_and_their_returns(file: Path, shipped: None) -> None:
    data = card_data(file)
    assert {m["level"] for m in data["members"]} == {"random", "expert"}
    assert "| expert | `expert-0` | 6.00 ± 1.00 | – | 0 | 0 | a2 b2 |" in render_card(data)
    assert "begin at mean returns 3.80 and 6.20; members play with ε = 0.1" in render_card(data)


def test_a_pool_that_is_not_here_or_another_one_is_not_guessed(file: Path, home: Path) -> None:
    assert card_data(file)["pool"] is None
    assert "not known to the package" in render_card(card_data(file))
    save_pool(toy_pool(epsilon=0.2), home / "pools" / "toy" / "signals")
    assert card_data(file)["members"] == []


def test_the_users_own_pool_is_known(file: Path, pools: Path, home: Path) -> None:
    shutil.copytree(pools, home / "pools")
    assert card_data(file)["members"]


def test_data_is_plain_json_and_its_rendering_needs_nothing_else(file: Path, shipped: None) -> None:
    data = card_data(file)
    again = json.loads(json.dumps(data, allow_nan=False))
    assert again == data
    assert render_card(again) == render_card(data)
    assert set(card_pictures(again)) == {f"low-v1.{name}.png" for name in ("returns", "agents", "coverage")}


def test_pictures_can_lie_elsewhere_or_be_left_out_and_the_hub_be_named(file: Path) -> None:
    data = card_data(file)
    assert "](low-v1.returns.png)" in render_card(data)
    assert "](assets/low-v1.returns.png)" in render_card(data, pictures="assets/")
    assert "png" not in render_card(data, pictures=None)
    assert 'load_dataset("me/toy-signals", "low", revision="v1"' in render_card(data, repo="me/toy-signals")
    assert 'load_dataset("ORG/toy-signals", "low", revision="v1"' in render_card(data)


def test_every_snippet_that_needs_no_network_runs(file: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = home / "datasets" / "toy" / "signals"
    place.mkdir(parents=True)
    (place / "low-v1.h5").write_bytes(file.read_bytes())
    monkeypatch.chdir(file.parent)
    blocks = re.findall(r"```python\n(.*?)```", render_card(card_data(file)), re.DOTALL)
    local = [b for b in blocks if "ORG/" not in b]
    assert (len(blocks), len(local)) == (4, 3)
    names: dict[str, Any] = {}
    for block in local:
        exec(block, names)  # noqa: S102  (our own text)
    assert len(names["good"]) == EPISODES / 2
    assert len(names["returns"]) == EPISODES
    assert names["returns"].mean() == pytest.approx(names["dataset"].returns.mean(), abs=1e-5)
    assert names["batch"].rewards.shape == (8, 8)


def test_licence_and_citation_are_the_repositorys() -> None:
    root = Path(__file__).parent.parent
    assert (root / "LICENSE").read_text().startswith("MIT License")
    stated = (root / "CITATION.cff").read_text()
    for title in re.findall(r'title: "(.*?)"', stated):
        assert f"title = {{{title}}}" in CITATION
    for family in re.findall(r"family-names: (.*)", stated):
        assert family in CITATION


def test_what_a_strangers_file_says_stays_text() -> None:
    data = imbalanced(8)
    data.metadata |= {
        "dataset_id": "toy/signals/low-v1", "recipe_note": "<script>alert(1)</script> | [x](javascript:1)\n# no",
        "recipe": "`a | b`", "command": "x\n```\n# heading", "backend": "a\x1b[2J",
    }  # fmt: skip
    text = render_card(card_data(data))
    assert not re.search(r"(?<!\\)<script", text), "a backslash before it makes it text"
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    assert not re.search(r"^# (no|heading)", text, re.MULTILINE)
    assert "\x1b" not in text
    assert "licence and that of the policies decide" in text  # not our simulator, so not our licence to give


@pytest.mark.parametrize("name", [None, "toy/signals", "toy/signals/low", "../../x/y-v1", 7])
def test_a_card_needs_a_dataset_with_an_id(name: Any) -> None:
    data = imbalanced(8)
    data.metadata["dataset_id"] = name
    with pytest.raises(FormatError, match=r"a card is of a dataset with an id|expected 'suite/map/quality|dataset id"):
        card_data(data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "offmarl-bench card 2"}, "not an 'offmarl-bench card 1'"),
        ({"id": "toy/signals/low"}, "names no version"),
        ({"id": "../../etc/passwd-v1"}, "dataset id"),
        ({"rows": "many"}, "rows is 'many', expected"),
        ({"spec": {}}, "EnvSpec"),
        ({"evil": 1}, "has unknown"),
    ],
)
def test_data_of_no_card_is_refused(change: dict[str, Any], words: str, file: Path) -> None:
    with pytest.raises(FormatError, match=words):
        render_card(card_data(file) | change)


def test_writing_twice_changes_no_byte(file: Path, cards: Path) -> None:
    before = {p: p.read_bytes() for p in cards.rglob("*.*")}
    assert {p.name for p in before} >= {"low-v1.md", "low-v1.json", "low-v1.agents.png"}
    write_card(file, cards)
    write_list(cards)
    assert {p: p.read_bytes() for p in cards.rglob("*.*")} == before
    (cards / f"{CARD}.md").unlink()
    redraw(cards / f"{CARD}.json", cards)
    assert {p: p.read_bytes() for p in cards.rglob("*.*")} == before
    assert "[toy/signals/low-v1](toy/signals/low-v1.md)" in (cards / LIST).read_text()


def test_a_fresh_card_is_not_stale(cards: Path) -> None:
    assert len(stored(cards)) == 1
    assert stale(cards) == []


def change_json(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change a card's data, and put it where its id belongs."""

    def spoil(cards: Path) -> None:
        path = cards / "toy/signals/low-v1.json"
        data = json.loads(path.read_text())
        change(data)
        path.unlink()
        (cards / f"{data['id']}.json").write_text(json.dumps(data))

    return spoil


def said(**values: Any) -> Callable[[Path], None]:
    return change_json(lambda d: d["description"]["provenance"].update(values))


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def spoil(cards: Path) -> None:
        text = (cards / name).read_text()
        assert old in text
        (cards / name).write_text(text.replace(old, new))

    return spoil


CARD = "toy/signals/low-v1"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (edit(f"{CARD}.md", "| episodes |", "| Episodes |"), "low-v1.md is not what its data gives; run `make cards`"),
        (change_json(lambda d: d["description"].update(rewarded=0.123)), "low-v1.returns.png is not drawn from its"),
        (lambda c: (c / f"{CARD}.agents.png").unlink(), "low-v1.agents.png is not drawn from its data"),
        (lambda c: (c / f"{CARD}.coverage.png").write_bytes(b"PNG"), "low-v1.coverage.png is not drawn"),
        (lambda c: (c / f"{CARD}.md").unlink(), "low-v1.md is not what its data gives"),
        (lambda c: (c / f"{CARD}.json").write_text("{"), "cannot be read as a card"),
        (lambda c: (c / f"{CARD}.json").rename(c / "toy/signals/high-v1.json"), "is the card of toy/signals/low-v1"),
        (lambda c: (c / "toy/signals/old-v1.md").write_text("x"), "old-v1.md: belongs to no card"),
        (edit(LIST, "[toy/signals/low-v1]", "[low]"), "its list is not that of the cards"),
        (said(recipe="100%[a1e,a2e,b1e,b2e]"), "recipe is '100%.*', today it is '50%.*generate"),
        (said(recipe_provenance="verbatim"), "recipe_provenance is 'verbatim', today it is 'ours'"),
        (said(paper_mean=3.0), "paper_mean is 3.0, today it is None"),
        (said(recipe_note="else"), "recipe_note is 'else', today"),
        (said(pool_hash="0" * 64), "pool_hash is '0+', today it is '[0-9a-f]+'"),
        (said(backend="toy-0"), "backend is 'toy-0', today it is 'toy-"),
        (change_json(lambda d: d.update(id="toy/signals/low-v2")), "version 2 was never published"),
        (change_json(lambda d: d.update(id="toy/signals/own-v1")), "of no named recipe and not published"),
    ],
)
def test_a_stale_card_is_found_out(spoil: Callable[[Path], None], words: str, cards: Path) -> None:
    spoil(cards)
    found = stale(cards)
    assert any(re.search(words, line) for line in found), found


def entry(cards: Path, **other: Any) -> Published:
    """What the manifest would say of the card's dataset."""
    card = read_card(cards / f"{CARD}.json")
    s = card.description.provenance
    stated = {k: s.get(k) for k in ("recipe", "seed", "pool_hash", "backend", "content_hash", "versions", "commit")}
    return Published(
        **{
            "id": ID, "rows": card.rows, "episodes": EPISODES, "file_bytes": 1, "length_mean": 8.0, "length_std": 0.0,
            "returns": {}, "compositions": (), "reference_random": 0.0, "reference_expert": 1.0, **stated, **other,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({}, None),
        ({"content_hash": "0" * 64}, "content_hash is '[0-9a-f]+', published was '0+'; make it from that file"),
        ({"recipe": "100%[a1m,a2m,b1m,b2m]"}, "recipe is '50%.*', published was '100%"),
        ({"pool_hash": "1" * 64}, "pool_hash is '[0-9a-f]+', published was '1+'"),
        ({"seed": 3}, "seed is 0, published was 3"),
        ({"episodes": 64}, "episodes is 32, published was 64"),
        ({"rows": 1}, "rows is 288, published was 1"),
    ],
)
def test_a_card_that_is_not_of_the_published_version_is_found_out(
    other: dict[str, Any], words: str | None, cards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offmarl_bench.card_files.published", lambda: {ID: entry(cards, **other)})
    found = stale(cards)
    assert found == [] if words is None else any(re.search(words, line) for line in found), found


def test_a_changed_file_changes_the_card(file: Path, cards: Path, tmp_path: Path) -> None:
    changed = tmp_path / "low-v1.h5"
    changed.write_bytes(file.read_bytes())
    with h5py.File(changed, "r+") as h5:
        h5["rewards"][0] += 1
    assert card_data(changed) != card_data(file)


def test_a_view_of_a_file_can_be_described_but_places_stay_inside(tmp_path: Path) -> None:
    data: Dataset = imbalanced(8)
    data.metadata["dataset_id"] = "toy/..signals/low-v1"
    with pytest.raises(OffmarlError, match="dataset id"):
        write_card(data, tmp_path)
    assert list(tmp_path.rglob("*.md")) == []
