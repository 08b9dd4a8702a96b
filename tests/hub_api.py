"""What the loopback Hub answers under ``/api`` and to Git LFS: one function per endpoint."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import parse_qs, quote

from tests.hub_repos import LFS_SUFFIXES, REGULAR_BYTES, Commit, Entry, Hub, Refused, Repo, User, regular

WHEN = "2026-01-01T00:00:00.000Z"
RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass
class Request:
    """One request, its body not read yet."""

    method: str
    path: str
    parts: list[str]
    """Parts of the path, each unquoted by itself: a revision may hold a quoted slash."""
    query: dict[str, str]
    token: str | None
    user: User | None
    range: str | None
    size: int
    stream: BinaryIO
    base: str
    """Where this server is, as the client calls it."""
    named: str = ""
    """The repository's file that this is about, for faults by file name."""
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.size

    def body(self) -> bytes:
        """All of the body."""
        self.left = 0
        return self.stream.read(self.size)

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body() or b"{}")


@dataclass
class Answer:
    """One reply: bytes, or a span of a file."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: Entry | None = None
    span: tuple[int, int] = (0, 0)
    flip: bool = False
    """Change one bit of the body on the way."""
    cut: int | None = None
    """Close the connection after so many bytes,"""
    pause: float = 0.0
    """and so many seconds."""

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        return self.span[1] - self.span[0] if self.file is not None else len(self.body)

    @classmethod
    def of(cls, value: Any, status: int = 200) -> Answer:
        """JSON."""
        return cls(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

    @classmethod
    def error(cls, refused: Refused, headers: dict[str, str] | None = None) -> Answer:
        """What the Hub says no with."""
        told = {"X-Error-Message": refused.message} | ({"X-Error-Code": refused.code} if refused.code else {})
        return cls(refused.status, {**told, **(headers or {})}, json.dumps({"error": refused.message}).encode())

    @classmethod
    def content(cls, entry: Entry, request: Request, headers: dict[str, str]) -> Answer:
        """A file, or the range of it that was asked for."""
        found = RANGE.fullmatch(request.range or "")
        if not found:
            return cls(200, headers, b"", entry, (0, entry.size))
        first, last = found.groups()
        start = int(first) if first else max(0, entry.size - int(last))
        stop = min(entry.size, int(last) + 1) if first and last else entry.size
        if start >= entry.size:
            raise Refused(416, "Range Not Satisfiable")
        return cls(
            206, {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{entry.size}"}, b"", entry, (start, stop)
        )


def _described(path: str, entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "file", "path": path, "size": entry.size, "oid": entry.oid}
    if entry.lfs:  # the Hub gives the git id of the pointer file as oid; nobody looks
        found |= {"oid": entry.oid[:40], "lfs": {"oid": entry.oid, "size": entry.size, "pointerSize": 130}}
    return found


def _info(repo: Repo, commit: Commit, blobs: bool) -> dict[str, Any]:
    siblings = [{"rfilename": p} | (_described(p, e) if blobs else {}) for p, e in sorted(commit.files.items())]
    return {
        "_id": commit.oid[:24], "id": repo.id, "author": repo.id.partition("/")[0], "sha": commit.oid,
        "private": repo.private, "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0,
        "createdAt": WHEN, "lastModified": WHEN, "siblings": siblings,
    }  # fmt: skip


def _tree(commit: Commit, under: str, recursive: bool) -> list[dict[str, Any]]:
    prefix = f"{under}/" if under else ""
    inside = {p: e for p, e in commit.files.items() if p.startswith(prefix)}
    if under and not inside:
        raise Refused(404, f"{under} does not exist on this revision", "EntryNotFound")
    found: dict[str, dict[str, Any]] = {}
    for path, entry in sorted(inside.items()):
        folders = path[len(prefix) :].split("/")[:-1]
        for k in range(1, len(folders) + 1):
            name = prefix + "/".join(folders[:k])
            found.setdefault(name, {"type": "directory", "path": name, "size": 0, "oid": "0" * 40})
        found[path] = _described(path, entry)
    return [d for p, d in found.items() if recursive or "/" not in p[len(prefix) :]]


def _reference(name: str, ref: str, oid: str) -> dict[str, str]:
    return {"name": name, "ref": ref, "targetCommit": oid}


def _refs(repo: Repo, request: Request) -> Answer:
    pulls = [_reference(f"{n}", f"refs/pr/{n}", oid) for n, oid in repo.pulls.items()]
    return Answer.of(
        {
            "branches": [_reference(n, f"refs/heads/{n}", oid) for n, oid in repo.branches.items()],
            "tags": [_reference(n, f"refs/tags/{n}", oid) for n, oid in repo.tags.items()],
            "converts": [],
        }
        | ({"pullRequests": pulls} if request.query.get("include_prs") else {})
    )


def _preupload(repo: Repo, revision: str, request: Request) -> Answer:
    files = repo.resolve(revision).files

    def plan(file: dict[str, Any]) -> dict[str, Any]:
        path = file["path"]
        lfs = path.endswith(LFS_SUFFIXES) or file["size"] > REGULAR_BYTES
        there = files.get(path)
        return {
            "path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False,
            "oid": there.oid if there else None,
        }  # fmt: skip

    return Answer.of({"files": [plan(f) for f in request.json()["files"]]})


def _commit(hub: Hub, repo: Repo, revision: str, request: Request) -> Answer:
    lines = [json.loads(line) for line in request.body().splitlines() if line.strip()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    base = repo.resolve(revision)
    if header.get("parentCommit") not in (None, base.oid):
        raise Refused(412, "A commit has happened since. Please refresh and try again.")
    files = dict(base.files)
    for key, value in ((line["key"], line["value"]) for line in lines):
        if key == "file":
            files[value["path"]] = regular(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if not (hub.store / value["oid"]).is_file():
                raise Refused(400, f"Your push was rejected because an LFS pointer pointed to no file: {value['oid']}")
            files[value["path"]] = Entry((hub.store / value["oid"]).stat().st_size, value["oid"])
        elif key in ("deletedFile", "deletedFolder"):
            gone = [p for p in files if p == value["path"] or p.startswith(value["path"].rstrip("/") + "/")]
            if not gone:
                raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
            for path in gone:
                del files[path]
    commit = repo.add_commit(base.oid, header["summary"], files)
    url = f"{request.base}/{'' if repo.kind == 'model' else repo.kind + 's/'}{repo.id}"
    reply = {"success": True, "commitOid": commit.oid, "commitUrl": f"{url}/commit/{commit.oid}"}
    if request.query.get("create_pr"):
        author = request.user.name if request.user else ""
        number = repo.open_pull(commit.oid, header["summary"], author)
        reply["pullRequestUrl"] = f"{url}/discussions/{number}"
    elif revision.startswith("refs/pr/"):
        repo.pulls[int(revision[8:])] = commit.oid
    elif revision in repo.branches:
        repo.branches[revision] = commit.oid
    else:
        raise Refused(400, f"{revision} is no branch: commits go to branches and pull requests")
    return Answer.of(reply)


def _named(place: dict[str, str], name: str, target: str) -> Answer:
    if name in place:
        raise Refused(409, f"Reference {name} already exists")
    place[name] = target
    return Answer.of({})


def _unnamed(place: dict[str, str], name: str) -> Answer:
    if name not in place:
        raise Refused(404, f"Reference {name} does not exist", "RevisionNotFound")
    del place[name]
    return Answer.of({})


def _pulls(repo: Repo, request: Request) -> Answer:
    found = [
        {
            "num": n, "title": title, "author": {"name": author}, "createdAt": WHEN, "status": status,
            "repo": {"name": repo.id, "type": repo.kind}, "isPullRequest": True,
        }
        for n, (title, author, status) in repo.titles.items()
    ]  # fmt: skip
    return Answer.of({"count": len(found), "start": 0, "discussions": found})


def _merge(repo: Repo, number: int) -> Answer:
    title, author, _ = repo.titles[number]
    head = repo.commits[repo.pulls[number]]
    merged = repo.add_commit(repo.branches["main"], title, {**repo.resolve("main").files, **head.files})
    repo.branches["main"] = merged.oid
    repo.titles[number] = (title, author, "merged")
    return Answer.of({})


def _batch(hub: Hub, request: Request) -> Answer:
    def plan(item: dict[str, Any]) -> dict[str, Any]:
        if (hub.store / item["oid"]).is_file():
            return {"oid": item["oid"], "size": item["size"]}
        return {**item, "actions": {"upload": {"href": f"{request.base}/lfs/{item['oid']}"}}}

    return Answer.of({"transfer": "basic", "objects": [plan(i) for i in request.json()["objects"]]})


def _create(hub: Hub, request: Request) -> Answer:
    asked, user = request.json(), request.user
    if user is None:
        raise Refused(401, "Invalid username or password.")
    repo_id = f"{asked.get('organization') or user.name}/{asked['name']}"
    if not user.writes or not user.owns(repo_id):
        raise Refused(403, f"You don't have the rights to create a repository under the namespace {repo_id!r}.")
    kind = asked.get("type") or "model"
    url = f"{request.base}/{'' if kind == 'model' else kind + 's/'}{repo_id}"
    if (kind, repo_id) in hub.repos:
        return Answer.of({"error": f"You already created this {kind} repo", "url": url}, 409)
    hub.create(kind, repo_id, bool(asked.get("private")) or asked.get("visibility") == "private")
    return Answer.of({"url": url, "name": repo_id, "id": repo_id})


def _logged(commit: Commit) -> dict[str, Any]:
    return {"id": commit.oid, "title": commit.title, "message": "", "date": WHEN, "authors": []}


def _repository(hub: Hub, kind: str, rest: list[str], request: Request) -> Answer:
    """``/api/datasets/owner/name/…``."""
    repo_id, what, more = "/".join(rest[:2]), rest[2] if len(rest) > 2 else "", rest[3:]
    if request.method == "GET" or what == "paths-info":
        repo = hub.readable(kind, repo_id, request.user)
        readers: dict[str, Callable[[], Answer]] = {
            "": lambda: Answer.of(_info(repo, repo.resolve("main"), bool(request.query.get("blobs")))),
            "revision": lambda: Answer.of(_info(repo, repo.resolve(more[0]), bool(request.query.get("blobs")))),
            "tree": lambda: Answer.of(
                _tree(
                    repo.resolve(more[0]),
                    "/".join(more[1:]),
                    request.query.get("recursive", "").lower() in ("true", "1"),
                )
            ),
            "refs": lambda: _refs(repo, request),
            "commits": lambda: Answer.of(
                [
                    {"id": c.oid, "title": c.title, "message": "", "date": WHEN, "authors": []}
                    for c in repo.history(more[0])
                ]
            ),
            "paths-info": lambda: _paths(repo.resolve(more[0]), request),
            "discussions": lambda: _pulls(repo, request),
        }
        if what in readers:
            return readers[what]()
    else:
        pull = bool(request.query.get("create_pr")) or (bool(more) and more[0].startswith("refs/pr/"))
        repo = hub.writable(kind, repo_id, request.user, pull)
        writers: dict[tuple[str, str], Callable[[], Answer]] = {
            ("POST", "preupload"): lambda: _preupload(repo, more[0], request),
            ("POST", "commit"): lambda: _commit(hub, repo, more[0], request),
            ("POST", "tag"): lambda: _named(repo.tags, request.json()["tag"], repo.resolve(more[0]).oid),
            ("DELETE", "tag"): lambda: _unnamed(repo.tags, "/".join(more)),
            ("POST", "branch"): lambda: _named(
                repo.branches, "/".join(more), repo.resolve(request.json().get("startingPoint", "main")).oid
            ),
            ("DELETE", "branch"): lambda: _unnamed(repo.branches, "/".join(more)),
            ("POST", "discussions"): lambda: _merge(repo, int(more[0])),
        }
        if (request.method, what) in writers:
            return writers[request.method, what]()
    raise Refused(404, f"this Hub has no {request.method} {request.path}")


def _paths(commit: Commit, request: Request) -> Answer:
    wanted = parse_qs(request.body().decode()).get("paths", [])
    return Answer.of([_described(p, commit.files[p]) for p in wanted if p in commit.files])


def answer_api(hub: Hub, request: Request) -> Answer:
    """The reply to anything that is not a file. Raises Refused."""
    parts = request.parts
    if parts[0] == "lfs" and request.method == "PUT":
        hub.receive(parts[1], request.stream, request.size)
        request.left = 0
        return Answer.of({})
    if parts[-3:] == ["lfs", "objects", "batch"]:
        if request.user is None:
            raise Refused(401, "Invalid username or password.")
        return _batch(hub, request)
    if parts[0] == "api":
        if parts[1] == "whoami-v2":
            if request.user is None:
                raise Refused(401, "Invalid username or password.")
            return Answer.of(
                {"type": "user", "name": request.user.name, "orgs": [{"name": o} for o in request.user.orgs]}
            )
        if parts[1:3] == ["repos", "create"]:
            return _create(hub, request)
        if parts[1] == "validate-yaml":
            return Answer.of({"errors": [], "warnings": []})
        if parts[1] in ("datasets", "models", "spaces") and len(parts) >= 4:
            return _repository(hub, parts[1][:-1], parts[2:], request)
    raise Refused(404, f"this Hub has no {request.method} {quote(request.path)}")
