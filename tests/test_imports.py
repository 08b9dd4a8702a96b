"""Every format that the doctor reads becomes ours, and is a dataset that ``verify`` finds nothing wrong with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from offmarl_bench.audit import verify
from offmarl_bench.loader import Dataset
from offmarl_bench.testing import check_dataset
from tests.doctor_corpus import FORMATS, healthy, install_flashbax, write


@pytest.mark.parametrize("format", [f for f in FORMATS if f != "offmarl-bench"])
def test_every_format_that_the_doctor_reads_becomes_ours(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The corpus as its authors' programs write it: every step and every final observation that the file has."""
    install_flashbax(monkeypatch)
    corpus = healthy(discrete=format != "omar")
    back = Dataset.from_file(write(format, tmp_path / "x", corpus), name="toy/corpus")
    back = Dataset.from_file(back.save(tmp_path / "ours.h5"))
    stored = format in ("pymarl", "minari", "omiga", "omar", "d4rl")
    assert len(back) == len(corpus.episodes)
    for ours, theirs in zip(back, corpus.episodes, strict=True):
        steps = len(theirs) if stored or theirs.terminal else len(theirs) - 1
        assert len(ours) == steps
        np.testing.assert_array_equal(ours.observations[:steps], theirs.obs[:steps])
        np.testing.assert_array_equal(ours.actions, theirs.actions[:steps])
        np.testing.assert_array_equal(ours.rewards, theirs.rewards[:steps, 0])
        assert ours.terminal == (theirs.terminal or format in ("omar", "omiga"))  # these two know no time limit
        if stored:
            np.testing.assert_array_equal(ours.observations[-1], theirs.obs[-1])
        if format in ("pymarl", "minari", "omiga", "vault"):
            np.testing.assert_array_equal(ours.state[:steps], theirs.state[:steps])
        else:
            np.testing.assert_array_equal(ours.state, ours.observations.reshape(steps + 1, -1))
        if format == "omar":
            assert ours.legal_actions is None
        else:
            np.testing.assert_array_equal(np.asarray(ours.legal_actions)[:steps], theirs.legal[:steps])
    assert back.metadata["imported"]["format"] == format
    assert verify(tmp_path / "ours.h5").ok
    check_dataset(back)
