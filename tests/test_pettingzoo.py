"""The PettingZoo face passes PettingZoo's own tests and ours; a stranger's environment comes back in unharmed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo import ParallelEnv

from offmarl_bench.envs import make_env
from offmarl_bench.envs.pettingzoo import ParallelSuite, parallel_env, wrap_parallel_env
from offmarl_bench.errors import FormatError, SpecMismatch, UnknownName
from offmarl_bench.testing import check_environment
from offmarl_bench.types import Step

with warnings.catch_warnings():
    # Where pygame is installed (mpe2 brings it), PettingZoo's tests import a game of its own by a deprecated name.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import parallel_api_test, parallel_seed_test

IDS = ("toy/signals", "toy/target", "smac/2s3z", "mpe/CN_3ls3l", "mpe/CN_4ls4l", "mpe/PP_3p1p",
       "mamujoco/HalfCheetah_2l", "mamujoco/Walker_2l")  # fmt: skip


@pytest.mark.parametrize("env_id", IDS)
def test_pettingzoos_own_conformance_tests_pass(env_id: str) -> None:
    parallel_api_test(parallel_env(env_id), num_cycles=200)
    parallel_seed_test(lambda: parallel_env(env_id), num_cycles=200)


def episode(env: Any, seed: int) -> list[Any]:
    """Everything an episode shows, with legal actions drawn from seeded spaces."""
    obs, infos = env.reset(seed=seed)
    for i, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(i)
    seen: list[Any] = [obs, infos, env.state()]
    while env.agents:
        masks = {a: obs[a]["action_mask"] if isinstance(obs[a], dict) else None for a in env.agents}
        after = env.step({a: env.action_space(a).sample(masks[a]) for a in env.agents})
        obs = after[0]
        seen += [*after, env.state()]
    return seen


@pytest.mark.parametrize("env_id", IDS)
def test_whole_episodes_are_equal_under_equal_seeds_and_differ_otherwise(env_id: str) -> None:
    # PettingZoo's seed test stops after one step, so this is the test that counts.
    first, again, other = (episode(parallel_env(env_id), seed) for seed in (3, 3, 4))
    np.testing.assert_equal(first, again)
    with pytest.raises(AssertionError):
        np.testing.assert_equal(first, other)


@pytest.mark.parametrize("env_id", IDS)
def test_what_is_seen_lies_in_the_spaces_and_everybody_earns_the_team_reward(env_id: str) -> None:
    env = parallel_env(env_id)
    obs, _ = env.reset(seed=1)
    assert env.state_space.contains(env.state())
    while env.agents:
        for agent in env.agents:
            assert env.observation_space(agent).contains(obs[agent])
        masks = {a: obs[a]["action_mask"] if isinstance(obs[a], dict) else None for a in env.agents}
        obs, rewards, *_ = env.step({a: env.action_space(a).sample(masks[a]) for a in env.agents})
        assert len(set(rewards.values())) == 1
    assert set(rewards) == set(env.possible_agents)


def test_reset_with_a_seed_plays_that_lane_and_without_one_goes_on_from_it() -> None:
    env, lanes = parallel_env("toy/signals"), make_env("toy/signals", 1)
    obs, _ = env.reset(seed=2**63 + 5)
    np.testing.assert_array_equal(obs["a1"]["observation"], lanes.reset(np.array([2**63 + 5], np.uint64)).obs[0, 0])
    later = [env.reset()[0]["a1"]["observation"] for _ in range(2)]
    env.reset(seed=2**63 + 5)
    np.testing.assert_array_equal(later, [env.reset()[0]["a1"]["observation"] for _ in range(2)])


def test_an_illegal_action_is_replaced_and_reported_or_refused_when_strict() -> None:
    env = parallel_env("toy/signals")
    obs, _ = env.reset(seed=0)
    illegal = {a: int(np.argmin(obs[a]["action_mask"])) for a in env.agents}
    *_, infos = env.step(illegal)
    assert all(i["illegal_action"] for i in infos.values())
    strict = parallel_env("toy/signals", strict=True)
    strict.reset(seed=0)
    with pytest.raises(SpecMismatch, match=r"action \d of agent 'a1' is illegal now; its action_mask allows \["):
        strict.step(illegal)


def test_misuse_of_the_face_is_refused_in_words() -> None:
    env = parallel_env("toy/signals")
    with pytest.raises(SpecMismatch, match="without a running episode; call reset first"):
        env.step({})
    with pytest.raises(SpecMismatch, match="before the first reset"):
        env.state()
    with pytest.raises(FormatError, match=r"reset\(seed=-1\), expected an integer from 0 to"):
        env.reset(seed=-1)
    env.reset(seed=0)
    with pytest.raises(SpecMismatch, match="without an action for 'a1'; every agent acts"):
        env.step({})
    env.close()
    assert env.agents == []


def play(env: Any, seeds: list[int], limit: int = 10) -> list[Any]:
    """A few steps of every lane, each agent on its first legal action (or a fixed number)."""
    now = env.reset(np.array(seeds, np.uint64))
    seen: list[Any] = [now]
    for t in range(limit):
        shape = (len(seeds), env.spec.N)
        joint = now.legal.argmax(-1) if env.spec.discrete else np.full((*shape, env.spec.A), 0.1 * t, np.float32)
        now = env.step(joint.astype(np.int32) if env.spec.discrete else joint)
        seen.append(now)
    return seen


@pytest.mark.parametrize("env_id", ["toy/signals", "toy/target"])
def test_there_and_back_again_gives_equal_arrays(env_id: str) -> None:
    there = make_env(env_id, 3)
    back = wrap_parallel_env(
        lambda: parallel_env(env_id, strict=True), 3, env_id=env_id, horizon=there.spec.horizon, types="name"
    )
    assert back.spec.to_json() | {"obs_sizes": [], "action_sizes": []} == there.spec.to_json()
    for ours, theirs in zip(play(there, [5, 6, 2**60]), play(back, [5, 6, 2**60]), strict=True):
        np.testing.assert_equal(tuple(ours), tuple(theirs))


class Mixed(ParallelEnv):  # type: ignore[misc]
    """Two scouts and a tank with different sizes; no state; the tank leaves early and masks come in the info."""

    metadata: dict[str, Any] = {"name": "mixed"}  # noqa: RUF012

    def __init__(self, box: bool = False) -> None:
        self.possible_agents = ["scout_0", "scout_1", "tank_0"]
        self.agents: list[str] = []
        self.t = 0
        self._box = box

    def observation_space(self, agent: str) -> Any:
        return spaces.Box(-9, 9, (2,) if "scout" in agent else (3,), np.float32)

    def action_space(self, agent: str) -> Any:
        if self._box and "tank" in agent:
            return spaces.Box(0, 4, (1,), np.float32)
        return spaces.Discrete(2, start=1) if "scout" in agent else spaces.Discrete(4)

    def _seen(self) -> Any:
        return {a: np.full(self.observation_space(a).shape, self.t, np.float32) for a in self.agents}

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        assert seed is not None
        assert seed < 2**32
        self.agents, self.t = list(self.possible_agents), 0
        return self._seen(), {a: {} for a in self.agents}

    def step(self, actions: Any) -> Any:
        assert set(actions) == set(self.agents)
        assert all(self.action_space(a).contains(actions[a]) for a in actions)
        self.t += 1
        acted, rewards = list(self.agents), {a: float(len(a)) for a in self.agents}
        over = self.t == 4
        ended = {a: over or (a == "tank_0" and self.t == 2) for a in acted}
        seen = self._seen()
        infos = {a: {"action_mask": np.array([0, 1], np.int8), "won": over} for a in acted if "scout" in a}
        self.agents = [a for a in acted if not ended[a]]
        return seen, rewards, ended, dict.fromkeys(acted, False), infos


def mixed(**options: Any) -> Any:
    return wrap_parallel_env(Mixed, 2, **({"horizon": 6, "seed_bits": 32, "env_id": "x/mixed"} | options))


def test_a_strangers_environment_is_padded_typed_and_waits_for_those_who_left() -> None:
    env = mixed(info_keys=("won",))
    assert env.spec.agent_types == ("scout", "scout", "tank")
    assert (env.spec.O, env.spec.S, env.spec.A, env.spec.obs_sizes) == (3, 7, 4, (2, 2, 3))
    start, *steps = play(env, [1, 2**40], limit=5)
    np.testing.assert_array_equal(start.obs[0], [[0, 0, 0], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(steps[0].obs[0], [[1, 1, 0], [1, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(start.legal[0, 0], [True, True, False, False])
    np.testing.assert_array_equal(steps[0].legal[0, 0], [False, True, False, False])
    # The tank left at t = 2: it sees zeros from t = 3 on and may only wait.
    np.testing.assert_array_equal(steps[2].obs[0, 2], [0, 0, 0])
    np.testing.assert_array_equal(steps[1].legal[0, 2], [True, False, False, False])
    assert [float(s.reward[0]) for s in steps] == pytest.approx([20 / 3, 20 / 3, 14 / 3, 14 / 3, 0])
    assert [bool(s.terminated[0]) for s in steps] == [False, False, False, True, True]
    assert not any(s.truncated.any() for s in steps)
    assert [float(s.info["won"][0]) for s in steps] == [0, 0, 0, 1, 1]


def test_the_options_change_reward_types_and_horizon() -> None:
    assert float(play(mixed(reward="sum"), [1], limit=1)[1].reward[0]) == 20
    assert mixed(types="space").spec.agent_types == ("type0", "type0", "type1")
    given = {"scout_0": "eye", "scout_1": "eye", "tank_0": "fist"}
    assert mixed(types=given).spec.types == ("eye", "fist")
    cut = play(mixed(horizon=3), [1], limit=3)[-1]
    assert isinstance(cut, Step)
    assert bool(cut.truncated[0])
    assert not bool(cut.terminated[0])


def test_continuous_actions_are_stretched_to_the_box() -> None:
    class Tanks(Mixed):
        def action_space(self, agent: str) -> Any:
            return spaces.Box(0, 4, (2,), np.float32)

        def step(self, actions: Any) -> Any:
            np.testing.assert_array_equal(actions["tank_0"], [4, 2])
            *rest, infos = super().step(actions)
            return *rest, {a: {} for a in infos}

    env = wrap_parallel_env(Tanks, 1, horizon=6, seed_bits=32)
    start = env.reset(np.array([0], np.uint64))
    assert start.legal is None
    env.step(np.tile(np.array([1, 0], np.float32), (1, 3, 1)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reward": "max"}, "reward='max', expected 'mean' or 'sum'"),
        ({"horizon": -1}, "horizon=-1, expected at least 1 step"),
        ({"horizon": None}, "has no max_cycles; give horizon="),
        ({"seed_bits": 65}, "seed_bits=65, expected 1 to 64"),
        ({"types": "colour"}, "types='colour', expected 'name', 'space' or a mapping"),
        ({"types": {"scout_0": "s"}}, "types has no entry for agent 'scout_1'"),
        ({"speed": 1}, "options are the fields of WrapConfig"),
    ],
)
def test_bad_options_are_refused_in_words(options: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        mixed(**options)


def test_environments_that_cannot_be_read_and_bad_calls_are_refused_in_words() -> None:
    with pytest.raises(SpecMismatch, match="some agents are discrete and some continuous"):
        wrap_parallel_env(lambda: Mixed(box=True), 1, horizon=6)
    env = mixed()
    with pytest.raises(SpecMismatch, match="3 seeds for 2 lanes"):
        env.reset(np.arange(3, dtype=np.uint64))
    env.reset(np.arange(2, dtype=np.uint64))
    with pytest.raises(SpecMismatch, match=r"actions have shape \(2, 2\), expected \(2, 3\)"):
        env.step(np.zeros((2, 2), np.int32))
    with pytest.raises(SpecMismatch, match="lane 0, agent scout_0: action 3 is illegal"):
        env.step(np.full((2, 3), 3, np.int32))


pieces = ParallelSuite("pieces", {"mixed": Mixed}, horizon=6, seed_bits=32)


def test_a_suite_of_parallel_envs_is_found_by_module_and_attribute() -> None:
    env = make_env("tests.test_pettingzoo:pieces/mixed", 2)
    assert env.spec.id == "pieces/mixed"
    assert pieces.maps() == ("mixed",)
    assert pieces.backend() == "pettingzoo"
    with pytest.raises(UnknownName, match=r"unknown map of suite pieces 'mixd'. Did you mean 'mixed'\?"):
        pieces.make("mixd", 1)


def test_wrapped_environments_keep_the_contract_of_batched_ones() -> None:
    check_environment(lambda n: wrap_parallel_env(Mixed, n, horizon=6, seed_bits=32))


class Masked(Mixed):
    """What an environment should not say of its actions."""

    def __init__(self, mask: Any, box: bool) -> None:
        super().__init__()
        self._mask, self._box = mask, box

    def action_space(self, agent: str) -> Any:
        return spaces.Box(-1, 1, (2,), np.float32) if self._box else spaces.Discrete(2)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        seen, infos = super().reset(seed, options)
        return seen, {a: {"action_mask": self._mask} for a in infos}


@pytest.mark.parametrize(
    ("mask", "box", "says"),
    [
        (np.ones(9), True, "agent 'scout_0' has continuous actions and an action_mask; expected masks of Discrete"),
        (np.ones(3), False, r"agent 'scout_0' has an action_mask array\(.*\), expected 2 flags, one for each action"),
        ("yes", False, "agent 'scout_0' has an action_mask 'yes', expected 2 flags, one for each action"),
    ],
)
def test_masks_that_say_nothing_about_the_actions(mask: Any, box: bool, says: str) -> None:
    env = wrap_parallel_env(lambda: Masked(mask, box), 1, horizon=6, seed_bits=32, env_id="x/masked")
    with pytest.raises(SpecMismatch, match=says):
        env.reset(np.zeros(1, np.uint64))
