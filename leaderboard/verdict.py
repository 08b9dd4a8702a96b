"""What a replay found out about a submission, bound by hashes to exactly the files that were replayed.

``bundle`` is the hash of the submission, ``digest`` that of the verdict: a verdict says nothing about a bundle that
was changed after it, and one that was changed by hand is not believed. Whoever can write both can still forge both;
that is why the repository's own workflow replays every submission itself and believes no verdict that came with it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from leaderboard.bundle import VERDICT, bundle_hash
from offmarl_bench.errors import FormatError
from offmarl_bench.records import from_json, read_record, to_json, write_record

VERIFIED, DIFFERS, SELF_REPORTED = "verified", "differs", "self-reported"
STATES = (VERIFIED, DIFFERS, SELF_REPORTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One comparison of the claim with the replay."""

    dataset: str
    seed: int | None
    """Training seed; None: all seeds of the dataset together."""
    play: str
    """``greedy`` or ``sampled``."""
    measure: str
    """``return``, or ``wins`` (part of the episodes won)."""
    claimed: float
    """Mean claimed."""
    replayed: float
    """Mean of the replay."""
    low: float
    """Lower end of the interval of claimed − replayed."""
    high: float
    agrees: bool
    """The interval holds 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``verdict.json``."""

    state: str
    """``verified``, ``differs`` or ``self-reported``."""
    reason: str
    """One line."""
    date: str
    """Day of the replay, ISO 8601."""
    bundle: str
    """Hash of the submission."""
    salt: str
    """Mixed into the seeds with the hash: what the submitter could not know."""
    error_rate: float
    """Chance that an honest submission is said to differ."""
    episodes: int
    """Episodes replayed for each seed and kind of play."""
    engine: dict[str, str]
    """What simulated each environment."""
    versions: dict[str, str]
    commit: str | None
    repeated: dict[str, int]
    """The claim's own episodes played once more: ``episodes``, and how many gave the ``same`` return. Not decisive,
    since another processor may round otherwise; equal numbers leave no doubt."""
    checks: tuple[dict[str, Any], ...] = field(default_factory=tuple)
    """Fields of ``Check``."""
    digest: str = ""
    """SHA-256 of all other fields."""

    @property
    def details(self) -> tuple[Check, ...]:
        """The comparisons. Raises FormatError on anything that is not one."""
        return tuple(from_json(Check, dict(c), "verdict: check") for c in self.checks)


def digest_of(verdict: Verdict) -> str:
    """SHA-256 of all fields but the digest."""
    plain = to_json(replace(verdict, digest=""))
    return hashlib.sha256(json.dumps(plain, sort_keys=True, allow_nan=False).encode()).hexdigest()


def write_verdict(directory: Path, verdict: Verdict, *, store: bool = True) -> Verdict:
    """Sign it, and store it in a submission's folder unless told not to. Raises OffmarlError."""
    signed = replace(verdict, digest=digest_of(verdict))
    if store:
        write_record(directory / VERDICT, signed)
    return signed


def read_verdict(directory: Path) -> Verdict | None:
    """The verdict on a submission as it is now; None if there is none.

    Raises:
        FormatError: damaged, changed by hand, or given on other files than those that are here.
    """
    path = directory / VERDICT
    if not path.exists():
        return None
    verdict = read_record(Verdict, path)
    if verdict.state not in STATES or verdict.digest != digest_of(verdict):
        raise FormatError(f"{path}: was changed after it was written; run `offmarl-bench leaderboard verify` again")
    if verdict.bundle != bundle_hash(directory):
        raise FormatError(
            f"{path}: is about other files: the submission was changed after its verdict; run "
            "`offmarl-bench leaderboard verify` again"
        )
    _ = verdict.details
    return verdict
