"""PyMARL's padded episodes in HDF5, as written by ICQ, CFCQL, OffPyMARL and our own ``to_pymarl``.

Every array is (episode, time, …): ``obs`` (E, L, N, O), ``state`` (E, L, S), ``actions`` (E, L, N, 1),
``avail_actions`` (E, L, N, A), ``reward`` (E, L, 1), ``terminated`` (E, L, 1), ``filled`` (E, L, 1), and with ICQ
``actions_onehot``. PyMARL's runner stores T + 1 filled rows for T steps, with ``terminated`` on row T − 1 and a limit
of L − 1 steps; the time limit sets no flag at all. Conversions of other data fill T rows and put the flag on the
last: which of the two a file is, its flags tell. OffPyMARL writes a folder of ``part_0.h5``, ``part_1.h5``, …, and
may add ``corrected_terminated``, which is preferred.

Sources: the learners and buffers of oxwhirl/pymarl, YiqinYang/ICQ, thu-rllab/CFCQL and
zzq-bot/offline-marl-framework-offpymarl.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool, Int64, Shaped

from offmarl_bench.errors import FormatError
from offmarl_bench.foreign.arrays import Array, first_name, h5_array, raw_bytes, same_length, squeezed
from offmarl_bench.foreign.view import Block, Layout, Recording, Remark, make_block, spans
from offmarl_bench.format.hdf5 import opened

FORMAT = "pymarl"
NAMES: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "obs": (("obs", "observations"), (4,)),
    "state": (("state", "states"), (3,)),
    "actions": (("actions", "action"), (3, 4)),
    "legal": (("avail_actions", "available_actions", "legals"), (4,)),
    "rewards": (("reward", "rewards"), (2, 3)),
    "terminated": (("corrected_terminated", "terminated", "terminals"), (2, 3)),
    "filled": (("filled", "mask"), (2, 3)),
    "onehot": (("actions_onehot",), (4,)),
}
"""Spellings and possible numbers of axes."""
NEEDED = ("obs", "actions", "rewards")
PART = "part_*.h5"
FLAG_BYTES = 1 << 31
"""Flags of all episodes are read at once; more than this is no real file."""


def looks_like(file: h5py.File) -> bool:
    """Whether the arrays of an HDF5 file are padded episodes."""
    obs = first_name(file, NAMES["obs"][0])
    data = file.get(obs) if obs and isinstance(file.get(obs, getlink=True), h5py.HardLink) else None
    return isinstance(data, h5py.Dataset) and len(data.shape or ()) == 4


@dataclass(slots=True)
class _Frame:
    """Where the episodes of one file lie in their padding."""

    rows: Int64[np.ndarray, " E"]
    """Filled rows of each episode."""
    tail: int
    ends: Bool[np.ndarray, "E L"]
    """Terminal flags."""
    flagged: bool
    """There is an array of terminal flags."""
    remarks: list[Remark]


def _arrays(file: h5py.File, where: str) -> dict[str, Array | None]:
    found: dict[str, Array | None] = {}
    for field, (names, axes) in NAMES.items():
        name = first_name(file, names)
        found[field] = None if name is None else h5_array(file, name, axes, where)
    missing = [NAMES[f][0][0] for f in NEEDED if found[f] is None]
    if missing:
        raise FormatError(f"{where}: no array {', '.join(missing)}, expected PyMARL's obs, actions, reward, filled, …")
    same_length(found, where)
    length = found["obs"].shape[1]  # type: ignore[union-attr]
    for field, a in found.items():
        if a is not None and a.shape[1] != length:
            raise FormatError(f"{where}: {NAMES[field][0][0]} has {a.shape[1]} time steps, obs has {length}")
    return found


def _flags(array: Array | None, shape: tuple[int, ...], where: str) -> Bool[np.ndarray, "E L"]:
    if array is None:
        return np.zeros(shape, bool)
    if shape[0] * shape[1] * array.dtype.itemsize > FLAG_BYTES:
        raise FormatError(f"{where}: flags of {shape[0]} × {shape[1]} time steps, expected at most {FLAG_BYTES} bytes")
    flags = np.asarray(array[:]) != 0
    return np.asarray(flags if flags.ndim == 2 else flags.any(2))


def _frame(arrays: dict[str, Array | None], where: str) -> _Frame:
    obs = arrays["obs"]
    shape = obs.shape[:2]  # type: ignore[union-attr]
    ends = _flags(arrays["terminated"], shape, where)
    remarks: list[Remark] = []
    clock = np.arange(shape[1])
    first_end = np.where(ends.any(1), ends.argmax(1), -1)
    if arrays["filled"] is None:
        rows = np.where(first_end >= 0, np.minimum(first_end + 2, shape[1]), shape[1]).astype(np.int64)
        remarks.append(Remark(code="padding", evidence="no array 'filled': lengths were taken from 'terminated'"))
    else:
        filled = _flags(arrays["filled"], shape, where)
        rows = filled.sum(1).astype(np.int64)
        holes = (filled != (clock < rows[:, None])).any(1)
        if holes.any():
            rows[holes] = shape[1] - filled[holes, ::-1].argmax(1)
            text = f"'filled' has holes in {int(holes.sum())} episodes, the first is episode {int(np.argmax(holes))}"
            remarks.append(Remark(code="padding", evidence=text))
    if not (rows > 0).all():
        raise FormatError(f"{where}: episode {int(np.argmin(rows))} has no filled time step; leave it out")
    flagged = first_end >= 0
    tail = 0 if (first_end[flagged] == rows[flagged] - 1).sum() * 2 > flagged.sum() else 1
    if tail and (rows < 2).any():
        raise FormatError(f"{where}: episode {int(np.argmin(rows))} has no steps, only an observation; leave it out")
    beyond = (ends & (clock >= rows[:, None])).any(1)
    if beyond.any():
        text = f"'terminated' is set behind the end of {int(beyond.sum())} episodes, as in {int(np.argmax(beyond))}"
        remarks.append(Remark(code="padding", evidence=text))
    return _Frame(rows, tail, ends, arrays["terminated"] is not None, remarks)


def _is_discrete(arrays: dict[str, Array | None]) -> bool:
    actions = arrays["actions"]
    assert actions is not None  # noqa: S101  (for the type checker: _arrays has seen to it)
    return arrays["legal"] is not None or actions.dtype.kind in "iub"


def _layout(path: Path, arrays: dict[str, Array | None], frame: _Frame) -> Layout:
    obs, state, legal, hot, actions = (arrays[k] for k in ("obs", "state", "legal", "onehot", "actions"))
    discrete = _is_discrete(arrays)
    counted = next((a.shape[3] for a in (legal, hot) if a is not None), 0)
    size = counted if discrete else squeezed(np.empty((1, 1, *actions.shape[2:])), 3).shape[-1]  # type: ignore[union-attr]
    _, length, n, o = obs.shape  # type: ignore[union-attr]
    return Layout(
        format=FORMAT, path=str(path), n=n, obs=o, state=0 if state is None else state.shape[2], actions=size,
        discrete=discrete, tail=1 if frame.tail else 0, episodes=len(frame.rows), rows=int(frame.rows.sum()),
        raw_bytes=raw_bytes(arrays), horizon=length - frame.tail, terminations=frame.flagged,
    )  # fmt: skip


def _actions(raw: Shaped[np.ndarray, "E L N ..."], discrete: bool) -> Shaped[np.ndarray, "E L N ..."]:
    if not discrete:
        return raw if raw.ndim == 4 else raw[..., None]
    return squeezed(raw, 3)


def _blocks(path: Path, frame: _Frame, remarks: list[Remark], offset: int) -> Iterator[Block]:
    where = str(path)
    remarks.extend(frame.remarks)
    wrong = 0
    with opened(path) as file:
        arrays = _arrays(file, where)
        discrete, length = _is_discrete(arrays), frame.ends.shape[1]
        clock = np.arange(length)
        bytes_each = max(1, raw_bytes(arrays) // len(frame.rows))
        for at, stop in spans(np.ones(len(frame.rows), np.int64), bytes_each, where):
            rows = frame.rows[at:stop]
            keep = clock < rows[:, None]
            cut = {k: np.asarray(a[at:stop]) for k, a in arrays.items() if a is not None and k not in FLAGS}
            actions = _actions(cut["actions"], discrete)
            if discrete and actions.ndim != 3:
                raise FormatError(f"{where}: 'actions' of shape {cut['actions'].shape}, expected one choice an agent")
            taken = actions[keep]
            legal = cut["legal"][keep] > 0 if "legal" in cut else None
            block = make_block(
                offset + at, rows - frame.tail, frame.tail, obs=cut["obs"][keep], actions=taken, legal=legal,
                rewards=squeezed(cut["rewards"], 2)[keep], terminated=frame.ends[at:stop][keep],
                state=cut["state"][keep] if "state" in cut else None,
            )  # fmt: skip
            if "onehot" in cut and discrete:
                wrong += int(((cut["onehot"][keep].argmax(2) != taken).any(1) & block.steps).sum())
            yield block
    if wrong:
        remarks.append(Remark(code="onehot", evidence=f"'actions_onehot' differs from 'actions' in {wrong} steps"))


FLAGS = ("terminated", "filled")


def _one(path: Path) -> tuple[Layout, _Frame]:
    with opened(path) as file:
        arrays = _arrays(file, str(path))
        frame = _frame(arrays, str(path))
        return _layout(path, arrays, frame), frame


def read_pymarl(path: Path) -> Recording:
    """Padded episodes from one file, or from a folder of ``part_*.h5``.

    Raises:
        FormatError: not such a file, damaged, or parts that do not fit together.
    """
    paths = sorted(path.glob(PART), key=lambda p: (len(p.name), p.name)) if path.is_dir() else [path]
    if not paths:
        raise FormatError(f"{path}: a folder without {PART}; expected the parts of an OffPyMARL dataset")
    parts = [_one(p) for p in paths]
    whole = parts[0][0]
    for p, (layout, _) in zip(paths[1:], parts[1:], strict=True):
        for name in ("n", "obs", "state", "actions", "discrete", "tail"):
            if getattr(layout, name) != getattr(whole, name):
                raise FormatError(
                    f"{p}: {name} is {getattr(layout, name)}, in {paths[0].name} it is {getattr(whole, name)}; "
                    "expected parts of one dataset"
                )
    total = replace(
        whole, path=str(path), episodes=sum(k.episodes for k, _ in parts), rows=sum(k.rows for k, _ in parts),
        raw_bytes=sum(k.raw_bytes for k, _ in parts), horizon=max(k.horizon or 0 for k, _ in parts),
    )  # fmt: skip

    def read(remarks: list[Remark]) -> Iterator[Block]:
        offset = 0
        for p, (layout, frame) in zip(paths, parts, strict=True):
            yield from _blocks(p, frame, remarks, offset)
            offset += layout.episodes

    return Recording(total, read)
