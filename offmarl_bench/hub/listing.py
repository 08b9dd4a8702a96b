"""``manifest.json`` of a repository: every file in it with its size, SHA-256 and content hash.

The client libraries check that a download has the right length, not that it has the right content; this does. It is
read as what it is, a stranger's file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from offmarl_bench import registry
from offmarl_bench.errors import FormatError
from offmarl_bench.hub.place import path_in_repo
from offmarl_bench.ids import DatasetId, parse_dataset_id
from offmarl_bench.records import from_json
from offmarl_bench.types import EnvSpec

NAME = "manifest.json"
FORMAT = "offmarl-bench-hub-1"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubEntry:
    """One dataset file of the repository."""

    id: str
    """``suite/map/quality-vN``."""
    path: str
    """Within the repository; follows from the id."""
    size: int
    """Bytes of the file."""
    sha256: str
    """Of the file."""
    content_hash: str
    """Of what the file says, whatever its compression (``docs/format.md``)."""
    rows: int
    episodes: int
    return_mean: float
    """Mean undiscounted team return."""
    recipe: str
    """Composition in the paper's notation; empty if it was not made by one."""
    spec: dict[str, Any]
    """The environment, as in the file's metadata."""

    def __post_init__(self) -> None:
        if self.dataset.version is None or self.path != path_in_repo(self.dataset):
            raise FormatError(
                f"{self.id!r} at {self.path!r}: expected an id with its version, at quality/quality-vN.h5"
            )
        for name in ("sha256", "content_hash"):
            if not _SHA256.fullmatch(getattr(self, name)):
                raise FormatError(f"{self.id}: {name} {getattr(self, name)[:70]!r} is no SHA-256 in hexadecimal")
        if min(self.size, self.rows, self.episodes) < 1:
            raise FormatError(f"{self.id}: {self.size} bytes, {self.rows} rows, {self.episodes} episodes; expected ≥ 1")

    @property
    def dataset(self) -> DatasetId:
        """The id, taken apart."""
        return parse_dataset_id(self.id)

    @property
    def env(self) -> EnvSpec:
        """The environment. Raises FormatError."""
        return EnvSpec.from_json(self.spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Raw:
    format: str
    env_id: str
    licence: str
    files: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All files of a repository at one revision."""

    env_id: str
    """``suite/map``: a repository holds the datasets of one map."""
    licence: str = ""
    """The Hub's identifier of the data's licence, e.g. ``mit``; empty: not said yet."""
    files: tuple[HubEntry, ...] = ()
    """Sorted by id."""

    def __post_init__(self) -> None:
        ids = [f.id for f in self.files]
        strange = [i for i in ids if parse_dataset_id(i).env_id != self.env_id]
        if strange or len(set(ids)) != len(ids):
            raise FormatError(f"{strange or ids}: expected datasets of {self.env_id}, each once")

    def ids(self) -> list[str]:
        """Ids of all files."""
        return [f.id for f in self.files]

    def get(self, dataset: DatasetId) -> HubEntry | None:
        """The file of this id (without a version: the newest), None if there is none."""
        fitting = [
            f for f in self.files
            if f.dataset.quality == dataset.quality and dataset.version in (None, f.dataset.version)
        ]  # fmt: skip
        return max(fitting, key=lambda f: f.dataset) if fitting else None

    def find(self, dataset: DatasetId, where: str) -> HubEntry:
        """The same. Raises UnknownName with what there is; ``where`` names the repository."""
        found = self.get(dataset) if dataset.env_id == self.env_id else None
        if found is None:
            raise registry.unknown(f"dataset of {where}", str(dataset), self.ids())
        return found

    def with_file(self, entry: HubEntry) -> Listing:
        """This listing and one more file."""
        return replace(self, files=_sorted([*self.files, entry]))

    def at_most(self, version: int) -> Listing:
        """This listing without the files of higher versions."""
        return replace(self, files=tuple(f for f in self.files if (f.dataset.version or 0) <= version))

    def up_to(self, version: int) -> dict[str, HubEntry]:
        """For each quality its newest file whose version is at most ``version``: what the tag ``vN`` shows."""
        return {f.dataset.quality: f for f in self.at_most(version).files}

    def versions(self) -> list[int]:
        """All version numbers that occur, ascending."""
        return sorted({f.dataset.version or 0 for f in self.files})

    def to_bytes(self) -> bytes:
        """The content of ``manifest.json``."""
        files = [asdict(f) for f in self.files]
        whole = {"format": FORMAT, "env_id": self.env_id, "licence": self.licence, "files": files}
        return f"{json.dumps(whole, indent=1, allow_nan=False)}\n".encode()


def _sorted(files: Iterable[HubEntry]) -> tuple[HubEntry, ...]:
    return tuple(sorted(files, key=lambda f: f.dataset))


def parse_listing(content: bytes, where: str) -> Listing:
    """Read a ``manifest.json``.

    Raises:
        FormatError: not JSON, not ours, or inconsistent; ``where`` is named.
    """
    advice = "the repository was not filled by `offmarl-bench push`, or is damaged"
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as e:
        raise FormatError(f"{where}: not JSON ({e}); {advice}") from e
    raw = from_json(_Raw, data, where)
    if raw.format != FORMAT:
        raise FormatError(
            f"{where}: format {raw.format[:40]!r}, expected {FORMAT!r}; update offmarl-bench, or {advice}"
        )
    try:
        files = [from_json(HubEntry, f, f"{where}: file {k}") for k, f in enumerate(raw.files)]
        return Listing(env_id=raw.env_id, licence=raw.licence, files=_sorted(files))
    except FormatError as e:
        raise FormatError(str(e) if where in str(e) else f"{where}: {e}; {advice}") from e
