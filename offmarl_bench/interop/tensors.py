"""TorchRL's ``TensorDict``: one row a step, with what came next under ``next``, agents under ``agents``.

Keys, as TorchRL's and BenchMARL's multi-agent code expects them: ``("agents", "observation")`` (steps, N, O),
``("agents", "action")``, ``("agents", "action_mask")`` (discrete), ``state``, ``("next", …)`` of the same, ``("next",
"reward")``, ``("next", "done" | "terminated" | "truncated")`` (steps, 1), ``("collector", "traj_ids")`` and
``step_count``; who played is under ``("agents", "behavior_…")``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from offmarl_bench.atomic import refuse_existing, temporary_beside
from offmarl_bench.errors import OffmarlError
from offmarl_bench.format.schema import Columns
from offmarl_bench.interop.losses import METADATA, SPEC, Loss, renumbered
from offmarl_bench.types import EnvSpec

EXTRA = "pip install 'offmarl-bench[tensordict]'"
SEEN = {"observations": ("agents", "observation"), "state": ("state",), "legal_actions": ("agents", "action_mask")}
"""Columns with a next one."""
PLAYED = ("behavior_level", "behavior_policy", "behavior_logprob")


def losses(columns: Columns, first: Int64[np.ndarray, " E"]) -> list[Loss]:
    """What a TensorDict of ours does not hold."""
    return [
        Loss(SPEC, "names and types of the agents, true sizes and horizon stay behind; keep the dataset's spec"),
        Loss(METADATA, "a TensorDict holds arrays alone; keep the dataset's metadata"),
        *renumbered(columns, first),
    ]


def to_tensordict(
    spec: EnvSpec, columns: Columns, first: Int64[np.ndarray, " E"], lengths: Int64[np.ndarray, " E"]
) -> Any:
    """All steps of these episodes as one TensorDict.

    Args:
        spec: the environment.
        columns: flat columns.
        first: first row of each episode.
        lengths: steps of each episode.

    Raises:
        OffmarlError: ``tensordict`` is not installed.
    """
    try:
        from tensordict import TensorDict
    except ImportError as e:
        raise OffmarlError(f"cannot make a TensorDict: the package tensordict is not installed; {EXTRA}") from e
    ends = np.cumsum(lengths)
    clock = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    rows = np.repeat(first, lengths) + clock
    last = np.zeros(len(rows), bool)
    last[ends - 1] = True
    terminated = last & columns["is_terminal"][rows + 1]

    def taken(name: str, at: Int64[np.ndarray, " T"]) -> torch.Tensor:
        return torch.from_numpy(columns[name][at])

    made = TensorDict({}, batch_size=[len(rows)])
    for name, key in SEEN.items():
        if name in columns:
            made[key], made["next", *key] = taken(name, rows), taken(name, rows + 1)
    actions = taken("actions", rows)
    made["agents", "action"] = actions.long() if spec.discrete else actions
    made["next", "reward"] = taken("rewards", rows)[:, None]
    for name, flags in (("done", last), ("terminated", terminated), ("truncated", last & ~terminated)):
        made["next", name] = torch.from_numpy(flags)[:, None]
    for name in PLAYED:
        made["agents", name] = taken(name, rows)
    made["collector", "traj_ids"] = torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths))
    made["step_count"] = torch.from_numpy(clock)[:, None]
    return made


def write_tensordict(folder: Path, made: Any) -> None:
    """Save a TensorDict as memory-mapped files; ``TensorDict.load_memmap(folder)`` opens it.

    Raises:
        OffmarlError: the folder exists or cannot be written.
    """
    refuse_existing(folder)
    temporary = temporary_beside(folder)
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        made.memmap(str(temporary), copy_existing=True)
        temporary.rename(folder)
    except (OSError, RuntimeError) as e:
        raise OffmarlError(f"cannot write {folder}: {e}; free some space or choose another place") from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
