"""Versions and operations on the command line: what a user types, reads and gets wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from offmarl_bench import admit, manifest, regenerate
from offmarl_bench.errors import OffmarlError
from offmarl_bench.loader import find_dataset, load_dataset
from offmarl_bench.pool import save_pool
from offmarl_bench.recipes import named_recipe
from offmarl_bench.records import from_json
from tests.cli.outcome import DATA, Run, fails, succeed
from tests.test_dial import skilled_pool
from tests.toy_pool import toy_pool

LOW = f"{DATA}-v1"
MADE = ("generate", "toy", "signals", "--quality", "low", "--workers", 1)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with an empty manifest that ships the toy pool."""
    monkeypatch.setattr(manifest, "MANIFEST", tmp_path / "manifest.json")
    monkeypatch.setattr(manifest, "LOCK", tmp_path / "manifest_lock.json")
    for module in (admit, regenerate):
        monkeypatch.setattr(module, "SHIPPED", tmp_path / "shipped")
    manifest.store({})
    save_pool(toy_pool(), tmp_path / "shipped" / "toy" / "signals")


def test_publish_list_and_regenerate(run: Run, package: None, data: str, home: Path) -> None:
    path = home / "datasets/toy/signals/low-v1.h5"
    digest = load_dataset(path).metadata["content_hash"]
    assert succeed(run("manifest", "add", path)) == f"{LOW}  576 rows  {digest}\n"
    assert json.loads(succeed(run("manifest", "add", path, "--json")))[0]["content_hash"] == digest
    assert digest[:12] in succeed(run("manifest", "show"))
    assert json.loads(succeed(run("manifest", "show", "--json")))[0]["episodes"] == 64
    assert f"{LOW}: identical" in succeed(run("regenerate", data, "--workers", 1))
    listed = {d["id"]: d for d in json.loads(succeed(run("datasets", "--json")))}
    assert (listed[LOW]["status"], listed[LOW]["published"], listed[LOW]["remote"]) == ("published", True, None)
    path.unlink()
    assert "Published, not here: offmarl-bench regenerate DATASET" in succeed(run("datasets"))
    done = json.loads(succeed(run("regenerate", data, "--workers", 1, "--json")))
    assert (done["outcome"], done["path"]) == ("identical", str(path))
    succeed(run(*MADE, "--episodes", 8, "--overwrite"))
    assert f"{LOW} differs: episodes 8 instead of 64" in succeed(run("datasets"))
    again = run("manifest", "add", path)
    fails(again, 1, "is published with other content", "raise `version` of its recipe")


def test_statistics_that_do_not_agree_exit_with_one(run: Run, package: None, data: str) -> None:
    succeed(run("manifest", "add", find_dataset(data)))
    raw = json.loads(manifest.MANIFEST.read_text())["datasets"][0]
    raw |= {"content_hash": "0" * 64, "length_mean": 9.0}
    manifest.store({LOW: from_json(manifest.Published, raw, "here")})
    done = run("regenerate", data, "--workers", 1)
    assert done.exit_code == 1
    assert "DIFFERS  mean length: 8.0000, published 9.0000" in done.stdout
    assert f"Error: {LOW} came out otherwise than published: mean length is 8.0000" in done.stderr


