"""The conformance check of datasets finds what it promises to find: one deliberately broken stub per rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from offmarl_bench.errors import ConformanceError
from offmarl_bench.loader import Dataset
from offmarl_bench.testing import check_dataset
from offmarl_bench.testing.agent import trial_dataset


@pytest.fixture(scope="module")
def toy_data() -> Dataset:
    return trial_dataset()


def tampered(column: str, at: Any, value: Any) -> Callable[[Dataset], Dataset]:
    def change(data: Dataset) -> Dataset:
        columns = {k: v.copy() for k, v in data.columns.items()}
        columns[column][at] = value
        return Dataset(data.spec, columns, data.row_starts, data.lengths, data.metadata)

    return change


def illegal(data: Dataset) -> Dataset:
    columns = {k: v.copy() for k, v in data.columns.items()}
    columns["actions"][3] = columns["legal_actions"][3].argmin(-1)
    return Dataset(data.spec, columns, data.row_starts, data.lengths)


def hole(data: Dataset) -> Dataset:
    """One log-probability is missing although it is known who played."""
    known = tampered("behavior_policy", data.columns["is_last"] == 0, 5)(data)
    return tampered("behavior_logprob", (3, 0), np.nan)(known)


DATASETS: dict[str, tuple[Callable[[Dataset], Dataset], str]] = {
    "a missing column": (
        lambda d: Dataset(d.spec, {k: v for k, v in d.columns.items() if k != "state"}, d.row_starts, d.lengths),
        "column 'state' is missing",
    ),
    "another type": (
        lambda d: Dataset(d.spec, d.columns | {"state": d.columns["state"].astype(float)}, d.row_starts, d.lengths),
        "column 'state' has type float64",
    ),
    "NaN": (tampered("rewards", 2, np.nan), "column 'rewards' holds NaN"),
    "first": (tampered("is_first", 2, True), "is_first is wrong, first in row 2"),
    "last": (tampered("is_last", 8, False), "is_last is wrong, first in row 8"),
    "terminal inside": (tampered("is_terminal", 3, True), "is_terminal inside an episode, first in row 3"),
    "clock": (tampered("timestep", 4, 9), "timestep is wrong, first in row 4"),
    "ids": (tampered("episode_id", 5, 7), "one episode_id an episode: 1 rows, the first is episode 0, step 5"),
    "reward at the end": (
        tampered("rewards", 8, 1.0),
        "rewards of last rows are 0: 1 rows, the first is episode 0, step 8",
    ),
    "action at the end": (tampered("actions", 17, 1), "actions of last rows are 0: 1 rows, the first is episode 1"),
    "no such action": (tampered("actions", 2, 99), "actions outside 0 … 3: 1 step, the first is episode 0, step 2"),
    "illegal": (illegal, "illegal actions were taken: 1 step, the first is episode 0, step 3"),
    "nothing legal": (
        tampered("legal_actions", (3, 1), False),
        "an agent has no legal action: 1 step, the first is episode 0, step 3",
    ),
    "no such level": (
        tampered("behavior_level", 6, 3),
        "behavior_level from -1 to 2: 1 rows, the first is episode 0, step 6",
    ),
    "impossible": (
        tampered("behavior_logprob", 1, 0.5),
        "behavior_logprob at most 0: 1 rows, the first is episode 0, step 1",
    ),
    "another shape": (
        lambda d: Dataset(d.spec, d.columns | {"state": d.columns["state"][:, 1:]}, d.row_starts, d.lengths),
        r"column 'state' has shape",
    ),
    "level at the end": (
        tampered("behavior_level", 8, 0),
        "behavior_level of last rows is -1: 1 rows, the first is episode 0, step 8",
    ),
    "policy at the end": (tampered("behavior_policy", 8, 0), "behavior_policy of last rows is -1: 1 rows, the first"),
    "no such policy": (tampered("behavior_policy", 3, -2), "behavior_policy at least -1: 1 rows, the first is"),
    "a hole in what is known": (
        hole,
        "behavior_logprob finite: 1 rows, the first is episode 0, step 3",
    ),
    "an id twice": (tampered("episode_id", slice(9, 18), 0), "episode_id is not unique: 1 ids are used again"),
    "shared rows": (lambda d: Dataset(d.spec, d.columns, d.row_starts * 0, d.lengths), "two episodes share a row"),
    "beyond the end": (lambda d: Dataset(d.spec, d.columns, d.row_starts + 1, d.lengths), "an episode ends in row"),
    "too long": (
        lambda d: Dataset(replace(d.spec, horizon=7), d.columns, d.row_starts, d.lengths),
        "episodes beyond the horizon: 16 episodes, up to 8 of 7 steps",
    ),
    "no steps": (lambda d: Dataset(d.spec, d.columns, d.row_starts, d.lengths * 0), "an episode has no steps"),
    "empty": (lambda d: Dataset(d.spec, d.columns, d.row_starts[:0], d.lengths[:0]), "it has no episodes"),
    "no spec": (lambda d: Dataset(None, d.columns, d.row_starts, d.lengths), "spec is a NoneType"),  # type: ignore[arg-type]
}


def test_good_datasets_and_their_views_pass(toy_data: Dataset) -> None:
    check_dataset(toy_data)
    check_dataset(toy_data.episodes(min_return=float(np.median(toy_data.returns))))
    check_dataset(trial_dataset("toy/target"))


@pytest.mark.parametrize("fault", list(DATASETS))
def test_a_broken_dataset_is_found(fault: str, toy_data: Dataset) -> None:
    change, words = DATASETS[fault]
    with pytest.raises(ConformanceError, match=words):
        check_dataset(change(toy_data))
