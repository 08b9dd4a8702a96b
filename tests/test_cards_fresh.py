"""The cards in this repository are up to date: with their data, the manifest, the recipes, the pools, the simulator."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from offmarl_bench.card_files import stale, stored
from offmarl_bench.cards import card_pictures

CARDS = Path(__file__).resolve().parent.parent / "datasets_cards"
MAX_PNG_BYTES = 60_000
SAME = 2.0
"""Mean difference of two pictures, in steps of 255, that another version of a font renderer may make."""


def test_no_card_is_stale() -> None:
    assert len(stored(CARDS)) >= 2
    assert stale(CARDS) == [], "run `make cards` with the datasets in $OFFMARL_HOME and commit datasets_cards"


@pytest.mark.parametrize("path", sorted(CARDS.rglob("*.png")), ids=lambda p: str(p.relative_to(CARDS)))
def test_pictures_are_small(path: Path) -> None:
    assert path.stat().st_size < MAX_PNG_BYTES


def test_the_pictures_of_the_first_card_look_as_they_would_if_drawn_now() -> None:
    path = stored(CARDS)[0]
    for name, drawn in card_pictures(json.loads(path.read_text(encoding="utf-8"))).items():
        with Image.open(BytesIO(drawn)) as now, Image.open(path.with_name(name)) as kept:
            assert now.size == kept.size
            new, old = (np.asarray(image.convert("RGB"), np.float32) for image in (now, kept))
        assert float(np.abs(new - old).mean()) < SAME, f"{name}: run `make cards`"
