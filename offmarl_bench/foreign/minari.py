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
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int64

from offmarl_bench.errors import FormatError
from offmarl_bench.foreign.arrays import first_name, h5_array
from offmarl_bench.foreign.minari_arrow import ArrowEpisodes
from offmarl_bench.foreign.minari_episode import LEGAL, NEEDED, STATE, Raw, joined
from offmarl_bench.foreign.view import Block, Layout, Recording, Remark, make_block, spans
from offmarl_bench.format.hdf5 import REMEDY, opened
from offmarl_bench.format.schema import UNKNOWN

FORMAT = "minari"
MAIN = "main_data.hdf5"
DESCRIPTION = "metadata.json"
PLAYED = ("behavior_level", "behavior_policy")
"""Where an export of ours says who played, in the infos."""
EPISODE = re.compile(r"episode_(\d+)")
MAX_DESCRIPTION = 1 << 24
"""Bytes of a metadata.json that is still read."""
MAX_AGENTS = 4096
"""More arrays than this in one group are no agents."""


def looks_like(file: h5py.File) -> bool:
    """Whether an HDF5 file is made of episode groups."""
    return _is_group(file, "episode_0")


def main_file(path: Path) -> Path:
    """The HDF5 file of a dataset folder (with or without its ``data`` folder), or the file itself."""
    if path.is_file():
        return path
    return next((p for p in (path / "data" / MAIN, path / MAIN) if p.is_file()), path / MAIN)


def _is_group(group: h5py.Group, name: str) -> bool:
    """Whether a group lies under this name in this very file; links are not followed."""
    return isinstance(group.get(name, getlink=True), h5py.HardLink) and isinstance(group[name], h5py.Group)


def _leaves(group: h5py.Group, name: str, axes: tuple[int, ...], where: str) -> list[h5py.Dataset]:
    """The one array, or one for each agent in the order of their names' numbers."""
    label = f"{where}, {name}"
    if not _is_group(group, name):
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


def _description(path: Path) -> dict[str, Any]:
    folders = (path / "data", path) if path.is_dir() else (path.parent,)
    side = next((f / DESCRIPTION for f in folders if (f / DESCRIPTION).is_file()), folders[0] / DESCRIPTION)
    if not side.is_file() or side.stat().st_size > MAX_DESCRIPTION:
        return {}
    try:
        found = json.loads(side.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as e:
        raise FormatError(f"{side}: not JSON ({e}); {REMEDY}") from e
    return found if isinstance(found, dict) else {}


def _raw(group: h5py.Group, where: str) -> Raw:
    """The arrays of one episode's group."""
    for name in NEEDED:
        if name not in group:
            raise FormatError(f"{where}: no {name!r}, expected what Minari writes; {REMEDY}")
    axes = {"observations": (1, 2, 3), "actions": (1, 2, 3)}
    found = {name: [np.asarray(a[:]) for a in _leaves(group, name, axes.get(name, (1, 2)), where)] for name in NEEDED}
    infos = group["infos"] if _is_group(group, "infos") else {}
    for field, names, ranks in (("state", STATE, (2, 3)), ("legal", LEGAL, (3,))):
        given = first_name(infos, names)
        if given is not None:
            found[field] = [np.asarray(h5_array(infos, given, ranks, where)[:])]
    return found


def _knows_who_played(group: h5py.Group, where: str) -> bool:
    """Whether an export of ours left who played in an episode's infos."""
    infos = group["infos"] if _is_group(group, "infos") else {}
    found = [h5_array(infos, name, (2,), f"{where}: episode_0/infos")[:] for name in PLAYED if name in infos]
    return any(bool((played != UNKNOWN).any()) for played in found)


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


def _group(file: h5py.File, k: int, where: str) -> h5py.Group:
    name = f"episode_{k}"
    if not _is_group(file, name):
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
        FormatError: not such a dataset, or damaged. OffmarlError: stored as Arrow, and Minari is not installed.
    """
    described = _description(path)
    source = main_file(path)
    if not source.is_file() and described.get("data_format") == "arrow":
        arrow = ArrowEpisodes(path)
        layout = _layout(path, arrow.lengths, arrow.raw(0), arrow.agents(), described)
        return Recording(layout, lambda _: _blocks(arrow.lengths, arrow.raw, layout))
    where = str(source)
    with opened(source) as file:
        lengths = _lengths(file, where)
        if not len(lengths):
            raise FormatError(f"{where}: no episode_0, expected at least one episode")
        group = _group(file, 0, where)
        names = tuple(sorted(group["observations"], key=_by_number)) if _is_group(group, "observations") else ()
        layout = _layout(path, lengths, _raw(group, f"{where}: episode_0"), names, described)
        layout = replace(layout, behaviour=_knows_who_played(group, where))

    def read(_: list[Remark]) -> Iterator[Block]:
        with opened(source) as file:
            yield from _blocks(lengths, lambda k: _raw(_group(file, k, where), f"{where}: episode_{k}"), layout)

    return Recording(layout, read)


def _layout(
    path: Path, lengths: Int64[np.ndarray, " E"], first: Raw, names: tuple[str, ...], described: dict[str, Any]
) -> Layout:
    one = joined(first, f"{path}: episode_0")
    discrete = one["actions"].ndim == 2
    listed = one["legal"].shape[2] if "legal" in one else _choices(described.get("action_space"))
    rows = int((lengths + 1).sum())
    return Layout(
        format=FORMAT, path=str(path), n=one["obs"].shape[1], obs=one["obs"].shape[2],
        state=one["state"].shape[-1] if "state" in one else 0,
        actions=listed if discrete else one["actions"].shape[2],
        discrete=discrete, tail=1, episodes=len(lengths), rows=rows,
        raw_bytes=rows * (sum(v.nbytes for v in one.values()) // len(one["obs"])), truncations=True,
        agents=names, metadata=described,
    )  # fmt: skip


def _blocks(lengths: Int64[np.ndarray, " E"], raw: Callable[[int], Raw], layout: Layout) -> Iterator[Block]:
    one: dict[str, Any] = {}
    for at, stop in spans(lengths + 1, layout.raw_bytes // layout.rows, layout.path):
        parts = [joined(raw(k), f"{layout.path}: episode_{k}") for k in range(at, stop)]
        one = one or parts[0]
        for k, part in enumerate(parts):
            if part.keys() != one.keys() or any(part[f].shape[1:] != one[f].shape[1:] for f in one):
                text = f"{layout.path}: episode_{at + k} has other arrays or sizes than episode_0; {REMEDY}"
                raise FormatError(text)
        yield make_block(at, lengths[at:stop], 1, **{f: np.concatenate([p[f] for p in parts]) for f in one})
