"""Where generated things live: one folder, ``$OFFMARL_HOME``, else the platform's cache folder of the user."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from offmarl_bench.errors import FormatError

VARIABLE = "OFFMARL_HOME"
FOLDER = "offmarl-bench"


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def home() -> Path:
    """The folder that holds ``datasets``, ``runs`` and ``results``; nothing is created by asking.

    Raises:
        FormatError: ``$OFFMARL_HOME`` names something that is not a folder.
    """
    given = os.environ.get(VARIABLE)
    path = Path(given).expanduser() if given else _user_cache() / FOLDER
    if path.exists() and not path.is_dir():
        raise FormatError(f"{VARIABLE}={str(path)!r} is not a folder; set it to a folder, or to one that may be made")
    return path.absolute()


def datasets_dir() -> Path:
    """``suite/map/quality-vN.h5`` files."""
    return home() / "datasets"


def runs_dir() -> Path:
    """Checkpoints and logs of training."""
    return home() / "runs"


def results_dir(played_in: str = "") -> Path:
    """Scores, one JSON file each; those of agents played in another suite than their data's are kept apart."""
    return home() / (f"results-{played_in}" if played_in else "results")
