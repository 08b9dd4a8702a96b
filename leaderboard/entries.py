"""The leaderboard as data: one entry per submission, one score per dataset. What the table and the page show.

Reading is forgiving where validation is strict: a submission that cannot be read is left out aloud, a verdict that
does not fit its submission counts as none, and says so.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from leaderboard.bundle import (
    CURVES,
    EPISODES_TO_RANK,
    POLICIES,
    SEEDS_TO_RANK,
    SUBMISSION,
    SUBMISSIONS,
    Bundle,
    Curves,
    bundle_hash,
    read_bundle,
)
from leaderboard.verdict import SELF_REPORTED, Check, Verdict, read_verdict
from offmarl_bench.errors import FormatError
from offmarl_bench.records import read_record
from offmarl_bench.results import Result
from offmarl_bench.stats import bootstrap_interval, mean_std

log = logging.getLogger(__name__)

BOOTSTRAP_SEED = 0
"""Every score is resampled from this seed anew: its interval depends on its own seeds only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetScore:
    """One submission on one dataset: a value per training seed, in the order of ``seeds``."""

    dataset: str
    """``suite/map/quality-vN``."""
    env_id: str
    dataset_hash: str | None
    backend: str
    """What simulated, e.g. ``embedded-1``."""
    seeds: tuple[int, ...]
    episodes: int
    """Greedy episodes a seed (the fewest)."""
    greedy_means: tuple[float, ...]
    """Mean return of greedy play (sampled, where no greedy episode was played)."""
    stochastic_means: tuple[float | None, ...]
    """Mean return of sampled play."""
    win_rates: tuple[float | None, ...]
    """Part of the greedy episodes won, 0 to 1; None where the environment knows no victory."""
    stochastic_win_rates: tuple[float | None, ...]
    normalised: tuple[float | None, ...]
    """Greedy mean with random play = 0 and the expert = 100, never clamped."""
    random_reference: float | None
    expert_reference: float | None
    behavior_mean: float | None
    """Mean return of the dataset."""
    budget: str | int | None
    updates: int | None
    """Updates a seed (the most)."""
    train_seconds: tuple[float | None, ...]
    config: dict[str, Any]
    """Every setting, resolved for this environment."""
    command: str | None
    """What to type in order to get this again."""
    commit: str | None
    policies: int
    """Seeds whose policy is part of the submission."""
    curves: tuple[Curves | None, ...]
    """What was logged in training, per seed."""
    learning: tuple[tuple[tuple[int, float], ...], ...]
    """Per seed, (updates, mean greedy return) of early evaluations; empty where none were made."""
    unranked: str | None
    """Why it has no rank, None if it has one."""

    @property
    def ranked(self) -> bool:
        """Whether there are enough seeds and episodes."""
        return self.unranked is None

    @property
    def mean(self) -> float:
        """Mean over seeds of the greedy means."""
        return float(np.mean(self.greedy_means))

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds; None for one seed."""
        return mean_std(self.greedy_means)[1]

    @property
    def score(self) -> float | None:
        """Mean over seeds of the normalised scores."""
        known = [x for x in self.normalised if x is not None]
        return float(np.mean(known)) if len(known) == len(self.seeds) else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % bootstrap interval of ``score`` over seeds; None for one seed or without references."""
        known = [x for x in self.normalised if x is not None]
        if len(known) != len(self.seeds) or len(known) < 2:
            return None
        return bootstrap_interval([known], np.random.default_rng(BOOTSTRAP_SEED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One submission."""

    name: str
    slug: str
    """Name of its folder."""
    agent: str
    preset: str
    overrides: dict[str, Any]
    config: dict[str, Any]
    """The settings that are the same on all its datasets."""
    description: str
    authors: tuple[str, ...]
    url: str | None
    created: str
    commit: str | None
    versions: dict[str, str]
    deviations: tuple[str, ...]
    """In what the agent differs from its paper."""
    scores: tuple[DatasetScore, ...]
    """In the order of their datasets' ids."""
    bundle: str
    """Hash of the submission."""
    verdict: Verdict | None
    problem: str | None = None
    """Why a verdict that is there does not count."""

    @property
    def state(self) -> str:
        """``verified``, ``differs`` or ``self-reported``."""
        return self.verdict.state if self.verdict else SELF_REPORTED

    def checks(self, dataset: str) -> tuple[Check, ...]:
        """What the verdict compared on one dataset."""
        return tuple(c for c in self.verdict.details if c.dataset == dataset) if self.verdict else ()


def _curves(bundle: Bundle, stem: str) -> Curves | None:
    path = bundle.path / CURVES / f"{stem}.json"
    return read_record(Curves, path) if path.exists() else None


def _unranked(results: Sequence[Result]) -> str | None:
    if len(results) < SEEDS_TO_RANK:
        return f"{len(results)} of {SEEDS_TO_RANK} seeds"
    episodes = min(len(r.greedy_returns) for r in results)
    return f"{episodes} of {EPISODES_TO_RANK} greedy episodes a seed" if episodes < EPISODES_TO_RANK else None


def _score(dataset: str, bundle: Bundle, stems: Sequence[str]) -> DatasetScore:
    stems = sorted(stems, key=lambda s: bundle.results[s].seed)
    results = [bundle.results[s] for s in stems]
    first = results[0]
    return DatasetScore(
        dataset=dataset,
        env_id=first.env_id,
        dataset_hash=first.dataset_hash,
        backend=first.backend,
        seeds=tuple(r.seed for r in results),
        episodes=min(len(r.greedy_returns) for r in results),
        greedy_means=tuple(r.mean for r in results),
        stochastic_means=tuple(r.stochastic_mean for r in results),
        win_rates=tuple(r.greedy_win_rate for r in results),
        stochastic_win_rates=tuple(r.stochastic_win_rate for r in results),
        normalised=tuple(r.normalised(r.mean) for r in results),
        random_reference=first.random_reference,
        expert_reference=first.expert_reference,
        behavior_mean=first.behavior_mean,
        budget=first.budget,
        updates=max((r.updates for r in results if r.updates is not None), default=None),
        train_seconds=tuple(r.train_seconds for r in results),
        config=first.config,
        command=first.command,
        commit=first.commit,
        policies=sum((bundle.path / POLICIES / f"{s}.json").exists() for s in stems),
        curves=tuple(_curves(bundle, s) for s in stems),
        learning=tuple(r.curve for r in results),
        unranked=_unranked(results),
    )


def entry_of(bundle: Bundle) -> Entry:
    """A submission as an entry. Raises FormatError on curves that are none."""
    by_dataset: dict[str, list[str]] = defaultdict(list)
    for stem, result in bundle.results.items():
        by_dataset[result.dataset or result.env_id].append(stem)
    scores = tuple(_score(dataset, bundle, stems) for dataset, stems in sorted(by_dataset.items()))
    verdict, problem = None, None
    try:
        verdict = read_verdict(bundle.path)
    except FormatError as e:
        problem = str(e)
        log.warning("counted as self-reported: %s", e)
    about = bundle.submission
    return Entry(
        name=about.name,
        slug=bundle.slug,
        agent=about.agent,
        preset=about.preset,
        overrides=about.overrides,
        config={k: v for k, v in scores[0].config.items() if all(s.config.get(k) == v for s in scores)},
        description=about.description,
        authors=about.authors,
        url=about.url,
        created=about.created,
        commit=about.commit,
        versions=about.versions,
        deviations=about.deviations,
        scores=scores,
        bundle=bundle_hash(bundle.path),
        verdict=verdict,
        problem=problem,
    )


def load_entries(directory: Path | None = None) -> list[Entry]:
    """All submissions in a folder (default: this repository's), by name of their folder; a bad one is left out aloud.

    Raises:
        FormatError: there is no such folder.
    """
    directory = directory or SUBMISSIONS
    if not directory.is_dir():
        raise FormatError(f"{directory}: no such folder; expected one with a folder per submission")
    found = []
    for path in sorted(p.parent for p in directory.glob(f"*/{SUBMISSION}")):
        try:
            found.append(entry_of(read_bundle(path)))
        except FormatError as e:
            log.warning("left out: %s", e)
    return found
