"""The one trainer: runs an agent's phases with progress, log, checkpoints and resume.

A run that was killed and started again ends with the same weights, bit for bit on the CPU, as one that never stopped:
all randomness comes from one generator (and torch's own, seeded here and stored with it), and everything is done
with one thread. One thread, because sums split over threads round differently from machine to machine, and because
networks of this size are slower with more; parallelism belongs to whole runs.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from offmarl_bench import provenance
from offmarl_bench.agent import Agent, Metrics, Phase
from offmarl_bench.alone import alone_in
from offmarl_bench.budget import Budget, parse_budget, steps_of
from offmarl_bench.checkpoint import Position, delete_checkpoints, load_checkpoint, save_checkpoint
from offmarl_bench.errors import OffmarlError, SpecMismatch
from offmarl_bench.logs import RunLog, read_log
from offmarl_bench.memory import keep_freed_memory
from offmarl_bench.records import json_digest
from offmarl_bench.runs import Plan, RunRecord, check_same, config_json, is_finished, load_into, write_agent
from offmarl_bench.seeding import generator as seeded
from offmarl_bench.seeding import sequence
from offmarl_bench.stages import Stage
from offmarl_bench.wandb_log import WandbLog

if TYPE_CHECKING:
    from offmarl_bench.loader import Dataset

log = logging.getLogger(__name__)

CHECKPOINT_EVERY = 1000
"""Updates between checkpoints: under a minute of work to lose."""
LOG_EVERY = 100
"""Updates between log lines; only here is a loss copied to the host and checked."""
Probe = Callable[[Agent], float]
"""Plays the agent as it is and returns its mean return. Has randomness of its own: training must not notice it."""
PROBES = 10
"""Points of the learning curve, evenly spaced over the last phase."""
WANDB_ID_DIGITS = 16
"""Hexadecimal digits of a run's id with Weights & Biases."""
TORCH_STREAM = 1
"""Path under the purpose ``train`` of the seed of torch's own generator."""


class _CtrlC:
    """Turns the first Ctrl-C into a flag, so that no update is cut in half; the second one stops at once."""

    def __init__(self) -> None:
        self.pressed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Only in the main thread, and only where Python's own handler is in place."""
        mine = threading.current_thread() is threading.main_thread()
        if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return
        signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside, and what it used before outside."""
    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Interval:
    """Sums of the metrics since the last log line; nothing is copied to the host until ``means``."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: Metrics) -> None:
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + (value.detach() if isinstance(value, Tensor) else value)
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        found = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return found


