"""The maps' data: where the scripts put units, and that nobody starts inside a wall or a neighbour."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offmarl_bench.envs.smac import maps
from offmarl_bench.envs.smac.env import SmacEnv
from offmarl_bench.envs.smac.maps import MAPS, SmacMap, get_map
from offmarl_bench.envs.smac.spawn import ALLY_POINT, ENEMY_POINT, GAP, ally_group, enemy_group, group, room
from offmarl_bench.envs.smac.tables import tables
from offmarl_bench.errors import SpecMismatch, UnknownName


def test_packing_reproduces_the_published_places_of_2s3z() -> None:
    """Created two stalkers, then three zealots: four of the real places are met within 0.001 cells, one within 0.1."""
    real, created = get_map("2s3z"), ("stalker",) * 2 + ("zealot",) * 3
    units, places = ally_group(created, ALLY_POINT, real.ally_bits)
    assert units == real.allies
    off = [math.dist(a, b) for a, b in zip(places, real.ally_start, strict=True)]
    assert sorted(off)[3] < 0.001
    assert max(off) < 0.1
    units, places = enemy_group(created, ENEMY_POINT)
    assert units == real.enemies
    assert sorted(math.dist(a, b) for a, b in zip(places, real.enemy_start, strict=True))[3] < 0.001


def test_the_first_unit_stands_on_the_point_and_the_second_touches_it() -> None:
    """Marines: inner radius 0.375 + separation radius 0.375 + the gap 1/16 + 1/1024, to the south."""
    first, second = group(("marine",) * 2, (9.0, 16.0))
    assert first == (9.0, 16.0)
    np.testing.assert_allclose(second, (9.0, 16.0 - 0.75 - GAP))


def test_small_units_may_start_under_a_colossus() -> None:
    """Different layers do not meet: the first stalker finds the point itself free."""
    assert room("stalker", "colossus") == room("colossus", "stalker") == 0.0
    assert group(("colossus", "stalker"), (9.0, 16.0))[1] == (9.0, 16.0)


@pytest.mark.parametrize("name", MAPS)
def test_everyone_starts_on_walkable_ground_apart_from_the_others(name: str) -> None:
    smac_map = get_map(name)
    grid, pairs = smac_map.grid(), tables(smac_map).pairs
    places = smac_map.ally_start + smac_map.enemy_start
    assert len(places) == len(smac_map.allies) + len(smac_map.enemies)
    assert all(grid[int(x), int(y)] for x, y in places)
    for (i, a), (j, b) in itertools.combinations(enumerate(places), 2):
        # The game's own places are up to 1/8 closer than two units that have walked into each other.
        assert math.dist(a, b) >= pairs["contact"][i, j] - 0.125, (name, i, j)


MIRRORED = [name for name, m in MAPS.items() if m.name != "MMM" and sorted(m.allies) == sorted(m.enemies)]


@pytest.mark.parametrize("name", MIRRORED)
def test_equal_groups_stand_alike_fourteen_cells_apart(name: str) -> None:
    """The real game moves the enemy group by 14 cells and does not mirror it."""
    smac_map = get_map(name)
    ours = sorted((u, x + 14.0, y) for u, (x, y) in zip(smac_map.allies, smac_map.ally_start, strict=True))
    theirs = sorted((u, x, y) for u, (x, y) in zip(smac_map.enemies, smac_map.enemy_start, strict=True))
    assert [u for u, *_ in ours] == [u for u, *_ in theirs]
    np.testing.assert_allclose([p for _, *p in theirs], [p for _, *p in ours], atol=1e-9)


def test_a_new_map_is_one_row() -> None:
    """CONTRIBUTING.md's example, word for word: agents sorted by type, everything else follows from the row."""
    page = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    example = re.search(r"`(two_groups\(.*?\))`", page, re.DOTALL)
    assert example is not None
    new: SmacMap = eval(example[1], vars(maps))  # noqa: S307  (our own page, as a reader would paste it)
    assert new.name == "2s2m_vs_3z"
    env = SmacEnv(new, 2)
    assert env.spec.agents == ("m1", "m2", "s1", "s2")
    view = env.reset(np.arange(2, dtype=np.uint64))
    assert view.legal is not None
    assert view.obs.shape == (2, 4, 4 + 3 * (4 + 2 + 2) + 3 * (4 + 2 + 2) + 2 + 2)
    for _ in range(40):
        assert view.legal is not None
        view = env.step(view.legal.argmax(-1))  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"allies": ("stalkr",)}, UnknownName, r"unknown unit of map 'new' 'stalkr'\. Did you mean 'stalker'\?"),
        ({"ally_start": ()}, SpecMismatch, r"map 'new': ally_start has 0 places for 1 units; give one each"),
        ({"ally_bits": ("marine",)}, SpecMismatch, r"ally_bits is \('marine',\); expected all of \['stalker'\]"),
        ({"ally_bits": ("stalker",)}, SpecMismatch, r"enemy_bits is \(\); expected all of \['zealot'\] in at most 1"),
    ],
)
def test_a_row_that_contradicts_itself_is_named(change: dict[str, Any], error: type[Exception], words: str) -> None:
    row: dict[str, Any] = {
        "name": "new", "allies": ("stalker",), "enemies": ("zealot",), "ally_start": ((9.0, 16.0),),
        "enemy_start": ((23.0, 16.0),), "limit": 50,
    }  # fmt: skip
    with pytest.raises(error, match=words):
        SmacMap(**row | change)
