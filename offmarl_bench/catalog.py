"""What there is: environments and agents, ours and those that other packages bring (datasets: ``shelf``).

A plug-in that cannot be imported is listed with its fault and does not hide the others.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from offmarl_bench import registry
from offmarl_bench.agent import presets
from offmarl_bench.envs import get_suite
from offmarl_bench.errors import OffmarlError
from offmarl_bench.types import EnvSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEntry:
    """One registered agent."""

    name: str
    title: str
    """First line of its module's docstring."""
    settings: dict[str, Any]
    """Its config fields with their defaults."""
    presets: tuple[str, ...]


def _loadable(kind: registry.Kind) -> Iterator[tuple[str, Any]]:
    for name in registry.names(kind):
        try:
            yield name, registry.resolve(kind, name)
        except OffmarlError as e:
            log.warning("%s", e)


def list_environments() -> list[EnvSpec]:
    """Specs of all maps of all suites."""
    found = []
    for name, suite in _loadable("environments"):
        try:
            found += [suite.spec(m) for m in get_suite(name).maps()]
        except OffmarlError as e:
            log.warning("suite %s: %s", name, e)
    return found


def list_agents() -> list[AgentEntry]:
    """All registered agents."""
    found = []
    for name, cls in _loadable("agents"):
        doc = inspect.getdoc(inspect.getmodule(cls)) or inspect.getdoc(cls) or ""
        config = cls.Config()
        settings = {f.name: getattr(config, f.name) for f in fields(config)}
        title = doc.strip().splitlines()[0] if doc else ""
        found.append(AgentEntry(name=name, title=title, settings=settings, presets=("default", *presets(name))))
    return found


def as_json(entry: AgentEntry | EnvSpec) -> dict[str, Any]:
    """Plain values for JSON."""
    return entry.to_json() if isinstance(entry, EnvSpec) else asdict(entry)
