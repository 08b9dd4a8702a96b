"""Minari's Arrow storage, read by Minari itself (``pip install offmarl-bench[minari]``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.foreign.minari_episode import LEGAL, NEEDED, STATE, Raw
from offmarl_bench.format.hdf5 import REMEDY


class ArrowEpisodes:
    """The episodes of a dataset folder, one at a time.

    Raises:
        OffmarlError: Minari is not installed. FormatError: Minari cannot open the folder.
    """

    def __init__(self, path: Path) -> None:
        try:
            from minari import MinariDataset  # type: ignore[import-untyped,unused-ignore]
        except ImportError as e:
            raise OffmarlError(
                f"{path}: Minari stores this dataset as Arrow, which only Minari reads, and that is not installed: "
                "pip install offmarl-bench[minari]"
            ) from e
        self.where = str(path)
        try:
            self.data = MinariDataset(path / "data")
            self.lengths: Int64[np.ndarray, " E"] = np.array([len(e) for e in self.data.iterate_episodes()], np.int64)
        except Exception as e:  # whatever Minari, Arrow or JSON raise on a damaged folder
            raise FormatError(f"{path}: Minari cannot read this dataset ({_reason(e)}); {REMEDY}") from e

    def agents(self) -> tuple[str, ...]:
        """Names of the agents, where observations are a dictionary."""
        observations = self.data[0].observations
        return tuple(observations) if isinstance(observations, dict) else ()

    def raw(self, k: int) -> Raw:
        """The arrays of episode ``k``."""
        try:
            episode = self.data[k]
        except Exception as e:
            raise FormatError(f"{self.where}: episode {k} cannot be read ({_reason(e)}); {REMEDY}") from e
        found = {name: _leaves(getattr(episode, name)) for name in NEEDED}
        infos = episode.infos if isinstance(episode.infos, dict) else {}
        for field, names in (("state", STATE), ("legal", LEGAL)):
            given = next((infos[n] for n in names if n in infos), None)
            if given is not None:
                found[field] = [np.asarray(given)]
        if any(a.dtype.kind not in "biuf" for arrays in found.values() for a in arrays):
            raise FormatError(f"{self.where}: episode {k} holds what are no numbers; it cannot be audited")
        return found


def _leaves(value: Any) -> Any:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]
    return [np.asarray(x) for x in inner]


def _reason(e: Exception) -> str:
    return str(e).splitlines()[0] if str(e) else repr(e)
