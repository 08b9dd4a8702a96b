"""Write a file wholly or not at all: a temporary name beside it, flushed to the disk, then renamed.

A reader never sees half a file, and a process killed while writing leaves the old content in place.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from offmarl_bench.errors import OffmarlError


def _umask() -> int:
    """This process's umask; the only way to read it is to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def refuse_existing(path: Path, option: str = "") -> None:
    """Raises OffmarlError if there is something under this name; ``option`` says how to give another one."""
    if path.exists():
        raise OffmarlError(f"{path} exists already; choose another name{option}, or remove it first")


def temporary_beside(path: Path) -> Path:
    """A hidden name on the same disk, this process's own, for what takes long to write and is renamed at the end."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_atomic(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``, creating its folder.

    Raises:
        OffmarlError: the place cannot be written (read-only, full, a folder in the way); the old content stays.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # what open() would have given; mkstemp keeps files to their owner
        os.replace(temporary, path)
    except OSError as e:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise OffmarlError(
            f"cannot write {path}: {e.strerror or e}; free space, or choose a writable place (--out, or OFFMARL_HOME)"
        ) from e
