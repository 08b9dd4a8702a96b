"""Choosing episodes: counts, levels, and a mean return that is met while little else changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offmarl_bench.audit import verify
from offmarl_bench.errors import FormatError, UnknownName
from offmarl_bench.loader import Dataset, load_dataset
from offmarl_bench.subsample import TOLERANCE, choose_mean, most_with_mean, subsample
from tests.imbalanced_toy import imbalanced
from tests.toy_data import SPEC, expert_episodes


def with_returns(*returns: float) -> Dataset:
    """Episodes of toy/signals with these returns, all on the first step."""
    episodes = []
    for episode, total in zip(expert_episodes(len(returns)), returns, strict=True):
        rewards = np.zeros_like(episode.rewards)
        rewards[0] = total
        episodes.append(replace(episode, rewards=rewards))
    return Dataset.from_episodes(episodes, SPEC, {"dataset_id": "toy/signals/x-v1", "content_hash": "0" * 64})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_number_of_episodes_is_drawn_without_replacement_in_order() -> None:
    data = imbalanced(64)
    part = subsample(data, episodes=20, seed=3)
    rows = part.row_starts.tolist()
    assert len(set(rows)) == 20
    assert rows == sorted(rows)
    assert set(rows) <= set(data.row_starts.tolist())
    assert subsample(data, episodes=20, seed=3).row_starts.tolist() == rows
    assert subsample(data, episodes=20, seed=4).row_starts.tolist() != rows
    assert len(subsample(data, episodes=64)) == 64


def test_levels_are_those_of_one_agent_or_of_all() -> None:
    data = imbalanced(64)  # half [r, e, r, e], half [r, r, r, r]
    assert (subsample(data, level="expert", agent="a2").levels[:, 1] == 2).all()
    assert len(subsample(data, level="expert", agent="a2")) == 32
    assert len(subsample(data, level="random")) == 32
    assert len(subsample(data, level="random", agent="a1", episodes=50)) == 50


def test_the_saved_file_says_what_it_is(tmp_path: Path) -> None:
    data = load_dataset(imbalanced(64).save(tmp_path / "all.h5"))
    path = subsample(data, level="expert", agent="a2", episodes=10, seed=5).save(tmp_path / "some.h5")
    assert verify(path).ok
    said = load_dataset(path).metadata
    operation = {k: v for k, v in said["operation"].items() if k != "sources"}
    assert operation == {"name": "subsample", "level": "expert", "agent": "a2", "episodes": 10, "seed": 5}
    assert said["operation"]["sources"] == [{"content_hash": data.metadata["content_hash"]}]
    assert (said["episodes"], said["steps"], said["dataset_id"]) == (10, 80, None)
    assert said["return_mean"] == pytest.approx(load_dataset(path).returns.mean())
    assert said["compositions"][0]["composition"] == "[a1r,a2e,b1r,b2e]"
    assert said["command"] == (
        "offmarl-bench subsample DATASET --episodes 10 --level expert --agent a2 --seed 5 --out FILE"
    )


def test_a_filtered_view_is_saved_with_statistics_of_its_own(tmp_path: Path) -> None:
    subsample(imbalanced(64), episodes=60).save(tmp_path / "all.h5")
    data = load_dataset(tmp_path / "all.h5")
    path = data.episodes(level="expert", agent="a2").save(tmp_path / "some.h5")
    assert verify(path).ok
    said = load_dataset(path).metadata
    assert said["operation"]["name"] == "select"
    assert said["operation"]["sources"][0]["content_hash"] == data.metadata["content_hash"]
    assert said["return_mean"] == pytest.approx(load_dataset(path).returns.mean())


def test_a_mean_met_by_one_choice_only() -> None:
    data = with_returns(0.0, 1.0, 3.0, 10.0)
    part = subsample(data, episodes=2, target_mean=6.5)
    assert sorted(part.returns.tolist()) == [3.0, 10.0]
    assert subsample(data, episodes=3, target_mean=4 / 3).returns.tolist() == [0.0, 1.0, 3.0]
    assert subsample(data, episodes=2, target_mean=5.0).returns.tolist() == [0.0, 10.0]


def test_what_cannot_be_met_is_said_with_what_can() -> None:
    data = with_returns(0.0, 1.0, 3.0, 10.0)
    with pytest.raises(
        FormatError, match=r"mean return 9 cannot be met by 2 of 4 episodes: theirs can be 0.5 to 6.5; ask for fewer"
    ):
        subsample(data, episodes=2, target_mean=9)
    with pytest.raises(
        FormatError, match=r"mean return 4 with 2 of 4 episodes: the nearest found is \d.*; ask for more"
    ):
        subsample(data, episodes=2, target_mean=4)
    with pytest.raises(FormatError, match=r"mean return 11 cannot be met by 1 of 4 episodes: theirs can be 0 to 10"):
        subsample(data, target_mean=11)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.95), st.integers(20, 150))
def test_any_mean_between_the_extremes_is_met(seed: int, place: float, n: int) -> None:
    returns = rng(seed).normal(5, 3, 300)
    ordered = np.sort(returns)
    least, most = ordered[:n].mean(), ordered[-n:].mean()
    target = least + place * (most - least)
    chosen = choose_mean(returns, target, n, rng(seed))
    assert len(set(chosen.tolist())) == n
    assert abs(returns[chosen].mean() - target) <= 1e-3 * TOLERANCE * np.ptp(returns) * 300 / n


def test_the_rest_changes_little() -> None:
    """The choice is the reweighting exp(λ r): for normal returns a shift that keeps the spread, not a cut."""
    returns = rng(1).normal(0, 1, 20_000)
    chosen = returns[choose_mean(returns, 0.5, 4000, rng(2))]
    assert chosen.mean() == pytest.approx(0.5, abs=1e-4)
    assert chosen.std() == pytest.approx(1.0, abs=0.06)
    assert chosen.min() < -1.5
    untouched = choose_mean(returns, float(returns.mean()), 4000, rng(2))
    assert abs(returns[untouched].std() - 1) < 0.03


def test_how_many_are_kept_if_nobody_says() -> None:
    assert most_with_mean(np.array([1.0, 2.0, 3.0, 4.0]), 2.5) == 4
    assert most_with_mean(np.array([1.0, 2.0, 3.0, 4.0]), 3.0) == 3
    assert most_with_mean(np.array([1.0, 2.0, 3.0, 4.0]), 1.5) == 2
    assert most_with_mean(np.repeat([0.0, 1.0], 50), 0.9) == 55  # of 50 ones and 5 zeros 50 / 55 ≥ 0.9
    half = subsample(with_returns(*np.repeat([0.0, 1.0], 500)), target_mean=0.9)
    assert (len(half), half.returns.sum()) == (277, 249.0)


def test_all_returns_alike() -> None:
    data = with_returns(2.0, 2.0, 2.0)
    assert len(subsample(data, target_mean=2.0, episodes=2)) == 2
    with pytest.raises(FormatError, match="mean return 3 cannot be met by 2 of 3 episodes: theirs can be 2 to 2"):
        subsample(data, target_mean=3.0, episodes=2)


def test_wrong_use_is_said() -> None:
    data = imbalanced(8)
    with pytest.raises(FormatError, match="subsample: give episodes, target_mean or level"):
        subsample(data)
    with pytest.raises(FormatError, match=r"subsample: 0 episodes with seed 0; expected ≥ 1"):
        subsample(data, episodes=0)
    with pytest.raises(FormatError, match=r"has 8 episodes; 9 were asked for"):
        subsample(data, episodes=9)
    with pytest.raises(FormatError, match=r"has 0 episodes with a1 expert; 1 were asked for"):
        subsample(data, level="expert", agent="a1")
    with pytest.raises(FormatError, match="agent='a1' without a level: say which of random, medium, expert"):
        subsample(data, agent="a1", episodes=3)
    with pytest.raises(UnknownName, match=r"unknown level 'exprt'. Did you mean 'expert'"):
        subsample(data, level="exprt")
    with pytest.raises(UnknownName, match="unknown agent of toy/signals 'a3'"):
        subsample(data, level="expert", agent="a3")
