"""The leaderboard as one self-contained HTML page: no network, no framework, readable without the script.

Tables, pictures and entries are made here; the script (``web/board.js``) sorts, filters and opens. Style, script and
data are part of the file; a content security policy names the first two by their hashes and forbids everything else,
so that not even a mistake in escaping could run a stranger's code or fetch anything.

Rank groups, in words for whoever documents the leaderboard: *entries are put in order of their score. The first leads
group 1; every next entry whose 95 % interval overlaps the interval of the group's leader belongs to the group, the
first that does not leads the next one. Within a group, no entry can be told from its leader. Only entries with enough
seeds and episodes on every compared dataset, whose verdict is not* differs, *have a group.* (``ranks``, ``board``)
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections.abc import Sequence
from importlib import resources
from itertools import groupby
from typing import Any

from leaderboard.board import Table, build_board
from leaderboard.bundle import EPISODES_TO_RANK, SEEDS_TO_RANK
from leaderboard.entries import Entry
from leaderboard.markup import count, esc, script_json
from leaderboard.page_entry import entry_dialog
from leaderboard.page_tables import board_section
from leaderboard.verdict import VERIFIED
from offmarl_bench.paper import paper_table

log = logging.getLogger(__name__)

STYLE, SCRIPT = "web/board.css", "web/board.js"
CURVE_PANELS = (12, 6, 2, 0)
"""Training curves of one entry: as many as the page has room for."""
MAX_BYTES = 10**6
"""What the page is meant to stay below; beyond it, curves are left out, and then it is said aloud."""
OUR_SIMULATOR = "Entries are played in this package’s own simulator of the combat, not in StarCraft II."
DECIMALS = 4
"""Of the numbers in the data."""


def _file(path: str) -> str:
    return resources.files("leaderboard").joinpath(path).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """How a content security policy names an inline element."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def element_ids(entries: Sequence[Entry]) -> dict[str, str]:
    """Slug of each entry → id of its element; distinct, and made of letters that need no escape."""
    found: dict[str, str] = {}
    for entry in entries:
        key = "entry-" + (re.sub(r"[^A-Za-z0-9]+", "-", entry.slug).strip("-") or "x")
        taken = set(found.values())
        found[entry.slug] = next(k for n in range(len(taken) + 1) if (k := f"{key}-{n}" if n else key) not in taken)
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)


def _data(entries: Sequence[Entry], tables: Sequence[Table], ids: dict[str, str]) -> dict[str, Any]:
    """What the script needs, and every number of the page for whoever wants to compute with them."""
    places: dict[str, dict[str, Any]] = {e.slug: {} for e in entries}
    for t in tables:
        for line in t.lines:
            places[line.entry.slug][f"{t.suite}/{t.quality}"] = {"overall": _rounded(line.value), "group": line.group}
    return {
        "entries": [
            {
                "id": ids[e.slug],
                "name": e.name,
                "agent": e.agent,
                "verdict": e.state,
                "text": " ".join([e.name, e.agent, e.preset, *e.authors, *(s.dataset for s in e.scores)]).lower(),
                "boards": places[e.slug],
                "scores": [
                    {
                        "dataset": s.dataset,
                        "seeds": s.seeds,
                        "scores": [_rounded(x) for x in s.normalised],
                        "returns": [_rounded(x) for x in s.greedy_means],
                    }
                    for s in e.scores
                ],
            }
            for e in entries
        ]
    }


def _options(values: Sequence[tuple[str, str]], every: str) -> str:
    options = "".join(f'<option value="{esc(v)}">{esc(t)}</option>' for v, t in dict(values).items())
    return f'<option value="">{every}</option>{options}'


def _filters(tables: Sequence[Table], papers: bool) -> str:
    suites = _options([(t.suite, t.title) for t in tables], "All suites")
    qualities = _options([(t.quality, t.quality) for t in tables], "All qualities")
    paper = '<label class="check"><input type="checkbox" id="papers" checked>Paper’s rows</label>' if papers else ""
    return (
        '<form class="filters scripted" id="filters" role="search" aria-label="Filter the entries">'
        '<label class="field grow">Search<input type="search" name="search" placeholder="Name, agent, author, dataset" '
        'autocomplete="off" spellcheck="false"></label>'
        f'<label class="field">Suite<select name="suite">{suites}</select></label>'
        f'<label class="field">Quality<select name="quality">{qualities}</select></label>'
        '<label class="field">Show<select id="unit"><option value="score">Normalised score</option>'
        '<option value="return">Return ± deviation</option></select></label>'
        '<label class="check"><input type="checkbox" name="verified">Verified only</label>'
        f'<label class="check"><input type="checkbox" name="ranked">Ranked only</label>{paper}'
        '<button type="reset">Reset</button></form><p class="count scripted" id="count" role="status"></p>'
    )


