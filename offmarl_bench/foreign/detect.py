"""Which format is this? Asked of names and shapes, never of file extensions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py

from offmarl_bench.errors import FormatError
from offmarl_bench.foreign import d4rl, minari, native, omar, omiga, pymarl, vault
from offmarl_bench.foreign.arrays import NPY_SUFFIX
from offmarl_bench.foreign.view import Recording
from offmarl_bench.format.hdf5 import opened
from offmarl_bench.format.metadata import ATTRIBUTE

READERS: dict[str, Callable[[Path], Recording]] = {
    native.FORMAT: native.read_native,
    pymarl.FORMAT: pymarl.read_pymarl,
    minari.FORMAT: minari.read_minari,
    omar.FORMAT: omar.read_omar,
    omiga.FORMAT: omiga.read_omiga,
    d4rl.FORMAT: d4rl.read_d4rl,
    vault.FORMAT: vault.read_vault,
}
"""Reader of each format by name."""
IN_HDF5 = ((minari.looks_like, minari.FORMAT), (pymarl.looks_like, pymarl.FORMAT), (omiga.looks_like, omiga.FORMAT),
           (d4rl.looks_like, d4rl.FORMAT))  # fmt: skip
SHOWN = 8
"""Names listed in an error."""
EXPECTED = "expected a dataset of ours, PyMARL, Minari, OMAR, OMIGA, D4RL or an OG-MARL Vault"


def detect(path: Path) -> str:
    """The name of a dataset's format, a key of ``READERS``.

    Raises:
        FormatError: no such place, or a format that nobody here reads; says what was found.
    """
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise FormatError(f"{path} does not exist; {EXPECTED}")
    if path.suffix == NPY_SUFFIX:
        raise FormatError(f"{path} is one array of several; give the folder it is in: {path.parent}")
    with opened(path) as file:
        return _file(file, path)


def _file(file: h5py.File, path: Path) -> str:
    if ATTRIBUTE in file.attrs and "is_first" in file:
        return native.FORMAT
    for fits, name in IN_HDF5:
        if fits(file):
            return name
    return _unknown(path, [f"{k} {getattr(file.get(k), 'shape', 'group')}" for k in _first_names(file)], len(file))


def _first_names(file: h5py.File) -> list[str]:
    """Some names of things in this very file; links are not followed."""
    names = []
    for k in file:
        if isinstance(file.get(k, getlink=True), h5py.HardLink):
            names.append(k)
        if len(names) == SHOWN:
            break
    return names


def _folder(path: Path) -> str:
    if omar.looks_like(path):
        return omar.FORMAT
    if minari.main_file(path).is_file() or (path / "data" / minari.DESCRIPTION).is_file():
        return minari.FORMAT
    if any(path.glob(pymarl.PART)):
        return pymarl.FORMAT
    if vault.looks_like(path):
        return vault.FORMAT
    names = sorted(p.name for p in path.iterdir())
    return _unknown(path, names[:SHOWN], len(names))


def _unknown(path: Path, names: list[str], count: int) -> str:
    listed = ", ".join(ascii(n)[1:-1] for n in names) or "nothing"
    more = f" and {count - len(names)} more" if count > len(names) else ""
    raise FormatError(f"{path}: holds {listed}{more}; {EXPECTED}")


def open_recording(path: Path) -> Recording:
    """A dataset of any known format, in the neutral view.

    Raises:
        FormatError: unknown, missing or damaged. OffmarlError: its reader is not installed.
    """
    return READERS[detect(path)](path)
