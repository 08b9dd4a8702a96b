"""A first phase that runs have in common is trained once, and nobody can tell from the weights."""

from __future__ import annotations

import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from offmarl_bench.agent import Agent, make_agent
from offmarl_bench.errors import FormatError
from offmarl_bench.jobs import forget
from offmarl_bench.loader import Dataset, load_dataset
from offmarl_bench.logs import read_log
from offmarl_bench.runs import read_run
from offmarl_bench.train import train
from offmarl_bench.train_runs import train_runs
from sit.config import STAGE_ONE, SITConfig
from tests.imbalanced_toy import imbalanced

SMALL: dict[str, Any] = {
    "decompose_steps": 6,
    "decompose_episodes": 4,
    "members": 2,
    "reward_hidden": 8,
    "attention_hidden": 8,
    "learn_steps": 3,
    "learn_trajectories": 4,
}
ELSEWHERE: dict[str, Any] = {
    "filter": False,
    "gat": False,
    "priority": False,
    "oracle": True,
    "gamma": 0.5,
    "alpha": 0.3,
    "sampler": "cumulative",
    "share_episodes": 5,
    "effective_share": 0.2,
    "priority_range": 5.0,
    "critic_hidden": 8,
    "critic_lr": 0.1,
    "actor_hidden": 8,
    "actor_lr": 0.1,
    "learn_steps": 4,
    "learn_trajectories": 5,
    "target_interval": 2,
    "beta": 0.1,
    "score": "q",
    "scale_return": False,
    "td_lambda": 0.1,
    "trust_at_cut": 0.3,
    "policy": "deterministic",
    "action_samples": 2,
    "critic_warmup": 0,
    "uncertainty": "clipped",
    "eta": 2.0,
    "uncertainty_floor": 0.1,
    "uncertainty_low": 0.5,
    "uncertainty_high": 2.0,
}
"""Another value for every setting that stage I does not read."""
ALONE = {"decomposition", "objective", "decompose_steps"}
"""No stage I at all; a setting that needs another one (``score``) beside it; the length, which the trainer adds."""
READ: dict[str, Any] = {
    "attention": False,
    "decomposer": "monotonic",
    "members": 3,
    "reward_hidden": 9,
    "attention_hidden": 9,
    "mixing_hidden": 9,
    "decompose_lr": 1e-3,
    "decompose_episodes": 5,
    "decompose_transitions": 7,
    "standardise_reward": False,
    "mask_dead": False,
    "clip_norm": 1e-3,
    "rms_decay": 0.5,
    "rms_eps": 0.1,
}
"""Another value for every setting that it does."""


@pytest.fixture
def data(home: Path) -> Dataset:
    forget()
    path = home / "datasets/toy/signals/low-v1.h5"
    imbalanced(12, dataset_id="toy/signals/low-v1").save(path)
    return load_dataset(path)


def trained(
    data: Dataset, folder: Path, stages: Path | None, name: str = "sit", seed: int = 3, **changes: Any
) -> Agent:
    agent = make_agent(name, data.spec, seed=seed, **{**SMALL, **changes})
    train(agent, data, folder, seed=seed, log_every=2, stages=stages, progress=False)
    return agent


def same(a: Agent, b: Agent, part: str = "") -> bool:
    ours = {k: v for k, v in a.state_dict().items() if k.startswith(part)}
    return bool(ours) and all(torch.equal(v, b.state_dict()[k]) for k, v in ours.items())


