"""Small datasets and repositories that hold them, made by hand: what tests of the Hub start from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from offmarl_bench.format.reader import read_metadata
from offmarl_bench.hub.listing import HubEntry, Listing
from offmarl_bench.hub.place import path_in_repo
from offmarl_bench.ids import parse_dataset_id
from tests.hub_server import HubServer
from tests.toy_data import expert_dataset

ENV = "toy/signals"
REPO = "offmarl-bench/toy-signals"
RECIPE = "100%[a1e,a2e,b1e,b2e]"


def dataset_file(folder: Path, quality: str = "low-v1", episodes: int = 8) -> Path:
    """A dataset with an id, as a file; another number of episodes is other content."""
    path = folder / f"{quality}.h5"
    path.unlink(missing_ok=True)
    data = expert_dataset(episodes, dataset_id=f"{ENV}/{quality}", recipe=RECIPE, backend="toy")
    return data.save(path)


def entry_of(path: Path) -> HubEntry:
    """What a manifest says of it."""
    spec, said = read_metadata(path)
    content = path.read_bytes()
    dataset = parse_dataset_id(said["dataset_id"])
    return HubEntry(
        id=str(dataset), path=path_in_repo(dataset), size=len(content), sha256=hashlib.sha256(content).hexdigest(),
        content_hash=said["content_hash"], rows=9, episodes=1, return_mean=8.0, recipe=RECIPE, spec=spec.to_json(),
    )  # fmt: skip


def fill(hub: HubServer, *files: Path, repo: str = REPO, private: bool = False) -> Listing:
    """A repository with these datasets, without a push."""
    hub.create("dataset", repo, private)
    listing = Listing(env_id=ENV, licence="mit")
    for path in files:
        entry = entry_of(path)
        listing = listing.with_file(entry)
        hub.put("dataset", repo, entry.path, path.read_bytes())
    hub.put("dataset", repo, "manifest.json", listing.to_bytes())
    return listing


def downloads(hub: HubServer) -> list[tuple[str | None, int]]:
    """(range, status) of every request for the content of a dataset file."""
    return [(s.range, s.status) for s in hub.seen if s.path.startswith("/cdn/") and s.path.endswith(".h5")]
