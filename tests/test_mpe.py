"""The particle environments by hand-made scenes: what is seen, what is paid, where the prey runs, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from offmarl_bench.bench import bench_engine
from offmarl_bench.collate import collate
from offmarl_bench.envs import get_suite, make_env
from offmarl_bench.envs.mpe import pursuit
from offmarl_bench.envs.mpe.env import MpeEnv
from offmarl_bench.envs.mpe.physics import ACTIONS
from offmarl_bench.errors import SpecMismatch, UnknownName
from offmarl_bench.policies import UniformPolicy
from offmarl_bench.recipes import parse_recipe
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds, generator
from offmarl_bench.types import Start, Step

MAPS = ("CN_3ls3l", "CN_4ls4l", "PP_3p1p")
STILL = 0
FAR = 5.0


def scene(map_name: str, *places: tuple[float, float]) -> MpeEnv:
    """One lane with everybody at rest at these places."""
    env = make_env(f"mpe/{map_name}", 1)
    assert isinstance(env, MpeEnv)
    env.reset(np.zeros(1, np.uint64))
    env.place(np.array([places]), np.zeros((1, len(places), 2)))
    return env


def pays(env: MpeEnv) -> float:
    """Team reward of a step in which nobody does anything; at rest and apart, nothing moves."""
    return float(env.step(np.full((1, env.spec.N), STILL)).reward[0])


def test_navigation_pays_every_agent_the_distances_of_the_landmarks() -> None:
    # Landmarks at distance 0, 0.3 and 0.4 of their nearest seekers: −0.7 for each of three.
    env = scene("CN_3ls3l", (0, 0), (1, 0), (0, 1), (0, 0), (1, 0.3), (0.4, 1))
    assert pays(env) == pytest.approx(3 * -0.7)


def test_navigation_fines_both_who_touch() -> None:
    # Seekers 0.2 apart touch (radius 0.15 each); their landmarks are right where they are.
    apart = scene("CN_3ls3l", (0, 0), (0, 2), (2, 0), (0, 0), (0, 2), (2, 0))
    touching = scene("CN_3ls3l", (0, 0), (0, 0.2), (2, 0), (0, 0), (0, 0.2), (2, 0))
    assert pays(apart) == 0
    assert pays(touching) == -2


def test_a_seeker_sees_itself_the_two_nearest_landmarks_and_the_nearest_seeker() -> None:
    env = scene("CN_3ls3l", (0, 0), (1, 0), (-0.5, 0), (3, 0), (0, 0.25), (0, -0.5))
    velocities = np.zeros((1, 6, 2))
    velocities[0, 0] = 0.125, -0.25
    obs, state, _ = env.place(env.world().positions, velocities)
    expected = [0.125, -0.25, 0, 0, 0, 0.25, 0, -0.5, -0.5, 0, 0, 0]  # vel, pos, landmarks, seeker, silence
    np.testing.assert_array_equal(obs[0, 0], np.array(expected, np.float32))
    np.testing.assert_array_equal(state[0, :4], np.array([0, 0, 0.125, -0.25], np.float32))
    np.testing.assert_array_equal(state[0, 12:], np.array([3, 0, 0, 0.25, 0, -0.5], np.float32))


def test_a_predator_sees_itself_the_nearest_predator_and_the_prey() -> None:
    env = scene("PP_3p1p", (0, 0), (1, 0), (-0.5, 0), (0.25, 0.5))
    velocities = np.zeros((1, 4, 2))
    velocities[0, 0], velocities[0, 3] = (0.5, 0), (0, -1)
    obs, state, _ = env.place(env.world().positions, velocities)
    np.testing.assert_array_equal(obs[0, 0], np.array([0.5, 0, 0, 0, -0.5, 0, 0.25, 0.5, 0, -1], np.float32))
    np.testing.assert_array_equal(state[0, 12:], np.array([0.25, 0.5, 0, -1], np.float32))


def test_pursuit_pays_every_predator_all_distances_and_fines_both_who_touch() -> None:
    apart = scene("PP_3p1p", (0.5, 0), (-0.5, 0), (0, -0.5), (0, 0))
    assert pays(apart) == pytest.approx(3 * -1.5)
    touching = scene("PP_3p1p", (0.5, 0), (0.5, 0.1), (0, -0.5), (0, 0))
    shares = 0.5 + np.hypot(0.5, 0.1) + 0.5
    assert pays(touching) == pytest.approx(-3 * shares - 2)


def flight(prey: tuple[float, float], *predators: tuple[float, float], speed: tuple[float, float] = (0, 0)) -> str:
    """The prey's choice."""
    positions = np.array([*predators, prey], np.float64)
    velocities = np.zeros_like(positions)
    velocities[-1] = speed
    n = len(predators)
    return ACTIONS[pursuit.flee(pursuit.kinds(n), n, pursuit.ARENA, positions, velocities)]


def test_the_prey_runs_from_the_nearest_predator_along_the_longer_axis() -> None:
    assert flight((0, 0), (0.3, 0.1), (-0.6, 0)) == "left"
    assert flight((0, 0), (-0.3, 0.1), (0.6, 0)) == "right"
    assert flight((0, 0), (0.1, 0.3)) == "down"
    assert flight((0, 0), (0.1, -0.3)) == "up"


