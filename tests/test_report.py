"""The report: the paper's layout, the paper's numbers marked as the paper's, and no trust in names."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from offmarl_bench.agent import make_config
from offmarl_bench.errors import FormatError, UnknownName
from offmarl_bench.paper import paper_table
from offmarl_bench.report import build_report
from offmarl_bench.report_formats import WIDTH, formats, render
from offmarl_bench.results import Result, of_datasets
from offmarl_bench.runs import config_json

LOW = "smac/2s3z/low-v1"


def a_result(mean: float = 5.0, **changes: Any) -> Result:
    """A result whose episodes are exactly mean ± 1."""
    options: dict[str, Any] = {
        "agent": "bc", "preset": "default", "config": {}, "env_id": "smac/2s3z", "dataset": LOW, "run": "aaa",
        "seed": 0, "evaluation_seed": 0, "greedy_returns": (mean - 1, mean + 1),
        "stochastic_returns": (mean - 2, mean), "greedy_win_rate": 0.25, "stochastic_win_rate": 0.0,
        "random_reference": 0.0, "expert_reference": 20.0, "behavior_mean": 3.24, "budget": "paper",
        "updates": 15_000, "backend": "embedded-1", "commit": "0123456789abcdef0123-dirty", "command": "offmarl-bench",
    }  # fmt: skip
    return Result(**{**options, **changes})


def seeds(means: list[float], **changes: Any) -> list[Result]:
    return [a_result(m, seed=k, **changes) for k, m in enumerate(means)]


TWO_AGENTS = [*seeds([3.0, 5.0, 4.0]), *seeds([9.0, 10.0, 11.0], agent="sit")]


def test_the_paper_table_is_complete_and_its_missing_minus_is_put_back() -> None:
    table = paper_table()
    assert len(table.values) == 22
    assert all(set(row) == {title for title, _ in table.columns} for row in table.values.values())
    assert table.values["smac/2s3z/low"]["BC"] == (3.1, 1.7)
    assert table.values["smac/2s3z/medium"]["SIT"] == (14.8, 0.3)
    assert table.values["mamujoco/Walker_2l/low"]["ICQ"] == (-21.2, 8.5)
    assert table.behaviors["mpe/PP_3p1p/medium"] == -155.4
    assert table.values["mpe/CN_3ls3l/low"]["BC"] == (-161.1, 4.2)
    assert "minus sign is missing" in table.remarks["mpe/CN_3ls3l/low"]["BC"]
    assert [title for title, _ in table.columns] == ["BC", "QMIX/FacMAC", "MABCQ", "MACQL", "ICQ", "SIT"]


def test_the_text_report_by_hand() -> None:
    # BC: seed means 3, 5, 4: 4 ± 1. SIT: 10 ± 1. Sampled play is one lower. Score: a twentieth of the way.
    assert render(build_report(TWO_AGENTS, seeds=3)).splitlines() == [
        "StarCraft II (SMAC), low quality",
        "",
        "               Behavior       BC        SIT",
        "-------------------------------------------",
        "2s3z  greedy        3.2  4.0±1.0  *10.0±1.0",
        "      sampled            3.0±1.0    9.0±1.0",
        "      score        16.2     20.0       50.0",
        "      won %                 25.0       25.0",
        "      paper†        3.2  3.1±1.7   12.3±1.6",
        "",
        "All datasets together",
        "",
        "      IQM  95 % interval  P(>BC)  P(>SIT)",
        "-----------------------------------------",
        "BC   20.0    15.0 … 25.0             0.00",
        "SIT  50.0    45.0 … 55.0    1.00",
        "",
        "  greedy / sampled: mean ± sample standard deviation over seeds of the mean undiscounted team return",
        "  * best of its row; ~ its 95 % bootstrap interval over seeds overlaps that of the best",
        "  score: greedy return with uniformly random play = 0 and the pool's best policy = 100, never",
        "  clamped",
        "  IQM: interquartile mean of the normalised scores over the 1 dataset(s) that all agents share, with",
        "  its stratified bootstrap 95 % interval; P(>X): probability that a run of the row's agent beats one",
        "  of X on a random dataset of them",
        "  paper†: as printed in the paper (arXiv:2211.15612, Table 1): the authors' own policies and data,",
        "  on SMAC maps the real StarCraft II game, 5 seeds; not the same policies, data or game as ours",
        "  BC: 3 seeds, 2 episodes a seed, 15000 updates (budget paper)",
        "  SIT: 3 seeds, 2 episodes a seed, 15000 updates (budget paper)",
        "  simulator embedded-1; commit 0123456789-dirty",
    ]


def test_lengths_are_shown_where_they_vary() -> None:
    stalling = a_result(1.0, agent="sit", greedy_lengths=(120, 120))
    assert "steps" not in render(build_report([stalling])), "every episode is as long"
    text = render(build_report([stalling, a_result(2.0, greedy_lengths=(40, 81))]))
    assert "      steps                 60.5     120.0" in text.splitlines()
    assert "  steps: mean length of greedy episodes" in text.splitlines()
    with_old = json.loads(render(build_report([a_result(greedy_lengths=(40, 81)), a_result(agent="sit")]), "json"))
    assert [cell["steps"] for cell in with_old["cells"]] == [60.5, None], "a result of before lengths were stored"


@pytest.mark.parametrize("lengths", [(3,), (3, 0), (1, 2, 3)])
def test_lengths_are_one_for_each_return(lengths: tuple[int, ...]) -> None:
    with pytest.raises(FormatError, match="greedy_lengths: expected 2 numbers of steps"):
        a_result(greedy_lengths=lengths)


def test_fewer_seeds_than_the_paper_is_a_warning_and_one_seed_has_no_deviation() -> None:
    text = render(build_report([a_result(4.0)]))
    assert "! BC on smac/2s3z/low-v1: 1 of 5 seeds" in text
    assert "4.0±" not in text
    assert "*4.0" not in text, "a lone agent is not the best of anything"


def test_marks_tell_what_cannot_be_told_apart() -> None:
    near = [*seeds([9.0, 10.0, 11.0], agent="sit"), *seeds([8.0, 9.5, 10.5]), *seeds([1.0, 2.0, 3.0], agent="icq")]
    marks = {r["agent"]: r["mark"] for r in json.loads(render(build_report(near), "json"))["cells"]}
    assert marks == {"sit": "*", "bc": "~", "icq": ""}


def test_columns_follow_the_paper_then_strangers_and_sections_drop_what_they_lack() -> None:
    names = ["zeta", "sit", "alpha", "facmac", "qmix", "bc"]
    found = [a_result(agent=n, dataset=LOW if n != "facmac" else "mamujoco/Walker_2l/low-v1") for n in names]
    found += [a_result(agent="sit", preset="paper"), a_result(agent="sit", overrides={"beta": 1.0})]
    report = build_report(found)
    assert report.columns == ("BC", "FacMAC", "QMIX", "SIT", "SIT (beta=1.0)", "SIT (paper)", "alpha", "zeta")
    text = render(report)
    smac, mamujoco = text.index("StarCraft"), text.index("MuJoCo")
    assert "FacMAC" not in text[smac:mamujoco]
    assert "-34.3±10.3" in text[mamujoco:], "the paper's FacMAC stands beside ours"


def test_rows_follow_the_paper_and_versions_are_told_apart() -> None:
    ids = ["smac/8m/low-v1", "smac/2s3z/low-v2", "smac/2s3z/low-v1", "toy/signals/low-v1", "smac/2s3z/medium-v1"]
    report = build_report([a_result(dataset=d) for d in ids])
    assert [s.title for s in report.sections] == [
        "StarCraft II (SMAC), low quality", "StarCraft II (SMAC), medium quality", "toy, low quality",
    ]  # fmt: skip
    assert [r.label for r in report.sections[0].rows] == ["2s3z-v1", "2s3z-v2", "8m"]


def test_runs_of_other_length_are_never_mixed() -> None:
    report = build_report([*seeds([4.0, 6.0]), *seeds([0.0, 0.0, 0.0], run="bbb", updates=750, budget="quick")])
    cell = report.sections[0].rows[0].cells[0]
    assert cell is not None
    assert cell.greedy[0] == 5.0
    assert "BC on smac/2s3z/low-v1: left out 3 results with 750 updates of other data or settings" in report.warnings


def test_a_row_says_where_its_agents_were_not_trained_for_as_long() -> None:
    short = seeds([9.0], agent="sit", budget="30%", updates=10_500)
    text = render(build_report([*seeds([3.0]), *seeds([4.0], agent="icq"), *short]), "json")
    assert "length on 2s3z low: not the same for all: BC, ICQ (budget paper); SIT (budget 30%)" in text
    assert "length on" not in render(build_report(TWO_AGENTS), "json")


def test_settings_of_this_version_come_before_those_of_another() -> None:
    present = config_json(make_config("bc", "smac/2s3z"))
    old = seeds([1.0, 1.0, 1.0], config=present | {"hidden": 7}, run="zzz")
    report = build_report([*old, *seeds([4.0, 6.0], config=present, run="aaa")], seeds=3)
    cell = report.sections[0].rows[0].cells[0]
    assert cell is not None
    assert cell.greedy[0] == 5.0
    assert "BC on smac/2s3z/low-v1: left out 3 results with 15000 updates of other data or settings" in report.warnings


def test_a_dataset_without_a_version_means_the_newest_that_has_results() -> None:
    first, second = (seeds([1.0], dataset=f"smac/2s3z/low-v{v}") for v in (9, 10))
    file = seeds([2.0], dataset="mine")
    known = [*first, *second, *file]
    assert of_datasets(known, ["smac/2s3z/low"]) == second
    assert of_datasets(known, ["smac/2s3z/low-v9", "elsewhere/mine.h5"]) == [*first, *file]
    assert of_datasets([], ["smac/2s3z/low"]) == []
    with pytest.raises(
        UnknownName, match=r"unknown dataset with results 'smac/2s3z/lw'\. Did you mean 'smac/2s3z/low-v"
    ):
        of_datasets(known, ["smac/2s3z/lw"])


def test_the_real_game_has_the_same_paper_row_and_a_file_without_id_has_none() -> None:
    real = build_report([a_result(dataset="smac-sc2/2s3z/low-v1")]).sections[0].rows[0]
    assert real.paper_behavior == 3.2
    assert build_report([a_result(dataset="my data")]).sections[0].rows[0].paper_behavior is None


def test_the_remark_on_the_missing_minus_is_shown_with_the_value() -> None:
    text = " ".join(render(build_report([a_result(dataset="mpe/CN_3ls3l/low-v1")])).split())
    assert "-161.1±4.2" in text
    assert "the minus sign is missing there" in text


def test_seven_wide_columns_fit_the_terminal_in_two_tables() -> None:
    names = ["bc", "qmix", "mabcq", "macql", "icq", "sit"]
    found = [r for n in names for r in seeds([-150.0, -160.0], agent=n, dataset="mpe/CN_3ls3l/low-v1")]
    text = render(build_report(found))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.count("paper†  ") == 2


def test_csv_and_json_have_full_precision() -> None:
    rows = list(csv.DictReader(io.StringIO(render(build_report(TWO_AGENTS), "csv"))))
    assert [r["agent"] for r in rows] == ["bc", "sit"]
    assert float(rows[0]["greedy_std"]) == np.std([3.0, 5.0, 4.0], ddof=1)
    cells = json.loads(render(build_report(TWO_AGENTS), "json"))["cells"]
    assert cells[1]["seed_means"] == {"0": 9.0, "1": 10.0, "2": 11.0}
    assert (cells[1]["paper_real_game_mean"], cells[1]["score"]) == (12.3, 50.0)
    assert cells[0]["commands"] == ["offmarl-bench"] * 3


def test_markdown_and_latex() -> None:
    text = render(build_report(TWO_AGENTS), "md")
    assert "| 2s3z | greedy | 3.2 | 4.0±1.0 | **\\*10.0±1.0** |" in text
    assert "| Behavior | BC | SIT |" in text
    latex = render(build_report(TWO_AGENTS), "latex")
    assert r"2s3z & greedy & 3.2 & 4.0$\pm$1.0 & \textbf{*10.0$\pm$1.0} \\" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
    assert r"won \%" in latex


def test_names_from_outside_are_harmless() -> None:
    evil = "=x|y\x1b[31m\\input{z}<script>\u202e_$&%\n"
    found = [a_result(agent=evil, preset="$\x07", dataset="smac/2s3z/lo\x1bw", overrides={"a\n|": "b"})]
    report = build_report([*found, a_result(commit=evil, backend=evil)])
    for fmt in formats():
        text = render(report, fmt)
        assert all(c.isprintable() or c == "\n" for c in text), fmt
    assert "\\|" in render(report, "md")
    assert "<script>" not in render(report, "md").replace("\\<script\\>", "")
    table = render(report, "latex").split("\\end{tabular}")[0]
    assert "\\input{" not in table
    assert r"\textbackslash{}input\{z\}" in table
    assert ",'=x" in render(report, "csv"), "a spreadsheet must not run it"


def test_bad_requests() -> None:
    with pytest.raises(FormatError, match="no results to report: run `offmarl-bench evaluate"):
        build_report([a_result(dataset=None)])
    with pytest.raises(UnknownName, match=r"unknown report format 'markdwn'"):
        render(build_report(TWO_AGENTS), "markdwn")
