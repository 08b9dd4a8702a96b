"""offmarl-bench: offline multi-agent reinforcement learning with imbalanced data.

The names below are the whole of what most programs need; each is imported when first used, so that importing
this package costs nothing (and does not import torch).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from offmarl_bench.agent import Agent as Agent
    from offmarl_bench.agent import Phase as Phase
    from offmarl_bench.agent import Policy as Policy
    from offmarl_bench.agent import make_agent as make_agent
    from offmarl_bench.envs import make_env as make_env
    from offmarl_bench.envs.pettingzoo import parallel_env as parallel_env
    from offmarl_bench.envs.pettingzoo import wrap_parallel_env as wrap_parallel_env
    from offmarl_bench.errors import OffmarlError as OffmarlError
    from offmarl_bench.evaluation import evaluate as evaluate
    from offmarl_bench.loader import Dataset as Dataset
    from offmarl_bench.loader import load_dataset as load_dataset
    from offmarl_bench.recording import record as record
    from offmarl_bench.types import Batch as Batch
    from offmarl_bench.types import EnvSpec as EnvSpec
    from offmarl_bench.types import Episode as Episode

_HOME = {
    "Agent": "agent",
    "Batch": "types",
    "Dataset": "loader",
    "EnvSpec": "types",
    "Episode": "types",
    "OffmarlError": "errors",
    "Phase": "agent",
    "Policy": "agent",
    "evaluate": "evaluation",
    "load_dataset": "loader",
    "make_agent": "agent",
    "make_env": "envs",
    "parallel_env": "envs.pettingzoo",
    "record": "recording",
    "wrap_parallel_env": "envs.pettingzoo",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("offmarl-bench")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, "__version__"])
