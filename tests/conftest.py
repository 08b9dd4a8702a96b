"""What every test starts from: a home of its own, one torch thread, no display, nothing learnt from the caller."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server import HubServer

# Before numba, torch or matplotlib are imported by a test module: two cores are shared by everything.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"
# Tests never ask the real Hub; those about it start `tests.hub_server` and say so.
os.environ |= {"OFFMARL_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """Ctrl-C as at a terminal: a shell that runs the tests in the background makes them ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """The same arithmetic on every machine: sums over one thread."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``$OFFMARL_HOME`` for every test; returned so that a test can look into it."""
    path = tmp_path / "home"
    monkeypatch.setenv("OFFMARL_HOME", str(path))
    return path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub on this machine that this process's client library talks to; nobody is logged in."""
    from huggingface_hub import close_session, constants

    from offmarl_bench.hub import bring

    with HubServer(tmp_path / "hub") as server:
        monkeypatch.delenv("HF_TOKEN", raising=False)
        for name, value in server.environment(tmp_path).items():
            monkeypatch.setenv(name, value)
        # What the library has read from the environment when it was imported, maybe by another test:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(bring, "_silent", {})
        yield server
        close_session()
