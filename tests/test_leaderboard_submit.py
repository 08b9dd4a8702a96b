"""Submissions are made of stored runs, are small, say what is true, and can be sent to the Hub as a pull request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from leaderboard.bundle import bundle_files, bundle_hash, read_bundle
from leaderboard.entries import load_entries
from leaderboard.json_schema import FOLDER, RECORDS, schema_text
from leaderboard.replay import load_policy
from leaderboard.submit import default_slug, deviations_of, submit, write_policy
from leaderboard.validate import validate
from offmarl_bench import registry
from offmarl_bench.agent import make_agent
from offmarl_bench.bench_train import players
from offmarl_bench.cli import main
from offmarl_bench.envs import make_env
from offmarl_bench.errors import ConformanceError, FormatError, OffmarlError, UnknownName
from offmarl_bench.home import runs_dir
from offmarl_bench.results import Result, load_results, result_key
from offmarl_bench.rollout import rollout
from offmarl_bench.runs import config_json, load_agent
from offmarl_bench.seeding import episode_seeds, generator
from tests import toy_continuous
from tests.hub_server import HubServer
from tests.toy_bundle import DATASET, SETTINGS, STEM, known, toy_bundle, toy_home
from tests.toy_data import SPEC, shaken

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home in which five seeds of BC are trained and scored; read only."""
    known()
    monkeypatch.setenv("OFFMARL_HOME", str(toy_home()))
    return toy_home()


def make(out: Path, **options: Any) -> Path:
    return submit("bc", "BC on toys", **{"out": out, "overrides": SETTINGS, **options})


def test_a_submission_holds_all_that_is_claimed_and_what_plays_it(trained: Path, tmp_path: Path) -> None:
    path = make(tmp_path / "toy-bc", description="Words.", authors=["A", "B"], url="https://x.org", readme="# R\n")
    folders = {"curves": "json", "policies": "json", "results": "json"}
    wanted = {f"{folder}/{STEM.format(k)}.{end}" for k in range(5) for folder, end in folders.items()}
    wanted |= {f"policies/{STEM.format(k)}.safetensors" for k in range(5)} | {"submission.json", "README.md"}
    assert set(bundle_files(path)) == wanted
    bundle = read_bundle(path)
    assert list(bundle.results.values()) == sorted(load_results(), key=lambda r: r.seed)
    about = bundle.submission
    assert (about.name, about.agent, about.overrides, about.authors) == ("BC on toys", "bc", SETTINGS, ("A", "B"))
    assert about.claims[DATASET] == pytest.approx(np.mean([r.mean for r in bundle.results.values()]))
    assert about.versions["torch"]
    assert validate(path, known=known()).policies == 5
    assert bundle_hash(make(tmp_path / "again" / "toy-bc", description="Words.", authors=["A", "B"],
                            url="https://x.org", readme="# R\n")) == bundle_hash(path)  # fmt: skip


def test_the_policies_act_as_the_trained_agents_do(trained: Path, tmp_path: Path) -> None:
    path = make(tmp_path / "toy-bc")
    env, seeds = make_env(SPEC.id, 8), episode_seeds(1, "evaluate", 0, 8)
    for stem, result in read_bundle(path).results.items():
        policy = load_policy(path / "policies" / f"{stem}.json")
        agent = load_agent(runs_dir() / result_key(result))
        for greedy in (True, False):
            theirs, ours = (
                rollout(env, x.policy(greedy), seeds, generator(0, "evaluate"), record=True) for x in (agent, policy)
            )
            for a, b in zip(theirs.episodes or [], ours.episodes or [], strict=True):
                np.testing.assert_array_equal(a.actions, b.actions)
                np.testing.assert_array_equal(a.behavior_logprob, b.behavior_logprob)


KINDS = {"discrete": SPEC, "continuous": toy_continuous.SPEC}
WHO = [
    (name, kind)
    for kind, spec in KINDS.items()
    for name in players(spec.id)
    if registry.resolve("agents", name).policy_parts
]


