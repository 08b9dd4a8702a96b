"""One entry in full: what it claims, what a replay found, how it was made and how to make it again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from leaderboard.entries import DatasetScore, Entry
from leaderboard.markup import count, esc, interval, name, number, percent, prose, seconds, spread
from leaderboard.page_plots import curve_figure, logged
from leaderboard.page_tables import badge
from leaderboard.verdict import Check
from offmarl_bench.stats import mean_std

SHORT_HASH = 12
MOST_CHECKS = 12
"""More comparisons than these are shown per dataset only, and those of single seeds that disagree."""
MOST_METRICS = 4
"""Curves shown of one dataset."""
MOST_CONFIG = 200
"""Characters of one setting."""
SAFE_LINK = "https://"
EMPTY = "–"


def _pairs(pairs: Iterable[tuple[str, Any]]) -> str:
    inner = "".join(f"<div><dt>{esc(k)}</dt><dd>{esc(_setting(v))}</dd></div>" for k, v in pairs)
    return f'<dl class="pairs">{inner}</dl>' if inner else ""


def _setting(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MOST_CONFIG else f"{text[:MOST_CONFIG]}…"


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], css: str = "plain") -> str:
    """Cells are markup already."""
    top = "".join(f'<th scope="col">{h}</th>' for h in heads)
    body = ""
    for first, *others in rows:
        body += f'<tr><th scope="row">{first}</th>{"".join(f"<td>{c or EMPTY}</td>" for c in others)}</tr>'
    return (
        f'<div class="wide"><table class="{css}"><caption class="unseen">{caption}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _dataset(name_: str) -> str:
    """A dataset id that may be broken after its slashes."""
    return esc(name_).replace("/", "/<wbr>")


def _known(values: Iterable[float | None]) -> list[float]:
    return [x for x in values if x is not None]


def _mean(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return sum(known) / len(known) if known else None


def _result_row(score: DatasetScore) -> list[str]:
    sampled = _known(score.stochastic_means)
    span = score.interval
    missing = f'<span class="about">{esc(score.unranked)}</span>' if score.unranked else ""
    return [
        f"{_dataset(score.dataset)}{missing}",
        f"<b>{number(score.score)}</b>" + (f'<span class="range">{interval(*span)}</span>' if span else ""),
        spread(score.mean, score.spread),
        spread(*mean_std(sampled)) if sampled else "",
        number(score.behavior_mean),
        percent(_mean(score.win_rates)),
        f"{len(score.seeds)} × {score.episodes}",
        count(score.updates),
        seconds(_mean(score.train_seconds)),
    ]


def _results(entry: Entry) -> str:
    heads = [
        "Dataset",
        "Score",
        "Return, greedy",
        "Return, sampled",
        "Behavior",
        "Won",
        "Seeds × episodes",
        "Updates",
        "Time a seed",
    ]
    rows = [_result_row(s) for s in entry.scores]
    seeds = _table(
        "Score of every seed",
        ["Dataset", "Normalised score of each training seed"],
        [[_dataset(s.dataset), ", ".join(f"{number(x) or '?'}" for x in s.normalised)] for s in entry.scores],
        "plain long",
    )
    return f"<h3>Results</h3>{_table('Results by dataset', heads, rows)}<h3>Every seed</h3>{seeds}"


def _check_rows(checks: Sequence[Check]) -> list[list[str]]:
    shown = checks if len(checks) <= MOST_CHECKS else [c for c in checks if c.seed is None or not c.agrees]
    return [
        [
            _dataset(c.dataset),
            "all" if c.seed is None else str(c.seed),
            esc(f"{c.play} {c.measure}"),
            number(c.claimed, 2),
            number(c.replayed, 2),
            f"[{number(c.low, 2)}, {number(c.high, 2)}]",
            "agrees" if c.agrees else '<b class="badge differs">differs</b>',
        ]
        for c in shown
    ]


def _verdict(entry: Entry) -> str:
    verdict = entry.verdict
    if verdict is None:
        why = f" {esc(entry.problem)}" if entry.problem else ""
        text = f"<p>Nobody has replayed this submission; its numbers are what the submitter says.{why}</p>"
        return f'<div class="note">{badge(entry.state)}{text}</div>'
    heads = ["Dataset", "Seed", "Of", "Claimed", "Replayed", "Interval of the difference", ""]
    rows = _check_rows(verdict.details)
    again = verdict.repeated
    same = (
        f" Of {count(again.get('episodes'))} episodes of the claim played once more, {count(again.get('same', 0))} "
        "gave the same return."
        if again.get("episodes")
        else ""
    )
    text = (
        f"<p>{esc(verdict.reason)}</p><p class='small muted'>Replayed on {esc(verdict.date)}, "
        f"{count(verdict.episodes)} episodes for each seed and kind of play, on seeds drawn from the submission’s own "
        f"hash; an honest submission is said to differ with probability {verdict.error_rate:g}.{same} "
        f"Simulators: {esc(', '.join(f'{k} {v}' for k, v in sorted(verdict.engine.items())) or 'unknown')}; "
        f"commit {esc((verdict.commit or 'unknown')[:SHORT_HASH])}.</p>"
    )
    what = f"{count(len(rows))} comparison{'s'[: len(rows) > 1]}"
    table = (
        f"<details><summary>{what}</summary>{_table('What the replay found', heads, rows)}</details>" if rows else ""
    )
    return f'<div class="note {esc(verdict.state)}">{badge(entry.state)}{text}</div>{table}'


def _curves(entry: Entry, panels: int) -> str:
    figures: list[str] = []
    for score in entry.scores:
        metrics = dict.fromkeys(m for c in score.curves if c for m in c.metrics)
        drawn = [curve_figure("Mean greedy return", score.dataset, score.learning)]
        drawn += [curve_figure(m, score.dataset, logged(m, score.curves)) for m in metrics]
        figures += [f for f in drawn if f][:MOST_METRICS]
    if not figures:
        return ""
    left = len(figures) - panels
    more = f'<p class="small muted">{left} more are in the submission’s folder.</p>' if left > 0 else ""
    return f'<h3>Training curves</h3><div class="closer">{"".join(figures[:panels])}</div>{more}'


def _made(entry: Entry, key: str) -> str:
    commands = list(dict.fromkeys(s.command for s in entry.scores if s.command))
    parts = "<h3>Make it again</h3>"
    if commands:
        text = "\n".join(esc(c) for c in commands)
        parts += (
            f'<pre id="{key}-commands" tabindex="0">{text}</pre>'
            f'<button type="button" class="copy scripted" data-copies="{key}-commands">Copy</button>'
        )
    else:
        parts += "<p>The submission names no command.</p>"
    facts: list[tuple[str, Any]] = [
        ("commit", entry.commit or "unknown"),
        ("submission hash", entry.bundle),
        *(("data hash, " + s.dataset, s.dataset_hash or "unknown") for s in entry.scores),
        ("simulator", ", ".join(sorted({s.backend for s in entry.scores}))),
        ("policies included", f"{sum(s.policies for s in entry.scores)} of {sum(len(s.seeds) for s in entry.scores)}"),
        ("budget", ", ".join(dict.fromkeys(str(s.budget) for s in entry.scores))),
        *sorted(entry.versions.items()),
    ]
    shown = [(k, v[:SHORT_HASH] if "hash" in k or k == "commit" else v) for k, v in facts]
    return parts + _pairs(shown)


def _settings(entry: Entry) -> str:
    parts = "<h3>Settings</h3>"
    if entry.overrides:
        changed = ", ".join(f"{k} = {_setting(v)}" for k, v in entry.overrides.items())
        parts += f"<p>Preset <code>{name(entry.preset)}</code>, changed: {esc(changed)}.</p>"
    else:
        parts += f"<p>Preset <code>{name(entry.preset)}</code>, nothing changed.</p>"
    parts += _pairs(sorted(entry.config.items()))
    for score in entry.scores:
        own = {k: v for k, v in score.config.items() if k not in entry.config}
        if own:
            parts += f"<h4>Only on {esc(score.dataset)}</h4>{_pairs(sorted(own.items()))}"
    return parts


def entry_dialog(entry: Entry, key: str, panels: int) -> str:
    """The dialog of one entry.

    Args:
        entry: what to show.
        key: id of the element.
        panels: how many training curves to draw at most.
    """
    by = f"by {esc(', '.join(entry.authors))} · " if entry.authors else ""
    link = ""
    if entry.url:
        plain = esc(entry.url)
        safe = entry.url.startswith(SAFE_LINK)
        link = f'<p><a href="{plain}" rel="noopener noreferrer nofollow">{plain}</a></p>' if safe else f"<p>{plain}</p>"
    about = f'<p class="prose">{prose(entry.description)}</p>' if entry.description else ""
    deviations = "".join(f"<li>{esc(d)}</li>" for d in entry.deviations)
    differs = f'<ul class="prose-list">{deviations}</ul>' if deviations else "<p>The submission names none.</p>"
    return (
        f'<dialog class="entry" id="{key}" aria-labelledby="{key}-title"><div class="titlebar"><div>'
        f'<h2 id="{key}-title">{name(entry.name)}</h2>'
        f'<span class="about">{by}<code>{name(entry.agent)}</code> · {esc(entry.created)}</span></div>'
        f'<button type="button" class="close scripted">Close</button></div>{about}{link}'
        f"<h3>Verification</h3>{_verdict(entry)}{_results(entry)}{_curves(entry, panels)}"
        f"<h3>Deviations from the paper</h3>{differs}{_settings(entry)}{_made(entry, key)}</dialog>"
    )
