"""Published versions: what is in the manifest stays, what is added can be made again, what differs is said."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from offmarl_bench import admit, manifest, recipes, regenerate
from offmarl_bench.envs import get_spec
from offmarl_bench.errors import FormatError, OffmarlError, UnknownName
from offmarl_bench.generate import generate
from offmarl_bench.ids import DatasetId, parse_dataset_id
from offmarl_bench.loader import load_dataset
from offmarl_bench.manifest import Published, compare, find_published, published, seal
from offmarl_bench.pool import SHIPPED, load_pool, save_pool
from offmarl_bench.recipes import RECIPES, named_recipe, parse_recipe
from offmarl_bench.shelf import list_datasets
from tests.toy_pool import toy_pool

FOR_EVER = {
    "smac/2s3z/low-v1": "991f83b72daaf2c65ea1aa663a46147494f26ec2ffab7e2d1e54b139c0715584",
    "smac/2s3z/medium-v1": "b3c6c65ff2e586fb71f6e060c26a4de5f4c0c93f7917ae452fe53570fad123cf",
    "smac/8m/low-v1": "6dc7e61ba0e2134f3a017d6eba4036df24a189c0632e66d831f16332c1c2ece5",
    "smac/8m/medium-v1": "1e15e293acf8df741c7b8235716210f986079c6cc12cd05cca016088ebc6803c",
    "smac/1c3s5z/low-v1": "14a74b46a702417d7043b7c5b6de547df72867f2ed0d615f570cc4a8608ff463",
    "smac/1c3s5z/medium-v1": "5e0835b7b6e3aada98a772ebf35d7cd5481ad41d772af48364ed65c5f439cb72",
    "smac/10m_vs_11m/low-v1": "7e84ceed8f788f580e71aef2c448216fc35dcbb74fd5f07f3eed826a6a751426",
    "smac/10m_vs_11m/medium-v1": "f2a5662149fe1ac75ff63e1d496d0c4c3cc96adaec83a67a12c5d985e9806bf7",
    "smac/10m_vs_11m/low-v2": "1f8bdd767436a4834fb3f859c38ee9fbfad65d98a8eccfab9171d073833da3c6",
    "smac/10m_vs_11m/medium-v2": "fc16e84dfaf6fa7c630798c1122dfed7dad5cc6b4c0c8247c7c4c5dd960f49ae",
    "smac/1c3s5z/low-v2": "4a24bd92522825d93f2315b06e24f51acf220b7218ef130ec375d8561ab31f93",
    "smac/1c3s5z/medium-v2": "e7a349a4ba71e1f93b483df4636bfb1adf9bedd3432392dd359ceaf0eb1bdaa0",
    "smac/2s_vs_1sc/low-v1": "64a9ae8a6eb8a5551b861b37404fe4e2b348dd0ad938becce6c47ea6d84445f7",
    "smac/2s_vs_1sc/medium-v1": "683f0f76771014a2e036bb77c2c20584f062f0716a99560152b76da13dda517d",
    "smac/2s3z/low-v2": "b67291c03e15be83f4307bcd47b80be409dee2f089a6ed1b52c4ad3351f8eaf2",
    "smac/2s3z/medium-v2": "909d4b35f92ff2040f989fbfa1b78cb0b4e4fab2b13c39c6e12225f2354ea9fe",
    "smac/8m/low-v2": "177497a05dae00509efe84a81d7e967baa9b3cd88c6d9eeb418932123e85df0c",
    "smac/8m/medium-v2": "558f15fa2e8160dbe7ffa858d371da8faf5ed1e2bdb3f7f6a4cc6de6c263a000",
    "smac/3s_vs_5z/fig1-v1": "5fe12e32a66c3aafb6e1c4ade3b78817ee9a9eba9cd2db2bf7531f6abe2d1270",
    "smac/3s_vs_5z/low-v1": "e090b7a1da80faa243e09acef79020ace659369afa3c4588d350647d6303aa7d",
    "smac/3s_vs_5z/medium-v1": "cf3eeee3d9ab979636078c76838d27fca109cc460f1a4906494d8837f6328c92",
    "smac/3s_vs_5z/low-v2": "cf8289e2f0589f6ac41b13f60ca5b0a44a0b556aa9de35fb98c783b4382f6ea7",
    "smac/3s_vs_5z/medium-v2": "fcbbedad82368bb35263a4015b58abc6f50284f738e5ae062c1aae597ce35c17",
    "smac/3s_vs_5z/fig1-v2": "0c38613fc26fcea741422ac40b653a677c347ef753dae3de3f654d4c1df05e8c",
    "smac/2s_vs_1sc/low-v2": "a42dc4a6bd3234cdceb1d42a64783deafedf58ec001c1cbfd126536b8a3b4fd5",
    "smac/1c3s5z/low-v3": "b8bbe2546fb5d6c00e93f84a9aa9a086c4fe1ecdc799a403d8b2645002ecfe4d",
    "smac/1c3s5z/medium-v3": "c6ce39b5f6cbc92b0ffb4a5076d002a8fd2796959b154467499db178d1077721",
    "smac/2s3z/low-v3": "41bcac7ea26289db56ca6d871b96003b6440fa9af4b31785f27c4c2f892f3499",
    "smac/2s3z/medium-v3": "72b51f53981446af9ebf669ba1c222dd753237d38895c56ecf81f57e6f50c85b",
    "smac/2s3z/extreme-low-v3": "2a3b3ac5e4b7fdc7b906b0aa42aaf2749e4896d254e59bb8c614515160485e93",
    "smac/2s3z/random-balanced-v3": "f4c5f8aa6c5862d515e4fdc0a31414b18e2169434928ee702897df30f07aff90",
    "smac/2s3z/medium-balanced-v3": "3c865c0b58ae06a2b74586d7157766a52f3fde1bc9dd421109120332be0db6d9",
    "smac/2s3z/expert-balanced-v3": "296d6824fdbd7fb69384d62b0133bd1b8efd0119bb1118b31bce5b5e32fb8f5b",
    "smac/10m_vs_11m/low-v3": "823e083de7a6b4e9077658942e623bd68daa852c15f86d137751447213b25fba",
    "smac/10m_vs_11m/medium-v3": "2c6ca85766a495addadfacdfe14cdb5abd0906e31c668fcf384d66293abb1093",
    "smac/2s_vs_1sc/medium-v2": "b3c9d5a375e361a790cca871a81e4b591f2fed41a0a8633038961fcdada52959",
    "mpe/CN_3ls3l/low-v1": "e8affbce939713534fbcebadb7d345dc53936b3f907d01cd4e507af596626e40",
    "mpe/CN_3ls3l/medium-v1": "9c74e4ccaea5341865e52fcec02f688bdd8df426f8a13675c51fdfb302afa74b",
    "mpe/CN_4ls4l/low-v1": "83e4de2ed094f91314919f5334ddeec72a1bf136e4cf97854c62777e19ce0edb",
    "mpe/CN_4ls4l/medium-v1": "234bbdcd804ab821d6766032d6ff2f90b2922348b54b14514b3ad45761e7de60",
    "mpe/PP_3p1p/low-v1": "e7a6722da226af6f57f115d350efae004f8594ef547815e2f6315314850f244a",
    "mpe/PP_3p1p/medium-v1": "51e933e3575c553ce35a1f5f0c1cf61964c130f4975439720e01cb69b6541dab",
}
"""What these names meant when they were published. A line here is never edited: new data is a new version."""
LOW = "toy/signals/low-v1"
TODAY = f"smac/2s3z/low-v{named_recipe('smac/2s3z', 'low').version}"


def test_what_was_published_still_means_the_same() -> None:
    entries = published()
    assert {name: entries[name].content_hash for name in FOR_EVER} == FOR_EVER


def test_every_published_version_can_still_be_made() -> None:
    for name, entry in published().items():
        dataset = parse_dataset_id(name)
        assert (str(dataset), dataset.version is not None) == (name, True)
        spec = get_spec(dataset.env_id)
        recipe = parse_recipe(entry.recipe, spec)
        counts = recipe.counts(entry.episodes)
        assert sorted(c["episodes"] for c in entry.compositions) == sorted(n for n in counts if n)
        named = RECIPES[dataset.env_id, dataset.quality]
        assert dataset.version <= named.version  # type: ignore[operator]
        if dataset.version == named.version:  # a recipe that changes is a new version
            assert str(parse_recipe(named.text, spec)) == entry.recipe
            assert load_pool(dataset.env_id, SHIPPED / dataset.suite / dataset.map).hash == entry.pool_hash
        total = sum(c["episodes"] * c["mean"] for c in entry.compositions)
        assert total / entry.episodes == pytest.approx(entry.returns["mean"])
        assert entry.rows == round(entry.episodes * (entry.length_mean + 1))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    """An empty manifest, and a package that ships the toy pool; returns the folder of that pool."""
    monkeypatch.setattr(manifest, "MANIFEST", tmp_path / "manifest.json")
    monkeypatch.setattr(manifest, "LOCK", tmp_path / "manifest_lock.json")
    for module in (admit, regenerate):
        monkeypatch.setattr(module, "SHIPPED", tmp_path / "shipped")
    manifest.store({})
    return save_pool(toy_pool(), tmp_path / "shipped" / "toy" / "signals").parent


def make(shelf: Path, **changes: object) -> Path:
    settings: dict[str, object] = {"quality": "low", "episodes": 40, "pool": load_pool("toy/signals", shelf)} | changes
    return generate("toy/signals", progress=False, **settings)  # type: ignore[arg-type]


def test_an_entry_says_how_it_was_made_and_what_came_out(shelf: Path) -> None:
    path = make(shelf)
    (entry,) = admit.admit([path])
    data = load_dataset(path)
    assert (entry.id, entry.seed, entry.episodes, entry.backend) == (LOW, 0, 40, "toy-1")
    assert (entry.rows, entry.file_bytes) == (40 * 9, path.stat().st_size)
    assert (entry.length_mean, entry.length_std) == (8.0, 0.0)
    assert entry.returns["mean"] == pytest.approx(data.returns.mean())
    assert [c["composition"] for c in entry.compositions] == ["[a1r,a2r,b1r,b2r]", "[a1r,a2e,b1r,b2e]"]
    assert published() == {LOW: entry}
    assert find_published("toy/signals/low") == entry
    assert admit.admit([path]) == [entry], "adding it again changes nothing"
    with pytest.raises(UnknownName, match=r"unknown published dataset 'toy/signals/lo'. Did you mean 'toy/signals/lo"):
        find_published("toy/signals/lo")


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("content_hash", "0" * 64, "was changed"),
        ("seed", 1, "was changed"),
        ("file_bytes", 1, "was changed"),
        ("id", "toy/signals/low-v2", "is gone"),
    ],
)
def test_an_entry_that_changes_is_refused(shelf: Path, field: str, value: object, what: str) -> None:
    admit.admit([make(shelf)])
    raw = json.loads(manifest.MANIFEST.read_text())
    raw["datasets"][0][field] = value
    manifest.MANIFEST.write_text(json.dumps(raw))
    with pytest.raises(FormatError, match=f"the published {LOW} {what}; a published version stays as it is: restore"):
        published()


def test_an_entry_without_a_seal_is_refused(shelf: Path) -> None:
    (entry,) = admit.admit([make(shelf)])
    manifest.store({LOW: entry, "toy/signals/low-v2": replace(entry, id="toy/signals/low-v2")})
    lock = json.loads(manifest.LOCK.read_text())
    assert lock["entries"][LOW] == seal(entry)
    del lock["entries"]["toy/signals/low-v2"]
    manifest.LOCK.write_text(json.dumps(lock))
    with pytest.raises(FormatError, match=r"the published toy/signals/low-v2 was not sealed"):
        published()


def test_a_published_version_is_not_published_again_with_other_content(shelf: Path, tmp_path: Path) -> None:
    (entry,) = admit.admit([make(shelf)])
    other = make(shelf, seed=1, out=tmp_path / "other.h5")
    with pytest.raises(FormatError, match=rf"{LOW} is published with other content .*: raise `version` of its recipe"):
        admit.admit([other])
    assert published() == {LOW: entry}


def test_what_nobody_could_make_again_is_not_published(shelf: Path, tmp_path: Path) -> None:
    custom = make(shelf, quality=None, recipe="100%[a1r,a2r,b1r,b2r]", out=tmp_path / "custom.h5")
    with pytest.raises(FormatError, match=r"toy/signals/custom-\w+-v1 is no named recipe; add one to RECIPES"):
        admit.admit([custom])
    pool = make(shelf, pool=toy_pool(epsilon=0.2), out=tmp_path / "pool.h5")
    with pytest.raises(FormatError, match=r"nobody could make .* again: pool is \w+, but this package has \w+;"):
        admit.admit([pool])
    saved = load_dataset(make(shelf, out=tmp_path / "low.h5"))
    saved.metadata = {"dataset_id": LOW}
    with pytest.raises(FormatError, match=r"only what `offmarl-bench generate` makes can be published, but its meta"):
        admit.admit([saved.save(tmp_path / "saved.h5")])
    assert published() == {}


def test_a_file_with_faults_is_not_published(shelf: Path) -> None:
    path = make(shelf)
    with h5py.File(path, "a") as file:
        file["rewards"][3] = 100
    with pytest.raises(FormatError, match=r"has faults, the first: error: content hash: the file states"):
        admit.admit([path])


def test_a_version_made_with_other_settings_is_said_to_differ(shelf: Path, caplog: pytest.LogCaptureFixture) -> None:
    admit.admit([make(shelf)])
    assert next((d.id, d.status, d.published) for d in list_datasets()) == (LOW, "published", True)
    with caplog.at_level(logging.WARNING):
        path = make(shelf, episodes=10, seed=3, overwrite=True)
    why = "seed 3 instead of 0, episodes 10 instead of 40"
    assert f"this is not the published {LOW}: {why}; `datasets` will say that it differs" in caplog.text
    caplog.clear()
    load_dataset("toy/signals/low")
    assert f"toy/signals/low is not the published {LOW}: {why}" in caplog.text
    found = list_datasets()[0]
    assert (found.status, found.why, found.episodes) == ("differs", why, 10)
    path.write_bytes(path.read_bytes()[:-100])
    found = list_datasets()[0]
    assert (found.status, found.mean_return) == ("damaged", None)
    assert "not a whole HDF5 file" in found.why


def test_the_shelf_lists_here_published_and_what_could_be_made(shelf: Path, home: Path) -> None:
    path = make(shelf)
    (entry,) = admit.admit([path])
    make(shelf, quality=None, recipe="100%[a1m,a2m,b1m,b2m]", dataset=DatasetId("toy", "signals", "mine", 1))
    shutil.copy(path, path.with_name("low-v7.h5"))
    found = {d.id: d for d in list_datasets()}
    assert found["toy/signals/mine-v1"].status == "not published"
    assert (found["toy/signals/low-v7"].status, found["toy/signals/low-v7"].why) == (
        "differs", f"the file says that it is {LOW}",
    )  # fmt: skip
    assert (found[TODAY].status, found[TODAY].remote) == ("not here", None)
    path.unlink()
    gone = {d.id: d for d in list_datasets()}[LOW]
    assert (gone.status, gone.path, gone.content_hash) == ("not here", None, entry.content_hash)
    asked = list_datasets(lambda env_id: [LOW, "toy/signals/odd-v3"] if env_id == "toy/signals" else [])
    there = {d.id: d.remote for d in asked}
    assert (there[LOW], there["toy/signals/odd-v3"], there[TODAY]) == (True, True, False)


def test_the_same_settings_may_give_other_content(shelf: Path) -> None:
    (entry,) = admit.admit([make(shelf)])
    made = {"dataset_id": LOW, "content_hash": "0" * 64, "signature": entry.deciding}
    status, why = compare(made)
    assert (status, why) == ("differs", "the same settings gave other content: other arithmetic, or other software")
    assert compare({**made, "signature": None}) == ("differs", "it does not say how it was made")


def again(entry: Published, **changes: object) -> None:
    """Replace the manifest's entry, as if something else had been published."""
    manifest.store({entry.id: replace(entry, **changes)})  # type: ignore[arg-type]


