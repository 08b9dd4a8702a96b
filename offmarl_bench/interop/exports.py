"""Every format that a dataset can be written in, under one name each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from offmarl_bench import registry
from offmarl_bench.errors import FormatError
from offmarl_bench.interop import minari, pymarl, tensors
from offmarl_bench.interop.losses import Loss, report

if TYPE_CHECKING:
    from offmarl_bench.portable import Portable

TARGETS = ("minari", "pymarl", "tensordict")
SHOWN = {"minari": minari.losses, "pymarl": pymarl.losses, "tensordict": tensors.losses}


def losses(data: Portable, target: str) -> list[Loss]:
    """What this dataset would lose in that format. Raises UnknownName."""
    if target not in SHOWN:
        raise registry.unknown("export format", target, TARGETS)
    return SHOWN[target](data.columns, data.row_starts)


def tensordict_of(data: Portable) -> Any:
    """See ``tensors.to_tensordict``."""
    return tensors.to_tensordict(data.spec, data.columns, data.row_starts, data.lengths)


def export(data: Portable, target: str, out: Path | None, *, name: str | None = None) -> Path:
    """Write a dataset, or a view of one, in another format, and log what does not survive.

    Args:
        data: what to write.
        target: a name from ``TARGETS``.
        out: a file (``pymarl``) or folder; None: where Minari keeps its datasets, under ``name``.
        name: Minari's name of the dataset; None: the dataset's id.

    Raises:
        UnknownName: no such format. FormatError: no place to write to, or a name that Minari refuses.
        OffmarlError: the place is taken or cannot be written, or a package is missing.
    """
    lost = losses(data, target)
    if out is None and target != "minari":
        raise FormatError(f"export to {target} needs a place: give out=, a file or folder that does not exist yet")
    if target == "minari":
        known = name or data.metadata.get("dataset_id")
        if not known and out is None:
            raise FormatError("this dataset has no id; give dataset_id=, Minari's name for it, e.g. 'toy/mine-v0'")
        known = str(known or f"{data.spec.id}/unnamed-v0")
        out = out or minari.root() / known
        minari.write_minari(out, data.spec, data.columns, data.row_starts, data.lengths, data.metadata, known)
    elif target == "pymarl":
        assert out is not None  # noqa: S101  (for the type checker: seen to above)
        pymarl.write_pymarl(out, data.spec, data.columns, data.row_starts, data.lengths, data.metadata)
    else:
        assert out is not None  # noqa: S101  (for the type checker: seen to above)
        tensors.write_tensordict(out, tensordict_of(data))
    report(lost, str(out))
    return out
