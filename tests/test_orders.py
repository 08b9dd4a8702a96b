"""Where our order of agents is not the paper's, the report says so in one sentence."""

from __future__ import annotations

from offmarl_bench.orders import Standing, order_sentence
from offmarl_bench.report import build_report
from offmarl_bench.results import Result
from tests.test_report import seeds

A = Standing("A", ours=3.0, interval=(2.9, 3.1), paper=1.0)
B = Standing("B", ours=2.0, interval=(1.0, 2.5), paper=2.0)
C = Standing("C", ours=1.0, interval=(0.0, 1.5), paper=3.0)


def test_pairs_the_other_way_round_are_counted_and_those_beyond_the_intervals_too() -> None:
    assert order_sentence("map low", [B, A, C]) == (
        "map low: best to worst A, B, C; in the paper C, B, A: 3 of 3 pairs the other way round, "
        "2 beyond our 95 % intervals"
    )


def test_the_same_order_needs_no_sentence_and_equal_values_contradict_nothing() -> None:
    best, worst = Standing("A", 3.0, None, 9.0), Standing("B", 2.0, None, 1.0)
    assert order_sentence("map", [worst, best]) is None
    assert order_sentence("map", [best, Standing("C", 3.0, None, 1.0), Standing("D", 2.5, None, 9.0)]) is not None
    assert order_sentence("map", [best, Standing("C", 2.0, None, 9.0), Standing("D", 1.0, None, 9.0)]) is None
    assert order_sentence("map", []) is None


def test_a_single_seed_is_never_sure() -> None:
    sentence = order_sentence("map", [Standing("A", 3.0, None, 1.0), Standing("B", 2.0, (1.0, 2.0), 2.0)])
    assert sentence is not None
    assert sentence.endswith("1 of 1 pairs the other way round, 0 beyond our 95 % intervals")


def test_the_report_says_it_below_its_table_and_leaves_variants_out() -> None:
    """The paper has BC 3.1 and SIT 12.3 on 2s3z low."""

    def said(results: list[Result]) -> list[str]:
        return [n for n in build_report(results).notes if n.startswith("order on")]

    better, worse = seeds([9.0, 9.1], agent="bc"), seeds([4.0, 4.1], agent="sit")
    assert said([*better, *worse]) == [
        "order on 2s3z low: best to worst BC, SIT; in the paper SIT, BC: 1 of 1 pairs the other way round, "
        "1 beyond our 95 % intervals"
    ]
    assert said([*better, *seeds([4.0, 4.1], agent="sit", overrides={"beta": 1.0})]) == []