def _method(tables: Sequence[Table]) -> str:
    note = paper_table().note
    games = (
        "<div><h3>The paper’s rows</h3><p>" + esc(note[:1].upper() + note[1:]) + ". They are returns of other policies "
        "on other data and stand here for orientation; nothing on this page is ranked against them.</p></div>"
        if any(t.paper for t in tables)
        else ""
    )
    return f"""<section class="method" id="method" aria-labelledby="method-title">
<h2 id="method-title">How to read this</h2><div class="columns">
<div><h3>Score</h3><p>The mean undiscounted team return of greedy play, normalised for each dataset: uniformly random
play is 0, the best policy of the pool that made the data is 100. Never clamped. <em>Overall</em> is the interquartile
mean over all seeds and the datasets compared.</p></div>
<div><h3>Interval</h3><p>A 95 % percentile bootstrap over training seeds, resampled within each dataset. With five
seeds of a bell-shaped score such an interval holds the true mean five times in six rather than nineteen in twenty: take
a near miss as a draw.</p></div>
<div><h3>Rank groups</h3><p>In order of score, the first entry leads group 1. Each next entry whose interval overlaps
that of the group’s leader belongs to the group; the first that does not leads the next. Nobody can be told from the
leader of the own group. A border says that two leaders differ, no more. Blue numbers are the first group of one
dataset. Filters hide rows; groups stay those of the whole table.</p></div>
<div><h3>Who is ranked</h3><p>Entries with at least {SEEDS_TO_RANK} training seeds and {EPISODES_TO_RANK} greedy
episodes a seed on every dataset that two or more entries share, unless the replay differs from the claim.</p></div>
<div><h3>Verified, differs, self-reported</h3><p><em>Verified</em>: the submitted policies were played again on seeds
that nobody could know before, and the claim agrees. <em>Differs</em>: it does not. <em>Self-reported</em>: not
replayed.</p></div>
{games}
<div><h3>Submit your own</h3><pre tabindex="0">offmarl-bench evaluate AGENT --dataset DATASET --seeds {SEEDS_TO_RANK}
offmarl-bench submit --agent AGENT --name NAME
offmarl-bench leaderboard verify</pre></div></div></section>"""


def _boards(tables: Sequence[Table], ids: dict[str, str]) -> str:
    parts, number = "", 0
    for (_suite, title), group in groupby(tables, key=lambda t: (t.suite, t.title)):
        sections, simulator = "", ""
        for table in group:
            if table.simulated:
                simulator = f'<p class="small muted">{OUR_SIMULATOR}</p>'
            number += 1
            sections += board_section(table, number, ids)
        parts += (
            f'<section class="suite" aria-labelledby="suite-{number}"><h2 id="suite-{number}">{esc(title)}</h2>'
            f"{simulator}{sections}</section>"
        )
    return parts or '<section class="suite"><h2>No submissions yet</h2><p>Yours could be the first.</p></section>'


def _facts(entries: Sequence[Entry]) -> str:
    datasets = {s.dataset for e in entries for s in e.scores}
    facts = [
        (len(entries), "entries" if len(entries) != 1 else "entry"),
        (sum(e.state == VERIFIED for e in entries), "verified by replay"),
        (len(datasets), "datasets" if len(datasets) != 1 else "dataset"),
        (sum(len(s.seeds) for e in entries for s in e.scores), "training runs"),
    ]
    return "".join(f"<li><b>{count(n)}</b>{what}</li>" for n, what in facts)


def _short(title: str) -> str:
    """``SMAC`` of ``StarCraft II (SMAC)``."""
    found = re.search(r"\(([^()]+)\)$", title)
    return found.group(1) if found else title


def _jump(tables: Sequence[Table]) -> str:
    if len(tables) < 2:
        return ""
    links = "".join(
        f'<li><a href="#board-{k}">{esc(_short(t.title))} {esc(t.quality)}</a></li>' for k, t in enumerate(tables, 1)
    )
    return f'<nav class="jump" aria-label="Tables"><ul>{links}</ul></nav>'


def _page(entries: Sequence[Entry], tables: Sequence[Table], title: str, panels: int) -> str:
    ids = element_ids(entries)
    style, script = _file(STYLE), _file(SCRIPT)
    policy = (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    newest = max((e.created for e in entries), default="")
    as_of = f"Newest entry of {esc(newest)}. " if newest else ""
    dialogs = "".join(entry_dialog(e, ids[e.slug], panels) for e in entries)
    return f"""<!doctype html>
<html lang="en" data-unit="score">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="description" content="Results of offline multi-agent reinforcement learning on agent-wise imbalanced data">
<title>{esc(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the tables</a>
<header>
<button type="button" class="theme scripted" id="theme">Theme: auto</button>
<h1>{esc(title)}</h1>
<p class="lede">Agents that learn from logged teams in which some members were good and some were not. Every entry can
bring its trained policies; <em>verified</em> means that they were played again and did what was claimed.</p>
<ul class="facts">{_facts(entries)}</ul>
{_jump(tables)}
</header>
<main id="main" tabindex="-1">
{_filters(tables, any(t.paper for t in tables))}
<p class="unseen" id="said" role="status"></p>
<noscript><p>Without JavaScript the tables are all here, but cannot be sorted or filtered.</p></noscript>
{_boards(tables, ids)}
{_method(tables)}
{dialogs}
</main>
<footer>{as_of}Made by <code>offmarl-bench leaderboard --html</code> from the submissions alone; this file loads nothing
from anywhere.</footer>
<script type="application/json" id="board-data">{script_json(_data(entries, tables, ids))}</script>
<script>{script}</script>
</body>
</html>
"""


def render_page(entries: Sequence[Entry], *, title: str = "Offline MARL leaderboard") -> str:
    """The whole page as text; the same for the same entries.

    Args:
        entries: from ``load_entries``; none is fine.
        title: heading of the page.

    Raises:
        FormatError: an entry names a dataset by something that is no dataset id.
    """
    tables = build_board(entries)
    text = ""
    for panels in CURVE_PANELS:
        text = _page(entries, tables, title, panels)
        if len(text.encode()) < MAX_BYTES:
            return text
    log.warning("the page has %d bytes, more than the %d it should have", len(text.encode()), MAX_BYTES)
    return text
