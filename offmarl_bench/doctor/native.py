"""Lints that only our own format can break: what its extra columns and its metadata promise (``docs/format.md``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from offmarl_bench.doctor.findings import Finding, error, warning
from offmarl_bench.errors import FormatError
from offmarl_bench.foreign.view import Block
from offmarl_bench.format.schema import UNKNOWN
from offmarl_bench.recipes import parse_recipe
from offmarl_bench.types import LEVELS, EnvSpec

LOGPROB_SLACK = 1e-5
"""A log-probability may exceed 0 by this much, by rounding."""
MEAN_SLACK = 1e-6
"""Relative difference allowed between a stated mean and that of the data."""
AGAIN = "generate or download the file again"


class NativeFacts:
    """What the extra columns hold; each broken rule with its number of rows and the first of them."""

    def __init__(self, spec: EnvSpec) -> None:
        self.spec = spec
        self.broken: dict[str, tuple[int, str]] = {}
        """Rule → (rows, first place)."""
        self.ids: list[int] = []
        """Of each episode."""
        self.played: dict[tuple[int, ...], int] = {}
        """Levels of all agents → episodes."""

    def see(self, block: Block) -> None:
        """Take the next rows."""
        c, last = block.columns or {}, ~block.steps
        for name in ("actions", "rewards"):
            filled = (c[name].reshape(len(last), -1) != 0).any(1)
            self._note(f"{name} of last rows are 0", block, last & filled)
        for name in ("behavior_level", "behavior_policy"):
            self._note(f"{name} of last rows is {UNKNOWN}", block, last & (c[name] != UNKNOWN).any(1))
        level, policy, logprob = (c[f"behavior_{name}"] for name in ("level", "policy", "logprob"))
        odd = ((level < UNKNOWN) | (level >= len(LEVELS))).any(1)
        self._note(f"behavior_level from {UNKNOWN} to {len(LEVELS) - 1}", block, odd)
        self._note(f"behavior_policy at least {UNKNOWN}", block, (policy < UNKNOWN).any(1))
        # NaN from an agent's first step to its last: whoever played did not tell. Here and there: damage.
        silent = np.logical_and.reduceat(np.isnan(logprob) | last[:, None], block.starts, axis=0)
        unknown = ~np.isfinite(logprob) & ~np.repeat(silent, block.lengths + 1, axis=0)
        self._note("behavior_logprob finite", block, unknown.any(1) & (policy != UNKNOWN).any(1))
        if self.spec.discrete:
            self._note("behavior_logprob at most 0", block, (logprob > LOGPROB_SLACK).any(1))
        counts = block.lengths + 1
        ids = c["episode_id"]
        self._note("one episode_id an episode", block, ids != np.repeat(ids[block.starts], counts))
        self.ids += ids[block.starts].tolist()
        moved = block.steps & (level != np.repeat(level[block.starts], counts, axis=0)).any(1)
        self._note("one behaviour level an agent and episode", block, moved)
        rows, many = np.unique(level[block.starts], axis=0, return_counts=True)
        for row, n in zip(rows.tolist(), many.tolist(), strict=True):
            self.played[tuple(row)] = self.played.get(tuple(row), 0) + n

    def _note(self, rule: str, block: Block, bad: Any) -> None:
        """``bad``: (R,) rows that break the rule."""
        found = int(bad.sum())
        if found:
            count, first = self.broken.get(rule, (0, ""))
            self.broken[rule] = (count + found, first or block.place(int(np.argmax(bad))))


UNWISE = "one behaviour level an agent and episode"
"""The one rule whose breach is possible."""


def columns(facts: NativeFacts, lengths: Int64[np.ndarray, " E"]) -> Iterator[Finding]:
    """The extra columns keep the rules of format version 1."""
    for rule, (count, first) in facts.broken.items():
        evidence = f"{count} rows, the first is {first}"
        if rule == UNWISE:
            yield warning(
                "native", f"not {rule}", evidence, "filters by level look at an episode's first step only", rows=count
            )
        else:
            yield error("native", f"broken rule, {rule}", evidence, AGAIN, rows=count)
    again = len(facts.ids) - len(set(facts.ids))
    if again and "one episode_id an episode" not in facts.broken:
        yield error("native", "episode_id is not unique", f"{again} ids are used again", AGAIN, ids=again)
    long = int((lengths > facts.spec.horizon).sum())
    if long:
        text = f"{long} episodes, up to {int(lengths.max())} of {facts.spec.horizon} steps"
        yield error("native", "episodes beyond the horizon", text, AGAIN, episodes=long)


def statements(
    facts: NativeFacts, said: Mapping[str, Any], lengths: Int64[np.ndarray, " E"], returns: Float64[np.ndarray, " E"]
) -> Iterator[Finding]:
    """The metadata's numbers and recipe are those of the content."""
    found = {"episodes": len(lengths), "steps": int(lengths.sum()), "return_mean": float(returns.mean())}
    for name, value in found.items():
        stated = said.get(name)
        if stated is None:
            continue
        if not isinstance(stated, int | float) or abs(stated - value) > MEAN_SLACK * max(1.0, abs(value)):
            text = f"states {stated!r}, the content has {value!r}"
            yield error("metadata", f"metadata {name!r}", text, AGAIN, content=value)
    if isinstance(said.get("recipe"), str):
        yield from _composition(facts, said["recipe"], len(lengths))


def _composition(facts: NativeFacts, text: str, episodes: int) -> Iterator[Finding]:
    try:
        recipe = parse_recipe(text, facts.spec)
    except FormatError as e:
        yield error("metadata", "the recipe in the metadata is none", str(e), AGAIN)
        return
    wanted: dict[tuple[int, ...], int] = {}
    for part, count in zip(recipe.parts, recipe.counts(episodes), strict=True):
        wanted[part.levels] = wanted.get(part.levels, 0) + count
    if facts.played != {k: n for k, n in wanted.items() if n}:
        evidence = f"{text} wants {wanted}, behavior_level has {facts.played}"
        yield error("metadata", "who played is not what the recipe says", evidence, AGAIN)
