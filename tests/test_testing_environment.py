"""The conformance check of environments finds what it promises to find: one deliberately broken stub per rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from offmarl_bench.envs.toy import SPECS, ToyEnv
from offmarl_bench.errors import ConformanceError
from offmarl_bench.testing import check_environment
from offmarl_bench.types import Step

SIGNALS = SPECS["signals"]


# Ours are checked in tests/test_conformance.py, every map of every suite.


class Broken(ToyEnv):
    """A toy whose ``tamper`` spoils what it shows; ``t`` counts steps since the reset."""

    def __init__(self, n: int, tamper: Callable[[Any, Broken], Any] | None = None, spec: Any = SIGNALS) -> None:
        super().__init__(spec, n)
        self.tamper = tamper

    def reset(self, seeds: Any) -> Any:
        start = super().reset(seeds)
        return self.tamper(start, self) if self.tamper else start

    def step(self, actions: Any) -> Any:
        after = super().step(actions)
        return self.tamper(after, self) if self.tamper else after


def over(s: Any) -> Any:
    return s.terminated | s.truncated


def late(change: Callable[[Step], Step]) -> Callable[[Any, Broken], Any]:
    """Applies to steps after the end only."""

    def tamper(s: Any, env: Broken) -> Any:
        env.ends = getattr(env, "ends", 0) + (isinstance(s, Step) and bool(over(s).all()))  # type: ignore[attr-defined]
        return change(s) if env.ends > 1 else s  # type: ignore[attr-defined]

    return tamper


def on_step(change: Callable[[Step], Step]) -> Callable[[Any, Broken], Any]:
    return lambda s, _: change(s) if isinstance(s, Step) else s


def noise(s: Any, env: Broken) -> Any:
    return s._replace(obs=s.obs + np.random.default_rng().random(s.obs.shape, np.float32))


STATE = {"counter": 0}


def not_from_the_seed(s: Any, env: Broken) -> Any:
    STATE["counter"] += 1
    return s._replace(state=s.state + np.float32(STATE["counter"]))


def neighbours(s: Any, env: Broken) -> Any:
    return s._replace(obs=s.obs + np.float32(s.obs.sum()))


ENVIRONMENTS = {
    "obs of another size": (lambda s, _: s._replace(obs=s.obs[..., 1:]), r"obs has shape \(4, 4, 5\); expected"),
    "obs of another type": (lambda s, _: s._replace(obs=s.obs.astype(float)), "obs has type float64; expected float32"),
    "state that is no array": (lambda s, _: s._replace(state=[1]), "state is a list; expected a numpy array"),
    "NaN": (lambda s, _: s._replace(state=s.state * np.float32("nan")), "state holds NaN or infinity"),
    "nothing legal": (lambda s, _: s._replace(legal=s.legal & False), "an agent has no legal action"),
    "legal of another size": (lambda s, _: s._replace(legal=s.legal[..., 1:]), "legal has shape"),
    "legal as numbers": (lambda s, _: s._replace(legal=s.legal.astype(np.int8)), "legal has type int8; expected bool"),
    "ends as numbers": (on_step(lambda s: s._replace(truncated=over(s) * 1)), "truncated has type int64"),
    "reward per agent": (on_step(lambda s: s._replace(reward=np.zeros((4, 4), np.float32))), "reward has shape"),
    "both ends": (on_step(lambda s: s._replace(terminated=over(s))), "a lane is terminated and truncated"),
    "info of one lane": (on_step(lambda s: s._replace(info={"won": np.zeros(1)})), r"info\['won'\] has no leading B"),
    "no end": (on_step(lambda s: s._replace(truncated=over(s) & False)), "a lane still runs after 8 steps"),
    "earns on": (late(lambda s: s._replace(reward=s.reward + 1)), "a finished lane earned a reward; expected 0"),
    "comes back to life": (
        late(lambda s: s._replace(terminated=over(s), truncated=over(s) & False)),
        "terminated of a finished lane",
    ),
    "hidden reset": (late(lambda s: s._replace(truncated=over(s) & False)), "truncated of a finished lane changed"),
    "moves on": (late(lambda s: s._replace(obs=s.obs + 1)), "obs of a finished lane changed; expected the last one"),
    "own randomness": (not_from_the_seed, "a fresh copy with the same seeds played differently"),
    "shared lanes": (neighbours, "a lane alone played differently than among others"),
}


@pytest.mark.parametrize("fault", list(ENVIRONMENTS))
def test_a_broken_environment_is_found(fault: str) -> None:
    tamper, words = ENVIRONMENTS[fault]
    with pytest.raises(ConformanceError, match=words):
        check_environment(lambda n: Broken(n, tamper))


class AnyCount(ToyEnv):
    def reset(self, seeds: Any) -> Any:
        return super().reset(np.resize(seeds, max(1, min(len(seeds), self.num_envs))))


class AnyAction(ToyEnv):
    def step(self, actions: Any) -> Any:
        full = np.resize(actions, (len(self._signal), self.spec.N))
        return super().step(np.where(full == (self.answers() + 1) % self.spec.A, self.answers(), full))


class AnyIllegal(AnyAction):
    def step(self, actions: Any) -> Any:
        if actions.shape != (len(self._signal), self.spec.N):
            return ToyEnv.step(self, actions)
        return super().step(actions)


class Forgetful(ToyEnv):
    """Plays well once; a second reset continues where the first stopped."""

    used = False

    def reset(self, seeds: Any) -> Any:
        start = super().reset(seeds)
        if self.used and len(seeds) > 1:
            start = start._replace(obs=start.obs + 1)
        self.used = len(seeds) > 1
        return start


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda n: AnyCount(SIGNALS, n), "reset took 0 seeds for 4 lanes; expected SpecMismatch"),
        (lambda n: AnyAction(SIGNALS, n), "step took a shape without the last agent; expected SpecMismatch"),
        (lambda n: AnyIllegal(SIGNALS, n), "step took an illegal action; expected SpecMismatch"),
        (lambda n: Forgetful(SIGNALS, n), "a second reset with the same seeds played differently"),
        (lambda n: ToyEnv(SIGNALS, n + 1), "num_envs is 5 after make"),
        (lambda n: Broken(n, spec=replace(SIGNALS, obs_sizes=(2,) * 4)), "obs of 'a1' is not 0 beyond its size 2"),
        (lambda n: Broken(n, spec=replace(SIGNALS, action_sizes=(2,) * 4)), "'a1' may play beyond its 2 actions"),
    ],
)
def test_an_environment_that_takes_or_shows_too_much_is_found(make: Any, words: str) -> None:
    with pytest.raises(ConformanceError, match=words):
        check_environment(make)


def test_a_spec_and_a_continuous_environment_are_checked_too() -> None:
    class NoSpec:
        spec = {"id": "x"}  # noqa: RUF012
        num_envs = 4

    with pytest.raises(ConformanceError, match="spec is a dict; expected an EnvSpec"):
        check_environment(lambda n: NoSpec())  # type: ignore[arg-type, return-value]

    def masked(s: Any, env: Broken) -> Any:
        return s._replace(legal=np.ones((len(s.obs), 2, 1), bool))

    with pytest.raises(ConformanceError, match="continuous, but legal is not None"):
        check_environment(lambda n: Broken(n, masked, SPECS["target"]))
