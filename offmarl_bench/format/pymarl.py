"""Export for PyMARL's descendants (OffPyMARL, CFCQL, …): padded episodes under the names of their ``EpisodeBatch``."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Int64, Shaped

from offmarl_bench.errors import OffmarlError
from offmarl_bench.format.chunks import GZIP_LEVEL
from offmarl_bench.format.schema import Columns
from offmarl_bench.types import EnvSpec

BLOCK_EPISODES = 256
"""Episodes padded at a time; bounds memory."""


def _block(
    spec: EnvSpec, columns: Columns, first: Int64[np.ndarray, " E"], lengths: Int64[np.ndarray, " E"]
) -> dict[str, Shaped[np.ndarray, "E L ..."]]:
    """Some episodes as (E, horizon + 1, …) arrays, zero after their ends."""
    clock = np.arange(spec.horizon + 1)
    rows = first[:, None] + np.minimum(clock, lengths[:, None])
    seen = clock <= lengths[:, None]

    def padded(name: str, kind: str) -> Shaped[np.ndarray, "E L ..."]:
        column: Shaped[np.ndarray, "E L ..."] = columns[name][rows].astype(kind)
        column[~seen] = 0
        return column

    actions = padded("actions", "<i8" if spec.discrete else "<f4")
    terminated = np.zeros(seen.shape, np.uint8)
    terminated[np.arange(len(first)), lengths - 1] = columns["is_terminal"][first + lengths]
    out = {
        "obs": padded("observations", "<f4"),
        "state": padded("state", "<f4"),
        "actions": actions[..., None] if spec.discrete else actions,
        "reward": padded("rewards", "<f4")[..., None],
        "terminated": terminated[..., None],
        "filled": seen[..., None].astype(np.int64),
    }
    if spec.discrete:
        out["avail_actions"] = padded("legal_actions", "<i4")
        out["actions_onehot"] = np.eye(spec.A, dtype=np.float32)[actions] * seen[..., None, None]
    return out


def write_pymarl(
    path: Path, spec: EnvSpec, columns: Columns, first: Int64[np.ndarray, " E"], lengths: Int64[np.ndarray, " E"]
) -> None:
    """Write episodes as one HDF5 file of (E, horizon + 1, …) arrays: ``obs state actions reward terminated filled …``.

    ``filled`` is 1 on the T + 1 observations of an episode; ``terminated`` is 1 on its last step if it ended by
    itself. That is what PyMARL's runner stores and its learners expect.

    Raises:
        OffmarlError: the file exists or cannot be written.
    """
    if path.exists():
        raise OffmarlError(f"{path} exists already; choose another name, or remove it first")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(temporary, "w") as file:
            for at in range(0, len(first), BLOCK_EPISODES):
                stop = min(at + BLOCK_EPISODES, len(first))
                for name, block in _block(spec, columns, first[at:stop], lengths[at:stop]).items():
                    if name not in file:
                        file.create_dataset(
                            name, (len(first), *block.shape[1:]), block.dtype, chunks=(1, *block.shape[1:]),
                            compression="gzip", compression_opts=GZIP_LEVEL, shuffle=True,
                        )  # fmt: skip
                    file[name][at:stop] = block
        temporary.replace(path)
    except (OSError, RuntimeError) as e:
        raise OffmarlError(f"cannot write {path}: {e}; free some space or choose another place") from e
    finally:
        temporary.unlink(missing_ok=True)
