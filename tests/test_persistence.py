"""Exploration that lasts: how long, how often, and never against what is legal."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Int, Shaped

from offmarl_bench.agent import Policy
from offmarl_bench.persistence import Persistent

NORTH, SOUTH, SHOOT = 0, 1, 2
B, N = 500, 2


class Shooter(Policy):
    """Shoots, always."""

    def reset(self, n: int) -> None:
        self.n = n

    def keep(self, lanes: Shaped[np.ndarray, " K"]) -> None:
        self.n = len(lanes)

    def decide(
        self, obs: Float32[np.ndarray, "B N O"], legal: Bool[np.ndarray, "B N A"] | None, generator: np.random.Generator
    ) -> tuple[Int[np.ndarray, "B N"], Float32[np.ndarray, "B N"]]:
        assert len(obs) == self.n
        return np.full((self.n, N), SHOOT, np.int32), np.zeros((self.n, N), np.float32)


def play(
    epsilon: float, greatest: int, steps: int, legal: Bool[np.ndarray, "B N A"] | None = None
) -> Int[np.ndarray, "T B N"]:
    """Actions of ``steps`` steps."""
    policy, generator = Persistent(Shooter(), 3, epsilon, greatest), np.random.default_rng(0)
    policy.reset(B)
    obs = np.zeros((B, N, 1), np.float32)
    return np.stack([policy.act(obs, legal, generator) for _ in range(steps)])


def test_without_epsilon_the_policy_is_followed() -> None:
    assert (play(0.0, 4, 5) == SHOOT).all()


def test_an_exploration_begins_with_probability_epsilon_and_draws_any_action() -> None:
    first = play(0.3, 1, 1)[0]
    for action in (NORTH, SOUTH):
        assert abs((first == action).mean() - 0.1) < 0.03  # 0.3 · 1/3, ± three standard errors


def test_runs_of_one_to_greatest_steps_are_equally_likely() -> None:
    """ε = 1: a run follows a run. Runs of 1 … 4 steps last 2.5 on average; each is taken for one of 3 actions."""
    actions = play(1.0, 4, 2000)[:, 0, 0]
    changes = int((actions[1:] != actions[:-1]).sum())
    assert abs(changes - 2000 / 2.5 * 2 / 3) < 60  # a third of the runs repeats the action of the one before


def test_what_becomes_illegal_is_dropped_at_once() -> None:
    policy, generator = Persistent(Shooter(), 3, 1.0, 1000), np.random.default_rng(0)
    policy.reset(B)
    obs = np.zeros((B, N, 1), np.float32)
    only_south = np.zeros((B, N, 3), bool)
    only_south[..., [SOUTH, SHOOT]] = True
    free = np.ones((B, N, 3), bool)
    before = policy.act(obs, free, generator)
    after = policy.act(obs, only_south, generator)
    assert (after[before == NORTH] == SHOOT).mean() > 0.97  # a few explorations were over anyway
    assert (after[before == SOUTH] == SOUTH).mean() > 0.97


def test_lanes_that_end_take_their_explorations_with_them() -> None:
    policy, generator = Persistent(Shooter(), 3, 1.0, 1000), np.random.default_rng(0)
    policy.reset(B)
    before = policy.act(np.zeros((B, N, 1), np.float32), None, generator)
    kept = np.arange(0, B, 7)
    policy.keep(kept)
    after = policy.act(np.zeros((len(kept), N, 1), np.float32), None, generator)
    assert (after == before[kept]).mean() > 0.99
