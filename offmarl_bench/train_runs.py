"""Train one agent on one dataset with several seeds, as ``evaluate`` would, without scoring.

The runs lie where ``evaluate`` looks for them, so training first and evaluating later repeats nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from offmarl_bench import registry
from offmarl_bench.budget import Budget, parse_budget
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.evaluation import plan_jobs
from offmarl_bench.executors import Executor
from offmarl_bench.jobs import Failed, forget, train_job, watched
from offmarl_bench.scoring import EPISODES


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
    wandb: str | None = None,
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
        progress: show bars on stderr if that is a terminal.
        wandb: project of Weights & Biases that gets the metrics as well.

    Returns:
        The folder of each run, in the order of the seeds.

    Raises:
        UnknownName, FormatError, SpecMismatch: a request that cannot work, before anything is trained.
        OffmarlError: a run that failed.
    """
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not chosen or min(chosen) < 0:
        raise FormatError(f"seeds {chosen}: expected at least one, counted from 0")
    alone = workers == 1 and executor is None
    jobs = plan_jobs(
        [agent], [dataset], chosen, preset, overrides or {}, parse_budget(budget), EPISODES, device, progress and alone,
        wandb,
    )  # fmt: skip
    runner: Executor = executor or registry.resolve("executors", "local")(workers)
    with watched(jobs, progress and not alone) as bar:
        for outcome in runner.map(train_job, jobs):
            bar.update()
            if isinstance(outcome, Failed):
                raise OffmarlError(f"{agent} on {dataset}, seed {outcome.job.seed}: {outcome.message}")
    forget()
    return [job.run_dir for job in jobs]
