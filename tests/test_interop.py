"""There and back: other people's formats give our arrays back, and what they cannot hold is on a list."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import minari
import numpy as np
import pytest

from offmarl_bench.doctor.report import diagnose
from offmarl_bench.envs import get_spec
from offmarl_bench.errors import FormatError, OffmarlError, SpecMismatch, UnknownName
from offmarl_bench.format import hdf5
from offmarl_bench.format.content_hash import content_hash
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.interop import exports, imports
from offmarl_bench.interop.losses import Loss
from offmarl_bench.loader import Dataset
from offmarl_bench.policies import UniformPolicy
from offmarl_bench.recording import record
from offmarl_bench.types import EnvSpec
from tests.test_exports import CONTINUOUS
from tests.test_format import SPEC, episodes

BEHAVIOUR = {"behavior_level", "behavior_policy", "behavior_logprob"}
WITH_SIZES = EnvSpec(
    id="toy/z", agents=("left", "right"), agent_types=("l", "r"), O=4, S=5, A=3, discrete=True, horizon=20,
    obs_sizes=(4, 2), action_sizes=(3, 3),
)  # fmt: skip
METADATA = {"dataset_id": "toy/x/mine-v1", "seed": 3, "recipe": "100%[a1r,a2r,b1r]", "note": {"é": [1, None]}}


def toy(spec: EnvSpec = SPEC) -> Dataset:
    return Dataset.from_episodes(episodes(spec, [5, 2, 9, 1]), spec, METADATA)


@pytest.fixture(scope="module")
def smac() -> Dataset:
    return record("smac/2s3z", UniformPolicy(get_spec("smac/2s3z")), episodes=6, progress=False)


def assert_same(there: Dataset, back: Dataset, without: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Array for array, types included."""
    assert set(back.columns) == set(there.columns)
    for name, column in there.columns.items():
        assert back.columns[name].dtype == column.dtype
        if name not in without:
            np.testing.assert_array_equal(back.columns[name], column, err_msg=name)
    np.testing.assert_array_equal(back.returns, there.returns)


@pytest.mark.parametrize("spec", [SPEC, CONTINUOUS, WITH_SIZES], ids=lambda s: s.id)
def test_minari_gives_everything_back(spec: EnvSpec, tmp_path: Path) -> None:
    data = toy(spec)
    assert data.losses("minari") == []
    back = Dataset.from_minari(data.to_minari(tmp_path / "mine"))
    assert_same(data, back)
    assert back.spec == spec
    assert {k: v for k, v in back.metadata.items() if k != "imported"} == METADATA
    assert back.metadata["imported"] == {"format": "minari", "file": "mine", "assumed": []}


@pytest.mark.parametrize("spec", [SPEC, CONTINUOUS, WITH_SIZES], ids=lambda s: s.id)
def test_pymarl_gives_everything_back_but_who_played(spec: EnvSpec, tmp_path: Path) -> None:
    data = toy(spec)
    assert {loss.what for loss in data.losses("pymarl")} == BEHAVIOUR
    back = Dataset.from_pymarl(data.to_pymarl(tmp_path / "mine.h5"))
    assert_same(data, back, BEHAVIOUR)
    assert back.spec == spec
    assert (back.metadata["seed"], back.metadata["note"]) == (3, {"é": [1, None]})
    assert back.metadata["dataset_id"] is None, "with something missing it is no longer that dataset"
    assert (back.columns["behavior_level"] == -1).all()
    assert back[0].behavior_logprob is None


def test_smac_there_and_back(smac: Dataset, tmp_path: Path) -> None:
    folder = smac.to_minari(tmp_path / "m", dataset_id="smac/2s3z-v0")
    assert_same(smac, Dataset.from_minari(folder))
    assert "no-behaviour" not in {f.code for f in diagnose([folder], progress=False).patients[0].findings}
    back = Dataset.from_pymarl(smac.to_pymarl(tmp_path / "p.h5"), "smac/2s3z")
    assert_same(smac, back, BEHAVIOUR)
    saved = back.save(tmp_path / "ours.h5")
    assert content_hash(back.columns, back.spec) == read_metadata(saved)[1]["content_hash"]


