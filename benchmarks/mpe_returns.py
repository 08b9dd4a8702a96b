"""Where the particle environments' returns lie: uniform play, untrained networks, scripts, bounds, the paper's range.

    python benchmarks/mpe_returns.py            prints the tables of docs/mpe.md, in about a minute
    python benchmarks/mpe_returns.py --speed    steps per CPU second beside the installed mpe2

The paper states neither the sum behind its team reward nor the reward and arena of predator–prey. What is chosen
there is chosen by these numbers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int

from offmarl_bench.bench import bench_engine
from offmarl_bench.envs.mpe import navigation
from offmarl_bench.envs.mpe.env import MpeEnv
from offmarl_bench.envs.mpe.maps import MAPS, MpeMap
from offmarl_bench.envs.mpe.physics import DAMPING, DT
from offmarl_bench.envs.mpe.world import World
from offmarl_bench.nn import Actor
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds, generator

PAPER = {"CN_3ls3l": (-174.41, -37.32), "CN_4ls4l": (-288.89, -40.81), "PP_3p1p": (-306.57, -54.96)}
"""Table 5: fully random policies, best policies."""
EPISODES = 1024
NETWORKS = 20
"""Untrained networks, as the random level of a pool holds them."""
ARENAS = (0.9, 1.0, 1.5, 2.0, 100.0)
"""Half sides tried for the prey's arena; the last is as good as none."""
LOOK_AHEAD = 0.4
"""Seconds that a script looks ahead along the difference of velocities."""
MPE2_EPISODES = 200
CLOSE = 0.02
"""A seeker nearer to where it wants to be than this does nothing."""

Script = Callable[[World, MpeMap], Int[np.ndarray, "B N"]]


class Parts(NamedTuple):
    """Means over episodes."""

    returns: float
    distance: float
    """Sum over steps of the sum over predators of their distance to the prey."""
    bumps: float
    """Sum over steps and predators of other predators touched."""


def towards(wanted: Float64[np.ndarray, "B N 2"]) -> Int[np.ndarray, "B N"]:
    """The action along the longer axis of a vector."""
    x, y = wanted[..., 0], wanted[..., 1]
    along = np.where(np.abs(x) > np.abs(y), np.where(x > 0, 2, 1), np.where(y > 0, 4, 3))
    return np.where(np.abs(wanted).max(-1) < CLOSE, 0, along)


def seek(world: World, mpe_map: MpeMap) -> Int[np.ndarray, "B N"]:
    """With full information: everybody to a landmark of its own, the shortest way in all."""
    n, pos = mpe_map.agents, world.positions
    far = np.linalg.norm(pos[:, :n, None] - pos[:, None, n:], axis=-1)
    orders = np.array(list(permutations(range(n))))
    cost = far[:, np.arange(n), orders].sum(-1)
    mine = n + orders[cost.argmin(-1)]
    goal = np.take_along_axis(pos, mine[..., None], 1)
    return towards(goal - pos[:, :n] - LOOK_AHEAD * world.velocities[:, :n])


def chase(world: World, mpe_map: MpeMap) -> Int[np.ndarray, "B N"]:
    """Everybody to where the prey will be."""
    n, pos, vel = mpe_map.agents, world.positions, world.velocities
    return towards(pos[:, n:] - pos[:, :n] + LOOK_AHEAD * (vel[:, n:] - vel[:, :n]))


def scripted(mpe_map: MpeMap, script: Script) -> Parts:
    """Mean return of a script, and what it is made of."""
    env, n = MpeEnv(mpe_map, EPISODES), mpe_map.agents
    env.reset(episode_seeds(0, "reference", 0, EPISODES))
    total, far = np.zeros(EPISODES), np.zeros(EPISODES)
    for _ in range(env.spec.horizon):
        total += env.step(script(env.world(), mpe_map)).reward
        pos = env.world().positions
        far += np.linalg.norm(pos[:, :n] - pos[:, n : n + 1], axis=-1).sum(-1)
    return Parts(float(total.mean()), float(far.mean()), float((-total - n * far).mean()))


def uniform(mpe_map: MpeMap) -> Parts:
    """Mean return of uniformly random play."""
    g = generator(0, "reference")
    return scripted(mpe_map, lambda world, m: g.integers(m.spec.A, size=(len(world.positions), m.agents)))


