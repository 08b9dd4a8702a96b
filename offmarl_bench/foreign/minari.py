"""Minari's datasets (Farama): one HDF5 group per episode, or Arrow files through Minari itself.

``main_data.hdf5`` holds groups ``episode_0``, ``episode_1``, … with ``observations`` (T + 1 rows), ``actions``,
``rewards``, ``terminations``, ``truncations`` (T rows) and ``infos``. With several agents, spaces are dictionaries or
tuples, so ``observations`` and ``actions`` are groups with one array an agent; ``rewards`` may be (T,) or (T, N), or a
group too. A state, if kept, is in ``infos/state``, legal actions in ``infos/legal_actions`` or ``infos/action_mask``.
The HDF5 storage needs h5py alone; the Arrow storage needs ``pip install minari``.

Source: minari/dataset/_storages/hdf5_storage.py of Farama-Foundation/Minari 0.5.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int64, Shaped

from offmarl_bench.errors import FormatError
from offmarl_bench.foreign.arrays import first_name, h5_array
from offmarl_bench.foreign.view import Block, Layout, Recording, Remark, make_block, spans
from offmarl_bench.format.hdf5 import REMEDY, opened

FORMAT = "minari"
MAIN = "main_data.hdf5"
DESCRIPTION = "metadata.json"
EPISODE = re.compile(r"episode_(\d+)")
STATE = ("state", "global_state")
LEGAL = ("legal_actions", "action_mask", "avail_actions", "legals")
MAX_DESCRIPTION = 1 << 24
"""Bytes of a metadata.json that is still read."""
MAX_AGENTS = 4096
"""More arrays than this in one group are no agents."""


def looks_like(file: h5py.File) -> bool:
    """Whether an HDF5 file is made of episode groups."""
    return "episode_0" in file and file.get("episode_0", getclass=True) is h5py.Group


def main_file(path: Path) -> Path:
    """The HDF5 file of a dataset folder (with or without its ``data`` folder), or the file itself."""
    if path.is_file():
        return path
    return next((p for p in (path / "data" / MAIN, path / MAIN) if p.is_file()), path / MAIN)


def _leaves(group: h5py.Group, name: str, axes: tuple[int, ...], where: str) -> list[h5py.Dataset]:
    """The one array, or one for each agent in the order of their names' numbers."""
    label = f"{where}, {name}"
    kind = group.get(name, getclass=True, getlink=False)
    if kind is not h5py.Group:
        return [h5_array(group, name, axes, label)]
    inner = group[name]
    if len(inner) > MAX_AGENTS:
        raise FormatError(f"{label}: {len(inner)} arrays, expected one an agent")
    if not len(inner):
        raise FormatError(f"{label} is an empty group, expected one array an agent")
    return [h5_array(inner, k, axes, label) for k in sorted(inner, key=_by_number)]


def _by_number(name: str) -> tuple[str, int]:
    """``agent_10`` after ``agent_2``."""
    digits = re.search(r"(\d+)$", name)
    return (name[: digits.start()], int(digits.group(1))) if digits else (name, -1)


def _stacked(parts: list[Shaped[np.ndarray, "T ..."]], width: int) -> Shaped[np.ndarray, "T N O"]:
    """One array an agent → (T, N, width), smaller ones padded with 0."""
    if len(parts) == 1 and parts[0].ndim == 3:
        return parts[0]
    out = np.zeros((len(parts[0]), len(parts), width), np.result_type(*parts))
    for i, part in enumerate(parts):
        flat = part.reshape(len(part), -1)
        out[:, i, : flat.shape[1]] = flat
    return out