class _Run:
    """One pass over the phases, from wherever the folder's checkpoint is."""

    def __init__(
        self, agent: Agent, phases: list[Phase], plan: Plan, run_dir: Path, checkpoint_every: int, log_every: int,
        probe: Probe | None, wandb: str | None, stages: Path | None,
    ) -> None:  # fmt: skip
        self.agent, self.phases, self.plan, self.run_dir = agent, phases, plan, run_dir
        self.stage = Stage.of(agent, phases[0].common, plan, stages)
        self.checkpoint_every, self.log_every, self.probe, self.wandb = checkpoint_every, log_every, probe, wandb
        self.steps = [steps for _, steps in plan.phases]
        self.generator = seeded(plan.seed, "train")
        self.interval = _Interval()
        self.ctrl_c = _CtrlC()

    def go(self, progress: bool) -> Position:
        """Train to the end; returns the final position."""
        with ExitStack() as stack:
            stack.enter_context(one_thread())
            stack.enter_context(torch.random.fork_rng(devices=[]))
            torch.manual_seed(int(sequence(self.plan.seed, "train", TORCH_STREAM).generate_state(1, np.uint64)[0]))
            at, taken = load_checkpoint(self.run_dir, self.agent, self.generator), []
            if at is None and self.stage is not None:
                at, taken = self.stage.take(self.generator) or (None, [])
            at = at or Position()
            if at.phase > len(self.phases) or (at.phase < len(self.phases) and at.step > self.steps[at.phase]):
                raise OffmarlError(f"{self.run_dir}: the checkpoint is at {at}, beyond this run; delete the folder")
            done = sum(self.steps[: at.phase]) + at.step
            if done:
                log.info(
                    "%s %s at update %d of %d", self.run_dir,
                    f"takes {self.phases[0].name!r} from another run and starts" if taken else "resumes",
                    done, sum(self.steps),
                )  # fmt: skip
            wandb = None if self.wandb is None else _wandb(self.wandb, self.plan, self.run_dir)
            self.log = stack.enter_context(RunLog(self.run_dir, done, wandb))
            for row in taken:
                self.log.again(row)
            self.bar = stack.enter_context(
                tqdm(total=sum(self.steps), initial=done, unit="update", disable=None if progress else True)
            )
            stack.enter_context(self.ctrl_c.watch())
            self.since, self.seconds_before = time.perf_counter(), at.seconds
            self.agent.train()
            for index in range(at.phase, len(self.phases)):
                self._phase(index, at.step if index == at.phase else 0)
            self.agent.eval()
            return Position(phase=len(self.phases), seconds=self._seconds())

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.since

    def _phase(self, index: int, step: int) -> None:
        phase, last = self.phases[index], self.steps[index]
        self.bar.set_description(f"{self.agent.name} seed {self.plan.seed} {phase.name}", refresh=False)
        phase.start()
        while step < last:
            self.interval.add(phase.update(phase.batches(self.generator)))
            step += 1
            self.bar.update()
            stop = self.ctrl_c.pressed
            save = step % self.checkpoint_every == 0 or step == last or stop
            if save or step % self.log_every == 0:
                self._report(index, step)
            if self.probe is not None and step in probe_steps(index, self.steps):
                self._look(index, step, self.probe)
            if save:
                self._save(index, step)
            if stop:
                total = sum(self.steps[:index]) + step
                log.warning(
                    "stopped at update %d of %d; the checkpoint is in %s, and the same command goes on from there",
                    total, sum(self.steps), self.run_dir,
                )  # fmt: skip
                raise KeyboardInterrupt

    def _report(self, index: int, step: int) -> None:
        phase, means = self.phases[index].name, self.interval.means()
        total = sum(self.steps[:index]) + step
        self.log.write(phase, step, total, self._seconds(), means)
        losses = {name: value for name, value in means.items() if "loss" in name}
        for name, value in losses.items():
            if not math.isfinite(value):
                self._diverged(f"{phase}/{name} became {value}", total)
        if losses:
            name, value = next(iter(losses.items()))
            self.bar.set_postfix_str(f"{name} {value:.4g}", refresh=False)

    def _look(self, index: int, step: int, probe: Probe) -> None:
        started = time.perf_counter()
        self.agent.eval()
        with torch.random.fork_rng(devices=[]):
            value = probe(self.agent)
        self.agent.train()
        self.since += time.perf_counter() - started  # training time is training time
        self.log.curve(sum(self.steps[:index]) + step, self._seconds(), value)

    def _save(self, index: int, step: int) -> None:
        total = sum(self.steps[:index]) + step
        for name, weight in self.agent.named_parameters():
            if not torch.isfinite(weight).all():
                self._diverged(f"weight {name} is no longer finite", total)
        over = step == self.steps[index]
        here = Position(phase=index + 1 if over else index, step=0 if over else step, seconds=self._seconds())
        save_checkpoint(self.run_dir, self.agent, self.generator, here)
        if over and index == 0 and self.stage is not None:
            self.stage.keep(self.generator, here.seconds, read_log(self.run_dir))

    def _diverged(self, what: str, total: int) -> None:
        raise OffmarlError(
            f"training of {self.agent.name} (seed {self.plan.seed}) stopped: {what} by update {total}; the last good "
            f"checkpoint is kept in {self.run_dir}; lower the learning rate, or check the data with "
            "`offmarl-bench verify`"
        )


def probe_steps(index: int, steps: list[int]) -> set[int]:
    """The updates of phase ``index`` after which the curve gets a point: ``PROBES`` of them, in the last phase only."""
    if index != len(steps) - 1:
        return set()
    return {round(steps[index] * k / PROBES) for k in range(1, PROBES + 1)} - {0}


