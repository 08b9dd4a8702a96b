"""Datasets from the Hub: by id into the datasets folder, or any file by its ``hf://`` address."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from offmarl_bench.atomic import write_atomic
from offmarl_bench.errors import FormatError, OffmarlError, UnknownName
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.hub.listing import NAME, HubEntry, Listing, parse_listing
from offmarl_bench.hub.place import MAIN, HubFile, check_repo, endpoint, is_commit, offline, parse_hub_file, repository
from offmarl_bench.hub.transfer import PATIENCE, Remote, ask, download, prepare, read_small
from offmarl_bench.ids import DatasetId, parse_dataset_id, path_of
from offmarl_bench.manifest import published

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOKUP_SECONDS = 1.2
"""A look whether the Hub has a dataset that nobody said to download may take this long, name resolution included."""
FORGET_SECONDS = 60.0
"""Whoever did not answer is not asked again for so long."""
_silent: dict[str, float] = {}
"""Hub address → when it last did not answer."""


def read_listing(repo: str, revision: str = MAIN, seconds: float = PATIENCE) -> tuple[Listing, str]:
    """What a repository holds, and the commit that the revision stands for.

    Raises:
        UnknownName: no such repository or revision, or nothing in it that `push` has put there.
        FormatError: a damaged manifest. OffmarlError: no network, no permission.
    """
    content, commit = read_small(repo, NAME, revision, seconds)
    return parse_listing(content, f"{repo}/{NAME}"), commit


def remote_versions(env_id: str, *, repo: str | None = None) -> list[str]:
    """Ids of the datasets of one map that are on the Hub, sorted; empty if its repository does not exist.

    Raises:
        OffmarlError: the Hub cannot be reached, or may not be asked; then the other maps need not be tried.
        FormatError: a damaged repository.
    """
    try:
        return read_listing(repo or repository(env_id))[0].ids()
    except UnknownName:
        return []


def pull(dataset: str, *, repo: str | None = None, revision: str = MAIN, overwrite: bool = False) -> Path:
    """Bring a dataset from the Hub into the datasets folder; an interrupted one goes on where it stopped.

    Args:
        dataset: ``suite/map/quality[-vN]``; without ``-vN`` the newest of that revision.
        repo: ``OWNER/NAME``; None means the place of its map.
        revision: branch, tag (``v1``, ``low-v1``) or commit.
        overwrite: replace a dataset of that id that is here and says something else.

    Returns:
        The file. If it is here already with the same content, nothing is downloaded.

    Raises:
        UnknownName: no such repository, revision or dataset in it.
        FormatError: what came is damaged or not what it is called.
        OffmarlError: no network, no permission, no room, or another dataset is in the way.
    """
    wanted = parse_dataset_id(dataset)
    place = check_repo(repo) if repo else repository(wanted.env_id)
    listing, commit = read_listing(place, revision)
    return _bring(listing.find(wanted, f"{place}@{revision}"), place, commit, overwrite, own=repo is None)


def _bring(entry: HubEntry, repo: str, commit: str, overwrite: bool = False, *, own: bool = True) -> Path:
    target = path_of(entry.dataset)
    _compare_with_published(entry, repo, own)
    if target.exists():
        if _said(target).get("content_hash") == entry.content_hash:
            log.info("%s is here already with the same content: nothing to do", target)
            return target
        if not overwrite:
            raise OffmarlError(f"{target} is here and is not what {repo} holds; move it away, or use --overwrite")

    def check(path: Path) -> None:
        said = _said(path)
        if (said.get("dataset_id"), said.get("content_hash")) != (entry.id, entry.content_hash):
            raise FormatError(
                f"{repo}/{entry.path} calls itself {said.get('dataset_id')!r}, with content hash "
                f"{str(said.get('content_hash'))[:12]}…; its manifest says {entry.id!r}, {entry.content_hash[:12]}…; "
                "tell whoever filled the repository"
            )

    remote = Remote(repo=repo, path=entry.path, commit=commit, size=entry.size, digest=entry.sha256)
    return download(remote, target, check)


def _said(path: Path) -> dict[str, object]:
    return read_metadata(path)[1]


def _compare_with_published(entry: HubEntry, repo: str, own: bool) -> None:
    """The package knows what its published versions hold; a repository that says otherwise is not ours."""
    known = published().get(entry.id)
    if known is None or known.content_hash == entry.content_hash:
        return
    what = (
        f"{repo} has another {entry.id} than the published one ({entry.content_hash[:12]}…, {known.content_hash[:12]}…)"
    )
    if own:
        raise FormatError(f"{what}; generate it instead, or say --repo {repo} to take it nevertheless")
    log.warning("%s", what)


def _within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call, or TimeoutError: a name server that is away blocks longer than any timeout can say."""
    done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            done.put((call(), None))
        except BaseException as e:  # handed over to the caller below
            done.put((None, e))

    threading.Thread(target=work, daemon=True, name="offmarl-hub-lookup").start()
    try:
        result, error = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def pull_if_there(wanted: DatasetId) -> tuple[Path | None, str]:
    """Bring a dataset that is not here if the Hub has it; a Hub that is silent costs little, and only once.

    Args:
        wanted: with or without a version.

    Returns:
        The file and an empty text; or None and, if the Hub was asked, why not.

    Raises:
        OffmarlError: it is there and could not be brought.
    """
    if offline() is not None or time.monotonic() - _silent.get(endpoint(), -FORGET_SECONDS) < FORGET_SECONDS:
        return None, ""
    repo = repository(wanted.env_id)
    try:
        prepare()
        listing, commit = _within(LOOKUP_SECONDS, lambda: read_listing(repo, seconds=LOOKUP_SECONDS))
        entry = listing.find(wanted, repo)
    except UnknownName:
        return None, f"Nor is it on the Hub ({endpoint()}/datasets/{repo})."
    except (OffmarlError, TimeoutError) as e:
        _silent[endpoint()] = time.monotonic()
        return None, f"The Hub could not be asked: {str(e).partition(';')[0]}."
    log.info("%s is not on this machine: taking it from %s/datasets/%s", entry.id, endpoint(), repo)
    return _bring(entry, repo, commit), ""


