"""What every figure of the paper needs before it can be drawn: its datasets, and scored runs of some variants on them.

Datasets that are not here are generated from the shipped pools, finished runs are reused, and what cannot be had (a
pool that nobody has trained yet, a run that failed) is said in one line and left out: the rest is shown all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from offmarl_bench import registry
from offmarl_bench.agent import make_agent, make_config
from offmarl_bench.budget import Budget
from offmarl_bench.envs import get_spec
from offmarl_bench.errors import OffmarlError, SpecMismatch, UnknownName
from offmarl_bench.evaluation import plan_jobs, run_jobs
from offmarl_bench.executors import Executor
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.generate import generate
from offmarl_bench.ids import DatasetId, parse_dataset_id
from offmarl_bench.loader import find_dataset
from offmarl_bench.pool import load_pool
from offmarl_bench.recipes import named_recipe
from offmarl_bench.results import Result
from offmarl_bench.scoring import EPISODES
from offmarl_bench.types import EnvSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How everything of one figure is trained and scored."""

    seeds: int = 5
    budget: Budget = "paper"
    episodes: int = EPISODES
    """Greedy and as many sampled evaluation episodes a seed."""
    preset: str = "default"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Settings of every agent that has them."""
    workers: int = 1
    executor: str = "local"
    """Name of what runs are spread over."""
    device: str = "cpu"
    progress: bool = True
    wandb: str | None = None
    """Project of Weights & Biases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One bar of a figure: an agent with some settings of its own."""

    title: str
    agent: str
    overrides: Mapping[str, Any] = field(default_factory=dict)


def ready(datasets: Sequence[str], *, workers: int = 1, make: bool = True) -> tuple[list[str], list[str]]:
    """Which of these datasets are here, after generating those that can be.

    Args:
        datasets: ids or paths.
        workers: processes for generating.
        make: generate what is missing, at the paper's 10,000 episodes.

    Returns:
        The datasets that are here, and one line for each of the others.

    Raises:
        OffmarlError: none is here, or generating failed (disk full, another process at it).
    """
    there, missing = [], []
    for name in datasets:
        try:
            find_dataset(name)
        except UnknownName as absent:
            why = _made(parse_dataset_id(name), workers) if make else str(absent)
            if why:
                missing.append(f"left out {name}: {why}")
                continue
        there.append(name)
    if not there:
        raise OffmarlError(f"nothing to show: {'; '.join(missing)}")
    for line in missing:
        log.warning("%s", line)
    return there, missing


def _made(dataset: DatasetId, workers: int) -> str:
    """Generate a dataset; says why if it cannot be."""
    try:
        load_pool(dataset.env_id)
        named_recipe(dataset.env_id, dataset.quality)
    except UnknownName as e:
        return str(e)
    log.warning("%s is not here: generating it", dataset)
    generate(dataset.env_id, quality=dataset.quality, workers=workers)
    return ""


def spec_of(dataset: str) -> EnvSpec:
    """The environment of a dataset that is here. Raises what ``load_dataset`` does."""
    return read_metadata(find_dataset(dataset))[0]


def first_that_plays(agents: Sequence[str], env_id: str) -> str | None:
    """The first of these agents that is installed and can play this environment; None: none can."""
    spec = get_spec(env_id)
    for name in agents:
        try:
            make_agent(name, spec)
        except (UnknownName, SpecMismatch):
            continue
        return name
    return None


def _changed(agent: str, env_id: str, effort: Effort, own: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides that change something: what is as in the preset is that preset's run, and is not run twice."""
    known = type(make_config(agent, env_id, effort.preset)).__dataclass_fields__
    wanted = {name: value for name, value in effort.overrides.items() if name in known} | dict(own)
    plain = make_config(agent, env_id, effort.preset)
    return {name: value for name, value in wanted.items() if getattr(plain, name, None) != value}


def run_variants(
    variants: Sequence[Variant], dataset: str, effort: Effort
) -> tuple[dict[str, list[Result]], list[str]]:
    """Train and score variants on one dataset, all their seeds side by side.

    Args:
        variants: what to run.
        dataset: id or path of a dataset that is here.
        effort: how.

    Returns:
        The results of each variant by its title, and one line for each that failed.

    Raises:
        OffmarlError: all failed. UnknownName, FormatError: settings or presets that an agent does not have.
    """
    spec, alone = spec_of(dataset), effort.workers == 1 and effort.executor == "local"
    planned = {}
    for variant in variants:
        overrides = _changed(variant.agent, spec.id, effort, variant.overrides)
        planned[variant.title] = plan_jobs(
            [variant.agent], [dataset], range(effort.seeds), effort.preset, overrides, effort.budget, effort.episodes,
            effort.device, effort.progress and alone, effort.wandb,
        )  # fmt: skip
    once = {job.key: job for jobs in planned.values() for job in jobs}  # equal settings are one run
    runner: Executor = registry.resolve("executors", effort.executor)(effort.workers)
    results, errors = run_jobs(list(once.values()), runner, effort.progress and not alone)
    why = {failed.job.key: f"seed {failed.job.seed}: {failed.message}" for failed in errors}
    found, lines = {}, []
    for title, jobs in planned.items():
        wrong = [why[job.key] for job in jobs if job.key in why]
        if wrong:
            lines.append(f"left out {title} on {dataset}: {len(wrong)} of {len(jobs)} runs failed; {wrong[0]}")
        else:
            found[title] = [results[job.key] for job in jobs]
    if not found:
        raise OffmarlError(f"nothing to show: {'; '.join(lines)}")
    for line in lines:
        log.warning("%s", line)
    return found, lines
