"""Entries arranged for readers: one table per suite and quality, with places where places can be had.

Page, Markdown and whatever else shows the leaderboard read this and decide nothing themselves.

**What is compared.** In one table the *basis* is every dataset on which at least two entries are ranked (where there is
none: on which one is; where nobody is ranked: the same, counting all entries). An entry has an overall score if it
has results on the whole basis: the interquartile mean of its normalised scores over all seeds and datasets of the
basis, with a bootstrap interval that resamples seeds within each dataset (Agarwal et al. 2021, arXiv:2108.13264). If
the basis is one dataset, the overall score is the mean over its seeds, as everywhere else in this package.

**Who has a place.** An entry with enough seeds and episodes on the whole basis (``DatasetScore.ranked``) whose verdict
is not *differs*. Places are rank groups, see ``leaderboard.ranks``. They are those of the whole table, whatever a
reader filters. Datasets have rank groups of their own, among the entries that are ranked on them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from leaderboard.entries import BOOTSTRAP_SEED, DatasetScore, Entry
from leaderboard.ranks import Estimate, rank_groups
from leaderboard.verdict import DIFFERS
from offmarl_bench.ids import DatasetId, parse_dataset_id
from offmarl_bench.paper import PaperTable, paper_table
from offmarl_bench.results import PERCENT
from offmarl_bench.stats import bootstrap_interval, interquartile_mean, interquartile_means, probability_of_improvement

QUALITIES = ("low", "medium")
"""The paper's, in its order; all others follow by name."""
REAL_GAME = "smac"
"""The paper's suite that was played in a game we do not have."""
EMBEDDED = "embedded"
"""How the names of our own simulator of that game begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One entry on one dataset."""

    score: DatasetScore
    value: float | None
    """Normalised score: the mean over seeds; None without references."""
    estimate: Estimate | None
    """The same with its interval; None for a single seed."""
    ranked: bool
    group: int | None = None
    """Rank group on this dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry in one table."""

    entry: Entry
    cells: tuple[Cell | None, ...]
    """One per dataset of the table."""
    value: float | None
    """Overall score; None if a dataset of the basis is missing."""
    estimate: Estimate | None
    group: int | None = None
    """Place; None if it has none."""
    unranked: str | None
    """Why it has no place."""

    @property
    def known(self) -> list[Cell]:
        """The cells that are not empty; at least one."""
        return [c for c in self.cells if c is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperLine:
    """One row of the paper's Table 1, as printed."""

    title: str
    values: tuple[tuple[float, float | None] | None, ...]
    """Mean return and ±, one per dataset of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All datasets of one suite and quality."""

    suite: str
    quality: str
    title: str
    """Title of the suite."""
    datasets: tuple[str, ...]
    labels: tuple[str, ...]
    """Short names of the datasets: the map."""
    basis: tuple[int, ...]
    """Which of the datasets the overall score is about."""
    lines: tuple[Line, ...]
    """Those with a place first, best first."""
    behavior: tuple[tuple[float, float | None] | None, ...]
    """Per dataset: mean return of the data, and the same normalised."""
    paper: tuple[PaperLine, ...]
    paper_note: str
    """What the paper's values are."""
    remarks: tuple[str, ...]
    """What a reader of single values of the paper must know."""
    real_game: bool
    """The paper's values come from the real StarCraft II."""
    simulated: bool
    """Entries were played in our own simulator of that game."""


def _counts(entry: Entry, score: DatasetScore) -> bool:
    return score.ranked and score.interval is not None and entry.state != DIFFERS


def _cell(entry: Entry, dataset: str) -> Cell | None:
    score = next((s for s in entry.scores if s.dataset == dataset), None)
    if score is None:
        return None
    value, interval = score.score, score.interval
    estimate = None
    if value is not None and interval is not None:
        estimate = Estimate(value=value, low=interval[0], high=interval[1])
    return Cell(score=score, value=value, estimate=estimate, ranked=_counts(entry, score))


def _basis(rows: Sequence[Sequence[Cell | None]]) -> tuple[int, ...]:
    """Datasets that the overall score is about; see the head of this module."""
    columns = range(len(rows[0]))
    tests: list[Callable[[Cell | None], bool]] = [lambda c: c is not None and c.ranked, lambda c: c is not None]
    for counts in tests:
        found = [sum(counts(row[k]) for row in rows) for k in columns]
        for least in (2, 1):
            if any(n >= least for n in found):
                return tuple(k for k in columns if found[k] >= least)
    return ()


def strata(line: Line, basis: Sequence[int]) -> list[list[float]] | None:
    """Normalised scores of every seed, dataset by dataset; None if the line lacks some."""
    found = []
    for k in basis:
        cell = line.cells[k]
        if cell is None or cell.value is None:
            return None
        found.append([x for x in cell.score.normalised if x is not None])
    return found or None


def _with_overall(line: Line, basis: Sequence[int]) -> Line:
    scores = strata(line, basis)
    if scores is None:
        return line
    if len(basis) == 1:
        cell = line.cells[basis[0]]
        return replace(line, value=cell.value, estimate=cell.estimate) if cell else line
    value = interquartile_mean([x for s in scores for x in s])
    estimate = None
    if all(len(s) > 1 for s in scores):
        generator = np.random.default_rng(BOOTSTRAP_SEED)
        low, high = bootstrap_interval(scores, generator, interquartile_means)
        estimate = Estimate(value=value, low=low, high=high)
    return replace(line, value=value, estimate=estimate)


def _why_unranked(line: Line, basis: Sequence[int]) -> str | None:
    if line.entry.state == DIFFERS:
        return "the replay differs from the claim"
    here = [line.cells[k] for k in basis]
    missing = sum(c is None for c in here)
    if missing:
        return f"{len(basis) - missing} of {len(basis)} datasets"
    reasons = [c.score.unranked or "no reference scores" for c in here if c is not None and not c.ranked]
    return reasons[0] if reasons else None


def _grouped(lines: Sequence[Line]) -> list[Line]:
    """Places for those that have one, and everybody in order."""
    places = [(line, line.estimate) for line in lines if line.unranked is None and line.estimate is not None]
    groups = rank_groups([estimate for _, estimate in places])
    placed = [replace(line, group=group) for (line, _), group in zip(places, groups, strict=True)]
    rest = [line for line in lines if line.unranked is not None or line.estimate is None]
    placed.sort(key=lambda line: (-(line.value or 0.0), line.entry.name, line.entry.slug))
    rest.sort(key=lambda line: (line.value is None, -(line.value or 0.0), line.entry.name, line.entry.slug))
    return [*placed, *rest]


def _with_cell_groups(rows: Sequence[list[Cell | None]]) -> None:
    """Rank groups of every dataset, among those that are ranked on it."""
    for k in range(len(rows[0])):
        ranked = [(row, c, c.estimate) for row in rows if (c := row[k]) is not None and c.ranked and c.estimate]
        groups = rank_groups([estimate for *_, estimate in ranked])
        for (row, cell, _), group in zip(ranked, groups, strict=True):
            row[k] = replace(cell, group=group)


def _paper(ids: Sequence[DatasetId], table: PaperTable) -> tuple[PaperLine, ...]:
    keys = [table.key(i.suite, i.map, i.quality) for i in ids]
    behavior = tuple((table.behaviors[k], None) if k in table.behaviors else None for k in keys)
    lines = [PaperLine(title="Behavior", values=behavior)]
    lines += [
        PaperLine(title=title, values=tuple(table.values.get(k, {}).get(title) for k in keys))
        for title, _ in table.columns
    ]
    return tuple(line for line in lines if any(v is not None for v in line.values))


def _behavior(entries: Sequence[Entry], dataset: str) -> tuple[float, float | None] | None:
    for score in (s for e in entries for s in e.scores if s.dataset == dataset):
        mean, low, high = score.behavior_mean, score.random_reference, score.expert_reference
        if mean is not None:
            known = low is not None and high is not None and low != high
            return mean, PERCENT * (mean - low) / (high - low) if known else None  # type: ignore[operator]
    return None


def _table(suite: str, quality: str, ids: Sequence[DatasetId], entries: Sequence[Entry]) -> Table:
    table = paper_table()
    names = [str(i) for i in ids]
    mine = [e for e in entries if any(s.dataset in names for s in e.scores)]
    rows = [[_cell(e, name) for name in names] for e in mine]
    _with_cell_groups(rows)
    basis = _basis(rows)
    lines = []
    for entry, row in zip(mine, rows, strict=True):
        line = _with_overall(Line(entry=entry, cells=tuple(row), value=None, estimate=None, unranked=None), basis)
        lines.append(replace(line, unranked=_why_unranked(line, basis)))
    maps = [i.map for i in ids]
    paper = _paper(ids, table)
    remarks = {
        text: None
        for i in ids
        for title, text in table.remarks.get(table.key(i.suite, i.map, i.quality), {}).items()
        if any(line.title == title for line in paper)
    }
    real_game = table.origin.get(suite) == REAL_GAME
    return Table(
        suite=suite,
        quality=quality,
        title=table.suites.get(suite, suite),
        datasets=tuple(names),
        labels=tuple(i.map if maps.count(i.map) == 1 else f"{i.map}-v{i.version}" for i in ids),
        basis=basis,
        lines=tuple(_grouped(lines)),
        behavior=tuple(_behavior(mine, name) for name in names),
        paper=paper,
        paper_note=table.note,
        remarks=tuple(remarks),
        real_game=real_game,
        simulated=real_game and any(c.score.backend.startswith(EMBEDDED) for line in lines for c in line.known),
    )


def build_board(entries: Sequence[Entry]) -> list[Table]:
    """The tables in the paper's order: suites, then qualities.

    Raises:
        FormatError: an entry names a dataset by something that is no dataset id.
    """
    order = paper_table()
    suites = list(order.suites)
    found: dict[tuple[str, str], set[DatasetId]] = defaultdict(set)
    for dataset in {s.dataset for e in entries for s in e.scores}:
        where = parse_dataset_id(dataset)
        found[where.suite, where.quality].add(where)

    def place(key: tuple[str, str]) -> tuple[int, str, int, str]:
        suite, quality = key
        at = suites.index(suite) if suite in suites else len(suites)
        return at, suite, QUALITIES.index(quality) if quality in QUALITIES else len(QUALITIES), quality

    return [
        _table(
            suite,
            quality,
            sorted(found[suite, quality], key=lambda i: (order.row_rank(i.suite, i.map), i.version or 0)),
            entries,
        )
        for suite, quality in sorted(found, key=place)
    ]


def improvement(table: Table, lines: Sequence[Line]) -> list[list[float | None]]:
    """P(row beats column) for entries that cover the basis; None on the diagonal and where a side lacks results."""
    scores = [strata(line, table.basis) for line in lines]

    def chance(a: int, b: int) -> float | None:
        ours, theirs = scores[a], scores[b]
        if a == b or ours is None or theirs is None:
            return None
        return probability_of_improvement(ours, theirs)

    return [[chance(a, b) for b in range(len(lines))] for a in range(len(lines))]
