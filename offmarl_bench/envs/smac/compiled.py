"""``compiled``: how every compiled function of the engine is made, and a guard against stale machine code.

Calls are inlined: to pass on a few record arrays costs as much as a short function takes, a tenth of all time.

Numba keeps machine code on disk and renews it when the function's own file changes, but not when a function that it
calls, in another file, does. So code older than the newest source file of this folder is dropped on import.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from numba import njit

compiled = njit(cache=True, error_model="numpy", forceinline=True)


def drop_stale_code(folder: Path) -> int:
    """Delete cached machine code in ``folder/__pycache__`` that is older than any source file; returns how many."""
    newest = max(p.stat().st_mtime for p in folder.glob("*.py"))
    dropped = 0
    for cached in (folder / "__pycache__").glob("*.nb[ic]"):
        # Another process may be deleting the same file; a folder we may not write in was never edited either.
        with contextlib.suppress(OSError):
            if cached.stat().st_mtime < newest:
                cached.unlink()
                dropped += 1
    return dropped


drop_stale_code(Path(__file__).parent)