@pytest.mark.parametrize(("name", "kind"), WHO)
def test_the_part_of_an_agent_that_plays_is_enough_to_play_bit_for_bit(name: str, kind: str, tmp_path: Path) -> None:
    spec = KINDS[kind]
    trained = make_agent(name, spec)
    shaken(trained)
    part = trained.policy_state()
    scored = Result(
        agent=name, preset="default", config=config_json(trained.config), env_id=spec.id, seed=0, evaluation_seed=0,
        greedy_returns=(0.0,), backend="toy-1",
    )  # fmt: skip
    write_policy(tmp_path, "one", trained, scored, "weights")
    other = load_policy(tmp_path / "policies/one.json")
    env, seeds = make_env(spec.id, 4), episode_seeds(0, "evaluate", 0, 4)
    for greedy in (True, False):
        one, two = (
            rollout(env, x.policy(greedy), seeds, generator(0, "evaluate"), record=True) for x in (trained, other)
        )
        for a, b in zip(one.episodes or [], two.episodes or [], strict=True):
            np.testing.assert_array_equal(a.actions, b.actions)
            np.testing.assert_array_equal(a.behavior_logprob, b.behavior_logprob)
    if (name, kind) == ("sit", "discrete"):
        size = {k: sum(t.numel() for t in s.values()) for k, s in (("part", part), ("all", trained.state_dict()))}
        assert size["part"] < size["all"] / 2
        assert all(key.startswith("actors.") for key in part)


def test_a_part_that_does_not_exist_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    agent = make_agent("bc", SPEC)
    assert agent.policy_state().keys() == agent.state_dict().keys()
    monkeypatch.setattr(type(agent), "policy_parts", None)
    assert agent.policy_state().keys() == agent.state_dict().keys()
    monkeypatch.setattr(type(agent), "policy_parts", ("act",))
    with pytest.raises(ConformanceError, match="policy_parts names 'act', but nothing in its state_dict"):
        agent.policy_state()


def test_the_differences_from_the_paper_are_read_from_the_docstring() -> None:
    found = deviations_of("sit")
    assert len(found) == 18
    assert found[0].startswith("(D) r_tot is z-scored")
    assert "\n" not in "".join(found)
    assert deviations_of("bc")
    assert deviations_of("qmix")[0].startswith("The online network")


def test_names_become_folders() -> None:
    assert default_slug("SIT (reference), v2") == "sit-reference-v2"
    with pytest.raises(FormatError, match="no letters to name a folder after; give --out"):
        default_slug("…")


