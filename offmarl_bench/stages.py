"""A first phase that several runs have in common is trained once.

Runs of SIT that differ in stage III only (Figure 8, most controls) begin with the same thousands of updates of stage I.
A phase that says what it reads and changes (``agent.Common``) leaves its end behind in a file, weights, optimizers,
random states and log, and a run that would do the same takes it from there: bit for bit what it would have come to.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from offmarl_bench import provenance
from offmarl_bench.agent import Agent, Common
from offmarl_bench.checkpoint import Position, read_checkpoint, write_state
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.records import json_digest
from offmarl_bench.runs import Plan

FOLDER = "stages"
"""Beside the agents' folders of a dataset, so that who deletes runs deletes these too."""
KEY_DIGITS = 24


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the end of one run's first phase is kept, and how to get it there and back."""

    agent: Agent
    common: Common
    path: Path

    @classmethod
    def of(cls, agent: Agent, common: Common | None, plan: Plan, folder: Path | None) -> Stage | None:
        """The first phase of a planned run; None if it cannot be shared.

        It cannot without a folder, with data that have no hash, on another device than the CPU (where nothing is
        promised bit for bit), and where the phase does not say what it reads.
        """
        if folder is None or common is None or plan.dataset_hash is None or agent.device.type != "cpu":
            return None
        name, steps = plan.phases[0]
        facts = {
            "common": common.name, "settings": dict(common.settings), "parts": common.parts,
            "optimizers": common.optimizers, "phase": name, "steps": steps, "seed": plan.seed,
            "spec": plan.spec, "dataset": plan.dataset_hash, "episodes": plan.episodes,
            "versions": provenance.versions(),
        }  # fmt: skip
        return cls(agent, common, folder / f"{name}-{json_digest(facts)[:KEY_DIGITS]}.safetensors")

    def keep(self, generator: np.random.Generator, seconds: float, log: list[dict[str, Any]]) -> None:
        """Store the phase's end, unless it is there already. Raises OffmarlError: the place cannot be written."""
        if self.path.exists():
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise OffmarlError(f"cannot make {self.path.parent}: {e.strerror or e}") from e
        write_state(
            self.path, self.agent.state_of(self.common.parts, "Common.parts"), self._optimizers(), generator,
            Position(phase=1, seconds=seconds), log=log, commit=provenance.commit(),
        )  # fmt: skip

    def take(self, generator: np.random.Generator) -> tuple[Position, list[dict[str, Any]]] | None:
        """Put the phase's end into the agent, the generator and torch's random state.

        Returns:
            Where the run goes on (its seconds are those that the phase took) and the lines of the phase's log; None:
            nobody has trained it yet.

        Raises:
            FormatError: the file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            part = self.agent.state_of(self.common.parts, "Common.parts")
            position, header = read_checkpoint(self.path, self.agent, generator, part, self._optimizers())
        except FormatError as e:
            raise FormatError(f"{e}; delete it, and the phase is trained anew") from e
        rows = header.get("log")
        return position, [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def _optimizers(self) -> dict[str, Any]:
        return {name: self.agent.optimizers[name] for name in self.common.optimizers}
