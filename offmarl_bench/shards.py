"""A shard: 256 episodes played side by side, kept as one uncompressed file until all are merged.

One shard is one lockstep batch, one unit of resume and one unit of distribution. What it holds is a function of the
run's signature and its index, so it does not matter who plays it or when.
"""

from __future__ import annotations

import functools
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from jaxtyping import Int64, UInt64

from offmarl_bench.atomic import write_atomic
from offmarl_bench.envs import make_env
from offmarl_bench.envs.base import BatchedEnv
from offmarl_bench.errors import FormatError
from offmarl_bench.format.flatten import episode_at, episode_rows, flatten
from offmarl_bench.format.schema import Columns, columns_of
from offmarl_bench.pool import Pool
from offmarl_bench.recipes import Recipe
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds, generator, sequence
from offmarl_bench.types import LEVELS, EnvSpec, Episode

log = logging.getLogger(__name__)

SHARD_EPISODES = 256
"""Episodes of a shard, unless the suite's lanes are costly (``envs.lanes_of``)."""
MEMBERS, PLAY, AGAIN = 1, 2, 3
"""Streams under (master seed, ``generate``, index): who plays an episode; a shard's random play; the seeds of an
episode that is played again."""
KINDS = {"F32": "<f4", "I32": "<i4", "I16": "<i2", "I8": "|i1", "BOOL": "|b1"}
"""Types as safetensors names them."""
HEADER_BYTES = 8
MAX_HEADER = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """All it takes to play one shard, anywhere."""

    env_id: str
    recipe: Recipe
    pool: Pool
    seed: int
    """Master seed of the run."""
    episodes: int
    """Episodes of the whole run."""
    index: int
    folder: Path
    """Where its file goes."""
    signature: str
    """Hash of the run's signature; a file with another one is from another run."""
    size: int = SHARD_EPISODES
    """Episodes of a whole shard, played side by side."""

    @property
    def first(self) -> int:
        """Index of its first episode."""
        return self.index * self.size

    @property
    def count(self) -> int:
        """Number of its episodes."""
        return min(self.size, self.episodes - self.first)

    @property
    def path(self) -> Path:
        """Its file."""
        return self.folder / f"shard-{self.index:06d}.safetensors"


def composition(recipe: Recipe, episodes: int, seed: int) -> Int64[np.ndarray, " E"]:
    """For each episode of a run the part of the recipe that it plays."""
    return recipe.assign(episodes, generator(seed, "generate"))


def cast(shard: Shard) -> tuple[Int64[np.ndarray, "B N"], Int64[np.ndarray, "B N"]]:
    """Levels and pool members that play each agent of each of a shard's episodes.

    For every level of an episode one member is drawn, so agents of one level play slots of one joint policy.
    """
    mine = composition(shard.recipe, shard.episodes, shard.seed)[shard.first : shard.first + shard.count]
    levels = np.array([shard.recipe.parts[p].levels for p in mine], np.int64)
    candidates = {k: shard.pool.members_of(LEVELS[k]) for k in np.unique(levels).tolist()}
    members = np.empty_like(levels)
    for b, row in enumerate(levels):
        g = generator(shard.seed, "generate", shard.first + b, MEMBERS)
        for level in np.unique(row).tolist():
            members[b, row == level] = candidates[level][g.integers(len(candidates[level]))]
    return levels, members


@functools.lru_cache(maxsize=1)
def _env(env_id: str, lanes: int) -> BatchedEnv:
    return make_env(env_id, lanes)


def play(shard: Shard) -> int:
    """Play one shard and write its file; returns its number of episodes.

    Raises:
        OffmarlError: the file cannot be written, or the pool lacks a level.
    """
    seeds = episode_seeds(shard.seed, "generate", shard.first, shard.count)
    write(shard, _rollout(shard, np.arange(shard.count), seeds, generator(shard.seed, "generate", shard.index, PLAY)))
    return shard.count


def play_again(shard: Shard, chosen: Sequence[int], attempt: int) -> list[Episode]:
    """Episodes of this shard, chosen by their index in it, once more: the same cast, other random numbers.

    ``attempt`` counts from 1; each has its own numbers.
    """
    path = [(shard.first + b, AGAIN, attempt) for b in chosen]
    seeds = np.array([sequence(shard.seed, "generate", *p).generate_state(1, np.uint64)[0] for p in path], np.uint64)
    return _rollout(
        shard, np.asarray(chosen, np.int64), seeds, generator(shard.seed, "generate", shard.index, PLAY, attempt)
    )


def episodes_of(shard: Shard, spec: EnvSpec) -> list[Episode]:
    """What a played shard holds, as views into its file. Raises FormatError: it is not a whole shard of this run."""
    columns = open_shard(shard, spec)
    rows = zip(*(a.tolist() for a in episode_rows(columns)), strict=True)
    return [episode_at(columns, first, length, k) for k, (first, length) in enumerate(rows)]


def _rollout(
    shard: Shard, lanes: Int64[np.ndarray, " B"], seeds: UInt64[np.ndarray, " B"], g: np.random.Generator
) -> list[Episode]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums over several threads differ in the last bit, and the data with them
    try:
        levels, members = (a[lanes] for a in cast(shard))
        env = _env(shard.env_id, shard.size)
        played = rollout(env, shard.pool.policy(members), seeds, g, record=True, levels=levels, members=members)
    finally:
        torch.set_num_threads(threads)
    return played.episodes or []


def write(shard: Shard, episodes: Sequence[Episode]) -> None:
    """Write a shard's file. Raises OffmarlError: it cannot be written."""
    columns, _ = flatten(episodes, shard.pool.spec, first_id=shard.first)
    header = {"signature": shard.signature, "first": str(shard.first), "count": str(shard.count)}
    write_atomic(shard.path, safetensors.numpy.save(columns, metadata=header))


def open_shard(shard: Shard, spec: EnvSpec) -> Columns:
    """A shard's columns as memory maps.

    Raises:
        FormatError: no file, or not a whole file of this shard of this run.
    """
    path = shard.path
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(HEADER_BYTES), "little")
            if length > min(MAX_HEADER, size):
                raise FormatError(f"{path}: no safetensors header; remove the file and run again")
            header = json.loads(file.read(length))
        said = header.pop("__metadata__")
        if said != {"signature": shard.signature, "first": str(shard.first), "count": str(shard.count)}:
            raise FormatError(f"{path}: belongs to another run; remove the file and run again")
        raw = np.memmap(path, np.uint8, "r")
        columns: Columns = {}
        for column in columns_of(spec):
            entry = header[column.name]
            begin, end = (HEADER_BYTES + length + at for at in entry["data_offsets"])
            shape = tuple(entry["shape"])
            fits = np.dtype(KINDS[entry["dtype"]]) == column.dtype and shape[1:] == column.shape and end <= size
            if not fits or end - begin != math.prod(shape) * column.dtype.itemsize:
                raise FormatError(
                    f"{path}: {column.name} is {entry}, which does not fit; remove the file and run again"
                )
            columns[column.name] = raw[begin:end].view(column.dtype).reshape(shape)
    except (OSError, ValueError, KeyError, TypeError) as e:
        if isinstance(e, FormatError):
            raise
        raise FormatError(f"{path}: not a whole shard ({e}); remove the file and run again") from e
    return columns


def is_done(shard: Shard, spec: EnvSpec) -> bool:
    """True if the shard's file is there and whole; one that is not will be played again."""
    if not shard.path.exists():
        return False
    try:
        open_shard(shard, spec)
    except FormatError as e:
        log.warning("played again: %s", e)
        return False
    return True
