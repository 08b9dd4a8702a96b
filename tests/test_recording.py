"""A stranger's policies in a stranger's environment become a dataset of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

import offmarl_bench as ob
from offmarl_bench.envs import get_spec, make_env
from offmarl_bench.errors import FormatError, OffmarlError, SpecMismatch, UnknownName
from offmarl_bench.policies import UniformPolicy
from offmarl_bench.recording import record
from offmarl_bench.testing import check_dataset
from tests.test_pettingzoo import Mixed

MIXED: dict[str, Any] = {"horizon": 6, "seed_bits": 32, "env_id": "x/mixed"}


class Counter:
    """A policy with a memory: how often it was asked in this episode."""

    def __init__(self) -> None:
        self.asked = 0
        self.seen: list[Any] = []

    def reset(self) -> None:
        self.asked = 0

    def __call__(self, obs: Any, legal: Any, generator: np.random.Generator) -> Any:
        self.seen.append((obs, legal, self.asked))
        self.asked += 1
        return int(generator.choice(np.flatnonzero(legal))), -1.5


def last_scout(obs: Any, legal: Any, generator: Any) -> int:
    """Actions of this space begin at 1, and 2 is always among the legal ones."""
    return 2


def play(**changes: Any) -> Any:
    tank = Counter()
    given: dict[str, Any] = {
        "policies": {"scout_0": last_scout, "scout_1": last_scout, "tank_0": tank}, "episodes": 3, "seed": 4,
        "progress": False, **MIXED, **changes,
    }  # fmt: skip
    return record(given.pop("env", Mixed), **given), tank


def test_what_was_played_is_what_is_stored(tmp_path: Path) -> None:
    data, tank = play(out=tmp_path / "x.h5", levels={"scout_0": "random", "scout_1": "expert", "tank_0": "medium"})
    assert (len(data), data.spec.id, data.spec.agents) == (3, "x/mixed", ("scout_0", "scout_1", "tank_0"))
    assert data.lengths.tolist() == [4, 4, 4]
    assert [e.terminal for e in data] == [True] * 3
    np.testing.assert_array_equal(data[0].actions[:, 0], [1, 1, 1, 1])
    np.testing.assert_array_equal(data[0].behavior_level[0], [0, 2, 1])
    np.testing.assert_array_equal(data[0].behavior_policy[0], [0, 0, 1])
    assert np.isnan(data[0].behavior_logprob[0, 0])
    assert data[0].behavior_logprob[:, 2].tolist() == [-1.5, -1.5, 0, 0], "who has left has nothing to decide"
    assert data.metadata["policies"] == ["last_scout", "Counter"]
    assert data.metadata["played_by"] == {"scout_0": "last_scout", "scout_1": "last_scout", "tank_0": "Counter"}
    assert [asked for *_, asked in tank.seen] == [0, 1] * 3, "it is told when an episode begins"
    assert {(obs.shape, legal.shape) for obs, legal, _ in tank.seen} == {((3,), (4,))}
    again = ob.load_dataset(tmp_path / "x.h5")
    for name, column in data.columns.items():
        np.testing.assert_array_equal(again.columns[name], column)
    check_dataset(again)


def test_the_same_seed_gives_the_same_data_and_another_does_not() -> None:
    (first, _), (again, _), (other, _) = play(), play(env=Mixed()), play(seed=5)
    for name, column in first.columns.items():
        np.testing.assert_array_equal(again.columns[name], column)
    assert (first.columns["actions"] != other.columns["actions"]).any()


def test_one_policy_for_all_and_joint_policies_and_ids_of_ours() -> None:
    def lowest(obs: Any, legal: Any, generator: Any) -> Any:
        return np.int64(np.argmax(legal))

    data = record("toy/signals", lowest, episodes=2, progress=False)
    legal = data.columns["legal_actions"].argmax(-1)
    np.testing.assert_array_equal(data.columns["actions"], np.where(data.columns["is_last"][:, None], 0, legal))
    assert (data.levels == -1).all()
    assert data.metadata["backend"]
    joint = record(make_env("toy/signals", 1), UniformPolicy(get_spec("toy/signals")), episodes=2, progress=False)
    assert joint.metadata["policies"] == ["UniformPolicy"]
    assert ob.record is record


class Boxes(Mixed):
    """Everybody pushes with a force from 0 to 4."""

    def action_space(self, agent: str) -> Any:
        return spaces.Box(0, 4, (1,), np.float32)

    def step(self, actions: Any) -> Any:
        self.forces = getattr(self, "forces", [])
        self.forces.append({a: float(x[0]) for a, x in actions.items()})
        seen, rewards, ended, cut, _ = super().step(actions)
        return seen, rewards, ended, cut, {a: {} for a in seen}


def test_continuous_actions_are_in_the_environments_own_units() -> None:
    env = Boxes()
    data = record(env, lambda obs, legal, g: np.array([3.0]), episodes=1, progress=False, **MIXED)
    assert env.forces[0] == {"scout_0": 3.0, "scout_1": 3.0, "tank_0": 3.0}
    np.testing.assert_array_equal(data[0].actions[0, :, 0], [0.5] * 3)
    with pytest.raises(SpecMismatch, match=r"agent 'scout_0' returned array\(\[5.\]\), expected 1 numbers from 0 to 4"):
        record(env, lambda obs, legal, g: np.array([5.0]), episodes=1, progress=False, **MIXED)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"episodes": 0}, FormatError, "episodes=0, expected at least 1"),
        ({"policies": {"scout_0": last_scout}}, FormatError, "policies has no entry for agent 'scout_1'; name all of"),
        ({"policies": {"scout": last_scout}}, UnknownName, r"agent of x/mixed 'scout'.*scout_0"),
        ({"levels": "exprt"}, UnknownName, r"level 'exprt'.*expert"),
        ({"env": 5}, FormatError, "cannot record in int: expected an id such as 'smac/2s3z', a PettingZoo ParallelEnv"),
        ({"env": "toy/signals"}, FormatError, r"options \['env_id', 'horizon', 'seed_bits'\] are for a ParallelEnv"),
        ({"policies": lambda o, m, g: 3}, SpecMismatch, "action 2 is illegal"),
        ({"policies": lambda o, m, g: 1.5}, SpecMismatch, "agent 'scout_0' returned 1.5, expected one whole number"),
        ({"policies": lambda o, m, g: None}, SpecMismatch, "agent 'scout_0' returned None, expected one whole number"),
    ],
)
def test_what_cannot_be_recorded_is_named(changes: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        play(**changes)


def test_a_file_in_the_way_is_found_before_anything_is_played(tmp_path: Path) -> None:
    (tmp_path / "x.h5").touch()
    with pytest.raises(OffmarlError, match=r"x.h5 exists already; choose another name, or remove it first"):
        play(out=tmp_path / "x.h5", policies=None)
