"""One file from the Hub to this disk: taken up where it stopped, and looked at before it gets its name.

The client library (2.4) throws a partial download away when its process ends, and never compares content with a hash;
its Xet transfer cannot be taken up either. So bytes come by its plain HTTP reader, which the Hub serves for every
file, into a ``.partial`` file that is named after the content it will have.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from offmarl_bench.alone import claim
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.hub.failures import asking
from offmarl_bench.hub.place import DEFAULT_ENDPOINT, REPO_TYPE, endpoint, offline

log = logging.getLogger(__name__)

SMALL_BYTES = 16 * 2**20
"""Manifests and texts are smaller."""
PIECE = 1 << 20
PATIENCE = 10.0
"""Seconds to wait for an answer when somebody has asked for a download."""
SHA256_DIGITS, GIT_DIGITS = 64, 40
XET_VARIABLE = "HF_HUB_DISABLE_XET"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """What the Hub says of one file at one commit."""

    repo: str
    path: str
    commit: str
    size: int | None
    digest: str
    """SHA-256 of a large file; git's SHA-1 of a small one; empty: unknown."""


def prepare() -> None:
    """Import the client library and let it set up its connections, so that no deadline has to cover that.

    At an address that is not huggingface.co it has to do without Xet, the storage service of huggingface.co: mirrors
    and self-made Hubs have none, and uploads to them fail unless the client is told so before it is imported.
    """
    if endpoint() != DEFAULT_ENDPOINT:
        os.environ.setdefault(XET_VARIABLE, "1")
    from huggingface_hub import get_session

    get_session()


def require_online(what: str) -> None:
    """Raises OffmarlError if a variable forbids asking the Hub."""
    if (variable := offline()) is not None:
        raise OffmarlError(f"{what}: {variable} is set, so the Hub is not asked; unset it to use the Hub")


def _url(repo: str, path: str, revision: str) -> str:
    from huggingface_hub import hf_hub_url

    return hf_hub_url(repo, path, repo_type=REPO_TYPE, revision=revision, endpoint=endpoint())


def _headers() -> dict[str, str]:
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # exported when asked for

    return {**build_hf_headers(library_name="offmarl-bench"), "Accept-Encoding": "identity"}


def read_small(repo: str, path: str, revision: str, seconds: float = PATIENCE) -> tuple[bytes, str]:
    """A small file's content, and the commit that the revision stands for; one request.

    Raises:
        UnknownName: no such repository, revision or file. OffmarlError: no network, no permission.
        FormatError: larger than anything small.
    """
    require_online(repo)
    prepare()
    with asking(repo):
        from huggingface_hub import get_session, hf_raise_for_status

        with get_session().stream("GET", _url(repo, path, revision), headers=_headers(), timeout=seconds) as answer:
            if answer.is_error:
                answer.read()
            hf_raise_for_status(answer)
            commit = answer.headers.get("X-Repo-Commit") or _first_commit(answer.history)
            content = bytearray()
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > SMALL_BYTES:
                    raise FormatError(f"{repo}/{path} is larger than {SMALL_BYTES} bytes; not a file of ours")
    return bytes(content), commit or revision


def _first_commit(history: Sequence[object]) -> str | None:
    """A redirect carries the commit, what it leads to does not."""
    found = (getattr(a, "headers", {}).get("X-Repo-Commit") for a in history)
    return next((c for c in found if c), None)


def ask(repo: str, path: str, revision: str, seconds: float = PATIENCE) -> Remote:
    """Size, hash and commit of a file without its content.

    Raises:
        UnknownName: no such repository, revision or file. OffmarlError: no network, no permission.
    """
    require_online(repo)
    prepare()
    with asking(repo):
        from huggingface_hub import get_hf_file_metadata

        told = get_hf_file_metadata(_url(repo, path, revision), headers=_headers(), timeout=seconds)
    digest = told.etag or ""
    known = len(digest) in (SHA256_DIGITS, GIT_DIGITS)
    return Remote(repo=repo, path=path, commit=told.commit_hash or revision, size=told.size, digest=digest * known)


def digest_of(path: Path, like: str) -> str:
    """The hash of a file of the kind that ``like`` is: SHA-256, or git's SHA-1."""
    git = len(like) == GIT_DIGITS
    digest = hashlib.sha1(usedforsecurity=False) if git else hashlib.sha256()
    if git:
        digest.update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


@contextmanager
def _alone(partial: Path) -> Iterator[BinaryIO]:
    """The partial file, open at its end; nobody else may write to it."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("ab") as file:
        claim(file, f"downloading {partial}")
        yield file


def _check_room(folder: Path, missing: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < missing:
        raise OffmarlError(
            f"{folder} has {free / 1e6:.1f} MB left, but {missing / 1e6:.1f} MB are to come; free space, or choose "
            "another place with $OFFMARL_HOME"
        )


def download(remote: Remote, target: Path, check: Callable[[Path], None] = lambda _: None) -> Path:
    """Bring a file here, going on with what an earlier attempt left.

    Args:
        remote: what to bring; its hash decides whether what came is right.
        target: where to put it; replaced if it is there.
        check: looks at the file before it gets its name, and raises if it should not.

    Raises:
        FormatError: what came is not what the repository promised; it is thrown away.
        OffmarlError: no network, no permission, no room; what has arrived is kept for the next attempt.
    """
    require_online(remote.repo)
    prepare()
    name = f"{Path(remote.path).name}.{remote.digest[:16] or remote.commit[:16]}.partial"
    partial = target.with_name(f".{name}")
    with asking(remote.repo):
        with _alone(partial) as file:
            _receive(remote, partial, file)
        try:
            _inspect(remote, partial, check)
        except BaseException:
            partial.unlink(missing_ok=True)  # whole and wrong: going on with it would never make it right
            raise
        partial.replace(target)
    return target


def _receive(remote: Remote, partial: Path, file: BinaryIO) -> None:
    from huggingface_hub.file_download import http_get

    have = partial.stat().st_size
    if have and (remote.size is None or have > remote.size):
        file.truncate(0)
        have = 0
    _check_room(partial.parent, (remote.size or 0) - have)
    if have:
        log.info("going on with %s after %.1f of %.1f MB", remote.path, have / 1e6, (remote.size or 0) / 1e6)
    url = _url(remote.repo, remote.path, remote.commit)
    try:
        http_get(
            url, file, resume_size=have, headers=_headers(), expected_size=remote.size,
            displayed_filename=Path(remote.path).name,
        )  # fmt: skip
    except OSError as e:
        if "Consistency check failed" not in str(e):
            raise
        size = partial.stat().st_size
        file.truncate(0)
        raise FormatError(
            f"{remote.repo}/{remote.path}: {size} bytes came, expected {remote.size}; run the same command again"
        ) from e
    file.flush()
    os.fsync(file.fileno())


def _inspect(remote: Remote, partial: Path, check: Callable[[Path], None]) -> None:
    if not remote.digest:
        log.warning("%s/%s: the Hub gives no hash, so only its length was checked", remote.repo, remote.path)
    elif (found := digest_of(partial, remote.digest)) != remote.digest:
        raise FormatError(
            f"{remote.repo}/{remote.path}: what came has the hash {found[:12]}…, expected {remote.digest[:12]}…: "
            "it was damaged on the way or at its source, and is thrown away; run the same command again"
        )
    check(partial)
