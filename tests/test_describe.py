"""What ``describe`` says of datasets whose content is known, as record, as page and as picture."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from offmarl_bench.describe import BINS, MAX_PARTS, OTHERS, Description, as_json, describe, from_json
from offmarl_bench.describe_plots import MAX_SHOWN, digest, picture_digest, pictures, words, write_pictures
from offmarl_bench.describe_text import Terminal, as_text, bars, merge, percent
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.loader import Dataset
from tests.imbalanced_toy import imbalanced
from tests.toy_data import SPEC, expert_dataset, expert_episodes

RECIPE = "75%[a1r,a2r,b1r,b2r] + 25%[a1r,a2e,b1r,b2e]"


@pytest.fixture
def data() -> Dataset:
    """A quarter of the episodes with a2 and b2 expert, the rest random."""
    found = imbalanced(64, expert_share=0.25)
    found.metadata |= {"dataset_id": "toy/signals/low-v1", "recipe": RECIPE}
    return found


def rows_with(data: Dataset, levels: np.ndarray) -> Dataset:
    """The same episodes, played by others: one row of levels an episode."""
    columns = {**data.columns, "behavior_level": np.repeat(levels.astype(np.int8), data.lengths + 1, axis=0)}
    return Dataset(data.spec, columns, data.row_starts, data.lengths, data.metadata)


def test_parts_shares_and_returns_are_those_of_the_data(data: Dataset) -> None:
    found = describe(data)
    assert [(p.composition, p.share) for p in found.parts] == [
        ("[a1r,a2r,b1r,b2r]", 0.75), ("[a1r,a2e,b1r,b2e]", 0.25),
    ]  # fmt: skip
    weak, strong = (data.returns[(data.levels == 2).any(1) == good] for good in (False, True))
    assert found.parts[0].returns.mean == weak.mean()
    assert found.parts[1].returns.quartiles[2] == np.median(strong)
    assert sum(found.parts[1].return_counts) == 16
    assert sum(found.parts[0].length_counts) == 48
    assert {(p.agent, p.level): p.share for p in found.played} == {
        ("a1", "random"): 1.0, ("a2", "random"): 0.75, ("a2", "expert"): 0.25,
        ("b1", "random"): 1.0, ("b2", "random"): 0.75, ("b2", "expert"): 0.25,
    }  # fmt: skip
    assert (found.episodes, found.steps, found.terminated) == (64, 512, 0.0)
    assert found.imbalance == pytest.approx(0.25 * 2 / 3)
    assert found.rewarded == pytest.approx((data.columns["rewards"] != 0).sum() / 512)


def test_parts_stand_in_the_order_of_the_recipe_else_by_frequency(data: Dataset) -> None:
    data.metadata["recipe"] = "25%[a1r,a2e,b1r,b2e] + 75%[a1r,a2r,b1r,b2r]"
    assert [p.share for p in describe(data).parts] == [0.25, 0.75]
    for odd in ("no recipe", 7, None):
        data.metadata["recipe"] = odd
        assert [p.share for p in describe(data).parts] == [0.75, 0.25]


def test_a_filtered_view_is_described_alone(data: Dataset) -> None:
    found = describe(data.episodes(level="expert", agent="a2"))
    assert (found.episodes, [p.share for p in found.parts]) == (16, [1.0])
    assert found.returns.mean == data.episodes(level="expert", agent="a2").returns.mean()


def test_the_score_needs_two_references_that_differ(data: Dataset) -> None:
    assert describe(data).score is None
    data.metadata |= {"reference_random": 0.0, "reference_expert": 8.0}
    assert describe(data).score == pytest.approx(data.returns.mean() / 8)
    data.metadata["reference_expert"] = 0.0
    assert describe(data).score is None


def test_members_of_the_pool_and_whom_they_play(data: Dataset) -> None:
    policy = np.full((len(data), SPEC.N), 3)
    policy[data.levels == 2] = 5
    data.columns["behavior_policy"] = np.repeat(policy.astype(np.int16), data.lengths + 1, axis=0)
    found = [(m.index, m.level, m.agents, m.share) for m in describe(data).members]
    assert found == [(3, "random", ("a1", "a2", "b1", "b2"), 1.0), (5, "expert", ("a2", "b2"), 0.25)]


def test_many_compositions_are_told_apart_up_to_a_point() -> None:
    rng = np.random.default_rng(0)
    found = describe(rows_with(expert_dataset(300), rng.integers(0, 3, (300, SPEC.N))))
    assert len(found.parts) == MAX_PARTS
    assert (found.parts[-1].composition, found.parts[-1].levels) == (OTHERS, ())
    assert sum(p.share for p in found.parts) == pytest.approx(1)
    assert OTHERS in as_text(found)
    assert set(pictures(found)) == {"returns", "agents", "coverage"}
    assert MAX_SHOWN < MAX_PARTS  # so the pictures put parts together too


def test_nobody_knows_who_played() -> None:
    found = describe(rows_with(expert_dataset(4), np.full((4, SPEC.N), -1)))
    assert (found.played, found.imbalance, found.parts[0].levels) == ((), None, ("unknown",) * SPEC.N)
    assert "the file does not say" in as_text(found)
    assert set(pictures(found)) == {"returns", "coverage"}


def test_json_there_and_back(data: Dataset) -> None:
    found = describe(data)
    text = json.dumps(as_json(found), allow_nan=False)
    assert from_json(json.loads(text), "text") == found
    assert len(found.return_edges) == BINS + 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "expected a description of version 1"),
        ({"steps": "many"}, "steps is 'many', expected"),
        ({"colour": 1}, "has unknown"),
        ({"parts": [{"share": 1}]}, "Part lacks"),
        ({"returns": 3}, "returns is 3, expected"),
    ],
)
def test_json_that_is_none_is_refused(change: dict[str, Any], words: str, data: Dataset) -> None:
    with pytest.raises(FormatError, match=words):
        from_json(as_json(describe(data)) | change, "there")


def test_nothing_and_nan_cannot_be_described(data: Dataset) -> None:
    with pytest.raises(FormatError, match="has no episodes to describe; loosen the filter"):
        describe(data.episodes(min_return=99))
    data.columns["rewards"][20] = np.nan
    broken = Dataset(SPEC, data.columns, data.row_starts, data.lengths)
    with pytest.raises(FormatError, match=r"return of episode 2 is nan, expected a finite number; .*verify"):
        describe(broken)


def test_equal_returns_and_one_episode_have_bars_too() -> None:
    found = describe(Dataset.from_episodes(expert_episodes(1), SPEC))
    assert sum(found.parts[0].return_counts) == 1
    assert as_text(found)
    assert pictures(found)


def page(found: Description, **what: Any) -> str:
    return as_text(found, Terminal(**what))


def test_the_page_says_at_a_glance_who_is_good(data: Dataset) -> None:
    lines = page(describe(data)).splitlines()
    a1, a2 = (next(line for line in lines if line.startswith(f"  {agent} ")) for agent in ("a1", "a2"))
    assert "█" not in a1
    assert a1.count("░") == a2.count("░") + a2.count("█")
    assert a2.count("█") == pytest.approx(a1.count("░") / 4, abs=1)
    assert "25 %" in a2
    assert any("a1r a2e b1r b2e" in line and "25 %" in line for line in lines)


def test_a_rare_level_shows_however_rare() -> None:
    levels = np.zeros((300, SPEC.N))
    levels[7, 1] = 2
    lines = page(describe(rows_with(expert_dataset(300), levels))).splitlines()
    assert next(line for line in lines if line.startswith("  a2 ")).count("█") == 1


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_the_page_keeps_to_the_width(width: int, data: Dataset) -> None:
    data.metadata = {}
    longest = max(map(len, page(describe(data), width=width).splitlines()))
    assert longest <= min(max(width, 80), 110)


def test_colour_only_where_asked_for_and_plain_characters_where_needed(data: Dataset) -> None:
    found = describe(data)
    assert "\x1b[" in page(found, colour=True)
    assert "\x1b" not in page(found)
    assert page(found, unicode=False).isascii()


def test_what_a_file_says_cannot_reach_the_terminal(data: Dataset) -> None:
    data.metadata |= {"dataset_id": "evil\x1b[2J\x9b", "command": "rm\x1b]0;x\x07\u202e", "backend": "a\nb"}
    text = page(describe(data))
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "a?b" in text
    names = tuple(f"{a}\x1b[31m\n" for a in SPEC.agents)
    data.spec = replace(SPEC, id="toy/\x1bsignals", agents=names)
    text = page(describe(data))
    assert all(c.isprintable() or c == "\n" for c in text)
    assert pictures(describe(data))


def test_small_things_of_the_page() -> None:
    assert [percent(x) for x in (1, 0.5, 0.005, 0.995, 1 / 3)] == ["100 %", "50 %", "0.5 %", "99.5 %", "33.3 %"]
    assert merge([1, 2, 3, 4, 5], 3) == [3, 7, 5]
    assert bars([0, 1, 100, 50], 4) == " ▁█▄"
    assert bars([0, 0], 4) == "  "


def test_words_for_a_composition(data: Dataset) -> None:
    parts = describe(data).parts
    assert words(parts[0], SPEC.agents) == "all random"
    assert words(parts[1], SPEC.agents) == "a1 b1 random, a2 b2 expert"
    assert words(parts[1], tuple(a * 12 for a in SPEC.agents)) == "2 random, 2 expert"


def test_the_same_numbers_give_the_same_bytes_and_others_other_ones(data: Dataset) -> None:
    found = describe(data)
    first = pictures(found)
    with mpl.rc_context({"font.size": 30, "figure.dpi": 30, "axes.facecolor": "red"}):  # a user's own style
        assert pictures(found) == first
    for png in first.values():
        assert picture_digest(png) == digest(found)
        assert len(png) < 60_000
        with Image.open(BytesIO(png)) as image:
            assert set(image.info) <= {"description"}
            assert image.width > 700
    other = pictures(describe(data.episodes(level="expert", agent="a2")))
    assert all(other[name] != first[name] for name in first)


def test_pictures_show_the_data_and_are_not_blank(data: Dataset) -> None:
    for png in pictures(describe(data)).values():
        with Image.open(BytesIO(png)) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert 0.02 < (pixels < 200).any(-1).mean() < 0.6


def test_pictures_that_cannot_be_written(data: Dataset, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OffmarlError, match="cannot write"):
        write_pictures(describe(data), tmp_path / "file" / "folder")
