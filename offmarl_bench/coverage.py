"""How much of a dataset is new: state–action coverage and the share of episodes that are not copies.

*Joint SACo* is the number of distinct (state, joint action) pairs over the number of pairs, as OG-MARL's
``vault_utils/analyse_vault.py:get_saco`` computes it for its dataset cards; an agent's is the same for its own
(observation, action) pairs. 1 means that no pair ever comes back; data written eight times over has at most 1/8.
Nothing is rounded: two pairs are one if all their numbers are equal. Only steps count; an episode's last row has no
action. A dead agent sees zeros and does nothing, so its steps count as one pair, which lowers that agent's number.

Rows are compared by a 64-bit hash of their bits, for a million of them in a second or two instead of a minute's
sorting; among R rows two different ones meet by accident with probability below R² / 2⁶⁵ (a million: 3·10⁻⁸).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Shaped, UInt64
from numba import njit

from offmarl_bench.format.schema import Columns

SEED = np.uint64(0x9E3779B97F4A7C15)
MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
"""Odd, with bits in no order; with the shift it spreads every input bit over all 64 (the splitmix family)."""
SHIFT = np.uint64(32)
MINUS_ZERO = np.uint32(0x80000000)
"""Bits of the float32 −0, which equals 0 and must hash like it."""

compiled = njit(cache=True, error_model="numpy", nogil=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Shares of what is there once."""

    joint: float
    """Distinct (state, joint action) pairs over steps: joint SACo."""
    agents: tuple[float, ...]
    """N: distinct (observation, action) pairs over steps."""
    unique_episodes: float
    """Episodes that are different in state, actions and rewards, over episodes."""


@compiled
def _stir(hashes, words, rows, floats):  # type: ignore[no-untyped-def]
    """Stir the 32-bit ``words`` (R, K, W) of the chosen ``rows`` (M,) into ``hashes`` (M, K), in place."""
    for m in range(len(rows)):
        for k in range(words.shape[1]):
            h = hashes[m, k]
            for w in range(words.shape[2]):
                word = words[rows[m], k, w]
                if floats and word == MINUS_ZERO:
                    word = np.uint32(0)
                h = (h ^ np.uint64(word)) * MULTIPLIER
                h ^= h >> SHIFT
            hashes[m, k] = h


def row_hashes(
    *columns: Shaped[np.ndarray, "R ..."], rows: Int64[np.ndarray, " M"], groups: int = 1
) -> UInt64[np.ndarray, "M K"]:
    """One 64-bit hash for each chosen row of columns that belong together.

    Args:
        columns: arrays of 4-byte numbers with a common first dimension R.
        rows: which rows.
        groups: K: 1 hashes whole rows; N hashes the N slices of the second dimension apart.
    """
    hashes = np.full((len(rows), groups), SEED, np.uint64)
    for column in columns:
        words = np.ascontiguousarray(column).view(np.uint32).reshape(len(column), groups, -1)
        _stir(hashes, words, np.ascontiguousarray(rows, np.int64), np.issubdtype(column.dtype, np.floating))
    return hashes


def _share(hashes: UInt64[np.ndarray, " M"]) -> float:
    ordered = np.sort(hashes)
    return float(1 + np.count_nonzero(ordered[1:] != ordered[:-1])) / len(hashes)


def step_rows(row_starts: Int64[np.ndarray, " E"], lengths: Int64[np.ndarray, " E"]) -> Int64[np.ndarray, " M"]:
    """Indices of all rows of these episodes that hold a step, in order; their last rows do not."""
    rows: Int64[np.ndarray, " M"] = np.repeat(row_starts - (np.cumsum(lengths) - lengths), lengths)
    rows += np.arange(len(rows))
    return rows


def coverage(
    columns: Columns, row_starts: Int64[np.ndarray, " E"], lengths: Int64[np.ndarray, " E"], agents: int
) -> Coverage:
    """Coverage of some episodes of a flat table (``docs/format.md``); there must be at least one."""
    steps = step_rows(row_starts, lengths)
    state, actions = columns["state"], columns["actions"]
    joint = row_hashes(state, actions, rows=steps)
    own = row_hashes(columns["observations"], actions, rows=steps, groups=agents)
    rewards = row_hashes(columns["rewards"], rows=steps)
    last = row_hashes(state, rows=row_starts + lengths)
    first = np.cumsum(lengths) - lengths
    whole = {
        np.concatenate([joint[a : a + t, 0], rewards[a : a + t, 0], last[k]]).tobytes()
        for k, (a, t) in enumerate(zip(first.tolist(), lengths.tolist(), strict=True))
    }
    return Coverage(
        joint=_share(joint[:, 0]),
        agents=tuple(_share(own[:, i]) for i in range(agents)),
        unique_episodes=len(whole) / len(lengths),
    )
