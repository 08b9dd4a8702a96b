"""``leaderboard``: look at it, validate submissions, verify them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from offmarl_bench.cli.failures import Failure
from offmarl_bench.cli.options import examples, json_option, print_json
from offmarl_bench.cli.table import text_table

if TYPE_CHECKING:
    from leaderboard.entries import Entry

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
DASH = "-"


def _submissions(given: Path | None) -> Path:
    from leaderboard.bundle import SUBMISSIONS

    return given or SUBMISSIONS


def _chosen(given: tuple[str, ...], directory: Path) -> list[Path]:
    """The named submissions (a folder, or the name of one among the others), or all."""
    from leaderboard.bundle import SUBMISSION
    from offmarl_bench.registry import unknown

    here = {p.parent.name: p.parent for p in sorted(directory.glob(f"*/{SUBMISSION}"))}
    found = []
    for name in given:
        path = Path(name)
        if name in here:
            found.append(here[name])
        elif path.exists() or path.is_symlink() or len(path.parts) > 1:
            found.append(path)
        else:
            raise unknown("submission", name, here, "A submission can also be named by its folder.")
    if not given and not here:
        raise Failure(f"{directory}: no submissions here; `offmarl-bench submit` makes one")
    return found or list(here.values())


@click.group(
    invoke_without_command=True,
    epilog=examples(
        "offmarl-bench leaderboard",
        "offmarl-bench leaderboard --html board.html",
        "offmarl-bench leaderboard validate my-agent",
        "offmarl-bench leaderboard verify my-agent",
    ),
)
@click.option("--submissions", type=FOLDER, help="Folder of submissions; default: those of this package.")
@click.option("--html", type=FILE, help="Write the page, one file that needs nothing else.")
@click.option("--markdown", type=FILE, help="Write the tables as Markdown.")
@json_option
@click.pass_context
def leaderboard(
    ctx: click.Context, submissions: Path | None, html: Path | None, markdown: Path | None, as_json: bool
) -> None:
    """Show the leaderboard, or write it as a page; validate and verify submissions."""
    ctx.obj = _submissions(submissions)
    if ctx.invoked_subcommand is not None:
        return
    from leaderboard.entries import load_entries
    from offmarl_bench.atomic import write_atomic

    entries = load_entries(ctx.obj)
    if html is not None:
        from leaderboard.page import render_page

        write_atomic(html, render_page(entries).encode())
        click.echo(html)
    if markdown is not None:
        from leaderboard.markdown import render_markdown

        write_atomic(markdown, render_markdown(entries).encode())
        click.echo(markdown)
    if as_json:
        print_json([_plain(e) for e in entries])
    elif html is None and markdown is None:
        _show(entries)


def _plain(entry: Entry) -> dict[str, object]:
    return {
        "slug": entry.slug, "name": entry.name, "agent": entry.agent, "preset": entry.preset, "state": entry.state,
        "reason": entry.verdict.reason if entry.verdict else entry.problem, "bundle": entry.bundle,
        "scores": [
            {
                "dataset": s.dataset, "hash": s.dataset_hash, "seeds": len(s.seeds), "episodes": s.episodes,
                "return": s.mean, "spread": s.spread, "score": s.score, "interval": s.interval, "ranked": s.ranked,
                "unranked": s.unranked, "policies": s.policies,
            }
            for s in entry.scores
        ],
    }  # fmt: skip


def _number(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return DASH
    return f"{value:.1f}" + (f" [{interval[0]:.1f}, {interval[1]:.1f}]" if interval else "")


def _show(entries: Sequence[Entry]) -> None:
    """One table per suite and quality."""
    from leaderboard.board import build_board

    if not entries:
        click.echo("no submissions yet; `offmarl-bench submit` makes one")
        return
    for table in build_board(entries):
        several = len(table.labels) > 1
        rows = []
        for line in table.lines:
            cells = [DASH if c is None else _number(c.value, c.score.interval) for c in line.cells]
            whole = (line.estimate.low, line.estimate.high) if line.estimate else None
            place = DASH if line.group is None else str(line.group)
            overall = [_number(line.value, whole)] if several else []
            rows.append([place, line.entry.name, line.entry.state, *overall, *cells, line.unranked or ""])
        behavior = [DASH if b is None or b[1] is None else f"{b[1]:.1f}" for b in table.behavior]
        rows.append(["", "(the data's own play)", "", *([""] if several else []), *behavior, ""])
        click.echo(f"{table.title}, {table.quality} quality\n")
        heads = ["group", "entry", "verdict", *(["overall"] if several else []), *table.labels, "not ranked because"]
        click.echo(text_table(heads, rows) + "\n")
    click.echo("score [95 % interval over seeds] of greedy play: random play 0, the pool's best policy 100")


@leaderboard.command(
    epilog=examples("offmarl-bench leaderboard validate", "offmarl-bench leaderboard validate my-agent another")
)
@click.argument("which", nargs=-1, metavar="[SUBMISSION]...")
@click.option("--local-datasets", is_flag=True, help="Also accept datasets that are on this machine only.")
@click.option("--trust", is_flag=True, help="Accept, and import, agents named as module:attr.")
@click.pass_obj
def validate(submissions: Path, which: tuple[str, ...], local_datasets: bool, trust: bool) -> None:
    """Check submissions without running any of them; default: all.

    SUBMISSION is a folder, or the name of one of the leaderboard's own.
    """
    from leaderboard.known import known_datasets
    from leaderboard.validate import validate as check
    from offmarl_bench.errors import FormatError

    known, bad = known_datasets(local=local_datasets), 0
    paths = _chosen(which, submissions)
    for path in paths:
        try:
            checked = check(path, known=known, trust=trust)
        except FormatError as e:
            bad += 1
            click.echo(f"Error: {e}", err=True)
            continue
        click.echo(f"{path.name}: valid, {len(checked.bundle.results)} results, {checked.policies} policies")
    if bad:
        raise Failure(f"{bad} of {len(paths)} submissions are refused")


@leaderboard.command(
    epilog=examples(
        "offmarl-bench leaderboard verify my-agent",
        "offmarl-bench leaderboard verify --salt $(git rev-parse origin/main) --check",
    )
)
@click.argument("which", nargs=-1, metavar="[SUBMISSION]...")
@click.option("--salt", default="", help="Mixed into the seeds of the replay: what the submitter could not know.")
@click.option("--episodes", type=click.IntRange(min=1), help="Replayed for each seed and kind of play; default: 128.")
@click.option("--local-datasets", is_flag=True, help="Also accept datasets that are on this machine only.")
@click.option("--trust", is_flag=True, help="Run agents named as module:attr: their code, on this machine.")
@click.option("--check", is_flag=True, help="Write no verdict.")
@json_option
@click.pass_obj
def verify(
    submissions: Path, which: tuple[str, ...], salt: str, episodes: int | None, local_datasets: bool, trust: bool,
    check: bool, as_json: bool,
) -> None:  # fmt: skip
    """Replay submissions on seeds derived from their hashes and compare with what they claim; default: all.

    Writes verdict.json into each: verified, differs, or self-reported (nothing to replay). Exit code 1 if any is
    refused or differs.
    """
    from leaderboard.known import known_datasets
    from leaderboard.verdict import DIFFERS
    from leaderboard.verify import EPISODES
    from leaderboard.verify import verify as replay
    from offmarl_bench.errors import FormatError

    known, bad, verdicts = known_datasets(local=local_datasets), 0, {}
    paths = _chosen(which, submissions)
    for path in paths:
        try:
            verdict = replay(path, salt=salt, episodes=episodes or EPISODES, known=known, trust=trust, write=not check)
        except FormatError as e:
            bad += 1
            click.echo(f"Error: {e}", err=True)
            continue
        bad += verdict.state == DIFFERS
        verdicts[path.name] = {"state": verdict.state, "reason": verdict.reason, "repeated": verdict.repeated}
        if not as_json:
            again, of = verdict.repeated["same"], verdict.repeated["episodes"]
            exactly = f"; {again} of {of} claimed episodes repeat exactly" if of else ""
            click.echo(f"{path.name}: {verdict.state}: {verdict.reason}{exactly}")
    if as_json:
        print_json(verdicts)
    if bad:
        raise Failure(f"{bad} of {len(paths)} submissions are refused or differ")
