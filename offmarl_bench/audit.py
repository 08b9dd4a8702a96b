"""``verify``: is this file of ours what it says, and is there anything in it that would spoil an experiment?

The content hash is compared here; everything else is for the doctor's lints, which look at files of any format.
Errors are contradictions (a wrong hash, an illegal action, a NaN); warnings are content that is possible but unusual.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from offmarl_bench.doctor.examine import examine
from offmarl_bench.doctor.findings import Finding, as_json, error, escaped
from offmarl_bench.errors import FormatError
from offmarl_bench.foreign.native import recording_of
from offmarl_bench.format.content_hash import content_hash
from offmarl_bench.format.reader import Contents, read_dataset
from offmarl_bench.loader import find_dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What ``verify`` found in one file."""

    path: str
    dataset_id: str | None = None
    episodes: int = 0
    steps: int = 0
    content_hash: str | None = None
    """Computed from the content."""
    findings: tuple[Finding, ...] = field(default=())
    """Errors and warnings, worst first."""

    @property
    def ok(self) -> bool:
        """True if there is no error; warnings do not count."""
        return not any(f.severity == "error" for f in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the verdict."""
        return {
            "path": self.path, "dataset_id": self.dataset_id, "episodes": self.episodes, "steps": self.steps,
            "content_hash": self.content_hash, "findings": [as_json(f) for f in self.findings], "ok": self.ok,
        }  # fmt: skip

    def __str__(self) -> str:
        head = f"{self.path}: {self.dataset_id or 'no id'}, {self.episodes} episodes, {self.steps} steps"
        verdict = "ok" if self.ok else "NOT OK"
        lines = [head, *(f"  {f}" for f in self.findings), f"  content hash {self.content_hash}: {verdict}"]
        return "\n".join(map(escaped, lines))


def _hash(contents: Contents, computed: str) -> Iterator[Finding]:
    stated = contents.metadata.get("content_hash")
    if stated != computed:
        text = f"the file states {stated}, its content gives {computed}"
        yield error("content-hash", "content hash", text, "generate or download the file again")


def verify(dataset: str | Path) -> Report:
    """Check a dataset of ours: schema, hash, and whatever the doctor finds wrong or unusual in its content.

    Args:
        dataset: id or path.

    Raises:
        UnknownName: no such dataset. FormatError: the text is neither an id nor a path.
    """
    path = find_dataset(dataset)
    try:
        contents = read_dataset(path)
    except FormatError as e:
        if not path.exists():
            raise
        broken = error("file", "file", str(e), "nothing in it can be trusted")
        return Report(path=str(path), findings=(broken,))
    computed = content_hash(contents.columns, contents.spec)
    _, found = examine(
        recording_of(
            contents.spec, contents.columns, contents.row_starts, contents.lengths, contents.metadata, str(path)
        )
    )
    return Report(
        path=str(path),
        dataset_id=contents.metadata.get("dataset_id"),
        episodes=len(contents.lengths),
        steps=int(contents.lengths.sum()),
        content_hash=computed,
        findings=(*_hash(contents, computed), *(f for f in found if f.severity != "info")),
    )
