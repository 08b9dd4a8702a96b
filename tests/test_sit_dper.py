"""Stage II: the sum-tree draws what it should, temperatures meet their target, the replay does not depend on chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from offmarl_bench.errors import FormatError
from sit.ardnem import ARDNEM
from sit.config import SITConfig
from sit.dper import DPER, effective_sample, rescale, sampling_probability, temperature
from sit.sum_tree import CumulativeSampler, SumTree
from tests.imbalanced_toy import imbalanced

DRAWS = 200_000


@pytest.mark.parametrize("values", [[1.0], [3.0, 1.0], [0.0, 5.0, 0.0, 1.0, 2.0], list(range(1, 38))])
def test_sum_tree_draws_in_proportion(values: list[float]) -> None:
    exact = np.array(values) / sum(values)
    drawn = SumTree(np.array(values)).sample(DRAWS, np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=len(values))
    assert len(counts) == len(values)
    assert (np.abs(counts / DRAWS - exact) <= 5 * np.sqrt(exact * (1 - exact) / DRAWS)).all()
    assert (counts[exact == 0] == 0).all()


@pytest.mark.parametrize("size", [1, 2, 5, 64, 1000])
def test_sum_tree_and_binary_search_make_the_same_draws(size: int) -> None:
    values = np.random.default_rng(size).exponential(size=size)
    tree, search = SumTree(values), CumulativeSampler(values)
    a, b = tree.sample(5000, np.random.default_rng(1)), search.sample(5000, np.random.default_rng(1))
    assert (a != b).sum() <= 1  # sums in another order may move a border by one rounding


def test_sum_tree_covers_the_line_leaf_by_leaf() -> None:
    tree = SumTree(np.array([2.0, 0.0, 1.0, 3.0]))
    assert tree.find(np.array([0.0, 1.999, 2.0, 2.999, 3.0, 5.999])).tolist() == [0, 0, 2, 2, 3, 3]
    assert tree.find(np.array([6.0])).tolist() == [3]  # a point rounded up to the total
    assert tree.total == 6.0


def test_sum_tree_update_repairs_the_sums() -> None:
    tree = SumTree(np.arange(1.0, 8.0))
    tree.update(np.array([0, 3, 6]), np.array([10.0, 0.0, 2.5]))
    fresh = SumTree(np.array([10.0, 2.0, 3.0, 0.0, 5.0, 6.0, 2.5]))
    assert np.array_equal(tree.nodes, fresh.nodes)


def test_probabilities_beyond_float32_are_still_drawn_by_weight() -> None:
    tree = SumTree(np.array([np.exp(-100.0), 3 * np.exp(-100.0)]))
    assert np.bincount(tree.sample(10_000, np.random.default_rng(0)))[1] == pytest.approx(7500, abs=250)


@pytest.mark.parametrize("make", [SumTree, CumulativeSampler])
@pytest.mark.parametrize("values", [[], [0.0, 0.0], [1.0, -1.0], [1.0, np.nan], [[1.0]]])
def test_values_that_cannot_be_sampled_are_refused(make: type[SumTree], values: list[float]) -> None:
    with pytest.raises(FormatError, match="expected at least one finite number ≥ 0, and not all of them 0"):
        make(np.array(values))


def test_sum_tree_update_refuses_bad_values() -> None:
    with pytest.raises(FormatError, match="expected at least one finite number"):
        SumTree(np.ones(3)).update(np.array([1]), np.array([-1.0]))


def test_rescale_is_linear_onto_the_range() -> None:
    assert rescale(np.array([-3.0, 1.0, -1.0]), 20.0).tolist() == [0.0, 20.0, 10.0]
    assert rescale(np.array([2.0, 2.0]), 20.0).tolist() == [0.0, 0.0]


def test_effective_sample_counts_equal_trajectories() -> None:
    assert effective_sample(np.array([0.25] * 4)) == 4
    assert effective_sample(np.array([1.0, 0.0])) == 1


def test_auto_temperature_meets_the_wanted_share_where_the_papers_leaves_a_handful() -> None:
    priority = rescale(np.random.default_rng(0).normal(size=30_000), 20.0)
    literal = effective_sample(sampling_probability(priority, 0.2))
    found = effective_sample(sampling_probability(priority, temperature(priority, 0.05)))
    assert literal < 10
    assert found == pytest.approx(1500, rel=1e-3)


def test_auto_temperature_with_equal_priorities_draws_uniformly() -> None:
    p = sampling_probability(np.zeros(7), temperature(np.zeros(7), 0.05))
    assert np.allclose(p, 1 / 7)


def replay_of(config: SITConfig, episodes: int = 10) -> DPER:
    data = imbalanced(episodes)
    torch.manual_seed(0)
    network, replay = ARDNEM(data.spec, config), DPER(data, config)
    while len(chunk := replay.next_chunk()):
        replay.fill(data.batch(chunk), network)
    replay.finish()
    return replay


def test_replay_is_the_same_in_chunks_of_any_size() -> None:
    small, large = replay_of(SITConfig(share_episodes=3)), replay_of(SITConfig(share_episodes=64))
    assert (small.chunks, large.chunks) == (4, 1)
    for name in ("reward", "uncertainty", "returns", "raw_priority"):
        assert np.allclose(getattr(small, name), getattr(large, name), atol=1e-6), name


def test_buffers_hold_every_trajectory_of_their_type_and_only_those() -> None:
    replay = replay_of(SITConfig())
    assert [b.name for b in replay.buffers] == ["a", "b"]
    episodes, agents = replay.buffers[1].sample(2000, np.random.default_rng(0))
    assert set(agents) <= {2, 3}
    assert set(episodes) <= set(range(10))
    top = np.argmax(replay.raw_priority[:, 2:].ravel())
    assert replay.buffers[1].priority[top] == 20.0
    best = replay.buffers[1].probability.argmax()
    assert (best // 2, replay.buffers[1].agents[best % 2]) == (top // 2, 2 + top % 2)


def test_decomposed_rewards_sum_to_the_estimated_total() -> None:
    """Whatever the weights: the parts sum to std · Σ λ f + mean (Eq. 2 in units of reward)."""
    config = SITConfig(share_episodes=64)
    data = imbalanced(4)
    network = ARDNEM(data.spec, config)
    network.measure_reward(data)
    assert float(network.mean) == pytest.approx(data.returns.sum() / data.lengths.sum())
    replay = DPER(data, config)
    logged = replay.fill(data.batch(replay.next_chunk()), network)
    total = replay.reward.sum(1)
    assert logged["residual"] == pytest.approx(
        np.sqrt(np.mean((total - data.batch(range(4)).rewards.numpy().ravel()) ** 2))
    )
    assert total.mean() == pytest.approx(float(network.mean), abs=3 * float(network.std))


def test_individual_trajectory_is_cut_out_and_padded() -> None:
    replay = replay_of(SITConfig())
    values = np.arange(replay.reward.size, dtype=np.float32).reshape(replay.reward.shape)
    replay.lengths = replay.lengths.copy()
    replay.lengths[1] = 2  # as if the second episode had been shorter
    out = replay.individual(values, np.array([0, 1]), np.array([3, 1]))
    assert out[0].tolist() == [3 + 4 * k for k in range(8)]
    assert out[1].tolist() == [33.0, 37.0, 0, 0, 0, 0, 0, 0]


def test_priorities_switched_off_draw_uniformly() -> None:
    replay = replay_of(SITConfig(priority=False))
    assert np.allclose(replay.buffers[0].probability, 1 / 20)


def test_without_decomposition_everyone_gets_the_team_reward() -> None:
    replay = replay_of(SITConfig(decomposition=False))
    rewards = np.concatenate([e.rewards for e in replay.dataset])
    assert np.array_equal(replay.reward, np.repeat(rewards[:, None], 4, 1))
    assert not replay.uncertainty.any()


def test_an_empty_dataset_is_refused() -> None:
    with pytest.raises(FormatError, match="is empty: there are no trajectories to share"):
        DPER(imbalanced(4).episodes(min_return=1e9), SITConfig())


def test_continuous_actions_are_decomposed_too() -> None:
    data = imbalanced(200, env_id="toy/target")
    config = SITConfig(decompose_lr=1e-3)
    network = ARDNEM(data.spec, config)
    replay = DPER(data, config)
    while len(chunk := replay.next_chunk()):
        replay.fill(data.batch(chunk), network)
    replay.finish()
    assert np.isfinite(replay.reward).all()
    assert replay.present.all()
