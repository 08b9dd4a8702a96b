"""The conformance checks find what they promise to find: one deliberately broken stub per rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

import offmarl_bench.testing.agent as agent_checks
from baselines.bc import BC, BCConfig
from offmarl_bench.agent import Phase
from offmarl_bench.envs.toy import SPECS, ToyEnv
from offmarl_bench.errors import ConformanceError, OffmarlError
from offmarl_bench.loader import Dataset
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.testing import check_agent, check_dataset, check_environment
from offmarl_bench.testing.agent import trial_dataset
from offmarl_bench.types import Batch, Step

SIGNALS = SPECS["signals"]


# ---- environments ----


@pytest.mark.parametrize("env_id", ["toy/signals", "toy/target", "smac/2s3z"])
def test_our_environments_keep_every_rule(env_id: str) -> None:
    check_environment(env_id)


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
    "reward per agent": (on_step(lambda s: s._replace(reward=np.zeros((4, 4), np.float32))), "reward has shape"),
    "both ends": (on_step(lambda s: s._replace(terminated=over(s))), "a lane is terminated and truncated"),
    "info of one lane": (on_step(lambda s: s._replace(info={"won": np.zeros(1)})), r"info\['won'\] has no leading B"),
    "no end": (on_step(lambda s: s._replace(truncated=over(s) & False)), "a lane still runs after 8 steps"),
    "earns on": (late(lambda s: s._replace(reward=s.reward + 1)), "a finished lane earned a reward; expected 0"),
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


# ---- agents ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Small(BCConfig):
    """BC, small enough to be built a hundred times."""

    hidden: int = 8
    updates: int = 4


class Good(BC):
    """The agent that the broken ones differ from."""

    Config = Small


class SharedWeights(Good):
    def __init__(self, spec: Any, config: Any) -> None:
        super().__init__(spec, config)
        torch.nn.init.ones_(next(self.actor.parameters()))
        for p in self.actor.parameters():
            torch.nn.init.constant_(p, 0.1)


class OwnRandomness(Good):
    def __init__(self, spec: Any, config: Any) -> None:
        super().__init__(spec, config)
        g = torch.Generator()
        g.seed()
        with torch.no_grad():
            next(self.actor.parameters()).add_(torch.rand(1, generator=g))


class NoPhases(Good):
    def phases(self, dataset: Any) -> Any:
        return []


class Tampered(Good):
    """Its one phase is replaced field by field."""

    def change(self, phase: Phase) -> Any:
        raise AssertionError

    def phases(self, dataset: Any) -> Any:
        return self.change(super().phases(dataset)[0])


class NotAPhase(Tampered):
    def change(self, phase: Phase) -> Any:
        return ["learn"]


class TwiceTheName(Tampered):
    def change(self, phase: Phase) -> Any:
        return [phase, phase]


class NoSteps(Tampered):
    def change(self, phase: Phase) -> Any:
        return [replace(phase, steps=0)]


class NoBatch(Tampered):
    def change(self, phase: Phase) -> Any:
        return [replace(phase, batches=lambda g: None)]  # type: ignore[arg-type, return-value]


class FreeBatches(Tampered):
    def change(self, phase: Phase) -> Any:
        return [replace(phase, batches=lambda g: phase.batches(np.random.default_rng()))]


class NoLearning(Tampered):
    def change(self, phase: Phase) -> Any:
        return [replace(phase, update=lambda batch: {})]


class NoMetrics(Tampered):
    def change(self, phase: Phase) -> Any:
        return [replace(phase, update=lambda batch: 1.0)]  # type: ignore[arg-type, return-value]


class Graph(Tampered):
    def change(self, phase: Phase) -> Any:
        return [replace(phase, update=lambda batch: {"loss": next(self.actor.parameters()).sum()})]


class InfiniteLoss(Tampered):
    def change(self, phase: Phase) -> Any:
        return [replace(phase, update=lambda batch: phase.update(batch) | {"loss": float("inf")})]  # type: ignore[operator]


class NaNWeights(Tampered):
    def change(self, phase: Phase) -> Any:
        def update(batch: Batch) -> Any:
            with torch.no_grad():
                next(self.actor.parameters()).fill_(float("nan"))
            return {}

        return [replace(phase, update=update)]


class HiddenCounter(Tampered):
    """Its learning rate hangs on a plain attribute that no checkpoint holds."""

    calls = 0

    def change(self, phase: Phase) -> Any:
        def update(batch: Batch) -> Any:
            self.calls += 1
            with torch.no_grad():
                next(self.actor.parameters()).mul_(1 + 0.01 * self.calls)
            return {}

        return [replace(phase, update=update)]


class Played(Good):
    """Its policy's decisions go through ``spoil``."""

    def spoil(self, actions: Any, logprob: Any, generator: Any, policy: Any) -> Any:
        raise AssertionError

    def policy(self, greedy: bool = True) -> Any:
        agent = self

        class Spoilt(SlotPolicy):
            def decide(self, obs: Any, legal: Any, generator: Any) -> Any:
                self.legal = legal
                return agent.spoil(*super().decide(obs, legal, generator), generator, self)

        return Spoilt(self.spec, [self.actor], np.zeros(self.spec.N, np.int64), greedy=greedy)


