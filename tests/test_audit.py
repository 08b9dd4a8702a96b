"""``verify``: silent on sound data, and one finding for each way of breaking it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from offmarl_bench.audit import Report, verify
from offmarl_bench.errors import FormatError, UnknownName
from offmarl_bench.format.reader import read_dataset
from offmarl_bench.format.schema import Columns
from offmarl_bench.format.writer import write_dataset
from offmarl_bench.generate import generate
from tests.toy_pool import toy_pool

EPISODES = 40


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audit") / "low.h5"
    return generate("toy/signals", quality="low", episodes=EPISODES, pool=toy_pool(), out=out, progress=False)


def test_sound_data_has_no_errors(sound: Path) -> None:
    report = verify(sound)
    assert report.ok
    assert (report.dataset_id, report.episodes, report.steps) == ("toy/signals/low-v1", EPISODES, EPISODES * 8)
    assert not report.findings
    assert str(report).endswith(f"content hash {report.content_hash}: ok")
    assert report.to_json()["ok"] is True


Spoil = Callable[[Columns], None]


def spoiled(sound: Path, tmp_path: Path, spoil: Spoil, **metadata: object) -> Report:
    """The report on a copy whose columns were changed before it was written, so that its hash is right."""
    contents = read_dataset(sound)
    columns = {k: v.copy() for k, v in contents.columns.items()}
    spoil(columns)
    own = {k: v for k, v in contents.metadata.items() if k not in ("spec", "content_hash")}
    write_dataset(tmp_path / "x.h5", contents.spec, [columns], {**own, **metadata})
    return verify(tmp_path / "x.h5")


def put(name: str, where: Any, value: Any) -> Spoil:
    def spoil(columns: Columns) -> None:
        columns[name][where] = value

    return spoil


def twice(columns: Columns) -> None:
    for name in columns:
        if name != "episode_id":
            columns[name][9:18] = columns[name][:9]


def one_illegal(columns: Columns) -> None:
    columns["legal_actions"][3, 1, columns["actions"][3, 1]] = False


def all_illegal(columns: Columns) -> None:
    columns["legal_actions"][3, 1] = False


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            put("observations", (12, 0, 0), np.nan),
            "NaN or infinity in observations: 1 step, the first is episode 1, step 3",
        ),
        (put("state", (12, 0), np.inf), "NaN or infinity in state: 1 step, the first is episode 1, step 3"),
        (put("rewards", 12, np.nan), "NaN or infinity in rewards: 1 step"),
        (put("behavior_logprob", (12, 0), np.nan), "behavior_logprob finite: 1 rows"),
        (one_illegal, "illegal actions were taken: 1 step, the first is episode 0, step 3, agent 1"),
        (all_illegal, "an agent has no legal action: 1 step"),
        (put("actions", (8, 0), 1), "actions of last rows are 0: 1 rows, the first is episode 0, step 8"),
        (put("rewards", 8, 1), "rewards of last rows are 0: 1 rows"),
        (put("behavior_level", (8, 0), 1), "behavior_level of last rows is -1: 1 rows"),
        (put("behavior_policy", (8, 0), 1), "behavior_policy of last rows is -1: 1 rows"),
        (put("episode_id", 3, 7), "one episode_id an episode: 1 rows"),
        (put("episode_id", slice(9, 18), 0), "episode_id is not unique: 1 ids are used again"),
        (put("behavior_level", (3, 0), 3), "error: file: .*behavior_level"),
        (put("behavior_policy", (3, 0), -2), "behavior_policy at least -1: 1 rows"),
        (put("behavior_logprob", (3, 0), 0.5), "behavior_logprob at most 0: 1 rows"),
        (twice, "copies of each other: 1 of 40 are copies, the first is episode 1 of 0; 97.5% are unique; give every"),
        (put("behavior_level", (slice(8), 3), 1), "who played is not what the recipe says: 50%"),
        (put("rewards", 0, 0.125), "metadata 'return_mean': states"),
    ],
)  # fmt: skip
def test_each_way_of_breaking_it_is_found(sound: Path, tmp_path: Path, spoil: Spoil, says: str) -> None:
    report = spoiled(sound, tmp_path, spoil)
    assert not report.ok
    assert re.search(says, str(report))


def test_warnings_do_not_fail(sound: Path, tmp_path: Path) -> None:
    changing = spoiled(sound, tmp_path, put("behavior_level", (3, 0), 1))
    assert changing.ok
    assert "warning: not one behaviour level an agent and episode: 1 rows" in str(changing)
    nothing = spoiled(sound, tmp_path, put("rewards", slice(None), 0), return_mean=0)
    assert nothing.ok
    assert "warning: no reward: all are 0" in str(nothing)


def test_episodes_of_the_wrong_length_are_found(sound: Path, tmp_path: Path) -> None:
    def join(columns: Columns) -> None:
        columns["is_last"][8] = columns["is_first"][9] = False
        columns["timestep"][:18] = np.arange(18)

    def cut(columns: Columns) -> None:
        columns["is_last"][3] = columns["is_first"][4] = True
        columns["timestep"][:9] = [0, 1, 2, 3, 0, 1, 2, 3, 4]

    assert "error: episodes beyond the horizon: 1 episodes, up to 17 of 8 steps" in str(spoiled(sound, tmp_path, join))
    found = str(spoiled(sound, tmp_path, cut))
    assert "warning: ends are not marked: 2 of 41 stop without a flag before step 8, the first is episode 0" in found


def test_statements_and_hash_are_compared_with_the_content(sound: Path, tmp_path: Path) -> None:
    def nothing(_: Columns) -> None:
        return

    assert "metadata 'steps': states 7, the content has 320" in str(spoiled(sound, tmp_path, nothing, steps=7))
    assert "error: the recipe in the metadata is none" in str(spoiled(sound, tmp_path, nothing, recipe="50%[x]"))
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["rewards"][0] += 1
    assert "error: content hash: the file states" in str(verify(tmp_path / "x.h5"))


def test_a_broken_file_is_a_finding_and_a_missing_one_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(b"not HDF5")
    report = verify(tmp_path / "x.h5")
    assert not report.ok
    assert "error: file: " in str(report)
    with pytest.raises(FormatError, match=r"y.h5' does not exist; expected an HDF5 file"):
        verify(tmp_path / "y.h5")
    with pytest.raises(UnknownName, match="Generate it: `offmarl-bench generate toy signals --quality low`"):
        verify("toy/signals/low")
