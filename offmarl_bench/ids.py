"""Dataset ids: ``suite/map/quality-vN``; without ``-vN`` the newest version is meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from offmarl_bench.errors import FormatError
from offmarl_bench.home import datasets_dir

SUFFIX = ".h5"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]*")
_VERSIONED = re.compile(r"(?P<quality>.+)-v(?P<version>[1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True, order=True)
class DatasetId:
    """One dataset, or with ``version`` None the newest of its kind."""

    suite: str
    """Suite name, e.g. ``smac``."""
    map: str
    """Map name, e.g. ``2s3z``."""
    quality: str
    """Name of the recipe, e.g. ``low``."""
    version: int | None = None
    """1, 2, …; a published version never changes."""

    def __post_init__(self) -> None:
        for field in ("suite", "map", "quality"):
            value = getattr(self, field)
            if not _PART.fullmatch(value):
                raise FormatError(
                    f"dataset id: {field} {value!r} may hold letters, digits and _ . : + - and not start with a mark; "
                    "expected 'suite/map/quality' or 'suite/map/quality-vN', e.g. 'smac/2s3z/low-v1'"
                )

    @property
    def env_id(self) -> str:
        """``suite/map``."""
        return f"{self.suite}/{self.map}"

    def __str__(self) -> str:
        return f"{self.env_id}/{self.quality}" + (f"-v{self.version}" if self.version else "")


def parse_dataset_id(text: str) -> DatasetId:
    """``suite/map/quality[-vN]`` → DatasetId.

    Raises:
        FormatError: not three parts, or a part with characters that no id has.
    """
    parts = text.split("/")
    if len(parts) != 3:
        raise FormatError(
            f"dataset id {text!r}: expected 'suite/map/quality' or 'suite/map/quality-vN', e.g. 'smac/2s3z/low-v1'; "
            f"a file is named by a path that ends in {SUFFIX}"
        )
    suite, map_name, quality = parts
    versioned = _VERSIONED.fullmatch(quality)
    if versioned:
        return DatasetId(suite, map_name, versioned["quality"], int(versioned["version"]))
    return DatasetId(suite, map_name, quality)


def path_of(dataset: DatasetId, root: Path | None = None) -> Path:
    """Where this version lives under ``root`` (default: the datasets folder). Raises FormatError without a version."""
    if dataset.version is None:
        raise FormatError(f"dataset id {str(dataset)!r} names no version, so no file; write e.g. '{dataset}-v1'")
    return (root or datasets_dir()) / dataset.suite / dataset.map / f"{dataset.quality}-v{dataset.version}{SUFFIX}"


def local_datasets(root: Path | None = None) -> list[DatasetId]:
    """Ids of all dataset files under ``root`` (default: the datasets folder), sorted."""
    found = []
    for path in (root or datasets_dir()).glob(f"*/*/*{SUFFIX}"):
        versioned = _VERSIONED.fullmatch(path.name.removesuffix(SUFFIX))
        if versioned:
            suite, map_name = path.parts[-3:-1]
            found.append(DatasetId(suite, map_name, versioned["quality"], int(versioned["version"])))
    return sorted(found)


def newest_among(dataset: str, known: Iterable[str]) -> str:
    """What a user means by a dataset id where only some datasets count.

    Args:
        dataset: an id, with or without a version, or anything else.
        known: names of the datasets that count; those that are no ids are passed over.

    Returns:
        ``dataset`` itself if it is known or names a version, else the newest version that is known, else ``dataset``.
    """
    names = set(known)
    found = _parsed(dataset)
    if dataset in names or found is None or found.version is not None:
        return dataset
    ids = [i for name in names if (i := _parsed(name)) is not None and replace(i, version=None) == found]
    return str(max(ids, key=lambda i: i.version or 0)) if ids else dataset


def _parsed(name: str) -> DatasetId | None:
    try:
        return parse_dataset_id(name)
    except FormatError:
        return None
