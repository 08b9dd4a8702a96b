"""How fast data come into memory and out of it in batches, beside what others do with the same episodes.

Wall-clock and CPU time both: on a machine that others use as well, only the second says what the code costs. A ratio
compares two things that were measured one after the other in the same run.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from offmarl_bench.bench import BATCH, SECONDS, TICK, Measurement, measure_rate, one_core
from offmarl_bench.format.chunks import cores
from offmarl_bench.loader import Dataset, find_dataset, load_dataset
from offmarl_bench.seeding import generator

log = logging.getLogger(__name__)

LOADS = 3
"""A file is loaded this often; the best counts, since noise only ever adds."""
MINARI_EPISODES = 512
"""Minari is compared on the first so many episodes: it keeps a group of arrays for each."""
WINDOW = 10
MINARI_ID = "offmarl/bench-v0"


def _timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Least wall-clock and CPU seconds over a few runs; what a run made is let go before the next."""
    walls, busy = [], []
    for _ in range(LOADS):
        started, cpu = time.perf_counter(), time.process_time()
        made = work()
        walls.append(time.perf_counter() - started)
        busy.append(time.process_time() - cpu)
        del made
    return min(walls), max(min(busy), TICK)


def _plainly(path: Path) -> list[np.ndarray]:
    with h5py.File(path, "r") as file:
        return [file[name][()] for name in file]


def _rows(case: str, megabytes: float, threads: int, wall: float, cpu: float) -> list[Measurement]:
    row = Measurement(bench="load", case=case, value=megabytes / wall, unit="MB/s", threads=threads, seconds=wall)
    return [row, replace(row, value=megabytes / cpu, unit="MB/CPU-s", seconds=cpu)]


def _ratio(case: str, unit: str, value: float, threads: int, seconds: float) -> Measurement:
    return Measurement(bench="load", case=case, value=value, unit=unit, threads=threads, seconds=seconds)


def bench_load(dataset: str | Path, *, seconds: float = SECONDS, seed: int = 0) -> list[Measurement]:
    """Reading a file into memory and drawing batches from it, and the same by plain h5py and by Minari.

    Args:
        dataset: an id or a file.
        seconds: how long each rate of batches is measured.
        seed: which batches are drawn.

    Raises:
        UnknownName, FormatError: no such dataset, or a damaged one.
    """
    path = find_dataset(dataset)
    data = load_dataset(path)
    megabytes = sum(c.nbytes for c in data.columns.values()) / 1e6
    name = str(data.metadata.get("dataset_id") or path.name)
    few = _part(data)
    rates = _batches(data, name, seconds, seed)
    del data
    ours, plain = _timed(lambda: load_dataset(path)), _timed(lambda: _plainly(path))
    rows = [
        *_rows(f"{name}: whole file, {megabytes:.0f} MB in memory", megabytes, cores(), *ours),
        *_rows(f"{name}: the same by plain h5py", megabytes, 1, *plain),
        _ratio(f"{name}: ours over plain h5py", "times as fast", plain[0] / ours[0], cores(), ours[0]),
        _ratio(f"{name}: ours over plain h5py", "times as fast by CPU", plain[1] / ours[1], cores(), ours[1]),
        *rates,
    ]
    if importlib.util.find_spec("minari") is None:
        log.info("Minari is not installed, so not compared; pip install 'offmarl-bench[minari]'")
    else:
        rows += _minari(few, name, seconds, seed)
    log.info("OG-MARL's Vault is not compared: its package needs flashbax and JAX, which this project does not")
    return rows


def _part(data: Dataset) -> Dataset:
    """The first episodes, with columns of their own: the whole can be let go."""
    count = min(MINARI_EPISODES, len(data))
    rows = int(data.row_starts[count - 1] + data.lengths[count - 1] + 1)
    columns = {name: column[:rows].copy() for name, column in data.columns.items()}
    return Dataset(data.spec, columns, data.row_starts[:count], data.lengths[:count], {})


def _batches(data: Dataset, name: str, seconds: float, seed: int) -> list[Measurement]:
    rows = []
    with one_core():
        g = generator(seed, "bench")
        for case, window in (("episodes", None), (f"windows of {WINDOW}", WINDOW)):
            busy = time.process_time()
            count, elapsed = measure_rate(lambda w=window: data.sample(BATCH, generator=g, window=w), seconds)
            busy = max(time.process_time() - busy, TICK)
            row = _ratio(f"{name}: batches of {BATCH} {case}", "batches/s", count / elapsed, 1, elapsed)
            rows += [row, replace(row, value=count / busy, unit="batches/CPU-s", seconds=busy)]
    return rows


def _minari(data: Dataset, name: str, seconds: float, seed: int) -> list[Measurement]:
    """The same episodes as a file of ours and as a dataset of Minari's; it draws from the disk, we from memory."""
    megabytes = sum(c.nbytes for c in data.columns.values()) / 1e6
    label = f"{name}, {len(data)} episodes"
    with tempfile.TemporaryDirectory(prefix="offmarl-bench-") as folder:
        mine = data.save(Path(folder) / "ours.h5")
        there = data.to_minari(Path(folder) / "minari", dataset_id=MINARI_ID)
        theirs = import_module("minari").MinariDataset(there / "data")
        ours, load = _timed(lambda: load_dataset(mine)), _timed(lambda: list(theirs.iterate_episodes()))
        with one_core():
            g = generator(seed, "bench")
            count, elapsed = measure_rate(lambda: data.sample(BATCH, generator=g), seconds)
            theirs.set_seed(seed)
            other, needed = measure_rate(lambda: theirs.sample_episodes(BATCH), seconds)
    return [
        *_rows(f"{label}: all of them, {megabytes:.0f} MB", megabytes, cores(), *ours),
        *_rows(f"{label}: the same by Minari", megabytes, 1, *load),
        _ratio(f"{label}: ours over Minari", "times as fast", load[0] / ours[0], cores(), ours[0]),
        _ratio(f"{label}: ours over Minari", "times as fast by CPU", load[1] / ours[1], cores(), ours[1]),
        _ratio(f"{label}: {BATCH} episodes by Minari", "batches/s", other / needed, 1, needed),
        _ratio(
            f"{label}: batches, ours over Minari", "times as fast", (count / elapsed) / (other / needed), 1, elapsed
        ),
    ]
