"""Commands that other packages bring."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import click
import pytest

from offmarl_bench import registry
from tests.cli.outcome import Run, fails, succeed


@click.command()
def hello() -> None:
    """Say hello."""
    click.echo("hello from a plug-in")


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other packages bring commands: a good one, and three that cannot be loaded."""
    points = {
        "hello": EntryPoint("hello", "tests.cli.test_plugins:hello", "offmarl_bench.commands"),
        "gone": EntryPoint("gone", "no_such_package:command", "offmarl_bench.commands"),
        "odd": EntryPoint("odd", "tests.cli.outcome:DATA", "offmarl_bench.commands"),
        "envs": EntryPoint("envs", "tests.cli.test_plugins:hello", "offmarl_bench.commands"),
    }
    real = registry._points
    monkeypatch.setattr(registry, "_points", lambda kind: points if kind == "commands" else real(kind))


@pytest.mark.usefixtures("plugins")
def test_plugin_commands_are_found_and_broken_ones_hurt_nobody(run: Run) -> None:
    listed = succeed(run("--help"))
    assert "Say hello." in listed
    assert "(cannot be loaded)" in listed
    assert succeed(run("hello")) == "hello from a plug-in\n"
    assert "toy/signals" in succeed(run("envs"))
    fails(run("gone", "--any", "thing"), 1, "the command 'gone' cannot be loaded", "no_such_package", "reinstall")
    fails(run("odd"), 1, "is not a click command")
