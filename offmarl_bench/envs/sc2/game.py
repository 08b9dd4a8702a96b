"""Our end of one game's process: start it, ask, wait with a deadline, kill it with everything it started."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

from offmarl_bench.envs.sc2.options import Options
from offmarl_bench.envs.sc2.wire import TOKEN, Arrays, receive, send
from offmarl_bench.envs.sc2.worker import HOST
from offmarl_bench.errors import OffmarlError

TOKEN_BYTES = 16
LOOK_AGAIN = 0.2
"""Seconds between two looks at whether a process that is starting is still there."""
SHOWN = 300
"""Characters of what a lost process said last."""


class GameLost(OffmarlError):
    """The game's process has gone, hangs, or says that its game is lost; a new one may do better."""


class Game:
    """One process with one game."""

    def __init__(self, map_name: str, max_reward: float, options: Options) -> None:
        """Raises GameLost: the process did not start. OffmarlError: it cannot be made to work here at all."""
        self._map, self._options = map_name, options
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the game)
        self._link: socket.socket | None = None
        token = secrets.token_hex(TOKEN_BYTES)
        with socket.create_server((HOST, 0)) as server:
            self._process = subprocess.Popen(  # noqa: S603  (this very Python)
                [sys.executable, "-m", "offmarl_bench.envs.sc2.worker", str(server.getsockname()[1])],
                env=os.environ | {TOKEN: token, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
                stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
                start_new_session=True,  # so that the game can be killed with its process, and Ctrl-C is ours alone
            )  # fmt: skip
            self._link = self._accept(server, token)
        self.ask({"make": options.make, "map": map_name, "max_reward": max_reward})
        self.answer(options.start_seconds)

    def _accept(self, server: socket.socket, token: str) -> socket.socket:
        until = time.monotonic() + self._options.start_seconds
        server.settimeout(LOOK_AGAIN)
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(TimeoutError):
                link, _ = server.accept()
                link.settimeout(self._options.start_seconds)
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if hmac.compare_digest(link.recv(len(token)), token.encode()):
                    return link
                link.close()
        reason = self._last_words() or "its process did not start"
        self.kill()
        raise GameLost(reason)

    def ask(self, message: dict[str, Any], arrays: Arrays | None = None) -> None:
        """Send a wish; the answer is fetched by ``answer``. Raises GameLost."""
        try:
            if self._link is None:
                raise EOFError
            send(self._link, message, arrays)
        except (OSError, EOFError) as e:
            raise self._gone() from e

    def answer(self, seconds: float) -> tuple[dict[str, Any], Arrays]:
        """Wait for the answer to the last wish.

        Raises:
            GameLost: it is gone; the process is dead. OffmarlError: a new game would do no better.
        """
        try:
            if self._link is None:
                raise EOFError
            said, arrays = receive(self._link, seconds)
        except TimeoutError as e:
            self.kill()
            raise GameLost(f"no answer within {seconds:g} s") from e
        except (OSError, EOFError) as e:
            raise self._gone() from e
        if "broken" in said:
            self.kill()
            raise OffmarlError(
                f"smac-sc2/{self._map}: {self._options.make} cannot be used: {said['broken']}; see docs/sc2.md"
            )
        if "lost" in said:
            self.kill()
            raise GameLost(said["lost"])
        return said, arrays

    def _gone(self) -> GameLost:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LOOK_AGAIN)
        code, words = self._process.poll(), self._last_words()
        self.kill()
        return GameLost(f"its process ended with code {code}{': ' + words if words else ''}")

    def _last_words(self) -> str:
        """The last line that the process printed."""
        with contextlib.suppress(OSError, ValueError):
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines()
            return lines[-1][:SHOWN] if lines else ""
        return ""

    def kill(self) -> None:
        """End the process and the game that it started, whatever they are doing."""
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._process.poll() is None or sys.platform != "win32":
            with contextlib.suppress(OSError):
                if sys.platform == "win32":
                    self._process.kill()
                else:  # its session is a process group of its own
                    os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LOOK_AGAIN)
        self._log.close()

    def close(self) -> None:
        """Let the game end by itself, for a moment; then kill it."""
        if self._link is not None:
            self._link.close()
            self._link = None
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2.0)
        self.kill()