def _wandb(project: str, plan: Plan, run_dir: Path) -> WandbLog:
    """The run's page in a project of Weights & Biases; the same plan finds the same page."""
    facts = asdict(plan)
    group = f"{plan.agent}@{plan.preset} {plan.dataset or 'unnamed data'}"
    return WandbLog(
        project, name=f"{group} seed {plan.seed}", group=group, run_id=json_digest(facts)[:WANDB_ID_DIGITS],
        directory=run_dir, config=facts,
    )  # fmt: skip


def _plan(agent: Agent, dataset: Dataset, phases: list[Phase], seed: int, budget: Budget) -> Plan:
    steps = steps_of(phases, budget)
    return Plan(
        agent=agent.name,
        preset=agent.preset,
        config=config_json(agent.config),
        spec=agent.spec.to_json(),
        dataset=dataset.metadata.get("dataset_id"),
        dataset_hash=dataset.metadata.get("content_hash"),
        episodes=len(dataset),
        seed=seed,
        budget=budget,
        phases=tuple((p.name, n) for p, n in zip(phases, steps, strict=True)),
    )


def train(
    agent: Agent,
    dataset: Dataset,
    run_dir: Path | str,
    *,
    seed: int,
    budget: Budget = "paper",
    checkpoint_every: int = CHECKPOINT_EVERY,
    log_every: int = LOG_EVERY,
    probe: Probe | None = None,
    progress: bool = True,
    wandb: str | None = None,
    stages: Path | None = None,
) -> Path:
    """Train an agent in place, leaving weights, record and log in ``run_dir``.

    The folder decides what happens: a finished run is loaded into ``agent`` and not repeated, an unfinished one goes
    on from its newest whole checkpoint, an empty one starts.

    Args:
        agent: freshly built (``make_agent(..., seed=seed)``), on the device to train on.
        dataset: what to learn from.
        run_dir: folder of this run alone.
        seed: decides every batch; use the agent's own.
        budget: ``paper``, ``quick``, or a number of updates over all scalable phases.
        checkpoint_every: updates between checkpoints.
        log_every: updates between log lines.
        probe: what the learning curve shows (``logs.read_curve``); None: no curve. Changes nothing else.
        progress: show a bar on stderr if that is a terminal.
        wandb: project of Weights & Biases that gets the metrics as well (needs the package); None: not asked for.
        stages: folder in which runs leave first phases that others have in common with them; None: share nothing.

    Returns:
        ``run_dir``.

    Raises:
        SpecMismatch: the data come from another environment than the agent was made for.
        OffmarlError: a loss or weight that is no longer finite, a folder that cannot be written, belongs to
            another run or is being trained in by another process, Weights & Biases that cannot start.
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is saved.
    """
    run_dir, budget = Path(run_dir), parse_budget(budget)
    mine, theirs = agent.spec, dataset.spec
    sizes = (mine.N, mine.O, mine.S, mine.A, mine.discrete), (theirs.N, theirs.O, theirs.S, theirs.A, theirs.discrete)
    if sizes[0] != sizes[1]:
        raise SpecMismatch(
            f"{agent.name} was made for {mine.id} (N, O, S, A, discrete = {sizes[0]}), but the data come from "
            f"{theirs.id} {sizes[1]}; build the agent with the dataset's spec"
        )
    phases = agent.phases(dataset)
    plan = _plan(agent, dataset, phases, seed, budget)
    check_same(plan, run_dir)
    if is_finished(run_dir):
        load_into(agent, run_dir)
        return run_dir
    with alone_in(run_dir, f"training in {run_dir}"):
        end = _Run(agent, phases, plan, run_dir, checkpoint_every, log_every, probe, wandb, stages).go(progress)
        record = RunRecord(
            plan=asdict(plan),
            updates=sum(n for _, n in plan.phases),
            seconds=round(end.seconds, 3),
            device=str(agent.device),
            versions=provenance.versions(),
            commit=provenance.commit(),
        )
        write_agent(run_dir, agent, record)
        delete_checkpoints(run_dir)
    return run_dir
