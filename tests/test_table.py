"""``offmarl-bench table``: which of the stored results are shown, and from where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from offmarl_bench.cli import main
from offmarl_bench.home import results_dir
from offmarl_bench.records import write_record
from offmarl_bench.results import RESULTS, SUBMISSION, result_key
from tests.test_report import LOW, seeds

MEDIUM = "smac/2s3z/medium-v1"
STORED = [
    *seeds([3.0, 4.0], agent="bc", run="a"),
    *seeds([5.0, 6.0], agent="sit", run="b"),
    *seeds([1.0, 2.0], agent="sit", run="c", budget="quick", updates=750),
    *seeds([7.0], agent="sit", run="d", dataset=MEDIUM),
]


def table(*words: str) -> Result:
    return CliRunner().invoke(main, ["table", *words])


def cells(*words: str) -> list[tuple[str, str, int | None, list[str]]]:
    """(dataset, agent, updates, seeds) of every cell."""
    done = table("--format", "json", *words)
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)["cells"]
    return [(c["dataset"], c["agent"], c["updates"], [*c["seed_means"]]) for c in found]


@pytest.fixture
def stored(home: Path) -> Path:
    for r in STORED:
        write_record(results_dir() / f"{result_key(r)}.json", r)
    return results_dir()


@pytest.mark.usefixtures("stored")
def test_the_longest_runs_of_everybody_are_shown_unless_less_is_asked_for() -> None:
    low = [(LOW, "bc", 15_000, ["0", "1"]), (LOW, "sit", 15_000, ["0", "1"])]
    assert cells() == [*low, (MEDIUM, "sit", 15_000, ["0"])]
    assert cells("--dataset", "smac/2s3z/low") == low
    assert cells("--agent", "sit", "--budget", "quick") == [(LOW, "sit", 750, ["0", "1"])]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--agent", "sitt"), "unknown agent with results 'sitt'. Did you mean 'sit'?"),
        (("--dataset", "smac/2s3z/hi"), "unknown dataset with results 'smac/2s3z/hi'."),
        (("--budget", "10%"), "unknown budget with results '10%'. Known: paper, quick."),
        (("--results", "nowhere"), "Directory 'nowhere' does not exist"),
        (("--budget", "long"), "budget 'long': expected 'paper'"),
    ],
    ids=lambda x: x[0] if isinstance(x, tuple) else "",
)
def test_what_is_not_there_is_named(words: tuple[str, ...], said: str) -> None:
    done = table(*words)
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


def test_a_folder_of_submissions_is_read_without_a_word_about_its_other_records(tmp_path: Path, home: Path) -> None:
    bundle = tmp_path / "entry"
    write_record(bundle / RESULTS / "one.json", STORED[0])
    for other in (SUBMISSION, "policies/one.json", "verdict.json"):
        (bundle / other).parent.mkdir(exist_ok=True)
        (bundle / other).write_text("{}")
    done = table("--results", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "left out" not in done.stderr
    assert cells("--results", str(tmp_path)) == [(LOW, "bc", 15_000, ["0"])]
