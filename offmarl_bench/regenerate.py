"""Make a published dataset again from its recipe and compare: the same bits, or at least the same statistics.

On the machine that published it the content hash comes out the same. Elsewhere floating-point arithmetic may differ
in the last bit, one action follows another, and whole episodes part; then nothing but statistics can be compared.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from offmarl_bench.admit import entry_of
from offmarl_bench.envs import get_spec, get_suite, split_id
from offmarl_bench.errors import FormatError, OffmarlError, UnknownName
from offmarl_bench.executors import Executor
from offmarl_bench.generate import generate
from offmarl_bench.ids import SUFFIX, path_of
from offmarl_bench.manifest import Published, find_published
from offmarl_bench.pool import SHIPPED, Pool, load_pool, pools_dir
from offmarl_bench.recipes import RECIPES, parse_recipe

log = logging.getLogger(__name__)

STANDARD_ERRORS = 5.0
"""Two means may be so many standard errors of their difference apart: by chance once in 1.7 million."""
SPREAD_SLACK = 0.02
"""Added to the relative difference allowed between standard deviations, whose own error normal theory understates."""
BESIDE = ".again"
"""Goes into the name of a file made to be compared with one that is there."""

Outcome = Literal["identical", "statistics agree", "differs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One statistic, as published and as it came out."""

    what: str
    """E.g. ``mean return of [s1r,s2m]``."""
    published: float
    here: float
    allowed: float
    """Greatest difference that the number of episodes explains."""

    @property
    def agrees(self) -> bool:
        """Whether the difference is allowed."""
        return abs(self.here - self.published) <= self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Regeneration:
    """What came of making a published dataset again."""

    id: str
    path: str | None
    """The file, None if it was not kept because the dataset is there already."""
    outcome: Outcome
    content_hash: str
    published_hash: str
    comparisons: tuple[Comparison, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.id}: {self.outcome}"]
        if self.outcome == "identical":
            lines.append(f"  content hash {self.content_hash}, as published")
        else:
            lines += [f"  content hash {self.content_hash}", f"  published    {self.published_hash}"]
            lines += [
                f"  {'agrees ' if c.agrees else 'DIFFERS'}  {c.what}: {c.here:.4f}, published {c.published:.4f} "
                f"(± {c.allowed:.4f} allowed)"
                for c in self.comparisons
            ]
        lines.append(f"  {self.path}" if self.path else "  not kept: the dataset is there already")
        return "\n".join(lines)


def _means(what: str, old: tuple[float, float, int], new: tuple[float, float, int]) -> Comparison:
    """Compare two means, each given as (mean, standard deviation, episodes)."""
    error = math.sqrt(old[1] ** 2 / old[2] + new[1] ** 2 / new[2])
    return Comparison(what=what, published=old[0], here=new[0], allowed=STANDARD_ERRORS * error)


def _spreads(what: str, old: tuple[float, float, int], new: tuple[float, float, int]) -> Comparison:
    """Compare two standard deviations σ; that of n values has a standard error near σ / √(2 n)."""
    relative = STANDARD_ERRORS * math.sqrt(1 / (2 * old[2]) + 1 / (2 * new[2])) + SPREAD_SLACK
    return Comparison(what=what, published=old[1], here=new[1], allowed=relative * max(old[1], new[1]))


def _moments(returns: dict[str, Any]) -> tuple[float, float, int]:
    return float(returns["mean"]), float(returns["std"]), int(returns["episodes"])


def compare_statistics(old: Published, new: Published) -> Iterator[Comparison]:
    """Returns and lengths over all, and returns of each composition."""
    yield _means("mean return", _moments(old.returns), _moments(new.returns))
    yield _spreads("std of the return", _moments(old.returns), _moments(new.returns))
    lengths = [(e.length_mean, e.length_std, e.episodes) for e in (old, new)]
    yield _means("mean length", lengths[0], lengths[1])
    was, now = ({str(c["composition"]): c for c in e.compositions} for e in (old, new))
    for name in sorted({*was, *now}):
        sizes = [float(x[name]["episodes"]) if name in x else 0.0 for x in (was, now)]
        yield Comparison(what=f"episodes of {name}", published=sizes[0], here=sizes[1], allowed=0.0)
        if all(sizes):
            yield _means(f"mean return of {name}", _moments(was[name]), _moments(now[name]))
            yield _spreads(f"std of the return of {name}", _moments(was[name]), _moments(now[name]))


