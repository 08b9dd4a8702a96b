"""What flat formats share: one row a step (or an observation), and episodes that have to be found in the flags.

With stored next observations the data themselves show where an episode ends: the next row does not begin where this
one stopped. Such jumps are counted as ends even where no flag says so; the doctor tells the two apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from offmarl_bench.errors import FormatError
from offmarl_bench.foreign.arrays import Array, raw_bytes, same_length, squeezed
from offmarl_bench.foreign.view import BLOCK_BYTES, Block, Boundaries, Layout, Recording, Remark, make_block, spans

MOST_JUMPS = 0.5
"""More jumps than this part of the rows are not ends of episodes: the rows are shuffled."""
FLAG_BYTES = 1 << 31
"""Flags of all rows are read at once; more than this is no real file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatArrays:
    """Arrays with one row a step; fields as in Block."""

    obs: Array
    """(M, N, O) or, for one agent, (M, O)."""
    actions: Array
    rewards: Array
    terminated: Array | None = None
    truncated: Array | None = None
    state: Array | None = None
    legal: Array | None = None
    next_obs: Array | None = None
    extra_bytes: int = 0
    """Of arrays that nobody reads."""

    def items(self) -> dict[str, Array | None]:
        """All arrays by field."""
        names = ("obs", "actions", "rewards", "terminated", "truncated", "state", "legal", "next_obs")
        return {name: getattr(self, name) for name in names}


@dataclass(slots=True)
class _Cuts:
    """Where the episodes of a flat file lie."""

    rows: Int64[np.ndarray, " E"]
    begins: Int64[np.ndarray, " E"]
    terminated: Bool[np.ndarray, " M"]
    truncated: Bool[np.ndarray, " M"] | None
    boundaries: Boundaries
    unfinished: bool
    remarks: list[Remark]


def flags_of(array: Array | None, where: str) -> tuple[Bool[np.ndarray, " M"] | None, int]:
    """Flags of all rows: of several agents those that all raise; and in how many rows the agents disagree.

    Raises:
        FormatError: more flags than any real file has.
    """
    if array is None:
        return None, 0
    if int(np.prod(array.shape, dtype=np.int64)) * array.dtype.itemsize > FLAG_BYTES:
        raise FormatError(f"{where}: flags of shape {array.shape}, expected at most {FLAG_BYTES} bytes")
    raw = squeezed(np.asarray(array[:]), 1) != 0
    if raw.ndim == 1:
        return raw, 0
    raw = raw.reshape(len(raw), -1)
    together = raw.all(1)
    return together, int((raw.any(1) & ~together).sum())