def test_minaris_own_library_reads_what_we_write(
    smac: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    smac.to_minari(dataset_id="smac/2s3z/random-v0")
    theirs = minari.load_dataset("smac/2s3z/random-v0")
    assert (theirs.total_episodes, theirs.total_steps) == (len(smac), int(smac.lengths.sum()))
    for ours, episode in zip(smac, theirs.iterate_episodes(), strict=True):
        np.testing.assert_array_equal(episode.observations, ours.observations)
        np.testing.assert_array_equal(episode.actions, ours.actions)
        np.testing.assert_array_equal(episode.rewards, ours.rewards)
        np.testing.assert_array_equal(episode.infos["state"], ours.state)
        np.testing.assert_array_equal(episode.infos["legal_actions"], ours.legal_actions)
        assert (episode.terminations[-1], episode.truncations[-1]) == (ours.terminal, not ours.terminal)
    assert_same(smac, Dataset.from_minari("smac/2s3z/random-v0"))
    with pytest.raises(FormatError, match=r"no Minari dataset 'smac/2s3z/randm-v0', neither here nor in"):
        Dataset.from_minari("smac/2s3z/randm-v0")


def test_what_minari_cannot_take(tmp_path: Path) -> None:
    data = toy()
    data.to_minari(tmp_path / "mine")
    with pytest.raises(OffmarlError, match=r"mine exists already; choose another name, or remove it first"):
        data.to_minari(tmp_path / "mine")
    with pytest.raises(FormatError, match=r"Minari refuses the name 'no version'; expected namespace/name-v0"):
        data.to_minari(tmp_path / "other", dataset_id="no version")
    with pytest.raises(FormatError, match=r"this dataset has no id; give dataset_id="):
        Dataset.from_episodes(episodes(SPEC, [2]), SPEC).to_minari()
    with pytest.raises(OffmarlError, match=r"there are no episodes to write; loosen the filter"):
        data.episodes(min_return=1e9).to_minari(tmp_path / "none")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine"], "nothing half-written is left"


def test_absent_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "minari.data_collector", None)
    monkeypatch.setitem(__import__("sys").modules, "tensordict", None)
    with pytest.raises(OffmarlError, match=r"Minari is not installed; pip install 'offmarl-bench\[minari\]'"):
        toy().to_minari(tmp_path / "x")
    with pytest.raises(OffmarlError, match=r"tensordict is not installed; pip install 'offmarl-bench\[tensordict\]'"):
        toy().to_tensordict()


