"""The robots by hand: who sees and moves what, what is paid, when it ends, what is refused, what is not installed."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

from offmarl_bench import catalog
from offmarl_bench.bench import bench_engine
from offmarl_bench.envs import get_spec, get_suite, make_env
from offmarl_bench.envs.mamujoco import simulator
from offmarl_bench.envs.mamujoco.env import MujocoEnv
from offmarl_bench.envs.mamujoco.maps import SCENARIOS, get_map
from offmarl_bench.envs.mamujoco.robots import HALF_CHEETAH, WALKER
from offmarl_bench.envs.mamujoco.views import neighbours, views
from offmarl_bench.envs.scene import Drawable
from offmarl_bench.errors import OffmarlError, SpecMismatch, UnknownName
from offmarl_bench.policies import UniformPolicy
from offmarl_bench.recipes import named_recipe, parse_recipe
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds, generator
from offmarl_bench.testing import check_environment

MAPS = ("HalfCheetah_2l", "Walker_2l")


def build(map_name: str, lanes: int = 1) -> MujocoEnv:
    env = make_env(f"mamujoco/{map_name}", lanes)
    assert isinstance(env, MujocoEnv)
    return env


def force(env: MujocoEnv, lanes: int = 1, value: float = 0.0) -> np.ndarray:
    return np.full((lanes, env.spec.N, env.spec.A), value, np.float32)


@pytest.mark.parametrize("map_name", [*MAPS, "HalfCheetah-6x1", "Walker2d-2x3-k0"])
def test_our_robots_keep_the_contract(map_name: str) -> None:
    check_environment(f"mamujoco/{map_name}")


@pytest.mark.parametrize("map_name", ["Hopper-3x1", "Reacher-2x1-apart"])
def test_robots_that_another_package_steps_keep_it_too(map_name: str) -> None:
    check_environment(f"mamujoco/{map_name}")


def test_other_splits_come_padded_with_true_sizes() -> None:
    ant, humanoid = get_spec("mamujoco/Ant-2x4"), get_spec("mamujoco/Humanoid-9+8")
    assert (ant.N, ant.A, len(ant.types)) == (2, 4, 1)
    assert (humanoid.A, humanoid.action_sizes, len(humanoid.types)) == (9, (9, 8), 2)
    assert humanoid.obs_sizes[0] == humanoid.O > humanoid.obs_sizes[1]
    six = get_spec("mamujoco/HalfCheetah-6x1")
    assert six.obs_sizes == (9, 9, 8, 9, 9, 8)
    assert six.agent_types == ("la", "la", "lb", "la", "la", "lb"), "who sees as much may learn from each other"


def test_both_legs_are_one_type_unless_they_are_to_be_kept_apart() -> None:
    for map_name in MAPS:
        together, apart = get_spec(f"mamujoco/{map_name}"), get_spec(f"mamujoco/{map_name}-apart")
        assert (together.agents, together.types) == (("l1", "l2"), ("l",))
        assert (apart.agents, apart.types) == (("l1", "l2"), ("l1", "l2"))


@pytest.mark.parametrize(("map_name", "quality", "text"), [
    ("HalfCheetah_2l", "low", "100%[l1r,l2m]"), ("HalfCheetah_2l", "medium", "100%[l1r,l2e]"),
    ("Walker_2l", "low", "100%[l1r,l2m]"), ("Walker_2l", "medium", "100%[l1r,l2e]"),
])  # fmt: skip
def test_the_recipes_of_table_9_parse(map_name: str, quality: str, text: str) -> None:
    spec = get_spec(f"mamujoco/{map_name}")
    assert str(parse_recipe(named_recipe(spec.id, quality).text, spec)) == text


def test_a_leg_sees_its_own_joints_its_neighbours_angle_and_the_torso() -> None:
    tables = views(HALF_CHEETAH, "2x3", 1)
    # bfoot, bshin, bthigh: angle and speed each; the other leg's thigh; height, lean and three speeds of the torso.
    assert tables.seen[0].tolist() == [5, 14, 4, 13, 3, 12, 6, 1, 2, 9, 10, 11]
    assert tables.obs_sizes == (12, 12)
    assert views(HALF_CHEETAH, "2x3", 0).obs_sizes == (11, 11)
    assert neighbours(HALF_CHEETAH, ("bthigh",), 2) == [["bthigh"], ["bshin", "fthigh"], ["bfoot", "fshin"]]
    assert views(WALKER, "2x3", 1).motors.tolist() == [[2, 1, 0], [5, 4, 3]], "from the foot upwards, as in MaMuJoCo"


@pytest.mark.parametrize("map_name", MAPS)
def test_the_papers_episodes_are_cut_at_200_steps_and_never_end_by_themselves(map_name: str) -> None:
    env = build(map_name, 4)
    played = rollout(env, UniformPolicy(env.spec), episode_seeds(0, "verify", 0, 4), generator(0, "verify"))
    assert set(played.lengths) == {200}
    assert not played.terminated.any()


def test_the_paid_walker_earns_1_while_upright_and_ends_when_it_falls() -> None:
    paid, plain = build("Walker2d-2x3"), build("Walker_2l")
    for env in (paid, plain):
        env.reset(np.zeros(1, np.uint64))
    first = [env.step(force(env, value=1.0)).reward[0] for env in (paid, plain)]
    assert first[0] == pytest.approx(first[1] + 1, abs=1e-6)
    for _ in range(200):
        now, other = paid.step(force(paid, value=-1.0)), plain.step(force(plain, value=-1.0))
    assert now.terminated.all()
    assert now.reward[0] == 0, "a finished lane earns nothing"
    assert other.truncated.all()
    assert not other.terminated.any()


def test_force_beyond_one_changes_nothing() -> None:
    env = build("HalfCheetah_2l")
    seen = []
    for value in (1.0, 7.5):
        env.reset(np.zeros(1, np.uint64))
        seen.append(env.step(force(env, value=value)))
    np.testing.assert_equal(seen[0], seen[1])


def test_the_walkers_state_shows_velocities_cut_to_ten_and_its_observations_as_they_are() -> None:
    env = build("Walker_2l", 8)
    env.reset(episode_seeds(0, "verify", 0, 8))
    g, wild = generator(0, "verify"), 0.0
    for _ in range(60):
        now = env.step(g.uniform(-1, 1, (8, 2, 3)))
        wild = max(wild, float(np.abs(now.obs).max()))
        assert np.abs(now.state[:, 8:]).max() <= 10
    assert wild > 10


@pytest.mark.parametrize(("map_name", "low", "high"), [("HalfCheetah_2l", -65, -45), ("Walker_2l", -25, 10)])
def test_uniform_play_returns_what_the_docs_say(map_name: str, low: float, high: float) -> None:
    env = build(map_name, 64)
    played = rollout(env, UniformPolicy(env.spec), episode_seeds(0, "verify", 0, 64), generator(0, "verify"))
    assert low < played.returns.mean() < high


@pytest.mark.parametrize("map_name", MAPS)
def test_a_robot_is_drawn_leg_by_leg(map_name: str) -> None:
    env = build(map_name, 2)
    env.reset(np.arange(2, dtype=np.uint64))
    assert isinstance(env, Drawable)
    scene = env.scene(1)
    assert [b.name for b in scene.bodies] == ["l1", "l2"]
    assert [sum(s.agent == k for s in scene.sticks) for k in range(2)] == [3, 3]
    assert all(-0.1 < s.y0 < 1.6 for s in scene.sticks if s.agent is not None), "above the floor"
    assert scene.caption.endswith("m/s")


def test_misuse_is_refused_in_words() -> None:
    suite = get_suite("mamujoco")
    with pytest.raises(UnknownName, match=r"unknown map of suite mamujoco 'Walker_2'\. Did you mean 'Walker_2l'"):
        suite.spec("Walker_2")
    with pytest.raises(UnknownName, match=r"'Ant-3x3'.* Behind a name: -k0 to -k9 .* then -apart"):
        suite.spec("Ant-3x3")
    env = build("HalfCheetah_2l", 2)
    with pytest.raises(SpecMismatch, match=r"step before reset; call reset\(seeds\) first"):
        env.step(force(env, 2))
    with pytest.raises(SpecMismatch, match=r"seeds of shape \(3,\), expected 1 to 2 of them"):
        env.reset(np.zeros(3, np.uint64))
    env.reset(np.zeros(2, np.uint64))
    with pytest.raises(SpecMismatch, match=r"shape \(2, 2, 2\) and type float32, expected floats of shape \(2, 2, 3\)"):
        env.step(force(env, 2)[..., :2])
    with pytest.raises(SpecMismatch, match=r"shape \(2, 2, 3\) and type int64, expected floats"):
        env.step(np.zeros((2, 2, 3), np.int64))
    bad = force(env, 2)
    bad[1, 0, 2] = np.nan
    with pytest.raises(SpecMismatch, match=r"lane 1, agent l1, step 0: action \[0.0, 0.0, nan\] is not finite"):
        env.step(bad)


def test_every_listed_split_has_a_map() -> None:
    for scenario, splits in SCENARIOS.items():
        for split in splits:
            assert get_map(f"{scenario}-{split.replace('NxM', '3x2')}").name.startswith(scenario)


@pytest.fixture
def no_mujoco(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where only the required packages are installed."""

    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(simulator, "version", absent)
    for module in ("mujoco", "mujoco.batch", "gymnasium_robotics.envs.multiagent_mujoco.mamujoco_v1"):
        monkeypatch.setitem(sys.modules, module, None)
    simulator.load_model.cache_clear()


