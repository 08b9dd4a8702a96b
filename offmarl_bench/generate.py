"""Generate a dataset: recipe × policy pool → shards → one file.

Shards are played in any order by any number of workers, each from its own seeds, and kept until all are there; a
run that was killed goes on with those it has. The content of the file depends on the run's signature alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from offmarl_bench import provenance
from offmarl_bench.alone import alone_in
from offmarl_bench.atomic import write_atomic
from offmarl_bench.copies import replace_copies
from offmarl_bench.envs import get_suite, lanes_of, split_id
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.executors import Executor, LocalExecutor
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.format.schema import FORMAT_VERSION, Columns
from offmarl_bench.format.summary import NEEDED, summarise
from offmarl_bench.format.writer import write_dataset
from offmarl_bench.ids import DatasetId, path_of
from offmarl_bench.manifest import differences, published
from offmarl_bench.pool import Pool, load_pool
from offmarl_bench.recipes import NamedRecipe, Recipe, named_recipe, parse_recipe
from offmarl_bench.records import json_digest
from offmarl_bench.shards import SHARD_EPISODES, Shard, is_done, open_shard, play
from offmarl_bench.types import EnvSpec

log = logging.getLogger(__name__)

SIGNATURE_FILE = "signature.json"
PARTS = ".parts"
MERGED = "merged.h5"
DECIDING = ("offmarl-bench", "numpy", "torch", "numba", "mujoco", "mpe2", "gymnasium-robotics")
"""Packages whose version can change what is played: shards made with others are not mixed."""
CUSTOM = "custom"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run of ``generate``, resolved."""

    spec: EnvSpec
    recipe: Recipe
    named: NamedRecipe | None
    dataset: DatasetId
    pool: Pool
    episodes: int
    seed: int
    backend: str
    out: Path
    notes: Mapping[str, Any]
    """More metadata; decides nothing."""
    lanes: int = SHARD_EPISODES
    """Episodes of a shard."""

    @property
    def signature(self) -> dict[str, Any]:
        """Everything that decides the content."""
        versions = {k: v for k, v in provenance.versions().items() if k in DECIDING}
        return {
            "environment": self.spec.id, "backend": self.backend, "recipe": str(self.recipe), "seed": self.seed,
            "episodes": self.episodes, "pool": self.pool.hash, "format_version": FORMAT_VERSION,
            "shard_episodes": self.lanes, "versions": versions,
        }  # fmt: skip

    @property
    def command(self) -> str:
        """The command that makes this dataset again."""
        suite, map_name = split_id(self.spec.id)
        what = f"--recipe '{self.recipe}'" if self.named is None else f"--quality {self.dataset.quality}"
        return f"offmarl-bench generate {suite} {map_name} {what} --episodes {self.episodes} --seed {self.seed}"

    def shards(self, folder: Path) -> list[Shard]:
        """All shards of the run, with their files in ``folder``."""
        digest = json_digest(self.signature)
        return [
            Shard(
                env_id=self.spec.id, recipe=self.recipe, pool=self.pool, seed=self.seed, episodes=self.episodes,
                index=k, folder=folder, signature=digest, size=self.lanes,
            )
            for k in range(-(-self.episodes // self.lanes))
        ]  # fmt: skip


def _plan(
    env_id: str, recipe: str | None, quality: str | None, episodes: int, seed: int, out: Path | None,
    pool: Pool | None, dataset: DatasetId | None, notes: Mapping[str, Any],
) -> Plan:  # fmt: skip
    if (recipe is None) == (quality is None):
        raise FormatError(f"generate({env_id!r}): give either a recipe or a quality, and not both")
    if episodes < 1 or seed < 0:
        raise FormatError(f"generate({env_id!r}): {episodes} episodes with seed {seed}; expected ≥ 1 and a seed ≥ 0")
    suite_name, map_name = split_id(env_id)
    suite = get_suite(suite_name)
    spec = suite.spec(map_name)
    named = None if quality is None else named_recipe(env_id, quality)
    parsed = parse_recipe(recipe if named is None else named.text, spec)  # type: ignore[arg-type]
    label = quality or f"{CUSTOM}-{hashlib.sha256(str(parsed).encode()).hexdigest()[:8]}"
    dataset = dataset or DatasetId(suite_name, map_name, label, 1 if named is None else named.version)
    chosen = load_pool(env_id) if pool is None else pool
    if chosen.env_id != env_id:
        raise FormatError(f"generate({env_id!r}): the pool is of {chosen.env_id}; give one of {env_id}")
    for level in sorted({name for part in parsed.parts for name in part.level_names}):
        chosen.members_of(level)  # an empty level is said now, not in a worker
    return Plan(
        spec=spec, recipe=parsed, named=named, dataset=dataset, pool=chosen, episodes=episodes, seed=seed,
        backend=suite.backend(), out=path_of(dataset) if out is None else out, notes=notes,
        lanes=lanes_of(env_id, SHARD_EPISODES),
    )  # fmt: skip


def _say_if_unlike_published(plan: Plan) -> None:
    """The id of a published version, made with other settings, is somebody's own data and should not be mistaken."""
    entry = published().get(str(plan.dataset))
    unlike = entry and differences(entry, plan.signature)
    if unlike:
        log.warning("this is not the published %s: %s; `datasets` will say that it differs", plan.dataset, unlike)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    flat = [
        {f"{k}.{i}" if i else k: v for k, x in s.items() for i, v in (x.items() if isinstance(x, dict) else [("", x)])}
        for s in (old, new)
    ]
    keys = [k for k in sorted({*flat[0], *flat[1]}) if flat[0].get(k) != flat[1].get(k)]
    return ", ".join(f"{k} was {flat[0].get(k)!r} and is {flat[1].get(k)!r}" for k in keys)


def _already_there(plan: Plan, overwrite: bool) -> bool:
    """True if the target is this very dataset. Raises OffmarlError if it is something else that may not be replaced."""
    if not plan.out.exists():
        return False
    try:
        old = read_metadata(plan.out)[1].get("signature")
    except FormatError:
        old = None
    if old == plan.signature:
        return True
    if overwrite:
        return False
    what = _differences(old, plan.signature) if isinstance(old, dict) else "it was not made by `generate`"
    raise OffmarlError(
        f"{plan.out} exists and is another dataset: {what}; choose another file with --out, "
        "or replace it with --overwrite (overwrite=True)"
    )


def _prepare(plan: Plan, folder: Path, overwrite: bool) -> None:
    """Make the folder of parts, or check that what is in it is of this run."""
    stated = folder / SIGNATURE_FILE
    if stated.exists():
        try:
            old = json.loads(stated.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            old = {}
        if old == plan.signature:
            return
        if not overwrite:
            raise OffmarlError(
                f"{folder} holds parts of another run: {_differences(old, plan.signature)}; finish that run with its "
                "own settings, remove the folder, or start anew with --overwrite (overwrite=True)"
            )
        shutil.rmtree(folder)
    write_atomic(stated, json.dumps(plan.signature, indent=1, sort_keys=True).encode())


def _statistics(plan: Plan, parts: list[Columns]) -> dict[str, Any]:
    columns = {name: np.concatenate([p[name] for p in parts]) for name in NEEDED}
    return summarise(plan.spec, columns)


def _metadata(plan: Plan, parts: list[Columns]) -> dict[str, Any]:
    """Where the dataset comes from; the fields are described in ``docs/format.md``."""
    named = plan.named
    return {
        "dataset_id": str(plan.dataset),
        "recipe": str(plan.recipe),
        "recipe_name": None if named is None else plan.dataset.quality,
        "recipe_provenance": None if named is None else named.provenance,
        "recipe_note": None if named is None else named.note,
        "paper_mean": None if named is None else named.paper_mean,
        "seed": plan.seed,
        "pool_hash": plan.pool.hash,
        "reference_random": plan.pool.reference_random,
        "reference_expert": plan.pool.reference_expert,
        "backend": plan.backend,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "command": plan.command,
        "signature": plan.signature,
        **_statistics(plan, parts),
        **plan.notes,
    }


def _merge(plan: Plan, shards: list[Shard], folder: Path, progress: bool) -> None:
    parts = [open_shard(s, plan.spec) for s in shards]
    total = sum(column.nbytes for part in parts for column in part.values())
    bar = tqdm(total=total, unit="B", unit_scale=True, desc="merge", disable=None if progress else True)
    with bar:
        write_dataset(
            plan.out, plan.spec, parts, _metadata(plan, parts), temporary=folder / MERGED, progress=bar.update
        )


def generate(
    env_id: str,
    *,
    recipe: str | None = None,
    quality: str | None = None,
    episodes: int = 10_000,
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    out: Path | None = None,
    pool: Pool | None = None,
    overwrite: bool = False,
    progress: bool = True,
    dataset: DatasetId | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Path:
    """Generate a dataset, or go on with one that was begun.

    Args:
        env_id: ``suite/map``.
        recipe: in the paper's notation; or else
        quality: the name of a recipe.
        episodes: number of episodes.
        seed: master seed.
        workers: processes on this machine; changes the time, never the content.
        executor: runs the shards instead of ``workers`` local processes.
        out: the file; None means the place of its id in the datasets folder.
        pool: who plays; None means the environment's own pool.
        overwrite: replace an existing file, or begun parts, of another run.
        progress: show bars on stderr if that is a terminal.
        dataset: the id that a recipe's data gets, with its version; None means that of the quality, or one made of
            the recipe's text.
        notes: more fields for the metadata, or others in place of its own; they decide nothing of the content.

    Returns:
        The file. If it is there already with the same signature, nothing is played.

    Raises:
        UnknownName: no such environment, quality or pool, or a level that the pool lacks.
        FormatError: a recipe that does not fit.
        OffmarlError: another dataset is in the way; or the disk is full or read-only, or a worker was killed: then
            finished shards are kept and the same call goes on from there.
    """
    plan = _plan(env_id, recipe, quality, episodes, seed, out, pool, dataset, notes or {})
    folder = plan.out.with_name(plan.out.name + PARTS)
    if _already_there(plan, overwrite):
        log.warning("%s is there already, made with the same settings: nothing to do", plan.out)
        shutil.rmtree(folder, ignore_errors=True)
        return plan.out
    _say_if_unlike_published(plan)
    _prepare(plan, folder, overwrite)
    with alone_in(folder, f"generating into {folder}"):
        _play_and_merge(plan, folder, executor or LocalExecutor(workers), progress)
        shutil.rmtree(folder, ignore_errors=True)
    return plan.out


def _play_and_merge(plan: Plan, folder: Path, executor: Executor, progress: bool) -> None:
    shards = plan.shards(folder)
    todo = [s for s in shards if not is_done(s, plan.spec)]
    done = plan.episodes - sum(s.count for s in todo)
    if done:
        log.info("going on after %d of %d episodes", done, plan.episodes)
    try:
        bar = tqdm(
            total=plan.episodes,
            initial=done,
            unit="episode",
            desc=str(plan.dataset),
            disable=None if progress else True,
        )
        with bar:
            for count in executor.map(play, todo):
                bar.update(count)
        replace_copies(shards, plan.spec, progress=progress)
        _merge(plan, shards, folder, progress)
    except OffmarlError as e:
        raise OffmarlError(f"{e} (finished shards are kept in {folder}; the same command goes on from there)") from e