def test_the_prey_turns_at_the_wall_and_stays_in_a_corner() -> None:
    assert flight((0.89, 0), (0.5, 0.1)) == "down"  # not right, where it would leave the arena
    assert flight((0.89, 0.89), (0.5, 0.5)) == "noop"
    assert flight((0.5, 0), (0.2, 0.1), speed=(1.3, 0)) == "left"  # too fast to stop in time otherwise
    assert flight((1.0, 0), (0.5, 0)) == "left"  # pushed out: back inside comes first


@pytest.mark.parametrize("chasing", [True, False], ids=["chased", "left alone"])
def test_the_prey_stays_in_its_arena_and_is_faster_than_its_predators(chasing: bool) -> None:
    env = make_env("mpe/PP_3p1p", 64)
    assert isinstance(env, MpeEnv)
    now: Start | Step = env.reset(episode_seeds(0, "verify", 0, 64))
    inside = fastest = 0.0
    for _ in range(env.spec.horizon):
        x, y = now.obs[..., 6], now.obs[..., 7]
        joint = np.where(abs(x) > abs(y), np.where(x > 0, 2, 1), np.where(y > 0, 4, 3)) * chasing
        now = env.step(joint)
        world = env.world()
        speeds = np.hypot(*np.moveaxis(world.velocities, -1, 0))
        fastest = max(fastest, speeds[:, 3].max())
        assert speeds[:, :3].max() < 1.0 + 1e-9
        inside = np.mean(np.abs(world.positions[:, 3]).max(-1) <= pursuit.ARENA + 1e-9)
    assert 1.0 < fastest < 1.3 + 1e-9
    assert inside > (0.5 if chasing else 0.99), "a predator may push it over the edge, nothing else"


@pytest.mark.parametrize("map_name", MAPS)
def test_episodes_are_cut_at_25_steps_and_every_action_is_always_legal(map_name: str) -> None:
    env = make_env(f"mpe/{map_name}", 8)
    played = rollout(
        env, UniformPolicy(env.spec), episode_seeds(0, "verify", 0, 8), generator(0, "verify"), record=True
    )
    assert set(played.lengths) == {25}
    assert not played.terminated.any()
    assert all(e.legal_actions is not None and e.legal_actions.all() for e in played.episodes or [])
    batch = collate(played.episodes or [], env.spec)
    assert batch.alive.all(), "every agent counts in every mean"


@pytest.mark.parametrize(
    ("env_id", "text"),
    [
        ("CN_3ls3l", "50%[ls1r,ls2r,ls3r] + 50%[ls1r,ls2r,ls3m]"),
        ("CN_4ls4l", "100%[ls1r,ls2r,ls3e,ls4e]"),
        ("PP_3p1p", "100%[p1r,p2m,p3e]"),
    ],
)
def test_the_recipes_of_table_8_parse(env_id: str, text: str) -> None:
    spec = get_suite("mpe").spec(env_id)
    assert str(parse_recipe(text, spec)) == text
    assert len(spec.types) == 1, "all learn from each other"


@pytest.mark.parametrize(("map_name", "low", "high"), [("CN_3ls3l", -180, -150), ("CN_4ls4l", -280, -240),
                                                      ("PP_3p1p", -310, -285)])  # fmt: skip
def test_uniform_play_returns_what_the_docs_say(map_name: str, low: float, high: float) -> None:
    env = make_env(f"mpe/{map_name}", 512)
    played = rollout(env, UniformPolicy(env.spec), episode_seeds(0, "verify", 0, 512), generator(0, "verify"))
    assert low < played.returns.mean() < high


def test_misuse_is_refused_in_words() -> None:
    suite = get_suite("mpe")
    with pytest.raises(UnknownName, match=r"unknown map of suite mpe 'CN_3ls3'\. Did you mean 'CN_3ls3l'"):
        suite.make("CN_3ls3", 1)
    env = suite.make("PP_3p1p", 2)
    assert isinstance(env, MpeEnv)
    with pytest.raises(SpecMismatch, match=r"step before reset; call reset\(seeds\) first"):
        env.step(np.zeros((2, 3), int))
    with pytest.raises(SpecMismatch, match=r"place before reset; call reset\(seeds\) first"):
        env.place(np.zeros((2, 4, 2)), np.zeros((2, 4, 2)))
    with pytest.raises(SpecMismatch, match=r"seeds of shape \(3,\), expected 1 to 2 of them"):
        env.reset(np.zeros(3, np.uint64))
    env.reset(np.zeros(2, np.uint64))
    with pytest.raises(SpecMismatch, match=r"actions have shape \(2, 2\) and type int64, expected integers"):
        env.step(np.zeros((2, 2), int))
    with pytest.raises(SpecMismatch, match="lane 1, agent p3, step 0: action 5 is illegal; legal actions are"):
        env.step(np.array([[0, 0, 0], [0, 0, 5]]))
    with pytest.raises(SpecMismatch, match=r"place got velocities of shape \(2, 3, 2\), expected finite \(2, 4, 2\)"):
        env.place(np.zeros((2, 4, 2)), np.zeros((2, 3, 2)))
    with pytest.raises(SpecMismatch, match="place got positions"):
        env.place(np.full((2, 4, 2), np.nan), np.zeros((2, 4, 2)))


@pytest.mark.parametrize("map_name", MAPS)
def test_the_engine_benchmark_runs_on_every_map(map_name: str) -> None:
    wall, busy = bench_engine(f"mpe/{map_name}", num_envs=256, seconds=0.2)
    assert "particles-" in wall.case
    assert busy.value > 50_000, "a promise of 300,000 on an idle core; far below it, something is broken"
    json.dumps(busy.to_json())
