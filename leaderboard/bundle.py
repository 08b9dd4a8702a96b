"""What a submission is on disk: one folder, its records, and the hash that stands for all of it.

    SLUG/submission.json       who and what (``Submission``)
    SLUG/results/STEM.json     one ``offmarl_bench.results.Result`` per dataset and seed
    SLUG/policies/STEM.json    how to play it (``PolicyRecord``), beside STEM.safetensors or STEM.onnx
    SLUG/curves/STEM.json      how its training went (``Curves``), if it was logged
    SLUG/README.md             more words, if there are any
    SLUG/verdict.json          what a replay found (``leaderboard.verdict``); not part of what is hashed

STEM is the same in the three folders and says dataset and seed. Nothing here executes anything.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from offmarl_bench.errors import FormatError
from offmarl_bench.records import LATER, read_record
from offmarl_bench.results import RESULTS as RESULTS
from offmarl_bench.results import SUBMISSION as SUBMISSION
from offmarl_bench.results import Result, load_result

VERDICT = "verdict.json"
README = "README.md"
POLICIES, CURVES = "policies", "curves"
FORMAT = "offmarl-bench submission 1"
WEIGHTS_SUFFIX, ONNX_SUFFIX = ".safetensors", ".onnx"

SUBMISSIONS = Path(__file__).resolve().parent / "submissions"
"""The submissions of this repository."""
SEEDS_TO_RANK = 5
"""Fewer training seeds than the paper's say too little about an agent to rank it."""
EPISODES_TO_RANK = 32
"""Greedy episodes a seed, as everywhere in the SMAC literature; a replay of fewer would agree with nearly anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Who submits what; ``submission.json``."""

    format: str
    """``offmarl-bench submission 1``."""
    name: str
    """Title of the entry."""
    agent: str
    """Registered name, ``module:attr``, or any word for policies that are ONNX graphs."""
    preset: str
    overrides: dict[str, Any] = field(default_factory=dict)
    """Settings that differ from the preset, as given."""
    description: str = ""
    """Plain text."""
    authors: tuple[str, ...] = ()
    url: str | None = None
    """``https://…`` of code or paper."""
    created: str
    """Day, ISO 8601."""
    commit: str | None = None
    """Commit of the source tree that made the first result."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of the software that made the first result."""
    deviations: tuple[str, ...] = ()
    """In what the agent differs from its paper, in its own words."""
    claims: dict[str, float] = field(default_factory=dict)
    """Dataset → mean greedy return over seeds, for people; must be what ``results`` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """How to play one trained policy; ``policies/STEM.json``."""

    kind: str
    """``agent``: weights of an installed agent. ``onnx``: a graph, see ``leaderboard.onnx_policy``."""
    agent: str
    preset: str
    config: dict[str, Any]
    """Every setting, resolved."""
    spec: dict[str, Any]
    """The EnvSpec it was trained for."""
    dataset: str | None
    seed: int
    weights: str
    """Name of the file beside this one."""
    sha256: str
    """Of that file."""
    epsilon: float = 0.0
    """Graphs of discrete actions: the share of uniform choices in sampled play."""
    softmax: bool = True
    """Graphs of discrete actions: sampled play draws from the softmax of the outputs; False: it is greedy but for
    ``epsilon``."""
    noise: float | None = field(default=None, metadata=LATER)
    """Graphs of continuous actions: sampled play adds N(0, noise²) to the greedy action; None: it draws from the
    graph's own distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """What was logged while one seed trained; ``curves/STEM.json``."""

    phases: tuple[str, ...]
    """Name of the phase of every point."""
    updates: tuple[int, ...]
    """Updates so far, over all phases, at every point."""
    seconds: tuple[float, ...]
    """Wall time so far in that phase, at every point."""
    metrics: dict[str, Any]
    """Name → one number per point, null where it was not logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A submission as read from its folder; nothing is checked but that the records are records."""

    path: Path
    submission: Submission
    results: dict[str, Result]
    """By STEM, sorted."""

    @property
    def slug(self) -> str:
        """Name of the folder."""
        return self.path.name


def stem_of(result: Result) -> str:
    """Name of one result's files: dataset and seed."""
    dataset = re.sub(r"[^A-Za-z0-9._-]", "-", result.dataset or result.env_id)
    return f"{dataset}_seed-{result.seed}"


def read_bundle(path: Path) -> Bundle:
    """The records of one submission.

    Raises:
        FormatError: no submission, or one whose records are not exactly records; see ``leaderboard.validate``.
    """
    if not (path / SUBMISSION).is_file():
        raise FormatError(f"{path}: no {SUBMISSION} here; `offmarl-bench submit` makes a submission")
    submission = read_record(Submission, path / SUBMISSION)
    if submission.format != FORMAT:
        raise FormatError(f"{path / SUBMISSION}: format is {submission.format[:40]!r}, expected {FORMAT!r}")
    results = {p.stem: load_result(p) for p in sorted((path / RESULTS).glob("*.json"))}
    if not results:
        raise FormatError(f"{path / RESULTS}: no results; a submission holds one per dataset and seed")
    return Bundle(path=path, submission=submission, results=results)


def bundle_files(path: Path) -> list[str]:
    """Relative names of the files that count, sorted: everything but the verdict. Links are not followed."""
    found = (p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_symlink() or not p.is_dir())
    return sorted(name for name in found if name != VERDICT)


def file_hash(path: Path) -> str:
    """SHA-256 of one file. Raises FormatError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise FormatError(f"{path}: cannot be read: {e.strerror or e}") from e


def bundle_hash(path: Path) -> str:
    """SHA-256 over name and content of every file but the verdict: what the replay's seeds are derived from."""
    total = hashlib.sha256()
    for name in bundle_files(path):
        total.update(f"{name}\0{file_hash(path / name)}\n".encode())
    return total.hexdigest()
