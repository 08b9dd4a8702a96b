"""One process at a time: a second one that wants the same file or folder is told so, and does not write into it.

The lock belongs to the process and goes with it, however that ends; nothing has to be cleaned up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from offmarl_bench.errors import OffmarlError

try:
    import fcntl
except ImportError:  # Windows has none; there nobody stops two processes from working on the same thing
    fcntl = None  # type: ignore[assignment]


def claim(file: IO[Any] | int, doing: str) -> None:
    """Take the lock of an open file, to be held until that is closed.

    On disks that know no locks (some network mounts) nothing happens.

    Args:
        file: what to lock, or its descriptor.
        doing: what the other process is said to be doing, with the name of the file or folder.

    Raises:
        OffmarlError: another process holds it.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        raise busy(doing) from e
    except OSError:
        return


def busy(doing: str) -> OffmarlError:
    """What to raise where another process is ``doing`` this."""
    return OffmarlError(f"another process is {doing}; wait for it or end it")


@contextmanager
def alone_in(folder: Path, doing: str) -> Iterator[None]:
    """Hold a folder's own lock; other processes may read in it all the same.

    Raises:
        OffmarlError: another process holds it, or the folder is gone, as it is where the other has just finished.
    """
    if fcntl is None:  # Windows does not open folders either
        yield
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as e:
        raise busy(doing) from e
    try:
        claim(descriptor, doing)
        yield
    finally:
        os.close(descriptor)
