"""Which software made a file: versions of what matters and the commit of this source tree."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("offmarl-bench", "numpy", "torch", "numba", "h5py", "safetensors", "mujoco", "mpe2", "gymnasium-robotics")
"""Packages that can change a number; those that are not installed are left out."""
GIT_SECONDS = 10


@functools.cache
def versions() -> dict[str, str]:
    """Version of Python and of each installed package in ``PACKAGES``."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def commit() -> str | None:
    """Git commit of this source tree (``-dirty`` appended if files differ from it), None outside of a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None  # installed from a wheel: a repository further up is somebody else's
    command = ["git", "--no-optional-locks", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run([*command, "--exclude=*"], capture_output=True, text=True, timeout=GIT_SECONDS)  # noqa: S603  (a fixed command)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
