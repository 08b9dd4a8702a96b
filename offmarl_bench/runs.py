"""Where a training run lives and what it leaves behind: the weights, and a record from which it can be repeated.

``runs/DATASET/AGENT@PRESET/HASH/seed-K``: the hash covers configuration, budget and the dataset's content, so asking
for the same run again finds it (finished: reused, unfinished: resumed) and a changed setting never mixes with it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from offmarl_bench.agent import Agent, make_agent
from offmarl_bench.budget import Budget
from offmarl_bench.checkpoint import load_weights, read_tensors, write_tensors
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.records import from_json, read_record, write_record
from offmarl_bench.types import EnvSpec

WEIGHTS = "agent.safetensors"
RECORD = "agent.json"
PLAN = "run.json"
HASH_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is meant to do; equal plans are the same run."""

    agent: str
    """Registered name or ``module:attr``."""
    preset: str
    config: dict[str, Any]
    """Every setting, resolved."""
    spec: dict[str, Any]
    """The EnvSpec it was made for."""
    dataset: str | None
    """Dataset id; None for data that was never stored."""
    dataset_hash: str | None
    """Content hash of the dataset."""
    episodes: int
    """Episodes in the dataset."""
    seed: int
    budget: str | int
    phases: tuple[tuple[str, int], ...]
    """Name and number of updates of each phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What a finished run was; stored beside the weights."""

    plan: dict[str, Any]
    """The fields of ``Plan``."""
    updates: int
    """Updates over all phases."""
    seconds: float
    """Wall time of training, over all resumes."""
    device: str
    versions: dict[str, str]
    commit: str | None


def config_json(config: Any) -> dict[str, Any]:
    """A frozen config as plain JSON values."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config), default=str))
    return plain


def run_hash(agent: str, config: dict[str, Any], budget: Budget, dataset_hash: str | None) -> str:
    """Short name of everything but the seed that decides a run's result."""
    text = json.dumps([agent, config, budget, dataset_hash], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def run_key(agent: str, preset: str, dataset: str, digest: str, seed: int) -> Path:
    """``DATASET/AGENT@PRESET/HASH/seed-K`` as a relative path, whatever characters the names have."""
    parts = [*dataset.split("/"), f"{agent}@{preset}"]
    safe = [re.sub(r"[^A-Za-z0-9._@+-]", "-", p).lstrip(".") or "-" for p in parts]
    return Path(*safe, digest, f"seed-{seed}")


def write_agent(run_dir: Path, agent: Agent, record: RunRecord) -> None:
    """Store the weights and, last, the record that says the run is finished. Raises OffmarlError."""
    write_tensors(run_dir / WEIGHTS, agent.state_dict(), {"agent": agent.name})
    write_record(run_dir / RECORD, record)


def is_finished(run_dir: Path) -> bool:
    """Whether the folder holds a finished run."""
    return (run_dir / RECORD).exists()


def read_run(run_dir: Path) -> tuple[Plan, RunRecord]:
    """Plan and record of a finished run.

    Raises:
        FormatError: there is none, or it is damaged.
    """
    if not is_finished(run_dir):
        raise FormatError(f"{run_dir}: no finished run here ({RECORD} is missing); train it first")
    record = read_record(RunRecord, run_dir / RECORD)
    return plan_from_json(record.plan, run_dir / RECORD), record


def plan_from_json(data: Any, path: Path) -> Plan:
    """A plan out of parsed JSON. Raises FormatError."""
    return from_json(Plan, data, str(path))


def load_agent(run_dir: Path | str, device: str = "cpu") -> Agent:
    """The trained agent of a finished run, rebuilt from its stored configuration and weights.

    Raises:
        FormatError: no finished run, or a damaged one. UnknownName: its agent is not installed.
    """
    run_dir = Path(run_dir)
    plan, _ = read_run(run_dir)
    settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plan.config.items()}
    agent = make_agent(plan.agent, EnvSpec.from_json(plan.spec), preset=plan.preset, device=device, **settings)
    return load_into(agent, run_dir)


def load_into(agent: Agent, run_dir: Path) -> Agent:
    """Put a finished run's weights into an agent of the same configuration; returns it. Raises FormatError."""
    tensors, _ = read_tensors(run_dir / WEIGHTS)
    load_weights(agent, tensors, run_dir / WEIGHTS)
    return agent.eval()


def check_same(plan: Plan, run_dir: Path) -> None:
    """Make the folder this plan's own.

    Raises:
        OffmarlError: the folder belongs to another run.
    """
    path = run_dir / PLAN
    if path.exists():
        other = read_record(Plan, path)
        changed = [name for name in Plan.__dataclass_fields__ if getattr(other, name) != getattr(plan, name)]
        if changed:
            name = changed[0]
            raise OffmarlError(
                f"{run_dir} holds another run: {name} was {getattr(other, name)!r}, now {getattr(plan, name)!r}; "
                "choose another folder, or delete this one"
            )
    else:
        write_record(path, plan)
