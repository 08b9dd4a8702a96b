"""The trainer: resuming equals never having stopped, and whatever goes wrong leaves a run that can go on."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from offmarl_bench import registry
from offmarl_bench.agent import Agent, Metrics, Phase, Policy, make_agent
from offmarl_bench.alone import alone_in
from offmarl_bench.bench_train import players
from offmarl_bench.budget import parse_budget, steps_of
from offmarl_bench.checkpoint import LATEST, load_checkpoint
from offmarl_bench.envs.toy import SPECS
from offmarl_bench.errors import FormatError, OffmarlError, SpecMismatch
from offmarl_bench.loader import Dataset
from offmarl_bench.logs import RunLog, read_curve, read_log
from offmarl_bench.runs import RECORD, WEIGHTS, load_agent, read_run, run_key
from offmarl_bench.train import PROBES, probe_steps, train
from offmarl_bench.types import Batch
from tests import toy_continuous
from tests.toy_data import SPEC, expert_dataset

UPDATES = 20


class Killed(BaseException):
    """Stands for the power going off: nothing catches it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyConfig:
    """Settings of the stand-in."""

    steps: int = 10


class Noisy(Agent):
    """Three phases, torch's own randomness (dropout), a table derived in ``start``, a phase no budget may change."""

    Config = NoisyConfig
    config: NoisyConfig

    def __init__(self, config: NoisyConfig | None = None) -> None:
        super().__init__(SPEC, config or NoisyConfig())
        self.first, self.second = torch.nn.Linear(SPEC.O, 4), torch.nn.Linear(SPEC.O, 4)
        self.noise = torch.nn.Dropout(0.5)
        self.optimizers = {"adam": torch.optim.Adam([*self.first.parameters(), *self.second.parameters()], lr=0.01)}
        self.hook: Callable[[], None] = lambda: None
        self.scale = torch.zeros(())
        self.started: list[str] = []

    def phases(self, dataset: Dataset) -> list[Phase]:
        def sample(generator: np.random.Generator) -> Batch:
            return dataset.sample(4, generator=generator)

        return [
            Phase(name="one", steps=self.config.steps, batches=sample, update=lambda b: self.fit(self.first, b)),
            Phase(name="mid", steps=2, batches=sample, update=lambda b: {"seen": 1.0}, scalable=False),
            Phase(
                name="two", steps=self.config.steps, batches=sample,
                update=lambda b: self.fit(self.second, b), start=self.derive,
            ),
        ]  # fmt: skip

    def derive(self) -> None:
        self.started.append("two")
        self.scale = self.first.weight.detach().sum()

    def fit(self, net: torch.nn.Linear, batch: Batch) -> Metrics:
        self.hook()
        loss = (self.noise(net(batch.obs)) - 1 - self.scale).square().mean()
        self.optimizers["adam"].zero_grad()
        loss.backward()
        self.optimizers["adam"].step()
        return {"loss": loss.detach()}

    def policy(self, greedy: bool = True) -> Policy:
        raise NotImplementedError


def after(calls: int, act: Callable[[], None]) -> Callable[[], None]:
    """A function that does nothing until it has been called ``calls`` times, then acts once."""
    count = 0

    def hook() -> None:
        nonlocal count
        count += 1
        if count == calls:
            act()

    return hook


def kill() -> None:
    raise Killed


def same(a: Agent, b: Agent) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def noisy() -> Noisy:
    torch.manual_seed(0)
    return Noisy()


@pytest.mark.parametrize("at", range(1, UPDATES + 1, 3))
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, at: int) -> None:
    data = expert_dataset(8)
    whole, broken, resumed = noisy(), noisy(), noisy()
    train(whole, data, tmp_path / "whole", seed=1, checkpoint_every=4)
    broken.hook = after(at, kill)
    with pytest.raises(Killed):
        train(broken, data, tmp_path / "broken", seed=1, checkpoint_every=4)
    torch.manual_seed(99)  # whatever else the process did with torch's random state
    train(resumed, data, tmp_path / "broken", seed=1, checkpoint_every=4)
    assert same(whole, resumed)
    assert (tmp_path / "whole" / WEIGHTS).read_bytes() == (tmp_path / "broken" / WEIGHTS).read_bytes()
    totals = [row["total"] for row in read_log(tmp_path / "broken")]
    assert totals == sorted(set(totals)), "no update is logged twice"
    assert resumed.started == ["two"], "what start derives is derived again when the run resumes in its phase"


