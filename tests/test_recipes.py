"""Recipes: the paper's notation, what it refuses, and the exact composition of a dataset."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offmarl_bench.envs import get_spec
from offmarl_bench.envs.toy import SPECS
from offmarl_bench.errors import FormatError, UnknownName
from offmarl_bench.recipes import RECIPES, named_recipe, parse_recipe, qualities

SPEC = SPECS["signals"]
LOW = "50%[a1r,a2r,b1r,b2r] + 50%[a1r,a2e,b1r,b2e]"


def test_the_papers_notation() -> None:
    recipe = parse_recipe(LOW, SPEC)
    assert [p.levels for p in recipe.parts] == [(0, 0, 0, 0), (0, 2, 0, 2)]
    assert str(recipe) == LOW
    assert parse_recipe("12.5 % [ b2m , a1r,a2r,b1e ]+87.5%[a1r,a2r,b1r,b2r]", SPEC).parts[0].levels == (0, 0, 2, 1)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 400), st.lists(st.integers(0, 2), min_size=4, max_size=4)), min_size=1, max_size=5
    )
)
def test_text_and_recipe_are_the_same_thing(drawn: list[tuple[int, list[int]]]) -> None:
    shares = [n for n, _ in drawn[:-1]]
    if sum(shares) >= 1000:
        return
    shares.append(1000 - sum(shares))  # in tenths of a percent
    text = " + ".join(
        f"{share / 10:g}%[{','.join(a + 'rme'[k] for a, k in zip(SPEC.agents, levels, strict=True))}]"
        for share, (_, levels) in zip(shares, drawn, strict=True)
    )
    recipe = parse_recipe(text, SPEC)
    assert parse_recipe(str(recipe), SPEC) == recipe
    assert str(recipe) == text
    assert sum(recipe.counts(777)) == 777


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"no share and bracket here \(at »\)"),
        ("50[a1r,a2r,b1r,b2r]", r"recipe '»50\[.*no share and bracket here"),
        ("50%[a1r,a2r,b1r,b2r]", "the shares sum to 50 %, not 100 %"),
        ("100%[a1r,a2r,b1r]", "b2 of toy/signals missing; every agent stands in every bracket"),
        ("100%[a1r,a1r,b1r,b2r]", r"\[a1r,»a1r.*'a1' stands twice in one bracket"),
        ("100%[a1r,a2x,b1r,b2r]", r"\[a1r,»a2x.*'a2x' does not end in r, m, e for random, medium, expert"),
        ("100%[a1r,c2r,b1r,b2r]", r"\[a1r,»c2r.*'c2' is no agent of toy/signals \(a1, a2, b1, b2\). Did you mean"),
        ("100%[a1r,a2r,b1r,b2r] 0%", "neither '\\+' nor the end"),
        ("100%[a1r,a2r,b1r,b2r] +", "no share and bracket here"),
        ("0%[a1r,a2r,b1r,b2r]", "a share of 0 %, expected above 0 and at most 100"),
        ("100%[]", "'' does not end in r, m, e"),
    ],
)
def test_a_slip_is_answered_with_its_place(text: str, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        parse_recipe(text, SPEC)


def test_compositions_are_exact_and_shuffled() -> None:
    recipe = parse_recipe("99.5%[a1r,a2r,b1r,b2r] + 0.5%[a1m,a2m,b1m,b2m]", SPEC)
    played = recipe.assign(10_000, np.random.default_rng(0))
    assert np.bincount(played).tolist() == [9950, 50]
    assert len(set(np.flatnonzero(played) // 256)) > 20  # spread over the shards
    thirds = parse_recipe("33.4%[a1r,a2r,b1r,b2r] + 33.3%[a1m,a2m,b1m,b2m] + 33.3%[a1e,a2e,b1e,b2e]", SPEC)
    assert thirds.counts(10) == (4, 3, 3)
    assert thirds.counts(1) == (1, 0, 0)


def test_every_named_recipe_fits_its_environment_and_says_where_it_is_from() -> None:
    for (env_id, quality), named in RECIPES.items():
        recipe = parse_recipe(named.text, get_spec(env_id))
        assert parse_recipe(str(recipe), get_spec(env_id)) == recipe
        assert named.note, quality
    assert qualities("smac/2s3z")[:2] == ["low", "medium"]
    assert named_recipe("smac/2s3z", "low").paper_mean == 3.24
    assert named_recipe("smac/2s3z", "medium").provenance == "verbatim"


def test_an_unknown_quality_names_the_nearest() -> None:
    with pytest.raises(
        UnknownName, match=r"unknown quality of smac/2s3z 'loww'. Did you mean 'low'\? Known: low, medium"
    ):
        named_recipe("smac/2s3z", "loww")
