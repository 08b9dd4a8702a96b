"""Memory that a process frees stays with it, so that the next update finds its pages where they were.

An update of training makes and frees arrays of some megabytes. The C library hands those back to the system each
time, and the system clears every page anew before it lends it again: a fifth of an update's time.
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of glibc's settings, from its ``malloc.h``."""
KEPT = 512 * 2**20
"""Bytes at the end of the heap that may be free before they are given back."""
MAPPED = 32 * 2**20
"""Larger arrays get, and give back, pages of their own; glibc takes no higher limit."""


def keep_freed_memory() -> bool:
    """Tell the C library, for the whole process and for good; True if it is one that can be told (Linux's glibc)."""
    if sys.platform != "linux":
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    return set_option is not None and bool(set_option(MMAP_THRESHOLD, MAPPED) and set_option(TRIM_THRESHOLD, KEPT))
