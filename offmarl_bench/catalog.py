"""What there is: environments, datasets and agents, ours and those that other packages bring.

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
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.ids import DatasetId, local_datasets, path_of
from offmarl_bench.recipes import RECIPES
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEntry:
    """One dataset: here already, or one that ``generate`` knows how to make."""

    id: str
    recipe: str
    path: str | None
    """Where it is; None: not generated yet."""
    episodes: int | None = None
    mean_return: float | None = None
    content_hash: str | None = None
    megabytes: float | None = None


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


def list_datasets() -> list[DatasetEntry]:
    """Datasets in the home folder, then the named recipes that have not been generated; damaged files are logged."""
    found = []
    here = local_datasets()
    for dataset in here:
        path = path_of(dataset)
        try:
            spec, metadata = read_metadata(path)
        except FormatError as e:
            log.warning("left out: %s", e)
            continue
        found.append(_local(dataset, spec, metadata))
    generated = {(d.env_id, d.quality) for d in here}
    for (env_id, quality), recipe in RECIPES.items():
        if (env_id, quality) not in generated:
            found.append(DatasetEntry(id=f"{env_id}/{quality}-v{recipe.version}", recipe=recipe.text, path=None))
    return found


def _local(dataset: DatasetId, spec: EnvSpec, metadata: dict[str, Any]) -> DatasetEntry:
    path = path_of(dataset)
    returns = metadata.get("returns") or {}
    return DatasetEntry(
        id=str(dataset),
        recipe=str(metadata.get("recipe") or ""),
        path=str(path),
        episodes=metadata.get("episodes"),
        mean_return=returns.get("mean") if isinstance(returns, dict) else None,
        content_hash=metadata.get("content_hash"),
        megabytes=round(path.stat().st_size / 1e6, 1),
    )


def as_json(entry: AgentEntry | DatasetEntry | EnvSpec) -> dict[str, Any]:
    """Plain values for JSON."""
    return entry.to_json() if isinstance(entry, EnvSpec) else asdict(entry)
