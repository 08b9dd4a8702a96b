"""The Hugging Face Hub's HTTP API on 127.0.0.1, for the unmodified clients `huggingface_hub` and `datasets`.

    with HubServer(tmp_path) as hub:
        token = hub.add_user("hf_me", "me", "some-org")
        subprocess.run(..., env={**os.environ, **hub.environment(tmp_path, token)})

Clients read ``HF_ENDPOINT`` when they are imported, hence the subprocess. Answers follow what the clients were seen to
need; like the real Hub it sends LFS files by a redirect to another host name (here ``localhost``). Faults are put on
with ``corrupt``, ``cut``, ``refuse`` and ``hang``; ``hub.seen`` tells what was asked.
"""

from __future__ import annotations

import fnmatch
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tests.hub_api import Answer, Request, answer_api
from tests.hub_repos import PIECE, Entry, Hub, Refused

Fault = Callable[[Request, Answer], Answer]


@dataclass(frozen=True)
class Seen:
    """One request as the server saw it."""

    method: str
    path: str
    range: str | None
    token: str | None
    status: int


@dataclass
class _Planned:
    pattern: str
    times: int
    fault: Fault
    bodies: bool
    """Only where a file's content is on its way."""

    def fits(self, request: Request, reply: Answer) -> bool:
        """Whether it is meant."""
        if self.bodies and (request.method != "GET" or reply.file is None):
            return False
        return any(fnmatch.fnmatch(name, self.pattern) for name in (request.named, request.path) if name)


