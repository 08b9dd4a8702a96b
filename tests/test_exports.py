"""Exports: pandas tables and PyMARL's padded episodes hold the same numbers as the dataset."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from offmarl_bench.errors import OffmarlError
from offmarl_bench.interop.pymarl import BLOCK_EPISODES
from offmarl_bench.loader import Dataset
from offmarl_bench.types import EnvSpec
from tests.test_format import SPEC, episodes

CONTINUOUS = EnvSpec(id="toy/y", agents=("a1", "a2"), agent_types=("a", "a"), O=4, S=5, A=2, discrete=False, horizon=9)


def test_a_table_has_a_line_per_row_and_a_column_per_number() -> None:
    data = Dataset.from_episodes(episodes(SPEC, [5, 2, 9]), SPEC)
    table = data.to_pandas()
    assert len(table) == 6 + 3 + 10
    np.testing.assert_array_equal(table["actions.b1"], data.columns["actions"][:, 2])
    np.testing.assert_allclose(table.groupby("episode_id")["rewards"].sum(), data.returns, rtol=1e-5)
    wide = data.to_pandas(observations=True)
    np.testing.assert_array_equal(wide["observations.a2.3"], data.columns["observations"][:, 1, 3])
    np.testing.assert_array_equal(wide["state.4"], data.columns["state"][:, 4])
    np.testing.assert_array_equal(wide["legal_actions.a1.0"], data.columns["legal_actions"][:, 0, 0])
    assert wide.shape[1] == 6 + 4 * 3 + 3 * (4 + 3) + 5


def test_a_table_of_a_view_has_its_rows_only() -> None:
    data = Dataset.from_episodes(episodes(SPEC, [5, 2, 9]), SPEC)
    view = data.episodes(max_return=float(np.median(data.returns)))
    assert sorted(set(view.to_pandas()["episode_id"])) == sorted(
        np.flatnonzero(data.returns <= np.median(data.returns))
    )


@pytest.mark.parametrize("spec", [SPEC, CONTINUOUS], ids=["discrete", "continuous"])
def test_pymarl_gets_padded_episodes(spec: EnvSpec, tmp_path: Path) -> None:
    lengths = [5, 2, 9] * 3 + [1] * BLOCK_EPISODES
    data = Dataset.from_episodes(episodes(spec, lengths), spec)
    with h5py.File(data.to_pymarl(tmp_path / "part_0.h5")) as file:
        got = {name: file[name][()] for name in file}
    width = spec.horizon + 1
    assert got["obs"].shape == (len(lengths), width, spec.N, spec.O)
    assert got["actions"].shape == (len(lengths), width, spec.N, 1 if spec.discrete else spec.A)
    assert ("avail_actions" in got) == ("actions_onehot" in got) == spec.discrete
    for k, episode in enumerate(data):
        t = len(episode)
        assert got["filled"][k, :, 0].tolist() == [1] * (t + 1) + [0] * (width - t - 1)
        assert got["terminated"][k, :, 0].tolist() == [int(episode.terminal and at == t - 1) for at in range(width)]
        np.testing.assert_array_equal(got["obs"][k, : t + 1], episode.observations)
        np.testing.assert_array_equal(got["reward"][k, :t, 0], episode.rewards)
        played = got["actions"][k, :t]
        np.testing.assert_array_equal(played[..., 0] if spec.discrete else played, episode.actions)
        assert not got["obs"][k, t + 1 :].any()
        if spec.discrete:
            np.testing.assert_array_equal(got["avail_actions"][k, : t + 1], episode.legal_actions)
            np.testing.assert_array_equal(got["actions_onehot"][k, :t].argmax(-1), episode.actions)
    with pytest.raises(OffmarlError, match=r"part_0.h5 exists already; choose another name, or remove it first"):
        data.to_pymarl(tmp_path / "part_0.h5")