def test_regenerating_gives_the_same_bits(shelf: Path, home: Path, tmp_path: Path) -> None:
    path = make(shelf)
    (entry,) = admit.admit([path])
    there = regenerate.regenerate("toy/signals/low", progress=False)
    assert (there.outcome, there.path, there.content_hash) == ("identical", None, entry.content_hash)
    assert [p.name for p in path.parent.iterdir()] == ["low-v1.h5"], "compared beside it, then removed"
    path.unlink()
    done = regenerate.regenerate(LOW, progress=False)
    assert (done.outcome, done.path) == ("identical", str(path))
    assert load_dataset(path).metadata["recipe_name"] == "low"
    assert "content hash" in str(done)
    assert "as published" in str(done)
    shutil.copy(path, tmp_path / "mine.h5")
    with pytest.raises(OffmarlError, match=r"mine.h5 exists already; choose another file with --out"):
        regenerate.regenerate(LOW, out=tmp_path / "mine.h5")


def test_other_arithmetic_is_told_from_other_data(shelf: Path, tmp_path: Path) -> None:
    (entry,) = admit.admit([make(shelf)])
    again(entry, content_hash="0" * 64)
    found = regenerate.regenerate(LOW, out=tmp_path / "a.h5", progress=False)
    assert found.outcome == "statistics agree"
    assert all(c.here == pytest.approx(c.published) for c in found.comparisons)
    again(entry, content_hash="0" * 64, returns={**entry.returns, "mean": float(entry.returns["mean"]) + 3})
    found = regenerate.regenerate(LOW, out=tmp_path / "b.h5", progress=False)
    assert found.outcome == "differs"
    assert [c.what for c in found.comparisons if not c.agrees] == ["mean return"]
    assert "DIFFERS  mean return" in str(found)


