"""Our particle worlds are those of the installed ``mpe2``: same starts, positions, observations and rewards.

The reference is stepped beside ours over whole episodes with collisions. Navigation is equal to the last bit, the
physics of predator–prey within 1e-12 (the prey's script is ours, so its choices are handed to the reference).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpe2 import simple_spread_v3, simple_tag_v3  # type: ignore[import-untyped]

from offmarl_bench.envs import make_env
from offmarl_bench.envs.mpe import pursuit
from offmarl_bench.envs.mpe.env import MpeEnv
from offmarl_bench.envs.mpe.physics import advance, particles
from offmarl_bench.seeding import generator
from offmarl_bench.types import Start, Step

EPISODES = 12
LOCAL_AND_GLOBAL = 2.0
"""mpe2 pays half of (global + local) at its default ratio; doubling is exact in binary."""
CROWD = 0.3
"""Half the side of the square that a crowded start squeezes everybody into, so that all of them collide."""

ERRATIC = 0.2
"""Share of random actions of a chasing predator."""


def build(map_name: str, lanes: int) -> MpeEnv:
    env = make_env(f"mpe/{map_name}", lanes)
    assert isinstance(env, MpeEnv)
    return env


def spread(n: int, *, partial: bool = True) -> Any:
    seen = {"num_agent_neighbors": 1, "num_landmark_neighbors": 2} if partial else {}
    return simple_spread_v3.parallel_env(N=n, **seen)


def world_of(reference: Any) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities (K, 2) of mpe2's particles."""
    entities = reference.unwrapped.world.entities
    return np.stack([e.state.p_pos for e in entities]), np.stack([e.state.p_vel for e in entities])


def rows(views: dict[str, Any]) -> np.ndarray:
    return np.stack(list(views.values()))


def full_view(positions: np.ndarray, velocities: np.ndarray, n: int) -> np.ndarray:
    """What mpe2's fully observing seekers see, from our world: velocity, position, landmarks, others, silence."""
    views = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        relative = np.concatenate([positions[n:], positions[others]]) - positions[i]
        views.append(np.concatenate([velocities[i], positions[i], relative.ravel(), np.zeros(2 * len(others))]))
    return np.array(views, np.float32)


def actions_of(reference: Any, joint: np.ndarray) -> dict[str, int]:
    return {a: int(joint[i]) for i, a in enumerate(reference.agents)}


@pytest.mark.parametrize("n", [3, 4])
def test_navigation_is_bit_identical_over_whole_episodes(n: int) -> None:
    env, g = build(f"CN_{n}ls{n}l", EPISODES), generator(0, "verify")
    partial, full = spread(n), spread(n, partial=False)
    joint = g.integers(5, size=(25, EPISODES, n))
    touched = 0.0
    for k in range(EPISODES):
        now: Start | Step = env.reset(np.array([k], np.uint64))
        views, _ = partial.reset(seed=k)
        wide, _ = full.reset(seed=k)
        for t in range(26):
            world = env.world()
            np.testing.assert_array_equal(now.obs[0], rows(views))
            np.testing.assert_array_equal(full_view(world.positions[0], world.velocities[0], n), rows(wide))
            positions, velocities = world_of(partial)
            np.testing.assert_array_equal(world.positions[0], positions)
            np.testing.assert_array_equal(world.velocities[0], velocities)
            if t == 25:
                break
            now = env.step(joint[t, k][None])
            views, rewards, terminated, truncated, _ = partial.step(actions_of(partial, joint[t, k]))
            wide, *_ = full.step(actions_of(full, joint[t, k]))
            assert env.world().rewards[0] == sum(LOCAL_AND_GLOBAL * r for r in rewards.values())
            scenario = partial.unwrapped.scenario
            touched += sum(scenario.reward(a, partial.unwrapped.world) for a in partial.unwrapped.world.agents)
            assert not any(terminated.values())
            assert not now.terminated.any()
            assert all(truncated.values()) == bool(now.truncated[0]) == (t == 24)
    assert touched < -EPISODES, "episodes without collisions would prove little"


