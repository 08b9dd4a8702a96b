"""What a run writes down: JSON lines, the same as CSV and TensorBoard events, and Weights & Biases where asked for."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from tensorboardX.proto.event_pb2 import Event

from offmarl_bench import wandb_log
from offmarl_bench.agent import make_agent
from offmarl_bench.cli import main
from offmarl_bench.csv_log import CsvTable
from offmarl_bench.errors import OffmarlError
from offmarl_bench.logs import RunLog, read_curve, read_log
from offmarl_bench.train import train
from tests.toy_data import SPEC, expert_dataset

STAND_IN = """
import json, os
from pathlib import Path
LOG = Path(os.environ["STAND_IN_LOG"])
def _say(*what):
    with LOG.open("a") as file:
        file.write(json.dumps(what) + "\\n")
class _Run:
    def define_metric(self, name, step_metric=None): _say("axis", name, step_metric)
    def log(self, values): _say("log", values)
    def finish(self, exit_code): _say("finish", exit_code)
def init(**settings):
    if settings["project"] == "nowhere":
        raise RuntimeError("api_key not configured\\nmore of it")
    _say("init", settings)
    return _Run()
"""


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package called wandb that writes down how it is used; gives its log."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "wandb.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setenv("STAND_IN_LOG", str(tmp_path / "said.jsonl"))
    return tmp_path / "said.jsonl"


def said(log: Path, what: str) -> list[list[Any]]:
    return [row[1:] for row in map(json.loads, log.read_text().splitlines()) if row[0] == what]


def events(folder: Path) -> dict[tuple[str, int], float]:
    """(name, update) → value of all TensorBoard events of a run; a record is its length, a CRC, itself, a CRC."""
    found: dict[tuple[str, int], float] = {}
    for path in (folder / "tensorboard").iterdir():
        left = path.read_bytes()
        while left:
            (size,) = struct.unpack("<Q", left[:8])
            event = Event.FromString(left[12 : 12 + size])
            found |= {(v.tag, event.step): v.simple_value for v in event.summary.value}
            left = left[16 + size :]
    return found


def test_csv_and_tensorboard_hold_what_the_json_lines_hold(tmp_path: Path) -> None:
    agent = make_agent("bc", SPEC, hidden=8, updates=40)
    train(agent, expert_dataset(8), tmp_path, seed=0, log_every=10, probe=lambda _: 2.5)
    rows, table = read_log(tmp_path), pd.read_csv(tmp_path / "log.csv")
    assert len(rows) == 4
    assert list(table.columns) == list(rows[0])
    assert table.to_dict("records") == [pytest.approx(row) for row in rows]
    assert [tuple(row) for row in pd.read_csv(tmp_path / "curve.csv")[["total", "mean_return"]].values.tolist()] == (
        read_curve(tmp_path)
    )
    board = events(tmp_path)
    for row in rows:
        assert board["learn/loss", row["total"]] == pytest.approx(row["loss"])
    assert board["evaluate/mean_return", 40] == 2.5


def test_columns_come_when_a_phase_brings_them_and_nan_is_empty(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.write("clone", 5, 5, 1.0, {"loss": 0.5, "auc": float("nan")})
        log.write("clone", 10, 10, 2.0, {"loss": 0.25})
        log.write("learn", 5, 15, 3.0, {"q, mean": 1.5})
    assert (tmp_path / "log.csv").read_text() == (
        'phase,step,total,seconds,loss,auc,"q, mean"\n'
        "clone,5,5,1.0,0.5,,\nclone,10,10,2.0,0.25,,\nlearn,5,15,3.0,,,1.5\n"
    )


def test_a_resumed_run_has_no_line_twice_in_its_tables(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for total in (5, 10):
            log.write("learn", total, total, 1.0, {"loss": 0.5})
            log.curve(total, 1.0, 3.0)
    with RunLog(tmp_path, total=5) as log:
        log.write("learn", 10, 10, 1.0, {"loss": 0.75})
        log.curve(10, 1.0, 4.0)
    assert pd.read_csv(tmp_path / "log.csv").loss.tolist() == [0.5, 0.75]
    assert pd.read_csv(tmp_path / "curve.csv").mean_return.tolist() == [3.0, 4.0]


def test_a_table_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(OffmarlError, match=r"log\.csv"):
        CsvTable(tmp_path / "log.csv")


def test_weights_and_biases_gets_the_same_numbers_on_our_axis(tmp_path: Path, wandb: Path) -> None:
    agent = make_agent("bc", SPEC, hidden=8, updates=20)
    data = expert_dataset(8, dataset_id="toy/signals/expert-v1")
    train(agent, data, tmp_path / "run", seed=3, log_every=10, probe=lambda _: 2.5, wandb="mine")
    ((settings,),) = said(wandb, "init")
    assert (settings["project"], settings["resume"]) == ("mine", "allow")
    assert (settings["name"], settings["group"]) == (
        "bc@default toy/signals/expert-v1 seed 3", "bc@default toy/signals/expert-v1",
    )  # fmt: skip
    assert settings["config"]["config"]["hidden"] == 8
    assert said(wandb, "axis") == [["updates", None], ["*", "updates"]]
    logged = [values for (values,) in said(wandb, "log")]
    assert [v["learn/loss"] for v in logged if "learn/loss" in v] == [row["loss"] for row in read_log(tmp_path / "run")]
    assert {"evaluate/mean_return": 2.5, "updates": 20} in logged
    assert said(wandb, "finish") == [[0]]


def test_the_same_run_comes_back_under_the_same_id_and_says_that_it_failed(tmp_path: Path, wandb: Path) -> None:
    data = expert_dataset(8)

    def stop(_: object) -> float:
        raise OffmarlError("the power went")

    for folder, seed in (("a", 0), ("a", 0), ("b", 1)):
        with pytest.raises(OffmarlError, match="the power went"):
            train(make_agent("bc", SPEC, hidden=8), data, tmp_path / folder, seed=seed, budget=5, probe=stop, wandb="p")
    ids = [settings["id"] for (settings,) in said(wandb, "init")]
    assert ids[0] == ids[1] != ids[2]
    assert said(wandb, "finish") == [[1], [1], [1]]


def test_whatever_keeps_it_from_starting_is_one_line(tmp_path: Path, wandb: Path) -> None:
    with pytest.raises(OffmarlError, match=r"cannot start for project 'nowhere': api_key not configured; try `wandb"):
        train(make_agent("bc", SPEC, hidden=8), expert_dataset(8), tmp_path / "r", seed=0, budget=5, wandb="nowhere")


def test_the_commands_pass_it_on(home: Path, wandb: Path) -> None:
    expert_dataset(16).save(home / "mine.h5")
    words = [str(home / "mine.h5"), "--seeds", "2", "--budget", "5", "--workers", "1", "--wandb", "mine"]
    done = CliRunner().invoke(main, ["train", "bc", *words])
    assert done.exit_code == 0, done.output
    assert [settings["config"]["seed"] for (settings,) in said(wandb, "init")] == [0, 1]
    done = CliRunner().invoke(main, ["evaluate", "bc", "--dataset", *words, "--budget", "6", "--episodes", "2"])
    assert done.exit_code == 0, done.output
    assert len(said(wandb, "init")) == 4


def test_without_the_package_one_line_names_the_extra_before_anything_is_trained(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_log, "PACKAGE", "surely_not_installed")
    expert_dataset(16).save(home / "mine.h5")
    done = CliRunner().invoke(main, ["train", "bc", str(home / "mine.h5"), "--wandb", "mine", "--workers", "1"])
    assert done.exit_code == 1
    assert "package is not installed: pip install 'offmarl-bench[wandb]', or leave --wandb out" in done.stderr
    assert not (home / "runs").exists()