def test_the_hub_is_asked_only_when_told_to(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def there(env_id: str) -> list[str]:
        return ["toy/signals/low-v1"] if env_id == "toy/signals" else []

    monkeypatch.setattr("offmarl_bench.hub.remote_versions", there)
    today = f"smac/2s3z/low-v{named_recipe('smac/2s3z', 'low').version}"
    listed = {d["id"]: d["remote"] for d in json.loads(succeed(run("datasets", "--remote", "--json")))}
    assert (listed["toy/signals/low-v1"], listed[today]) == (True, False)
    shown = succeed(run("datasets", "--remote"))
    assert "Hub" in shown
    assert "On the Hub, not here: offmarl-bench pull DATASET" in shown


@pytest.mark.parametrize("how", ["text", "json"])
def test_what_is_here_is_listed_without_the_hub_too(run: Run, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def away(env_id: str) -> list[str]:
        raise OffmarlError("cannot reach the Hub")

    monkeypatch.setattr("offmarl_bench.hub.remote_versions", away)
    done = run("datasets", "--remote", *(["--json"] if how == "json" else []))
    assert "toy/signals/low-v1" in succeed(done)
    assert done.stderr.strip() == "without the Hub's, since it could not be asked: cannot reach the Hub"
    if how == "json":
        assert {d["remote"] for d in json.loads(done.stdout)} == {None}


def test_regenerate_wants_a_published_id(run: Run, tmp_path: Path) -> None:
    fails(run("regenerate", "smac/2s3z/lo"), 2, "unknown published dataset 'smac/2s3z/lo'", "Did you mean 'smac/2s3z/l")
    fails(run("regenerate", "file.h5"), 2, "dataset id 'file.h5'", "expected 'suite/map/quality'")
    fails(run("manifest", "add", tmp_path / "no.h5"), 1, "no.h5' does not exist; expected an HDF5 file")


def test_combine_and_subsample(run: Run, data: str, tmp_path: Path) -> None:
    other, both, some = (tmp_path / name for name in ("other.h5", "both.h5", "some.h5"))
    succeed(run(*MADE, "--episodes", 16, "--seed", 1, "--out", other))
    assert succeed(run("combine", data, other, "--out", both)) == f"{both}\n"
    assert len(load_dataset(both)) == 80
    done = run("subsample", both, "--level", "expert", "--agent", "a2", "--episodes", 10, "--out", some)
    assert succeed(done) == f"{some}\n"
    assert "10 episodes, mean return" in done.stderr
    assert "ok" in succeed(run("verify", some))
    fails(run("combine", data, "--out", both), 2, "give at least two datasets")
    fails(run("combine", data, other, "--out", both), 1, "both.h5 exists already; choose another name")
    fails(run("subsample", data, "--out", tmp_path / "x.h5"), 2, "give --episodes, --target-mean or --level")
    fails(run("subsample", data, "--episodes", 65, "--out", tmp_path / "x.h5"), 1, "has 64 episodes; 65 were asked")
    fails(run("subsample", data, "--target-mean", 99, "--out", tmp_path / "x.h5"), 1, "99 cannot be met by 1 of 64")
    fails(run("subsample", data, "--level", "expret", "--out", tmp_path / "x.h5"), 2, "Did you mean 'expert'")
    fails(run("subsample", data, "--episodes", 3, "--out", both), 1, "both.h5 exists already")


def test_the_dial_writes_a_dataset_and_its_twin(run: Run, home: Path, tmp_path: Path) -> None:
    save_pool(skilled_pool(), home / "pools" / "toy" / "signals")
    turn = ("generate", "toy", "signals", "--episodes", 100, "--workers", 1, "--imbalance")
    done = run(*turn, 0.25)
    folder = home / "datasets/toy/signals"
    assert succeed(done).split() == [str(folder / f"imbalance-025-{name}.h5") for name in ("v1", "twin-v1")]
    assert "imbalance 0.25; twin" in done.stderr
    assert "0.0220 allowed" in done.stderr
    assert "imbalance 0.25" in succeed(run("describe", "toy/signals/imbalance-025"))
    out = tmp_path / "one.h5"
    assert succeed(run(*turn, 1, "--expert", "each", "--no-twin", "--out", out)) == f"{out}\n"
    fails(run(*turn, 0.5, "--quality", "low"), 2, "give one of --quality, --recipe and --imbalance")
    fails(run(*turn, 0.123), 2, "--imbalance", "expected 0, 0.01, 0.02 … 1")
    fails(run(*turn, 1.5), 2, "1.5 is not in the range")
    fails(run(*turn, 0.5, "--expert", "a9"), 2, "unknown agent of toy/signals 'a9'", "'each': the agents take turns")
    fails(run(*MADE, "--no-twin"), 2, "--expert and --no-twin go with --imbalance")
