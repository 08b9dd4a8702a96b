"""Repositories as the Hugging Face Hub keeps them: commits, branches, tags, pull requests, users and large files.

What `hub_server` serves. Small files live in memory; large ones ("LFS") in a folder, so that a test may push a big one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

LFS_SUFFIXES = (".h5", ".hdf5", ".npz", ".npy", ".safetensors", ".onnx", ".bin", ".zip", ".png")
"""As in the ``.gitattributes`` that the Hub puts into a new repository."""
REGULAR_BYTES = 10 * 2**20
"""Larger files are LFS whatever they are called."""
PIECE = 1 << 20

Key = tuple[str, str]
"""``("dataset" | "model" | "space", "owner/name")``."""


class Refused(Exception):
    """An answer that is not 200: status, the Hub's ``X-Error-Code`` if there is one, and words."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class User:
    """Whom a token stands for."""

    name: str
    orgs: tuple[str, ...] = ()
    """Organisations whose repositories it may write."""
    writes: bool = True
    """False: a token with the role "read"."""

    def owns(self, repo_id: str) -> bool:
        """Whether the repository is in one of its namespaces."""
        return repo_id.partition("/")[0] in (self.name, *self.orgs)


@dataclass(frozen=True)
class Entry:
    """One file in one commit."""

    size: int
    oid: str
    """Git's SHA-1 of a regular file; the SHA-256 of an LFS one."""
    content: bytes | None = None
    """None: LFS, look into the store."""

    @property
    def lfs(self) -> bool:
        """Whether the content lies in the store."""
        return self.content is None


@dataclass(frozen=True)
class Commit:
    """A tree, and how it came about."""

    oid: str
    parent: str | None
    title: str
    files: dict[str, Entry]


@dataclass
class Repo:
    """One repository."""

    kind: str
    id: str
    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: dict[int, str] = field(default_factory=dict)
    """Pull request → its head commit, ``refs/pr/N``."""
    titles: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    """Pull request → title, author, status."""

    def resolve(self, revision: str) -> Commit:
        """A branch, tag, ``refs/pr/N`` or full commit id. Raises Refused."""
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        oid = self.branches.get(name) or self.tags.get(name) or revision
        if revision.startswith("refs/pr/") and revision[8:].isdigit():
            oid = self.pulls.get(int(revision[8:]), oid)
        if oid not in self.commits:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[oid]

    def file(self, revision: str, path: str) -> tuple[Commit, Entry]:
        """One file. Raises Refused."""
        commit = self.resolve(revision)
        if path not in commit.files:
            raise Refused(404, f"Entry not found: {path}", "EntryNotFound")
        return commit, commit.files[path]

    def add_commit(self, parent: str | None, title: str, files: dict[str, Entry]) -> Commit:
        """A new commit that no name points to yet."""
        tree = sorted((path, entry.oid) for path, entry in files.items())
        name = hashlib.sha1(json.dumps([parent, title, tree, len(self.commits)]).encode(), usedforsecurity=False)
        oid = name.hexdigest()
        self.commits[oid] = Commit(oid, parent, title, files)
        return self.commits[oid]

    def history(self, revision: str) -> list[Commit]:
        """Commits from this one back to the first."""
        found: list[Commit] = []
        at: str | None = self.resolve(revision).oid
        while at is not None:
            found.append(self.commits[at])
            at = found[-1].parent
        return found

    def open_pull(self, head: str, title: str, author: str) -> int:
        """A pull request with this head commit."""
        number = len(self.titles) + 1
        self.pulls[number], self.titles[number] = head, (title, author, "open")
        return number


def regular(content: bytes) -> Entry:
    """A small file, with the id that git gives it."""
    digest = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return Entry(len(content), digest.hexdigest(), content)


class Hub:
    """All repositories, users and large files."""

    def __init__(self, store: Path) -> None:
        self.store = store
        store.mkdir(parents=True, exist_ok=True)
        self.repos: dict[Key, Repo] = {}
        self.users: dict[str, User] = {}
        """Token → user."""

    def add_user(self, token: str, name: str, *orgs: str, writes: bool = True) -> str:
        """A user with a token; returned to be put into ``HF_TOKEN``."""
        self.users[token] = User(name, orgs, writes)
        return token

    def create(self, kind: str, repo_id: str, private: bool = False) -> Repo:
        """A new repository with a first commit, as the Hub makes it. Raises Refused."""
        if (kind, repo_id) in self.repos:
            raise Refused(409, f"You already created this {kind} repo: {repo_id}")
        repo = self.repos[kind, repo_id] = Repo(kind, repo_id, private)
        attributes = "".join(f"*{s} filter=lfs diff=lfs merge=lfs -text\n" for s in LFS_SUFFIXES)
        first = repo.add_commit(None, "initial commit", {".gitattributes": regular(attributes.encode())})
        repo.branches["main"] = first.oid
        return repo

    def put(self, kind: str, repo_id: str, path: str, content: bytes) -> None:
        """A file on ``main``, without asking anybody: for tests that start from a state."""
        repo = self.repos[kind, repo_id]
        entry = regular(content)
        if path.endswith(LFS_SUFFIXES):
            oid = hashlib.sha256(content).hexdigest()
            (self.store / oid).write_bytes(content)
            entry = Entry(len(content), oid)
        head = repo.resolve("main")
        repo.branches["main"] = repo.add_commit(head.oid, f"Add {path}", {**head.files, path: entry}).oid

    def readable(self, kind: str, repo_id: str, user: User | None) -> Repo:
        """The repository if it is there for this user. Raises Refused, in the Hub's misleading way: a stranger who
        asks for what does not exist is told to log in.
        """
        repo = self.repos.get((kind, repo_id))
        if repo is not None and (not repo.private or (user is not None and user.owns(repo_id))):
            return repo
        if user is None:
            raise Refused(401, "Invalid username or password.")
        raise Refused(404, "Repository not found", "RepoNotFound")

    def writable(self, kind: str, repo_id: str, user: User | None, pull: bool = False) -> Repo:
        """The same for writing; with ``pull`` a stranger's token is enough. Raises Refused."""
        if user is None:
            raise Refused(401, "Invalid username or password.")
        repo = self.readable(kind, repo_id, user)
        if not user.writes or not (pull or user.owns(repo_id)):
            raise Refused(403, "You don't have the rights to write to this repository with this token.")
        return repo

    def receive(self, oid: str, source: BinaryIO, size: int) -> None:
        """Take an LFS object. Raises Refused if it is not what its name says."""
        digest, left = hashlib.sha256(), size
        with (self.store / f"{oid}.part").open("wb") as out:
            while left and (piece := source.read(min(PIECE, left))):
                digest.update(piece)
                out.write(piece)
                left -= len(piece)
        if left or digest.hexdigest() != oid:
            raise Refused(400, "the object does not have the hash that it was announced with")
        (self.store / f"{oid}.part").replace(self.store / oid)

    def bytes_of(self, entry: Entry, start: int, stop: int) -> bytes:
        """Part of a file's content."""
        if entry.content is not None:
            return entry.content[start:stop]
        with (self.store / entry.oid).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)
