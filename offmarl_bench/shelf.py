"""Which datasets there are: here, published, on the Hub, or one command away; and whether they are what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from offmarl_bench.errors import FormatError
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.ids import DatasetId, local_datasets, path_of
from offmarl_bench.manifest import Published, compare, published
from offmarl_bench.recipes import RECIPES

MEGABYTE = 1e6

Status = Literal["published", "differs", "not published", "damaged", "not here"]
"""``published``: here, and its stated content is the published one. ``differs``: has a published id, but other
content. ``not published``: here, with an id of one's own. ``damaged``: cannot be read. ``not here``: to be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEntry:
    """One dataset that is here, was published, or can be generated."""

    id: str
    status: Status
    recipe: str
    path: str | None = None
    """Where it is; None: not on this machine."""
    published: bool = False
    """Whether the manifest has this version."""
    why: str = ""
    """What differs, or what is damaged."""
    episodes: int | None = None
    mean_return: float | None = None
    content_hash: str | None = None
    megabytes: float | None = None
    remote: bool | None = None
    """Whether it is on the Hub; None: not asked."""


def _here(dataset: DatasetId, known: bool) -> DatasetEntry:
    path = path_of(dataset)
    entry = DatasetEntry(id=str(dataset), status="not published", recipe="", path=str(path), published=known)
    try:
        _, said = read_metadata(path)
    except FormatError as e:
        return replace(entry, status="damaged", why=str(e))
    status, why = compare({**said, "dataset_id": str(dataset)})
    if said.get("dataset_id") != str(dataset):
        status, why = "differs", f"the file says that it is {said.get('dataset_id')}"
    return replace(
        entry, status=status, why=why, recipe=str(said.get("recipe") or ""), episodes=_number(said, "episodes"),
        mean_return=_number(said, "return_mean"), content_hash=str(said.get("content_hash")),
        megabytes=_megabytes(path.stat().st_size),
    )  # fmt: skip


def _number(said: Mapping[str, Any], name: str) -> Any:
    """A stated number, None for anything else: files come from anywhere."""
    value = said.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _megabytes(size: int) -> float:
    return round(size / MEGABYTE, 1)


def _elsewhere(entry: Published) -> DatasetEntry:
    return DatasetEntry(
        id=entry.id, status="not here", recipe=entry.recipe, published=True, episodes=entry.episodes,
        mean_return=float(entry.returns["mean"]), content_hash=entry.content_hash,
        megabytes=_megabytes(entry.file_bytes),
    )  # fmt: skip


def list_datasets(remote: Callable[[str], list[str]] | None = None) -> list[DatasetEntry]:
    """Datasets in the home folder, then published ones that are not here, then recipes that were never published.

    Args:
        remote: gives for ``suite/map`` the ids that are on the Hub; None does not ask.
    """
    known, here = published(), local_datasets()
    found = [_here(dataset, str(dataset) in known) for dataset in here]
    listed = {entry.id for entry in found}
    found += [_elsewhere(entry) for name, entry in known.items() if name not in listed]
    listed |= set(known)
    for (env_id, quality), recipe in RECIPES.items():
        name = f"{env_id}/{quality}-v{recipe.version}"
        if name not in listed:
            found.append(DatasetEntry(id=name, status="not here", recipe=recipe.text))
    return found if remote is None else _with_remote(found, remote)


def _with_remote(entries: list[DatasetEntry], remote: Callable[[str], list[str]]) -> list[DatasetEntry]:
    """The same with ``remote`` filled in, and those that are on the Hub only."""
    environments = sorted({entry.id.rpartition("/")[0] for entry in entries})
    there = [name for env_id in environments for name in remote(env_id)]
    listed = {entry.id for entry in entries}
    only = [DatasetEntry(id=name, status="not here", recipe="") for name in there if name not in listed]
    return [replace(entry, remote=entry.id in there) for entry in [*entries, *only]]


def as_json(entry: DatasetEntry) -> dict[str, Any]:
    """Plain values for JSON."""
    return asdict(entry)
