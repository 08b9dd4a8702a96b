"""From a file in anybody's format to our columns: find out what it is, restore what we left in it, list the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from offmarl_bench import registry
from offmarl_bench.errors import FormatError
from offmarl_bench.foreign import detect, native, pymarl
from offmarl_bench.foreign import minari as foreign_minari
from offmarl_bench.foreign.view import Recording
from offmarl_bench.format.hdf5 import opened, text_attribute
from offmarl_bench.format.metadata import ATTRIBUTE, MAX_BYTES, decode
from offmarl_bench.format.reader import Contents, read_dataset
from offmarl_bench.format.schema import Columns
from offmarl_bench.format.summary import summarise
from offmarl_bench.interop import from_tensors, minari
from offmarl_bench.interop.assemble import Reward, assemble
from offmarl_bench.interop.losses import ASSUMED, Loss, report
from offmarl_bench.interop.minari import BEHAVIOUR
from offmarl_bench.types import EnvSpec

__all__ = ["IDENTITY", "Reward", "import_file", "import_tensordict", "minari_folder"]

FILE_FIELDS = ("format", "format_version", "spec", "content_hash")
"""Metadata that belong to a file and not to its content."""
IDENTITY = ("dataset_id", "command", "signature")
"""What says that this is a certain published dataset, which a copy with something missing no longer is."""


def minari_folder(source: str | Path) -> Path:
    """A folder that is there, else the place of the dataset with this id among Minari's.

    Raises:
        FormatError: neither.
    """
    given = Path(source).expanduser()
    if given.exists():
        return given
    there = minari.root() / str(source)
    if not there.exists():
        raise FormatError(
            f"no Minari dataset {str(source)!r}, neither here nor in {minari.root()}; download it with "
            f"`minari download {source}`, or give its folder"
        )
    return there


def _about(name: str, path: Path, recording: Recording) -> tuple[EnvSpec, dict[str, Any]] | None:
    """Spec and metadata that an export of ours left in the file, or None."""
    if name == foreign_minari.FORMAT:
        return minari.read_about(recording.layout.metadata, str(path))
    if name == pymarl.FORMAT and path.is_file():
        with opened(path) as file:
            if ATTRIBUTE in file.attrs:
                return decode(text_attribute(file, ATTRIBUTE, MAX_BYTES, str(path)), str(path))
    return None


def _metadata(about: dict[str, Any], contents: Contents, imported: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in about.items() if k not in FILE_FIELDS}
    if imported["assumed"] or not about:
        kept |= dict.fromkeys(IDENTITY) | summarise(contents.spec, contents.columns)
    return {**kept, "imported": imported}


def import_file(
    path: Path,
    *,
    format: str | None = None,
    spec: EnvSpec | None = None,
    env_id: str | None = None,
    reward: Reward = "mean",
) -> Contents:
    """Read a dataset in any known format into our columns.

    Args:
        path: file or folder.
        format: one of ``foreign.detect.READERS``; None: found out from names and shapes.
        spec: the environment; None: what an export of ours left in the file, else inferred.
        env_id: the environment's name, if the spec is inferred.
        reward: how rewards of each agent become the team's.

    Returns:
        The content; ``metadata["imported"]`` says from what, and lists everything that was assumed or is missing.

    Raises:
        UnknownName: no such format. FormatError: unknown, damaged or hostile. SpecMismatch: another environment.
    """
    if format is not None and format not in detect.READERS:
        raise registry.unknown("format", format, detect.READERS)
    name = format or detect.detect(path)
    if name == native.FORMAT:
        return read_dataset(path)
    recording = detect.READERS[name](path)
    about = _about(name, path, recording)
    contents, assumed = assemble(recording, spec=spec or (about[0] if about else None), env_id=env_id, reward=reward)
    played = (
        minari.read_behaviour(path, contents.spec, contents.lengths) if about and name == foreign_minari.FORMAT else {}
    )
    return _finished(contents, played, assumed, about[1] if about else {}, {"format": name, "file": path.name})


def import_tensordict(
    data: Any, *, spec: EnvSpec | None = None, env_id: str | None = None, reward: Reward = "mean"
) -> Contents:
    """A TensorDict in memory as our columns; arguments, result and errors are those of ``import_file``."""
    contents, assumed = assemble(from_tensors.read_tensordict(data), spec=spec, env_id=env_id, reward=reward)
    played = from_tensors.read_behaviour(data, contents.spec)
    return _finished(contents, played, assumed, {}, {"format": from_tensors.FORMAT})


def _finished(
    contents: Contents, played: Columns, assumed: list[Loss], about: dict[str, Any], source: dict[str, str]
) -> Contents:
    """Fill in who played, tell what was assumed, and note both in the metadata."""
    contents.columns.update(played)
    if not played:
        assumed = [*assumed, Loss(", ".join(BEHAVIOUR), "unknown: the file does not say who played")]
    report(assumed, source.get("file", source["format"]), ASSUMED)
    metadata = _metadata(about, contents, {**source, "assumed": [str(a) for a in assumed]})
    return Contents(contents.spec, metadata, contents.columns, contents.row_starts, contents.lengths)
