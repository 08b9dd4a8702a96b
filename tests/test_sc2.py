"""Suite ``smac-sc2`` against a stand-in of the ``smac`` package that our own engine plays (``tests/stand_in``).

The stand-in is told to be killed, to hang, to lose its connection, to hide that it has lost its game: whatever
happens, episodes must equal the engine's to the last bit.
"""

from __future__ import annotations

import gc
import logging
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offmarl_bench.envs import get_spec, get_suite, make_env
from offmarl_bench.envs.pettingzoo import ParallelFace
from offmarl_bench.envs.sc2.env import Sc2Env
from offmarl_bench.envs.sc2.options import Options, from_environment
from offmarl_bench.envs.sc2.suite import suite
from offmarl_bench.envs.sc2.wire import receive, send
from offmarl_bench.envs.smac.layout import Flags, max_reward
from offmarl_bench.envs.smac.maps import get_map
from offmarl_bench.errors import EpisodeLost, FormatError, OffmarlError, SpecMismatch, UnknownName
from offmarl_bench.policies import UniformPolicy
from offmarl_bench.rollout import Rollout, rollout
from offmarl_bench.types import Episode
from tests.sc2_game import BACKEND, install

SEEDS = np.array([5, 6, 7, 8], np.uint64)
STOP = 1


def games(map_name: str = "2s3z", lanes: int = 1, **options: Any) -> Sc2Env:
    """The real game's environment with options of its own."""
    reward = max_reward(get_map(map_name), Flags())
    return Sc2Env(suite.spec(map_name), map_name, reward, lanes, Options(**options))


def played(env: Any, seeds: np.ndarray = SEEDS) -> Rollout:
    """Recorded episodes of random play, the same in any environment of the same sizes."""
    return rollout(env, UniformPolicy(env.spec), seeds, np.random.default_rng(0), record=True)


def same(a: Rollout, b: Rollout) -> None:
    """Equal in every number."""
    for x, y in zip(a.episodes or [], b.episodes or [], strict=True):
        for name in ("actions", "rewards", "observations", "state", "legal_actions", "terminal"):
            np.testing.assert_array_equal(getattr(x, name), getattr(y, name), err_msg=name)
    for key in ("battle_won", "dead_allies", "dead_enemies"):
        np.testing.assert_array_equal(a.info[key], b.info[key])


def test_whole_episodes_equal_the_engines_whatever_happens_to_the_games(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Four games at a time: one killed by the system, one silent, one without connection, one that hides its loss."""
    install(
        monkeypatch, tmp_path,
        {"seed": 5, "step": 7, "fault": "killed"}, {"seed": 6, "step": 20, "fault": "raised"},
        {"seed": 7, "step": 30, "fault": "hidden"}, {"seed": 8, "step": 2, "fault": "hung"},
    )  # fmt: skip
    env = games(lanes=4, step_seconds=4.0, attempts=9)
    with caplog.at_level(logging.WARNING, "offmarl_bench"):
        found = played(env)
    env.close()
    same(found, played(make_env("smac/2s3z", 4)))
    for words in (
        r"lane 0, seed 5, step 7: game lost (its process ended with code -9: the game has run out of memory)",
        r"lane 1, seed 6, step 20: game lost (ConnectionError: Connection to websocket was lost)",
        r"lane 2, seed 7, step 30: game lost (RuntimeError: the game was lost during the step)",
        r"lane 3, seed 8, step 2: game lost (no answer within 4 s)",
    ):
        assert words in caplog.text


def test_an_episode_whose_replay_goes_another_way_is_played_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first game differs at step 3 from every other and dies at step 9: the env says so, ``rollout`` recovers."""
    faults = {"seed": 6, "step": 3, "fault": "other"}, {"seed": 6, "step": 9, "fault": "killed", "times": 1}
    install(monkeypatch, tmp_path, *faults)
    env = games(lanes=2)
    expected = played(make_env("smac/2s3z", 2), SEEDS[:2])
    same(played(env, SEEDS[:2]), expected)
    for file in (tmp_path / "faults").iterdir():
        file.unlink()
    env.reset(SEEDS[:2])
    for _ in range(8):
        env.step(np.full((2, 5), STOP))
    with pytest.raises(EpisodeLost, match=r"seed 6, step 9: the game was lost, and its replay went another way at"):
        env.step(np.full((2, 5), STOP))
    same(played(env, SEEDS[:2]), expected)  # and nothing of the lost episode is left over
    env.close()


def test_rollout_gives_up_after_three_times() -> None:
    class Loses:
        spec, num_envs, resets = suite.spec("2s3z"), 1, 0

        def reset(self, seeds: np.ndarray) -> Any:
            self.resets += 1
            raise EpisodeLost("gone")

        def step(self, actions: np.ndarray) -> Any:
            raise AssertionError

    env = Loses()
    with pytest.raises(EpisodeLost, match="gone"):
        played(env, SEEDS[:1])
    assert env.resets == 3


def test_a_game_that_never_starts_ends_the_run_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, {"seed": 5, "step": -1, "fault": "killed", "times": 9})
    with pytest.raises(OffmarlError, match=r"lane 0, seed 5, step 0: the game was lost 2 times, last: .*out of memory"):
        games(attempts=2).reset(SEEDS[:1])


