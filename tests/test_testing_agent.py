"""The conformance check of agents finds what it promises to find: one deliberately broken stub per rule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from baselines.bc import BC, BCConfig
from offmarl_bench.agent import Common, Phase
from offmarl_bench.errors import ConformanceError, UnknownName
from offmarl_bench.loader import Dataset
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.testing import check_agent
from offmarl_bench.testing.agent import trial_dataset
from offmarl_bench.types import Batch


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


class Shared(Good):
    """Two phases, of which other runs may take over the first."""

    said: ClassVar[dict[str, Any]] = {
        "name": "stub",
        "settings": {"hidden": 8},
        "parts": ("actor",),
        "optimizers": ("actor",),
    }

    def phases(self, dataset: Any) -> Any:
        (phase,) = super().phases(dataset)
        return [replace(phase, common=Common(**self.said)), replace(phase, name="again")]


class SharedLate(Shared):
    def phases(self, dataset: Any) -> Any:
        return [replace(p, name=p.name[::-1]) for p in reversed(super().phases(dataset))]


class SharedUnsaid(Shared):
    said = Shared.said | {"parts": ()}


class SharedNowhere(Shared):
    said = Shared.said | {"parts": ("critic",)}


class SharedOptimizer(Shared):
    said = Shared.said | {"optimizers": ("critic",)}


class SharedStep(Shared):
    said = Shared.said | {"optimizers": ()}


class SharedSettings(Shared):
    said = Shared.said | {"settings": {"device": object()}}


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
    "SharedLate": "it has common; expected it in the first phase only",
    "SharedUnsaid": r"it changes \['actor.*expected changes in common.parts only",
    "SharedNowhere": "common.parts names 'critic', but nothing in its state_dict is called so",
    "SharedOptimizer": r"common.optimizers names \['critic'\]; expected names among",
    "SharedStep": r"it steps the optimizers \['actor'\]",
    "SharedSettings": "common.settings: Object of type object is not JSON serializable",
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
    check_agent("tests.test_testing_agent:Good", toy_data)
    check_agent("tests.test_testing_agent:Shared", toy_data)
    check_agent("bc", hidden=8)


@pytest.mark.parametrize("fault", list(AGENTS))
def test_a_broken_agent_is_found(fault: str, toy_data: Dataset) -> None:
    with pytest.raises(ConformanceError, match=AGENTS[fault]):
        check_agent(f"tests.test_testing_agent:{fault}", toy_data)


def test_what_is_no_agent_is_found() -> None:
    with pytest.raises(ConformanceError, match="expected a subclass of Agent"):
        check_agent("tests.test_testing_agent:AGENTS")
    with pytest.raises(UnknownName, match="unknown setting"):
        check_agent("bc", hiden=8)
