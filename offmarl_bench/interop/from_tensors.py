"""TorchRL's ``TensorDict`` as a recording: what ``tensors`` writes, or a collector of somebody else's.

Only a TensorDict in memory is taken, not its folder: ``TensorDict.load_memmap`` runs whatever pickles it finds in a
folder, so whether to trust one is for its owner to decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from offmarl_bench.errors import FormatError
from offmarl_bench.foreign.arrays import NUMBERS, Array, raw_bytes, squeezed
from offmarl_bench.foreign.view import Block, Layout, Recording, Remark, make_block
from offmarl_bench.format.schema import UNKNOWN, Columns, columns_of
from offmarl_bench.interop.tensors import PLAYED, SEEN
from offmarl_bench.types import EnvSpec

FORMAT = "tensordict"
REWARDS = (("next", "reward"), ("next", "agents", "reward"))
"""Of the team, or of each agent."""
TRAJECTORY = ("collector", "traj_ids")
FLAGS = ("done", "terminated", "truncated")
NEEDED = (SEEN["observations"], ("next", *SEEN["observations"]), ("agents", "action"), ("next", "done"))
WHERE = "TensorDict"


def _get(data: Any, key: tuple[str, ...], axes: tuple[int, ...]) -> Shaped[np.ndarray, "T ..."] | None:
    """An entry as numbers, None if it is not there. Raises FormatError for anything else."""
    found = data.get(key, None)
    if found is None:
        return None
    if not hasattr(found, "detach"):
        raise FormatError(f"{WHERE}: {key} is {type(found).__name__}, expected a tensor")
    array: Shaped[np.ndarray, "T ..."] = found.detach().cpu().numpy()
    if array.dtype.kind not in NUMBERS or array.ndim not in axes:
        raise FormatError(f"{WHERE}: {key} is {array.dtype} {array.shape}, expected numbers of {axes} axes")
    return array


def _checked(data: Any) -> None:
    if getattr(data, "batch_dims", None) != 1:
        size = tuple(getattr(data, "batch_size", ()))
        raise FormatError(f"{WHERE}: batch size {size}, expected (steps,); flatten it with td.reshape(-1)")
    missing = [k for k in NEEDED if data.get(k, None) is None]
    if missing:
        raise FormatError(f"{WHERE}: no entry {missing[0]}; expected {NEEDED} and {REWARDS[0]}, as TorchRL names them")
    if not len(data):
        raise FormatError(f"{WHERE}: it has no steps, expected at least one")


def _lasts(data: Any) -> tuple[Bool[np.ndarray, " T"], Bool[np.ndarray, " T"], Bool[np.ndarray, " T"]]:
    """Last steps of episodes, by flags and trajectory numbers; which ended by themselves; which were cut."""
    flags: dict[str, Bool[np.ndarray, " T"]] = {}
    for name in FLAGS:
        given = _get(data, ("next", name), (1, 2))
        flags[name] = np.zeros(len(data), bool) if given is None else np.asarray(squeezed(given, 1) != 0)
    last = np.logical_or.reduce(list(flags.values()))
    ids = _get(data, TRAJECTORY, (1, 2))
    if ids is not None:
        ids = squeezed(ids, 1)
        last[:-1] |= ids[1:] != ids[:-1]
    last[-1] = True
    ended = flags["terminated"] if data.get(("next", "terminated"), None) is not None else flags["done"]
    return last, ended & ~flags["truncated"], last & ~ended


def _follows(seen: Shaped[np.ndarray, "T ..."], following: Shaped[np.ndarray, "T ..."], last: np.ndarray) -> None:
    inner = np.flatnonzero(~last)
    differ = (following[inner] != seen[inner + 1]) & ~(np.isnan(following[inner]) | np.isnan(seen[inner + 1]))
    if differ.any():
        at = int(inner[differ.reshape(len(inner), -1).any(1)][0])
        raise FormatError(
            f"{WHERE}: the observation next to step {at} is not that of step {at + 1} of the same episode; expected "
            "whole episodes in the order of time"
        )


class _Rows:
    """Places steps among rows: an episode of T steps has T + 1 rows."""

    def __init__(self, last: Bool[np.ndarray, " T"]) -> None:
        self.ends = np.flatnonzero(last)
        self.lengths: Int64[np.ndarray, " E"] = np.diff(self.ends, prepend=-1)
        self.at = np.arange(len(last)) + np.repeat(np.arange(len(self.ends)), self.lengths)
        self.tails = self.at[self.ends] + 1

    def spread(self, x: Shaped[np.ndarray, "T ..."], final: Any = 0) -> Shaped[np.ndarray, "R ..."]:
        """Steps with a value for the rows after the last ones."""
        out = np.empty((len(x) + len(self.ends), *x.shape[1:]), x.dtype)
        out[self.at], out[self.tails] = x, final
        return out


def read_tensordict(data: Any) -> Recording:
    """A view of a TensorDict with one row a step; see ``tensors`` for its keys. State and action mask may be absent.

    Raises:
        FormatError: no such TensorDict, an entry is missing or of another kind, or steps are not in order of time.
    """
    _checked(data)
    last, ended, cut = _lasts(data)
    rows = _Rows(last)
    axes = {"observations": (3,), "state": (2,), "legal_actions": (3,)}
    seen: dict[str, Shaped[np.ndarray, "R ..."]] = {}
    for name, key in SEEN.items():
        now, later = _get(data, key, axes[name]), _get(data, ("next", *key), axes[name])
        if now is None or later is None:
            continue
        if now.shape != later.shape:
            raise FormatError(f"{WHERE}: {key} has shape {now.shape}, its next one {later.shape}; expected the same")
        if name == "observations":
            _follows(now, later, last)
        seen[name] = rows.spread(now, later[rows.ends])
    actions = _get(data, ("agents", "action"), (2, 3))
    rewards = next((r for r in (_get(data, k, (1, 2, 3)) for k in REWARDS) if r is not None), None)
    if actions is None or rewards is None:
        raise FormatError(f"{WHERE}: no entry {REWARDS[0]}, expected the team's reward of each step")
    discrete = actions.dtype.kind in "iu"
    actions = squeezed(actions, 2) if discrete else actions
    n, obs = seen["observations"].shape[1:]
    if actions.shape[1] != n or actions.ndim != (2 if discrete else 3):
        raise FormatError(f"{WHERE}: actions of shape {actions.shape}, expected one of each of {n} agents a step")
    legal = seen.get("legal_actions")
    count = actions.shape[2] if not discrete else legal.shape[2] if legal is not None else 0
    block = make_block(
        0, rows.lengths, 1, obs=seen["observations"], actions=rows.spread(actions), legal=legal,
        rewards=rows.spread(squeezed(rewards, 1)), terminated=rows.spread(ended), truncated=rows.spread(cut),
        state=seen.get("state"),
    )  # fmt: skip
    arrays: dict[str, Array | None] = {**seen, "actions": actions, "rewards": rewards}
    layout = Layout(
        format=FORMAT, path=WHERE, n=n, obs=obs, state=seen["state"].shape[1] if "state" in seen else 0, actions=count,
        discrete=discrete, tail=1, episodes=len(rows.lengths), rows=len(block.obs), raw_bytes=raw_bytes(arrays),
        truncations=data.get(("next", "truncated"), None) is not None,
    )  # fmt: skip

    def read(_: list[Remark]) -> Iterator[Block]:
        yield block

    return Recording(layout, read)


def read_behaviour(data: Any, spec: EnvSpec) -> Columns:
    """Who played, of a TensorDict that ``tensors`` made; empty where a stranger did. Raises FormatError."""
    rows = _Rows(_lasts(data)[0])
    found: Columns = {}
    for column in columns_of(spec):
        if column.name not in PLAYED:
            continue
        given = _get(data, ("agents", column.name), (2,))
        if given is None:
            return {}
        if given.dtype != column.dtype or given.shape[1:] != column.shape:
            raise FormatError(
                f"{WHERE}: ('agents', {column.name!r}) is {given.dtype} {given.shape}, expected {column.dtype} "
                f"{('steps', *column.shape)}"
            )
        found[column.name] = rows.spread(given, 0 if column.dtype.kind == "f" else UNKNOWN)
    return found
