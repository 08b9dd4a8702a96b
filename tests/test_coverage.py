"""State-action coverage against counting by hand and against numpy's slow way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from offmarl_bench.coverage import coverage, row_hashes, step_rows
from offmarl_bench.loader import Dataset
from tests.toy_data import SPEC, expert_episodes


def of(data: Dataset) -> tuple[float, tuple[float, ...], float]:
    found = coverage(data.columns, data.row_starts, data.lengths, data.spec.N)
    return found.joint, found.agents, found.unique_episodes


def test_every_step_new_is_1_and_a_dataset_written_twice_is_a_half() -> None:
    episodes = expert_episodes(8)
    for k, episode in enumerate(episodes):  # a number of its own in every row
        episode.state[:, 0] = np.arange(len(episode.state)) + 100 * k
        episode.observations[:, :, 0] = np.arange(len(episode.state))[:, None] + 100 * k
    once, twice = (Dataset.from_episodes(episodes * n, SPEC) for n in (1, 2))
    assert of(once) == (1.0, (1.0,) * SPEC.N, 1.0)
    assert of(twice) == (0.5, (0.5,) * SPEC.N, 0.5)


def test_by_hand() -> None:
    episode = expert_episodes(1)[0]
    episode.state[:] = 0
    episode.observations[:] = 0
    episode.actions[:] = 0
    episode.actions[3, 1] = 1  # one step of eight in which a2 does something else
    data = Dataset.from_episodes([episode], SPEC)
    assert len(episode) == 8
    assert of(data) == (2 / 8, (1 / 8, 2 / 8, 1 / 8, 1 / 8), 1.0)


def test_an_episode_that_differs_in_its_rewards_or_its_end_only_is_no_copy() -> None:
    a = expert_episodes(1)[0]
    last = a.state.copy()
    last[-1] += 1
    others = [replace(a, rewards=a.rewards + 1), replace(a, state=last)]
    assert of(Dataset.from_episodes([a, *others], SPEC))[2] == 1.0
    assert of(Dataset.from_episodes([a, *others, a], SPEC))[2] == 3 / 4


def test_a_view_is_described_and_not_what_lies_between_its_episodes() -> None:
    data = Dataset.from_episodes(expert_episodes(6), SPEC)
    view = Dataset(SPEC, data.columns, data.row_starts[[1, 4]], data.lengths[[1, 4]])
    alone = Dataset.from_episodes([data[1], data[4]], SPEC)
    assert of(view) == of(alone)
    assert step_rows(view.row_starts, view.lengths).tolist() == [*range(9, 17), *range(36, 44)]


@pytest.mark.parametrize("seed", range(3))
def test_hashes_agree_with_sorting_all_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    obs = rng.integers(0, 2, (500, 3, 4)).astype(np.float32) / 7
    actions = rng.integers(0, 2, (500, 3)).astype(np.int32)
    rows = rng.permutation(500)[:400]
    hashes = row_hashes(obs, actions, rows=rows, groups=3)
    for i in range(3):
        pairs = np.concatenate([obs[rows, i], actions[rows, i, None]], 1)
        assert len(np.unique(hashes[:, i])) == len(np.unique(pairs, axis=0))
    whole = np.concatenate([obs[rows].reshape(400, -1), actions[rows]], 1)
    assert len(np.unique(row_hashes(obs, actions, rows=rows))) == len(np.unique(whole, axis=0))


def test_minus_zero_is_zero_and_the_last_bit_counts() -> None:
    state = np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, np.nextafter(np.float32(1), np.float32(2))]], np.float32)
    first, same, other = row_hashes(state, rows=np.arange(3))[:, 0]
    assert first == same != other


def test_the_order_of_numbers_and_of_columns_counts() -> None:
    a, b = np.array([[1, 2]], np.int32), np.array([[2, 1]], np.int32)
    row = np.zeros(1, np.int64)
    assert row_hashes(a, rows=row) != row_hashes(b, rows=row)
    assert row_hashes(a, b, rows=row) != row_hashes(b, a, rows=row)
