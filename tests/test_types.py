"""Specs, episodes and batches: what they refuse, what they derive, and that JSON brings specs back whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from offmarl_bench.errors import ConformanceError, FormatError, OffmarlError, SpecMismatch, UnknownName
from offmarl_bench.types import LEVELS, Batch, EnvSpec, Episode

SPEC = EnvSpec(
    id="smac/2s3z", agents=("s1", "s2", "z1", "z2", "z3"), agent_types=("s", "s", "z", "z", "z"), O=80, S=120, A=11,
    discrete=True, horizon=120,
)  # fmt: skip


@st.composite
def specs(draw: Any) -> EnvSpec:
    n = draw(st.integers(1, 6))
    o, a = draw(st.integers(1, 99)), draw(st.integers(1, 99))

    def sizes(most: int) -> Any:
        return st.just(()) | st.lists(st.integers(1, most), min_size=n, max_size=n).map(tuple)

    return EnvSpec(
        id=draw(st.text(min_size=1)),
        agents=draw(st.lists(st.text(), min_size=n, max_size=n).map(tuple)),
        agent_types=draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n).map(tuple)),
        O=o,
        S=draw(st.integers(1, 99)),
        A=a,
        discrete=draw(st.booleans()),
        horizon=draw(st.integers(1, 999)),
        obs_sizes=draw(sizes(o)),
        action_sizes=draw(sizes(a)),
    )


@given(specs())
def test_a_spec_survives_json(spec: EnvSpec) -> None:
    assert EnvSpec.from_json(spec.to_json()) == spec


def test_types_are_listed_in_order_of_appearance() -> None:
    assert (SPEC.N, SPEC.types, SPEC.type_index) == (5, ("s", "z"), (0, 0, 1, 1, 1))
    assert LEVELS == ("random", "medium", "expert")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"agents": ()}, "0 agents but 5 agent types; give every agent exactly one type"),
        ({"agent_types": ("s",)}, "5 agents but 1 agent types"),
        ({"O": 0}, "O is 0, expected a positive integer"),
        ({"horizon": 1.5}, "horizon is 1.5, expected a positive integer"),
        ({"obs_sizes": (1,)}, "obs_sizes needs one entry for each of 5 agents"),
        ({"action_sizes": (1, 2)}, "action_sizes needs one entry for each of 5 agents"),
        ({"obs_sizes": (80, 80, 80, 80, 81)}, r"obs_sizes are \(80, 80, 80, 80, 81\), expected 0 … 80 each"),
        ({"action_sizes": (-1,) * 5}, r"action_sizes are \(-1, -1, -1, -1, -1\), expected 0 … 11 each"),
        ({"action_sizes": ("a",) * 5}, r"action_sizes are \('a', .*, expected 0 … 11 each"),
    ],
)
def test_a_spec_refuses_sizes_that_cannot_be(change: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        replace(SPEC, **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": 1}, r"unknown content \['colour'\]"),
        ({"id": 3}, "id, agents and agent_types are text"),
        ({"agents": [1, 2, 3, 4, 5]}, "id, agents and agent_types are text"),
        ({"discrete": 1}, "discrete is 1, expected true or false"),
        ({"S": "many"}, "S is 'many', expected a positive integer"),
    ],
)
def test_a_spec_from_a_file_is_checked(change: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        EnvSpec.from_json(SPEC.to_json() | change)


def test_a_spec_from_a_file_must_be_whole() -> None:
    with pytest.raises(FormatError, match="EnvSpec: unknown content 'list'"):
        EnvSpec.from_json([])  # type: ignore[arg-type]
    data = SPEC.to_json()
    del data["horizon"]
    with pytest.raises(FormatError, match="horizon"):
        EnvSpec.from_json(data)


def test_an_episode_knows_its_length_and_return() -> None:
    rewards = np.array([1.0, 0.5, 0.25], np.float32)
    episode = Episode(
        actions=np.zeros((3, 2), np.int32), rewards=rewards, observations=np.zeros((4, 2, 5), np.float32),
        state=np.zeros((4, 7), np.float32), legal_actions=None, terminal=True,
    )  # fmt: skip
    assert (len(episode), episode.episode_return) == (3, 1.75)


def test_a_batch_moves_as_a_whole() -> None:
    b, t, n = 2, 3, 4
    batch = Batch(
        actions=torch.zeros(b, t, n, dtype=torch.int64), rewards=torch.zeros(b, t),
        terminated=torch.zeros(b, t, dtype=torch.bool), mask=torch.ones(b, t, dtype=torch.bool),
        obs=torch.zeros(b, t + 1, n, 5), state=torch.zeros(b, t + 1, 7), legal=None,
        alive=torch.ones(b, t + 1, n, dtype=torch.bool), lengths=torch.full((b,), t),
        episodes=torch.arange(b), starts=torch.zeros(b, dtype=torch.int64),
    )  # fmt: skip
    moved = batch.to("meta")
    assert moved.legal is None
    assert {getattr(moved, k).device.type for k in Batch.__slots__ if k != "legal"} == {"meta"}


def test_every_error_is_ours_and_the_builtin_a_stranger_expects() -> None:
    pairs = ((UnknownName, LookupError), (FormatError, ValueError), (SpecMismatch, ValueError))
    for kind, builtin in (*pairs, (ConformanceError, AssertionError)):
        assert issubclass(kind, OffmarlError)
        assert issubclass(kind, builtin)