@pytest.mark.parametrize("name", registry.names("agents"))
@pytest.mark.parametrize("at", [0.3, 0.5, 0.8])
def test_every_agent_resumes_exactly(tmp_path: Path, name: str, at: float, monkeypatch: pytest.MonkeyPatch) -> None:
    data = expert_dataset(32, dataset_id="toy/signals/expert-v1")
    if name not in players(SPEC.id):  # an agent for continuous actions only
        data = toy_continuous.expert_dataset(32, dataset_id=f"{toy_continuous.SPEC.id}/expert-v1")
    cls = registry.resolve("agents", name)
    whole = make_agent(name, data.spec, seed=3)
    train(whole, data, tmp_path / "whole", seed=3, budget=UPDATES, checkpoint_every=5)
    _, record = read_run(tmp_path / "whole")
    broken = make_agent(name, data.spec, seed=3)
    original = cls.phases
    hook = after(max(1, round(at * record.updates)), kill)

    def interrupted(self: Agent, dataset: Dataset) -> list[Phase]:
        def wrap(phase: Phase) -> Phase:
            def update(batch: Batch) -> Metrics:
                hook()
                return phase.update(batch)

            return Phase(
                name=phase.name, steps=phase.steps, batches=phase.batches, update=update, start=phase.start,
                scalable=phase.scalable, common=phase.common,
            )  # fmt: skip

        return [wrap(p) for p in original(self, dataset)]

    with monkeypatch.context() as patch:
        patch.setattr(cls, "phases", interrupted)
        with pytest.raises(Killed):
            train(broken, data, tmp_path / "broken", seed=3, budget=UPDATES, checkpoint_every=5)
    resumed = make_agent(name, data.spec, seed=3)
    train(resumed, data, tmp_path / "broken", seed=3, budget=UPDATES, checkpoint_every=5)
    assert same(whole, resumed)


def test_another_seed_trains_another_agent(tmp_path: Path) -> None:
    data = expert_dataset(8)
    one, two = noisy(), noisy()
    train(one, data, tmp_path / "1", seed=1)
    train(two, data, tmp_path / "2", seed=2)
    assert not same(one, two)


