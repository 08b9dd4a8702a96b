"""Pools: sorting into levels, playing per slot, and loading files that nobody vouches for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offmarl_bench.checkpoint import write_tensors
from offmarl_bench.envs import get_spec, make_env
from offmarl_bench.errors import FormatError, OffmarlError, SpecMismatch, UnknownName
from offmarl_bench.joints import fingerprint, load_joint, play_jointly, save_joint
from offmarl_bench.nn import Actor
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.pool import (
    POOL_FILE,
    SHIPPED,
    Member,
    Pool,
    load_pool,
    pools_dir,
    save_pool,
)
from offmarl_bench.pool_plot import plot_pool
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds
from offmarl_bench.types import LEVELS

SPEC = get_spec("toy/signals")


def joint(seed: int, actors: int = 1) -> SlotPolicy:
    torch.manual_seed(seed)
    made = [Actor(SPEC.O, SPEC.A, 8, n_ids=SPEC.N) for _ in range(actors)]
    return SlotPolicy(SPEC, made, np.arange(SPEC.N) % actors, epsilon=0.05)


def pool() -> Pool:
    joints = (joint(0), joint(1, 2), joint(2))
    members = tuple(
        Member(
            name=f"m{k}", level=level, file=f"m{k}.safetensors", seed=k, steps=100 * k, return_mean=2.0 * k + 1,
            return_std=0.5, win_rate=None, episodes=100, sha256=fingerprint(j),
        )
        for k, (level, j) in enumerate(zip(("random", "medium", "medium"), joints, strict=True))
    )  # fmt: skip
    return Pool(
        spec=SPEC, members=members, epsilon=0.05, low=1.0, high=8.0, thresholds=(3.0, 6.0), joints=joints,
        provenance={"seeds": [0, 1, 2]},
    )  # fmt: skip


def test_levels_and_members() -> None:
    p = pool()
    assert p.levels().tolist() == [0, 1, 1]
    assert p.members_of("medium") == [1, 2]
    assert [p.level_of(r) for r in (-5, 2.9, 3.0, 5.9, 6.0, 99)] == ["random"] * 2 + ["medium"] * 2 + ["expert"] * 2
    assert (p.env_id, p.reference_random, p.reference_expert) == ("toy/signals", 1.0, 8.0)
    with pytest.raises(UnknownName, match="no member of level 'expert'; it has medium, random"):
        p.members_of("expert")


def test_every_agent_plays_its_own_slot_of_its_member() -> None:
    p, table = pool(), np.array([[0, 1, 1, 2], [2, 2, 0, 1]])
    obs = np.random.default_rng(0).normal(size=(2, SPEC.N, SPEC.O)).astype(np.float32)
    mixed = p.policy(table).exploring(0.0)
    mixed.reset(2)
    played = mixed.act(obs, None, np.random.default_rng(0))
    for k, own in enumerate(p.joints):
        alone = own.exploring(0.0)
        alone.reset(2)
        assert (alone.act(obs, None, np.random.default_rng(0)) == played)[table == k].all()


def test_members_that_do_not_exist() -> None:
    with pytest.raises(SpecMismatch, match="members 0 to 3 were asked for, the pool of toy/signals has 3, from 0"):
        pool().policy(np.array([0, 1, 2, 3]))
    with pytest.raises(SpecMismatch, match=r"members has shape \(3,\), expected \(4,\) or \(B, 4\)"):
        pool().policy(np.array([0, 1, 2]))


def test_saved_and_loaded_it_is_the_same_pool_and_plays_the_same(tmp_path: Path) -> None:
    before = pool()
    assert save_pool(before, tmp_path) == tmp_path / POOL_FILE
    after = load_pool("toy/signals", tmp_path)
    assert after.hash == before.hash
    assert after.members == before.members
    assert (after.low, after.high, after.thresholds, after.epsilon) == (1.0, 8.0, (3.0, 6.0), 0.05)
    assert after.provenance == {"seeds": [0, 1, 2]}
    table = np.random.default_rng(0).integers(0, 3, (5, SPEC.N))
    returns = [
        rollout(make_env("toy/signals", 5), p.policy(table), episode_seeds(0, "verify", 0, 5), np.random.default_rng(0))
        for p in (before, after)
    ]
    assert returns[0].returns.tolist() == returns[1].returns.tolist()


def test_the_hash_is_about_what_is_played() -> None:
    a, b = pool(), joint(9)
    changed = Pool(
        spec=SPEC, members=a.members, epsilon=0.1, low=a.low, high=a.high, thresholds=a.thresholds, joints=a.joints
    )
    assert a.hash == pool().hash != changed.hash
    assert fingerprint(b) == fingerprint(joint(9)) != fingerprint(joint(8))


def test_where_pools_are_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"no policy pool of toy/signals: .*`offmarl-bench pool train toy signals`"):
        load_pool("toy/signals")
    with pytest.raises(UnknownName, match="no policy pool of toy/signals"):
        load_pool("toy/signals", tmp_path)
    save_pool(pool(), pools_dir() / "toy" / "signals")
    assert len(load_pool("toy/signals").members) == 3


def broken(directory: Path, **changes: Any) -> Path:
    save_pool(pool(), directory)
    path = directory / POOL_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return directory


def member(directory: Path, **changes: Any) -> Path:
    save_pool(pool(), directory)
    path = directory / POOL_FILE
    content = json.loads(path.read_text())
    content["members"][0] |= changes
    path.write_text(json.dumps(content))
    return directory


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "x"}, "not an 'offmarl-bench pool 1'"),
        ({"more": 1}, "not an 'offmarl-bench pool 1'"),
        ({"thresholds": [1]}, "expected 2 numbers"),
        ({"thresholds": ["a", "b"]}, "a threshold is 'a', expected a finite number"),
        ({"low": float("nan")}, "low is nan, expected a finite number"),
        ({"epsilon": True}, "epsilon is True, expected a finite number"),
        ({"epsilon": 3}, "epsilon is 3.0, expected a number from 0 to 1"),
        ({"members": []}, "expected a list of 1 to"),
        ({"members": [1]}, "a member is 1, expected an object with"),
        ({"provenance": []}, "provenance is list, expected an object"),
        ({"spec": {"id": 1}}, "EnvSpec"),
        ({"spec": get_spec("toy/target").to_json()}, "made for another toy/signals"),
    ],
)
def test_a_pool_file_that_breaks_the_format(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        load_pool("toy/signals", broken(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file": "../../etc/passwd"}, "expected a plain name ending in .safetensors"),
        ({"file": "/tmp/x.safetensors"}, "expected a plain name"),  # noqa: S108
        ({"file": "nowhere.safetensors"}, "nowhere.safetensors: cannot be read"),
        ({"file": "m1.safetensors"}, "content does not match its fingerprint in pool.json"),
        ({"level": "superb"}, "level is one of"),
        ({"seed": -1}, "whole numbers from 0"),
        ({"steps": True}, "whole numbers from 0"),
        ({"return_mean": float("inf")}, "return_mean of member 'm0' is inf"),
        ({"win_rate": "all"}, "win_rate of 'm0' is 'all'"),
        ({"name": 3}, "name, file and hash are text"),
    ],
)
def test_a_member_that_breaks_the_format(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        load_pool("toy/signals", member(tmp_path, **changes))


def test_not_json_at_all_and_far_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / POOL_FILE).write_bytes(b"\xff\x00")
    with pytest.raises(FormatError, match="cannot be read as JSON"):
        load_pool("toy/signals", tmp_path)
    (tmp_path / POOL_FILE).write_text("[" * 100_000)
    with pytest.raises(FormatError, match="cannot be read as JSON"):
        load_pool("toy/signals", tmp_path)
    monkeypatch.setattr("offmarl_bench.pool.MAX_JSON_BYTES", 10)
    with pytest.raises(FormatError, match="100000 bytes, expected at most 10"):
        load_pool("toy/signals", tmp_path)


def write(path: Path, tensors: dict[str, torch.Tensor] | None = None, **header: Any) -> Path:
    good = joint(0)
    own = {"actors": [a.describe() for a in good.actors], "assignment": good.assignment.tolist()}
    weights = {f"0/{k}": v for k, v in good.actors[0].state_dict().items()}
    write_tensors(path, weights | (tensors or {}), own | header)
    return path


ACTOR = joint(0).actors[0].describe()


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"actors": 3}, "expected a list of 1 to 4 actors"),
        ({"actors": [ACTOR] * 5}, "expected a list of 1 to 4 actors"),
        ({"actors": [{}]}, "actor description {}"),
        ({"actors": [ACTOR | {"hidden": True}]}, "actor description"),
        ({"actors": [ACTOR | {"hidden": 10**9}]}, "actor width 1000000000, expected 1 to 4096"),
        ({"actors": [ACTOR | {"obs_size": 7}]}, "does not fit toy/signals: O=6, A=4, N=4"),
        ({"actors": [ACTOR | {"n_ids": 9}]}, "does not fit toy/signals"),
        ({"actors": [ACTOR | {"hidden": 9}]}, r"weight .* is torch.float32 .*, expected"),
        ({"assignment": [0, 0]}, "expected 4 numbers below 1"),
        ({"assignment": [0, 0, 0, 1]}, "expected 4 numbers below 1"),
        ({"assignment": "abcd"}, "expected 4 numbers below 1"),
    ],
)
def test_a_member_file_that_lies(tmp_path: Path, header: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        load_joint(write(tmp_path / "x.safetensors", **header), SPEC)


def test_member_files_with_odd_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError, match="unexpected tensor '7/x'"):
        load_joint(write(tmp_path / "a.safetensors", {"7/x": torch.zeros(1)}), SPEC)
    bad = {"0/net.head.bias": torch.full((SPEC.A,), torch.nan)}
    with pytest.raises(FormatError, match=r"'0/net\.head\.bias' holds numbers that are not finite"):
        load_joint(write(tmp_path / "b.safetensors", bad), SPEC)
    monkeypatch.setattr("offmarl_bench.joints.MAX_MEMBER_BYTES", 10)
    with pytest.raises(FormatError, match="bytes, expected at most 10"):
        load_joint(tmp_path / "b.safetensors", SPEC)


def test_a_joint_policy_round_trips(tmp_path: Path) -> None:
    save_joint(tmp_path / "j.safetensors", joint(3, 2))
    assert fingerprint(load_joint(tmp_path / "j.safetensors", SPEC)) == fingerprint(joint(3, 2))


def test_provenance_must_be_json(tmp_path: Path) -> None:
    p = pool()
    p.provenance["bad"] = object()
    with pytest.raises(OffmarlError, match="cannot be stored as JSON"):
        save_pool(p, tmp_path)


def test_the_picture_of_a_pool_is_drawn_from_its_curves(tmp_path: Path) -> None:
    pool = load_pool("smac/2s3z")
    plot_pool(pool, tmp_path / "pool.png")
    assert (tmp_path / "pool.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OffmarlError, match="stores no learning curves; train it with `pool train`"):
        plot_pool(replace(pool, provenance={}), tmp_path / "none.png")


def test_the_shipped_pool_of_2s3z_is_what_the_design_asks_for() -> None:
    """Several members a level, from at least three training seeds; untrained networks; a best policy that wins."""
    pool = load_pool("smac/2s3z", SHIPPED / "smac" / "2s3z")
    for level in LEVELS:
        there = [pool.members[k] for k in pool.members_of(level)]
        assert len(there) >= 4
        assert len({m.seed for m in there}) >= 3
        assert all(m.episodes >= 100 for m in there)
    assert len({m.seed for m in pool.members if m.steps == 0}) >= 3
    best = pool.members_of("expert")[-1]
    env = make_env("smac/2s3z", 64)
    greedy = play_jointly(env.spec, [pool.joints[best].actors[0]], np.zeros(env.spec.N, np.int64))
    played = rollout(env, greedy, episode_seeds(0, "verify", 0, 64), np.random.default_rng(0))
    assert played.info["battle_won"].mean() > 0.9
