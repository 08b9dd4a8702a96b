"""How fast it is: the engine, generation, loading and training, as numbers that somebody else can measure again.

Nothing here passes or fails. Every row says what was measured on how many threads with which versions; a row is one
line of JSON, so that rows of different machines and days can be laid side by side.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
from jaxtyping import Shaped

from offmarl_bench.envs import get_spec, get_suite, make_env, split_id
from offmarl_bench.envs.base import BatchedEnv
from offmarl_bench.executors import LocalExecutor
from offmarl_bench.generate import generate
from offmarl_bench.provenance import commit, versions
from offmarl_bench.seeding import generator
from offmarl_bench.train import one_thread
from offmarl_bench.types import EnvSpec, Start, Step

SECONDS = 5.0
"""How long a rate is measured by default."""
LANES = 256
"""Lanes of the engine benchmark: the shard size of ``generate``."""
SWEEP_LANES = (1, 16, 64, 256, 1024, 4096)
SWEEP_PROCESSES = (1, 2)
"""Lanes and processes of a sweep."""
EPISODES = 2048
"""Episodes generated and loaded by default: eight shards."""
BATCH = 32
"""Episodes per batch, as all agents train with."""
WARM_UP = 3
"""Updates before the clock starts."""
TICK = 1e-9
"""Seconds; keeps a rate finite where the clock of the CPU did not move."""
DIGITS = 6
"""Significant digits of a value in JSON: steps a second and thousandths of a second alike."""
LOADS = 3
"""A file is loaded this often; the best counts, since noise only ever adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One row."""

    bench: str
    """``engine``, ``generate``, ``load`` or ``train``."""
    case: str
    """What exactly."""
    value: float
    unit: str
    threads: int
    """Threads, or processes, that worked."""
    seconds: float
    """How long was measured."""

    def to_json(self) -> dict[str, Any]:
        """One JSON line: the row, and what it was measured with."""
        fields = ("bench", "case", "value", "unit", "threads", "seconds")
        row = {name: getattr(self, name) for name in fields}
        row["value"], row["seconds"] = float(f"{self.value:.{DIGITS}g}"), round(self.seconds, 3)
        return row | {"versions": versions(), "commit": commit()}


@contextmanager
def one_core() -> Iterator[None]:
    """One thread for torch and for compiled loops."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with one_thread():
            yield
    finally:
        numba.set_num_threads(before)


def random_legal(spec: EnvSpec, now: Start | Step, g: np.random.Generator) -> Shaped[np.ndarray, "B N *A"]:
    """Uniform legal actions for every lane: the largest of one random number per legal action."""
    shape = now.obs.shape[:2]
    if now.legal is None:
        return np.asarray(g.uniform(-1, 1, (*shape, spec.A)), np.float32)
    keys = g.random(now.legal.shape, np.float32)
    keys += now.legal  # a legal action's key is at least 1, an illegal one's below 1
    return np.asarray(keys.argmax(-1), np.int32)


def bench_engine(env_id: str, *, num_envs: int = LANES, seconds: float = SECONDS, seed: int = 0) -> list[Measurement]:
    """Environment steps per second on one core with random legal actions.

    Included: drawing the actions, observations, state, legal actions, rewards and resets. Counted: steps of episodes
    that still run; a finished lane that waits for the others is not work.

    Raises:
        UnknownName, FormatError: no such environment.
    """
    env = make_env(env_id, num_envs)
    with one_core():
        _play_batch(env, generator(seed, "bench"), 1)  # compiles
        g = generator(seed, "bench", 1)
        steps, started, busy = 0, time.perf_counter(), time.process_time()
        while (elapsed := time.perf_counter() - started) < seconds or not steps:
            steps += _play_batch(env, g, num_envs)
        busy = time.process_time() - busy
    backend = get_suite(split_id(env_id)[0]).backend()
    case = f"{env_id} {backend}, {num_envs} lanes, random legal actions"
    wall = Measurement(bench="engine", case=case, value=steps / elapsed, unit="env-steps/s", threads=1, seconds=elapsed)
    # On a machine that others use as well, this one is what the core can do.
    return [wall, replace(wall, value=steps / max(busy, TICK), unit="env-steps/CPU-s", seconds=busy)]


def _play_batch(env: BatchedEnv, g: np.random.Generator, lanes: int) -> int:
    """So many lanes from reset to the last end; returns the steps of running lanes."""
    now: Start | Step = env.reset(g.integers(2**63, size=lanes, dtype=np.uint64))
    running, steps = np.ones(lanes, bool), 0
    while running.any():
        steps += int(running.sum())
        now = after = env.step(random_legal(env.spec, now, g))
        running = ~(after.terminated | after.truncated)
    return steps


def sweep_engine(
    env_ids: Sequence[str], *, lanes: Sequence[int] = SWEEP_LANES, processes: Sequence[int] = SWEEP_PROCESSES,
    seconds: float = SECONDS,
) -> Iterator[Measurement]:  # fmt: skip
    """``bench_engine`` for every combination, one after the other.

    With several processes each plays all cases at the same time as the others: by the clock their steps add up, by
    the processor they are averaged.

    Raises:
        UnknownName, FormatError: no such environment.
    """
    cases = [(env_id, n, seconds) for env_id in env_ids for n in lanes]
    for env_id in env_ids:
        get_spec(env_id)
    for count in processes:
        if count == 1:
            for case in cases:
                yield from _engine_case(case)
            continue
        for rows in zip(*LocalExecutor(count).map(_engine_cases, [tuple(cases)] * count), strict=True):
            wall, busy = (sum(row[k].value for row in rows) for k in (0, 1))
            yield replace(rows[0][0], value=wall, threads=count)
            yield replace(rows[0][1], value=busy / count, threads=count)


def _engine_case(case: tuple[str, int, float]) -> list[Measurement]:
    env_id, lanes, seconds = case
    return bench_engine(env_id, num_envs=lanes, seconds=seconds)


def _engine_cases(cases: tuple[tuple[str, int, float], ...]) -> list[list[Measurement]]:
    """All cases in one process."""
    return [_engine_case(case) for case in cases]


def bench_generate(
    env_id: str, quality: str, *, episodes: int = EPISODES, workers: Sequence[int] = (1,), seed: int = 0
) -> list[Measurement]:
    """Episodes per second of ``generate``, start-up and writing included. Raises as ``generate`` does."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="offmarl-bench-") as folder:
        for n in workers:
            started = time.perf_counter()
            generate(
                env_id, quality=quality, episodes=episodes, seed=seed, workers=n,
                out=Path(folder) / f"{n}.h5", progress=False,
            )  # fmt: skip
            elapsed = time.perf_counter() - started
            rows.append(
                Measurement(
                    bench="generate",
                    case=f"{env_id}/{quality}, {episodes} episodes",
                    value=episodes / elapsed,
                    unit="episodes/s",
                    threads=n,
                    seconds=elapsed,
                )
            )
    return rows


def measure_rate(work: Any, seconds: float, warm_up: int = WARM_UP) -> tuple[int, float]:
    """How often ``work`` ran within about ``seconds``, after a warm-up."""
    for _ in range(warm_up):
        work()
    count, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        work()
        count += 1
    return count, elapsed
