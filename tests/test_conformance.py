"""Every agent that this repository registers keeps the contract, whichever file tests it besides."""

from __future__ import annotations

from typing import Any

import pytest

from offmarl_bench import registry
from offmarl_bench.testing import check_agent, check_dataset
from tests.imbalanced_toy import imbalanced

OURS = [n for n in registry.names("agents") if registry.distribution("agents", n) == "offmarl-bench"]
SMALL: dict[str, dict[str, Any]] = {
    "sit": {"members": 2, "reward_hidden": 8, "attention_hidden": 8, "actor_hidden": 8, "critic_hidden": 8},
    "icq": {"hidden": 8, "critic_hidden": 8},
}
"""Smaller networks, where an agent has several; what is not named here is small enough."""
CONTINUOUS = ("facmac",)
"""Tested in their own files, on a continuous toy."""


@pytest.mark.parametrize("name", [n for n in OURS if n not in CONTINUOUS])
def test_every_registered_agent_keeps_the_contract(name: str) -> None:
    check_agent(name, imbalanced(24), **SMALL.get(name, {}))


def test_the_data_they_are_tried_on_keep_theirs() -> None:
    check_dataset(imbalanced(24))