class NoPolicy(Good):
    def policy(self, greedy: bool = True) -> Any:
        return None


class FlatActions(Played):
    def spoil(self, actions: Any, logprob: Any, generator: Any, policy: Any) -> Any:
        return actions.ravel(), logprob


class LongActions(Played):
    def spoil(self, actions: Any, logprob: Any, generator: Any, policy: Any) -> Any:
        return actions.astype(np.int64), logprob


class FlatLogprob(Played):
    def spoil(self, actions: Any, logprob: Any, generator: Any, policy: Any) -> Any:
        return actions, logprob[:, 0]


class ImpossibleLogprob(Played):
    def spoil(self, actions: Any, logprob: Any, generator: Any, policy: Any) -> Any:
        return actions, logprob - np.float32("inf")


class PositiveLogprob(Played):
    def spoil(self, actions: Any, logprob: Any, generator: Any, policy: Any) -> Any:
        return actions, logprob + 1


class Illegal(Played):
    def spoil(self, actions: Any, logprob: Any, generator: Any, policy: Any) -> Any:
        return policy.legal.argmin(-1).astype(np.int32), logprob


class Unforgetting(Played):
    calls = 0

    def spoil(self, actions: Any, logprob: Any, generator: Any, policy: Any) -> Any:
        self.calls += 1
        return (policy.legal.argmax(-1) if self.calls > 4 else actions).astype(np.int32), logprob


class GreedyByChance(Played):
    def spoil(self, actions: Any, logprob: Any, generator: Any, policy: Any) -> Any:
        draw = np.where(policy.legal, generator.random(policy.legal.shape), -1)
        return draw.argmax(-1).astype(np.int32), logprob


class SharedMemory(Played):
    def spoil(self, actions: Any, logprob: Any, generator: Any, policy: Any) -> Any:
        return actions, logprob - np.float32(len(actions))


class OtherChance(Good):
    def policy(self, greedy: bool = True) -> Any:
        class Free(SlotPolicy):
            def decide(self, obs: Any, legal: Any, generator: Any) -> Any:
                return super().decide(obs, legal, np.random.default_rng())

        return Free(self.spec, [self.actor], np.zeros(self.spec.N, np.int64), greedy=greedy)


class NoConfig(Good):
    Config = dict  # type: ignore[assignment]


AGENTS = {
    "NoConfig": "Config is <class 'dict'>; expected a frozen dataclass",
    "OwnRandomness": "the same seed gave other initial weights",
    "SharedWeights": "two seeds gave equal initial weights",
    "NoPhases": r"phases\(\) is empty",
    "NotAPhase": "holds something else than Phase",
    "TwiceTheName": "two phases share a name",
    "NoSteps": "phase 'learn' has 0 steps; expected at least 1",
    "NoBatch": r"batches\(\) gave a NoneType; expected a Batch",
    "FreeBatches": "equal generators gave different batches",
    "NoLearning": "4 updates changed no weight",
    "NoMetrics": "update gave a float; expected a mapping",
    "Graph": "metric 'loss' drags its graph along",
    "InfiniteLoss": "metric 'loss' is inf",
    "NaNWeights": "hold NaN or infinity after 4 updates",
    "HiddenCounter": r"a resumed run ends with other weights in \['actor",
    "NoPolicy": r"policy\(\) is None; expected a Policy",
    "FlatActions": r"decide gave actions of shape \(20,\); expected \(5, 4\)",
    "LongActions": "actions have type int64; expected int32",
    "FlatLogprob": r"log-probabilities have shape \(5,\)",
    "ImpossibleLogprob": "a log-probability is not finite",
    "PositiveLogprob": "a log-probability is above 0",
    "Illegal": "the policy chose an illegal action",
    "Unforgetting": "after reset the same game was played differently",
    "GreedyByChance": "greedy play depends on the generator",
    "SharedMemory": "after keep the last lane played differently",
    "OtherChance": "sampled play differs under equal generators",
}


