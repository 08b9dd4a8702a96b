"""Generation: same content for any number of workers and after any kill, right cast, clear refusals."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offmarl_bench import generate as module
from offmarl_bench.errors import FormatError, OffmarlError, UnknownName
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.generate import generate
from offmarl_bench.loader import load_dataset
from offmarl_bench.shards import SHARD_EPISODES, episodes_of, write
from tests.toy_pool import SPEC, toy_pool

EPISODES = 600
"""Three shards, the last one not full."""


def make(out: Path, **changes: object) -> Path:
    settings: dict[str, object] = {"quality": "low", "episodes": EPISODES, "pool": toy_pool(), "out": out} | changes
    return generate("toy/signals", progress=False, **settings)  # type: ignore[arg-type]


def content(path: Path) -> str:
    return str(read_metadata(path)[1]["content_hash"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made") / "low.h5")


def test_agents_are_cast_as_the_recipe_says(made: Path) -> None:
    dataset = load_dataset(made)
    assert len(dataset) == EPISODES
    halves = {(0, 0, 0, 0): 0, (0, 2, 0, 2): 0}
    for episode in dataset:
        assert episode.behavior_level is not None
        assert episode.behavior_policy is not None
        levels, members = episode.behavior_level, episode.behavior_policy
        assert (levels == levels[0]).all()
        halves[tuple(levels[0].tolist())] += 1
        for level in np.unique(levels[0]):
            drawn = set(members[:, levels[0] == level].ravel().tolist())
            assert len(drawn) == 1, "agents of one level play one joint policy"
            assert drawn < {2 * int(level), 2 * int(level) + 1}
    assert list(halves.values()) == [300, 300]
    assert len({e.behavior_policy[0, 0] for e in dataset if e.behavior_policy is not None}) == 2
    assert len(dataset.episodes(level="expert", agent="a2")) == 300


def test_no_two_episodes_are_alike(made: Path) -> None:
    dataset = load_dataset(made)
    assert len({e.state.tobytes() for e in dataset}) == EPISODES


def test_log_probabilities_are_those_of_the_behaviour(made: Path) -> None:
    dataset = load_dataset(made)
    played = ~dataset.columns["is_last"]
    probability = np.exp(dataset.columns["behavior_logprob"][played])
    assert set(np.round(probability, 5).ravel()) == {
        np.float32(np.round(0.1 / 3, 5)),
        np.float32(np.round(0.9 + 0.1 / 3, 5)),
    }


def test_metadata_tells_where_it_comes_from(made: Path) -> None:
    spec, said = read_metadata(made)
    returns = load_dataset(made).returns
    assert spec.id == "toy/signals"
    assert (said["dataset_id"], said["recipe_name"], said["recipe_provenance"]) == ("toy/signals/low-v1", "low", "ours")
    assert said["recipe"] == "50%[a1r,a2r,b1r,b2r] + 50%[a1r,a2e,b1r,b2e]"
    assert (said["episodes"], said["steps"], said["seed"]) == (EPISODES, EPISODES * 8, 0)
    assert said["return_mean"] == pytest.approx(returns.mean())
    assert said["returns"]["q25"] == pytest.approx(np.percentile(returns, 25))
    assert [c["composition"] for c in said["compositions"]] == ["[a1r,a2r,b1r,b2r]", "[a1r,a2e,b1r,b2e]"]
    assert sum(c["episodes"] * c["mean"] for c in said["compositions"]) == pytest.approx(returns.sum())
    assert (said["reference_random"], said["reference_expert"], said["backend"]) == (2.0, 8.0, "toy-1")
    assert said["pool_hash"] == toy_pool().hash
    assert said["command"] == "offmarl-bench generate toy signals --quality low --episodes 600 --seed 0"
    assert said["versions"]["numpy"] == np.__version__


def test_any_number_of_workers_gives_the_same_content(made: Path, tmp_path: Path) -> None:
    other = make(tmp_path / "low.h5", workers=2)
    assert content(other) == content(made)
    assert [p.name for p in tmp_path.iterdir()] == ["low.h5"]


def test_more_episodes_or_another_seed_are_another_dataset(made: Path, tmp_path: Path) -> None:
    assert content(make(tmp_path / "seed.h5", seed=1)) != content(made)
    assert content(make(tmp_path / "pool.h5", pool=toy_pool(epsilon=0.2))) != content(made)


def test_a_recipe_of_ones_own_and_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFMARL_HOME", str(tmp_path))
    path = make(None, episodes=10, quality=None, recipe="100%[a1m,a2m,b1r,b2e]")  # type: ignore[arg-type]
    assert path.parent == tmp_path / "datasets" / "toy" / "signals"
    assert path.name.startswith("custom-")
    said = read_metadata(path)[1]
    assert (
        said["command"] == "offmarl-bench generate toy signals --recipe '100%[a1m,a2m,b1r,b2e]' --episodes 10 --seed 0"
    )
    assert len(load_dataset(said["dataset_id"])) == 10


def _child(out: Path, limit: int | None) -> None:
    if limit is not None:  # a full disk, as far as a process can tell
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        make(out)
    except OffmarlError as e:
        out.with_suffix(".said").write_text(str(e))
        os._exit(1)


@pytest.fixture(scope="module")
def server() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.test_generate"])
    return context


class Copying:
    """An executor after which one episode of the run is a copy of another."""

    def map(self, fn: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        for shard in tasks:
            count = fn(shard)
            if shard.index == 1:
                episodes = episodes_of(shard, SPEC)
                episodes[7] = episodes[3]
                write(shard, episodes)
            yield count


def test_a_copy_is_played_again_before_anybody_sees_it(tmp_path: Path, made: Path) -> None:
    first, again = load_dataset(made), load_dataset(make(tmp_path / "low.h5", executor=Copying()))
    different = [k for k in range(EPISODES) if not np.array_equal(first[k].observations, again[k].observations)]
    assert different == [SHARD_EPISODES + 7]
    assert not np.array_equal(again[SHARD_EPISODES + 7].observations, again[SHARD_EPISODES + 3].observations)


def test_killed_at_any_moment_it_goes_on_and_ends_the_same(
    made: Path, tmp_path: Path, server: multiprocessing.context.ForkServerContext
) -> None:
    out, g = tmp_path / "low.h5", np.random.default_rng()
    for kills in range(60):
        process = server.Process(target=_child, args=(out, None))
        process.start()
        process.join(0.01 + 0.04 * kills + float(g.uniform(0, 0.04)))  # later every time, so it ends
        if not process.is_alive():
            break
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert kills > 0
    assert process.exitcode == 0
    assert content(out) == content(made)
    assert [p.name for p in tmp_path.iterdir()] == ["low.h5"]


@pytest.mark.parametrize("limit", [10_000, 400_000], ids=["while playing", "while merging"])
def test_a_full_disk_is_one_line_and_keeps_the_parts(
    made: Path, tmp_path: Path, server: multiprocessing.context.ForkServerContext, limit: int
) -> None:
    out = tmp_path / "low.h5"
    process = server.Process(target=_child, args=(out, limit))
    process.start()
    process.join()
    said = out.with_suffix(".said").read_text()
    assert process.exitcode == 1
    assert said.startswith("cannot write ")
    assert "File too large" in said
    assert f"finished shards are kept in {out}.parts; the same command goes on from there" in said
    assert "\n" not in said
    assert not out.exists()
    out.with_suffix(".said").unlink()
    assert content(make(out)) == content(made)
    assert [p.name for p in tmp_path.iterdir()] == ["low.h5"]


def test_two_processes_do_not_generate_into_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, said = tmp_path / "x.h5", []

    def again(*_: object) -> None:
        with pytest.raises(
            OffmarlError, match=r"another process is generating into .*x.h5.parts; wait for it or end it"
        ):
            make(out, episodes=3)
        said.append("refused")

    monkeypatch.setattr(module, "_merge", again)
    make(out, episodes=3)
    assert said == ["refused"]


def test_the_same_again_is_not_played_again(made: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = made.stat().st_mtime_ns
    with caplog.at_level(logging.WARNING):
        assert make(made) == made
    assert "is there already, made with the same settings: nothing to do" in caplog.text
    assert made.stat().st_mtime_ns == before


def test_another_dataset_is_not_replaced_by_chance(tmp_path: Path) -> None:
    out = make(tmp_path / "x.h5", episodes=3)
    with pytest.raises(
        OffmarlError,
        match=r"x.h5 exists and is another dataset: episodes was 3 and is 4, seed was 0 and is 7; "
        r"choose another file with --out, or replace it with --overwrite",
    ):
        make(out, episodes=4, seed=7)
    assert len(load_dataset(make(out, episodes=4, overwrite=True))) == 4
    (tmp_path / "y.h5").write_text("mine")
    with pytest.raises(OffmarlError, match=r"y.h5 exists and is another dataset: it was not made by `generate`"):
        make(tmp_path / "y.h5")


def test_parts_of_another_run_are_not_mixed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "x.h5"

    def fail(*_: object) -> None:
        raise OffmarlError("stopped")

    monkeypatch.setattr(module, "_merge", fail)
    with pytest.raises(OffmarlError, match=r"stopped \(finished shards are kept in"):
        make(out, episodes=3)
    monkeypatch.undo()
    with pytest.raises(
        OffmarlError, match=r"x.h5.parts holds parts of another run: seed was 0 and is 1; finish that run"
    ):
        make(out, episodes=3, seed=1)
    assert len(load_dataset(make(out, episodes=3, seed=1, overwrite=True))) == 3


def test_a_damaged_shard_is_played_again(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "low.h5"

    def fail(*_: object) -> None:
        raise OffmarlError("stopped")

    monkeypatch.setattr(module, "_merge", fail)
    with pytest.raises(OffmarlError, match="stopped"):
        make(out)
    monkeypatch.undo()
    shards = sorted((tmp_path / "low.h5.parts").glob("*.safetensors"))
    shards[0].write_bytes(shards[0].read_bytes()[:-1])
    shards[1].write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        make(out)
    assert caplog.text.count("played again") == 2
    assert content(out) == content(made)


def test_wrong_use_is_said_before_anything_is_played(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="give either a recipe or a quality, and not both"):
        make(tmp_path / "x.h5", recipe="100%[a1r]")
    with pytest.raises(FormatError, match=r"0 episodes with seed 0; expected ≥ 1"):
        make(tmp_path / "x.h5", episodes=0)
    with pytest.raises(UnknownName, match="pool of toy/signals: no member of level 'expert'; it has random"):
        make(tmp_path / "x.h5", pool=toy_pool(levels=("random",)))
    with pytest.raises(UnknownName, match=r"unknown quality of toy/signals 'lo'. Did you mean 'low'"):
        make(tmp_path / "x.h5", quality="lo")
    pool = toy_pool()
    with pytest.raises(FormatError, match="the pool is of toy/other; give one of toy/signals"):
        make(tmp_path / "x.h5", pool=replace(pool, spec=replace(pool.spec, id="toy/other")))
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_line() -> None:
    with pytest.raises(OffmarlError, match=r"cannot write /proc/x/low.h5.parts/signature.json: .*"):
        make(Path("/proc/x/low.h5"))


def test_the_signature_in_the_file_is_what_decides(made: Path) -> None:
    signature = read_metadata(made)[1]["signature"]
    assert set(signature) == {
        "environment", "backend", "recipe", "seed", "episodes", "pool", "format_version", "shard_episodes", "versions",
    }  # fmt: skip
    assert json.dumps(signature)
    assert time.time() > made.stat().st_mtime
