"""Versions as tags of the repository: ``vN`` for the map, ``QUALITY-vN`` for one dataset.

A tag ``vN`` shows of every quality the newest version up to N. While N is the highest version that is a commit of
``main``. For a lower N (a quality that joins late) the tag sits on a commit beside ``main`` that differs from it only
by README and manifest; nothing is uploaded twice. A tag ``vN`` moves when a quality joins or comes to a version up to
N (so ``v1`` only ever gains); a tag ``QUALITY-vN`` is set once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from offmarl_bench.errors import UnknownName
from offmarl_bench.hub.bring import read_listing
from offmarl_bench.hub.listing import HubEntry, Listing
from offmarl_bench.hub.place import REPO_TYPE

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

Texts = Callable[[Listing, str], "list[CommitOperationAdd]"]
"""README and manifest for a listing and the tag that shows it."""
BRANCH = "offmarl-bench-{}"
"""Lives while a tag beside ``main`` is made."""


def _targets(api: HfApi, repo: str) -> dict[str, str]:
    return {t.name: t.target_commit for t in api.list_repo_refs(repo, repo_type=REPO_TYPE).tags}


def _shown(listing: Listing, version: int) -> list[str]:
    return [e.id for e in listing.up_to(version).values()]


def _is_right(repo: str, tag: str, listing: Listing, version: int) -> bool:
    try:
        return _shown(read_listing(repo, tag)[0], version) == _shown(listing, version)
    except UnknownName:
        return False


def _beside_main(api: HfApi, repo: str, head: str, tag: str, listing: Listing, texts: Texts) -> str:
    """A commit on top of ``head`` that shows an older state; no branch keeps it, the tag will."""
    branch = BRANCH.format(tag)
    api.create_branch(repo, branch=branch, revision=head, repo_type=REPO_TYPE, exist_ok=True)
    try:
        done = api.create_commit(
            repo, texts(listing, tag), commit_message=f"What {tag} shows", repo_type=REPO_TYPE, revision=branch
        )
        _move(api, repo, tag, done.oid)  # before the branch goes, so that something holds the commit
    finally:
        api.delete_branch(repo, branch=branch, repo_type=REPO_TYPE)
    return done.oid


def _move(api: HfApi, repo: str, tag: str, commit: str) -> None:
    if tag in _targets(api, repo):
        api.delete_tag(repo, tag=tag, repo_type=REPO_TYPE)
    api.create_tag(repo, tag=tag, revision=commit, repo_type=REPO_TYPE)


def set_tags(api: HfApi, repo: str, head: str, listing: Listing, entry: HubEntry, texts: Texts) -> tuple[str, ...]:
    """Make all tags right after ``entry`` came to ``main``, whose newest commit is ``head``.

    Returns:
        The tags that show ``entry``.
    """
    versions = listing.versions()
    for version in versions:
        tag = f"v{version}"
        if tag in _targets(api, repo) and _is_right(repo, tag, listing, version):
            continue
        if version == versions[-1]:
            _move(api, repo, tag, head)
        else:
            _beside_main(api, repo, head, tag, listing.at_most(version), texts)
    own = f"{entry.dataset.quality}-v{entry.dataset.version}"
    targets = _targets(api, repo)
    if own not in targets:
        api.create_tag(repo, tag=own, revision=targets[f"v{entry.dataset.version}"], repo_type=REPO_TYPE)
    showing = [f"v{v}" for v in versions if entry.id in _shown(listing, v)]
    return (own, *showing)
