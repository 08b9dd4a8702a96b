"""Is a submission's folder made of nothing but the few plain files that it may hold?

Looks at names, kinds and sizes only: everything that is opened later has passed here. Names are shown in ASCII, so that
a terminal or a log never meets one that was made to confuse it.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from leaderboard.bundle import CURVES, ONNX_SUFFIX, POLICIES, README, RESULTS, SUBMISSION, VERDICT, WEIGHTS_SUFFIX
from offmarl_bench.errors import FormatError

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
TOP = (SUBMISSION, README, VERDICT)
FOLDERS = {RESULTS: (".json",), CURVES: (".json",), POLICIES: (".json", WEIGHTS_SUFFIX, ONNX_SUFFIX)}
"""What may lie where."""
MAX_FILES = 1000
MAX_BYTES = 64 * 2**20
"""Of the whole folder."""
MAX_SIZES = {".json": 2**20, ".md": 2**16, WEIGHTS_SUFFIX: 16 * 2**20, ONNX_SUFFIX: 16 * 2**20}
"""Of one file, by suffix, in bytes."""


def _plain(path: Path, shown: str) -> os.stat_result:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise FormatError(f"{shown} is a symbolic link; a submission holds files only")
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        raise FormatError(f"{shown} is a hard link to a file elsewhere; a submission holds files of its own only")
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise FormatError(f"{shown} is a device, pipe or socket; a submission holds files only")
    return found


def _allowed(parts: tuple[str, ...], is_folder: bool) -> bool:
    if len(parts) == 1:
        return parts[0] in FOLDERS if is_folder else parts[0] in TOP
    return len(parts) == 2 and not is_folder and parts[1].endswith(FOLDERS[parts[0]])


def check_folder(path: Path) -> None:
    """Refuse what is not a submission's folder. Opens nothing, follows nothing.

    Raises:
        FormatError: what is wrong.
    """
    root = path.absolute()
    shown = ascii(str(path))
    if not SLUG.fullmatch(root.name):
        raise FormatError(f"{shown}: the folder's name is the entry's slug: lower-case letters, digits and -, up to 80")
    if not path.is_symlink() and not path.is_dir():
        raise FormatError(f"{shown}: no folder here; a submission is a folder (unpack an archive first)")
    _plain(path, shown)
    total, count, seen = 0, 0, set[str]()
    stack = [root]
    while stack:
        with os.scandir(stack.pop()) as items:
            for item in items:
                inside = Path(item.path).relative_to(root)
                where = f"{shown}: {inside.as_posix()!a}"
                found = _plain(Path(item.path), where)
                is_folder = stat.S_ISDIR(found.st_mode)
                if not FILE_NAME.fullmatch(item.name):
                    raise FormatError(f"{where} is no name for a file here; letters, digits and . _ - up to 120")
                if not _allowed(inside.parts, is_folder):
                    raise FormatError(f"{where} does not belong to a submission; see docs/leaderboard.md for what does")
                if str(inside).casefold() in seen:
                    raise FormatError(f"{where} differs from another name by upper and lower case only")
                seen.add(str(inside).casefold())
                count += 1
                if is_folder:
                    stack.append(Path(item.path))
                else:
                    total += found.st_size
                    _check_size(found.st_size, inside.suffix, where)
                if count > MAX_FILES or total > MAX_BYTES:
                    raise FormatError(
                        f"{shown}: more than {MAX_FILES} files or {MAX_BYTES} bytes; nobody needs that many"
                    )


def _check_size(size: int, suffix: str, where: str) -> None:
    if size > MAX_SIZES[suffix]:
        raise FormatError(f"{where} has {size} bytes, at most {MAX_SIZES[suffix]} are taken")
