"""What is in a dataset: who played how well in which share of it, returns, lengths and coverage.

``Description`` is all there is to know for the page in the terminal, the pictures and the dataset card: they are drawn
from it and never look at the data again. Its JSON is described field by field in ``docs/describe.md``. Levels are the
ground truth that the files carry and learning must not use; here they say what a method would have to find out by
itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64

from offmarl_bench import records
from offmarl_bench.coverage import Coverage, coverage, step_rows
from offmarl_bench.errors import FormatError
from offmarl_bench.format.schema import UNKNOWN
from offmarl_bench.format.summary import composition_text
from offmarl_bench.imbalance import imbalance, lasting_imbalance
from offmarl_bench.loader import Dataset, load_dataset
from offmarl_bench.recipes import parse_recipe
from offmarl_bench.types import LEVELS

VERSION = 1
"""Rises when a field of the JSON goes or changes its meaning; new fields may come without."""
QUARTILES = (0, 25, 50, 75, 100)
BINS = 60
"""Bars of a histogram."""
MAX_PARTS = 16
"""Compositions told apart, the most frequent ones; the others are put together."""
OTHERS = "other compositions"
UNKNOWN_LEVEL = "unknown"
KEPT = (
    "dataset_id", "recipe", "recipe_name", "recipe_provenance", "recipe_note", "paper_mean", "seed", "pool_hash",
    "backend", "reference_random", "reference_expert", "command", "commit", "versions", "content_hash",
)  # fmt: skip
"""Metadata shown as provenance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Distribution of one number over episodes."""

    episodes: int
    mean: float
    std: float
    quartiles: tuple[float, ...]
    """Smallest, 25 %, median, 75 %, largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The episodes of one composition: the same agents at the same levels."""

    composition: str
    """As in a recipe, e.g. ``[s1r,s2m]``; ``?`` marks an unknown level, ``other compositions`` a rest."""
    levels: tuple[str, ...]
    """N: each agent's level; empty for a rest."""
    share: float
    """Part of the episodes."""
    returns: Spread
    lengths: Spread
    return_counts: tuple[int, ...]
    """Episodes between each two of ``Description.return_edges``."""
    length_counts: tuple[int, ...]
    """Episodes between each two of ``Description.length_edges``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The episodes that one agent played at one level."""

    agent: str
    level: str
    share: float
    """Part of the episodes."""
    returns: Spread
    """Team return of those episodes."""
    return_counts: tuple[int, ...]
    """As in ``Part``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPlayed:
    """One member of the policy pool and where it plays."""

    index: int
    """What ``behavior_policy`` says."""
    level: str
    agents: tuple[str, ...]
    """Agents that it ever plays."""
    share: float
    """Part of the episodes in which it plays at least one agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """All that ``describe`` finds."""

    version: int
    """Of this layout."""
    dataset: str
    env_id: str
    agents: tuple[str, ...]
    horizon: int
    """Longest possible episode."""
    episodes: int
    steps: int
    returns: Spread
    score: float | None
    """Mean return as 0 for uniformly random play and 1 for the pool's best member; None without references."""
    imbalance: float | None
    """0: every agent of every episode alike, 1: always one expert among random agents (``imbalance.py``)."""
    lasting_imbalance: float | None
    """The same of the agents' mean qualities: 0 if they take turns at being good."""
    lengths: Spread
    terminated: float
    """Part of the episodes that ended by themselves."""
    rewarded: float
    """Part of the steps whose team reward is not 0."""
    coverage: Coverage
    return_edges: tuple[float, ...]
    """Edges of the bars in ``return_counts``."""
    length_edges: tuple[float, ...]
    """Edges of the bars in ``length_counts``."""
    parts: tuple[Part, ...]
    """In the order of the recipe, else the most frequent first."""
    played: tuple[Played, ...]
    """Per agent and level; empty where nobody knows who played."""
    members: tuple[MemberPlayed, ...]
    """Pool members; empty where the file does not say."""
    provenance: dict[str, Any]
    """Recipe, seed, references, hash, … as the file says."""


def _spread(values: Float64[np.ndarray, " E"]) -> Spread:
    x = np.asarray(values, np.float64)
    quartiles = tuple(float(q) for q in np.percentile(x, QUARTILES))
    return Spread(episodes=len(x), mean=float(x.mean()), std=float(x.std()), quartiles=quartiles)


