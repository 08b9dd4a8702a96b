"""The loader: batches against a plain loop, windows that never cross an episode, filters, sampling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from offmarl_bench.collate import collate
from offmarl_bench.errors import FormatError, SpecMismatch, UnknownName
from offmarl_bench.loader import Dataset
from offmarl_bench.types import LEVELS, EnvSpec, Episode

SPEC = EnvSpec(
    id="toy/x", agents=("a1", "a2", "b1"), agent_types=("a", "a", "b"), O=4, S=5, A=3, discrete=True, horizon=9
)
CONTINUOUS = EnvSpec(id="toy/y", agents=("a1", "a2"), agent_types=("a", "a"), O=4, S=5, A=2, discrete=False, horizon=9)


def episode(spec: EnvSpec, steps: int, seed: int, levels: tuple[int, ...] | None = None) -> Episode:
    g = np.random.default_rng(seed)
    n, a = spec.N, spec.A
    legal = g.random((steps + 1, n, a)) < 0.6
    legal[..., 1] = True
    return Episode(
        actions=np.ones((steps, n), np.int32) if spec.discrete else g.random((steps, n, a), np.float32),
        rewards=g.random(steps, np.float32),
        observations=g.random((steps + 1, n, spec.O), np.float32),
        state=g.random((steps + 1, spec.S), np.float32),
        legal_actions=legal if spec.discrete else None,
        terminal=seed % 2 == 0,
        behavior_level=None if levels is None else np.tile(np.array(levels, np.int8), (steps, 1)),
    )


@pytest.fixture
def dataset() -> Dataset:
    who = [(0, 0, 0), (0, 2, 1), (2, 2, 2), (1, 2, 0)]
    return Dataset.from_episodes([episode(SPEC, t, t, who[t % 4]) for t in (5, 2, 9, 1, 4)], SPEC, {"dataset_id": "x"})


def test_episodes_come_back_as_they_went_in(dataset: Dataset) -> None:
    given = episode(SPEC, 9, 9)
    got = dataset[2]
    for name in ("actions", "rewards", "observations", "state", "legal_actions"):
        np.testing.assert_array_equal(getattr(got, name), getattr(given, name))
    assert (len(dataset), len(got), got.index, got.terminal) == (5, 9, 2, False)
    assert dataset[-1].index == 4
    assert [len(e) for e in dataset] == [5, 2, 9, 1, 4]
    with pytest.raises(IndexError, match="episode 5 of a dataset with 5 episodes"):
        dataset[5]


def test_returns_are_sums_of_rewards(dataset: Dataset) -> None:
    np.testing.assert_allclose(dataset.returns, [e.episode_return for e in dataset])


@pytest.mark.parametrize("spec", [SPEC, CONTINUOUS], ids=["discrete", "continuous"])
@pytest.mark.parametrize("window", [None, 3])
def test_a_batch_equals_a_plain_loop(spec: EnvSpec, window: int | None) -> None:
    data = Dataset.from_episodes([episode(spec, t, t) for t in (5, 2, 9)], spec)
    indices, starts = [2, 1, 0, 2], np.array([0, 1, 4, 6])
    batch = data.batch(indices, starts=starts, window=window)
    ends = [min(len(data[k]), s + (window or 99)) for k, s in zip(indices, starts, strict=True)]
    longest = max(e - s for e, s in zip(ends, starts, strict=True))
    assert batch.obs.shape == (4, longest + 1, spec.N, spec.O)
    for b, (k, s, e) in enumerate(zip(indices, starts, ends, strict=True)):
        played, n = data[k], e - s
        pairs = [
            (batch.obs, played.observations[s : e + 1]),
            (batch.state, played.state[s : e + 1]),
            (batch.actions, played.actions[s:e]),
            (batch.rewards, played.rewards[s:e]),
        ]
        for got, want in pairs:
            np.testing.assert_array_equal(got[b, : len(want)], want)
            assert not got[b, len(want) :].any()
        assert batch.mask[b].tolist() == [t < n for t in range(longest)]
        assert batch.terminated[b].tolist() == [
            t == n - 1 and e == len(played) and played.terminal for t in range(longest)
        ]
        if spec.discrete:
            assert batch.legal is not None
            assert played.legal_actions is not None
            legal = played.legal_actions[s : e + 1]
            np.testing.assert_array_equal(batch.legal[b, : n + 1], legal)
            np.testing.assert_array_equal(batch.alive[b, : n + 1], legal.sum(-1) > 1)
            assert batch.legal[b, n + 1 :, :, 0].all()
            assert not batch.legal[b, n + 1 :, :, 1:].any()
        else:
            assert batch.legal is None
            assert batch.alive[b, : n + 1].all()
        assert not batch.alive[b, n + 1 :].any()
    assert batch.lengths.tolist() == [e - s for s, e in zip(starts, ends, strict=True)]
    assert batch.episodes.tolist() == indices
    assert batch.starts.tolist() == starts.tolist()
    assert batch.actions.dtype == (torch.int64 if spec.discrete else torch.float32)


def test_collate_of_fresh_episodes_equals_the_datasets_batch(dataset: Dataset) -> None:
    one, other = collate([dataset[3], dataset[0]], SPEC), dataset.batch([3, 0])
    for name in ("actions", "rewards", "terminated", "mask", "obs", "state", "legal", "alive", "lengths", "episodes"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_a_batch_does_not_share_memory_with_the_dataset(dataset: Dataset) -> None:
    before = dataset[0].observations.copy()
    dataset.batch([0]).obs.zero_()
    np.testing.assert_array_equal(dataset[0].observations, before)


def test_an_epoch_visits_every_step_once(dataset: Dataset) -> None:
    for window in (None, 2):
        seen = [
            (int(e), int(s) + t)
            for batch in dataset.batches(2, generator=np.random.default_rng(0), window=window)
            for e, s, n in zip(batch.episodes, batch.starts, batch.lengths, strict=True)
            for t in range(int(n))
        ]
        assert sorted(seen) == [(k, t) for k in range(5) for t in range(len(dataset[k]))]


def test_an_epoch_without_a_generator_keeps_the_order_and_can_drop_the_rest(dataset: Dataset) -> None:
    assert [b.episodes.tolist() for b in dataset.batches(2, generator=None)] == [[0, 1], [2, 3], [4]]
    assert [b.episodes.tolist() for b in dataset.batches(2, generator=None, drop_last=True)] == [[0, 1], [2, 3]]


def test_sampling_is_reproducible_and_follows_the_weights(dataset: Dataset) -> None:
    draw = [dataset.sample(6, generator=np.random.default_rng(3), window=2) for _ in range(2)]
    assert torch.equal(draw[0].obs, draw[1].obs)
    only = dataset.sample(50, generator=np.random.default_rng(0), weights=np.array([0, 0, 7.0, 0, 0]))
    assert set(only.episodes.tolist()) == {2}
    half = dataset.sample(4000, generator=np.random.default_rng(0), weights=np.array([1, 0, 0, 3, 0.0]))
    assert abs((half.episodes == 3).float().mean() - 0.75) < 0.03


def test_every_window_is_equally_likely(dataset: Dataset) -> None:
    batch = dataset.sample(30_000, generator=np.random.default_rng(1), window=3)
    windows = [(k, s) for k in range(5) for s in range(max(len(dataset[k]) - 3, 0) + 1)]
    drawn = dict.fromkeys(windows, 0)
    for k, s in zip(batch.episodes.tolist(), batch.starts.tolist(), strict=True):
        drawn[k, s] += 1
    share = np.array(list(drawn.values())) / 30_000 * len(windows)
    assert abs(share - 1).max() < 0.1


def test_filters_by_level_agent_and_return(dataset: Dataset) -> None:
    expert_a2 = dataset.episodes(level="expert", agent="a2")
    assert [LEVELS[e.behavior_level[0, 1]] for e in expert_a2 if e.behavior_level is not None] == ["expert"] * 4
    assert len(dataset.episodes(level="random")) == 1
    assert [len(e) for e in expert_a2] == [5, 2, 9, 1]
    assert expert_a2.columns is dataset.columns
    cut = float(np.median(dataset.returns))
    assert len(dataset.episodes(min_return=cut)) == len(dataset.episodes(max_return=cut)) == 3


def test_a_view_numbers_its_own_episodes(dataset: Dataset) -> None:
    view = dataset.episodes(min_return=float(np.sort(dataset.returns)[-2]))
    batch = view.sample(20, generator=np.random.default_rng(0))
    assert set(batch.episodes.tolist()) == {0, 1}
    first = batch.episodes.tolist().index(1)
    np.testing.assert_array_equal(batch.rewards[first, : len(view[1])], view[1].rewards)


def test_wrong_use_gives_one_clear_line(dataset: Dataset) -> None:
    g = np.random.default_rng(0)
    with pytest.raises(
        UnknownName, match=r"unknown level 'expret'. Did you mean 'expert'\? Known: random, medium, expert"
    ):
        dataset.episodes(level="expret")
    with pytest.raises(UnknownName, match=r"unknown agent of toy/x 'a3'. Did you mean 'a.'\? Known: a1, a2, b1"):
        dataset.episodes(level="expert", agent="a3")
    with pytest.raises(FormatError, match="agent='a1' without a level: say which of random, medium, expert"):
        dataset.episodes(agent="a1")
    with pytest.raises(FormatError, match=r"episodes 0 … 5 were asked for, but this dataset has 0 … 4"):
        dataset.batch([0, 5])
    with pytest.raises(FormatError, match="an empty batch"):
        dataset.batch([])
    with pytest.raises(FormatError, match="window is 0, expected at least 1 step"):
        dataset.batch([0], window=0)
    with pytest.raises(FormatError, match=r"starts\[1\] is 2, but that episode has 2 steps"):
        dataset.batch([0, 1], starts=np.array([4, 2]), window=2)
    with pytest.raises(FormatError, match=r"starts has shape \(1,\), expected one for each of 2 episodes"):
        dataset.batch([0, 1], starts=np.array([4]))
    with pytest.raises(FormatError, match=r"weights of shape \(2,\): expected 5 finite numbers"):
        dataset.sample(1, generator=g, weights=np.ones(2))
    with pytest.raises(FormatError, match="is empty: there is nothing to sample; loosen the filter"):
        dataset.episodes(min_return=1e9).sample(1, generator=g)
    with pytest.raises(FormatError, match="batches of 0 items with window None: expected at least 1"):
        next(dataset.batches(0, generator=None))
    with pytest.raises(FormatError, match="episode 1 has no steps; leave it out"):
        Dataset.from_episodes([episode(SPEC, 2, 0), episode(SPEC, 0, 0)], SPEC)
    with pytest.raises(SpecMismatch, match=r"episode 0: observations has shape \(3, 3, 4\), expected \(3, 2, 4\)"):
        Dataset.from_episodes([episode(SPEC, 2, 0)], CONTINUOUS)
    with pytest.raises(SpecMismatch, match="episode 0: legal_actions is missing"):
        Dataset.from_episodes([replace(episode(SPEC, 2, 0), legal_actions=None)], SPEC)


def test_a_torch_data_loader_takes_it(dataset: Dataset) -> None:
    episodes = dataset.torch_dataset(window=4)
    loader = torch.utils.data.DataLoader(episodes, batch_size=3, collate_fn=episodes.collate)
    batches = list(loader)
    assert [b.obs.shape[:2] for b in batches] == [(3, 5), (2, 5)]
    assert torch.equal(batches[0].obs, dataset.batch([0, 1, 2], window=4).obs)