def _description(path: Path) -> dict[str, Any]:
    side = main_file(path).parent / DESCRIPTION
    if not side.is_file() or side.stat().st_size > MAX_DESCRIPTION:
        return {}
    try:
        found = json.loads(side.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as e:
        raise FormatError(f"{side}: not JSON ({e}); {REMEDY}") from e
    return found if isinstance(found, dict) else {}


def _episode(group: h5py.Group, where: str, has: dict[str, bool]) -> dict[str, Any]:
    """All arrays of one episode, with T + 1 rows each."""
    for name in ("observations", "actions", "rewards", "terminations", "truncations"):
        if name not in group:
            raise FormatError(f"{where}: no {name!r}, expected what Minari writes; {REMEDY}")
    flags = {k: np.asarray(h5_array(group, k, (1, 2), where)[:]) != 0 for k in ("terminations", "truncations")}
    flags = {k: v if v.ndim == 1 else v.all(1) for k, v in flags.items()}
    steps = len(flags["terminations"])
    obs = [np.asarray(a[:]) for a in _leaves(group, "observations", (1, 2, 3), where)]
    taken = [np.asarray(a[:]) for a in _leaves(group, "actions", (1, 2, 3), where)]
    paid = [np.asarray(a[:]) for a in _leaves(group, "rewards", (1, 2), where)]
    counts = {len(a) for a in taken + paid} | {len(flags["truncations"])}
    if not steps or counts != {steps} or {len(a) for a in obs} != {steps + 1}:
        raise FormatError(
            f"{where}: {sorted(len(a) for a in obs)[0]} observations, {sorted(counts)} actions and rewards; expected "
            f"T + 1 and T rows; {REMEDY}"
        )
    discrete = taken[0].dtype.kind in "iub"
    if discrete:
        joint = taken[0] if len(taken) == 1 and taken[0].ndim == 2 else np.stack([a.reshape(steps) for a in taken], 1)
    else:
        joint = _stacked(taken, max(int(np.prod(a.shape[1:])) for a in taken))
    out: dict[str, Any] = {
        "obs": _stacked(obs, max(int(np.prod(a.shape[1:])) for a in obs)),
        "actions": _with_last(joint),
        "rewards": _with_last(paid[0] if len(paid) == 1 else np.stack([p.reshape(steps) for p in paid], 1)),
        "terminated": _with_last(flags["terminations"]),
        "truncated": _with_last(flags["truncations"]),
    }
    infos = group["infos"] if has["infos"] else {}
    for field, names, axes in (("state", STATE, (2, 3)), ("legal", LEGAL, (3,))):
        given = first_name(infos, names)
        if given is not None:
            out[field] = np.asarray(h5_array(infos, given, axes, where)[:])
            if len(out[field]) != steps + 1:
                raise FormatError(f"{where}: infos/{given} has {len(out[field])} rows, expected {steps + 1}; {REMEDY}")
    if "legal" in out:
        out["legal"] = out["legal"] > 0
    return out


def _choices(space: Any) -> int:
    """The largest number of choices in a space as Minari writes it (JSON text of nested dictionaries); 0: none."""
    if isinstance(space, str):
        try:
            space = json.loads(space)
        except (ValueError, RecursionError):
            return 0
    if isinstance(space, list):
        return max((_choices(x) for x in space), default=0)
    if not isinstance(space, dict):
        return 0
    own = [space.get("n"), *(v if isinstance(v := space.get("nvec"), list) else [])]
    inner = space.get("subspaces")
    nested = list(inner.values()) if isinstance(inner, dict) else inner
    return max([*(x for x in own if isinstance(x, int)), _choices(nested)], default=0)


def _with_last(x: Shaped[np.ndarray, "T ..."]) -> Shaped[np.ndarray, "T+1 ..."]:
    return np.concatenate([x, np.zeros((1, *x.shape[1:]), x.dtype)])


def _group(file: h5py.File, k: int, where: str) -> h5py.Group:
    name = f"episode_{k}"
    if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Group):
        raise FormatError(f"{where}: {name} is missing or a link, expected episodes numbered 0, 1, 2, …; {REMEDY}")
    return file[name]


def _lengths(file: h5py.File, where: str) -> Int64[np.ndarray, " E"]:
    """Steps of each episode."""
    count = sum(EPISODE.fullmatch(name) is not None for name in file)
    sizes = []
    for k in range(count):
        group = _group(file, k, where)
        if "terminations" not in group:
            raise FormatError(f"{where}: episode_{k} has no 'terminations', expected what Minari writes; {REMEDY}")
        sizes.append(h5_array(group, "terminations", (1, 2), f"{where}, episode_{k}").shape[0])
    return np.array(sizes, np.int64)


def read_minari(path: Path) -> Recording:
    """A dataset folder of Minari, or its ``main_data.hdf5``.

    Raises:
        FormatError: not such a dataset, or damaged; or an Arrow dataset (convert it with Minari first).
    """
    described = _description(path)
    source = main_file(path)
    if not source.is_file() and described.get("data_format") not in (None, "hdf5"):
        raise FormatError(
            f"{path}: Minari stores this dataset as {described['data_format']}; write it anew with "
            "minari's data_format='hdf5'"
        )
    where = str(source)
    with opened(source) as file:
        lengths = _lengths(file, where)
        if not len(lengths):
            raise FormatError(f"{where}: no episode_0, expected at least one episode")
        group = _group(file, 0, where)
        infos = isinstance(group.get("infos", getlink=True), h5py.HardLink) and isinstance(group["infos"], h5py.Group)
        has = {"infos": infos}
        joint = group.get("observations", getclass=True) is h5py.Group
        names = tuple(sorted(group["observations"], key=_by_number)) if joint else ()
        one = _episode(group, f"{where}: episode_0", has)
    discrete = one["actions"].ndim == 2
    listed = one["legal"].shape[2] if "legal" in one else _choices(described.get("action_space"))
    per_row = sum(v.nbytes for v in one.values()) // len(one["obs"])
    rows = int((lengths + 1).sum())
    layout = Layout(
        format=FORMAT, path=str(path), n=one["obs"].shape[1], obs=one["obs"].shape[2],
        state=one["state"].shape[-1] if "state" in one else 0,
        actions=listed if discrete else one["actions"].shape[2],
        discrete=discrete, tail=1, episodes=len(lengths), rows=rows, raw_bytes=rows * per_row, truncations=True,
        agents=names, metadata=described,
    )  # fmt: skip

    def read(_: list[Remark]) -> Iterator[Block]:
        with opened(source) as file:
            for at, stop in spans(lengths + 1, per_row, where):
                parts = [_episode(_group(file, k, where), f"{where}: episode_{k}", has) for k in range(at, stop)]
                for k, part in enumerate(parts):
                    same = part.keys() == one.keys() and all(part[f].shape[1:] == one[f].shape[1:] for f in one)
                    if not same:
                        raise FormatError(
                            f"{where}: episode_{at + k} has other arrays or sizes than episode_0; {REMEDY}"
                        )
                joined = {f: np.concatenate([p[f] for p in parts]) for f in one}
                yield make_block(at, lengths[at:stop], 1, **joined)

    return Recording(layout, read)