def _pool(entry: Published) -> Pool:
    """The pool that played; raises OffmarlError if this installation has another."""
    suite, map_name = split_id(entry.dataset.env_id)
    found = []
    for root in (SHIPPED, pools_dir()):
        try:
            pool = load_pool(entry.dataset.env_id, root / suite / map_name)
        except (UnknownName, FormatError) as e:
            log.debug("%s", e)
            continue
        if pool.hash == entry.pool_hash:
            return pool
        found.append(pool.hash[:12])
    here = f"the pools here are {', '.join(found)}" if found else "there is no pool here"
    raise OffmarlError(
        f"{entry.id} was played by the pool {entry.pool_hash[:12]}, but {here}; "
        f"install offmarl-bench {entry.versions.get('offmarl-bench')}, which brings it"
    )


def _check_backend(entry: Published) -> None:
    now = get_suite(entry.dataset.suite).backend()
    if now != entry.backend:
        raise OffmarlError(
            f"{entry.id} was made by the simulator {entry.backend}, this installation has {now}; "
            f"install offmarl-bench {entry.versions.get('offmarl-bench')}, or take a newer version of the dataset"
        )


def _is_named(entry: Published) -> bool:
    """Whether the recipe still stands under its name, so that the metadata can say all about it."""
    named = RECIPES.get((entry.dataset.env_id, entry.dataset.quality))
    if named is None or named.version != entry.dataset.version:
        return False
    return str(parse_recipe(named.text, get_spec(entry.dataset.env_id))) == entry.recipe


def regenerate(
    dataset_id: str,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    out: Path | None = None,
    progress: bool = True,
) -> Regeneration:
    """Make a published dataset again and compare it with what was published.

    Args:
        dataset_id: ``suite/map/quality[-vN]``; without ``-vN`` the newest published version.
        workers: processes on this machine.
        executor: runs the work instead of ``workers`` local processes.
        out: the file; None means the dataset's own place, or if it is there already: none, it is compared only.
        progress: show bars on stderr if that is a terminal.

    Returns:
        ``identical``: the content hash is the published one. ``statistics agree``: it is not, but returns and lengths
        differ by no more than chance explains. ``differs``: they do.

    Raises:
        UnknownName: not a published dataset. OffmarlError: pool or simulator are not those that made it, or what
            ``generate`` raises. A killed run goes on where it was.
    """
    entry = find_published(dataset_id)
    _check_backend(entry)
    pool, place = _pool(entry), path_of(entry.dataset)
    occupied = out is None and place.exists()
    target = place.with_name(f"{place.stem}{BESIDE}{SUFFIX}") if occupied else out or place
    if occupied:
        target.unlink(missing_ok=True)
    elif target.exists():
        raise OffmarlError(f"{target} exists already; choose another file with --out, or remove it first")
    known = _is_named(entry)
    generate(
        entry.dataset.env_id, quality=entry.dataset.quality if known else None,
        recipe=None if known else entry.recipe, dataset=entry.dataset, episodes=entry.episodes, seed=entry.seed,
        workers=workers, executor=executor, out=target, pool=pool, progress=progress,
    )  # fmt: skip
    new = entry_of(target)
    same = new.content_hash == entry.content_hash
    comparisons = tuple(compare_statistics(entry, new))
    alike = all(c.agrees for c in comparisons)
    if occupied:
        target.unlink()
    return Regeneration(
        id=entry.id, path=None if occupied else str(target),
        outcome="identical" if same else "statistics agree" if alike else "differs",
        content_hash=new.content_hash, published_hash=entry.content_hash, comparisons=comparisons,
    )  # fmt: skip