def untrained(mpe_map: MpeMap) -> Float64[np.ndarray, " K"]:
    """Mean return of each of ``NETWORKS`` untrained networks, playing greedily and shared by all agents."""
    env, means = MpeEnv(mpe_map, EPISODES), []
    for k in range(NETWORKS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(k)
            actor = Actor(env.spec.O, env.spec.A, n_ids=env.spec.N)
        policy = SlotPolicy(env.spec, [actor], np.zeros(env.spec.N, np.int64))
        seeds = episode_seeds(0, "reference", 0, EPISODES)
        means.append(rollout(env, policy, seeds, generator(0, "reference")).returns.mean())
    return np.array(means)


def bound(mpe_map: MpeMap) -> float:
    """A return that nobody beats who is not pushed by others, and no prey that runs.

    From rest a particle's speed can grow by its acceleration and no more, so after t steps it has come a known way;
    every distance that counts is at least what it was at the start less that way. Touching costs nothing here.
    """
    env, n = MpeEnv(mpe_map, EPISODES), mpe_map.agents
    env.reset(episode_seeds(0, "reference", 0, EPISODES))
    pos = env.world().positions
    far = np.linalg.norm(pos[:, :n, None] - pos[:, None, n:], axis=-1)
    if mpe_map.scenario is navigation:
        far = far.min(1, keepdims=True)  # a landmark counts with its nearest seeker, a prey with every predator
    kind = mpe_map.scenario.kinds(n)[0]
    speed = way = total = 0.0
    for _ in range(env.spec.horizon):
        way += DT * speed
        speed = min((1 - DAMPING) * speed + DT * kind["accel"], kind["max_speed"])
        total -= n * np.maximum(far - way, 0.0).sum((1, 2)).mean()
    return float(total)


def mpe2_rate() -> float:
    """Environment steps per CPU second of mpe2's partially observable simple_spread, random actions."""
    from mpe2 import simple_spread_v3  # type: ignore[import-untyped]

    env = simple_spread_v3.parallel_env(num_agent_neighbors=1, num_landmark_neighbors=2)
    g, steps, busy = generator(0, "bench"), 0, time.process_time()
    for k in range(MPE2_EPISODES):
        env.reset(seed=k)
        while env.agents:
            env.step({agent: int(a) for agent, a in zip(env.agents, g.integers(5, size=3), strict=True)})
            steps += 1
    return steps / (time.process_time() - busy)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", action="store_true", help="how fast, beside mpe2")
    torch.set_num_threads(1)
    if parser.parse_args().speed:
        ours = bench_engine("mpe/CN_3ls3l")[1].value
        theirs = mpe2_rate()
        print(f"CN_3ls3l, steps per CPU second: ours {ours:,.0f}, mpe2 {theirs:,.0f}, ratio {ours / theirs:,.0f}")
        return
    print("| map | paper's range | uniform | untrained networks: median (from, to) | script | bound |")
    print("|---|---|---|---|---|---|")
    for name, (low, high) in PAPER.items():
        mpe_map = MAPS[name]
        script, nets = chase if name.startswith("PP") else seek, untrained(mpe_map)
        print(
            f"| {name} | {low} … {high} | {uniform(mpe_map).returns:.1f} | {np.median(nets):.1f} "
            f"({nets.min():.1f}, {nets.max():.1f}) | {scripted(mpe_map, script).returns:.1f} | {bound(mpe_map):.1f} |"
        )
    print("\nPP_3p1p by the prey's arena; D: distances summed over steps and predators, C: touches likewise.\n")
    print("| half side | uniform: D, C | −D − C | −3 D − C | script: D, C | −D − C | −3 D − C |")
    print("|---|---|---|---|---|---|---|")
    for side in ARENAS:
        mpe_map = replace(MAPS["PP_3p1p"], bound=side)
        cells = []
        for _, d, c in (uniform(mpe_map), scripted(mpe_map, chase)):
            cells += [f"{d:.1f}, {c:.1f}", f"{-d - c:.1f}", f"{-3 * d - c:.1f}"]
        print(f"| {side:g} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
