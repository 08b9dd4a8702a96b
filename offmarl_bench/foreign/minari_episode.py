"""One episode of a Minari dataset: arrays of several agents joined, everything with T + 1 rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Shaped

from offmarl_bench.errors import FormatError
from offmarl_bench.format.hdf5 import REMEDY

STATE = ("state", "global_state")
LEGAL = ("legal_actions", "action_mask", "avail_actions", "legals")
NEEDED = ("observations", "actions", "rewards", "terminations", "truncations")

Raw = dict[str, list[Shaped[np.ndarray, "T ..."]]]
"""The arrays of one episode under Minari's names, one for each agent; ``state`` and ``legal`` from the infos."""


def _stacked(parts: list[Shaped[np.ndarray, "T ..."]]) -> Shaped[np.ndarray, "T N O"]:
    """One array an agent → (T, N, O), smaller ones padded with 0."""
    if len(parts) == 1 and parts[0].ndim == 3:
        return parts[0]
    flat = [p.reshape(len(p), -1) for p in parts]
    out = np.zeros((len(flat[0]), len(flat), max(p.shape[1] for p in flat)), np.result_type(*flat))
    for i, part in enumerate(flat):
        out[:, i, : part.shape[1]] = part
    return out


def _with_last(x: Shaped[np.ndarray, "T ..."]) -> Shaped[np.ndarray, "T+1 ..."]:
    return np.concatenate([x, np.zeros((1, *x.shape[1:]), x.dtype)])


def _choices(parts: list[Shaped[np.ndarray, "T ..."]], where: str) -> Shaped[np.ndarray, "T N"]:
    if len(parts) == 1 and parts[0].ndim == 2:
        return parts[0]
    if any(p.size != len(p) for p in parts):
        raise FormatError(f"{where}: actions of shape {parts[0].shape}, expected one choice a step and agent; {REMEDY}")
    return np.stack([p.reshape(len(p)) for p in parts], 1)


def joined(raw: Raw, where: str) -> dict[str, Any]:
    """The fields of a Block for one episode.

    Args:
        raw: its arrays.
        where: names the episode in errors.

    Raises:
        FormatError: numbers of rows that are not T + 1 observations and T of everything else.
    """
    flags = {k: raw[k][0] != 0 for k in ("terminations", "truncations")}
    flags = {k: v if v.ndim == 1 else v.all(1) for k, v in flags.items()}
    steps = len(flags["terminations"])
    obs, taken, paid = raw["observations"], raw["actions"], raw["rewards"]
    counts = {len(a) for a in taken + paid} | {len(flags["truncations"])}
    if not steps or counts != {steps} or {len(a) for a in obs} != {steps + 1}:
        raise FormatError(
            f"{where}: {min(len(a) for a in obs)} observations, {sorted(counts)} actions and rewards; expected T + 1 "
            f"and T rows; {REMEDY}"
        )
    discrete = taken[0].dtype.kind in "iub"
    if len(paid) > 1:
        paid = [np.stack([p.reshape(steps, -1)[:, 0] for p in paid], 1)]
    out: dict[str, Any] = {
        "obs": _stacked(obs),
        "actions": _with_last(_choices(taken, where) if discrete else _stacked(taken)),
        "rewards": _with_last(paid[0]),
        "terminated": _with_last(flags["terminations"]),
        "truncated": _with_last(flags["truncations"]),
    }
    for field in ("state", "legal"):
        if field in raw:
            out[field] = raw[field][0]
            if len(out[field]) != steps + 1:
                raise FormatError(f"{where}: {field} has {len(out[field])} rows, expected {steps + 1}; {REMEDY}")
    if "legal" in out:
        out["legal"] = out["legal"] > 0
    return out
