"""Evaluation: equal starts for all, never the data's; and a benchmark that trains only what is missing."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import offmarl_bench.jobs
from offmarl_bench.agent import Agent, make_agent
from offmarl_bench.envs.toy import SPECS
from offmarl_bench.errors import FormatError, OffmarlError, SpecMismatch, UnknownName
from offmarl_bench.evaluation import benchmark, evaluate
from offmarl_bench.home import results_dir, runs_dir
from offmarl_bench.jobs import Job, forget, watched
from offmarl_bench.logs import RunLog
from offmarl_bench.records import write_record
from offmarl_bench.results import Result, load_result, load_results, result_file, result_key, save_result
from offmarl_bench.runs import PLAN, Plan, load_agent
from offmarl_bench.seeding import episode_seeds
from offmarl_bench.train import train
from tests.toy_data import SPEC, expert_dataset

DATASET = "toy/signals/expert-v1"
SMALL = {"hidden": 16, "learning_rate": 5e-3}


class Here:
    """An executor that runs everything in this process and counts."""

    def __init__(self) -> None:
        self.tasks = 0

    def map(self, fn: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        for task in tasks:
            self.tasks += 1
            yield fn(task)


@pytest.fixture
def data(home: Path) -> str:
    forget()
    metadata = {"dataset_id": DATASET, "reference_random": 2.0, "reference_expert": 8.0}
    expert_dataset(48, **metadata).save(home / "datasets" / f"{DATASET}.h5")
    return DATASET


def run(data: str, **changes: Any) -> list[Result]:
    options: dict[str, Any] = {"seeds": 2, "episodes": 8, "budget": 60, "overrides": SMALL, "executor": Here()}
    return benchmark(["bc"], [data], **{**options, **changes})


def same(result: Result) -> Result:
    """A result without what two runs of the same thing may differ in: wall time, and the commit of a moving tree."""
    return replace(result, train_seconds=0.0, commit=None)


def test_evaluate_is_reproducible_and_says_what_was_played() -> None:
    agent = make_agent("bc", SPEC, seed=1)
    one, two, other = (evaluate(agent, "toy/signals", episodes=8, seed=s) for s in (0, 0, 1))
    assert one == two
    assert one.greedy_returns != other.greedy_returns
    assert (len(one.greedy_returns), one.stochastic_returns, one.backend, one.env_id) == (8, (), "toy-1", "toy/signals")
    assert one.greedy_win_rate is None, "this environment knows no victory"
    assert one.greedy_lengths == (SPEC.horizon,) * 8, "this environment always lasts the same"
    sampled = evaluate(agent, "toy/signals", episodes=8, seed=0, greedy=False)
    assert (sampled.greedy_returns, len(sampled.stochastic_returns)) == ((), 8)
    assert sampled == evaluate(agent, "toy/signals", episodes=8, seed=0, greedy=False)


def test_more_episodes_than_lanes_begin_with_the_same_ones() -> None:
    agent = make_agent("bc", SPEC)
    many = evaluate(agent, "toy/signals", episodes=300).greedy_returns
    assert len(many) == 300
    assert many[:8] == evaluate(agent, "toy/signals", episodes=8).greedy_returns


def test_evaluation_never_plays_the_episodes_of_the_data() -> None:
    assert not set(episode_seeds(0, "evaluate", 0, 500)) & set(episode_seeds(0, "generate", 0, 500))


def test_an_agent_cannot_play_elsewhere() -> None:
    agent = make_agent("bc", replace(SPECS["signals"], O=7))
    with pytest.raises(
        SpecMismatch, match=r"bc was made for toy/signals \(O = 7\) and cannot play toy/signals \(O = 6"
    ):
        evaluate(agent, "toy/signals")
    with pytest.raises(FormatError, match="0 evaluation episodes: expected at least 1"):
        evaluate(agent, "toy/signals", episodes=0)


def test_benchmark_trains_scores_and_stores(data: str) -> None:
    results = run(data, budget=300)
    assert [r.seed for r in results] == [0, 1]
    for r in results:
        assert r.mean > 7.0, "nearly all of 8 signals answered"
        assert (r.dataset, r.updates, r.budget, r.behavior_mean) == (DATASET, 300, 300, 8.0)
        assert r.normalised(r.mean) == pytest.approx(100 * (r.mean - 2) / 6)
        assert r.normalised(10.0) == pytest.approx(400 / 3), "never clamped"
        assert len(r.greedy_returns) == len(r.stochastic_returns) == 8
        assert [updates for updates, _ in r.curve] == [30 * k for k in range(1, 11)]
        assert r.curve[-1][1] > 7.0
        assert load_result(result_file(result_key(r))) == r
    assert results[0].command == (
        "offmarl-bench evaluate bc --dataset toy/signals/expert-v1 --episodes 8 --budget 300 --preset default "
        "--set hidden=16 --set learning_rate=0.005 --seeds 1"
    )
    assert load_results() == results


def test_what_is_finished_is_neither_trained_nor_played_again(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(data)

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(offmarl_bench.jobs, "train", never)
    with monkeypatch.context() as patch:
        patch.setattr(offmarl_bench.jobs, "play", never)
        assert run(data) == first
    more = run(data, episodes=12)
    assert [r.greedy_returns[:8] for r in more] == [r.greedy_returns for r in first], "only scored again"


def test_a_result_of_before_lengths_were_kept_is_scored_again_but_not_trained(
    data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(data)
    for result in first:
        save_result(replace(result, greedy_lengths=(), stochastic_lengths=()))
    monkeypatch.delattr(offmarl_bench.jobs, "train")
    assert run(data) == first
    assert load_results() == first


def test_other_settings_are_other_runs(data: str) -> None:
    run(data, seeds=[0])
    run(data, seeds=[0], budget=61)
    run(data, seeds=[0], overrides={**SMALL, "hidden": 8})
    run(data, seeds=[0], preset="paper")
    assert len(load_results()) == 4
    assert len(list(runs_dir().rglob("agent.json"))) == 4


def test_a_killed_benchmark_goes_on(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(data)
    weights = [load_agent(p.parent).state_dict() for p in sorted(runs_dir().rglob("agent.json"))]
    for folder in (runs_dir(), results_dir()):
        folder.rename(folder.with_name(f"{folder.name}-before"))

    class Killed(BaseException):
        pass

    def power_off(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(offmarl_bench.jobs, "play", power_off)
        with pytest.raises(Killed):
            run(data)
    again = run(data)
    assert [same(r) for r in again] == [same(r) for r in whole]
    for before, path in zip(weights, sorted(runs_dir().rglob("agent.json")), strict=True):
        now = load_agent(path.parent).state_dict()
        assert all(np.array_equal(before[k], now[k]) for k in before)


def test_two_processes_find_what_one_does(data: str) -> None:
    here = run(data)
    runs_dir().rename(runs_dir().with_name("runs-before"))
    results_dir().rename(results_dir().with_name("results-before"))
    there = run(data, executor="local", workers=2)
    assert [same(r) for r in there] == [same(r) for r in here]


class Terminal(io.StringIO):
    """A stderr that is looked at."""

    def isatty(self) -> bool:
        return True


def test_the_bar_follows_runs_in_other_processes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(
        agent="bc", preset="default", overrides={}, dataset=DATASET, name=DATASET, env_id="toy/signals", digest="abc",
        seed=3, budget=60, episodes=8, device="cpu", bar=False, command="",
    )  # fmt: skip
    plan = Plan(
        agent="bc", preset="default", config={}, spec={}, dataset=DATASET, dataset_hash=None, episodes=48, seed=3,
        budget=60, phases=(("learn", 60),),
    )  # fmt: skip
    write_record(job.run_dir / PLAN, plan)
    with RunLog(job.run_dir) as log:
        log.write("learn", 20, 20, 1.0, {"loss": 0.5})
    monkeypatch.setattr(offmarl_bench.jobs, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr("sys.stderr", Terminal())
    with watched([job], show=True) as bar:
        for _ in range(500):
            if bar.postfix:
                break
            time.sleep(0.01)
        assert bar.postfix == "bc seed 3: 20/60"
    with watched([job], show=False) as bar:
        assert bar.disable


def test_one_failing_run_does_not_stop_the_others(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def sometimes(agent: Agent, *args: Any, seed: int, **rest: Any) -> Path:
        if seed == 0:
            raise OffmarlError("it diverged")
        return train(agent, *args, seed=seed, **rest)

    monkeypatch.setattr(offmarl_bench.jobs, "train", sometimes)
    with pytest.raises(OffmarlError, match=r"1 of 2 runs failed, the others are stored; .* seed 0: it diverged"):
        run(data)
    assert [r.seed for r in load_results()] == [1]


def test_requests_that_cannot_work_fail_before_any_training(data: str) -> None:
    executor = Here()
    with pytest.raises(UnknownName, match=r"unknown agent 'bcc'. Did you mean 'bc'\?"):
        benchmark(["bc", "bcc"], [data], executor=executor)
    with pytest.raises(UnknownName, match=r"unknown preset of agent bc 'papr'. Did you mean 'paper'"):
        benchmark(["bc@papr"], [data], executor=executor)
    with pytest.raises(UnknownName, match=r"unknown setting of agent bc 'hiden'. Did you mean 'hidden'"):
        benchmark(["bc"], [data], overrides={"hiden": 3}, executor=executor)
    with pytest.raises(UnknownName, match="'toy/signals/low' is not on this machine"):
        benchmark(["bc"], ["toy/signals/low"], executor=executor)
    with pytest.raises(FormatError, match="budget 'soon'"):
        benchmark(["bc"], [data], budget="soon", executor=executor)
    with pytest.raises(FormatError, match="nothing to do"):
        benchmark([], [data], executor=executor)
    assert executor.tasks == 0


def a_result(**changes: Any) -> Result:
    options: dict[str, Any] = {
        "agent": "bc", "preset": "default", "config": {"hidden": 8}, "env_id": "toy/signals", "dataset": DATASET,
        "seed": 0, "evaluation_seed": 0, "greedy_returns": (1.0, 2.0), "backend": "toy-1",
    }  # fmt: skip
    return Result(**{**options, **changes})


def test_results_are_read_as_if_a_stranger_wrote_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save_result(a_result(), tmp_path)
    good = path.read_text()
    assert load_result(path) == a_result()
    cases = {
        "is not a finite number": good.replace("1.0", "NaN"),
        "greedy_returns is": good.replace("1.0", '"1.0"'),
        "seed is True, expected": good.replace('"seed": 0', '"seed": true', 1),
        "lacks": good.replace('"seed"', '"sead"', 1),
        "cannot be read": good[:50],
        "expected an object": "[1]",
        "it has no episodes": good.replace("1.0,", "").replace("2.0", ""),
        "counted from 0": good.replace('"seed": 0', '"seed": -1', 1),
        "cannot be read as a Result": "[" * 100_000,
        "larger than": " " * (16 * 2**20 + 1),
    }
    for words, bad in cases.items():
        path.write_text(bad)
        with pytest.raises(FormatError, match=words):
            load_result(path)
    assert load_results(tmp_path) == []
    assert "left out" in caplog.text


def test_a_result_that_is_not_finite_cannot_be_stored(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be stored as JSON"):
        save_result(a_result(greedy_returns=(float("nan"),)), tmp_path)


def test_names_of_results_cannot_leave_the_folder(tmp_path: Path) -> None:
    path = save_result(a_result(agent="../../x:Y", dataset="../a/b", preset=".."), tmp_path)
    assert path.resolve().is_relative_to(tmp_path.resolve())
    assert load_results(tmp_path)[0].agent == "../../x:Y"
