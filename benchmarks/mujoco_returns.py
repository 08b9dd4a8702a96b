"""Where the two-legged robots' returns lie: uniform play, doing nothing, untrained networks, constant force.

    python benchmarks/mujoco_returns.py            prints the tables of docs/mamujoco.md, in some minutes
    python benchmarks/mujoco_returns.py --speed    steps per CPU second beside the installed gymnasium_robotics

The paper states neither what the walker is paid for being upright nor how its random policies come about. What is
chosen there is chosen by these numbers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import nn

from offmarl_bench.bench import bench_engine
from offmarl_bench.envs.mamujoco.env import MujocoEnv
from offmarl_bench.envs.mamujoco.maps import PAPER, MujocoMap
from offmarl_bench.envs.mamujoco.simulator import warnings_to_log
from offmarl_bench.envs.mamujoco.world import World
from offmarl_bench.seeding import episode_seeds, generator
from offmarl_bench.types import Start, Step

TABLE_6 = {"HalfCheetah_2l": (-203.47, 198.70), "Walker_2l": (-74.51, 231.09)}
"""Fully random policies, best policies."""
EPISODES = 512
FEW = 32
"""Episodes of each untrained network."""
NETWORKS = 24
WIDTH = 400
"""Of FacMAC's actor (Peng et al. 2021): two hidden layers, tanh at the end."""
STARTS = 4
"""Episodes of each constant action."""
REFERENCE_EPISODES = 20

Play = Callable[[Start | Step], Float[np.ndarray, "B N A"]]


class Returns(NamedTuple):
    """Return of every episode under three readings of the walker's reward; all equal for a robot that cannot fall."""

    plain: Float64[np.ndarray, " B"]
    """Nothing for being upright, and no end (ours)."""
    paid: Float64[np.ndarray, " B"]
    """1 for every step upright, and no end."""
    ended: Float64[np.ndarray, " B"]
    """1 for every step upright, and the first fall is the end (Gymnasium's default)."""


def standing(robot_map: MujocoMap, world: World) -> np.ndarray:
    """Which robots are upright."""
    healthy = robot_map.robot.upright
    if healthy is None:
        return np.zeros(len(world.rewards), bool)
    (low, high), (back, front) = healthy.height, healthy.lean
    height, lean = world.positions[:, 1], world.positions[:, 2]
    return (low < height) & (height < high) & (back < lean) & (lean < front)


def returns(robot_map: MujocoMap, play: Play, episodes: int) -> Returns:
    """Play so many episodes from the starts that measure references."""
    env = MujocoEnv(robot_map, episodes)
    now: Start | Step = env.reset(episode_seeds(0, "reference", 0, episodes))
    plain, paid, ended = np.zeros(episodes), np.zeros(episodes), np.zeros(episodes)
    never_fell = np.ones(episodes, bool)
    for _ in range(env.spec.horizon):
        now = env.step(play(now))
        world = env.world()
        up = standing(robot_map, world)
        plain += world.rewards
        paid += world.rewards + up
        ended += (world.rewards + up) * never_fell
        never_fell &= up | (robot_map.robot.upright is None)
    return Returns(plain, paid, ended)


def uniform(robot_map: MujocoMap) -> Play:
    """Uniformly random actions."""
    g, spec = generator(0, "reference"), robot_map.spec
    return lambda now: g.uniform(-1, 1, (len(now.obs), spec.N, spec.A))


def still(robot_map: MujocoMap) -> Play:
    """No force at all."""
    return lambda now: np.zeros((len(now.obs), robot_map.spec.N, robot_map.spec.A))


def network(robot_map: MujocoMap, seed: int) -> Play:
    """An untrained actor of FacMAC's shape, shared by both legs."""
    spec = robot_map.spec
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Linear(spec.O, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, spec.A)]
        actor = nn.Sequential(*layers, nn.Tanh())

    def play(now: Start | Step) -> Float[np.ndarray, "B N A"]:
        with torch.no_grad():
            return np.asarray(actor(torch.from_numpy(now.obs)).numpy())

    return play


def constant(robot_map: MujocoMap) -> Play:
    """Lane b plays the (b // STARTS)-th combination of full force forward or backward, for the whole episode."""
    spec = robot_map.spec
    corners = np.array(list(product((-1.0, 1.0), repeat=spec.N * spec.A))).reshape(-1, spec.N, spec.A)
    joint = corners.repeat(STARTS, 0)
    return lambda now: joint


def span(values: Float64[np.ndarray, " K"]) -> str:
    """Median, least and greatest."""
    return f"{np.median(values):.1f} ({values.min():.1f}, {values.max():.1f})"


def print_returns() -> None:
    """The tables of the documentation."""
    print(
        "| map, reading | paper's range | uniform | nothing | untrained: median (from, to) | in the lowest third "
        "| constant force |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, robot_map in PAPER.items():
        rows = [returns(robot_map, uniform(robot_map), EPISODES), returns(robot_map, still(robot_map), FEW)]
        nets = [returns(robot_map, network(robot_map, k), FEW) for k in range(NETWORKS)]
        corners = returns(robot_map, constant(robot_map), STARTS * 2 ** (robot_map.spec.N * robot_map.spec.A))
        low, high = TABLE_6[name]
        third = low + (high - low) / 3  # where the paper's medium pool begins
        for reading in Returns._fields if robot_map.robot.upright else ("plain",):
            random, nothing = (getattr(r, reading) for r in rows)
            means = np.array([getattr(n, reading).mean() for n in nets])
            force = getattr(corners, reading).reshape(-1, STARTS).mean(-1)
            print(
                f"| {name}, {reading} | {low} … {high} | {random.mean():.1f} ± {random.std():.1f} | "
                f"{nothing.mean():.1f} | {span(means)} | {(means < third).sum()} of {NETWORKS} | {span(force)} |"
            )


def reference_rate(robot_map: MujocoMap) -> float:
    """Environment steps per CPU second of gymnasium_robotics' MaMuJoCo on the same map, random actions."""
    from gymnasium_robotics import mamujoco_v1  # type: ignore[import-untyped]

    options = {} if robot_map.fall_ends or robot_map.robot.upright is None else {"terminate_when_unhealthy": False}
    with warnings_to_log():
        env = mamujoco_v1.parallel_env(
            robot_map.robot.name, robot_map.split, agent_obsk=robot_map.depth,
            max_episode_steps=robot_map.horizon, **options,
        )  # fmt: skip
    g, steps, busy = generator(0, "bench"), 0, time.process_time()
    for k in range(REFERENCE_EPISODES):
        env.reset(seed=k)
        while env.agents:
            draw = g.uniform(-1, 1, (len(env.agents), robot_map.spec.A)).astype(np.float32)
            env.step(dict(zip(env.agents, draw, strict=True)))
            steps += 1
    return steps / (time.process_time() - busy)


def print_speed() -> None:
    """Ours beside theirs, in one run."""
    for name, robot_map in PAPER.items():
        ours, theirs = bench_engine(f"mamujoco/{name}")[1].value, reference_rate(robot_map)
        print(
            f"{name}, steps per CPU second: ours {ours:,.0f}, gymnasium_robotics {theirs:,.0f}, "
            f"ratio {ours / theirs:.1f}"
        )


def main() -> None:
    """Print the tables, or the speeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", action="store_true", help="how fast, beside gymnasium_robotics")
    torch.set_num_threads(1)
    if parser.parse_args().speed:
        print_speed()
    else:
        print_returns()


if __name__ == "__main__":
    main()
