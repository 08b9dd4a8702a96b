"""Our robots are those of the installed ``gymnasium_robotics.mamujoco_v1``: same starts, steps, views and rewards.

The reference is stepped beside ours for 200 steps. Everything is equal to the last bit; what we round to single
precision is equal to the reference rounded.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from offmarl_bench.envs import make_env
from offmarl_bench.envs.mamujoco.env import MujocoEnv
from offmarl_bench.envs.mamujoco.simulator import warnings_to_log
from offmarl_bench.seeding import episode_seeds, generator
from offmarl_bench.types import Start, Step

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from gymnasium_robotics import mamujoco_v1  # type: ignore[import-untyped]

STEPS = 200
PAPER_WALKER: dict[str, Any] = {"terminate_when_unhealthy": False, "healthy_reward": 0.0}
CASES = [
    ("HalfCheetah_2l", "HalfCheetah", "2x3", 1, {}),
    ("HalfCheetah_2l-k0", "HalfCheetah", "2x3", 0, {}),
    ("HalfCheetah-6x1-k2", "HalfCheetah", "6x1", 2, {}),
    ("Walker_2l", "Walker2d", "2x3", 1, PAPER_WALKER),
    ("Walker_2l-k0-apart", "Walker2d", "2x3", 0, PAPER_WALKER),
    ("Walker2d-2x3-k3", "Walker2d", "2x3", 3, {}),
]
"""Our map, MaMuJoCo's scenario, split and depth, and options of its robot."""


def reference(scenario: str, split: str, depth: int, **options: Any) -> Any:
    with warnings_to_log():
        return mamujoco_v1.parallel_env(scenario, split, agent_obsk=depth, **options)


def build(map_name: str, lanes: int) -> MujocoEnv:
    env = make_env(f"mamujoco/{map_name}", lanes)
    assert isinstance(env, MujocoEnv)
    return env


@pytest.mark.parametrize(("map_name", "scenario", "split", "depth", "options"), CASES, ids=[c[0] for c in CASES])
def test_every_lane_is_bit_identical_over_200_steps(
    map_name: str, scenario: str, split: str, depth: int, options: dict[str, Any]
) -> None:
    lanes = 3
    env, other, g = build(map_name, lanes), reference(scenario, split, depth, **options), generator(0, "verify")
    seeds = episode_seeds(0, "verify", 0, lanes)
    joint = g.uniform(-1, 1, (STEPS, lanes, env.spec.N, env.spec.A)).astype(np.float32)
    played: list[Start | Step] = [env.reset(seeds)]
    worlds = [env.world()]
    for actions in joint:
        played.append(env.step(actions))
        worlds.append(env.world())
    for lane, seed in enumerate(seeds):
        views, _ = other.reset(seed=int(seed))
        over = False
        for t in range(STEPS + 1):
            now, world, data = played[t], worlds[t], other.single_agent_env.unwrapped.data
            for i, (size, seen) in enumerate(zip(env.spec.obs_sizes, views.values(), strict=True)):
                np.testing.assert_array_equal(now.obs[lane, i, :size], seen.astype(np.float32))
                assert not now.obs[lane, i, size:].any()
            np.testing.assert_array_equal(now.state[lane], other.state().astype(np.float32))
            np.testing.assert_array_equal(world.positions[lane], data.qpos)
            np.testing.assert_array_equal(world.velocities[lane], data.qvel)
            if over or t == STEPS:
                break
            sizes = env.spec.action_sizes
            views, rewards, ended, _, _ = other.step(
                {a: joint[t, lane, i, : sizes[i]] for i, a in enumerate(other.possible_agents)}
            )
            over = all(ended.values())
            after = played[t + 1]
            assert isinstance(after, Step)
            assert {float(r) for r in rewards.values()} == {worlds[t + 1].rewards[lane]}
            assert after.terminated[lane] == over
        assert over == (map_name.startswith("Walker2d")), "uniform play falls where falling ends an episode"


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_a_lane_starts_where_gymnasium_starts_with_its_seed(seed: int) -> None:
    env, other = build("Walker_2l", 1), reference("Walker2d", "2x3", 1)
    start = env.reset(np.array([seed], np.uint64))
    views, _ = other.reset(seed=seed)
    for i, seen in enumerate(views.values()):
        np.testing.assert_array_equal(start.obs[0, i], seen.astype(np.float32))


@pytest.mark.parametrize(("map_name", "scenario"), [("HalfCheetah_2l", "HalfCheetah"), ("Walker_2l", "Walker2d")])
def test_beyond_one_an_action_is_one_for_motor_and_cost(map_name: str, scenario: str) -> None:
    # MaMuJoCo bills the action as it comes; ours is what it would be after clipping.
    env = build(map_name, 1)
    options = PAPER_WALKER if scenario == "Walker2d" else {}
    other = reference(scenario, "2x3", 1, **options)
    env.reset(np.zeros(1, np.uint64))
    other.reset(seed=0)
    wild = np.array([[[5, -3, 0.5], [-1.5, 2, -0.25]]], np.float32)
    env.step(wild)
    _, rewards, *_ = other.step(dict(zip(other.possible_agents, np.clip(wild[0], -1, 1), strict=True)))
    assert env.world().rewards[0] == rewards["agent_0"]
    other.reset(seed=0)
    _, dear, *_ = other.step(dict(zip(other.possible_agents, wild[0], strict=True)))
    assert dear["agent_0"] < rewards["agent_0"], "the reference would have charged for what no motor can do"
