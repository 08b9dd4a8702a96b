"""Copies of earlier episodes are played again: nothing else changes, and a kill in between changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from offmarl_bench import copies as module
from offmarl_bench.copies import replace_copies
from offmarl_bench.envs.toy import SPECS
from offmarl_bench.errors import OffmarlError
from offmarl_bench.recipes import parse_recipe
from offmarl_bench.shards import Shard, episodes_of, open_shard, play, write
from offmarl_bench.types import Episode
from tests.toy_pool import toy_pool

SPEC = SPECS["signals"]
EPISODES = 500
COPIES = {(0, 7): (0, 3), (1, 11): (0, 3), (1, 12): (1, 2)}
"""(shard, episode) that the test makes a copy of another one."""


def run(folder: Path) -> list[Shard]:
    """Two played shards of 250 episodes, three of which are made copies of others."""
    shards = [
        Shard(
            env_id="toy/signals", recipe=parse_recipe("100% [a1r,a2r,b1e,b2e]", SPEC), pool=toy_pool(), seed=1,
            episodes=EPISODES, index=k, folder=folder, signature="s", size=250,
        )
        for k in range(2)
    ]  # fmt: skip
    folder.mkdir(exist_ok=True)
    for shard in shards:
        play(shard)
    own = [list(episodes_of(s, SPEC)) for s in shards]
    for (s, k), (other, of) in COPIES.items():
        own[s][k] = own[other][of]
    for shard, episodes in zip(shards, own, strict=True):
        write(shard, episodes)
    return shards


def content(shards: list[Shard]) -> list[bytes]:
    return [column.tobytes() for s in shards for column in open_shard(s, SPEC).values()]


def same(a: Episode, b: Episode) -> bool:
    return bool(np.array_equal(a.observations[:-1], b.observations[:-1]) and np.array_equal(a.actions, b.actions))


def test_copies_become_new_games_of_the_same_cast_and_all_else_stays(tmp_path: Path) -> None:
    shards = run(tmp_path)
    before = [[e.observations.copy() for e in episodes_of(s, SPEC)] for s in shards]
    assert replace_copies(shards, SPEC) == len(COPIES)
    after = [episodes_of(s, SPEC) for s in shards]
    for s, episodes in enumerate(after):
        for k, episode in enumerate(episodes):
            kept = np.array_equal(episode.observations, before[s][k])
            assert kept == ((s, k) not in COPIES), f"episode {k} of shard {s}"
    everything = after[0] + after[1]
    assert not any(same(a, b) for i, a in enumerate(everything) for b in everything[:i])
    levels = [after[s][k].behavior_level for s, k in COPIES]
    assert all(level is not None and level[0].tolist() == [0, 0, 2, 2] for level in levels)
    assert replace_copies(shards, SPEC) == 0


def test_a_run_killed_between_two_shards_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tmp_path / "whole")
    replace_copies(whole, SPEC)

    def full_disk(shard: Shard, episodes: list[Episode]) -> None:
        if shard.index:
            raise OffmarlError("the disk is full")
        write(shard, episodes)

    broken = run(tmp_path / "broken")
    with monkeypatch.context() as m:
        m.setattr(module, "write", full_disk)
        with pytest.raises(OffmarlError, match="full"):
            replace_copies(broken, SPEC)
    assert replace_copies(broken, SPEC) == 2, "those of the second shard are still to do"
    assert content(broken) == content(whole)


def test_where_copies_are_the_rule_they_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = run(tmp_path)
    before = content(shards)
    monkeypatch.setattr(module, "MOST", 2 / EPISODES)
    assert replace_copies(shards, SPEC) == 3
    assert content(shards) == before


def test_what_cannot_be_new_stays_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A game without chance: every attempt ends like the first one."""
    shards = run(tmp_path)
    first = episodes_of(shards[0], SPEC)[3]
    tried: list[int] = []

    def no_chance(shard: Shard, chosen: list[int], attempt: int) -> list[Episode]:
        tried.append(attempt)
        return [first] * len(chosen)

    monkeypatch.setattr(module, "play_again", no_chance)
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    assert replace_copies(shards, SPEC) == 3
    assert tried == [1, 2, 1, 2]
    assert replace_copies(shards, SPEC) == 3
