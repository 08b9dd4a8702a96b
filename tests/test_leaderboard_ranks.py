"""Places on the leaderboard: rank groups on hand-made intervals, and which datasets an overall score is about."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from leaderboard.board import Table, build_board, improvement
from leaderboard.ranks import Estimate, rank_groups
from leaderboard.verdict import DIFFERS, VERIFIED
from offmarl_bench.errors import FormatError
from offmarl_bench.stats import bootstrap_interval, interquartile_mean
from tests.made_up_entries import made_up_entry, made_up_score


def groups(*intervals: tuple[float, float, float]) -> list[int]:
    """Rank groups of (low, value, high)."""
    return rank_groups([Estimate(value=v, low=low, high=high) for low, v, high in intervals])


def test_apart_means_another_group_and_overlap_the_same() -> None:
    assert groups((9, 10, 11), (6, 7, 8), (1, 2, 3)) == [1, 2, 3]
    assert groups((9, 10, 11), (8, 9, 10), (7, 8, 9.5)) == [1, 1, 1]


def test_the_order_given_does_not_matter() -> None:
    assert groups((1, 2, 3), (9, 10, 11), (6, 7, 8)) == [3, 1, 2]


def test_ends_that_touch_overlap() -> None:
    assert groups((9, 10, 11), (7, 8, 9)) == [1, 1]
    assert groups((9, 10, 11), (7, 8, math.nextafter(9, 0))) == [1, 2]


def test_a_chain_of_overlaps_is_not_one_group() -> None:
    """The second overlaps the first, the third the second but not the first, who leads."""
    assert groups((9, 10, 11), (7, 8, 9.5), (5, 6, 7.5)) == [1, 1, 2]


def test_a_group_is_held_against_its_own_leader() -> None:
    """The last overlaps the third, who leads group 2; that it also overlaps the second does not matter."""
    assert groups((9, 10, 11), (6.5, 8, 9.5), (5, 6, 7.5), (4, 5, 7)) == [1, 1, 2, 2]


def test_a_wide_interval_buys_no_better_place() -> None:
    """The last overlaps the best, but somebody with a higher estimate was told from the best already."""
    assert groups((9.5, 10, 10.5), (8.8, 9, 9.2), (4, 8, 11)) == [1, 2, 2]


def test_groups_are_contiguous_and_leaders_are_apart() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.normal(0, 3, 12)
        found = [Estimate(value=v, low=v - w, high=v + w) for v, w in zip(values, rng.random(12), strict=True)]
        place = rank_groups(found)
        order = sorted(range(12), key=lambda k: -values[k])
        assert [place[k] for k in order] == sorted(place)
        assert set(place) == set(range(1, max(place) + 1))
        leaders = [next(found[k] for k in order if place[k] == g) for g in range(1, max(place) + 1)]
        assert not any(a.overlaps(b) for a, b in itertools.pairwise(leaders))
        assert all(found[k].overlaps(leaders[place[k] - 1]) for k in range(12))


def test_five_seeds_make_intervals_that_hold_the_truth_five_times_in_six() -> None:
    """What the page says of them."""
    seeds, resampling = np.random.default_rng(0), np.random.default_rng(1)
    found = [bootstrap_interval([seeds.normal(size=5)], resampling) for _ in range(800)]
    assert np.mean([low <= 0 <= high for low, high in found]) == pytest.approx(5 / 6, abs=0.03)


def test_nobody_and_somebody_alone() -> None:
    assert groups() == []
    assert groups((1, 2, 3)) == [1]


@pytest.mark.parametrize("bad", [(2.0, 3.0, 1.0), (math.nan, 0.0, 1.0), (0.0, 0.0, math.inf)])
def test_what_is_no_interval_is_refused(bad: tuple[float, float, float]) -> None:
    with pytest.raises(FormatError, match="expected finite numbers, low ≤ high"):
        Estimate(value=bad[1], low=bad[0], high=bad[2])


LOW = "smac/2s3z/low-v1"
OTHER = "smac/8m/low-v1"


def only(*entries: object) -> Table:
    tables = build_board(entries)  # type: ignore[arg-type]
    assert len(tables) == 1
    return tables[0]


def places(table: Table) -> dict[str, int | None]:
    return {line.entry.name: line.group for line in table.lines}


def test_one_dataset_is_scored_by_its_mean() -> None:
    table = only(made_up_entry("a", [made_up_score(LOW, (10, 20, 30, 40, 90))]))
    assert table.lines[0].value == pytest.approx(38)
    assert table.lines[0].group == 1


def test_several_datasets_are_scored_by_the_interquartile_mean_of_all_seeds() -> None:
    one, two = (10, 20, 30, 40, 90), (50, 51, 52, 53, 54)
    table = only(
        made_up_entry("a", [made_up_score(LOW, one), made_up_score(OTHER, two)]),
        made_up_entry("b", [made_up_score(LOW, two), made_up_score(OTHER, two)]),
    )
    assert table.basis == (0, 1)
    a = next(line for line in table.lines if line.entry.name == "a")
    assert a.value == pytest.approx(interquartile_mean([*one, *two]))
    assert a.estimate is not None
    assert a.estimate.low < a.estimate.value < a.estimate.high


def test_a_dataset_that_only_one_entry_has_does_not_unrank_the_others() -> None:
    shared = [made_up_entry(n, [made_up_score(LOW, (s, s, s + 1, s + 1, s + 2))]) for n, s in (("a", 50), ("b", 20))]
    wide = made_up_entry("c", [made_up_score(LOW, (70, 71, 72, 73, 74)), made_up_score(OTHER)])
    table = only(*shared, wide)
    assert [table.labels[k] for k in table.basis] == ["2s3z"]
    assert places(table) == {"c": 1, "a": 2, "b": 3}


def test_who_lacks_a_compared_dataset_has_a_place_on_the_others_only() -> None:
    both = [made_up_entry(n, [made_up_score(LOW), made_up_score(OTHER)]) for n in ("a", "b")]
    table = only(*both, made_up_entry("c", [made_up_score(LOW, (95, 96, 97, 98, 99))]))
    line = table.lines[-1]
    assert (line.entry.name, line.value, line.group) == ("c", None, None)
    assert line.unranked == "1 of 2 datasets"
    assert line.known[0].group == 1


def test_few_seeds_and_false_claims_have_no_place_but_are_shown() -> None:
    table = only(
        made_up_entry("few", [made_up_score(LOW, (90, 91, 92))]),
        made_up_entry("liar", [made_up_score(LOW, (80, 81, 82, 83, 84))], state=DIFFERS),
        made_up_entry("good", [made_up_score(LOW)], state=VERIFIED),
    )
    assert places(table) == {"good": 1, "few": None, "liar": None}
    reasons = {line.entry.name: line.unranked for line in table.lines}
    assert reasons == {"good": None, "few": "3 of 5 seeds", "liar": "the replay differs from the claim"}
    assert [line.entry.name for line in table.lines] == ["good", "few", "liar"], "without a place: by score"


def test_one_seed_has_a_value_and_no_interval() -> None:
    line = only(made_up_entry("a", [made_up_score(LOW, (40,))])).lines[0]
    assert (line.value, line.estimate, line.group) == (40, None, None)


def test_without_references_there_is_no_score() -> None:
    score = made_up_score(LOW, random_reference=None, expert_reference=None, normalised=(None,) * 5)
    line = only(made_up_entry("a", [score])).lines[0]
    assert (line.value, line.group, line.unranked) == (None, None, "no reference scores")


def test_tables_come_in_the_order_of_the_paper_then_by_name() -> None:
    datasets = ("zoo/x/low-v1", "mpe/PP_3p1p/low-v1", "smac/8m/odd-v1", "smac/2s3z/medium-v1", "smac/8m/low-v1", LOW)
    tables = build_board([made_up_entry("a", [made_up_score(d) for d in datasets])])
    assert [(t.suite, t.quality) for t in tables] == [
        ("smac", "low"), ("smac", "medium"), ("smac", "odd"), ("mpe", "low"), ("zoo", "low"),
    ]  # fmt: skip
    assert tables[0].labels == ("2s3z", "8m")
    assert [bool(t.paper) for t in tables] == [True, True, False, True, False]


def test_two_versions_of_a_dataset_are_two_columns() -> None:
    table = only(made_up_entry("a", [made_up_score(LOW), made_up_score("smac/2s3z/low-v2")]))
    assert table.labels == ("2s3z-v1", "2s3z-v2")


def test_the_papers_values_and_the_datas_own_play_stand_beside() -> None:
    table = only(made_up_entry("a", [made_up_score(LOW)]))
    paper = {line.title: line.values[0] for line in table.paper}
    assert paper["SIT"] == (12.3, 1.6)
    assert paper["Behavior"] == (3.2, None)
    assert table.real_game
    assert table.behavior[0]
    assert list(table.behavior[0]) == pytest.approx([4.4, 15.0])


def test_improvement_is_the_chance_that_a_seed_beats_a_seed() -> None:
    table = only(
        made_up_entry("a", [made_up_score(LOW, (1, 2, 3, 4, 5))]),
        made_up_entry("b", [made_up_score(LOW, (3, 3, 3, 3, 3))]),
        made_up_entry("c", [made_up_score(LOW, (0, 0, 0, 0, 0))]),
    )
    by_name = sorted(table.lines, key=lambda line: line.entry.name)
    assert improvement(table, by_name) == [[None, 0.5, 1.0], [0.5, None, 1.0], [0.0, 0.0, None]]
