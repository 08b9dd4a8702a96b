"""The page's tables: entries with places, then what the data themselves did, then the paper's rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from leaderboard.board import Cell, Line, PaperLine, Table
from leaderboard.markup import count, esc, interval, name, number, percent, seconds, spread
from leaderboard.page_plots import dataset_figure, group_strip, matrix_figure, scale_of
from leaderboard.ranks import Estimate
from leaderboard.verdict import DIFFERS, SELF_REPORTED, VERIFIED

BADGES = {VERIFIED: "✓ verified", DIFFERS: "≠ differs", SELF_REPORTED: "○ self-reported"}
"""Sign and word: never colour alone."""
FIRST = 1
"""The best rank group."""
EXTRAS = {"sampled": "Sampled return", "won": "Won", "updates": "Updates", "time": "Time a seed"}
"""Columns after the datasets, where there is room: all of them beside a single dataset."""
SHARED_EXTRAS = ("updates", "time")
"""Those that make sense for several datasets; less of them is better."""
ROOM_FOR_EXTRAS = 3
"""Datasets beside which there is room for these."""


def badge(state: str) -> str:
    """A verdict in one word."""
    return f'<span class="badge {esc(state)}">{esc(BADGES.get(state, state))}</span>'


def _heading(column: str, title: str, kind: str, first: str, *, sorted_: bool = False, css: str = "") -> str:
    state = f' aria-sort="{first}"' if sorted_ else ""
    return (
        f'<th scope="col" role="columnheader" class="{css}" data-column="{column}" data-kind="{kind}" '
        f'data-first="{first}"{state}><button type="button">{title}</button></th>'
    )


def _td(label: str, key: float | str | None, inner: str, css: str = "") -> str:
    shown = f'<span class="value">{inner}</span>' if inner else "–"
    empty = "" if inner else " missing"
    return f'<td role="cell" class="{css}{empty}" data-label="{esc(label)}" data-key="{_key(key)}">{shown}</td>'


def _key(key: float | str | None) -> str:
    if key is None:
        return ""
    return esc(key.lower()) if isinstance(key, str) else f"{key:.6g}"


def _place(line: Line) -> str:
    if line.group is None:
        shown = f'<span class="chip none" title="{esc(line.unranked or "no interval")}">–</span>'
        return f'{shown}<span class="unseen">not ranked</span>'
    css = "chip first" if line.group == FIRST else "chip"
    return f'<span class="unseen">rank group </span><span class="{css}">{line.group}</span>'


def _who(line: Line, key: str) -> str:
    entry = line.entry
    why = f" · not ranked: {esc(line.unranked)}" if line.unranked else ""
    seeds = sorted({len(c.score.seeds) for c in line.known})
    span = (f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]}–{seeds[-1]}") + (" seed" if seeds == [1] else " seeds")
    return (
        f'<th scope="row" role="rowheader" class="who" data-key="{_key(entry.name)}">'
        f'<a class="name" href="#{key}" aria-haspopup="dialog">{name(entry.name)}</a>'
        f'<span class="about"><code>{name(entry.agent)}</code> · {span}{why}</span>{badge(entry.state)}</th>'
    )


def _figure(value: float, estimate: Estimate | None, first: bool, strip: str = "") -> str:
    """A score in large, its interval in small."""
    css = "figure top" if first else "figure"
    small = f'<span class="range">{interval(estimate.low, estimate.high)}</span>' if estimate else ""
    return f'<span class="{css}">{number(value)}</span>{small}{strip}'


def _score_cell(label: str, cell: Cell | None, strip: str) -> str:
    """Score with interval, and behind the switch the return with its deviation."""
    if cell is None:
        return _td(label, None, "")
    first = cell.group == FIRST
    as_score = "no reference" if cell.value is None else _figure(cell.value, cell.estimate, first, strip)
    told = '<span class="unseen">, first rank group of this dataset</span>' if first else ""
    deviation = cell.score.spread
    after = f'<span class="range">± {number(deviation)}</span>' if deviation is not None else ""
    css = "figure top" if first else "figure"
    as_return = f'<span class="{css}">{number(cell.score.mean)}</span>{after}'
    both = f'<span class="as-score">{as_score}</span><span class="as-return">{as_return}</span>{told}'
    return _td(label, cell.value if cell.value is not None else cell.score.mean, both)


def _overall(line: Line, strip: str) -> str:
    if line.value is None:
        return _td("Overall", None, "")
    return _td("Overall", line.value, _figure(line.value, line.estimate, line.group == FIRST, strip))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [x for x in values if x is not None]
    return sum(known) / len(known) if known else None


def _rest(line: Line, extras: Sequence[str]) -> str:
    """What else a table has room for."""
    scores = [c.score for c in line.known]
    updates = max((s.updates for s in scores if s.updates is not None), default=None)
    spent = _mean(x for s in scores for x in s.train_seconds)
    sampled, won = _mean(scores[0].stochastic_means), _mean(scores[0].win_rates)
    cells = {
        "sampled": (sampled, number(sampled)),
        "won": (won, percent(won)),
        "updates": (updates, count(updates)),
        "time": (spent, seconds(spent)),
    }
    return "".join(_td(EXTRAS[k], *cells[k]) for k in extras)


def _row(table: Table, line: Line, order: int, key: str, strip: str, extras: Sequence[str], leads: bool) -> str:
    alone = len(table.datasets) == 1
    cells = "".join(
        _score_cell(label, cell, strip if alone else "") for label, cell in zip(table.labels, line.cells, strict=True)
    )
    ranked = "yes" if line.group is not None else "no"
    css = "leads" if leads else ""
    return (
        f'<tr role="row" class="{css}" data-entry="{key}" data-order="{order}" data-ranked="{ranked}">'
        f'<td role="cell" class="place" data-label="Group" data-key="{_key(line.group)}">{_place(line)}</td>'
        f"{_who(line, key)}{'' if alone else _overall(line, strip)}{cells}{_rest(line, extras)}</tr>"
    )


def _reference(title: str, values: Sequence[str], before: int, after: int, labels: Sequence[str], css: str) -> str:
    """A row that takes no part: one text per dataset."""
    cells = "".join(
        f'<td role="cell" data-label="{esc(label)}" class="{"" if v else "missing"}">'
        f"{f'<span class=value>{v}</span>' if v else '–'}</td>"
        for label, v in zip(labels, values, strict=True)
    )
    lead = '<td role="cell" class="missing place"></td>'
    fill = '<td role="cell" class="missing"></td>'
    return (
        f'<tr role="row" class="{css}">{lead}<th scope="row" role="rowheader" class="who">{title}</th>'
        f"{fill * before}{cells}{fill * after}</tr>"
    )


def _paper_value(line: PaperLine, k: int) -> str:
    value = line.values[k]
    return "" if value is None else f"{spread(*value)}"


def _asides(table: Table, before: int, after: int, width: int) -> str:
    """The data's own play, and the paper's Table 1."""
    parts = ""
    if any(table.behavior):
        shown = [
            ""
            if b is None
            else f'<span class="as-score">{number(b[1])}</span><span class="as-return">{number(b[0])}</span>'
            for b in table.behavior
        ]
        row = _reference(
            "Behavior <span class=about>the data’s own play</span>", shown, before, after, table.labels, ""
        )
        parts += f'<tbody role="rowgroup" class="aside">{row}</tbody>'
    if table.paper:
        game = "real StarCraft II" if table.real_game else "the authors’ policies and data"
        rows = "".join(
            _reference(
                f'<span class="flag">paper</span>{esc(line.title)}',
                [_paper_value(line, k) for k in range(len(table.datasets))],
                before, after, table.labels, "paper",
            )
            for line in table.paper
        )  # fmt: skip
        parts += (
            '<tbody role="rowgroup" class="aside paper"><tr role="row"><th class="bar" role="rowheader" '
            f'scope="rowgroup" colspan="{width}">The paper’s Table 1, {game}: returns as printed, not scores; '
            f"not comparable with the rows above, never ranked</th></tr>{rows}</tbody>"
        )
    return parts


def _strips(table: Table) -> list[str]:
    """One for each line, all on the same scale."""
    known = [(line.value, line.estimate) for line in table.lines if line.value is not None]
    values = [v for v, _ in known] + [x for _, e in known if e for x in (e.low, e.high)]
    scale = scale_of(values, anchors=())
    leaders: dict[int, Estimate] = {}
    for line in table.lines:
        if line.group is not None and line.estimate is not None:
            leaders.setdefault(line.group, line.estimate)
    return [
        "" if line.value is None else group_strip(scale, line.estimate, line.value, leaders.get(line.group or 0))
        for line in table.lines
    ]


def _over(table: Table) -> str:
    if len(table.datasets) == 1:
        return "The score is the mean over training seeds"
    names = [esc(table.labels[k]) for k in table.basis]
    what = "all datasets" if len(names) == len(table.datasets) else ", ".join(names)
    return f"Overall is the {'interquartile mean over' if len(names) > 1 else 'mean on'} {what}"


def _scores(table: Table, ids: dict[str, str]) -> str:
    alone = len(table.datasets) == 1
    extras = [k for k in EXTRAS if alone or (k in SHARED_EXTRAS and len(table.datasets) <= ROOM_FOR_EXTRAS)]
    ranked = any(line.group is not None for line in table.lines)
    heads = [
        _heading("place", "Group", "number", "ascending", sorted_=ranked, css="place"),
        _heading("name", "Entry", "text", "ascending", css="who"),
    ]
    if not alone:
        heads.append(_heading("overall", "Overall", "number", "descending", sorted_=not ranked))
    heads += [
        _heading(f"d{k}", esc(label), "number", "descending", sorted_=alone and not ranked)
        for k, label in enumerate(table.labels)
    ]
    heads += [_heading(k, EXTRAS[k], "number", "ascending" if k in SHARED_EXTRAS else "descending") for k in extras]
    rows, last = "", None
    for order, (line, strip) in enumerate(zip(table.lines, _strips(table), strict=True)):
        rows += _row(table, line, order, ids[line.entry.slug], strip, extras, bool(order) and line.group != last)
        last = line.group
    width = len(heads)
    band = " The band is the interval of the group’s leader." if ranked else ""
    nothing = f'<tr role="row" class="nothing" hidden><td role="cell" colspan="{width}">No entry matches.</td></tr>'
    return (
        f'<div class="scroll"><table class="scores{" alone" if alone else ""}" role="table" '
        f'data-sorted="{"place" if ranked else "score"}"><caption>Normalised score of greedy play and its 95 % '
        f"bootstrap interval. {_over(table)}.{band}</caption>"
        f'<thead role="rowgroup"><tr role="row">{"".join(heads)}</tr></thead>'
        f'<tbody role="rowgroup" class="entries">{rows}</tbody><tbody role="rowgroup">{nothing}</tbody>'
        f"{_asides(table, 0 if alone else 1, len(extras), width)}</table></div>"
    )


def board_section(table: Table, number_: int, ids: dict[str, str]) -> str:
    """One suite and quality: table, pictures, remarks."""
    figures = "".join(dataset_figure(table, k, ids) for k in range(len(table.datasets))) + matrix_figure(table, ids)
    remarks = "".join(f'<p class="small muted">Paper: {esc(text)}</p>' for text in table.remarks)
    return (
        f'<section class="board" id="board-{number_}" data-suite="{esc(table.suite)}" '
        f'data-quality="{esc(table.quality)}" aria-labelledby="board-{number_}-title">'
        f'<h3 id="board-{number_}-title">{esc(table.quality.capitalize())} quality</h3>'
        f'{_scores(table, ids)}{remarks}<div class="closer">{figures}</div></section>'
    )
