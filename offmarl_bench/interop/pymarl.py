"""PyMARL's descendants (OffPyMARL, CFCQL, ICQ, …): padded episodes under the names of their ``EpisodeBatch``.

Spec and metadata go along as an attribute that those programs never look at, so the way back needs no help. Reading
is ``offmarl_bench.foreign.pymarl``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int64, Shaped

from offmarl_bench.atomic import refuse_existing, temporary_beside
from offmarl_bench.errors import OffmarlError
from offmarl_bench.format.chunks import GZIP_LEVEL
from offmarl_bench.format.metadata import ATTRIBUTE, encode
from offmarl_bench.format.schema import Columns
from offmarl_bench.format.writer import LIBRARY
from offmarl_bench.interop.losses import Loss, behaviour, renumbered
from offmarl_bench.types import EnvSpec

BLOCK_EPISODES = 256
"""Episodes padded at a time; bounds memory, as does the next."""
BLOCK_BYTES = 1 << 30


def losses(columns: Columns, first: Int64[np.ndarray, " E"]) -> list[Loss]:
    """What a PyMARL file does not hold."""
    return [*behaviour(columns, first), *renumbered(columns, first)]


def _width(spec: EnvSpec, lengths: Int64[np.ndarray, " E"]) -> int:
    """Padded rows of an episode: its observations up to the time limit."""
    return max(spec.horizon, int(lengths.max(initial=1))) + 1


def _step(path: Path, spec: EnvSpec, columns: Columns, width: int) -> int:
    """Episodes padded at a time."""
    each = width * (sum(c[:1].nbytes for c in columns.values()) + 8 * spec.N * spec.A)
    if each > BLOCK_BYTES:
        raise OffmarlError(
            f"{path}: PyMARL pads every episode to the horizon, and {width} rows are {each} bytes an episode; give the "
            "dataset's spec its true horizon"
        )
    return min(BLOCK_EPISODES, max(1, BLOCK_BYTES // each))


def _block(
    spec: EnvSpec, columns: Columns, first: Int64[np.ndarray, " E"], lengths: Int64[np.ndarray, " E"], width: int
) -> dict[str, Shaped[np.ndarray, "E L ..."]]:
    """Some episodes as (E, width, …) arrays, zero after their ends."""
    clock = np.arange(width)
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
    path: Path,
    spec: EnvSpec,
    columns: Columns,
    first: Int64[np.ndarray, " E"],
    lengths: Int64[np.ndarray, " E"],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write episodes as one HDF5 file of (E, horizon + 1, …) arrays: ``obs state actions reward terminated filled …``.

    ``filled`` is 1 on the T + 1 observations of an episode; ``terminated`` is 1 on its last step if it ended by
    itself. That is what PyMARL's runner stores and its learners expect.

    Raises:
        OffmarlError: the file exists or cannot be written, there are no episodes, or the horizon is absurd.
    """
    refuse_existing(path)
    if not len(first):
        raise OffmarlError(f"{path}: there are no episodes to write; loosen the filter")
    width = _width(spec, lengths)
    step = _step(path, spec, columns, width)
    about = encode(spec, "", metadata or {})
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(temporary, "w", libver=LIBRARY) as file:
            for at in range(0, len(first), step):
                stop = min(at + step, len(first))
                for name, block in _block(spec, columns, first[at:stop], lengths[at:stop], width).items():
                    if name not in file:
                        file.create_dataset(
                            name, (len(first), *block.shape[1:]), block.dtype, chunks=(1, *block.shape[1:]),
                            compression="gzip", compression_opts=GZIP_LEVEL, shuffle=True,
                        )  # fmt: skip
                    file[name][at:stop] = block
            file.attrs[ATTRIBUTE] = about
        temporary.replace(path)
    except (OSError, RuntimeError) as e:
        raise OffmarlError(f"cannot write {path}: {e}; free some space or choose another place") from e
    finally:
        temporary.unlink(missing_ok=True)
