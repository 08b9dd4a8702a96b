"""How long an update takes, and how much of that the arithmetic needs: every phase of every agent, on one core.

Episodes all have the same length here, so that a number means something to somebody who has other data; they are
noise, which costs as much to learn from as anything else. Seconds are counted twice, by the clock and by the processor:
on a machine that others use as well, the second is nearer to what an idle one would show (not equal: caches are
shared). The share of the core's own rate at multiplying matrices is by the processor on both sides; what is missing
from 100 % is overhead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from offmarl_bench import registry
from offmarl_bench.agent import Phase, make_agent, make_config
from offmarl_bench.bench import TICK, WARM_UP, Measurement, measure_rate, one_core
from offmarl_bench.envs import get_spec
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.loader import Dataset
from offmarl_bench.seeding import generator
from offmarl_bench.types import EnvSpec, Episode

LENGTHS = (60, 120)
"""Steps of every episode; 2s3z's own play lasts 50 to 60 of at most 120."""
EPISODES = 128
"""Episodes to draw batches from."""
MATRIX = 512
"""Rows and columns of the matrices whose product measures the core: large enough for full speed, small for caches."""
ILLEGAL = 0.3
"""Share of actions that are illegal at random."""
GIGA = 1e9


def noise(spec: EnvSpec, length: int, episodes: int, generator: np.random.Generator) -> Dataset:
    """Episodes of exactly ``length`` steps without any meaning, for the clock only.

    Args:
        spec: sizes; its own horizon does not matter.
        length: T.
        episodes: how many.
        generator: the only source of randomness.
    """
    made = []
    for _ in range(episodes):
        legal = None
        if spec.discrete:
            legal = generator.random((length + 1, spec.N, spec.A)) > ILLEGAL
            legal[..., :2] = True  # at least two, or the agent would count as dead
            actions = (generator.random(legal[:-1].shape) * legal[:-1]).argmax(-1).astype(np.int32)
        else:
            actions = generator.uniform(-1, 1, (length, spec.N, spec.A)).astype(np.float32)
        made.append(
            Episode(
                actions=actions,
                rewards=generator.normal(size=length).astype(np.float32),
                observations=generator.normal(size=(length + 1, spec.N, spec.O)).astype(np.float32),
                state=generator.normal(size=(length + 1, spec.S)).astype(np.float32),
                legal_actions=legal,
                terminal=True,
                behavior_level=np.zeros((length, spec.N), np.int8),
            )
        )
    return Dataset.from_episodes(made, spec)


def matrix_rate(seconds: float) -> float:
    """Floating-point operations a second of one core multiplying float32 matrices."""
    a, b = torch.ones(MATRIX, MATRIX), torch.ones(MATRIX, MATRIX)
    with one_core():
        count, _, busy = measure(lambda: a @ b, seconds)
    return 2 * MATRIX**3 * count / busy


def measure(work: Callable[[], object], seconds: float) -> tuple[int, float, float]:
    """How often ``work`` ran within about ``seconds`` after a warm-up, the time by the clock, and by the processor."""
    for _ in range(WARM_UP):
        work()
    started = time.process_time()
    count, elapsed = measure_rate(work, seconds, warm_up=0)
    return count, elapsed, max(time.process_time() - started, TICK)


def operations(phase: Phase, generator: np.random.Generator) -> int:
    """Floating-point operations of the matrix products in one update."""
    batch = phase.batches(generator)
    with FlopCounterMode(display=False) as counter:
        phase.update(batch)
    return int(counter.get_total_flops())


def players(env_id: str) -> list[str]:
    """The registered agents that can play this environment: some know discrete or continuous actions only."""
    spec, found = get_spec(env_id), []
    for name in registry.names("agents"):
        try:
            make_agent(name, spec)
        except SpecMismatch:
            continue
        found.append(name)
    return found


def bench_train(
    agents: Sequence[str],
    env_id: str,
    *,
    lengths: Sequence[int] = LENGTHS,
    seconds: float = 5.0,
    seed: int = 0,
    device: str = "cpu",
) -> list[Measurement]:
    """Seconds an update of every phase of every agent, batches included, and the share of the core's matrix rate.

    A phase whose length is given by the data is run once, whole, and timed by its updates.

    Args:
        agents: registered names, each ``NAME`` or ``NAME@PRESET``.
        env_id: whose sizes the data has.
        lengths: steps of the episodes.
        seconds: how long each rate is measured.
        seed: of the data and the weights.
        device: where to train.

    Raises:
        UnknownName, SpecMismatch: no such agent or environment, or an agent that cannot play it.
    """
    spec, rows = get_spec(env_id), []
    for name in agents:  # raises now, not after half a minute of measuring
        chosen, _, preset = name.partition("@")
        make_config(chosen, env_id, preset or "default")
    rate = matrix_rate(seconds)
    for length in lengths:
        data = noise(spec, length, EPISODES, generator(seed, "bench"))
        for name in agents:
            rows += _agent_rows(name, data, length, rate, seconds, seed, device)
    return rows


def _agent_rows(
    name: str, data: Dataset, length: int, rate: float, seconds: float, seed: int, device: str
) -> list[Measurement]:
    chosen, _, preset = name.partition("@")
    agent = make_agent(chosen, data.spec, preset=preset or "default", seed=seed, device=device)
    agent.train()
    g, rows = generator(seed, "bench"), []
    with one_core(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for phase in agent.phases(data):
            started, busy = time.perf_counter(), time.process_time()
            phase.start()
            where = f"{name} {phase.name}, T = {length}, sizes of {data.spec.id} ({device})"
            if not phase.scalable:
                for _ in range(phase.steps):
                    phase.update(phase.batches(g))
                elapsed = time.perf_counter() - started
                busy = time.process_time() - busy
                rows.append(_row(where, elapsed / phase.steps, "s/update", elapsed))
                rows.append(_row(where, busy / phase.steps, "CPU-s/update", busy))
                continue
            count, elapsed, busy = measure(lambda p=phase: p.update(p.batches(g)), seconds)  # type: ignore[misc]
            rows.append(_row(where, elapsed / count, "s/update", elapsed))
            rows.append(_row(where, busy / count, "CPU-s/update", busy))
            if device == "cpu":
                share = operations(phase, g) * count / busy / rate
                rows.append(
                    _row(f"{where}: of {rate / GIGA:.0f} GFLOP/s of matrix products", 100 * share, "%", elapsed)
                )
    return rows


def _row(case: str, value: float, unit: str, seconds: float) -> Measurement:
    return Measurement(bench="train", case=case, value=value, unit=unit, threads=1, seconds=seconds)
