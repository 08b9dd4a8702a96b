"""The index of imbalance, on levels whose gaps are worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offmarl_bench.imbalance import agent_quality, gap, imbalance, lasting_imbalance
from offmarl_bench.loader import Dataset
from tests.imbalanced_toy import imbalanced
from tests.toy_data import SPEC, expert_episodes

R, M, E, UNKNOWN = 0, 1, 2, -1


def cast_as(*rows: tuple[int, int, int, int]) -> Dataset:
    """A dataset of toy/signals (a1 a2 b1 b2) whose episodes say that these levels played."""
    episodes = [
        replace(episode, behavior_level=np.tile(np.array(row, np.int8), (SPEC.horizon, 1)))
        for episode, row in zip(expert_episodes(len(rows)), rows, strict=True)
    ]
    return Dataset.from_episodes(episodes, SPEC)


@pytest.mark.parametrize(
    ("row", "lead"),
    [
        ((R, R, R, R), 0.0),
        ((M, M, M, M), 0.0),
        ((E, E, E, E), 0.0),
        ((E, R, R, R), 1.0),  # 1 − (0 + 0 + 0) / 3
        ((R, R, M, R), 0.5),  # ½ − 0
        ((E, M, M, M), 0.5),  # 1 − ½
        ((E, E, R, R), 2 / 3),  # 1 − (1 + 0 + 0) / 3
        ((R, E, M, E), 0.5),  # 1 − (0 + ½ + 1) / 3
        ((E, E, E, R), 1 / 3),  # 1 − (1 + 1 + 0) / 3
    ],
)
def test_one_composition(row: tuple[int, int, int, int], lead: float) -> None:
    assert imbalance(cast_as(row)) == pytest.approx(lead)


def test_it_is_the_mean_over_the_episodes_and_lasting_if_the_leader_stays() -> None:
    same = cast_as((E, R, R, R), (E, R, R, R), (R, R, R, R), (E, E, E, E))
    assert imbalance(same) == pytest.approx(0.5)
    assert agent_quality(same) == (0.75, 0.25, 0.25, 0.25)
    assert lasting_imbalance(same) == pytest.approx(0.5)
    turns = cast_as((E, R, R, R), (R, E, R, R), (R, R, E, R), (R, R, R, E))
    assert imbalance(turns) == pytest.approx(1.0)
    assert agent_quality(turns) == (0.25,) * 4
    assert lasting_imbalance(turns) == pytest.approx(0.0)


def test_data_of_the_toy_task() -> None:
    data = imbalanced(64)  # half of the episodes [R, E, R, E]: 1 − (0 + 0 + 1) / 3
    assert imbalance(data) == pytest.approx(1 / 3)
    assert imbalance(data.episodes(level="expert", agent="a2")) == pytest.approx(2 / 3)


def test_episodes_that_do_not_say_who_played_are_left_out() -> None:
    assert imbalance(cast_as((E, R, R, R), (E, R, UNKNOWN, R), (R, R, R, R))) == pytest.approx(0.5)
    nobody = cast_as((UNKNOWN,) * 4)
    assert (imbalance(nobody), lasting_imbalance(nobody), agent_quality(nobody)) == (None, None, None)


@given(st.lists(st.lists(st.integers(0, 2), min_size=5, max_size=5), min_size=1, max_size=9))
def test_only_equals_have_none_and_only_one_expert_among_randoms_has_all(rows: list[list[int]]) -> None:
    quality = np.array(rows) / 2
    leads = gap(quality)
    for row, lead in zip(rows, leads, strict=True):
        assert -1e-12 <= lead <= 1 + 1e-12
        assert (lead < 1e-12) == (len(set(row)) == 1)
        assert (lead > 1 - 1e-12) == (sorted(row) == [0, 0, 0, 0, 2])
    assert gap(quality.mean(0)) <= leads.mean() + 1e-12


def test_a_team_of_one_is_balanced() -> None:
    assert gap(np.array([[1.0], [0.0]])).tolist() == [0.0, 0.0]
