"""Play the policies of a submission, in a process of its own with limits on memory and time.

The files have passed ``validate``, but what a graph or a set of weights does while it plays is only known by playing
it. Whatever goes wrong there (too much memory, no end, a crash of the runtime) ends that process and nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaderboard.bundle import POLICIES, PolicyRecord
from leaderboard.onnx_continuous import OnnxContinuousPolicy
from leaderboard.onnx_policy import OnnxPolicy
from leaderboard.policies_check import settings_of
from offmarl_bench.agent import Agent, Policy
from offmarl_bench.checkpoint import load_weights, read_tensors
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.records import read_record
from offmarl_bench.registry import resolve
from offmarl_bench.types import EnvSpec

CPU_SECONDS = 3600
"""Processor time that the policies of one submission may take."""
MEMORY_BYTES = 8 * 2**30
SECRETS = ("TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "KEY")
"""Words in the names of environment variables that no replay needs to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to play: one policy, one kind of play, one set of episodes."""

    stem: str
    env_id: str
    greedy: bool
    seed: int
    """Master seed of the episodes."""
    episodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came out."""

    returns: tuple[float, ...]
    wins: int | None
    """Episodes won, where the environment knows victory."""
    lengths: tuple[int, ...]
    """Time steps of each episode."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph as something that can be scored like an agent."""

    name: str
    spec: EnvSpec
    path: Path
    epsilon: float
    softmax: bool
    noise: float | None

    def policy(self, greedy: bool = True) -> Policy:
        """See Agent."""
        if not self.spec.discrete:
            return OnnxContinuousPolicy(self.path, self.spec, greedy=greedy, noise=self.noise)
        return OnnxPolicy(self.path, self.spec, greedy=greedy, epsilon=self.epsilon, softmax=self.softmax)


def load_policy(path: Path) -> Agent | Graph:
    """The agent or graph that ``policies/STEM.json`` describes.

    Raises:
        FormatError: weights for another network. OffmarlError: what plays it is not installed.
    """
    record = read_record(PolicyRecord, path)
    spec, weights = EnvSpec.from_json(record.spec), path.with_name(record.weights)
    if record.kind == "onnx":
        return Graph(record.agent, spec, weights, record.epsilon, record.softmax, record.noise)
    cls: type[Agent] = resolve("agents", record.agent)
    agent = cls.form(spec)(spec, settings_of(record.config, record.agent, str(path)))
    agent.name, agent.preset = record.agent, record.preset
    tensors, _ = read_tensors(weights)
    load_weights(agent, tensors, weights, agent.policy_state())
    return agent.eval()


def _environment() -> dict[str, str]:
    plain = {k: v for k, v in os.environ.items() if not any(word in k.upper() for word in SECRETS)}
    return plain | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def _how_it_ended(code: int) -> str:
    if code == -signal.SIGXCPU:
        return f"took more than {CPU_SECONDS} s of processor time"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def replay(directory: Path, orders: Mapping[str, Order]) -> dict[str, Replayed]:
    """Play all orders in one process with limits.

    Args:
        directory: a submission that has been validated.
        orders: what to play, under any names.

    Returns:
        What came out, under the same names.

    Raises:
        FormatError: a policy that cannot be played. OffmarlError: something is missing on this machine.
    """
    request = {
        "policies": str(directory / POLICIES), "cpu_seconds": CPU_SECONDS, "memory_bytes": MEMORY_BYTES,
        "orders": {name: {f: getattr(order, f) for f in Order.__slots__} for name, order in orders.items()},
    }  # fmt: skip
    command = [sys.executable, "-m", "leaderboard.replay_child"]
    done = subprocess.run(  # noqa: S603  (our own module)
        command, input=json.dumps(request), stdout=subprocess.PIPE, text=True, check=False, env=_environment()
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
    except (ValueError, IndexError):
        answer = {}
    if "found" in answer:
        return {
            k: Replayed(returns=tuple(v["returns"]), wins=v["wins"], lengths=tuple(v["lengths"]))
            for k, v in answer["found"].items()
        }
    if answer.get("fault") == "here":
        raise OffmarlError(answer["error"])
    reason = answer.get("error") or f"the process that plays it {_how_it_ended(done.returncode)}"
    raise FormatError(f"{directory.name}: its policies cannot be played: {reason}")