def test_episode_ids_that_are_not_0_1_2_are_a_loss_that_is_told(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    data = toy()
    view = Dataset(data.spec, data.columns, data.row_starts[1:], data.lengths[1:], METADATA)
    told = Loss("episode_id", "episodes are numbered 0, 1, 2, … anew")
    assert view.losses("minari") == [told]
    with caplog.at_level(logging.INFO, "offmarl_bench"):
        view.to_minari(tmp_path / "view")
    assert "not carried over: episode_id: episodes are numbered 0, 1, 2, … anew" in caplog.text
    with pytest.raises(UnknownName, match=r"export format 'minary'.*minari"):
        view.losses("minary")


def test_the_names_say_what_kind_of_file_it_is(tmp_path: Path) -> None:
    assert_same(toy(), Dataset.from_pymarl_h5(toy().to_pymarl_h5(tmp_path / "x.h5")), BEHAVIOUR)


def test_a_place_may_be_given_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_same(toy(), Dataset.from_minari(toy().to_minari("mine")))
    assert toy().to_pymarl("mine.h5") == Path("mine.h5")
    exports.export(toy(), "tensordict", Path("td"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "mine.h5", "td"]


def test_tensors_share_the_datasets_memory() -> None:
    data = toy()
    tensors = data.to_torch()
    assert {n: t.data_ptr() for n, t in tensors.items()} == {n: c.ctypes.data for n, c in data.columns.items()}


def strip(*names: str) -> Callable[[Path], None]:
    """A PyMARL file as a stranger would have written it."""

    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file.attrs["metadata"]
            for name in names:
                del file[name]

    return change


def test_a_strangers_file_is_inferred_and_every_guess_is_listed(smac: Dataset, tmp_path: Path) -> None:
    path = smac.to_pymarl(tmp_path / "3m.h5")
    strip("state", "avail_actions", "actions_onehot")(path)
    back = Dataset.from_file(path, name="smac/3m")
    assert (back.spec.id, back.spec.agents[:2], back.spec.S) == ("smac/3m", ("agent1", "agent2"), 5 * 80)
    np.testing.assert_array_equal(back.columns["state"], smac.columns["observations"].reshape(-1, 400))
    assert back.columns["legal_actions"].all()
    said = " ".join(back.metadata["imported"]["assumed"])
    for words in ("agents: the file has no names", "A: the file does not say how many actions there are",
                  "state: the file has none", "legal_actions: the file has none; every action counts as legal",
                  "unknown: the file does not say who played"):  # fmt: skip
        assert words in said
    assert back.metadata["episodes"] == 6
    with pytest.raises(SpecMismatch, match=r"its arrays are not those of smac/8m: N 5, expected 8; name the"):
        Dataset.from_file(path, env="smac/8m")
    with pytest.raises(UnknownName, match="smac"):
        Dataset.from_file(path, env="smac/2s3zz")
    with pytest.raises(UnknownName, match=r"format 'pymrl'.*pymarl"):
        Dataset.from_file(path, format="pymrl")


def test_a_strangers_file_fits_the_environment_it_is_said_to_come_from(smac: Dataset, tmp_path: Path) -> None:
    path = smac.to_pymarl(tmp_path / "x.h5")
    strip()(path)
    assert Dataset.from_pymarl(path, "smac/2s3z").spec == smac.spec


def d4rl(path: Path, **more: Any) -> Path:
    """Flat arrays of one team of one agent: two steps that end, three that are cut."""
    g = np.random.default_rng(0)
    arrays = {
        "observations": g.normal(size=(5, 4)), "actions": g.uniform(-1, 1, (5, 2)), "rewards": np.arange(5.0),
        "terminals": np.array([0, 1, 0, 0, 0], bool), "timeouts": np.array([0, 0, 0, 0, 1], bool), **more,
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file[name] = value.astype(np.float32) if value.dtype == float else value
    return path


def test_where_the_last_observation_is_not_stored_nothing_is_invented(tmp_path: Path) -> None:
    back = Dataset.from_file(d4rl(tmp_path / "x.hdf5"))
    assert back.lengths.tolist() == [2, 2], "the cut episode's last step leads nowhere that is known"
    assert [e.terminal for e in back] == [True, False]
    said = " ".join(back.metadata["imported"]["assumed"])
    assert "last steps: 1 were left out" in said
    assert "final observation: none in the file; where an episode ended by itself the last is repeated" in said


def test_where_next_observations_are_stored_no_step_is_lost(tmp_path: Path) -> None:
    following = np.random.default_rng(1).normal(size=(5, 4))
    back = Dataset.from_file(d4rl(tmp_path / "x.hdf5", next_observations=following))
    assert back.lengths.tolist() == [2, 3]
    np.testing.assert_array_equal(back[1].observations[-1, 0], following[-1].astype(np.float32))


def test_rewards_of_each_agent_become_the_teams(tmp_path: Path) -> None:
    data = toy()
    folder = data.to_minari(tmp_path / "m")
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        for group in file.values():
            team = group["rewards"][()]
            del group["rewards"]
            group["rewards"] = np.stack([team, 2 * team, 3 * team], 1)
    mean, total = (Dataset.from_file(folder, reward=how) for how in ("mean", "sum"))
    np.testing.assert_allclose(mean.returns, 2 * data.returns, rtol=1e-5)
    np.testing.assert_allclose(total.returns, 6 * data.returns, rtol=1e-5)
    assert "rewards: the agents' own rewards differ; the team's is their sum" in total.metadata["imported"]["assumed"]
    with pytest.raises(FormatError, match="reward='max', expected 'mean' or 'sum'"):
        Dataset.from_file(folder, reward="max")  # type: ignore[arg-type]


def test_hostile_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = toy().to_minari(tmp_path / "m")
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        infos = file["episode_1/infos"]
        del infos["behavior_level"]
        infos["behavior_level"] = np.zeros((3, 3), "f8")
    with pytest.raises(
        FormatError, match=r"episode_1/infos/behavior_level is float64 \(3, 3\), expected int8 \(3, 3\)"
    ):
        Dataset.from_minari(folder)
    side = folder / "data" / "metadata.json"
    side.write_text(json.dumps({**json.loads(side.read_text()), "offmarl_bench": 5}))
    with pytest.raises(FormatError, match=r"offmarl_bench: attribute 'metadata' does not say 'format'"):
        Dataset.from_minari(folder)
    path = toy().to_pymarl(tmp_path / "p.h5")
    with h5py.File(path, "r+") as file:
        file["actions"][0, 0] = 7
    with pytest.raises(FormatError, match=r"actions from 0 to 7, expected whole numbers 0 … 2"):
        Dataset.from_pymarl(path)
    (tmp_path / "meminfo").write_text("MemAvailable: 1 kB\n")
    monkeypatch.setattr(hdf5, "MEMORY", tmp_path / "meminfo")
    with pytest.raises(FormatError, match=r"GB of memory and 0.0 GB are free; use a machine with more memory"):
        Dataset.from_pymarl(path)


def test_an_absurd_horizon_is_not_padded_to(tmp_path: Path) -> None:
    spec = EnvSpec.from_json({**SPEC.to_json(), "horizon": 2**31 - 1})
    with pytest.raises(OffmarlError, match=r"pads every episode to the horizon, and 2147483648 rows are \d+ bytes"):
        Dataset.from_episodes(episodes(spec, [3]), spec).to_pymarl(tmp_path / "x.h5")
    with pytest.raises(OffmarlError, match="there are no episodes to write"):
        toy().episodes(min_return=1e9).to_pymarl(tmp_path / "x.h5")


def test_our_own_files_pass_through(tmp_path: Path) -> None:
    data = toy()
    assert_same(data, Dataset.from_file(data.save(tmp_path / "x.h5")))
    assert imports.import_file(tmp_path / "x.h5").metadata["seed"] == 3