def fetch(address: str) -> Path:
    """The local copy of ``hf://OWNER/NAME[@REVISION]/PATH.h5``, downloaded if it is not here.

    A commit is looked up here first. Of anything else the Hub says which commit it is now; if the Hub cannot be
    reached, the copy that it was last time is taken, and that is logged.

    Raises:
        FormatError: not such an address, or what came is damaged. UnknownName: no such repository, revision or file.
        OffmarlError: no network, no permission, no room.
    """
    wanted = parse_hub_file(address)
    pinned = _kept(wanted, wanted.revision)
    if is_commit(wanted.revision) and pinned.is_file():
        return pinned
    note = wanted.folder() / "refs" / quote(wanted.revision, safe="")
    try:
        remote = ask(wanted.repo, wanted.path, wanted.revision)
    except UnknownName:
        raise
    except OffmarlError as e:
        last = note.read_text(encoding="ascii").strip() if note.is_file() else ""
        if not is_commit(last) or not _kept(wanted, last).is_file():
            raise
        log.warning("%s; taking what %s was last time, commit %s", e, address, last[:12])
        return _kept(wanted, last)
    if not is_commit(remote.commit):
        raise FormatError(f"{address}: the Hub names no commit for revision {wanted.revision!r}; is HF_ENDPOINT a Hub?")
    target = _kept(wanted, remote.commit)
    if not target.is_file():
        download(remote, target)
    write_atomic(note, remote.commit.encode())
    return target


def _kept(file: HubFile, commit: str) -> Path:
    return file.folder() / commit / file.path
