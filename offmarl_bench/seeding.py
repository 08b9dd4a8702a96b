"""Seeds: every episode of every run has its own, derived from (master seed, purpose, index) and nothing else.

Published offline data came to look eight times duplicated because parallel workers shared one seed. Here nothing
depends on the number of lanes or workers, and different purposes never meet: the episodes that score an agent
are never those that made its data.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt64

PURPOSES = {
    "generate": 1,
    "evaluate": 2,
    "train": 3,
    "pool": 4,
    "init": 5,
    "reference": 6,
    "verify": 7,
    "bench": 8,
    "curve": 9,
    "subsample": 10,
    "twin": 11,
    "record": 12,
}


def sequence(master: int, purpose: str, *path: int) -> np.random.SeedSequence:
    """The seed sequence of (master seed, purpose, path); equal arguments give equal streams everywhere."""
    return np.random.SeedSequence(entropy=master, spawn_key=(PURPOSES[purpose], *path))


def generator(master: int, purpose: str, *path: int) -> np.random.Generator:
    """A fresh generator for (master seed, purpose, path)."""
    return np.random.default_rng(sequence(master, purpose, *path))


def episode_seeds(master: int, purpose: str, first: int, count: int) -> UInt64[np.ndarray, " B"]:
    """One 64-bit seed for each of the episodes ``first … first + count − 1``."""
    seeds = [sequence(master, purpose, k).generate_state(1, np.uint64)[0] for k in range(first, first + count)]
    return np.array(seeds, dtype=np.uint64)