@pytest.fixture(scope="module")
def toy_data() -> Dataset:
    return trial_dataset()


def test_a_good_agent_passes(toy_data: Dataset) -> None:
    check_agent("tests.test_testing:Good", toy_data)
    check_agent("bc", hidden=8)


@pytest.mark.parametrize("fault", list(AGENTS))
def test_a_broken_agent_is_found(fault: str, toy_data: Dataset) -> None:
    with pytest.raises(ConformanceError, match=AGENTS[fault]):
        check_agent(f"tests.test_testing:{fault}", toy_data)


def test_what_is_no_agent_is_found() -> None:
    with pytest.raises(ConformanceError, match="expected a subclass of Agent"):
        check_agent("tests.test_testing:AGENTS")
    with pytest.raises(OffmarlError, match="unknown setting"):
        check_agent("bc", hiden=8)
    assert agent_checks.TOY in ("toy/signals",)


# ---- datasets ----


def tampered(column: str, at: Any, value: Any) -> Callable[[Dataset], Dataset]:
    def change(data: Dataset) -> Dataset:
        columns = {k: v.copy() for k, v in data.columns.items()}
        columns[column][at] = value
        return Dataset(data.spec, columns, data.row_starts, data.lengths, data.metadata)

    return change


def illegal(data: Dataset) -> Dataset:
    columns = {k: v.copy() for k, v in data.columns.items()}
    columns["actions"][3] = columns["legal_actions"][3].argmin(-1)
    return Dataset(data.spec, columns, data.row_starts, data.lengths)


DATASETS: dict[str, tuple[Callable[[Dataset], Dataset], str]] = {
    "a missing column": (
        lambda d: Dataset(d.spec, {k: v for k, v in d.columns.items() if k != "state"}, d.row_starts, d.lengths),
        "column 'state' is missing",
    ),
    "another type": (
        lambda d: Dataset(d.spec, d.columns | {"state": d.columns["state"].astype(float)}, d.row_starts, d.lengths),
        "column 'state' has type float64",
    ),
    "NaN": (tampered("rewards", 2, np.nan), "column 'rewards' holds NaN"),
    "first": (tampered("is_first", 2, True), "is_first is wrong, first in row 2"),
    "last": (tampered("is_last", 8, False), "is_last is wrong, first in row 8"),
    "terminal inside": (tampered("is_terminal", 3, True), "is_terminal inside an episode, first in row 3"),
    "clock": (tampered("timestep", 4, 9), "timestep is wrong, first in row 4"),
    "ids": (tampered("episode_id", 5, 7), "episode_id changes inside an episode, first in row 5"),
    "reward at the end": (tampered("rewards", 8, 1.0), "rewards on the last row of episode 0"),
    "action at the end": (tampered("actions", 17, 1), "actions on the last row of episode 1"),
    "no such action": (tampered("actions", 2, 99), "an action outside 0 … 3, first in row 2"),
    "illegal": (illegal, "an illegal action was played, first in row 3"),
    "no such level": (tampered("behavior_level", 6, 3), "a behavior_level that does not exist, first in row 6"),
    "impossible": (tampered("behavior_logprob", 1, 0.5), "behavior_logprob above 0, first in row 1"),
    "shared rows": (lambda d: Dataset(d.spec, d.columns, d.row_starts * 0, d.lengths), "two episodes share a row"),
    "beyond the end": (lambda d: Dataset(d.spec, d.columns, d.row_starts + 1, d.lengths), "an episode ends in row"),
    "too long": (
        lambda d: Dataset(replace(d.spec, horizon=7), d.columns, d.row_starts, d.lengths),
        "an episode has 8 steps; expected at most the horizon 7",
    ),
    "no steps": (lambda d: Dataset(d.spec, d.columns, d.row_starts, d.lengths * 0), "an episode has no steps"),
    "empty": (lambda d: Dataset(d.spec, d.columns, d.row_starts[:0], d.lengths[:0]), "it has no episodes"),
    "no spec": (lambda d: Dataset(None, d.columns, d.row_starts, d.lengths), "spec is a NoneType"),  # type: ignore[arg-type]
}


def test_good_datasets_and_their_views_pass(toy_data: Dataset) -> None:
    check_dataset(toy_data)
    check_dataset(toy_data.episodes(min_return=float(np.median(toy_data.returns))))
    check_dataset(trial_dataset("toy/target"))


@pytest.mark.parametrize("fault", list(DATASETS))
def test_a_broken_dataset_is_found(fault: str, toy_data: Dataset) -> None:
    change, words = DATASETS[fault]
    with pytest.raises(ConformanceError, match=words):
        check_dataset(change(toy_data))