@pytest.mark.usefixtures("no_mujoco")
def test_without_mujoco_maps_are_listed_and_the_rest_is_one_line() -> None:
    listed = [s.id for s in catalog.list_environments()]
    assert {"mamujoco/Walker_2l", "toy/signals", "mpe/CN_3ls3l"} <= set(listed)
    suite = get_suite("mamujoco")
    with pytest.raises(OffmarlError, match=r"needs the package mujoco, .*; pip install 'offmarl-bench\[mujoco\]'$"):
        suite.backend()
    for call in (lambda: suite.make("Walker_2l", 1), lambda: suite.spec("Ant-2x4")):
        with pytest.raises(OffmarlError, match=r"which cannot be imported .*; pip install 'offmarl-bench\[mujoco\]'$"):
            call()


def test_a_mujoco_without_batches_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco.batch", None)
    with pytest.raises(
        OffmarlError, match=r"needs mujoco\.batch of the package mujoco \(3\.17 or newer\), which cannot"
    ):
        build("Walker_2l")


def test_another_body_under_the_same_name_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    simulator.load_model.cache_clear()
    monkeypatch.setattr(simulator, "ASSETS", tmp_path)
    with pytest.raises(OffmarlError, match=r"walker2d_v5\.xml: cannot be read"):
        build("Walker_2l")
    (tmp_path / "walker2d_v5.xml").write_text("<mujoco/>")
    with pytest.raises(OffmarlError, match=r"not the Walker2d of gymnasium 1\.4\.0 that .* install gymnasium==1\.4\.0"):
        build("Walker_2l")


def test_what_the_other_package_cannot_build_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from gymnasium_robotics.envs.multiagent_mujoco import mamujoco_v1  # type: ignore[import-untyped]

    def broken(*_: object, **__: object) -> None:
        raise IndexError("invalid index")

    monkeypatch.setattr(mamujoco_v1, "parallel_env", broken)
    with pytest.raises(
        OffmarlError, match=r"Hopper-3x1: gymnasium-robotics .* cannot build Hopper 3x1 \(IndexError: inv"
    ):
        make_env("mamujoco/Hopper-3x1", 1)


def test_the_version_of_mujoco_is_the_backend() -> None:
    assert get_suite("mamujoco").backend() == f"mujoco-{simulator.mujoco_version()}"


@pytest.mark.parametrize(("map_name", "least"), [("HalfCheetah_2l", 5_000), ("Walker_2l", 2_000)])
def test_the_engine_benchmark_runs(map_name: str, least: int) -> None:
    _, busy = bench_engine(f"mamujoco/{map_name}", num_envs=16, seconds=0.2)
    assert "mujoco-" in busy.case
    assert busy.value > least, "a promise of four times as much on an idle core; far below it, something is broken"
    json.dumps(busy.to_json())
