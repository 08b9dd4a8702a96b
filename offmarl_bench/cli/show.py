"""``envs``, ``datasets``, ``agents``: what there is."""

from __future__ import annotations

import logging

import click

from offmarl_bench.cli.options import examples, json_option, print_json
from offmarl_bench.cli.table import text_table
from offmarl_bench.errors import OffmarlError

log = logging.getLogger(__name__)

DIGITS = 12
"""Digits of a content hash that are shown."""


@click.command()
@json_option
def envs(as_json: bool) -> None:
    """List the environments: agents, types and sizes."""
    from offmarl_bench import catalog

    found = catalog.list_environments()
    if as_json:
        print_json([catalog.as_json(spec) for spec in found])
        return
    header = ("environment", "agents", "types", "obs", "state", "actions", "kind", "horizon")
    click.echo(
        text_table(
            header,
            [(s.id, " ".join(s.agents), " ".join(s.types), s.O, s.S, s.A, _kind(s.discrete), s.horizon) for s in found],
        )
    )


def _kind(discrete: bool) -> str:
    return "discrete" if discrete else "continuous"


@click.command(
    epilog=examples("offmarl-bench datasets", "offmarl-bench datasets --remote", "offmarl-bench datasets --json")
)
@click.option("--remote", is_flag=True, help="Also ask the Hub which it has.")
@json_option
def datasets(remote: bool, as_json: bool) -> None:
    """List the datasets: those under $OFFMARL_HOME, then those that were published or that `generate` can make.

    \b
    published      here, and what it states is what was published under its id
    differs        here, but not what was published under its id; the reason stands below
    not published  here, with an id that no published version has
    damaged        here, but cannot be read
    not here       one `offmarl-bench pull`, `regenerate` or `generate` away
    """  # noqa: D301  (click wants the backspace itself)
    from offmarl_bench import hub, shelf

    try:
        found = shelf.list_datasets(hub.remote_versions if remote else None)
    except OffmarlError as e:
        if not remote:
            raise
        log.warning("without the Hub's, since it could not be asked: %s", e)
        remote, found = False, shelf.list_datasets()
    if as_json:
        print_json([shelf.as_json(entry) for entry in found])
        return
    header = ("dataset", "status", *(("Hub",) if remote else ()), "episodes", "mean return", "MB", "hash", "recipe")
    rows = [
        (d.id, d.status, *(("yes" if d.remote else "no",) if remote else ()), d.episodes, d.mean_return, d.megabytes,
         (d.content_hash or "")[:DIGITS] or None, d.recipe)
        for d in found
    ]  # fmt: skip
    click.echo(text_table(header, rows))
    for entry in found:
        if entry.why:
            click.echo(f"{entry.id} {entry.status}: {entry.why}")
    missing = [d for d in found if d.path is None]
    for what, command, there in (
        ("On the Hub, not here", "pull DATASET", any(d.remote for d in missing)),
        ("Published, not here", "regenerate DATASET", any(d.published for d in missing)),
        ("Never published", "generate SUITE MAP --quality Q", any(not d.published for d in missing)),
    ):
        if there:
            click.echo(f"{what}: offmarl-bench {command}")


@click.command()
@json_option
def agents(as_json: bool) -> None:
    """List the agents: what they are, their presets and settings."""
    from offmarl_bench import catalog

    found = catalog.list_agents()
    if as_json:
        print_json([catalog.as_json(entry) for entry in found])
        return
    for agent in found:
        click.echo(f"{agent.name}: {agent.title}")
        click.echo(f"  presets: {', '.join(agent.presets)}")
        click.echo("  settings: " + ", ".join(f"{k}={v}" for k, v in agent.settings.items()))
