r"""A return-matched balanced twin: the same mean return as an imbalanced dataset, with all agents alike.

The twin mixes episodes in which all agents are experts with episodes in which all are random. Their numbers are the
only thing that is chosen: from a bank that is larger than needed the first n_e expert and the first E − n_e random
episodes are taken, with the n_e that brings the mean nearest to that of the imbalanced dataset. No episode is picked
for its return, so the twin is what the recipe with that share would have given. What an agent learns better from one
than from the other is then not a matter of mean quality. Only the mean is matched: the spread of returns is not.

One expert among random agents can earn even less than random agents alone. Then no mixture has the mean, and the twin
is all random, with the level's members in other proportions.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from offmarl_bench.dial import EXPERT, RANDOM, Dial, command, mixture
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.executors import Executor
from offmarl_bench.format.derived import derived_metadata
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.format.summary import summarise_episodes
from offmarl_bench.generate import generate
from offmarl_bench.ids import DatasetId, path_of
from offmarl_bench.imbalance import imbalance
from offmarl_bench.loader import Dataset, load_dataset
from offmarl_bench.pool import Pool, load_pool
from offmarl_bench.seeding import sequence
from offmarl_bench.subsample import choose_mean
from offmarl_bench.types import LEVELS

log = logging.getLogger(__name__)

TOLERANCE = 0.01
"""The means may differ by this part of the range from the random to the expert reference."""
MARGIN = 0.05
"""Both kinds of episodes in the bank exceed the expected need by this part of the dataset …"""
MARGIN_PER_ROOT = 2.0
"""… plus this over the root of its number of episodes, for the noise of small datasets."""
BANKS = 3
"""Banks tried: the first trusts the pool's measured returns, the next what the one before has shown."""
BANK = ".bank.h5"
OVERSIZE = 1.5
"""Size of a bank of one level, in which members of the pool are preferred, over that of the twin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """An imbalanced dataset and its twin, compared."""

    of: str
    """Content hash of the imbalanced dataset."""
    mean: float
    """Its mean return."""
    std: float
    imbalance: float
    twin_mean: float
    twin_std: float
    twin_imbalance: float
    experts: int
    """Episodes of the twin in which all agents are experts."""
    by_member: bool
    """Whether no mixture had the mean, so that members of one level were preferred (see ``_prefer_members``)."""
    tolerance: float
    """Greatest difference of the means that is called a match."""

    @property
    def difference(self) -> float:
        """Of the mean returns, twin minus imbalanced."""
        return self.twin_mean - self.mean

    def __str__(self) -> str:
        return (
            f"mean return {self.mean:.4f} ± {self.std:.2f}, imbalance {self.imbalance:.2f}; twin {self.twin_mean:.4f} "
            f"± {self.twin_std:.2f}, imbalance {self.twin_imbalance:.2f}; difference {self.difference:+.4f} "
            f"(at most {self.tolerance:.4f} allowed)"
        )


def twin_id(where: Dial) -> DatasetId:
    """``suite/map/imbalance-XXX-twin-vN``."""
    return replace(where.dataset, quality=f"{where.dataset.quality}-twin")


def choose(
    experts: Float64[np.ndarray, " A"], randoms: Float64[np.ndarray, " B"], episodes: int, target: float
) -> tuple[int, bool]:
    """How many of the first expert episodes, filled up with the first random ones, have the mean nearest to a target.

    Args:
        experts: returns of the bank's all-expert episodes.
        randoms: of its all-random ones.
        episodes: of both together.
        target: wanted mean return.

    Returns:
        The number, and whether a smaller and a greater mean could have been had too (else the bank is too small).
    """
    numbers: Int64[np.ndarray, " K"] = np.arange(max(0, episodes - len(randoms)), min(len(experts), episodes) + 1)
    sums = [np.concatenate([np.zeros(1), np.cumsum(x)]) for x in (experts, randoms)]
    means = (sums[0][numbers] + sums[1][episodes - numbers]) / episodes
    return int(numbers[np.abs(means - target).argmin()]), bool(means.min() <= target <= means.max())


def _expected(pool: Pool, level: int) -> float:
    members = [pool.members[k].return_mean for k in pool.members_of(LEVELS[level])]
    return float(np.mean(members))


def _bank_recipe(where: Dial, share: float, episodes: int) -> tuple[str, int]:
    """The recipe and number of episodes of a bank for a twin whose share of expert episodes will be about this."""
    margin = MARGIN + MARGIN_PER_ROOT / math.sqrt(episodes)
    experts, randoms = (math.ceil(episodes * min(1.0, max(0.0, s) + margin)) for s in (share, 1 - share))
    part = Decimal(experts) / Decimal(experts + randoms)
    n = where.spec.N
    return mixture(where.spec, [(part, [EXPERT] * n), (1 - part, [RANDOM] * n)]), experts + randoms


def _twin_view(bank: Dataset, episodes: int, target: float) -> tuple[Dataset | None, float]:
    """The twin within a bank; or None and the share of experts to try next, outside of [0, 1] if none has the mean."""
    all_expert = (bank.levels == EXPERT).all(1)
    experts, randoms = np.flatnonzero(all_expert), np.flatnonzero(~all_expert)
    returns = bank.returns
    number, bracketed = choose(returns[experts], returns[randoms], episodes, target)
    if not bracketed:
        low, high = float(returns[randoms].mean()), float(returns[experts].mean())
        return None, (target - low) / (high - low) if high > low else -1.0
    chosen = np.sort(np.concatenate([experts[:number], randoms[: episodes - number]]))
    return _part(bank, chosen), number / episodes


def _part(bank: Dataset, chosen: Int64[np.ndarray, " E"]) -> Dataset:
    return Dataset(
        bank.spec, bank.columns, bank.row_starts[chosen], bank.lengths[chosen], bank.metadata,
        returns=bank.returns[chosen],
    )  # fmt: skip


def _prefer_members(bank: Dataset, episodes: int, target: float, generator: np.random.Generator) -> Dataset:
    """The twin of data whose mean lies beyond that of one level: a bank of that level, its members preferred unevenly.

    A level has better and worse members. The keys of ``subsample`` go by the mean return of an episode's member in
    the bank, so still no episode is picked for its own return. Raises FormatError if that is not enough.
    """
    member = bank.columns["behavior_policy"][bank.row_starts, 0]
    _, which = np.unique(member, return_inverse=True)
    means = np.bincount(which, bank.returns) / np.bincount(which)
    try:
        chosen = choose_mean(bank.returns, target, episodes, generator, scores=means[which])
    except FormatError as e:
        raise FormatError(
            f"no balanced twin: the imbalanced data has the mean return {target:.4f}, which no mixture of all-random "
            f"and all-expert episodes has ({e}); choose another --imbalance or --expert, or leave the twin out with "
            "--no-twin"
        ) from e
    return _part(bank, chosen)


def _metadata(where: Dial, twin: Dataset, match: Match, of: Mapping[str, Any], seed: int) -> dict[str, Any]:
    n, share = where.spec.N, Decimal(match.experts) / Decimal(len(twin))
    parts = [(share, [EXPERT] * n), (1 - share, [RANDOM] * n)]
    said = derived_metadata(
        "twin",
        {"of": str(where.dataset), "match": {**asdict(match), "difference": match.difference}, "seed": seed},
        [twin.metadata],
        summarise_episodes(twin.spec, twin.returns, twin.lengths, twin.levels),
        command(where, len(twin), seed),
    )
    return {
        **said,
        "dataset_id": str(twin_id(where)),
        "recipe": mixture(where.spec, [(part, levels) for part, levels in parts if part]),
        "recipe_note": f"Balanced twin of {where.dataset}, see docs/datasets.md.",
        "seed": seed,
        "twin_of": of["signature"],
    }


def _is_there(path: Path, of: Mapping[str, Any], overwrite: bool) -> bool:
    if not path.exists():
        return False
    try:
        same = bool(read_metadata(path)[1].get("twin_of") == of["signature"])
    except FormatError:
        same = False
    if not same and not overwrite:
        raise OffmarlError(
            f"{path} exists and is not the twin of this dataset; choose another file with --out, or replace it with "
            "--overwrite (overwrite=True)"
        )
    return same


def compare(imbalanced: Dataset, twin: Dataset, by_member: bool = False) -> Match:
    """Mean returns, spreads and imbalance of both. Raises FormatError if the means do not match."""
    low, high = (float(imbalanced.metadata[f"reference_{name}"]) for name in ("random", "expert"))
    match = Match(
        of=str(imbalanced.metadata.get("content_hash")),
        mean=float(imbalanced.returns.mean()), std=float(imbalanced.returns.std()),
        imbalance=imbalance(imbalanced) or 0.0, twin_mean=float(twin.returns.mean()),
        twin_std=float(twin.returns.std()), twin_imbalance=imbalance(twin) or 0.0,
        experts=int((twin.levels == EXPERT).all(1).sum()), by_member=by_member, tolerance=TOLERANCE * abs(high - low),
    )  # fmt: skip
    if abs(match.difference) > match.tolerance:
        raise FormatError(f"no balanced twin with so few episodes: {match}; ask for more episodes")
    return match


def generate_twin(
    where: Dial,
    imbalanced: Path,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    out: Path | None = None,
    pool: Pool | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> tuple[Path, Match]:
    """Generate the balanced twin of a dataset that ``generate_imbalanced`` made.

    Args:
        where: the position of the dial.
        imbalanced: the file.
        workers: processes on this machine.
        executor: runs the work instead of ``workers`` local processes.
        out: the twin's file; None means the place of its id.
        pool: who plays; None means the environment's own pool.
        overwrite: replace a file that is something else.
        progress: show bars on stderr if that is a terminal.

    Returns:
        The twin's file, and how well it matches. A killed run goes on where it was.

    Raises:
        FormatError: not a dataset of the dial, or no mixture of random and expert episodes has that mean.
        OffmarlError: as ``generate``.
    """
    data = load_dataset(imbalanced)
    if "dial" not in data.metadata or "signature" not in data.metadata:
        raise FormatError(f"{imbalanced}: was not made by `generate --imbalance`, so it has no twin")
    target, episodes, master = float(data.returns.mean()), len(data), int(data.metadata["seed"])
    path = path_of(twin_id(where)) if out is None else out
    if _is_there(path, data.metadata, overwrite):
        log.warning("%s is there already, made with the same settings: nothing to do", path)
        twin = load_dataset(path)
        return path, compare(data, twin, bool(twin.metadata["operation"]["match"]["by_member"]))
    chosen_pool = load_pool(where.spec.id) if pool is None else pool
    randoms, experts = (_expected(chosen_pool, level) for level in (RANDOM, EXPERT))
    share = min(1.0, max(0.0, (target - randoms) / (experts - randoms))) if experts != randoms else 1 / where.spec.N
    seed = int(sequence(master, "twin").generate_state(1, np.uint32)[0])  # none of the imbalanced data's episodes
    bank_file = path.with_name(path.stem + BANK)

    def bank(recipe: str, size: int) -> Dataset:
        made = generate(
            where.spec.id, recipe=recipe, dataset=twin_id(where), episodes=size, seed=seed, workers=workers,
            executor=executor, out=bank_file, pool=chosen_pool, overwrite=True, progress=progress,
        )  # fmt: skip
        return load_dataset(made)

    try:
        found = None
        for _ in range(BANKS):
            found, share = _twin_view(bank(*_bank_recipe(where, share, episodes)), episodes, target)
            if found is not None or not 0 <= share <= 1:
                break
        beyond = found is None
        if found is None:
            level = RANDOM if share < 0.5 else EXPERT
            recipe = mixture(where.spec, [(Decimal(1), [level] * where.spec.N)])
            g = np.random.default_rng(sequence(master, "twin", 1))
            found = _prefer_members(bank(recipe, math.ceil(OVERSIZE * episodes)), episodes, target, g)
        twin = found
        match = compare(data, twin, beyond)
    except FormatError:
        bank_file.unlink(missing_ok=True)
        raise
    twin.metadata = _metadata(where, twin, match, data.metadata, master)
    path.unlink(missing_ok=True)
    twin.save(path)
    bank_file.unlink()
    return path, match