def jumps(obs: Array, next_obs: Array, row_bytes: int) -> Bool[np.ndarray, " M"]:
    """Rows whose next observation is not the observation of the row behind them; NaN equals everything."""
    rows = obs.shape[0]
    found = np.zeros(rows, bool)
    step = max(1, BLOCK_BYTES // max(1, row_bytes))
    for at in range(0, rows - 1, step):
        stop = min(at + step, rows - 1)
        said, seen = np.asarray(next_obs[at:stop]), np.asarray(obs[at + 1 : stop + 1])
        differ = said != seen
        if differ.any():
            differ &= ~(np.isnan(said) | np.isnan(seen))
        found[at:stop] = differ.reshape(stop - at, -1).any(1)
    return found


def _cuts(arrays: FlatArrays, tail: int, where: str) -> _Cuts:
    rows = arrays.obs.shape[0]
    terminated, quarrel = flags_of(arrays.terminated, where)
    truncated, other = flags_of(arrays.truncated, where)
    remarks = []
    if quarrel or other:
        text = f"agents disagree about the end in {quarrel + other} rows; only ends of all agents count"
        remarks.append(Remark(code="end-flags", evidence=text))
    stated = np.zeros(rows, bool) if terminated is None else terminated.copy()
    if truncated is not None:
        stated |= truncated
    ends = stated.copy()
    boundaries: Boundaries = "stated"
    if arrays.next_obs is not None and not tail:
        row_bytes = raw_bytes({"obs": arrays.obs}) // rows
        leap = jumps(arrays.obs, arrays.next_obs, row_bytes) & ~stated
        if leap.sum() <= MOST_JUMPS * rows:
            ends |= leap
    if not stated.any():
        boundaries = "guessed" if ends.any() else "none"
    unfinished = not ends[-1]
    ends[-1] = True
    lasts = np.flatnonzero(ends)
    begins = np.concatenate([np.zeros(1, np.int64), lasts[:-1] + 1])
    counts = lasts - begins + 1
    ended = np.zeros(rows, bool) if terminated is None else terminated
    cut = truncated
    if tail:  # the flag lies on the final observation's row: move it to the step before
        ended = np.append(ended[1:], False)
        cut = None if cut is None else np.append(cut[1:], False)
        empty = counts < 2
        if empty.any():
            text = f"{int(empty.sum())} episodes have no step: two rows running are marked as ends"
            remarks.append(Remark(code="end-flags", evidence=text))
            begins, counts = begins[~empty], counts[~empty]
        if not len(counts):
            raise FormatError(f"{where}: every row is marked as an end, expected episodes of at least one step")
    return _Cuts(counts, begins, ended, cut, boundaries, unfinished, remarks)


def _joint(x: Shaped[np.ndarray, "R ..."], n: int, axes: int) -> Shaped[np.ndarray, "R N ..."]:
    """With an axis of agents, where a single agent's data have none."""
    return x[:, None] if n == 1 and x.ndim == axes - 1 else x


def flat_recording(
    arrays: FlatArrays, *, format: str, path: str, tail: int, indexed: bool = False, **known: Any
) -> Recording:
    """The recording of flat arrays.

    Args:
        arrays: what the file has.
        format: name of the reader.
        path: names the file in errors.
        tail: 1 if an end's row holds the final observation, 0 if it is the last step.
        indexed: the file lists its episodes.
        known: further fields of Layout.

    Raises:
        FormatError: arrays that do not fit together.
    """
    given = arrays.items()
    rows = same_length(given, path)
    if len(arrays.obs.shape) not in (2, 3):
        raise FormatError(f"{path}: observations of shape {arrays.obs.shape}, expected (rows, N, O) or (rows, O)")
    n = arrays.obs.shape[1] if len(arrays.obs.shape) == 3 else 1
    discrete = arrays.legal is not None or arrays.actions.dtype.kind in "iub"
    taken = squeezed(np.empty((1, *arrays.actions.shape[1:])), 1 if n == 1 else 2)
    wanted = (1,) if discrete and n == 1 else (2, 3) if n == 1 else (2,) if discrete else (2, 3)
    if taken.ndim not in wanted or (n > 1 and arrays.actions.shape[1] != n):
        raise FormatError(f"{path}: actions of shape {arrays.actions.shape}, which does not fit {n} agents")
    if arrays.next_obs is not None and arrays.next_obs.shape != arrays.obs.shape:
        raise FormatError(f"{path}: next observations {arrays.next_obs.shape}, observations {arrays.obs.shape}")
    listed = arrays.legal.shape[-1] if arrays.legal is not None else 0
    raw = raw_bytes(given)
    cuts = _cuts(arrays, tail, path)
    layout = Layout(
        format=format, path=path, n=n, obs=arrays.obs.shape[-1],
        state=0 if arrays.state is None else arrays.state.shape[-1],
        actions=listed if discrete else (arrays.actions.shape[-1] if taken.ndim > (1 if n == 1 else 2) else 1),
        discrete=discrete, tail=1 if tail else 0, episodes=len(cuts.rows), rows=int(cuts.rows.sum()),
        raw_bytes=raw + arrays.extra_bytes, terminations=arrays.terminated is not None,
        truncations=arrays.truncated is not None, boundaries=cuts.boundaries, indexed=indexed,
        unfinished=cuts.unfinished, **known,
    )  # fmt: skip

    def read(remarks: list[Remark]) -> Iterator[Block]:
        remarks.extend(cuts.remarks)
        for at, stop in spans(cuts.rows, max(1, raw // rows), path):
            low, high = int(cuts.begins[at]), int(cuts.begins[stop - 1] + cuts.rows[stop - 1])
            counts, begins = cuts.rows[at:stop], cuts.begins[at:stop] - low
            keep: Any = slice(None)
            if counts.sum() != high - low:
                keep = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
                keep += np.repeat(begins, counts)
            part = {k: np.asarray(a[low:high])[keep] for k, a in given.items() if a is not None}
            actions = squeezed(part["actions"], 1 if n == 1 else 2)
            actions = _joint(actions, n, 2 if discrete else 3)
            legal = part.get("legal")
            yield make_block(
                at, counts - tail, tail, obs=_joint(part["obs"], n, 3),
                actions=actions if discrete or actions.ndim == 3 else actions[..., None],
                rewards=squeezed(part["rewards"], 1), terminated=cuts.terminated[low:high][keep],
                truncated=None if cuts.truncated is None else cuts.truncated[low:high][keep],
                state=part.get("state"), legal=None if legal is None else _joint(legal > 0, n, 3),
                next_obs=_joint(part["next_obs"], n, 3) if "next_obs" in part else None,
            )  # fmt: skip

    return Recording(layout, read)
