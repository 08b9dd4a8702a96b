"""Train one agent on one dataset with several seeds, as ``evaluate`` would, without scoring.

The runs lie where ``evaluate`` looks for them, so training first and evaluating later repeats nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offmarl_bench import registry
from offmarl_bench.agent import make_agent, make_config
from offmarl_bench.budget import Budget, parse_budget
from offmarl_bench.errors import FormatError
from offmarl_bench.evaluate import Executor
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.home import runs_dir
from offmarl_bench.loader import find_dataset, load_dataset
from offmarl_bench.runs import config_json, is_finished, run_hash, run_key
from offmarl_bench.train import train


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One seed to train. Plain values: it travels between processes."""

    agent: str
    preset: str
    overrides: dict[str, Any]
    dataset: str
    """Id or path to load."""
    seed: int
    budget: Budget
    device: str
    run_dir: Path
    bar: bool


def run_task(task: Task) -> Path:
    """Train one seed (or resume it, or find it finished); returns its folder. Raises as ``train`` does."""
    if not is_finished(task.run_dir):
        dataset = load_dataset(task.dataset)
        agent = make_agent(
            task.agent, dataset.spec, preset=task.preset, seed=task.seed, device=task.device, **task.overrides
        )
        train(agent, dataset, task.run_dir, seed=task.seed, budget=task.budget, progress=task.bar)
    return task.run_dir


def train_runs(
    agent: str,
    dataset: str,
    *,
    seeds: int | Sequence[int] = 5,
    budget: Budget = "paper",
    preset: str = "default",
    overrides: Mapping[str, Any] | None = None,
    device: str = "cpu",
    workers: int = 1,
    executor: Executor | None = None,
    progress: bool = True,
) -> list[Path]:
    """Train an agent with every seed that has no finished run.

    Args:
        agent: registered name or ``module:attr``.
        dataset: id or path.
        seeds: how many (0, 1, …), or which.
        budget: ``paper``, ``quick`` or a number of updates.
        preset: of the agent's settings.
        overrides: config fields.
        device: torch device to train on.
        workers: seeds at the same time, one process each.
        executor: what runs them instead of ``workers`` local processes.
        progress: show a bar on stderr if that is a terminal (one worker only).

    Returns:
        The folder of each run, in the order of the seeds.

    Raises:
        UnknownName, FormatError, SpecMismatch: a request that cannot work, before anything is trained.
        OffmarlError: a run that failed.
    """
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not chosen or min(chosen) < 0:
        raise FormatError(f"seeds {chosen}: expected at least one, counted from 0")
    budget = parse_budget(budget)
    path = find_dataset(dataset)
    spec, metadata = read_metadata(path)
    config = config_json(make_config(agent, spec.id, preset, overrides))
    digest = run_hash(agent, config, budget, metadata.get("content_hash"))
    name = str(metadata.get("dataset_id") or path.stem)
    folders = [runs_dir() / run_key(agent, preset, name, digest, seed) for seed in chosen]
    tasks = [
        Task(
            agent=agent, preset=preset, overrides=dict(overrides or {}), dataset=dataset, seed=seed, budget=budget,
            device=device, run_dir=folder, bar=progress and workers == 1,
        )
        for seed, folder in zip(chosen, folders, strict=True)
    ]  # fmt: skip
    runner: Executor = executor or registry.resolve("executors", "local")(workers)
    for _ in runner.map(run_task, tasks):
        pass
    return folders
