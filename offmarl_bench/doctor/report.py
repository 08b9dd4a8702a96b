"""The doctor's report on one or several datasets, for people and for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offmarl_bench.doctor.examine import Options, across, examine
from offmarl_bench.doctor.facts import Facts
from offmarl_bench.doctor.findings import SEVERITIES, Finding, Severity, as_json
from offmarl_bench.errors import FormatError
from offmarl_bench.foreign.detect import EXPECTED, open_recording
from offmarl_bench.foreign.view import Layout
from offmarl_bench.ids import parse_dataset_id
from offmarl_bench.loader import find_dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """One dataset and what was found in it."""

    layout: Layout
    steps: int
    return_mean: float
    """Of the team; over agents too where rewards are each agent's."""
    return_range: tuple[float, float]
    lengths: tuple[int, int]
    """Shortest and longest episode."""
    findings: tuple[Finding, ...]
    """Worst first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the doctor found."""

    patients: tuple[Patient, ...]
    across: tuple[Finding, ...] = ()
    """Findings about several datasets together."""

    def count(self, severity: Severity) -> int:
        """How many findings there are of a severity."""
        everything = [*self.across, *(f for p in self.patients for f in p.findings)]
        return sum(f.severity == severity for f in everything)

    def ok(self, strict: bool = False) -> bool:
        """No error; when ``strict``, no warning either."""
        return not self.count("error") and not (strict and self.count("warning"))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "files": [_as_json(p) for p in self.patients],
            "across": [as_json(f) for f in self.across],
            "counts": {s: self.count(s) for s in SEVERITIES},
            "ok": self.ok(),
        }


def _as_json(patient: Patient) -> dict[str, Any]:
    layout = patient.layout
    return {
        "path": layout.path, "format": layout.format, "agents": layout.n, "observation": layout.obs,
        "state": layout.state, "actions": layout.actions, "discrete": layout.discrete, "episodes": layout.episodes,
        "steps": patient.steps, "raw_bytes": layout.raw_bytes, "return_mean": _finite(patient.return_mean),
        "findings": [as_json(f) for f in patient.findings],
    }  # fmt: skip


def _finite(x: float) -> float | None:
    """JSON knows no NaN."""
    return x if abs(x) < float("inf") else None


def _patient(facts: Facts, findings: tuple[Finding, ...]) -> Patient:
    team = facts.returns if facts.returns.ndim == 1 else facts.returns.mean(1)
    return Patient(
        layout=facts.layout, steps=int(facts.lengths.sum()), return_mean=float(team.mean()),
        return_range=(float(team.min()), float(team.max())),
        lengths=(int(facts.lengths.min()), int(facts.lengths.max())), findings=findings,
    )  # fmt: skip


def locate(given: str | Path) -> Path:
    """The file or folder that a path or the id of a local dataset stands for.

    Raises:
        FormatError: there is nothing. UnknownName: an id of no dataset here.
    """
    path = Path(given).expanduser()
    if path.exists() or isinstance(given, Path):
        return path
    try:
        parse_dataset_id(given)
    except FormatError as e:
        raise FormatError(f"{given} does not exist; {EXPECTED}") from e
    return find_dataset(given)


def diagnose(
    paths: Sequence[str | Path], *, documented_return: float | None = None, progress: bool = False
) -> Diagnosis:
    """Audit datasets of any format, each by itself and all against each other.

    Args:
        paths: files, folders, or ids of local datasets.
        documented_return: the mean return that a paper or page gives for each of them.
        progress: show a bar on stderr.

    Raises:
        FormatError: nothing there, an unknown format, or a damaged file. OffmarlError: a reader is not installed.
    """
    options = Options(documented_return=documented_return)
    seen: list[Facts] = []
    patients = []
    for path in paths:
        facts, findings = examine(open_recording(locate(path)), options, progress=progress)
        seen.append(facts)
        patients.append(_patient(facts, findings))
    return Diagnosis(patients=tuple(patients), across=across(seen))
