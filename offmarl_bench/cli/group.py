"""The group of commands: ours, then those that other packages bring through ``offmarl_bench.commands``."""

from __future__ import annotations

from typing import Any

import click

from offmarl_bench import registry
from offmarl_bench.cli.failures import Failure, one_line


def broken(name: str, error: Exception) -> click.Command:
    """Stands in for a plug-in command that cannot be imported: listed, and says what is wrong when called."""

    def fail(**_: Any) -> None:
        raise Failure(f"the command {name!r} cannot be loaded: {error}; reinstall or remove the package that brings it")

    return click.Command(
        name, callback=fail, short_help="(cannot be loaded)", add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )  # fmt: skip


class OffmarlGroup(click.Group):
    """A click group that knows plug-in commands and ends every expected error as one line."""

    kind: registry.Kind = "commands"
    """Entry-point group that plug-ins register under."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Ours in the order of the way of the data, then the plug-ins by name."""
        return [*self.commands, *(n for n in registry.names(self.kind) if n not in self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Ours win over a plug-in of the same name; a plug-in that fails to import does not hurt the others."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        if cmd_name not in registry.names(self.kind):
            return None
        try:
            command = registry.resolve(self.kind, cmd_name)
        except Exception as e:  # a stranger's module may raise anything while it is imported
            return broken(cmd_name, e)
        if isinstance(command, click.Command):
            return command
        return broken(cmd_name, TypeError(f"{command!r} is not a click command"))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see ``failures``."""
        with one_line():
            return super().invoke(ctx)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the command line; see ``failures``."""
        with one_line():
            return super().make_context(info_name, args, parent, **extra)