class _Bars:
    """A histogram's edges and how many of some episodes fall between them."""

    def __init__(self, values: Float64[np.ndarray, " E"], edges: Float64[np.ndarray, " B"]) -> None:
        self.values, self.edges = values, edges

    @classmethod
    def of_returns(cls, returns: Float64[np.ndarray, " E"]) -> _Bars:
        """As many bars as we draw, from the smallest to the largest return."""
        low, high = float(returns.min()), float(returns.max())
        pad = 0.0 if high > low else max(abs(low), 1.0) / 2
        return cls(returns, np.linspace(low - pad, high + pad, BINS + 1))

    @classmethod
    def of_lengths(cls, lengths: Int64[np.ndarray, " E"], horizon: int) -> _Bars:
        """Bars of a whole number of steps each, up to the longest episode."""
        longest = max(horizon, int(lengths.max()))
        width = -(-longest // BINS)
        return cls(lengths.astype(np.float64), 0.5 + width * np.arange(-(-longest // width) + 1))

    def counts(self, chosen: Bool[np.ndarray, " E"]) -> tuple[int, ...]:
        """Bars of the chosen episodes."""
        return tuple(np.histogram(self.values[chosen], self.edges)[0].tolist())


def _level(index: int) -> str:
    return LEVELS[index] if 0 <= index < len(LEVELS) else UNKNOWN_LEVEL


def _in_recipe(data: Dataset) -> list[tuple[int, ...]]:
    """Compositions in the order of the recipe that the file states, if it states one."""
    text = data.metadata.get("recipe")
    if not isinstance(text, str):
        return []
    try:
        return [part.levels for part in parse_recipe(text, data.spec).parts]
    except FormatError:
        return []  # `verify` says so; what was played counts here


def _parts(data: Dataset, levels: Int[np.ndarray, "E N"], returns: _Bars, lengths: _Bars) -> Iterator[Part]:
    rows, which, counts = np.unique(levels, axis=0, return_inverse=True, return_counts=True)
    kinds = [tuple(int(x) for x in row) for row in rows]
    stated = {levels: k for k, levels in enumerate(_in_recipe(data))}
    order = sorted(range(len(kinds)), key=lambda k: (stated.get(kinds[k], len(stated)), -counts[k], kinds[k]))
    told = order if len(order) <= MAX_PARTS else sorted(order, key=lambda k: -counts[k])[: MAX_PARTS - 1]
    groups = [
        (composition_text(data.spec.agents, kinds[k]), tuple(_level(x) for x in kinds[k]), which.ravel() == k)
        for k in order
        if k in told
    ]
    if len(told) < len(order):
        groups.append((OTHERS, (), ~np.isin(which.ravel(), told)))
    for text, names, mine in groups:
        yield Part(
            composition=text, levels=names, share=float(mine.mean()), returns=_spread(data.returns[mine]),
            lengths=_spread(data.lengths[mine].astype(np.float64)), return_counts=returns.counts(mine),
            length_counts=lengths.counts(mine),
        )  # fmt: skip


def _played(data: Dataset, levels: Int[np.ndarray, "E N"], bars: _Bars) -> Iterator[Played]:
    for i, agent in enumerate(data.spec.agents):
        for k, level in enumerate(LEVELS):
            mine = levels[:, i] == k
            if mine.any():
                yield Played(
                    agent=agent, level=level, share=float(mine.mean()), returns=_spread(data.returns[mine]),
                    return_counts=bars.counts(mine),
                )  # fmt: skip


def _members(data: Dataset, levels: Int[np.ndarray, "E N"]) -> Iterator[MemberPlayed]:
    policy = data.columns["behavior_policy"][data.row_starts]
    for index in np.unique(policy[policy != UNKNOWN]).tolist():
        mine = policy == index
        agents = tuple(a for a, any_of in zip(data.spec.agents, mine.any(0), strict=True) if any_of)
        found = np.unique(levels[mine])
        level = _level(int(found[0])) if len(found) == 1 else UNKNOWN_LEVEL
        yield MemberPlayed(index=index, level=level, agents=agents, share=float(mine.any(1).mean()))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _score(data: Dataset) -> float | None:
    low, high = (_number(data.metadata.get(f"reference_{k}")) for k in ("random", "expert"))
    if low is None or high is None or not np.isfinite([low, high]).all() or low == high:
        return None
    return (float(data.returns.mean()) - low) / (high - low)


def describe(dataset: str | Path | Dataset) -> Description:
    """Statistics of a dataset.

    Args:
        dataset: id, path, or one that is loaded.

    Raises:
        UnknownName, FormatError: no such dataset, a damaged or an empty one.
    """
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset)
    if not len(data):
        raise FormatError(f"dataset {dataset!r} has no episodes to describe; loosen the filter")
    if not np.isfinite(data.returns).all():
        worst = int(np.argmin(np.isfinite(data.returns)))
        raise FormatError(
            f"{data!r}: the return of episode {worst} is {data.returns[worst]}, expected a finite number; "
            "see what else is wrong with `offmarl-bench verify`"
        )
    levels = data.levels
    bars, length_bars = _Bars.of_returns(data.returns), _Bars.of_lengths(data.lengths, data.spec.horizon)
    rewards = data.columns["rewards"][step_rows(data.row_starts, data.lengths)]
    stated = data.metadata.get("dataset_id")
    return Description(
        version=VERSION,
        dataset=str(stated or (dataset if not isinstance(dataset, Dataset) else data.spec.id)),
        env_id=data.spec.id,
        agents=data.spec.agents,
        horizon=data.spec.horizon,
        episodes=len(data),
        steps=int(data.lengths.sum()),
        returns=_spread(data.returns),
        score=_score(data),
        imbalance=imbalance(data),
        lasting_imbalance=lasting_imbalance(data),
        lengths=_spread(data.lengths.astype(np.float64)),
        terminated=float(data.columns["is_terminal"][data.row_starts + data.lengths].mean()),
        rewarded=float((rewards != 0).mean()),
        coverage=coverage(data.columns, data.row_starts, data.lengths, data.spec.N),
        return_edges=tuple(bars.edges.tolist()),
        length_edges=tuple(length_bars.edges.tolist()),
        parts=tuple(_parts(data, levels, bars, length_bars)),
        played=tuple(_played(data, levels, bars)),
        members=tuple(_members(data, levels)),
        provenance={k: data.metadata[k] for k in KEPT if data.metadata.get(k) is not None},
    )


def as_json(found: Description) -> dict[str, Any]:
    """Plain values for JSON; the fields are described in ``docs/describe.md``."""
    return asdict(found)


def from_json(data: Any, where: str) -> Description:
    """The inverse of ``as_json``, for text from anywhere; ``where`` names it in errors.

    Raises:
        FormatError: unknown, missing or ill-typed content, or another version.
    """
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise FormatError(f"{where}: expected a description of version {VERSION}, as `describe --json` prints it")
    return records.from_json(Description, data, where)
