"""Every episode has its own seed, and nothing but (master seed, purpose, index) decides it."""

from __future__ import annotations

import numpy as np
import pytest

from offmarl_bench.seeding import PURPOSES, episode_seeds, generator, sequence

MANY = 500
FIRST = [11539782348902174461, 2656959587162494210]


def test_seeds_do_not_depend_on_how_the_work_is_cut() -> None:
    whole = episode_seeds(7, "generate", 0, 100)
    pieces = np.concatenate([episode_seeds(7, "generate", k, 20) for k in range(0, 100, 20)])
    np.testing.assert_array_equal(whole, pieces)
    assert whole.dtype == np.uint64
    assert len(episode_seeds(7, "generate", 0, 0)) == 0


def test_no_two_episodes_share_a_seed_whatever_they_are_for() -> None:
    seeds = np.concatenate([episode_seeds(m, p, 0, MANY) for m in (0, 1) for p in PURPOSES])
    assert len(np.unique(seeds)) == len(seeds)


def test_purposes_masters_and_paths_give_different_streams() -> None:
    streams = [generator(0, "train"), generator(1, "train"), generator(0, "evaluate"), generator(0, "train", 1)]
    assert len({g.integers(2**63) for g in streams}) == 4
    assert generator(3, "pool", 1, 2).random() == generator(3, "pool", 1, 2).random()


def test_the_numbers_of_purposes_never_change() -> None:
    # Published datasets and results were made with these; a changed number changes them all.
    assert PURPOSES == {
        "generate": 1, "evaluate": 2, "train": 3, "pool": 4, "init": 5, "reference": 6, "verify": 7, "bench": 8,
        "curve": 9, "subsample": 10, "twin": 11, "record": 12,
    }  # fmt: skip
    assert episode_seeds(0, "generate", 0, 2).tolist() == FIRST


def test_an_unknown_purpose_is_a_fault() -> None:
    with pytest.raises(KeyError):
        sequence(0, "fun")
