"""Every error the package raises on purpose.

A message says what was given, where, what was expected and what to do about it. The children are also the
builtin that a caller would expect, so ``except LookupError`` works for somebody who has never heard of us.
"""

from __future__ import annotations


class OffmarlError(Exception):
    """Root of all errors raised by offmarl-bench; the command line prints its message as one line."""


class UnknownName(OffmarlError, LookupError):
    """A suite, map, quality, agent, preset or plug-in that does not exist."""


class FormatError(OffmarlError, ValueError):
    """A file, recipe, id or option whose content breaks the format it should follow."""


class SpecMismatch(OffmarlError, ValueError):
    """Arrays, agents or datasets that were made for another environment."""


class ConformanceError(OffmarlError, AssertionError):
    """A plug-in (agent, environment, dataset) that breaks the contract it claims to follow."""


class EpisodeLost(OffmarlError, RuntimeError):
    """An environment lost a running episode through nobody's fault; the same seeds may be played again."""
