"""Readers of foreign formats: the neutral view is the recording, and a broken or hostile file is one clear line."""

from __future__ import annotations

import json
import pickle
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.foreign import view
from offmarl_bench.foreign.detect import open_recording
from offmarl_bench.foreign.view import spans
from tests.doctor_corpus import FORMATS, OBS, A, Corpus, N, healthy, install_flashbax, write


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("block_bytes", [1, 1 << 26], ids=["episode by episode", "in one block"])
def test_a_reader_gives_back_what_was_recorded(
    format: str, block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_flashbax(monkeypatch)
    monkeypatch.setattr(spans, "__defaults__", (block_bytes,))
    corpus = healthy(discrete=format != "omar")
    recording = open_recording(write(format, tmp_path / "x", corpus))
    layout, episodes = recording.layout, iter(corpus.episodes)
    blocks = list(recording.blocks())
    assert len(blocks) == (len(corpus.episodes) if block_bytes == 1 else 1)
    assert recording.remarks == []
    for block in blocks:
        for start, steps in zip(block.starts, block.lengths, strict=True):
            e, done = next(episodes), slice(start, start + steps)
            seen = slice(start, start + steps + layout.tail)
            np.testing.assert_array_equal(block.obs[seen], e.obs[: steps + layout.tail])
            np.testing.assert_array_equal(block.actions[done], e.actions)
            np.testing.assert_array_equal(block.rewards[done].reshape(steps, -1)[:, 0], e.rewards[:, 0])
            assert block.steps[done].all()
            ended = block.terminated[done]
            assert not ended[:-1].any()
            assert ended[-1] == (e.terminal or format in ("omar", "omiga"))  # these two know no time limit
            if block.legal is not None:
                np.testing.assert_array_equal(block.legal[seen], e.legal[: steps + layout.tail])
            if block.state is not None:
                state = block.state if block.state.ndim == 2 else block.state[:, 0]
                np.testing.assert_array_equal(state[seen], e.state[: steps + layout.tail])
    assert next(episodes, None) is None


def test_parts_of_offpymarl_are_one_dataset(tmp_path: Path) -> None:
    whole = healthy()
    for k in range(4):
        place = write("pymarl", tmp_path / str(k), Corpus(whole.episodes[10 * k : 10 * k + 10]))
        place.rename(tmp_path / f"part_{k}.h5")
    recording = open_recording(tmp_path)
    assert (recording.layout.format, recording.layout.episodes) == ("pymarl", 40)
    assert [b.first for b in recording.blocks()] == [0, 10, 20, 30]
    with h5py.File(tmp_path / "part_2.h5", "r+") as file:
        del file["obs"]
        file["obs"] = np.zeros((10, 17, N, 7), np.float32)
    with pytest.raises(
        FormatError, match=r"part_2\.h5: obs is 7, in part_0\.h5 it is 5; expected parts of one dataset"
    ):
        open_recording(tmp_path)


def test_minari_itself_writes_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of its storages, several agents and a state; the corpus only imitates the first."""
    import gymnasium
    import minari  # type: ignore[import-untyped,unused-ignore]
    from minari.data_collector import EpisodeBuffer  # type: ignore[import-untyped,unused-ignore]

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    corpus = healthy()
    names = [f"agent_{i}" for i in range(N)]
    box, few = gymnasium.spaces.Box(-np.inf, np.inf, (OBS,), np.float32), gymnasium.spaces.Discrete(A)
    for storage in ("hdf5", "arrow"):
        buffers = [
            EpisodeBuffer(
                id=None, observations={n: e.obs[:, i] for i, n in enumerate(names)},
                actions={n: e.actions[:, i] for i, n in enumerate(names)}, rewards=list(e.rewards[:, 0].astype(float)),
                terminations=[False] * (len(e) - 1) + [e.terminal],
                truncations=[False] * (len(e) - 1) + [not e.terminal], infos={"state": e.state},
            )
            for e in corpus.episodes
        ]  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks for an author
            minari.create_dataset_from_buffers(
                f"toy/{storage}-v0", buffer=buffers, data_format=storage,
                observation_space=gymnasium.spaces.Dict(dict.fromkeys(names, box)),
                action_space=gymnasium.spaces.Dict(dict.fromkeys(names, few)),
            )  # fmt: skip
        recording = open_recording(tmp_path / "toy" / f"{storage}-v0")
        layout, (block,) = recording.layout, recording.blocks()
        assert (layout.format, layout.episodes, layout.n, layout.state, layout.actions) == ("minari", 40, N, 4, A)
        assert layout.agents == tuple(names)
        np.testing.assert_array_equal(block.obs, np.concatenate([e.obs for e in corpus.episodes]))
        np.testing.assert_array_equal(block.actions[block.steps], np.concatenate([e.actions for e in corpus.episodes]))


def test_an_episode_too_large_for_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "MAX_BLOCK_BYTES", 100)
    with pytest.raises(FormatError, match="x: an episode of 51 rows would take 102 bytes, expected at most 100; mark"):
        list(spans(np.array([3, 51]), 2, "x"))


def npy_folder(path: Path) -> Path:
    return write("omar", path / "f", healthy(discrete=False))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def a_text(path: Path) -> Path:
    (path / "x.h5").write_text("these are not numbers\n" * 50)
    return path / "x.h5"


def half_a_file(path: Path) -> Path:
    place = write("d4rl", path / "f", healthy())
    place.write_bytes(place.read_bytes()[:5000])
    return place


def a_pickle(path: Path) -> Path:
    folder = npy_folder(path)
    np.save(folder / "obs_1.npy", np.array([{"a": 1}], object), allow_pickle=True)
    return folder


def a_bare_pickle(path: Path) -> Path:
    folder = npy_folder(path)
    (folder / "acs_1.npy").write_bytes(pickle.dumps([1, 2, 3]))
    return folder


def half_an_npy(path: Path) -> Path:
    folder = npy_folder(path)
    cut(folder / "obs_1.npy")
    return folder


def no_actions(path: Path) -> Path:
    folder = npy_folder(path)
    (folder / "acs_2.npy").unlink()
    return folder


def agents_of_different_length(path: Path) -> Path:
    folder = npy_folder(path)
    np.save(folder / "rews_1.npy", np.zeros(7))
    return folder


def a_huge_npy(path: Path) -> Path:
    folder = npy_folder(path)
    with open(folder / "obs_1.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1 << 20)}
        )
    return folder


def a_huge_claim(path: Path) -> Path:
    place = write("pymarl", path / "f", healthy())
    with h5py.File(place, "r+") as file:
        del file["obs"]
        file.create_dataset("obs", (40, 17, 1 << 20, 1 << 20), np.float32, chunks=(1, 1, 1, 1024))
    return place


def a_link(path: Path) -> Path:
    place = write("d4rl", path / "f", healthy())
    with h5py.File(place, "r+") as file:
        del file["rewards"]
        file["rewards"] = h5py.ExternalLink("/etc/passwd", "/rewards")
    return place


def texts(path: Path) -> Path:
    place = write("d4rl", path / "f", healthy())
    with h5py.File(place, "r+") as file:
        del file["rewards"]
        file["rewards"] = np.array([b"1.0"] * 7)
    return place


def unequal(path: Path) -> Path:
    place = write("omiga", path / "f", healthy())
    with h5py.File(place, "r+") as file:
        del file["r"]
        file["r"] = np.zeros((7, 1))
    return place


def another_layout(path: Path) -> Path:
    with h5py.File(path / "x.h5", "w") as file:
        file["\x1b[31mimages"] = np.zeros((3, 4))
    return path / "x.h5"


def nothing_filled(path: Path) -> Path:
    place = write("pymarl", path / "f", healthy())
    with h5py.File(place, "r+") as file:
        file["filled"][3] = 0
    return place


def only_ends(path: Path) -> Path:
    place = write("omiga", path / "f", healthy())
    with h5py.File(place, "r+") as file:
        file["d"][:] = 1
    return place


def an_episode_missing(path: Path) -> Path:
    place = write("minari", path / "f", healthy())
    with h5py.File(place / "data" / "main_data.hdf5", "r+") as file:
        del file["episode_3"]
    return place


def an_action_missing(path: Path) -> Path:
    place = write("minari", path / "f", healthy())
    with h5py.File(place / "data" / "main_data.hdf5", "r+") as file:
        del file["episode_0/actions/agent_1"]
        file["episode_0/actions/agent_1"] = np.zeros(2, np.int64)
    return place


def arrow(path: Path) -> Path:
    (path / "data").mkdir()
    (path / "data" / "metadata.json").write_text(json.dumps({"data_format": "arrow"}))
    return path


def empty(path: Path) -> Path:
    return path


def several_vaults(path: Path) -> Path:
    return write("vault", path / "f", healthy()).parent


def a_vault(path: Path) -> Path:
    return write("vault", path / "f", healthy())


def one_array(path: Path) -> Path:
    return npy_folder(path) / "obs_0.npy"


def nowhere(path: Path) -> Path:
    return path / "x.h5"


HOSTILE: dict[Callable[[Path], Path], str] = {
    a_text: r"x\.h5: not a whole HDF5 file",
    half_a_file: r"not a whole HDF5 file",
    a_pickle: r"obs_1\.npy: not a plain numpy array .* without pickled objects",
    a_bare_pickle: r"acs_1\.npy: not a plain numpy array",
    half_an_npy: r"obs_1\.npy: not a plain numpy array",
    a_huge_npy: r"obs_1\.npy: not a plain numpy array",
    no_actions: r"acs_2\.npy is missing; download the folder again",
    agents_of_different_length: r"rews_\*\.npy: the agents' files have shapes .* expected the same number of rows",
    a_huge_claim: r"array 'obs' claims \d+ bytes, but its 0 stored bytes hold",
    a_link: r"array 'rewards' is a link to somewhere else",
    texts: r"array 'rewards' holds \|S3, expected numbers",
    unequal: r"arrays of different lengths \(obs \d+, .*rewards 7",
    another_layout: r"holds \\x1b\[31mimages \(3, 4\); expected a dataset of ours, PyMARL",
    nothing_filled: r"episode 3 has no filled time step",
    only_ends: r"every row is marked as an end",
    an_episode_missing: r"episode_3 is missing or a link, expected episodes numbered 0, 1, 2",
    an_action_missing: r"episode_0: \d+ observations, \[2, \d+\] actions and rewards; expected T \+ 1 and T rows",
    arrow: r"Minari cannot read this dataset \(.*\); generate or download",
    empty: r"holds nothing; expected a dataset of ours, PyMARL",
    several_vaults: r"holds the vaults Good; give one of them, e\.g\. .*Good",
    a_vault: r"is an OG-MARL Vault, which only flashbax reads, .* pip install flashbax",
    one_array: r"is one array of several; give the folder it is in",
    nowhere: r"x\.h5 does not exist; expected a dataset of ours",
}


@pytest.mark.parametrize("make", list(HOSTILE), ids=lambda f: f.__name__)
def test_broken_and_hostile_data_are_refused_in_one_line(
    make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "flashbax", None)  # as where it is not installed
    with pytest.raises(OffmarlError) as caught:
        for _ in open_recording(make(tmp_path)).blocks():
            pass
    assert re.search(HOSTILE[make], str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_damaged_vault_is_one_line_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_flashbax(monkeypatch)
    place = a_vault(tmp_path)
    (place / "experience.npz").unlink()
    with pytest.raises(FormatError, match=r"Good: flashbax cannot read this vault \(.*\); download it again"):
        open_recording(place)
