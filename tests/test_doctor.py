"""The doctor finds every planted fault in every format where it can exist, and is silent on healthy data."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from offmarl_bench.doctor.examine import LINTS
from offmarl_bench.doctor.report import Patient, diagnose
from offmarl_bench.foreign.detect import READERS, detect
from tests.doctor_corpus import EPISODES, FORMATS, WRITERS, Corpus, healthy, install_flashbax, write
from tests.doctor_faults import FAULTS


@pytest.fixture(autouse=True)
def flashbax(monkeypatch: pytest.MonkeyPatch) -> None:
    install_flashbax(monkeypatch)


def examined(format: str, path: Path, corpus: Corpus, documented: float | None = None) -> Patient:
    return diagnose([write(format, path / format, corpus)], documented_return=documented).patients[0]


@pytest.mark.parametrize("discrete", [True, False], ids=["choices", "continuous"])
@pytest.mark.parametrize("format", FORMATS)
def test_healthy_data_are_healthy_in_every_format(format: str, discrete: bool, tmp_path: Path) -> None:
    corpus = healthy(discrete=discrete)
    place = write(format, tmp_path / format, corpus)
    assert detect(place) == format
    found = diagnose([place])
    patient = found.patients[0]
    assert [str(f) for f in patient.findings if f.severity != "info"] == []
    assert found.ok(strict=True)
    steps = sum(len(e) for e in corpus.episodes)
    assert (patient.layout.episodes, patient.steps, patient.layout.n) == (EPISODES, steps, 3)
    assert (patient.layout.obs, patient.layout.discrete) == (5, discrete)
    assert patient.return_mean == pytest.approx(sum(float(e.rewards[:, 0].sum()) for e in corpus.episodes) / EPISODES)


CASES = [(name, format) for name, fault in FAULTS.items() for format in fault.formats]


@pytest.mark.parametrize(("name", "format"), CASES, ids=[f"{f}: {n}" for n, f in CASES])
def test_a_planted_fault_is_found(name: str, format: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    corpus = healthy(discrete=fault.discrete and format != "omar")
    fault.plant(corpus)
    if name == "nobody knows who played" and format != "offmarl-bench":
        corpus.quirks.clear()  # only ours can know
    patient = examined(format, tmp_path, corpus)
    told = [f for f in patient.findings if (f.code, f.severity) == (fault.code, fault.severity)]
    assert told, f"{name}: {[str(f) for f in patient.findings]}"
    assert any(re.search(fault.says, f.evidence) for f in told), [f.evidence for f in told]
    assert all(f.fix for f in told)


@pytest.mark.parametrize("format", FORMATS)
def test_a_fault_does_not_make_others(format: str, tmp_path: Path) -> None:
    """One fault is one finding, and not a page of them."""
    for name in ("one episode twice", "-inf padding", "unscaled feature"):
        corpus = healthy(discrete=format != "omar")
        FAULTS[name].plant(corpus)
        found = examined(format, tmp_path / name, corpus).findings
        assert [f.code for f in found if f.severity != "info"] == [FAULTS[name].code]


@pytest.mark.parametrize("format", FORMATS)
def test_the_documented_return_is_compared(format: str, tmp_path: Path) -> None:
    corpus = healthy(discrete=format != "omar")
    mean = sum(float(e.rewards[:, 0].sum()) for e in corpus.episodes) / EPISODES
    right = examined(format, tmp_path / "right", corpus, documented=mean * 1.005)
    assert [f for f in right.findings if f.code == "returns"] == []
    (finding,) = [f for f in examined(format, tmp_path / "wrong", corpus, mean * 1.5).findings if f.code == "returns"]
    assert finding.severity == "error"
    assert f"documented {mean * 1.5:g}, the data have {mean:.4g}" in finding.evidence


def test_rewards_of_ones_own_are_summed_or_averaged_before_they_are_compared(tmp_path: Path) -> None:
    corpus = healthy()
    FAULTS["rewards of one's own"].plant(corpus)
    total = sum(float(e.rewards.sum()) for e in corpus.episodes) / EPISODES
    for k, documented in enumerate((total, total / 3)):
        patient = examined("vault", tmp_path / str(k), corpus, documented)
        assert [f for f in patient.findings if f.code == "returns"] == []


def test_the_same_data_under_two_names_is_found_across_formats(tmp_path: Path) -> None:
    corpus = healthy()
    places = [write(format, tmp_path / format, corpus) for format in FORMATS if format != "omar"]
    found = diagnose(places).across
    assert len(found) == len(places) * (len(places) - 1) // 2
    assert {(f.code, f.severity) for f in found} == {("same-data", "error")}
    assert all(f"are the same {EPISODES} episodes" in f.evidence for f in found)


def test_subsets_and_overlaps_of_splits_are_found(tmp_path: Path) -> None:
    whole, other = healthy(), healthy(seed=1)
    part = Corpus(whole.episodes[10:20])
    mixed = Corpus(whole.episodes[:10] + other.episodes[:10])
    place = {
        name: write("pymarl", tmp_path / name, c)
        for name, c in {"whole": whole, "other": other, "part": part, "mixed": mixed}.items()
    }
    assert diagnose([place["whole"], place["other"]]).across == ()
    (inside,) = diagnose([place["part"], place["whole"]]).across
    assert (inside.severity, inside.numbers["common"]) == ("warning", 10)
    assert f"{place['part']} lies wholly in {place['whole']}" in inside.evidence
    (overlap,) = diagnose([place["whole"], place["mixed"]]).across
    assert overlap.severity == "warning"
    assert "overlap: 10 episodes in common, 25.0% of the first and 50.0% of the second" in overlap.evidence


def test_a_report_for_machines_is_json_even_if_the_data_are_not_numbers(tmp_path: Path) -> None:
    corpus = healthy()
    FAULTS["NaN reward"].plant(corpus)
    found = diagnose([write("pymarl", tmp_path / "x", corpus)]).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["files"][0]["return_mean"] is None
    assert (found["ok"], found["counts"]["error"]) == (False, 1)


def test_every_lint_has_a_fault_and_every_code_is_documented() -> None:
    codes = {code for lint in LINTS for code in lint.codes} | {"same-data"}
    planted = {fault.code for fault in FAULTS.values()}
    tested_elsewhere = {"native", "metadata", "returns", "same-data"}
    assert codes - planted == tested_elsewhere, "plant a fault for each lint"
    page = (Path(__file__).parent.parent / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []


def test_every_reader_is_in_the_corpus() -> None:
    assert set(READERS) == set(WRITERS) == set(FORMATS)
