"""All datasets together: only shared ones count, and nobody's average hides another's hard map."""

from __future__ import annotations

import json

import pytest

from offmarl_bench.aggregate import aggregate
from offmarl_bench.errors import FormatError
from offmarl_bench.marl_eval import to_marl_eval
from offmarl_bench.report import build_report
from offmarl_bench.report_formats import WIDTH, render
from tests.test_report import TWO_AGENTS, a_result, seeds

MEDIUM = "smac/2s3z/medium-v1"


def test_interquartile_means_and_improvement_by_hand() -> None:
    """Returns are percent of 20 here: scores 15 25 20 35 (BC) and 50 55 45 10 (SIT)."""
    bc = [seeds([3.0, 5.0]), seeds([4.0, 7.0], dataset=MEDIUM)]
    sit = [seeds([10.0, 11.0]), seeds([9.0, 2.0], dataset=MEDIUM)]
    first, second = aggregate([[bc[0], sit[0]], [bc[1], sit[1]]])
    assert (first.datasets, first.runs) == (2, 4)
    assert first.iqm == pytest.approx((20 + 25) / 2)
    assert second.iqm == pytest.approx((45 + 50) / 2)
    # First dataset: SIT always wins. Second: 9 beats both, 2 beats none: one half.
    assert second.improvement == (0.75, None)
    assert first.improvement == (None, 0.25)
    assert first.interval is not None
    assert first.interval[0] <= first.iqm <= first.interval[1]


def test_a_dataset_that_somebody_lacks_does_not_count() -> None:
    bc, sit = [seeds([3.0, 5.0]), seeds([20.0, 20.0], dataset=MEDIUM)], seeds([10.0, 11.0])
    first, second = aggregate([[bc[0], sit], [bc[1], None]])
    assert first.datasets == second.datasets == 1
    assert first.iqm == pytest.approx(20.0)


def test_nothing_to_compare() -> None:
    assert aggregate([]) == ()
    assert aggregate([[seeds([3.0])]]) == (), "one agent"
    assert aggregate([[seeds([3.0]), None]]) == (), "no shared dataset"
    unknown = seeds([3.0], random_reference=None)
    assert aggregate([[unknown, unknown]]) == (), "no references, so no scores"
    lone = aggregate([[seeds([3.0]), seeds([4.0])]])
    assert [a.interval for a in lone] == [None, None], "one seed says nothing of its spread"


def test_every_format_that_people_read_shows_it() -> None:
    report = build_report(TWO_AGENTS, seeds=3)
    assert "| SIT | 50.0 | 45.0 … 55.0 | 1.00 |  |" in render(report, "md")
    assert json.loads(render(report, "json"))["aggregates"][1]["improvement"] == [1.0, None]
    page = render(report, "html")
    assert "<tr><th scope=row>SIT</th><td>50.0</td>" in page
    assert "<script" not in render(build_report([a_result(agent="<script>alert(1)</script>")]), "html")


def test_many_agents_fit_the_terminal() -> None:
    names = [f"a-long-name-of-an-agent-{k}" for k in range(7)]
    text = render(build_report([r for n in names for r in seeds([1.0, 2.0], agent=n)]))
    together = text[text.index("All datasets together") :]
    assert max(map(len, together.splitlines())) <= WIDTH
    assert together.count("\na-long-name-of-an-agent-0") == 4, "the first column stands before every block"


def test_marl_eval_layout() -> None:
    """Environment, task, algorithm, run; steps of the curve and the final episodes."""
    found = json.loads(to_marl_eval(seeds([3.0, 5.0], curve=((100, 1.0), (200, 2.5)), overrides={"beta": 0.1})))
    runs = found["smac"]["smac/2s3z/low-v1"]["bc beta=0.1"]
    assert list(runs) == ["0", "1"]
    assert runs["0"] == {
        "step_0": {"step_count": 100, "mean_episode_return": [1.0]},
        "step_1": {"step_count": 200, "mean_episode_return": [2.5]},
        "absolute_metrics": {"mean_episode_return": [2.0, 4.0], "win_rate": [0.25]},
    }
    assert "a;b" in json.loads(to_marl_eval([a_result(agent="a,b")]))["smac"]["smac/2s3z/low-v1"]


def test_marl_eval_of_nothing_or_of_two_runs_in_one() -> None:
    with pytest.raises(FormatError, match="no results to export"):
        to_marl_eval([a_result(dataset=None)])
    with pytest.raises(FormatError, match=r"bc on smac/2s3z/low-v1, seed 0: there are two runs"):
        to_marl_eval([a_result(), a_result(run="bbb")])
