"""A place that looks like an installation of StarCraft II and of ``smac``, and the faults of its games."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

STAND_IN = Path(__file__).parent / "stand_in"
MAPS = ("2s3z", "2s_vs_1sc")
BACKEND = "sc2-75689-smac-unknown"


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, *faults: dict[str, Any]) -> Path:
    """Put the stand-in where ``smac`` is looked for; its games will suffer ``faults``. Returns the game's folder."""
    game, told = folder / "StarCraftII", folder / "faults"
    for name in ("Versions/Base75689", "Versions/Base55958", "Maps/SMAC_Maps"):
        (game / name).mkdir(parents=True, exist_ok=True)
    for name in MAPS:
        (game / "Maps" / "SMAC_Maps" / f"{name}.SC2Map").write_bytes(b"")
    told.mkdir(exist_ok=True)
    monkeypatch.syspath_prepend(str(STAND_IN))
    monkeypatch.setenv("SC2PATH", str(game))
    monkeypatch.setenv("STAND_IN", json.dumps(faults))
    monkeypatch.setenv("STAND_IN_LOG", str(told))
    return game
