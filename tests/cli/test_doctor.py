"""``doctor`` as a user calls it: a page to read, JSON, and an exit status for CI."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.outcome import Run, succeed
from tests.doctor_corpus import Corpus, healthy, write
from tests.doctor_faults import FAULTS


def sick(name: str, path: Path, format: str = "pymarl") -> Path:
    corpus = healthy()
    FAULTS[name].plant(corpus)
    return write(format, path, corpus)


def test_healthy_data_exit_with_0(run: Run, data: str, tmp_path: Path) -> None:
    page = succeed(run("doctor", write("pymarl", tmp_path / "x", healthy()), "--strict"))
    assert "pymarl format, 0.1 MB raw: 40 episodes" in page
    assert "3 agents, 5 observations, 4 state, 4 choices; mean return" in page
    assert "healthy: 2 info" in page
    assert "offmarl-bench format" in succeed(run("doctor", data))


def test_errors_exit_with_1_and_warnings_only_if_strict(run: Run, tmp_path: Path) -> None:
    done = run("doctor", sick("each episode 8 times", tmp_path / "e"))
    assert done.exit_code == 1
    page = " ".join(done.stdout.split())
    assert "error duplicates episodes are copies of each other" in page
    assert "35 of 40 are copies, the first is episode 1 of 0; 12.5% are unique, most of them each 8 times" in page
    assert "→ 8 parallel workers probably shared one seed: give every episode its own seed, and keep one" in page
    assert "NOT healthy: 1 error" in page
    assert "Error: 1 finding to act on, listed above" in done.stderr
    warned = sick("unscaled feature", tmp_path / "w")
    assert "healthy: 1 warning" in succeed(run("doctor", warned))
    assert run("doctor", warned, "--strict").exit_code == 1


def test_json_is_one_document_whatever_the_verdict(run: Run, tmp_path: Path) -> None:
    done = run("doctor", sick("illegal action", tmp_path / "e"), "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["ok"], found["counts"]["error"]) == (False, 1)
    (finding,) = [f for f in found["files"][0]["findings"] if f["severity"] == "error"]
    assert (finding["code"], finding["numbers"]) == ("illegal-action", {"steps": 1})
    assert finding["evidence"] == "1 step, the first is episode 5, step 3, agent 1"
    assert finding["fix"]


def test_several_datasets_are_compared(run: Run, tmp_path: Path) -> None:
    one = write("pymarl", tmp_path / "expert", healthy())
    two = write("minari", tmp_path / "mixed", healthy())
    done = run("doctor", one, two)
    assert done.exit_code == 1
    assert "between the datasets" in done.stdout
    assert "are the same 40 episodes" in " ".join(done.stdout.split())


def test_documented_returns_are_compared(run: Run, tmp_path: Path) -> None:
    place = write("pymarl", tmp_path / "x", healthy())
    done = run("doctor", place, "--returns-documented", 16.0)
    assert done.exit_code == 1
    assert "documented 16, the data have" in done.stdout
    assert run("doctor", place, "--returns-documented", "nan").exit_code == 2


def test_what_cannot_be_read_is_one_line(run: Run, tmp_path: Path) -> None:
    for given, says in (
        (tmp_path / "no.h5", "no.h5 does not exist; expected a dataset of ours"),
        ("smac/2s3z/nosuch", "dataset 'smac/2s3z/nosuch' is not on this machine"),
        (tmp_path, "holds nothing; expected a dataset of ours"),
    ):
        done = run("doctor", given)
        assert done.exit_code in (1, 2)
        assert done.stderr.count("\n") == 1
        assert says in done.stderr
    assert run("doctor").exit_code == 2


def test_text_of_a_stranger_cannot_move_the_cursor(run: Run, tmp_path: Path) -> None:
    place = write("pymarl", tmp_path / "x\x1b[2J", Corpus(healthy().episodes))
    page = succeed(run("doctor", place))
    assert "\x1b" not in page
    assert r"x\x1b[2J" in page
