"""Find agents, environments, executors and commands by name; nothing is imported until it is named.

Ours come in by the same door as a stranger's: Python entry points, or the spelling ``module:attr`` for code that
is not packaged.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from offmarl_bench.errors import OffmarlError, UnknownName

Kind = Literal["agents", "environments", "executors", "commands", "reproductions"]


def _points(kind: Kind) -> dict[str, EntryPoint]:
    return {p.name: p for p in entry_points(group=f"offmarl_bench.{kind}")}


def names(kind: Kind) -> list[str]:
    """All registered names of one kind, sorted. Imports nothing."""
    return sorted(_points(kind))


def distribution(kind: Kind, name: str) -> str | None:
    """Name of the installed package that brings a registered name; None for ``module:attr`` and unknown names."""
    point = _points(kind).get(name)
    return point.dist.name if point is not None and point.dist is not None else None


def closest(given: str, known: Iterable[str]) -> str | None:
    """The known name nearest to the given one, None if none is near."""
    return next(iter(difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)), None)


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` with a leading space where a known name is close, else an empty string."""
    close = closest(given, known)
    return f" Did you mean {close!r}?" if close else ""


def unknown(what: str, given: str, known: Iterable[str], hint: str = "") -> UnknownName:
    """The one error for a name that does not exist: what was given, a suggestion, all that is known."""
    known = list(known)
    listed = ", ".join(known) if known else "none"
    return UnknownName(f"unknown {what} {given!r}.{did_you_mean(given, known)} Known: {listed}.{hint and ' ' + hint}")


def resolve(kind: Kind, name: str) -> Any:
    """Import and return what ``name`` stands for.

    Args:
        kind: what it is; decides the entry-point group.
        name: a registered name, or ``module:attr``.

    Raises:
        UnknownName: nothing is registered under that name, or the module or attribute does not exist.
        OffmarlError: the plug-in exists but fails to import.
    """
    if ":" in name:
        module, _, attr = name.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in attr.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError, ValueError) as e:
            raise UnknownName(f"cannot find {name!r} ({kind}): {e}; expected an importable 'module:attr'") from e
        return found
    points = _points(kind)
    if name not in points:
        raise unknown(kind.rstrip("s"), name, sorted(points), "A plug-in can also be named as 'module:attr'.")
    try:
        return points[name].load()
    except (ImportError, AttributeError) as e:
        raise OffmarlError(
            f"the {kind.rstrip('s')} {name!r} ({points[name].value}) is registered but fails to import: {e}; "
            "reinstall the package that brings it"
        ) from e
