"""Where the horizon cut an episode its last observation is in no step: nobody learns its value, so nobody trusts it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from offmarl_bench import ops, registry
from offmarl_bench.agent import Agent, Metrics, make_agent
from offmarl_bench.bench_train import players
from offmarl_bench.collate import collate
from offmarl_bench.types import Batch, EnvSpec
from tests import toy_continuous
from tests.test_qmix import episodes, shortened
from tests.toy_data import SPEC, shaken

DISCRETE = ("cfcql", "icq", "mabcq", "macql", "maiql", "omiga", "qmix")
CONTINUOUS = ("facmac", "icq", "mabcq", "macql")
CASES = [(name, SPEC) for name in DISCRETE] + [(name, toy_continuous.SPEC) for name in CONTINUOUS]
"""Every agent that bootstraps from whole episodes; SIT, which has its own kind of batch, is in ``test_sit_learn``."""


def batch_of(spec: EnvSpec) -> Batch:
    """Three episodes: one that ended by itself, and two that the horizon cut."""
    found = episodes() if spec.discrete else list(toy_continuous.uniform_dataset(3).episodes())
    return collate([shortened(found[0], 3), *found[1:3]], spec)


def with_other_ends(batch: Batch) -> Batch:
    """The same batch, in which everybody sees something else after the last step of every episode."""
    rows = torch.arange(len(batch.lengths))
    obs, state, ends = batch.obs.clone(), batch.state.clone(), batch.lengths
    obs[rows, ends], state[rows, ends] = 10.0, -10.0
    return replace(batch, obs=obs, state=state)


def update(name: str, spec: EnvSpec, batch: Batch, **settings: Any) -> tuple[float, Agent]:
    """The mean target of one update of the values, and the agent after it."""
    agent = make_agent(name, spec, seed=0, **settings)
    shaken(agent)
    torch.manual_seed(0)
    learn: Callable[[Batch], Metrics] = getattr(agent, "learn" if name in ("cfcql", "mabcq") else "update")
    return float(learn(batch)["target"]), agent


def test_the_last_observations_value_is_drawn_to_the_mean_of_what_is_learnt() -> None:
    # Row 0 is cut after three steps, row 1 after two: V = 8 and 99 are of observations from which nobody stepped.
    value = torch.tensor([[2.0, 4.0, 8.0], [6.0, 99.0, 77.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    assert ops.damped_at_cut(value, mask, 0.0)[mask].tolist() == [2, 4, 4, 6, 4]
    assert ops.damped_at_cut(value, mask, 0.5)[mask].tolist() == [2, 4, 6, 6, 51.5]
    assert ops.damped_at_cut(value, mask, 1.0) is value
    single = torch.tensor([[5.0], [7.0]])
    assert ops.damped_at_cut(single, torch.ones(2, 1, dtype=torch.bool), 0.0).tolist() == [[5], [7]], (
        "nothing else is known"
    )


@pytest.mark.parametrize(("name", "spec"), CASES, ids=lambda x: x if isinstance(x, str) else x.id)
def test_without_trust_the_last_observation_does_not_matter(name: str, spec: EnvSpec) -> None:
    batch = batch_of(spec)
    assert not batch.terminated[1:].any()
    (one, first), (two, second) = (update(name, spec, b, trust_at_cut=0.0) for b in (batch, with_other_ends(batch)))
    assert one == two
    kept = all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert kept, "no gradient comes from there either"
    one, two = (update(name, spec, b, trust_at_cut=1.0)[0] for b in (batch, with_other_ends(batch)))
    assert one != two, "where it is trusted it does"


@pytest.mark.parametrize(("name", "spec"), CASES, ids=lambda x: x if isinstance(x, str) else x.id)
def test_a_cut_bootstraps_all_the_same(name: str, spec: EnvSpec) -> None:
    batch = batch_of(spec)
    ended = batch.terminated.clone()
    ended[torch.arange(len(ended)), batch.lengths - 1] = True
    assert update(name, spec, batch)[0] != update(name, spec, replace(batch, terminated=ended))[0]


def test_no_agent_is_forgotten() -> None:
    """Who imitates only has no values."""
    values = (
        set(registry.names("agents")) - {"bc", "sit"} - {n for n in registry.names("agents") if n.startswith("bc-")}
    )
    assert values == {name for name, _ in CASES}
    assert set(players(SPEC.id)) >= set(DISCRETE)
