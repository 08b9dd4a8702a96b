"""The published versions: what each dataset id stands for, for ever.

``manifest.json`` says of every published version how it was made and what came out. ``manifest_lock.json`` holds the
SHA-256 of each entry as it was published: an entry that changes is refused wherever the manifest is read, because a
name that means two things is how results stop being comparable. New data is a new version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from offmarl_bench import registry
from offmarl_bench.atomic import write_atomic
from offmarl_bench.errors import FormatError
from offmarl_bench.ids import DatasetId, parse_dataset_id
from offmarl_bench.records import from_json, json_digest, read_record

MANIFEST = Path(__file__).resolve().parent / "manifest.json"
LOCK = Path(__file__).resolve().parent / "manifest_lock.json"
FORMAT = "offmarl-bench manifest 1"
DECIDING = ("recipe", "seed", "episodes", "pool", "backend")
"""What of a run's signature makes it another dataset; versions of libraries may, but need not."""

Status = Literal["published", "differs", "not published"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One published version."""

    id: str
    """``suite/map/quality-vN``."""
    recipe: str
    """Composition in the paper's notation."""
    seed: int
    """Master seed."""
    episodes: int
    pool_hash: str
    """Of the policy pool that played; it comes with the package."""
    backend: str
    """What simulated, e.g. ``embedded-1``."""
    content_hash: str
    rows: int
    """Rows of every column."""
    file_bytes: int
    """Size of the published file."""
    length_mean: float
    """Steps an episode."""
    length_std: float
    returns: dict[str, int | float]
    """``episodes``, ``mean``, ``std``, ``min``, ``q25``, ``median``, ``q75``, ``max`` of the episode returns."""
    compositions: tuple[dict[str, Any], ...]
    """For each team of levels ``composition`` and the fields of ``returns``."""
    reference_random: float
    """Mean return that normalises scores to 0."""
    reference_expert: float
    """Mean return that normalises scores to 1."""
    versions: dict[str, str]
    """Software that made the file."""
    commit: str | None

    @property
    def dataset(self) -> DatasetId:
        """The id, taken apart."""
        return parse_dataset_id(self.id)

    @property
    def deciding(self) -> dict[str, Any]:
        """What made it, under the names of a run's signature."""
        return {
            "recipe": self.recipe, "seed": self.seed, "episodes": self.episodes, "pool": self.pool_hash,
            "backend": self.backend,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    format: str
    datasets: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lock:
    format: str
    entries: dict[str, str]
    """Id → SHA-256 of its entry."""


def seal(entry: Published) -> str:
    """SHA-256 of an entry: what the lock holds."""
    return json_digest(asdict(entry))


def published() -> dict[str, Published]:
    """All published versions by id, sorted.

    Raises:
        FormatError: the manifest is damaged, or an entry is not as it was published.
    """
    raw, lock = read_record(_Manifest, MANIFEST), read_record(_Lock, LOCK)
    found = [from_json(Published, entry, f"{MANIFEST}: entry {k}") for k, entry in enumerate(raw.datasets)]
    entries = {entry.id: entry for entry in sorted(found, key=lambda e: e.dataset)}
    for name in sorted({*entries, *lock.entries}):
        if name not in entries or seal(entries[name]) != lock.entries.get(name):
            what = "is gone" if name not in entries else "was changed" if name in lock.entries else "was not sealed"
            raise FormatError(
                f"{MANIFEST}: the published {name} {what}; a published version stays as it is: restore the entry, and "
                "publish new data as a new version with `offmarl-bench manifest add FILE`"
            )
    return entries


def store(entries: Mapping[str, Published]) -> None:
    """Write manifest and lock. Those who add entries call it; nobody takes one away. Raises OffmarlError."""
    ordered = [entries[name] for name in sorted(entries, key=parse_dataset_id)]
    lock = {"format": FORMAT, "entries": {e.id: seal(e) for e in ordered}}
    whole = {"format": FORMAT, "datasets": [asdict(e) for e in ordered]}
    for path, content in ((MANIFEST, whole), (LOCK, lock)):
        write_atomic(path, f"{json.dumps(content, indent=1, allow_nan=False)}\n".encode())


def find_published(dataset_id: str) -> Published:
    """The entry of an id; without ``-vN`` the newest version.

    Raises:
        UnknownName: no such version was published. FormatError: not an id, or a damaged manifest.
    """
    wanted, entries = parse_dataset_id(dataset_id), published()
    fitting = [
        e
        for e in entries.values()
        if (e.dataset.env_id, e.dataset.quality) == (wanted.env_id, wanted.quality)
        and wanted.version in (None, e.dataset.version)
    ]
    if not fitting:
        raise registry.unknown("published dataset", dataset_id, entries, "See `offmarl-bench datasets`.")
    return max(fitting, key=lambda e: e.dataset)


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == len(hashlib.sha256().hexdigest()) else text


def differences(entry: Published, signature: Mapping[str, Any]) -> str:
    """What of a run's signature is not as published, e.g. ``episodes 64 instead of 10000``; empty if nothing."""
    wanted = entry.deciding
    return ", ".join(
        f"{name} {_short(signature.get(name))} instead of {_short(wanted[name])}"
        for name in DECIDING
        if signature.get(name) != wanted[name]
    )


def compare(metadata: Mapping[str, Any]) -> tuple[Status, str]:
    """Whether a dataset is the published one of its id, by what its metadata states; and why it is not.

    Whether the content is as stated is for ``verify`` to say, which reads all of it.
    """
    entry = published().get(str(metadata.get("dataset_id")))
    if entry is None:
        return "not published", ""
    if metadata.get("content_hash") == entry.content_hash:
        return "published", ""
    signature = metadata.get("signature")
    if not isinstance(signature, Mapping):
        return "differs", "it does not say how it was made"
    settled = differences(entry, signature)
    return "differs", settled or "the same settings gave other content: other arithmetic, or other software"
