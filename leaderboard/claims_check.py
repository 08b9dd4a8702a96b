"""Do the results of a submission belong together, and do they say of each other what is true?"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from leaderboard.bundle import RESULTS, SUBMISSION, Bundle, stem_of
from offmarl_bench import registry
from offmarl_bench.envs import get_spec
from offmarl_bench.errors import FormatError, UnknownName
from offmarl_bench.ids import parse_dataset_id
from offmarl_bench.results import Result
from offmarl_bench.runs import run_hash

SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_EPISODES = 10_000
MAX_RETURN = 1e9
TOLERANCE = 1e-9
"""How far a mean may be from the mean of the numbers it is of, in relation to them."""
STATED = 1e-5
"""The same for what a dataset states of itself, which may have been rounded."""
SHARED = (
    "config", "dataset_hash", "run", "budget", "updates", "backend", "random_reference", "expert_reference",
    "behavior_mean",
)  # fmt: skip
"""What does not depend on the seed."""
REFERENCES = ("random_reference", "expert_reference", "behavior_mean")

Known = Mapping[str, Mapping[str, Mapping[str, float | None]]]
"""Dataset id → content hash → the reference returns that are stated for it."""


def _same(a: float | None, b: float | None, tolerance: float = TOLERANCE) -> bool:
    return a == b if a is None or b is None else math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)


def _check_scores(result: Result, where: str) -> None:
    horizon = get_spec(result.env_id).horizon
    for kind, returns, rate, lengths in (
        ("greedy", result.greedy_returns, result.greedy_win_rate, result.greedy_lengths),
        ("stochastic", result.stochastic_returns, result.stochastic_win_rate, result.stochastic_lengths),
    ):
        if not 1 <= len(returns) <= MAX_EPISODES or not all(abs(x) <= MAX_RETURN for x in returns):
            raise FormatError(
                f"{where}: {kind}_returns: expected 1 to {MAX_EPISODES} returns of at most {MAX_RETURN:g}"
            )
        if rate is not None and not (0 <= rate <= 1 and _same(rate * len(returns), round(rate * len(returns)))):
            raise FormatError(f"{where}: {kind}_win_rate {rate} is no number of wins out of {len(returns)} episodes")
        if max(lengths, default=0) > horizon:
            raise FormatError(f"{where}: {kind}_lengths: {max(lengths)} steps, an episode has at most {horizon}")


def _check_dataset(result: Result, known: Known, where: str) -> None:
    dataset = parse_dataset_id(result.dataset or "")
    if dataset.version is None or result.env_id != dataset.env_id:
        raise FormatError(f"{where}: dataset {result.dataset!r} of {result.env_id!r}: expected 'suite/map/quality-vN'")
    if dataset.suite not in registry.names("environments"):  # before anything could import a suite spelled module:attr
        raise registry.unknown(f"suite in {where}:", dataset.suite, registry.names("environments"))
    get_spec(result.env_id)
    if not SHA256.fullmatch(result.dataset_hash or ""):
        raise FormatError(f"{where}: dataset_hash {str(result.dataset_hash)[:20]!r} is no SHA-256")
    published = known.get(str(dataset), {})
    if result.dataset_hash not in published:
        raise FormatError(
            f"{where}: no published {dataset} has content hash {str(result.dataset_hash)[:12]}…; train on a published "
            "version (`offmarl-bench datasets`); --local-datasets accepts those of this machine"
        )
    for name, value in published[result.dataset_hash or ""].items():
        if value is not None and not _same(value, getattr(result, name), STATED):
            raise FormatError(f"{where}: {name} is {getattr(result, name)}, but the dataset says {value}")


def _check_seeds(dataset: str, results: list[Result], where: str) -> None:
    seeds = sorted(r.seed for r in results)
    if seeds != list(range(len(seeds))):
        raise FormatError(
            f"{where}: seeds of {dataset} are {seeds[:10]}, expected 0 to {len(seeds) - 1}: none left out"
        )
    for name in SHARED:
        values = [getattr(r, name) for r in results]
        if any(v != values[0] for v in values):
            raise FormatError(f"{where}: {name} differs between the seeds of {dataset}; they must be one experiment")


def check_claims(bundle: Bundle, known: Known) -> None:
    """Refuse results that are incomplete, inconsistent, or of data that nobody knows.

    Args:
        bundle: as read.
        known: published datasets.

    Raises:
        FormatError: what is wrong. UnknownName: an environment that does not exist.
    """
    about = bundle.submission
    by_dataset: dict[str, list[Result]] = defaultdict(list)
    for stem, result in bundle.results.items():
        where = str(bundle.path / RESULTS / f"{stem}.json")
        try:
            _check_dataset(result, known, where)
        except UnknownName as e:
            raise FormatError(f"{where}: {e}") from e
        if stem != stem_of(result):
            raise FormatError(
                f"{where}: holds {result.dataset} seed {result.seed}, so it is called {stem_of(result)}.json"
            )
        for name in ("agent", "preset", "overrides"):
            if getattr(result, name) != getattr(about, name):
                raise FormatError(
                    f"{where}: {name} is {ascii(getattr(result, name))[:60]}, but the submission's is "
                    f"{ascii(getattr(about, name))[:60]}"
                )
        _check_scores(result, where)
        digest = run_hash(result.agent, result.config, result.budget or 0, result.dataset_hash)
        if result.run != digest:
            raise FormatError(
                f"{where}: run is {ascii(result.run)[:20]}, but settings, budget and data make {digest!r}"
            )
        by_dataset[result.dataset or ""].append(result)
    where = str(bundle.path / SUBMISSION)
    if set(about.claims) != set(by_dataset):
        raise FormatError(
            f"{where}: claims are about {sorted(about.claims)[:4]}, results about {sorted(by_dataset)[:4]}"
        )
    for dataset, results in by_dataset.items():
        _check_seeds(dataset, results, str(bundle.path))
        mean = float(np.mean([r.mean for r in results]))
        if not _same(about.claims[dataset], mean):
            raise FormatError(f"{where}: claims {about.claims[dataset]} on {dataset}, but its episodes' mean is {mean}")