def test_a_run_that_takes_the_stage_over_ends_as_one_that_trains_it(
    data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stages = tmp_path / "stages"
    trained(data, tmp_path / "first", stages)
    alone = trained(data, tmp_path / "alone", None, "bc-sit-sampler", actor_lr=0.01)
    with caplog.at_level(logging.INFO):
        taken = trained(data, tmp_path / "taken", stages, "bc-sit-sampler", actor_lr=0.01)
    assert "takes 'decompose' from another run and starts at update 6" in caplog.text
    assert same(alone, taken)
    assert len(list(stages.iterdir())) == 1
    rows, expected = ([{**r, "seconds": 0} for r in read_log(tmp_path / x)] for x in ("taken", "alone"))
    assert rows == expected, "the log of the stage comes along"
    first = [r["seconds"] for r in read_log(tmp_path / "first") if r["phase"] == "decompose"]
    assert [r["seconds"] for r in read_log(tmp_path / "taken")][: len(first)] == first
    assert read_run(tmp_path / "taken")[1].seconds >= first[-1], "training took what it would have taken alone"


def test_the_two_lists_name_every_setting() -> None:
    assert set(READ) == set(STAGE_ONE)
    assert set(READ) | set(ELSEWHERE) | ALONE == {f.name for f in fields(SITConfig)}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_stage_one_reads_no_other_setting(data: Dataset, tmp_path: Path, name: str) -> None:
    stages = tmp_path / "stages"
    first = trained(data, tmp_path / "first", stages)
    other = trained(data, tmp_path / "alone", None, **{name: ELSEWHERE[name]})
    assert same(first, other, "ardnem."), f"stage I reads {name}: add it to STAGE_ONE"
    taken = trained(data, tmp_path / "taken", stages, **{name: ELSEWHERE[name]})
    assert len(list(stages.iterdir())) == 1
    assert same(other, taken)


@pytest.mark.parametrize(
    "change", [{name: value} for name, value in READ.items()] + [{"decompose_steps": 7}, {"seed": 4}], ids=str
)
def test_another_stage_one_is_trained(data: Dataset, tmp_path: Path, change: dict[str, Any]) -> None:
    stages = tmp_path / "stages"
    trained(data, tmp_path / "first", stages)
    trained(data, tmp_path / "second", stages, **change)
    assert len(list(stages.iterdir())) == 2


def test_other_data_share_nothing(data: Dataset, tmp_path: Path) -> None:
    stages = tmp_path / "stages"
    trained(data, tmp_path / "first", stages)
    imbalanced(12, seed=1).save(tmp_path / "other.h5")
    trained(load_dataset(tmp_path / "other.h5"), tmp_path / "second", stages)
    assert len(list(stages.iterdir())) == 2
    trained(imbalanced(12), tmp_path / "third", stages)
    assert len(list(stages.iterdir())) == 2, "data without a hash are nobody else's"


def test_a_damaged_stage_is_named(data: Dataset, tmp_path: Path) -> None:
    stages = tmp_path / "stages"
    trained(data, tmp_path / "first", stages)
    (file,) = stages.iterdir()
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(bytes(raw))
    with pytest.raises(FormatError, match=r"decompose-.*checksum.*delete it, and the phase is trained anew"):
        trained(data, tmp_path / "second", stages)


def test_two_agents_share_what_both_compute(data: Dataset, tmp_path: Path) -> None:
    """MABCQ's behaviour policy is CFCQL's, whatever each does with it."""
    few: dict[str, Any] = {"hidden": 8, "behaviour_steps": 4, "steps": 2}

    def run(name: str, folder: str, stages: Path | None) -> Agent:
        agent = make_agent(name, data.spec, seed=3, **few)
        train(agent, data, tmp_path / folder, seed=3, stages=stages, progress=False)
        return agent

    first, alone = run("mabcq", "first", tmp_path / "stages"), run("cfcql", "alone", None)
    taken = run("cfcql", "taken", tmp_path / "stages")
    assert len(list((tmp_path / "stages").iterdir())) == 1
    assert same(first, taken, "behaviour.")
    assert same(alone, taken)


def test_runs_of_a_benchmark_share_beside_their_folders(data: Dataset, home: Path) -> None:
    for name in ("sit", "bc-sit-sampler"):
        train_runs(name, "toy/signals/low-v1", seeds=1, overrides=SMALL, progress=False)
    assert [p.name[:10] for p in (home / "runs/toy/signals/low-v1/stages").iterdir()] == ["decompose-"]
