"""One run of a benchmark: train it (or resume it, or find it finished), score it, store the result.

Jobs are plain values and ``run_job`` is a plain function, so that any executor can send them to other processes or
machines. A job that is killed and given again goes on where it was.
"""

from __future__ import annotations

import functools
import logging
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from offmarl_bench import provenance
from offmarl_bench.agent import make_agent
from offmarl_bench.budget import Budget
from offmarl_bench.envs import get_suite, split_id
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.home import results_dir, runs_dir
from offmarl_bench.loader import Dataset, find_dataset, load_dataset
from offmarl_bench.logs import read_curve, read_log
from offmarl_bench.records import read_record
from offmarl_bench.results import Result, load_result, result_file, save_result
from offmarl_bench.runs import PLAN, Plan, is_finished, load_agent, read_run, run_key
from offmarl_bench.scoring import curve_point, play
from offmarl_bench.stages import FOLDER as STAGES
from offmarl_bench.train import train

log = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
"""How often the bar looks at the logs of runs in other processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One agent to train on one dataset with one seed, and to score. Plain values: it travels between processes."""

    agent: str
    preset: str
    overrides: dict[str, Any]
    dataset: str
    """Id or path to load."""
    name: str
    """The dataset's own id."""
    env_id: str
    digest: str
    """Run hash."""
    seed: int
    budget: Budget
    episodes: int
    device: str
    bar: bool
    """Show a bar of its own."""
    command: str
    wandb: str | None = None
    """Project of Weights & Biases that gets the metrics as well."""
    played_in: str = ""
    """Suite to score in, where that is not the data's own."""

    @property
    def played_id(self) -> str:
        """Environment to score in."""
        return f"{self.played_in}/{split_id(self.env_id)[1]}" if self.played_in else self.env_id

    @property
    def key(self) -> Path:
        """Relative path of the run, and of its result."""
        return run_key(self.agent, self.preset, self.name, self.digest, self.seed)

    @property
    def run_dir(self) -> Path:
        """Where it is trained."""
        return runs_dir() / self.key

    @property
    def stages(self) -> Path:
        """Where runs on this dataset leave what others have in common with them."""
        return self.run_dir.parents[2] / STAGES


class Failed(NamedTuple):
    """A job that ended with an error, so that the others can go on."""

    job: Job
    message: str


@functools.lru_cache(maxsize=1)
def _loaded(dataset: str) -> Dataset:
    """The dataset a worker is busy with: jobs come in order of dataset, so each process holds one at a time."""
    return load_dataset(dataset)


def forget() -> None:
    """Let go of the dataset that this process holds."""
    _loaded.cache_clear()


def _references(job: Job) -> dict[str, Any]:
    """Reference scores and the behaviour's mean, as the dataset states them; the mean is computed where it does not."""
    _, metadata = read_metadata(find_dataset(job.dataset))
    keys = {
        "random_reference": "reference_random",
        "expert_reference": "reference_expert",
        "behavior_mean": "return_mean",
    }
    found: dict[str, Any] = {}
    for name, key in keys.items():
        value = metadata.get(key)
        found[name] = float(value) if isinstance(value, int | float) and math.isfinite(value) else None
    if found["behavior_mean"] is None:
        found["behavior_mean"] = float(_loaded(job.dataset).returns.mean())
    return found


def _facts(job: Job) -> dict[str, Any]:
    """Everything a result says but the scores."""
    plan, record = read_run(job.run_dir)
    return {
        "agent": job.agent,
        "preset": job.preset,
        "overrides": job.overrides,
        "config": plan.config,
        "env_id": job.played_id,
        "dataset": job.name,
        "dataset_hash": plan.dataset_hash,
        "run": job.digest,
        "seed": job.seed,
        "evaluation_seed": job.seed,
        "budget": job.budget,
        "updates": record.updates,
        "train_seconds": record.seconds,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "backend": get_suite(split_id(job.played_id)[0]).backend(),
        "command": job.command,
    }


def _stored(job: Job, facts: Mapping[str, Any]) -> Result | None:
    """The stored result of the same run, if playing again would only repeat it."""
    path = result_file(job.key, results_dir(job.played_in))
    if not path.exists():
        return None
    try:
        old = load_result(path)
    except FormatError as e:
        log.warning("scored again: %s", e)
        return None
    if any(getattr(old, name) != value for name, value in facts.items() if name != "command"):
        return None
    counts = {len(x) for x in (old.greedy_returns, old.greedy_lengths, old.stochastic_returns, old.stochastic_lengths)}
    return old if counts == {job.episodes} else None


def train_job(job: Job) -> Path | Failed:
    """Train one run if it is not finished; returns its folder."""
    try:
        if not is_finished(job.run_dir):
            dataset = _loaded(job.dataset)
            agent = make_agent(
                job.agent, dataset.spec, preset=job.preset, seed=job.seed, device=job.device, **job.overrides
            )
            train(
                agent, dataset, job.run_dir, seed=job.seed, budget=job.budget, progress=job.bar, wandb=job.wandb,
                probe=lambda trained: curve_point(trained, job.env_id, job.seed), stages=job.stages,
            )  # fmt: skip
        return job.run_dir
    except OffmarlError as e:
        return Failed(job, str(e))


def run_job(job: Job) -> Result | Failed:
    """Train one run if it is not finished, score it greedily and sampled, store and return the result."""
    trained = train_job(job)
    if isinstance(trained, Failed):
        return trained
    try:
        facts = _facts(job)
        return _stored(job, facts) or _score(job, facts)
    except OffmarlError as e:
        return Failed(job, str(e))


def _score(job: Job, facts: Mapping[str, Any]) -> Result:
    agent = load_agent(job.run_dir, job.device)
    best, sampled = (play(agent, job.played_id, job.episodes, job.seed, greedy) for greedy in (True, False))
    result = Result(
        **facts,
        **_references(job),
        greedy_returns=tuple(best.returns.tolist()),
        stochastic_returns=tuple(sampled.returns.tolist()),
        greedy_win_rate=best.win_rate,
        stochastic_win_rate=sampled.win_rate,
        greedy_lengths=tuple(best.lengths.tolist()),
        stochastic_lengths=tuple(sampled.lengths.tolist()),
        curve=tuple(read_curve(job.run_dir)),
    )
    save_result(result, results_dir(job.played_in))
    return result


@contextmanager
def watched(jobs: Sequence[Job], show: bool) -> Iterator[tqdm[Any]]:
    """A bar over whole runs whose text follows the logs of those that run in other processes."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(WATCH_SECONDS):
            texts = []
            for job in jobs:
                rows = [] if is_finished(job.run_dir) else read_log(job.run_dir)
                with suppress(FormatError):  # a plan that is not written yet
                    total = sum(n for _, n in read_record(Plan, job.run_dir / PLAN).phases) if rows else 0
                    texts += [f"{job.agent} seed {job.seed}: {rows[-1]['total']}/{total}"] if rows else []
            bar.set_postfix_str(", ".join(texts))

    with tqdm(total=len(jobs), unit="run", desc="runs", disable=None if show else True) as bar:
        thread = threading.Thread(target=look, daemon=True)
        if not bar.disable:
            thread.start()
        try:
            yield bar
        finally:
            done.set()
            if thread.is_alive():
                thread.join()
