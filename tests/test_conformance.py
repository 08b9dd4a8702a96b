"""Every agent and every map that this repository registers keeps the contract, whichever file tests it besides."""

from __future__ import annotations

from typing import Any

import pytest

from offmarl_bench import registry
from offmarl_bench.catalog import list_environments
from offmarl_bench.envs import split_id
from offmarl_bench.testing import check_agent, check_dataset, check_environment
from tests.imbalanced_toy import imbalanced

OURS = [n for n in registry.names("agents") if registry.distribution("agents", n) == "offmarl-bench"]
SMALL: dict[str, dict[str, Any]] = {
    "sit": {"members": 2, "reward_hidden": 8, "attention_hidden": 8, "actor_hidden": 8, "critic_hidden": 8},
    "icq": {"hidden": 8, "critic_hidden": 8},
}
"""Smaller networks, where an agent has several; what is not named here is small enough."""
CONTINUOUS = ("facmac",)
"""Tested in their own files, on a continuous toy."""

REAL_GAME = ("smac-sc2",)
"""Suites that need a game which is not here; their own tests play a stand-in."""
MAPS = [spec.id for spec in list_environments() if split_id(spec.id)[0] not in REAL_GAME]


@pytest.mark.parametrize("name", [n for n in OURS if n not in CONTINUOUS])
def test_every_registered_agent_keeps_the_contract(name: str) -> None:
    check_agent(name, imbalanced(24), **SMALL.get(name, {}))


@pytest.mark.parametrize("env_id", MAPS)
def test_every_registered_map_keeps_the_contract(env_id: str) -> None:
    check_environment(env_id)


def test_no_map_is_forgotten() -> None:
    ours = {n for n in registry.names("environments") if registry.distribution("environments", n) == "offmarl-bench"}
    assert {split_id(env_id)[0] for env_id in MAPS} == ours - set(REAL_GAME)
    assert len(MAPS) >= 15


def test_the_data_they_are_tried_on_keep_theirs() -> None:
    check_dataset(imbalanced(24))
