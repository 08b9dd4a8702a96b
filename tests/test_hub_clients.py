"""The whole way with unmodified programs in processes of their own: our command line, `datasets`, `huggingface_hub`.

A client reads where its Hub is when it is imported, so these are the tests that prove that nothing was patched.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hub_case import ENV, REPO, dataset_file, downloads, fill
from tests.hub_server import HubServer

LIMIT = 120
"""Seconds that a client may take on a busy machine."""
MEGABYTE = 1 << 20


@dataclass
class Clients:
    """A Hub with two datasets, and how to start programs that use it."""

    hub: HubServer
    folder: Path
    token: str

    def environment(self, token: bool = True) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        mine = self.hub.environment(self.folder, self.token if token else None)
        return {**clean, **mine, "OFFMARL_HOME": str(self.folder / "home"), "OMP_NUM_THREADS": "1"}

    def run(self, *command: str, token: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command], env=self.environment(token), capture_output=True, text=True, timeout=LIMIT
        )

    def offmarl(self, *arguments: str, token: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "offmarl_bench", *arguments, token=token)


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    folder = tmp_path_factory.mktemp("clients")
    with HubServer(folder / "hub") as hub:
        yield Clients(hub, folder, hub.add_user("hf_me", "me", "offmarl-bench"))


@pytest.fixture(scope="module")
def pushed(clients: Clients) -> Path:
    """The file that the command line has pushed."""
    path = dataset_file(clients.folder, "low-v1", 12)
    done = clients.offmarl("push", str(path), "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "no bars where nobody watches"
    said = json.loads(done.stdout)
    assert (said["id"], said["repo"], said["tags"]) == (f"{ENV}/low-v1", REPO, ["low-v1", "v1"])
    pictures = [p for p in clients.hub.repos["dataset", REPO].resolve("v1").files if p.endswith(".png")]
    assert pictures, "the card has its pictures"
    return path


DATASETS = """
import json, sys
import h5py, numpy as np
from datasets import get_dataset_config_names, load_dataset
from huggingface_hub import HfFileSystem, hf_hub_download
repo, path = sys.argv[1:]
with h5py.File(path) as file:
    local = {name: file[name][()] for name in file}
rows = load_dataset(repo, "low", revision="v1", split="train")
found = rows.with_format("numpy")[:]  # which makes int64 of all integers: the types are those of the features
kind = {n: np.dtype(getattr(f, "dtype", None) or f.feature.dtype) for n, f in rows.features.items()}
same = {n: kind[n] == v.dtype and np.asarray(found[n], v.dtype).tobytes() == v.tobytes() for n, v in local.items()}
stream = load_dataset(repo, "low", revision="low-v1", split="train", streaming=True)
streamed = {n: [] for n in local}
for row in stream.with_format("numpy"):
    for name in streamed:
        streamed[name].append(row[name])
equal = {n: np.array_equal(np.asarray(v, local[n].dtype), local[n]) for n, v in streamed.items()}
with h5py.File(HfFileSystem().open(f"datasets/{repo}/low/low-v1.h5")) as file:
    far = int(file["timestep"][8])
print(json.dumps({
    "configs": get_dataset_config_names(repo), "same": same, "streamed": equal, "known": list(stream.features),
    "default": len(load_dataset(repo, split="train")), "far": far,
    "file": hf_hub_download(repo, "low/low-v1.h5", repo_type="dataset"),
}))
"""


def test_load_dataset_reads_what_was_pushed_with_no_script(clients: Clients, pushed: Path) -> None:
    done = clients.run("-c", DATASETS, REPO, str(pushed), token=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["configs"] == ["low"]
    assert len(said["same"]) == len(said["known"]) == 13
    assert all(said["same"].values()), said["same"]
    assert all(said["streamed"].values()), said["streamed"]
    assert (said["default"], said["far"]) == (12 * 9, 8)
    assert Path(said["file"]).read_bytes() == pushed.read_bytes()
    assert "206" in {str(status) for _, status in downloads(clients.hub)}, "streaming asks for ranges"


def test_the_command_line_pulls_and_says_what_is_wrong_in_one_line(clients: Clients, pushed: Path) -> None:
    done = clients.offmarl("pull", f"{ENV}/low", "--revision", "v1", token=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == pushed.read_bytes()
    wrong = clients.offmarl("pull", f"{ENV}/low", "--repo", "no/body", token=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("Error: no dataset repository no/body at http://127.0.0.1")
    assert wrong.stderr.count("\n") == 1


FETCH = "import sys; from offmarl_bench import hub; print(hub.fetch(sys.argv[1]))"


def test_a_killed_download_goes_on_where_it_stopped(clients: Clients) -> None:
    big = clients.folder / "big.h5"
    big.write_bytes(os.urandom(24 * MEGABYTE))
    clients.hub.create("dataset", "me/big")
    clients.hub.put("dataset", "me/big", "big.h5", big.read_bytes())
    clients.hub.stall("big.h5", after=22 * MEGABYTE, seconds=LIMIT)
    address, home = "hf://me/big/big.h5", clients.folder / "home"
    process = subprocess.Popen([sys.executable, "-c", FETCH, address], env=clients.environment())
    end = time.monotonic() + LIMIT
    while not any(p.stat().st_size >= 20 * MEGABYTE for p in home.rglob("*.partial")):
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    clients.hub.heal()
    clients.hub.seen.clear()
    done = clients.run("-c", FETCH, address)
    assert done.returncode == 0, done.stderr
    digests = [hashlib.sha256(p.read_bytes()).digest() for p in (big, Path(done.stdout.strip()))]
    assert digests[0] == digests[1]
    assert downloads(clients.hub) == [(f"bytes={20 * MEGABYTE}-", 206)], "the library writes 10 MB at a time"


def test_a_private_dataset_streams_with_a_token_and_not_without(clients: Clients) -> None:
    path = dataset_file(clients.folder, "medium-v1", 3)
    fill(clients.hub, path, repo="me/private", private=True)
    code = (
        "from huggingface_hub import HfFileSystem\n"
        "print(HfFileSystem().open('datasets/me/private/medium/medium-v1.h5').read(4)[1:])"
    )
    assert clients.run("-c", code).stdout == "b'HDF'\n"
    refused = clients.run("-c", code, token=False)
    assert refused.returncode == 1
    assert "401" in refused.stderr
