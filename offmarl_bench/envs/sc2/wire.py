"""Messages between us and a game's process: a JSON object and some arrays, over a local socket. Never pickle."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
_LENGTHS = struct.Struct("<II")
TOKEN = "OFFMARL_SC2_TOKEN"  # noqa: S105  (the name of a variable)
"""Environment variable with the word by which a game's process shows that it is ours."""


def send(link: socket.socket, message: dict[str, Any], arrays: Arrays | None = None) -> None:
    """Send one message. Raises OSError."""
    given = arrays or {}
    parts = [np.ascontiguousarray(a).tobytes() for a in given.values()]
    shapes = [[name, a.dtype.str, list(a.shape)] for name, a in given.items()]
    head = json.dumps({"message": message, "arrays": shapes}).encode()
    body = b"".join(parts)
    link.sendall(_LENGTHS.pack(len(head), len(body)) + head + body)


def receive(link: socket.socket, seconds: float | None = None) -> tuple[dict[str, Any], Arrays]:
    """Wait for one message.

    Args:
        link: a connected socket.
        seconds: how long to wait for the whole of it; None: for ever.

    Raises:
        TimeoutError: it did not come in time. EOFError: the other side has gone. OSError: the connection broke.
    """
    until = None if seconds is None else time.monotonic() + seconds
    head_size, body_size = _LENGTHS.unpack(_exactly(link, _LENGTHS.size, until))
    head = json.loads(_exactly(link, head_size, until))
    body = _exactly(link, body_size, until)
    arrays, at = {}, 0
    for name, kind, shape in head["arrays"]:
        dtype = np.dtype(kind)
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(body, dtype, count, at).reshape(shape).copy()
        at += count * dtype.itemsize
    return head["message"], arrays


def _exactly(link: socket.socket, size: int, until: float | None) -> bytes:
    parts = []
    while size:
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        link.settimeout(left)
        part = link.recv(min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