def test_what_cannot_be_submitted_is_said_and_leaves_nothing(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    with pytest.raises(UnknownName, match=r"unknown agent 'bcc'. Did you mean 'bc'\?"):
        submit("bcc", "x", out=out)
    with pytest.raises(OffmarlError, match="no stored results of bc@default; first: offmarl-bench evaluate bc"):
        make(out, overrides={})
    with pytest.raises(UnknownName, match=r"unknown dataset with results of bc@default 'toy/signals/lo'. Did you mean"):
        make(out, datasets=["toy/signals/lo"])
    with pytest.raises(FormatError, match="holds one of <>&; plain words only"):
        submit("bc", "<b>", out=out, overrides=SETTINGS)
    with pytest.raises(FormatError, match="policies as 'pickle': expected one of auto, weights, onnx, none"):
        make(out, policies="pickle")
    with pytest.raises(OffmarlError, match=r"cannot be read: No such file .* --graphs needs one for every seed"):
        make(out, graphs=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert make(out, policies="none", datasets=["toy/signals/low"]) == out
    assert not (out / "policies").exists()
    with pytest.raises(OffmarlError, match="exists; choose another --out, or delete it first"):
        make(out)


def test_a_run_that_is_gone_cannot_be_submitted_with_its_policy(
    trained: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFMARL_HOME", str(home))
    with pytest.raises(OffmarlError, match=r"its run is not in .* submit results alone with --policies none"):
        make(tmp_path / "x", results=trained / "results")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", RECORDS)
def test_the_published_schemas_are_the_dataclasses(name: str) -> None:
    stored = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert stored == schema_text(name), "stale: run python -m leaderboard.json_schema"
    jsonschema.Draft202012Validator.check_schema(json.loads(stored))


def test_submissions_follow_the_schemas_and_spoilt_ones_do_not(tmp_path: Path) -> None:
    kinds = {"results": "result", "policies": "policy", "curves": "curves"}
    found = [toy_bundle(tmp_path), *(p.parent for p in (ROOT / "leaderboard/submissions").glob("*/submission.json"))]
    for bundle in found:
        for name in (n for n in [*bundle_files(bundle), "verdict.json"] if n.endswith(".json")):
            if not (bundle / name).exists():
                continue
            kind = kinds.get(name.split("/")[0], name.removesuffix(".json"))
            record = json.loads((bundle / name).read_text())
            jsonschema.validate(record, json.loads((FOLDER / f"{kind}.json").read_text()))
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({**record, "more": 1}, json.loads((FOLDER / f"{kind}.json").read_text()))


def test_the_submissions_of_this_repository_are_valid_and_their_verdicts_fit() -> None:
    entries = load_entries()
    assert entries
    for entry in entries:
        validate(ROOT / "leaderboard/submissions" / entry.slug)
        assert entry.problem is None


def test_entries_say_what_a_reader_needs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    toy_bundle(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "submission.json").write_text("{")
    (entry,) = load_entries(tmp_path)
    assert "left out" in caplog.text
    (score,) = entry.scores
    assert (entry.state, score.seeds, score.episodes, score.policies) == ("self-reported", (0, 1, 2, 3, 4), 32, 5)
    assert score.ranked
    low, high = score.interval or (0.0, 0.0)
    assert low <= (score.score or np.nan) <= high
    assert score.score == pytest.approx(100 * (score.mean - 2.7) / (8.0 - 2.7))
    assert score.curves[0] is not None
    assert entry.config["hidden"] == SETTINGS["hidden"]
    with pytest.raises(FormatError, match="no such folder; expected one with a folder per submission"):
        load_entries(tmp_path / "nowhere")


SEND = """
import sys
from pathlib import Path
from leaderboard.send import open_pull_request
from offmarl_bench.errors import OffmarlError
for repo in sys.argv[2:]:
    try:
        print(open_pull_request(Path(sys.argv[1]), repo))
    except OffmarlError as e:
        print(f"{type(e).__name__}: {e}")
"""


def test_a_submission_becomes_a_pull_request_on_the_hub(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path)
    with HubServer(tmp_path / "hub") as hub:
        token = hub.add_user("hf_me", "me")
        hub.add_user("hf_owner", "owner", "org")
        hub.create("dataset", "org/leaderboard")
        done = subprocess.run(
            [sys.executable, "-c", SEND, str(bundle), "org/leaderboard", "org/nowhere", "leaderboard"],
            env={**os.environ, **hub.environment(tmp_path, token)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        sent, missing, malformed = done.stdout.splitlines()
        repo = hub.repos["dataset", "org/leaderboard"]
        assert sent.endswith("/discussions/1")
        there = repo.commits[repo.pulls[1]].files
        assert set(there) >= {f"submissions/toy-bc/{name}" for name in bundle_files(bundle)}
        assert not any("submissions" in name for name in repo.resolve("main").files), "nothing is merged by asking"
        assert missing.startswith("UnknownName: no dataset repository org/nowhere")
        assert malformed.startswith("FormatError: repository 'leaderboard': expected OWNER/NAME")
    refused = CliRunner().invoke(main, ["submit", "--agent", "bc", "--name", "x", "--hub", "org/leaderboard"])
    assert (refused.exit_code, "OFFMARL_OFFLINE is set, so the Hub is not asked" in refused.stderr) == (1, True)