@pytest.mark.parametrize("n", [3, 4])
def test_a_crowded_start_taken_from_mpe2_is_bit_identical_too(n: int) -> None:
    env, reference, g = build(f"CN_{n}ls{n}l", 1), spread(n), generator(1, "verify")
    for k in range(EPISODES):
        env.reset(np.array([k], np.uint64))
        reference.reset(seed=k)
        for entity in reference.unwrapped.world.entities:
            entity.state.p_pos = g.uniform(-CROWD, CROWD, 2)
        for agent in reference.unwrapped.world.agents:
            agent.state.p_vel = g.uniform(-1, 1, 2)
        positions, velocities = world_of(reference)
        env.place(positions[None], velocities[None])
        for joint in g.integers(5, size=(25, n)):
            now = env.step(joint[None])
            views, rewards, *_ = reference.step(actions_of(reference, joint))
            np.testing.assert_array_equal(now.obs[0], rows(views))
            np.testing.assert_array_equal(env.world().positions[0], world_of(reference)[0])
            assert env.world().rewards[0] == sum(LOCAL_AND_GLOBAL * r for r in rewards.values())


def nearest_only(view: np.ndarray) -> np.ndarray:
    """mpe2's full view of a predator (vel, pos, two predators, prey, prey's vel) without the farther predator."""
    own, predators, prey = view[:4], view[4:8].reshape(2, 2), view[8:]
    return np.concatenate([own, predators[np.hypot(*predators.T).argmin()], prey])


def chase(obs: np.ndarray, g: np.random.Generator) -> np.ndarray:
    """Towards the prey along the longer axis, and now and then anywhere."""
    x, y = obs[:, 6], obs[:, 7]
    towards = np.where(abs(x) > abs(y), np.where(x > 0, 2, 1), np.where(y > 0, 4, 3))
    return np.where(g.random(len(x)) < ERRATIC, g.integers(5, size=len(x)), towards)


def test_predators_and_prey_move_and_see_as_in_simple_tag() -> None:
    env, g = build("PP_3p1p", 1), generator(2, "verify")
    reference = simple_tag_v3.parallel_env(num_good=1, num_adversaries=3, num_obstacles=0)
    kinds, contacts = pursuit.kinds(3), 0
    for k in range(EPISODES):
        now: Start | Step = env.reset(np.array([k], np.uint64))
        views, _ = reference.reset(seed=k)
        if k % 2:  # every second episode begins in a crowd
            for entity in reference.unwrapped.world.entities:
                entity.state.p_pos = g.uniform(-CROWD, CROWD, 2)
            positions, velocities = world_of(reference)
            now = env.place(positions[None], velocities[None])
            views = {a: reference.unwrapped.observe(a) for a in reference.agents}
        for _ in range(25):
            joint = chase(now.obs[0], g)
            np.testing.assert_allclose(now.obs[0], [nearest_only(v) for v in rows_of_predators(views)], rtol=1e-6)
            positions, velocities = world_of(reference)
            prey = int(pursuit.flee(kinds, 3, pursuit.ARENA, positions, velocities))
            now = env.step(joint[None])
            views, *_ = reference.step(actions_of(reference, np.append(joint, prey)))
            world, (positions, velocities) = env.world(), world_of(reference)
            np.testing.assert_allclose(world.positions[0], positions, rtol=0, atol=1e-12)
            np.testing.assert_allclose(world.velocities[0], velocities, rtol=0, atol=1e-12)
            scenario, agents = reference.unwrapped.scenario, reference.unwrapped.world.agents
            contacts += sum(scenario.is_collision(a, agents[3]) for a in agents[:3])
    assert contacts > EPISODES, "episodes in which nobody is touched would prove little"


def rows_of_predators(views: dict[str, Any]) -> list[np.ndarray]:
    return [v for name, v in views.items() if name.startswith("adversary")]


def test_the_physics_holds_among_obstacles() -> None:
    # No map of ours has any, but a map of yours may.
    reference, g = simple_tag_v3.parallel_env(num_obstacles=2), generator(3, "verify")
    obstacles = particles(2, size=0.2, moves=False)
    kinds, force = np.concatenate([pursuit.kinds(3), obstacles]), np.zeros((4, 2))
    for k in range(EPISODES):
        reference.reset(seed=k)
        positions, velocities = world_of(reference)
        for joint in g.integers(5, size=(25, 4)):
            advance(kinds, positions, velocities, joint, force)
            reference.step(actions_of(reference, joint))
            for ours, theirs in zip((positions, velocities), world_of(reference), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
