"""OMAR's folders of ``.npy`` files, one an agent: ``obs_0 acs_0 rews_0 next_obs_0 dones_0``, ``obs_1``, …

One row is one step; with MAMuJoCo there are ``states_0`` and ``next_states_0`` too. CFCQL's continuous data are the
same. Files are mapped, never unpickled.

Source: utils/buffer.py of ling-pan/OMAR.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from offmarl_bench.errors import FormatError
from offmarl_bench.foreign.arrays import npy_array
from offmarl_bench.foreign.flat import FlatArrays, flat_recording
from offmarl_bench.foreign.view import Recording

FORMAT = "omar"
OBS_FILE = re.compile(r"obs_(\d+)\.npy")


def looks_like(folder: Path) -> bool:
    """Whether a folder has one observation file an agent."""
    return folder.is_dir() and (folder / "obs_0.npy").is_file()


class PerAgent:
    """Arrays of N agents as one (M, N, …) array; smaller agents are padded with 0 when rows are taken."""

    def __init__(self, parts: list[Shaped[np.ndarray, "M ..."]], where: str) -> None:
        lengths = {len(p) for p in parts}
        if len(lengths) != 1 or len({p.ndim for p in parts}) != 1:
            shapes = ", ".join(str(p.shape) for p in parts)
            raise FormatError(f"{where}: the agents' files have shapes {shapes}, expected the same number of rows")
        self.parts = parts
        self.sizes = tuple(p.shape[1] if p.ndim == 2 else 1 for p in parts)
        self.shape = (len(parts[0]), len(parts), *((max(self.sizes),) if parts[0].ndim == 2 else ()))
        self.dtype: np.dtype[Any] = np.result_type(*(p.dtype for p in parts))

    def __getitem__(self, key: Any) -> Shaped[np.ndarray, "R N ..."]:
        taken = [np.asarray(p[key]) for p in self.parts]
        out = np.zeros((len(taken[0]), *self.shape[1:]), self.dtype)
        for i, part in enumerate(taken):
            if part.ndim == 2:
                out[:, i, : part.shape[1]] = part
            else:
                out[:, i] = part
        return out


def _load(folder: Path, name: str, n: int, axes: tuple[int, ...]) -> PerAgent:
    parts = [npy_array(folder / f"{name}_{i}.npy", axes) for i in range(n)]
    parts = [p[:, 0] if p.ndim == 2 and p.shape[1] == 1 and 1 in axes else p for p in parts]
    return PerAgent(parts, f"{folder}/{name}_*.npy")


def read_omar(path: Path) -> Recording:
    """A folder of ``.npy`` files.

    Raises:
        FormatError: a file is missing, cut off or pickled, or they do not fit together.
    """
    if not looks_like(path):
        raise FormatError(f"{path}: no obs_0.npy in it, expected a folder with obs_0.npy, acs_0.npy, rews_0.npy, …")
    numbers = sorted(int(m.group(1)) for m in map(OBS_FILE.fullmatch, (p.name for p in path.iterdir())) if m)
    n = len(numbers)
    if numbers != list(range(n)):
        raise FormatError(f"{path}: observations of agents {numbers}, expected 0 … {n - 1}; download the folder again")
    obs = _load(path, "obs", n, (2,))
    maybe = {
        name: _load(path, name, n, axes) if (path / f"{name}_0.npy").exists() else None
        for name, axes in (("next_obs", (2,)), ("dones", (1, 2)), ("states", (2,)))
    }
    actions = _load(path, "acs", n, (1, 2) if _narrow(path) else (2,))
    arrays = FlatArrays(
        obs=obs, actions=actions, rewards=_load(path, "rews", n, (1, 2)), terminated=maybe["dones"],
        state=maybe["states"], next_obs=maybe["next_obs"],
    )  # fmt: skip
    sizes = obs.sizes if len(set(obs.sizes)) > 1 else ()
    return flat_recording(arrays, format=FORMAT, path=str(path), tail=0, obs_sizes=sizes)


def _narrow(path: Path) -> bool:
    """Whether actions are stored as one number a step: discrete choices."""
    first = npy_array(path / "acs_0.npy", (1, 2))
    return first.ndim == 1 or first.dtype.kind in "iub"
