"""What a lint says: a code for machines, a severity for the exit status, evidence and a remedy for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""From worst to mildest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong (error), suspicious (warning) or good to know (info)."""

    severity: Severity
    code: str
    """The lint's name, stable over releases."""
    what: str
    """The fault, in a few words."""
    evidence: str
    """Numbers, and the first places."""
    fix: str
    """What to do about it."""
    numbers: dict[str, int | float] = field(default_factory=dict)
    """The evidence's numbers by name."""

    def __str__(self) -> str:
        return f"{self.severity}: {self.what}: {self.evidence}; {self.fix}"


def error(code: str, what: str, evidence: str, fix: str, **numbers: int | float) -> Finding:
    """A contradiction, or something that spoils any experiment."""
    return Finding(severity="error", code=code, what=what, evidence=evidence, fix=fix, numbers=numbers)


def warning(code: str, what: str, evidence: str, fix: str, **numbers: int | float) -> Finding:
    """Possible, but more often a mistake."""
    return Finding(severity="warning", code=code, what=what, evidence=evidence, fix=fix, numbers=numbers)


def info(code: str, what: str, evidence: str, fix: str, **numbers: int | float) -> Finding:
    """A property that whoever trains on the data should know."""
    return Finding(severity="info", code=code, what=what, evidence=evidence, fix=fix, numbers=numbers)


def escaped(text: str) -> str:
    """Text from a stranger's file, safe for a terminal: nothing that moves the cursor or changes colours."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def listed(indices: list[int], most: int = 8) -> str:
    """``[0, 1, 2, 5]`` → ``0–2, 5``."""
    runs: list[list[int]] = []
    for k in indices:
        if runs and k == runs[-1][1] + 1:
            runs[-1][1] = k
        else:
            runs.append([k, k])
    names = [str(a) if a == b else f"{a}–{b}" for a, b in runs]
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def as_json(finding: Finding) -> dict[str, Any]:
    """Plain values."""
    return {
        "severity": finding.severity, "code": finding.code, "what": finding.what, "evidence": finding.evidence,
        "fix": finding.fix, "numbers": {k: _plain(v) for k, v in finding.numbers.items()},
    }  # fmt: skip


def _plain(value: int | float) -> int | float | None:
    """JSON knows no NaN and no infinity."""
    return value if value == value and abs(value) != float("inf") else None
