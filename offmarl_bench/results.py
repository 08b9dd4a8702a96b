"""What an evaluation found, with all that is needed to find it again: one JSON file per run."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from offmarl_bench import registry
from offmarl_bench.errors import FormatError
from offmarl_bench.home import results_dir
from offmarl_bench.ids import SUFFIX, newest_among
from offmarl_bench.records import LATER, read_record, write_record
from offmarl_bench.runs import run_key

log = logging.getLogger(__name__)

SUBMISSION, RESULTS = "submission.json", "results"
"""Of a submission to the leaderboard: the file that makes a folder one, and its folder of results."""

PERCENT = 100.0
"""Score of the expert reference; the random reference scores 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The score of one trained agent (one seed).

    Raises:
        FormatError: no episodes at all, a negative count, or lengths that are not one for each return.
    """

    agent: str
    """Registered name or ``module:attr``."""
    preset: str
    overrides: dict[str, Any] = field(default_factory=dict)
    """Settings that differ from the preset, as given."""
    config: dict[str, Any]
    """Every setting, resolved."""
    env_id: str
    """Environment that was played."""
    dataset: str | None = None
    """Id of the dataset it was trained on; None if unknown."""
    dataset_hash: str | None = None
    """Content hash of that dataset."""
    run: str | None = None
    """Hash of configuration, budget and data (see ``runs``)."""
    seed: int
    """Training seed."""
    evaluation_seed: int
    """Master seed of the evaluation's episodes."""
    greedy_returns: tuple[float, ...] = ()
    """Undiscounted team return of each episode played greedily."""
    stochastic_returns: tuple[float, ...] = ()
    """The same, with actions sampled from the policy."""
    greedy_win_rate: float | None = None
    """Part of the greedy episodes won, where the environment knows victory."""
    stochastic_win_rate: float | None = None
    greedy_lengths: tuple[int, ...] = field(default=(), metadata=LATER)
    """Time steps of each greedy episode, in the order of the returns; results of older versions have none."""
    stochastic_lengths: tuple[int, ...] = field(default=(), metadata=LATER)
    random_reference: float | None = None
    """Mean return of uniformly random play, from the dataset: normalised score 0."""
    expert_reference: float | None = None
    """Mean return of the best policy of the pool, from the dataset: normalised score 100."""
    behavior_mean: float | None = None
    """Mean return of the dataset's episodes."""
    curve: tuple[tuple[int, float], ...] = field(default=(), metadata=LATER)
    """(updates, mean greedy return) of early evaluations, on other episodes than the final one's."""
    budget: str | int | None = None
    updates: int | None = None
    """Updates it was trained for."""
    train_seconds: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    backend: str
    """What simulated, e.g. ``embedded-1``."""
    command: str | None = None
    """What to type in order to get this again."""

    def __post_init__(self) -> None:
        if not self.greedy_returns and not self.stochastic_returns:
            raise FormatError(f"result of {self.agent!r}: it has no episodes; evaluate at least one")
        if (self.updates or 0) < 0 or (self.train_seconds or 0) < 0 or min(self.seed, self.evaluation_seed) < 0:
            raise FormatError(f"result of {self.agent!r}: seeds, updates and seconds are counted from 0")
        for kind, returns, lengths in (
            ("greedy", self.greedy_returns, self.greedy_lengths),
            ("stochastic", self.stochastic_returns, self.stochastic_lengths),
        ):
            if lengths and (len(lengths) != len(returns) or min(lengths) < 1):
                raise FormatError(
                    f"result of {self.agent!r}: {kind}_lengths: expected {len(returns)} numbers of steps from 1 on, "
                    "one for each return"
                )

    @property
    def mean(self) -> float:
        """Mean greedy return (stochastic if no greedy episode was played)."""
        return float(np.mean(self.greedy_returns or self.stochastic_returns))

    @property
    def stochastic_mean(self) -> float | None:
        """Mean return of sampled play."""
        return float(np.mean(self.stochastic_returns)) if self.stochastic_returns else None

    def normalised(self, value: float) -> float | None:
        """A return on the scale random = 0, expert = 100; never clamped. None without references."""
        if self.random_reference is None or self.expert_reference is None:
            return None
        if self.expert_reference == self.random_reference:
            return None
        return PERCENT * (value - self.random_reference) / (self.expert_reference - self.random_reference)


def result_key(result: Result) -> Path:
    """Relative path of the run a result belongs to: one per dataset, agent@preset, run hash and seed."""
    return run_key(result.agent, result.preset, result.dataset or result.env_id, result.run or "no-run", result.seed)


def result_file(key: Path, directory: Path | None = None) -> Path:
    """Where the result of a run is stored, under the results folder or another."""
    return (directory or results_dir()) / key.with_name(f"{key.name}.json")


def save_result(result: Result, directory: Path | None = None) -> Path:
    """Store a result under the results folder (or another), replacing one of the same run and seed.

    Raises:
        OffmarlError: the place cannot be written.
    """
    path = result_file(result_key(result), directory)
    write_record(path, result)
    return path


def load_result(path: Path) -> Result:
    """Read one result file. Raises FormatError on anything that is not exactly a result."""
    return read_record(Result, path)


def result_files(directory: Path) -> list[Path]:
    """Where results are in a folder of results, or in one of submissions, which hold other records as well."""
    bundles = sorted(directory.glob(f"*/{SUBMISSION}"))
    found = [p for b in bundles for p in (b.parent / RESULTS).glob("*.json")] if bundles else directory.rglob("*.json")
    return sorted(found)


def load_results(directory: Path | None = None) -> list[Result]:
    """All results under the results folder (or another), in the order of their paths; a bad file is skipped aloud."""
    found = []
    for path in result_files(directory or results_dir()):
        try:
            found.append(load_result(path))
        except FormatError as e:
            log.warning("left out: %s", e)
    return found


def of_datasets(results: Iterable[Result], datasets: Iterable[str]) -> list[Result]:
    """Only the results on these datasets.

    Args:
        results: stored ones.
        datasets: ids, without a version the newest that has results; or paths of files without an id.

    Raises:
        UnknownName: there are results, but none on one of these.
    """
    found = list(results)
    known = {r.dataset for r in found if r.dataset is not None}
    wanted = {newest_among(Path(d).stem if d.endswith(SUFFIX) and d not in known else d, known) for d in datasets}
    _all_known("dataset with results", wanted, known)
    return [r for r in found if r.dataset in wanted]


def of_agents(results: Iterable[Result], agents: Iterable[str]) -> list[Result]:
    """Only results of these agents, whatever their settings. Raises UnknownName if there are others, not these."""
    found, wanted = list(results), set(agents)
    _all_known("agent with results", wanted, {r.agent for r in found})
    return [r for r in found if r.agent in wanted]


def of_budget(results: Iterable[Result], budget: str | int) -> list[Result]:
    """Only the results of runs of this length. Raises UnknownName if there are others but not these."""
    found = list(results)
    _all_known("budget with results", {str(budget)}, {str(r.budget) for r in found})
    return [r for r in found if str(r.budget) == str(budget)]


def _all_known(what: str, wanted: set[str], known: set[str]) -> None:
    for name in sorted(wanted - known) if known else ():
        raise registry.unknown(what, name, sorted(known))