def test_a_map_or_class_that_the_package_lacks_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path)
    spec = suite.spec("2s3z")
    with pytest.raises(OffmarlError, match=r"smac-sc2/corridor: smac.env:StarCraft2Env cannot be used: KeyError: 'cor"):
        Sc2Env(spec, "corridor", 1.0, 1, Options()).reset(SEEDS[:1])
    with pytest.raises(OffmarlError, match=r"smac.env:Star cannot be used: AttributeError: .*no attribute 'Star'"):
        games(make="smac.env:Star").reset(SEEDS[:1])


def test_another_observation_than_agents_were_made_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path)
    monkeypatch.setenv("STAND_IN_SIZES", "4")
    with pytest.raises(OffmarlError, match=r"the installed smac says obs_shape = 84, expected 80"):
        games().reset(SEEDS[:1])


def test_the_time_limit_truncates_and_does_not_terminate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stalkers that stand still out of the crawler's range for 300 steps."""
    install(monkeypatch, tmp_path)
    env = games("2s_vs_1sc")
    env.reset(SEEDS[:1])
    for _ in range(300):
        step = env.step(np.array([[STOP, STOP]]))
    assert (step.truncated[0], step.terminated[0], step.info["battle_won"][0]) == (True, False, False)
    again = env.step(np.array([[STOP, STOP]]))
    assert again.truncated[0]
    assert again.reward[0] == 0
    np.testing.assert_array_equal(again.state, step.state)


def test_games_may_play_several_episodes_and_end_with_their_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``episodes_per_game`` 2 the second episode is not the seed's own, as in SMAC; a third one is fresh."""
    install(monkeypatch, tmp_path)
    env = games(episodes_per_game=2)
    runs = [played(env, SEEDS[:1]) for _ in range(3)]
    same(runs[0], runs[2])
    assert not np.array_equal(_first(runs[0]).actions, _first(runs[1]).actions)
    game: Any = env._lanes[0]._game
    process = game._process
    del env
    gc.collect()
    assert process.wait(10) is not None


def _first(run: Rollout) -> Episode:
    assert run.episodes is not None
    return run.episodes[0]


def test_the_pettingzoo_face_is_that_of_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path)
    faces = [ParallelFace(make_env(f"{name}/2s3z", 1)) for name in ("smac-sc2", "smac")]
    for face in faces:
        face.reset(seed=11)
    for _ in range(4):
        actions = dict.fromkeys(faces[0].possible_agents, 4)
        seen = [face.step(actions) for face in faces]
        assert str(seen[0]) == str(seen[1])
        np.testing.assert_array_equal(faces[0].state(), faces[1].state())
    faces[0].close()
    assert faces[0]._env._lanes[0]._game is None  # type: ignore[attr-defined]


