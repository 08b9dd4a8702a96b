"""The report in the layout of the paper's Table 1, built from stored results alone.

A cell is one agent on one dataset: mean ± standard deviation over seeds of the mean return. What a reader must know
in order to believe it (seeds, episodes, updates, simulator, commit, what was left out) is part of the report.
``report_formats`` turns it into text.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from offmarl_bench.agent import make_config
from offmarl_bench.aggregate import Aggregate, aggregate
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.ids import DatasetId, parse_dataset_id
from offmarl_bench.orders import Standing, order_sentence
from offmarl_bench.paper import PaperTable, paper_table
from offmarl_bench.results import PERCENT, Result
from offmarl_bench.runs import config_json
from offmarl_bench.stats import bootstrap_interval, mean_std

BOOTSTRAP_SEED = 0
"""Every cell is resampled from this seed anew: its interval depends on its own scores only."""
DEFAULT_PRESET = "default"
SHORT_COMMIT = 10

Spread = tuple[float, float | None]
"""Mean and standard deviation over seeds (None: a single seed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One agent on one dataset."""

    results: tuple[Result, ...]
    """One per seed."""
    greedy: Spread
    sampled: Spread | None
    wins: float | None
    """Percent of greedy episodes won."""
    steps: float | None
    """Mean length of greedy episodes; None if a result does not say."""
    score: float | None
    """Greedy mean, normalised: random 0, expert 100, not clamped."""
    interval: tuple[float, float] | None
    """95 % bootstrap interval of the greedy mean over seeds; None for a single seed."""
    paper: tuple[float, float] | None
    """The paper's value."""
    mark: str = ""
    """``*`` best of its row, ``~`` interval overlaps that of the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One dataset."""

    dataset: str
    label: str
    behavior: float | None
    """Mean return of the data."""
    behavior_score: float | None
    paper_behavior: float | None
    cells: tuple[Cell | None, ...]
    """One per column of the report."""

    @property
    def lengths_vary(self) -> bool:
        """Whether there are greedy episodes of different lengths; on a map that always lasts the same, never."""
        return len({n for cell in self.cells if cell is not None for r in cell.results for n in r.greedy_lengths}) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """All maps of one suite and quality."""

    title: str
    rows: tuple[Row, ...]

    @property
    def columns(self) -> list[int]:
        """Columns of the report in which this section has something to show."""
        return [k for k in range(len(self.rows[0].cells)) if any(row.cells[k] is not None for row in self.rows)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What ``report_formats.render`` shows."""

    columns: tuple[str, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    aggregates: tuple[Aggregate, ...] = ()
    """All datasets together, one per column; empty where there is nothing to compare."""


Column = tuple[str, str, str]
"""Agent, preset, overrides as JSON."""


def _column(result: Result) -> Column:
    return result.agent, result.preset, json.dumps(result.overrides, sort_keys=True)


def _title(column: Column, table: PaperTable) -> str:
    agent, preset, overrides = column
    changed = [preset] if preset != DEFAULT_PRESET else []
    changed += [f"{k}={v}" for k, v in json.loads(overrides).items()]
    return table.name_of(agent) + (f" ({', '.join(changed)})" if changed else "")


def _parsed(dataset: str) -> DatasetId:
    """The id, or for a file that has none a place of its own in the table."""
    try:
        return parse_dataset_id(dataset)
    except FormatError:
        return DatasetId("file", "".join(c if c.isalnum() else "_" for c in dataset) or "_", "data")


def up_to_date(result: Result) -> bool:
    """Whether a result's settings are what its agent, preset and overrides stand for in this version."""
    try:
        config = make_config(result.agent, result.env_id, result.preset, result.overrides)
    except OffmarlError:
        return False
    return config_json(config) == result.config


def one_run(results: Sequence[Result], where: str) -> tuple[list[Result], list[str]]:
    """The results of one run configuration, and what was left out.

    Most updates first, then the settings of this version (defaults change), then most seeds.
    """
    groups: dict[str, list[Result]] = defaultdict(list)
    for r in results:
        groups[r.run or ""].append(r)

    def merit(group: list[Result]) -> tuple[int, bool, int, str]:
        first = group[0]
        return first.updates or 0, len(groups) > 1 and up_to_date(first), len(group), first.run or ""

    ranked = sorted(groups.values(), key=merit, reverse=True)
    left_out = [
        f"{where}: left out {len(g)} result{'s'[: len(g) > 1]} with {g[0].updates} updates of other data or settings"
        for g in ranked[1:]
    ]
    return sorted(ranked[0], key=lambda r: r.seed), left_out


def _cell(results: Sequence[Result], paper: tuple[float, float] | None) -> Cell:
    means = [r.mean for r in results]
    sampled = [r.stochastic_mean for r in results if r.stochastic_mean is not None]
    wins = [r.greedy_win_rate for r in results if r.greedy_win_rate is not None]
    lengths = [n for r in results for n in r.greedy_lengths]
    scores = [s for r in results if (s := r.normalised(r.mean)) is not None]
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    return Cell(
        results=tuple(results),
        greedy=mean_std(means),
        sampled=mean_std(sampled) if sampled else None,
        wins=PERCENT * float(np.mean(wins)) if wins else None,
        steps=float(np.mean(lengths)) if all(r.greedy_lengths for r in results) else None,
        score=float(np.mean(scores)) if scores else None,
        interval=bootstrap_interval([means], generator) if len(means) > 1 else None,
        paper=paper,
    )


def _marked(cells: Sequence[Cell | None]) -> tuple[Cell | None, ...]:
    """Mark the best of a row and those that cannot be told from it; a lone cell is not compared with anything."""
    known = [c for c in cells if c is not None]
    if len(known) < 2:
        return tuple(cells)
    best = max(known, key=lambda c: c.greedy[0])

    def mark(cell: Cell) -> str:
        if cell is best:
            return "*"
        apart = best.interval is None or cell.interval is None or cell.interval[1] < best.interval[0]
        return "" if apart else "~"

    return tuple(None if c is None else replace(c, mark=mark(c)) for c in cells)


def _row(
    dataset: str, label: str, found: dict[Column, list[Result]], columns: Sequence[Column], table: PaperTable
) -> tuple[Row, list[str]]:
    where = _parsed(dataset)
    key = table.key(where.suite, where.map, where.quality)
    paper = table.values.get(key, {})
    warnings: list[str] = []
    cells: list[Cell | None] = []
    for column in columns:
        if column not in found:
            cells.append(None)
            continue
        results, left_out = one_run(found[column], f"{_title(column, table)} on {dataset}")
        warnings += left_out
        cells.append(_cell(results, paper.get(table.title_of(column[0]) or "")))
    first = next(r for c in cells if c is not None for r in c.results)
    behavior = first.behavior_mean
    row = Row(
        dataset=dataset,
        label=label,
        behavior=behavior,
        behavior_score=None if behavior is None else first.normalised(behavior),
        paper_behavior=table.behaviors.get(key),
        cells=_marked(cells),
    )
    return row, warnings


def _span(values: Iterable[int]) -> str:
    known = sorted(set(values))
    return "?" if not known else str(known[0]) if len(known) == 1 else f"{known[0]}–{known[-1]}"


def _notes(report: Report, table: PaperTable) -> list[str]:
    rows = [row for section in report.sections for row in section.rows]
    cells = [c for row in rows for c in row.cells if c is not None]
    results = [r for c in cells for r in c.results]
    notes = [
        "greedy / sampled: mean ± sample standard deviation over seeds of the mean undiscounted team return",
        "* best of its row; ~ its 95 % bootstrap interval over seeds overlaps that of the best",
        "score: greedy return with uniformly random play = 0 and the pool's best policy = 100, never clamped",
    ]
    if any(row.lengths_vary for row in rows):
        notes.append("steps: mean length of greedy episodes")
    if report.aggregates:
        notes.append(
            f"IQM: interquartile mean of the normalised scores over the {report.aggregates[0].datasets} dataset(s) "
            "that all agents share, with its stratified bootstrap 95 % interval; P(>X): probability that a run of the "
            "row's agent beats one of X on a random dataset of them"
        )
    if any(c.paper for c in cells) or any(row.paper_behavior is not None for row in rows):
        notes.append(f"paper†: {table.note}; not the same policies, data or game as ours")
    for k, title in enumerate(report.columns):
        mine = [row.cells[k] for row in rows]
        own = [r for c in mine if c is not None for r in c.results]
        notes.append(
            f"{title}: {_span(len(c.results) for c in mine if c is not None)} seeds, "
            f"{_span(len(r.greedy_returns) for r in own)} episodes a seed, "
            f"{_span(r.updates for r in own if r.updates is not None)} updates "
            f"(budget {', '.join(sorted({str(r.budget) for r in own}))})"
        )
    commits = sorted({_short(r.commit) for r in results})
    notes.append(f"simulator {', '.join(sorted({r.backend for r in results}))}; commit {', '.join(commits)}")
    for row in rows:
        where = _parsed(row.dataset)
        remarks = table.remarks.get(table.key(where.suite, where.map, where.quality), {})
        shown = {table.title_of(c.results[0].agent) for c in row.cells if c is not None}
        notes += [f"paper† {text}" for title, text in remarks.items() if title in shown]
        lengths = _unequal_lengths(row, report.columns)
        notes += [f"length on {row.label} {where.quality}: not the same for all: {lengths}"] if lengths else []
        order = order_sentence(f"order on {row.label} {where.quality}", _standings(row, report.columns))
        notes += [order] if order else []
    return list(dict.fromkeys(notes))


def _unequal_lengths(row: Row, titles: Sequence[str]) -> str:
    """Which agents of a row were trained under which budget; nothing where all were under the same."""
    groups: dict[str, list[str]] = defaultdict(list)
    for title, cell in zip(titles, row.cells, strict=True):
        if cell is not None:
            groups[str(cell.results[0].budget)].append(title)
    return "; ".join(f"{', '.join(who)} (budget {budget})" for budget, who in groups.items()) if len(groups) > 1 else ""


def _standings(row: Row, titles: Sequence[str]) -> list[Standing]:
    """The agents of a row for which the paper has a value; it has none for variants of its agents."""
    return [
        Standing(name=title, ours=c.greedy[0], interval=c.interval, paper=c.paper[0])
        for title, c in zip(titles, row.cells, strict=True)
        if c is not None and c.paper and c.results[0].preset == DEFAULT_PRESET and not c.results[0].overrides
    ]


def _short(commit: str | None) -> str:
    if commit is None:
        return "unknown"
    plain, dash, dirty = commit.partition("-")
    return f"{plain[:SHORT_COMMIT]}{dash}{dirty}"


def build_report(results: Iterable[Result], *, seeds: int | None = None) -> Report:
    """Arrange results in the layout of Table 1.

    Args:
        results: from ``benchmark`` or ``load_results``; those without a dataset are left out.
        seeds: how many each cell should have, fewer is a warning; None means as many as the paper (5).

    Raises:
        FormatError: there is no result to show.
    """
    table = paper_table()
    found: dict[str, dict[Column, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for r in results:
        if r.dataset is not None:
            found[r.dataset][_column(r)].append(r)
    if not found:
        raise FormatError("no results to report: run `offmarl-bench evaluate AGENT --dataset DATASET` first")
    columns = sorted(
        {c for row in found.values() for c in row},
        key=lambda c: (table.rank(c[0]), c[0], c[1] != DEFAULT_PRESET, c[1], len(c[2]), c[2]),
    )
    wanted, warnings = seeds or table.seeds, []
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for dataset in found:
        where = _parsed(dataset)
        groups[where.suite, where.quality].append(dataset)
    sections = []
    suites = list(table.suites)
    for (suite, quality), datasets in sorted(
        groups.items(), key=lambda g: (suites.index(g[0][0]) if g[0][0] in suites else len(suites), g[0])
    ):
        ids = {d: _parsed(d) for d in datasets}
        maps = [i.map for i in ids.values()]
        rows = []
        for d in sorted(datasets, key=lambda d: (table.row_rank(suite, ids[d].map), ids[d].version or 0)):
            several = maps.count(ids[d].map) > 1 and ids[d].version is not None
            label = f"{ids[d].map}-v{ids[d].version}" if several else ids[d].map
            row, left_out = _row(d, label, found[d], columns, table)
            warnings += left_out
            warnings += [
                f"{_title(column, table)} on {d}: {len(cell.results)} of {wanted} seeds"
                for column, cell in zip(columns, row.cells, strict=True)
                if cell is not None and len(cell.results) < wanted
            ]
            rows.append(row)
        sections.append(Section(title=f"{table.suites.get(suite, suite)}, {quality} quality", rows=tuple(rows)))
    shown = [[None if c is None else c.results for c in row.cells] for s in sections for row in s.rows]
    report = Report(
        columns=tuple(_title(c, table) for c in columns), sections=tuple(sections), notes=(), warnings=tuple(warnings),
        aggregates=aggregate(shown),
    )  # fmt: skip
    return replace(report, notes=tuple(_notes(report, table)))
