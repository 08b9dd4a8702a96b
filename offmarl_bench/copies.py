"""Episodes of a run that are copies of earlier ones are played again, so that no dataset holds a game twice.

Every episode has its own seed; but a policy that walks into its death without a shot, in a game that starts at fixed
places and draws nothing at random before the first shot, plays the same game again unless it explores.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set

import numpy as np
from jaxtyping import Int64
from tqdm import tqdm

from offmarl_bench.coverage import row_hashes, step_rows
from offmarl_bench.format.flatten import episode_rows, flatten, row_starts_of
from offmarl_bench.format.schema import Columns
from offmarl_bench.shards import Shard, episodes_of, open_shard, play_again, write
from offmarl_bench.types import EnvSpec

log = logging.getLogger(__name__)

MOST = 0.01
"""Share of copies above which they are left: where so many games are equal, equal games are what is played there."""
ATTEMPTS = 16
"""How often one episode is played again at most; what still is a copy stays one, and ``verify`` says so."""


def fingerprints(
    columns: Columns, row_starts: Int64[np.ndarray, " E"], lengths: Int64[np.ndarray, " E"]
) -> list[bytes]:
    """For each episode of a flat table what only its copies share: all that the agents saw and did, as ``verify``
    compares them.
    """
    hashes = row_hashes(columns["observations"], columns["actions"], rows=step_rows(row_starts, lengths))
    return [part.tobytes() for part in np.split(hashes, np.cumsum(lengths)[:-1])]


def replace_copies(shards: Sequence[Shard], spec: EnvSpec, *, progress: bool = False) -> int:
    """Play copies of earlier episodes again until they are none; returns how many episodes were copies.

    Shards are looked at in their order and written one by one. A run that is killed meanwhile finds the first ones
    without copies when it goes on and continues with what it would have played, so the content is the same.

    Args:
        shards: all of one run, played.
        spec: of their environment.
        progress: show a bar on stderr if that is a terminal.

    Raises:
        FormatError: a shard's file is not whole. OffmarlError: it cannot be written.
    """
    prints = [fingerprints(columns, *episode_rows(columns)) for columns in (open_shard(s, spec) for s in shards)]
    total = sum(map(len, prints))
    copies = total - len({mark for own in prints for mark in own})
    if not copies:
        return 0
    if copies > MOST * total:
        log.warning("%d of %d episodes are copies of others, too many to be played again", copies, total)
        return copies
    log.info("%d of %d episodes were copies of others; they are played again", copies, total)
    seen: set[bytes] = set()
    with tqdm(total=copies, unit="episode", desc="copies", disable=None if progress else True) as bar:
        for shard, own in zip(shards, prints, strict=True):
            again = _copies(own, seen)
            bar.update(len(again))
            seen.update(_replace(shard, spec, again, seen) if again else own)
    return copies


def _replace(shard: Shard, spec: EnvSpec, again: Sequence[int], seen: Set[bytes]) -> list[bytes]:
    """Play these episodes of one shard again until they are new, write the shard; returns all its fingerprints."""
    episodes = episodes_of(shard, spec)
    for attempt in range(1, ATTEMPTS + 1):
        for k, episode in zip(again, play_again(shard, again, attempt), strict=True):
            episodes[k] = episode
        columns, lengths = flatten(episodes, spec)
        marks = fingerprints(columns, row_starts_of(lengths), lengths)
        again = _copies(marks, seen)
        if not again:
            break
    write(shard, episodes)
    return marks


def _copies(own: Sequence[bytes], seen: Set[bytes]) -> list[int]:
    """Indices of what is in ``seen`` or came before in ``own``."""
    first: dict[bytes, int] = {}
    return [k for k, mark in enumerate(own) if mark in seen or first.setdefault(mark, k) < k]
