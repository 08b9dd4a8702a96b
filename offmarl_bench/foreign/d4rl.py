"""Flat HDF5 as in D4RL: ``observations``, ``actions``, ``rewards``, ``terminals`` and, if all is well, ``timeouts``.

One row is one step; ``next_observations`` may be there too. D4RL knows one agent ((M, O) observations); descendants
with several store (M, N, O).

Source: d4rl/offline_env.py of Farama-Foundation/D4RL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import h5py

from offmarl_bench.errors import FormatError
from offmarl_bench.foreign.arrays import Array, first_name, h5_array
from offmarl_bench.foreign.flat import FlatArrays, flat_recording
from offmarl_bench.foreign.view import Block, Recording, Remark
from offmarl_bench.format.hdf5 import opened

FORMAT = "d4rl"
NAMES: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "obs": (("observations", "obs"), (2, 3)),
    "actions": (("actions",), (1, 2, 3)),
    "rewards": (("rewards", "reward"), (1, 2, 3)),
    "terminated": (("terminals", "terminations", "dones", "done"), (1, 2, 3)),
    "truncated": (("timeouts", "truncations"), (1, 2, 3)),
    "state": (("states", "state", "infos/state"), (2, 3)),
    "legal": (("legal_actions", "legals", "avail_actions", "action_mask"), (2, 3)),
    "next_obs": (("next_observations", "next_obs"), (2, 3)),
}
"""Spellings and possible numbers of axes."""


def looks_like(file: h5py.File) -> bool:
    """Whether the arrays of an HDF5 file are flat rows under D4RL's names."""
    return all(first_name(file, NAMES[k][0]) for k in ("obs", "actions", "rewards"))


def arrays_of(file: h5py.File, names: dict[str, tuple[tuple[str, ...], tuple[int, ...]]], where: str) -> FlatArrays:
    """The arrays that a flat HDF5 file has, under whichever spelling.

    Raises:
        FormatError: observations, actions or rewards are missing, or an array is not what it should be.
    """
    found: dict[str, Array] = {}
    for field, (spellings, axes) in names.items():
        name = first_name(file, spellings)
        if name is not None:
            found[field] = h5_array(file, name, axes, where)
    missing = [names[k][0][0] for k in ("obs", "actions", "rewards") if k not in found]
    if missing:
        raise FormatError(
            f"{where}: no array {', '.join(missing)}; expected {', '.join(n[0][0] for n in names.values())}"
        )
    return FlatArrays(**found)  # type: ignore[arg-type]


def flat_file(path: Path, names: dict[str, tuple[tuple[str, ...], tuple[int, ...]]], name: str, tail: int) -> Recording:
    """A flat HDF5 file; it is opened anew for each reading, so that nothing stays open.

    Raises:
        FormatError: not such a file, or damaged.
    """

    def recording(stack: ExitStack) -> Recording:
        file = stack.enter_context(opened(path))
        return flat_recording(arrays_of(file, names, str(path)), format=name, path=str(path), tail=tail)

    def read(remarks: list[Remark]) -> Iterator[Block]:
        with ExitStack() as stack:
            yield from recording(stack).read(remarks)

    with ExitStack() as stack:
        layout = recording(stack).layout
    return Recording(layout, read)


def read_d4rl(path: Path) -> Recording:
    """A flat file under D4RL's names.

    Raises:
        FormatError: not such a file, or damaged.
    """
    return flat_file(path, NAMES, FORMAT, 0)
