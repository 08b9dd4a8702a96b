"""A small honest submission to the leaderboard, made once: five seeds of BC on a toy dataset, 32 episodes each."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from leaderboard.bundle import bundle_files
from leaderboard.claims_check import Known
from leaderboard.known import known_datasets
from leaderboard.replay import Order, Replayed
from leaderboard.replay_child import carry_out
from leaderboard.submit import submit
from offmarl_bench.evaluation import benchmark
from offmarl_bench.jobs import forget
from tests.toy_data import careless_dataset

DATASET = "toy/signals/low-v1"
STEM = "toy-signals-low-v1_seed-{}"
SLUG = "toy-bc"
SETTINGS: dict[str, Any] = {"hidden": 8, "learning_rate": 5e-4}
SEEDS = 5
_KEPT = tempfile.TemporaryDirectory(prefix="toy-bundle-")


def fill_home(home: Path, agent: str = "bc", seeds: int = SEEDS, **settings: Any) -> None:
    """Put a toy dataset, trained runs and their results under ``$OFFMARL_HOME``, which must be ``home``."""
    forget()
    data = careless_dataset(64, 0.7)
    data.metadata.update(dataset_id=DATASET, reference_random=2.7, reference_expert=8.0, return_mean=5.6)
    data.save(home / "datasets" / f"{DATASET}.h5")
    benchmark([agent], [DATASET], seeds=seeds, budget=40, overrides=settings, progress=False)


@functools.cache
def _made() -> tuple[Path, Known]:
    root = Path(_KEPT.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFMARL_HOME", str(root / "home"))
        fill_home(root / "home", **SETTINGS)
        submit("bc", "BC on toys", out=root / SLUG, overrides=SETTINGS, authors=["A. Person"])
        return root / SLUG, known_datasets(local=True)


def known() -> Known:
    """The toy dataset as if it were published."""
    return _made()[1]


def toy_home() -> Path:
    """The home in which it was made: datasets, runs and results."""
    return _made()[0].parent / "home"


def toy_bundle(folder: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(_made()[0], folder / SLUG))


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def everywhere(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The same change in every JSON file of one submission but its verdict."""
    for name in bundle_files(bundle):
        if name.endswith(".json"):
            edit(bundle / name, change)


def replay_here(directory: Path, orders: Mapping[str, Order]) -> dict[str, Replayed]:
    """``leaderboard.replay.replay`` without a process of its own: quick."""
    found = carry_out(directory / "policies", dict(orders))
    return {
        k: Replayed(returns=tuple(v["returns"]), wins=v["wins"], lengths=tuple(v["lengths"])) for k, v in found.items()
    }
