"""Score agents by playing, and train those that have not been trained yet.

Greedy and sampled play are both scored: greedy play flatters the cloning of noisy data, sampled play is what the
data's own agents did.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from offmarl_bench import provenance, registry
from offmarl_bench.agent import Agent, make_config
from offmarl_bench.budget import Budget, parse_budget
from offmarl_bench.envs import EMBEDDED, backend_suite, get_spec, get_suite, split_id
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.executors import Executor
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.jobs import Failed, Job, forget, run_job, watched
from offmarl_bench.loader import find_dataset
from offmarl_bench.results import Result, result_key
from offmarl_bench.runs import config_json, run_hash
from offmarl_bench.scoring import EPISODES, play
from offmarl_bench.wandb_log import check_wandb

log = logging.getLogger(__name__)


def evaluate(agent: Agent, env_id: str, episodes: int = EPISODES, seed: int = 0, greedy: bool = True) -> Result:
    """Score an agent by playing.

    Args:
        agent: any agent, as trained as it is.
        env_id: ``suite/map``; must have the sizes the agent was made for.
        episodes: number of episodes.
        seed: master seed of the episodes; equal seeds mean equal starts.
        greedy: the policy's best action instead of a sampled one.

    Raises:
        SpecMismatch: the agent cannot play this environment. UnknownName: no such environment.
    """
    played = play(agent, env_id, episodes, seed, greedy)
    kind = "greedy" if greedy else "stochastic"
    scored: dict[str, Any] = {
        f"{kind}_returns": tuple(played.returns.tolist()),
        f"{kind}_win_rate": played.win_rate,
        f"{kind}_lengths": tuple(played.lengths.tolist()),
    }
    return Result(
        agent=agent.name,
        preset=agent.preset,
        config=config_json(agent.config),
        env_id=env_id,
        seed=seed,
        evaluation_seed=seed,
        versions=provenance.versions(),
        commit=provenance.commit(),
        backend=get_suite(split_id(env_id)[0]).backend(),
        **scored,
    )


def plan_jobs(
    agents: Sequence[str], datasets: Sequence[str], seeds: Sequence[int], preset: str,
    overrides: Mapping[str, Any], budget: Budget, episodes: int, device: str, bar: bool, wandb: str | None = None,
    backend: str = EMBEDDED,
) -> list[Job]:  # fmt: skip
    """All jobs, once everything that can be wrong with the request has been looked at."""
    if wandb is not None:
        check_wandb()
    jobs = []
    for given in datasets:
        path = find_dataset(given)
        spec, metadata = read_metadata(path)
        suite, map_name = split_id(spec.id)
        played_in = backend_suite(suite, backend)
        get_spec(spec.id)  # raises now, not after hours of training, if nothing can play it …
        get_spec(f"{played_in}/{map_name}")
        get_suite(played_in).backend()  # … and if the real game is not here
        name, content = str(metadata.get("dataset_id") or path.stem), metadata.get("content_hash")
        for wanted in agents:
            agent, _, own = wanted.partition("@")
            config = config_json(make_config(agent, spec.id, own or preset, overrides))
            command = ["offmarl-bench", "evaluate", agent, "--dataset", given, "--episodes", str(episodes)]
            command += ["--budget", str(budget), "--preset", own or preset]
            command += [] if backend == EMBEDDED else ["--backend", backend]
            command += [part for k, v in overrides.items() for part in ("--set", f"{k}={v}")]
            jobs += [
                Job(
                    agent=agent, preset=own or preset, overrides=dict(overrides), dataset=given, name=name,
                    env_id=spec.id, digest=run_hash(agent, config, budget, content), seed=seed, budget=budget,
                    episodes=episodes, device=device, bar=bar, wandb=wandb,
                    command=shlex.join([*command, "--seeds", str(seed + 1)]),
                    played_in="" if played_in == suite else played_in,
                )
                for seed in seeds
            ]  # fmt: skip
    return jobs


def run_jobs(jobs: Sequence[Job], runner: Executor, bar: bool) -> tuple[dict[Path, Result], list[Failed]]:
    """Run jobs, whoever planned them; results by ``Job.key``, and those that ended with an error.

    Args:
        jobs: different ones: two at the same run would be in each other's way.
        runner: what they are spread over.
        bar: show one over all of them on stderr if that is a terminal.
    """
    found: dict[Path, Result] = {}
    failed: list[Failed] = []
    with watched(jobs, bar) as progress:
        for outcome in runner.map(run_job, jobs):
            progress.update()
            if isinstance(outcome, Failed):
                failed.append(outcome)
                job = outcome.job
                log.warning("%s on %s, seed %d: %s", job.agent, job.name, job.seed, outcome.message)
            else:
                found[result_key(outcome)] = outcome
    forget()
    return found, failed


def benchmark(
    agents: Sequence[str],
    datasets: Sequence[str],
    *,
    seeds: int | Sequence[int] = 5,
    episodes: int = EPISODES,
    budget: Budget = "paper",
    workers: int = 1,
    executor: str | Executor = "local",
    preset: str = "default",
    overrides: Mapping[str, Any] | None = None,
    device: str = "cpu",
    progress: bool = True,
    wandb: str | None = None,
    backend: str = EMBEDDED,
) -> list[Result]:
    """Train what has no finished run, score everything, store and return the results.

    Runs are found by what decides them (see ``runs``): asking again resumes what was killed and repeats nothing.

    Args:
        agents: registered names; ``NAME@PRESET`` overrides ``preset`` for one of them.
        datasets: ids or paths.
        seeds: how many (0, 1, …), or which.
        episodes: greedy and as many sampled evaluation episodes per seed.
        budget: ``paper``, ``quick`` or a number of updates.
        workers: runs at the same time, one process and one torch thread each. Each holds its dataset in memory.
        executor: name of a registered executor, or one that is made.
        preset: of all agents that name none.
        overrides: config fields for every agent.
        device: torch device to train on.
        progress: show bars on stderr if that is a terminal.
        wandb: project of Weights & Biases that gets the metrics of what is trained as well.
        backend: what plays the final evaluation: ``embedded``, or ``sc2`` for the real game (suite ``smac-sc2``);
            agents are trained, and their curves made, as always.

    Returns:
        One result per (dataset, agent, seed), in that order.

    Raises:
        UnknownName, FormatError, SpecMismatch: a request that cannot work, before anything is trained.
        OffmarlError: some runs failed; the others are finished and stored.
    """
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not agents or not datasets or not chosen or min(chosen) < 0:
        raise FormatError(f"nothing to do: agents {list(agents)}, datasets {list(datasets)}, seeds {chosen}")
    alone = workers == 1 and executor == "local"
    jobs = plan_jobs(
        agents, datasets, chosen, preset, overrides or {}, parse_budget(budget), episodes, device, progress and alone,
        wandb, backend,
    )  # fmt: skip
    runner: Executor = registry.resolve("executors", executor)(workers) if isinstance(executor, str) else executor
    found, failed = run_jobs(jobs, runner, progress and not alone)
    if failed:
        job = failed[0].job
        raise OffmarlError(
            f"{len(failed)} of {len(jobs)} runs failed, the others are stored; the first: {job.agent} on {job.name}, "
            f"seed {job.seed}: {failed[0].message}"
        )
    return [found[job.key] for job in jobs]