def test_the_allowance_is_five_standard_errors(shelf: Path) -> None:
    (entry,) = admit.admit([make(shelf)])
    old = replace(entry, returns={**entry.returns, "mean": 5.0, "std": 3.0, "episodes": 100})
    new = replace(entry, returns={**entry.returns, "mean": 7.1, "std": 4.0, "episodes": 100})
    mean, spread, *_ = regenerate.compare_statistics(old, new)
    assert mean.allowed == pytest.approx(5 * 0.5)  # √(9/100 + 16/100) = ½
    assert mean.agrees
    assert spread.allowed == pytest.approx((5 * 0.1 + 0.02) * 4)
    lost = replace(entry, compositions=entry.compositions[:1])
    wrong = [c for c in regenerate.compare_statistics(entry, lost) if not c.agrees]
    assert [(c.what, c.published, c.here) for c in wrong] == [("episodes of [a1r,a2e,b1r,b2e]", 20.0, 0.0)]


def test_another_pool_or_simulator_is_said_before_anything_is_played(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(shelf)
    (entry,) = admit.admit([path])
    path.unlink()
    again(entry, pool_hash="1" * 64)
    with pytest.raises(
        OffmarlError, match=r"was played by the pool 1{12}, but the pools here are \w+; install offmarl"
    ):
        regenerate.regenerate(LOW)
    again(entry, backend="toy-0")
    with pytest.raises(OffmarlError, match=r"was made by the simulator toy-0, this installation has toy-1; install"):
        regenerate.regenerate(LOW)
    shutil.rmtree(shelf)
    again(entry)
    with pytest.raises(OffmarlError, match="but there is no pool here"):
        regenerate.regenerate(LOW)
    assert not path.exists()


def test_a_version_whose_recipe_has_changed_since_is_made_from_what_was_published(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(shelf)
    (entry,) = admit.admit([path])
    path.unlink()
    newer = replace(RECIPES["toy/signals", "low"], text="100%[a1m,a2m,b1m,b2m]", version=2)
    monkeypatch.setitem(recipes.RECIPES, ("toy/signals", "low"), newer)
    found = regenerate.regenerate(LOW, progress=False)
    assert (found.outcome, found.content_hash) == ("identical", entry.content_hash)
    assert load_dataset(LOW).metadata["dataset_id"] == LOW
