"""Rewards on the scale for which value-based agents were tuned: only down, never up, and only if asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from offmarl_bench.agent import make_agent, make_config, reward_scale
from offmarl_bench.errors import FormatError
from offmarl_bench.loader import Dataset
from tests.toy_data import SPEC, expert_dataset

VALUE_BASED = ("qmix", "mabcq", "macql", "icq", "cfcql", "maiql", "omiga")


def worth(largest: float) -> Dataset:
    """Eight signals answered a point each, times a factor: every return is ``largest``."""
    data = expert_dataset(4)
    return Dataset.from_episodes([replace(e, rewards=e.rewards * np.float32(largest / 8)) for e in data], SPEC)


def test_large_returns_shrink_small_ones_stay() -> None:
    assert reward_scale(worth(-160.0), 20.0) == pytest.approx(1 / 8)
    assert reward_scale(worth(12.0), 20.0) == 1.0
    assert reward_scale(worth(160.0), 0.0) == 1.0, "0: as they come"


@pytest.mark.parametrize("name", VALUE_BASED)
def test_value_based_agents_learn_scaled_rewards_unless_they_follow_the_paper(name: str) -> None:
    data = worth(-160.0)
    for preset, total in (("default", -20.0), ("paper", -160.0)):
        learn = make_agent(name, SPEC, preset=preset).phases(data)[-1]
        batch = learn.batches(np.random.default_rng(0))
        assert torch.allclose(batch.rewards.sum(1), torch.full((len(batch.rewards),), total))


@pytest.mark.parametrize("name", VALUE_BASED)
def test_a_negative_largest_return_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match=r"largest_return is -1.0, expected a number from 0"):
        make_config(name, SPEC.id, overrides={"largest_return": -1.0})
