"""The one stepper: what it promises about results, recordings and finished lanes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from jaxtyping import Shaped, UInt64

from offmarl_bench.envs import make_env
from offmarl_bench.errors import ConformanceError, SpecMismatch
from offmarl_bench.nn import Actor
from offmarl_bench.policies import SlotPolicy, UniformPolicy
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds
from offmarl_bench.types import EnvSpec, Start, Step

SEEDS = episode_seeds(0, "verify", 0, 6)


class Countdown:
    """Lane b runs for 1 + seed % 5 steps, pays 1 a step, and terminates unless it reaches the horizon of 5."""

    spec = EnvSpec(id="t/countdown", agents=("x", "y"), agent_types=("x", "x"), O=2, S=1, A=3, discrete=True, horizon=5)

    def __init__(self, num_envs: int = 64, slip: int = 0) -> None:
        self.num_envs, self.slip = num_envs, slip

    def reset(self, seeds: UInt64[np.ndarray, " B"]) -> Start:
        self.left = 1 + (seeds % np.uint64(5)).astype(int) + self.slip
        self.t = np.zeros(len(seeds), int)
        return Start(*self._see())

    def _see(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        obs = np.broadcast_to(self.t[:, None, None], (len(self.t), 2, 2)).astype(np.float32)
        return obs, obs[:, 0, :1].copy(), np.ones((len(self.t), 2, 3), bool)

    def step(self, actions: Shaped[np.ndarray, "B N"]) -> Step:
        assert actions.shape == (len(self.t), 2)
        running = self.left > 0
        self.t, self.left = self.t + running, self.left - running
        over = self.left == 0
        cut = over & (self.t == 5)
        info = {"steps": self.t.astype(np.int64)}
        return Step(*self._see(), running.astype(np.float32), over & ~cut, cut, info)


def greedy(env_id: str = "toy/signals") -> SlotPolicy:
    torch.manual_seed(0)
    spec = make_env(env_id, 1).spec
    return SlotPolicy(spec, [Actor(spec.O, spec.A, 16)], np.zeros(spec.N, int))


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_returns_lengths_ends_and_last_info_of_lanes_that_finish_at_different_times() -> None:
    env, seeds = Countdown(), np.array([0, 4, 2, 9], np.uint64)
    r = rollout(env, UniformPolicy(env.spec), seeds, rng())
    assert r.lengths.tolist() == r.returns.tolist() == r.info["steps"].tolist() == [1, 5, 3, 5]
    assert r.terminated.tolist() == [True, False, True, False]
    assert r.steps == 14
    assert r.episodes is None


def test_recorded_episodes_have_one_more_observation_than_steps() -> None:
    env, seeds = Countdown(), np.array([0, 4, 2], np.uint64)
    who = np.array([[0, 2], [1, 1], [2, 0]])
    r = rollout(env, UniformPolicy(env.spec), seeds, rng(), record=True, levels=who, members=who + 10)
    assert r.episodes is not None
    for k, e in enumerate(r.episodes):
        t = len(e)
        assert (t, e.index, e.terminal) == (r.lengths[k], k, r.terminated[k])
        assert e.observations[:, 0, 0].tolist() == e.state[:, 0].tolist() == list(range(t + 1))
        assert e.legal_actions is not None
        assert e.legal_actions.shape == (t + 1, 2, 3)
        assert e.actions.shape == (t, 2)
        assert e.actions.dtype == np.int32
        assert e.episode_return == r.returns[k]
        assert e.behavior_level is not None
        assert e.behavior_policy is not None
        assert e.behavior_logprob is not None
        assert e.behavior_level.dtype == np.int8
        assert (e.behavior_level == who[k]).all()
        assert (e.behavior_policy == who[k] + 10).all()
        assert np.allclose(np.exp(e.behavior_logprob), 1 / 3)


def test_recording_continuous_actions() -> None:
    env = make_env("toy/target", 2)
    r = rollout(env, UniformPolicy(env.spec), SEEDS[:2], rng(), record=True)
    assert r.episodes is not None
    assert r.episodes[0].actions.shape == (8, 2, 1)
    assert r.episodes[0].actions.dtype == np.float32
    assert r.episodes[0].legal_actions is None
    assert r.episodes[0].behavior_level is None


def test_same_seeds_policy_and_generator_give_the_same_result_whatever_the_size_of_the_env() -> None:
    policy = UniformPolicy(make_env("toy/signals", 1).spec)
    a, b = (rollout(make_env("toy/signals", n), policy, SEEDS, rng(), record=True) for n in (6, 100))
    assert a.returns.tolist() == b.returns.tolist()
    assert a.episodes is not None
    assert b.episodes is not None
    assert all((x.actions == y.actions).all() for x, y in zip(a.episodes, b.episodes, strict=True))


def test_deterministic_play_does_not_depend_on_the_order_of_lanes() -> None:
    env, order = make_env("toy/signals", 6), np.array([3, 0, 5, 1, 4, 2])
    straight = rollout(env, greedy(), SEEDS, rng()).returns
    assert rollout(env, greedy(), SEEDS[order], rng()).returns.tolist() == straight[order].tolist()


def test_recording_changes_nothing() -> None:
    env = make_env("toy/signals", 6)
    results = [rollout(env, UniformPolicy(env.spec), SEEDS, rng(), record=r).returns.tolist() for r in (False, True)]
    assert results[0] == results[1]


def test_an_environment_that_never_ends_is_named() -> None:
    env = Countdown(slip=3)
    with pytest.raises(ConformanceError, match=r"t/countdown: lane 1 is still running after 5 steps"):
        rollout(env, UniformPolicy(env.spec), np.array([0, 4], np.uint64), rng())


def test_labels_need_one_entry_per_slot() -> None:
    env = Countdown()
    with pytest.raises(SpecMismatch, match=r"levels has shape \(2,\), expected \(1, 2\)"):
        rollout(env, UniformPolicy(env.spec), np.zeros(1, np.uint64), rng(), levels=np.zeros(2))