def test_ctrl_c_saves_and_the_same_call_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = expert_dataset(8)
    whole, broken, resumed = noisy(), noisy(), noisy()
    train(whole, data, tmp_path / "whole", seed=1)
    broken.hook = after(7, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(broken, data, tmp_path / "broken", seed=1)
    assert "stopped at update 7 of 22; the checkpoint is in" in caplog.text
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    train(resumed, data, tmp_path / "broken", seed=1)
    assert same(whole, resumed)


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    agent = noisy()

    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    agent.hook = twice
    with pytest.raises(KeyboardInterrupt):
        train(agent, expert_dataset(8), tmp_path, seed=1)
    assert not (tmp_path / LATEST).exists()


def test_a_finished_run_is_reused_and_can_be_loaded(tmp_path: Path) -> None:
    data = expert_dataset(8, dataset_id="toy/signals/expert-v1", content_hash="abc")
    agent = make_agent("bc", SPEC, seed=4, hidden=8)
    train(agent, data, tmp_path, seed=4, budget=5)
    again = make_agent("bc", SPEC, seed=5, hidden=8)
    assert train(again, data, tmp_path, seed=4, budget=5) == tmp_path
    loaded = load_agent(tmp_path)
    assert same(agent, again)
    assert same(agent, loaded)
    assert (loaded.name, loaded.preset, loaded.config, loaded.spec) == ("bc", "default", agent.config, SPEC)
    plan, record = read_run(tmp_path)
    assert (plan.dataset, plan.dataset_hash, plan.seed, plan.budget) == ("toy/signals/expert-v1", "abc", 4, 5)
    assert record.updates == 5
    assert record.versions["torch"] == torch.__version__
    assert not (tmp_path / LATEST).exists(), "a finished run needs no checkpoint"
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    data = expert_dataset(8)
    train(make_agent("bc", SPEC, hidden=8), data, tmp_path, seed=0, budget=5)
    with pytest.raises(OffmarlError, match="holds another run: seed was 0, now 1; choose another folder"):
        train(make_agent("bc", SPEC, hidden=8), data, tmp_path, seed=1, budget=5)


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    data, run, said = expert_dataset(8), tmp_path / "run", []

    def again() -> None:
        with pytest.raises(OffmarlError, match=r"another process is training in .*run; wait for it or end it"):
            train(noisy(), data, run, seed=0)
        said.append("refused")

    agent = noisy()
    agent.hook = after(3, again)
    train(agent, data, run, seed=0)
    assert said == ["refused"]
    with alone_in(run, "reading"):  # finished: anybody may load it
        loaded = noisy()
        train(loaded, data, run, seed=0)
        assert same(agent, loaded)


def test_a_loss_that_is_not_finite_stops_with_one_line(tmp_path: Path) -> None:
    agent = noisy()

    def spoil() -> None:
        with torch.no_grad():
            agent.first.weight.fill_(torch.nan)

    agent.hook = after(7, spoil)
    with pytest.raises(OffmarlError, match=r"stopped: one/loss became nan by update 8; the last good checkpoint"):
        train(agent, expert_dataset(8), tmp_path, seed=1, checkpoint_every=4)
    kept = load_checkpoint(tmp_path, noisy(), np.random.default_rng())
    assert kept is not None
    assert (kept.phase, kept.step) == (0, 4)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    agent = noisy()

    def spoil() -> None:
        with torch.no_grad():
            agent.second.bias.fill_(torch.inf)

    agent.hook = spoil
    with pytest.raises(OffmarlError, match=r"weight second.bias is no longer finite by update 10"):
        train(agent, expert_dataset(8), tmp_path, seed=1)
    assert not (tmp_path / LATEST).exists()


def test_the_learning_curve_has_points_over_the_last_phase_and_changes_nothing(tmp_path: Path) -> None:
    played: list[float] = []

    def probe(agent: Agent) -> float:
        assert not agent.training
        torch.rand(3)  # whatever a probe draws must not reach the training
        played.append(float(len(played)))
        return played[-1]

    data = expert_dataset(16)
    plain, probed = (make_agent("bc", SPEC, updates=40) for _ in range(2))
    train(plain, data, tmp_path / "plain", seed=0)
    train(probed, data, tmp_path / "probed", seed=0, probe=probe)
    assert read_curve(tmp_path / "plain") == []
    assert read_curve(tmp_path / "probed") == [(4 * k, k - 1.0) for k in range(1, 11)]
    for a, b in zip(plain.state_dict().values(), probed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_curve_of_a_resumed_run_has_every_point_once(tmp_path: Path) -> None:
    data = expert_dataset(16)

    def stop(agent: Agent) -> float:
        if len(read_curve(tmp_path)) == 5:
            raise Killed
        return 1.0

    with pytest.raises(Killed):
        train(make_agent("bc", SPEC, updates=40), data, tmp_path, seed=0, probe=stop, checkpoint_every=10)
    train(make_agent("bc", SPEC, updates=40), data, tmp_path, seed=0, probe=lambda _: 2.0, checkpoint_every=10)
    # Killed while the point of update 24 was played, after the checkpoint of update 20.
    assert read_curve(tmp_path) == [(4 * k, 1.0 if k <= 5 else 2.0) for k in range(1, 11)]


def test_curve_points_are_in_the_last_phase_only() -> None:
    assert probe_steps(0, [100, 40]) == set()
    assert probe_steps(1, [100, 40]) == {4 * k for k in range(1, PROBES + 1)}
    assert probe_steps(0, [3]) == {1, 2, 3}


def test_the_log_has_means_in_order_and_no_nan(tmp_path: Path) -> None:
    train(noisy(), expert_dataset(8), tmp_path, seed=1, log_every=5)
    rows = read_log(tmp_path)
    assert [(r["phase"], r["step"], r["total"]) for r in rows] == [
        ("one", 5, 5), ("one", 10, 10), ("mid", 2, 12), ("two", 5, 17), ("two", 10, 22),
    ]  # fmt: skip
    assert rows[2]["seen"] == 1.0
    assert all(json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())


def test_a_log_cut_by_a_kill_goes_on_after_its_last_whole_line(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for total in (5, 10, 15):
            log.write("learn", total, total, 1.0, {"loss": 0.5, "auc": float("nan")})
    path = tmp_path / "log.jsonl"
    path.write_text(path.read_text()[:-10])
    assert [row["total"] for row in read_log(tmp_path)] == [5, 10]
    with RunLog(tmp_path, total=5) as log:
        log.write("learn", 10, 10, 1.0, {"loss": 0.25})
    rows = read_log(tmp_path)
    assert [(row["total"], row["loss"]) for row in rows] == [(5, 0.5), (10, 0.25)]
    assert rows[0]["auc"] is None


def test_training_leaves_torch_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    agent = Noisy.__new__(Noisy)
    with torch.random.fork_rng(devices=[]):
        agent = Noisy()
    train(agent, expert_dataset(8), tmp_path, seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


def test_the_wrong_data_is_refused(tmp_path: Path) -> None:
    data = expert_dataset(8)
    agent = make_agent("bc", SPECS["signals"])
    agent.spec = SPECS["target"]
    with pytest.raises(SpecMismatch, match=r"bc was made for toy/target .* but the data come from toy/signals"):
        train(agent, data, tmp_path, seed=0)


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no finished run here"):
        load_agent(tmp_path)
    (tmp_path / RECORD).write_text('{"plan": {}}')
    with pytest.raises(FormatError, match="RunRecord lacks"):
        load_agent(tmp_path)


def phase(name: str, steps: int, scalable: bool = True) -> Phase:
    return Phase(name=name, steps=steps, batches=lambda g: None, update=lambda b: {}, scalable=scalable)  # type: ignore


def test_budgets() -> None:
    sit_like = [phase("decompose", 20_000), phase("share", 7, scalable=False), phase("learn", 15_000)]
    assert steps_of(sit_like, "paper") == [20_000, 7, 15_000]
    assert steps_of(sit_like, "quick") == [1000, 7, 750]
    assert steps_of(sit_like, "10%") == [2000, 7, 1500]
    assert steps_of(sit_like, "100%") == steps_of(sit_like, "paper")
    assert steps_of(sit_like, "0.001%") == [1, 7, 1]
    assert steps_of(sit_like, 700) == [400, 7, 300]
    assert steps_of(sit_like, 2) == [1, 7, 1]
    for budget in (3, 10, 101, 34_999):
        steps = steps_of(sit_like, budget)
        assert steps[0] + steps[2] == budget
    assert parse_budget("300") == 300


@pytest.mark.parametrize("bad", ["fast", "", "-3", "0", "1.5", "0%", "101%", "%", "5 %", 0])
def test_budgets_that_are_none(bad: str | int) -> None:
    with pytest.raises(FormatError, match=r"expected 'paper', 'quick', '10%' of the paper's or a positive number"):
        parse_budget(bad)


def test_a_budget_too_small_for_its_phases() -> None:
    with pytest.raises(FormatError, match="budget 1: 2 phases need at least one update each"):
        steps_of([phase("a", 5), phase("b", 5)], 1)


def test_run_folders_are_safe_whatever_the_names() -> None:
    path = run_key("my_package.x:Agent", "../..", "smac/2s3z/low-v1", "abc", 3)
    assert path == Path("smac/2s3z/low-v1/my_package.x-Agent@..-../abc/seed-3")
