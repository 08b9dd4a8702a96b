"""``verify``: is this file what it says, and is there anything in it that would spoil an experiment?

Errors are contradictions (a wrong hash, an illegal action, a NaN); warnings are content that is possible but
unusual. Every finding says what, where, and what to do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from offmarl_bench.errors import FormatError
from offmarl_bench.format.content_hash import content_hash
from offmarl_bench.format.reader import Contents, read_dataset
from offmarl_bench.format.schema import UNKNOWN
from offmarl_bench.loader import find_dataset
from offmarl_bench.recipes import parse_recipe
from offmarl_bench.types import LEVELS

MAX_COPIES = 0.01
"""Share of episodes that may be copies of others before it is an error: short episodes can coincide."""
BLOCK_ROWS = 1 << 15
"""Rows looked at in one go; bounds memory."""
LOGPROB_SLACK = 1e-5
"""A log-probability may exceed 0 by this much, by rounding."""
MEAN_SLACK = 1e-6
"""Relative difference allowed between a stated mean and that of the data."""
AGAIN = "generate or download the file again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong or unusual."""

    severity: Literal["error", "warning"]
    what: str
    """The rule that is broken."""
    evidence: str
    """Where and how often."""
    fix: str
    """What to do about it."""

    def __str__(self) -> str:
        return f"{self.severity}: {self.what}: {self.evidence}; {self.fix}"


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

    @property
    def ok(self) -> bool:
        """True if there is no error; warnings do not count."""
        return not any(f.severity == "error" for f in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the verdict."""
        return {**asdict(self), "ok": self.ok}

    def __str__(self) -> str:
        head = f"{self.path}: {self.dataset_id or 'no id'}, {self.episodes} episodes, {self.steps} steps"
        verdict = "ok" if self.ok else "NOT OK"
        lines = [head, *(f"  {f}" for f in self.findings), f"  content hash {self.content_hash}: {verdict}"]
        return "\n".join(lines)


def _error(what: str, evidence: str, fix: str = AGAIN) -> Finding:
    return Finding(severity="error", what=what, evidence=evidence, fix=fix)


def _warning(what: str, evidence: str, fix: str) -> Finding:
    return Finding(severity="warning", what=what, evidence=evidence, fix=fix)


class _Audit:
    """The checks on one file's content; each yields its findings."""

    def __init__(self, contents: Contents) -> None:
        self.c, self.spec, self.said = contents.columns, contents.spec, contents.metadata
        self.starts, self.lengths = contents.row_starts, contents.lengths
        self.last = self.c["is_last"]
        self.episode = np.repeat(np.arange(len(self.starts)), self.lengths + 1)

    def _where(self, bad: Bool[np.ndarray, " R"]) -> str:
        row = int(np.argmax(bad))
        place = f"episode {self.episode[row]}, step {self.c['timestep'][row]}"
        return f"{int(bad.sum())} rows, the first is row {row} ({place})"

    def _rows(self, test: Any) -> Bool[np.ndarray, " R"]:
        """``test(slice)`` on blocks of rows, reduced over all but the rows."""
        n = len(self.last)
        blocks = [test(slice(at, min(at + BLOCK_ROWS, n))) for at in range(0, n, BLOCK_ROWS)]
        return np.concatenate([b.reshape(len(b), -1).any(1) for b in blocks])

    def hash(self, computed: str) -> Iterator[Finding]:
        """The stated content hash is that of the content."""
        stated = self.said.get("content_hash")
        if stated != computed:
            yield _error("content hash", f"the file states {stated}, its content gives {computed}")

    def finite(self) -> Iterator[Finding]:
        """No NaN, no infinity."""
        for name in ("observations", "state", "rewards", "actions", "behavior_logprob"):
            column = self.c[name]
            if column.dtype.kind != "f":
                continue
            bad = self._rows(lambda s, column=column: ~np.isfinite(column[s]))
            if name == "behavior_logprob":
                bad &= (self.c["behavior_policy"] != UNKNOWN).any(1)
            if bad.any():
                yield _error(f"{name} finite", self._where(bad), "find what made it: no method can learn from it")

    def actions(self) -> Iterator[Finding]:
        """Every action taken was legal, and something was."""
        if not self.spec.discrete:
            return
        legal, taken = self.c["legal_actions"], self.c["actions"]
        illegal = (
            self._rows(lambda s: ~np.take_along_axis(legal[s], taken[s][..., None].astype(np.int64), 2)) & ~self.last
        )
        if illegal.any():
            yield _error("actions legal", self._where(illegal), "an environment or a policy ignored the legal actions")
        stuck = self._rows(lambda s: ~legal[s].any(2)) & ~self.last
        if stuck.any():
            yield _error("a legal action for every agent", self._where(stuck), "let dead agents have one no-op action")

    def last_rows(self) -> Iterator[Finding]:
        """Last rows hold an observation and nothing else."""
        for name in ("actions", "rewards"):
            bad = self.last & (self.c[name].reshape(len(self.last), -1) != 0).any(1)
            if bad.any():
                yield _error(f"{name} of last rows are 0", self._where(bad))
        for name in ("behavior_level", "behavior_policy"):
            bad = self.last & (self.c[name] != UNKNOWN).any(1)
            if bad.any():
                yield _error(f"{name} of last rows is {UNKNOWN}", self._where(bad))

    def episodes(self) -> Iterator[Finding]:
        """Episodes have one id each and end where they should."""
        ids = self.c["episode_id"]
        firsts = ids[self.starts]
        mixed = ids != np.repeat(firsts, self.lengths + 1)
        if mixed.any():
            yield _error("one episode_id an episode", self._where(mixed))
        elif len(np.unique(firsts)) != len(firsts):
            yield _error("episode_id unique", f"{len(firsts) - len(np.unique(firsts))} ids are used again")
        long = self.lengths > self.spec.horizon
        if long.any():
            worst = int(self.lengths.max())
            yield _error(
                "length within the horizon", f"{int(long.sum())} episodes, up to {worst} of {self.spec.horizon} steps"
            )
        cut = ~self.c["is_terminal"][self.starts + self.lengths] & (self.lengths < self.spec.horizon)
        if cut.any():
            yield _warning(
                "episodes end or reach the horizon",
                f"{int(cut.sum())} stop without is_terminal before step {self.spec.horizon}, the first is "
                f"episode {int(np.argmax(cut))}",
                "set is_terminal where the task was over; otherwise learning bootstraps there",
            )

    def behaviour(self) -> Iterator[Finding]:
        """Levels, members and log-probabilities are possible."""
        level, policy, logprob = (self.c[f"behavior_{name}"] for name in ("level", "policy", "logprob"))
        odd = np.any((level < UNKNOWN) | (level >= len(LEVELS)), axis=1)
        if odd.any():
            yield _error(f"behavior_level from {UNKNOWN} to {len(LEVELS) - 1}", self._where(odd))
        odd = np.any(policy < UNKNOWN, axis=1)
        if odd.any():
            yield _error(f"behavior_policy at least {UNKNOWN}", self._where(odd))
        if self.spec.discrete:
            odd = np.any(logprob > LOGPROB_SLACK, axis=1)
            if odd.any():
                yield _error("behavior_logprob at most 0", self._where(odd))
        changes = ~self.last & (level != np.repeat(level[self.starts], self.lengths + 1, axis=0)).any(1)
        if changes.any():
            yield _warning(
                "one behaviour level an agent and episode", self._where(changes),
                "filters by level look at an episode's first step only",
            )  # fmt: skip

    def copies(self) -> Iterator[Finding]:
        """Episodes are not copies of each other."""
        seen: set[bytes] = set()
        copies, first = 0, -1
        for k, (at, steps) in enumerate(zip(self.starts.tolist(), self.lengths.tolist(), strict=True)):
            digest = hashlib.blake2b(digest_size=16)
            for name in ("state", "actions", "rewards"):
                digest.update(self.c[name][at : at + steps + 1].data)
            if digest.digest() in seen:
                copies, first = copies + 1, k if first < 0 else first
            seen.add(digest.digest())
        if copies:
            make = _error if copies > MAX_COPIES * len(self.starts) else _warning
            yield make(
                "no episode twice", f"{copies} of {len(self.starts)} are copies, the first is episode {first}",
                "give every episode its own seed",
            )  # fmt: skip

    def statements(self) -> Iterator[Finding]:
        """The metadata's numbers and recipe are those of the content."""
        returns = np.add.reduceat(self.c["rewards"].astype(np.float64), self.starts)
        found = {"episodes": len(self.starts), "steps": int(self.lengths.sum()), "return_mean": float(returns.mean())}
        for name, value in found.items():
            stated = self.said.get(name)
            if stated is None:
                continue
            if not isinstance(stated, int | float) or abs(stated - value) > MEAN_SLACK * max(1.0, abs(value)):
                yield _error(f"metadata {name!r}", f"states {stated!r}, the content has {value!r}")
        if not self.c["rewards"].any():
            yield _warning("rewards", "all are 0", "there is nothing to learn from")
        if isinstance(self.said.get("recipe"), str):
            yield from self._composition(self.said["recipe"])

    def _composition(self, text: str) -> Iterator[Finding]:
        try:
            recipe = parse_recipe(text, self.spec)
        except FormatError as e:
            yield _error("recipe in the metadata", str(e))
            return
        wanted: dict[tuple[int, ...], int] = {}
        for part, count in zip(recipe.parts, recipe.counts(len(self.starts)), strict=True):
            wanted[part.levels] = wanted.get(part.levels, 0) + count
        rows, counts = np.unique(self.c["behavior_level"][self.starts], axis=0, return_counts=True)
        played = {tuple(r.tolist()): int(n) for r, n in zip(rows, counts, strict=True)}
        if played != {k: n for k, n in wanted.items() if n}:
            yield _error("composition as in the recipe", f"{text} wants {wanted}, behavior_level has {played}")


def verify(dataset: str | Path) -> Report:
    """Check a dataset: schema, hash, and whatever in its content is wrong or unusual.

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
        return Report(path=str(path), findings=(_error("file", str(e), "nothing in it can be trusted"),))
    computed = content_hash(contents.columns, contents.spec)
    audit = _Audit(contents)
    checks = (
        audit.hash(computed), audit.finite(), audit.actions(), audit.last_rows(), audit.episodes(), audit.behaviour(),
        audit.copies(), audit.statements(),
    )  # fmt: skip
    return Report(
        path=str(path),
        dataset_id=contents.metadata.get("dataset_id"),
        episodes=len(contents.lengths),
        steps=int(contents.lengths.sum()),
        content_hash=computed,
        findings=tuple(f for check in checks for f in check),
    )