class HubServer(Hub):
    """The server; a context manager."""

    def __init__(self, folder: Path, redirect: bool = True) -> None:
        super().__init__(folder / "lfs")
        self.redirect = redirect
        """Send LFS files by way of another host name, as the real Hub does."""
        self.seen: list[Seen] = []
        self.faults: list[_Planned] = []
        self.lock = threading.RLock()
        self.leaving = threading.Event()
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self.port = int(self._http.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leaving.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def environment(self, folder: Path, token: str | None = None) -> dict[str, str]:
        """Variables that send a client process here and keep all it stores in ``folder``."""
        found = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_DISABLE_XET": "1",  # hf_xet speaks to servers of its own, which this is not
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            "OFFMARL_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
        return found | ({"HF_TOKEN": token} if token else {})

    def _plan(self, pattern: str, times: int, fault: Fault, bodies: bool = False) -> None:
        self.faults.append(_Planned(pattern, times, fault, bodies))

    def corrupt(self, pattern: str, times: int = 1_000_000) -> None:
        """Flip one bit in the middle of the bodies of files whose path fits; sizes and headers stay right."""

        def fault(_: Request, answer: Answer) -> Answer:
            return Answer(answer.status, answer.headers, answer.body, answer.file, answer.span, flip=True)

        self._plan(pattern, times, fault, bodies=True)

    def cut(self, pattern: str, after: int, times: int = 1) -> None:
        """Close the connection after so many bytes of a body."""

        def fault(_: Request, answer: Answer) -> Answer:
            return Answer(answer.status, answer.headers, answer.body, answer.file, answer.span, cut=after)

        self._plan(pattern, times, fault, bodies=True)

    def stall(self, pattern: str, after: int, seconds: float, times: int = 1) -> None:
        """Send so many bytes of a body, then nothing for a while: time to kill a client."""

        def fault(_: Request, answer: Answer) -> Answer:
            reply = Answer(answer.status, answer.headers, answer.body, answer.file, answer.span, cut=after)
            reply.pause = seconds
            return reply

        self._plan(pattern, times, fault, bodies=True)

    def refuse(self, pattern: str, status: int, message: str = "refused by the test", times: int = 1_000_000) -> None:
        """Answer requests whose path fits with an error."""

        def fault(_: Request, __: Answer) -> Answer:
            return Answer.error(Refused(status, message))

        self._plan(pattern, times, fault)

    def hang(self, pattern: str, seconds: float, times: int = 1_000_000) -> None:
        """Answer late."""

        def fault(_: Request, answer: Answer) -> Answer:
            time.sleep(seconds)
            return answer

        self._plan(pattern, times, fault)

    def heal(self) -> None:
        """Take all faults away."""
        self.faults.clear()

    def answer(self, request: Request) -> Answer:
        """What to reply, faults included."""
        with self.lock:
            try:
                reply = self._file(request) or answer_api(self, request)
            except Refused as refused:
                reply = Answer.error(refused)
            except (LookupError, ValueError) as e:  # a request that this Hub does not understand
                reply = Answer.error(Refused(500, f"{request.method} {request.path}: {e!r}"))
            due = [f for f in self.faults if f.times and f.fits(request, reply)]
            for planned in due:
                planned.times -= 1
        for planned in due:
            reply = planned.fault(request, reply)
        self.seen.append(Seen(request.method, request.path, request.range, request.token, reply.status))
        return reply

    def _file(self, request: Request) -> Answer | None:
        """``/[datasets/]owner/name/resolve/REV/PATH`` and, for LFS files, ``/cdn/…``; None for anything else."""
        parts = request.parts
        if request.token is not None and request.user is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        if parts[0] == "cdn" and request.method in ("GET", "HEAD"):
            request.named = parts[4]
            entry = self.repos[parts[1], parts[2]].commits[parts[3]].files[parts[4]]
            return Answer.content(entry, request, {"ETag": f'"{entry.oid}"'})
        kind = {"datasets": "dataset", "spaces": "space"}.get(parts[0], "model")
        rest = parts if kind == "model" else parts[1:]
        if len(rest) < 5 or rest[2] != "resolve" or request.method not in ("GET", "HEAD"):
            return None
        repo = self.readable(kind, "/".join(rest[:2]), request.user)
        path = request.named = "/".join(rest[4:])
        try:
            commit, entry = repo.file(rest[3], path)
        except Refused as refused:
            at = {"X-Repo-Commit": repo.resolve(rest[3]).oid} if refused.code == "EntryNotFound" else {}
            return Answer.error(refused, at)
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{entry.oid}"', "Accept-Ranges": "bytes"}
        if not (entry.lfs and self.redirect):
            return Answer.content(entry, request, headers)
        place = "/".join(quote(p, safe="") for p in (kind, repo.id, commit.oid, path))
        linked = {"X-Linked-Size": str(entry.size), "X-Linked-ETag": f'"{entry.oid}"'}
        location = {"Location": f"http://localhost:{self.port}/cdn/{place}"}
        return Answer(302, {**headers, **linked, **location}, b"Found. Redirecting")


class _Handler(BaseHTTPRequestHandler):
    """Reads one request, writes one answer."""

    server_hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else small answers wait 40 ms for an acknowledgement
    wbufsize = -1

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: ``seen`` tells."""

    def _serve(self) -> None:
        hub = self.server_hub
        if hub.leaving.is_set():  # a connection that was kept open: nobody is here any more
            self.close_connection = True
            return
        address = urlsplit(self.path)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        size = int(self.headers.get("Content-Length") or 0)
        request = Request(
            method=self.command,
            path=unquote(address.path),
            parts=[unquote(p) for p in address.path.strip("/").split("/")],
            query=dict(parse_qsl(address.query)),
            token=token,
            user=hub.users.get(token) if token else None,
            range=self.headers.get("Range"),
            size=size,
            stream=cast(BinaryIO, self.rfile),
            base=hub.url,
        )
        answer = hub.answer(request)
        if request.left:  # an answer that did not need the body: the connection is of no further use
            self.close_connection = True
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        length = answer.length
        self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self._body(answer, length)

    def _body(self, answer: Answer, length: int) -> None:
        entry = answer.file or Entry(len(answer.body), "", answer.body)
        start = answer.span[0] if answer.file else 0
        stop = length if answer.cut is None else min(length, answer.cut)
        for at in range(0, stop, PIECE):
            piece = bytearray(self.server_hub.bytes_of(entry, start + at, start + min(at + PIECE, stop)))
            if answer.flip and at <= length // 2 < at + len(piece):
                piece[length // 2 - at] ^= 1
            self.wfile.write(piece)
        if stop < length:
            self.wfile.flush()
            self.server_hub.leaving.wait(answer.pause)
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  (names that http.server calls)
