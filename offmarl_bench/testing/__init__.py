"""Does a plug-in keep the contract? Checks for anybody's environment, agent or dataset; they need no pytest.

Each raises ConformanceError at the first broken rule, naming the rule and what was seen, and returns None otherwise.
"""

from __future__ import annotations

from offmarl_bench.testing.agent import check_agent as check_agent
from offmarl_bench.testing.dataset import check_dataset as check_dataset
from offmarl_bench.testing.environment import check_environment as check_environment
