"""Joint policies of continuous actors on disk, and pools made of them; tests/test_pool.py has the discrete ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offmarl_bench.checkpoint import write_tensors
from offmarl_bench.continuous import DETERMINISTIC, ContinuousActor
from offmarl_bench.continuous_policy import ContinuousSlotPolicy
from offmarl_bench.envs import make_env
from offmarl_bench.errors import FormatError
from offmarl_bench.joints import fingerprint, load_joint, play_jointly, save_joint
from offmarl_bench.online_config import OnlineTraining
from offmarl_bench.pool import SHIPPED, Member, Pool, load_pool, save_pool
from offmarl_bench.pool_train import PoolTraining, pool_training_of, train_pool
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds, generator
from offmarl_bench.types import LEVELS
from tests.toy_continuous import SPEC

GOOD = ContinuousActor(SPEC.O, SPEC.A, 8, n_ids=SPEC.N, last_action=False, kind=DETERMINISTIC, recurrent=False)


def joint(seed: int, **settings: Any) -> ContinuousSlotPolicy:
    torch.manual_seed(seed)
    actors = [ContinuousActor(**GOOD.describe() | settings) for _ in range(2)]
    return ContinuousSlotPolicy(SPEC, actors, np.array([1, 0]))


@pytest.mark.parametrize("settings", [{}, {"recurrent": True, "kind": "gaussian", "last_action": True}])
def test_a_joint_policy_round_trips(tmp_path: Path, settings: dict[str, Any]) -> None:
    save_joint(tmp_path / "j.safetensors", joint(3, **settings))
    again = load_joint(tmp_path / "j.safetensors", SPEC, 0.1)
    assert isinstance(again, ContinuousSlotPolicy)
    assert again.noise == 0.1
    assert fingerprint(again) == fingerprint(joint(3, **settings)) != fingerprint(joint(4, **settings))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "cauchy"}, "actor kind 'cauchy', expected one of gaussian, deterministic"),
        ({"kind": 1}, "actor description .* expected"),
        ({"action_size": 5}, r"does not fit tests\.toy_continuous:suite/answers"),
        ({"n_actions": 2}, "actor description .* expected"),
        ({"hidden": 10**6}, "actor width 1000000, expected 1 to 4096"),
    ],
)
def test_a_strange_description_builds_no_network(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    header = {"actors": [GOOD.describe() | change], "assignment": [0, 0]}
    write_tensors(tmp_path / "x.safetensors", {f"0/{k}": v for k, v in GOOD.state_dict().items()}, header)
    with pytest.raises(FormatError, match=message):
        load_joint(tmp_path / "x.safetensors", SPEC)


def test_a_team_is_of_one_kind(tmp_path: Path) -> None:
    two = [GOOD, ContinuousActor(**GOOD.describe() | {"kind": "gaussian"})]  # type: ignore[arg-type]
    tensors = {f"{k}/{name}": t for k, a in enumerate(two) for name, t in a.state_dict().items()}
    write_tensors(tmp_path / "x.safetensors", tensors, {"actors": [a.describe() for a in two], "assignment": [0, 1]})
    with pytest.raises(FormatError, match="actors of several kinds, expected one"):
        load_joint(tmp_path / "x.safetensors", SPEC)


def test_a_pool_mixes_members_slot_by_slot_with_its_noise(tmp_path: Path) -> None:
    joints = (joint(0), joint(1))
    members = tuple(
        Member(name=f"m{k}", level=level, file=f"m{k}.safetensors", seed=k, steps=0, return_mean=float(k),
               return_std=0.0, win_rate=None, episodes=1, sha256="")
        for k, level in enumerate(("random", "expert"))
    )  # fmt: skip
    made = Pool(spec=SPEC, members=members, epsilon=0.1, low=0.0, high=1.0, thresholds=(0.3, 0.6), joints=joints)
    save_pool(made, tmp_path)
    pool = load_pool(SPEC.id, tmp_path)
    assert pool.exploration == "noise of σ = 0.1"
    policy = pool.policy(np.array([[0, 1], [1, 1]]))
    assert isinstance(policy, ContinuousSlotPolicy)
    assert policy.noise == 0.1
    obs = np.random.default_rng(0).normal(size=(2, SPEC.N, SPEC.O)).astype(np.float32)
    quiet, alone = policy.exploring(0.0), play_jointly(SPEC, joints[0].actors, joints[0].assignment)
    for p in (quiet, alone):
        p.reset(2)
    mixed, own = (p.act(obs, None, np.random.default_rng(0)) for p in (quiet, alone))
    assert np.allclose(mixed[0, 0], own[0, 0], atol=1e-6)
    assert not np.allclose(mixed[0, 1], own[0, 1], atol=1e-3)


def test_a_pool_is_trained_measured_and_split_in_thirds_or_as_asked(tmp_path: Path) -> None:
    online = OnlineTraining(
        steps=480, lanes=8, updates_per_episode=2.0, batch_size=64, window=1, replay=64, epsilon_end=0.2,
        epsilon_steps=200, save_every=80, test_every=200, test_episodes=8,
        settings={"recurrent": False, "hidden": 32, "actor_lr": 3e-3, "critic_lr": 3e-3, "tau": 0.05},
    )  # fmt: skip
    config = PoolTraining(
        seeds=(0,), early_seeds=1, early_steps=80, early_save_every=40, measure_episodes=16, reference_episodes=64,
        play_epsilon=0.1, online=online, split=(0.4, 0.8),
    )  # fmt: skip
    pool = load_pool(SPEC.id, train_pool(SPEC.id, config, out=tmp_path / "pool", work_dir=tmp_path / "work"))
    assert {m.level for m in pool.members} == {"random", "medium", "expert"}
    assert pool.high > 0.4 * pool.low
    assert pool.spec == SPEC


def test_the_robots_pools_are_made_as_documented() -> None:
    own = pool_training_of("mamujoco/HalfCheetah_2l")
    assert (own.play_epsilon, own.online.window) == (0.1, 8)
    assert own.online.epsilon_end > 0


@pytest.mark.parametrize(("name", "least"), [("HalfCheetah_2l", 450.0), ("Walker_2l", 200.0)])
def test_the_shipped_pools_of_the_robots_are_what_the_design_asks_for(name: str, least: float) -> None:
    """Levels in thirds, untrained networks of several seeds, and a best member that plays as measured."""
    pool = load_pool(f"mamujoco/{name}", SHIPPED / "mamujoco" / name)
    thirds = [pool.low + share * (pool.high - pool.low) for share in (1 / 3, 2 / 3)]
    assert pool.thresholds == pytest.approx(thirds)
    for level in LEVELS:
        there = [pool.members[k] for k in pool.members_of(level)]
        assert len(there) >= 4
        assert len({m.seed for m in there}) >= 2
        assert all(m.episodes >= 100 for m in there)
        assert all(pool.level_of(m.return_mean) == level for m in there)
    assert len({m.seed for m in pool.members if m.steps == 0}) >= 3
    best = int(np.argmax([m.return_mean for m in pool.members]))
    env = make_env(pool.env_id, 8)
    policy, seeds = pool.policy(np.full(env.spec.N, best)), episode_seeds(0, "verify", 0, 8)
    played = rollout(env, policy, seeds, generator(0, "verify"))
    assert played.returns.mean() > least