def test_bad_calls_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path)
    env = games()
    with pytest.raises(SpecMismatch, match="step before reset"):
        env.step(np.ones((1, 5), int))
    with pytest.raises(SpecMismatch, match=r"seeds of shape \(2,\), expected 1 to 1"):
        env.reset(SEEDS[:2])
    env.reset(SEEDS[:1])
    with pytest.raises(SpecMismatch, match=r"lane 0, agent s1: action 6 is illegal; legal actions are \[1, 2, 3, 4, 5"):
        env.step(np.full((1, 5), 6))
    with pytest.raises(SpecMismatch, match=r"actions have shape \(5,\) and type int64, expected .* \(1, 5\)"):
        env.step(np.ones(5, int))


def test_maps_sizes_and_agents_are_those_of_the_engine() -> None:
    """Without any game: spec and listing. A map's name that does not exist is suggested."""
    assert suite.maps() == get_suite("smac").maps()
    for name in suite.maps():
        assert suite.spec(name) == replace(get_spec(f"smac/{name}"), id=f"smac-sc2/{name}")
    with pytest.raises(UnknownName, match=r"unknown map of suite smac-sc2 '2s3y'\. Did you mean '2s3z'\?"):
        suite.spec("2s3y")


def test_what_is_missing_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SC2PATH", str(tmp_path / "nowhere"))
    with pytest.raises(OffmarlError, match=r"package smac is missing; .*git\+https://github.com/oxwhirl/smac.git"):
        make_env("smac-sc2/2s3z")
    with monkeypatch.context() as patch:
        namesake = tmp_path / "pypi" / "smac"
        namesake.mkdir(parents=True)
        (namesake / "__init__.py").write_text("raise ImportError('never imported')")
        patch.syspath_prepend(str(namesake.parent))
        with pytest.raises(OffmarlError, match=r"is not the StarCraft Multi-Agent Challenge .*pip uninstall smac"):
            make_env("smac-sc2/2s3z")
        (namesake / "env" / "starcraft2").mkdir(parents=True)
        (namesake / "env" / "__init__.py").write_text("")
        with pytest.raises(OffmarlError, match=r"pysc2 is missing, which smac needs; `pip install --no-deps pysc2`"):
            make_env("smac-sc2/2s3z")
    game = install(monkeypatch, tmp_path)
    assert suite.backend() == BACKEND
    with pytest.raises(OffmarlError, match=r"smac-sc2/8m: no 8m.SC2Map in .*SMAC_Maps; unpack SMAC_Maps.zip"):
        make_env("smac-sc2/8m")
    monkeypatch.setenv("SC2PATH", str(game / "Maps"))
    with pytest.raises(OffmarlError, match=r"no StarCraft II in .*Maps; download it from .*s2client-proto"):
        suite.backend()
    monkeypatch.delenv("SC2PATH")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert suite.backend() == BACKEND  # ~/StarCraftII, where pysc2 looks by itself


def test_options_come_from_the_environment() -> None:
    assert from_environment({}) == Options()
    given = {"OFFMARL_SC2_GAMES": "2", "OFFMARL_SC2_REUSE": "50", "OFFMARL_SC2_TIMEOUT": "0.5"}
    assert from_environment(given) == Options(games=2, episodes_per_game=50, step_seconds=0.5)
    with pytest.raises(FormatError, match=r"OFFMARL_SC2_GAMES='many', expected a number"):
        from_environment({"OFFMARL_SC2_GAMES": "many"})
    with pytest.raises(FormatError, match=r"OFFMARL_SC2_REUSE is 0, expected a number above 0"):
        from_environment({"OFFMARL_SC2_REUSE": "0"})


def test_messages_arrive_whole_or_are_said_to_be_late_or_lost() -> None:
    here, there = socket.socketpair()
    arrays = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "none": np.zeros((0, 2), bool)}
    send(here, {"seed": 2**32 - 1}, arrays)
    message, found = receive(there, 5.0)
    assert message == {"seed": 2**32 - 1}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    with pytest.raises(TimeoutError):
        receive(there, 0.05)
    here.close()
    with pytest.raises(EOFError):
        receive(there, 5.0)
    there.close()
