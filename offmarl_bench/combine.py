"""Several datasets as one file: their episodes one after the other, streamed, so that memory stays small.

On the way every source's content is hashed and compared with what it states, for the new file names its sources by
their hashes.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from jaxtyping import Shaped
from tqdm import tqdm

from offmarl_bench.atomic import refuse_existing
from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.format.content_hash import ContentHash
from offmarl_bench.format.derived import derived_metadata
from offmarl_bench.format.reader import CHECKED, checked_values, open_columns
from offmarl_bench.format.schema import Column, Columns
from offmarl_bench.format.summary import NEEDED, summarise
from offmarl_bench.format.writer import write_dataset
from offmarl_bench.loader import find_dataset
from offmarl_bench.types import EnvSpec

log = logging.getLogger(__name__)

AGAIN = "generate or download the file again"


@dataclass(slots=True)
class _Stored:
    """A column that stays in its file: rows are read when asked for, in order, and hashed as they pass."""

    data: h5py.Dataset
    column: Column
    digest: ContentHash
    where: str
    renumbered: Shaped[np.ndarray, " R"] | None = None
    """What is handed out in place of the rows read, if anything."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.column.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.data), *self.column.shape)

    @property
    def nbytes(self) -> int:
        return len(self.data) * self.column.row_bytes

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, span: slice) -> Shaped[np.ndarray, "C ..."]:
        stop = min(span.stop, len(self.data))
        try:
            rows: Shaped[np.ndarray, "C ..."] = self.data[span.start : stop]
        except (OSError, RuntimeError) as e:
            raise FormatError(
                f"{self.where}: column {self.column.name!r}, rows {span.start} … {stop - 1}: {e}; {AGAIN}"
            ) from e
        self.digest.update(self.column.name, rows)
        return rows if self.renumbered is None else self.renumbered[span.start : stop]


@dataclass(slots=True)
class _Part:
    """One source, open."""

    path: Path
    spec: EnvSpec
    metadata: dict[str, Any]
    small: Columns
    """Columns that are looked at before anything is written."""
    columns: dict[str, _Stored] = field(default_factory=dict)

    def check(self) -> None:
        """Raises FormatError if the content that passed is not the one that the metadata states."""
        computed = next(iter(self.columns.values())).digest.hexdigest()
        if computed != self.metadata.get("content_hash"):
            raise FormatError(
                f"{self.path}: states the content hash {self.metadata.get('content_hash')}, its content gives "
                f"{computed}; {AGAIN}"
            )


def _open(path: Path, stack: ExitStack, first_id: int) -> _Part:
    _, spec, metadata, sources = stack.enter_context(open_columns(path))
    small = {c.name: data[()] for c, data in sources if c.name in (*CHECKED, *NEEDED)}
    _, lengths = checked_values(small, spec, str(path))
    digest, part = ContentHash(spec), _Part(path, spec, metadata, small)
    for column, data in sources:
        part.columns[column.name] = _Stored(data, column, digest, str(path))
    ids = np.repeat(np.arange(first_id, first_id + len(lengths)), lengths + 1)
    part.columns["episode_id"].renumbered = ids.astype(np.int32)
    return part


def _check_same(parts: Sequence[_Part]) -> None:
    first = parts[0]
    for k, part in enumerate(parts[1:], 1):
        odd = [f.name for f in fields(EnvSpec) if getattr(part.spec, f.name) != getattr(first.spec, f.name)]
        if odd:
            name = odd[0]
            raise SpecMismatch(
                f"{part.path} is of another environment than {first.path}: {name} is {getattr(part.spec, name)!r} and "
                f"{getattr(first.spec, name)!r}; combine datasets of one environment"
            )
        twin = next((p for p in parts[:k] if p.metadata.get("content_hash") == part.metadata.get("content_hash")), None)
        if twin is not None:
            raise FormatError(f"{part.path} and {twin.path} hold the same episodes; name every dataset once")
    pools = {p.metadata.get("pool_hash") for p in parts}
    if len(pools) > 1:
        log.warning(
            "the sources were played by %d different pools: a number in behavior_policy means another member in each",
            len(pools),
        )


def _stream(parts: Sequence[_Part], unchecked: Path, name: str, progress: Callable[[int], object] | bool) -> None:
    """Write all parts, then look whether they were what they state."""
    small = {column: np.concatenate([p.small[column] for p in parts]) for column in NEEDED}
    names = [str(p.metadata.get("dataset_id") or p.path) for p in parts]
    command = shlex.join(["offmarl-bench", "combine", *names, "--out", name])
    statistics = summarise(parts[0].spec, small)
    metadata = derived_metadata("combine", {}, [p.metadata for p in parts], statistics, command)
    total = sum(c.nbytes for p in parts for c in p.columns.values())
    columns = [cast(Columns, p.columns) for p in parts]  # what a column must do for the writer, they do
    with tqdm(total=total, unit="B", unit_scale=True, desc="combine", disable=None if progress else True) as bar:
        step = progress if callable(progress) else bar.update
        write_dataset(unchecked, parts[0].spec, columns, metadata, progress=step)
    for part in parts:
        part.check()


def combine(
    datasets: Sequence[str | Path], out: str | Path, *, progress: Callable[[int], object] | bool = True
) -> Path:
    """Write the episodes of several datasets, in the order given, as one file.

    Args:
        datasets: ids or paths, at least two, of the same environment.
        out: the new file.
        progress: False shows no bar; a function is called with numbers of raw bytes instead.

    Returns:
        ``out``. Its metadata names the sources with their hashes under ``operation``; episodes are numbered anew.

    Raises:
        SpecMismatch: datasets of different environments. UnknownName: no such dataset.
        FormatError: fewer than two, the same one twice, or a damaged file. OffmarlError: ``out`` exists or cannot be
            written. Nothing is left behind.
    """
    target = Path(out)
    if len(datasets) < 2:
        raise FormatError(f"combine: {len(datasets)} datasets were given, expected at least two")
    refuse_existing(target)
    paths = [find_dataset(name) for name in datasets]
    unchecked = target.with_name(f".{target.name}.unchecked")
    try:
        with ExitStack() as stack:
            parts: list[_Part] = []
            for path in paths:
                first_id = sum(int(p.small["is_first"].sum()) for p in parts)
                parts.append(_open(path, stack, first_id))
            _check_same(parts)
            _stream(parts, unchecked, target.name, progress)
        unchecked.replace(target)
    finally:
        unchecked.unlink(missing_ok=True)
    return target
