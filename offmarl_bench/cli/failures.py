"""What goes wrong, as one clear line on stderr and an exit code: 2 for how it was asked, 1 for what happened.

A bad command line must never end in a traceback, and a fault of ours always should: only errors that the library
raises on purpose, and those of the operating system, are turned into a line here.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from offmarl_bench.errors import OffmarlError, UnknownName

FAILURE = 1
USAGE = 2
INTERRUPTED = 130
"""128 + SIGINT, what a shell reports for a program stopped by Ctrl-C."""

ADVICE = {
    errno.ENOSPC: "the disk is full; free some space, or choose another place with --out or $OFFMARL_HOME",
    errno.EDQUOT: "the disk quota is used up; free some space, or choose another place with --out or $OFFMARL_HOME",
    errno.EROFS: "the file system is read-only; choose another place with --out or $OFFMARL_HOME",
    errno.EACCES: "permission denied; choose a place you may write to with --out or $OFFMARL_HOME",
    errno.EPERM: "permission denied; choose a place you may write to with --out or $OFFMARL_HOME",
}


class Failure(click.ClickException):
    """One line on stderr and an exit code; no usage text."""

    exit_code = FAILURE

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"Error: {self.message}", err=True)


class Misnamed(Failure):
    """A name that does not exist: the command line is at fault, though click could not know."""

    exit_code = USAGE


class Interrupted(Failure):
    """Ctrl-C."""

    exit_code = INTERRUPTED

    def __init__(self) -> None:
        super().__init__("interrupted; what was finished is kept, and the same command goes on from there")

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line, on a line of its own after the terminal's ^C."""
        click.echo(f"\n{self.message}", err=True)


def describe_os_error(error: OSError) -> str:
    """What the operating system refused, where, and what to do about it."""
    where = f"{error.filename!s}: " if error.filename else ""
    what = ADVICE.get(error.errno or 0) or (error.strerror or str(error))
    return f"{where}{what}"


@contextmanager
def one_line() -> Iterator[None]:
    """Turn expected errors into Failure; anything else passes, as a traceback should."""
    try:
        yield
    except (click.exceptions.Exit, click.Abort):
        raise
    except KeyboardInterrupt:
        raise Interrupted from None
    except UnknownName as e:
        raise Misnamed(str(e)) from e
    except OffmarlError as e:
        raise Failure(str(e)) from e
    except OSError as e:
        if e.errno == errno.EPIPE:  # the reader has left, as in `… | head`; click knows what to do
            raise
        raise Failure(describe_os_error(e)) from e
    except MemoryError as e:
        raise Failure("not enough memory; try fewer --episodes or --workers") from e
