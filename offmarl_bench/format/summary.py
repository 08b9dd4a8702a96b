"""What a dataset's metadata says about its content: sizes, returns, lengths, and who played with whom.

Computed from the small columns alone, so that it costs little for a file of any size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int, Int64, Shaped

from offmarl_bench.types import LEVELS, EnvSpec

NEEDED = ("rewards", "is_first", "behavior_level")
"""The columns that ``summarise`` reads."""
QUARTILES = (25, 50, 75)
UNKNOWN_LETTER = "?"


def describe_returns(returns: Float64[np.ndarray, " E"]) -> dict[str, float | int]:
    """Mean, standard deviation, extremes and quartiles of episode returns."""
    quarters = np.percentile(returns, QUARTILES).tolist()
    return {
        "episodes": len(returns), "mean": float(returns.mean()), "std": float(returns.std()),
        "min": float(returns.min()), "q25": quarters[0], "median": quarters[1], "q75": quarters[2],
        "max": float(returns.max()),
    }  # fmt: skip


def composition_text(agents: Sequence[str], levels: Sequence[int]) -> str:
    """The bracket of a recipe, e.g. ``[s1r,s2m]``; a question mark where nobody knows who played."""
    letters = (LEVELS[k][0] if 0 <= k < len(LEVELS) else UNKNOWN_LETTER for k in levels)
    return "[" + ",".join(a + letter for a, letter in zip(agents, letters, strict=True)) + "]"


def compositions(
    spec: EnvSpec, levels: Int[np.ndarray, "E N"], returns: Float64[np.ndarray, " E"]
) -> list[dict[str, Any]]:
    """For each distinct team of levels its bracket and the returns of its episodes, weakest team first."""
    kinds, kind = np.unique(levels, axis=0, return_inverse=True)
    return [
        {"composition": composition_text(spec.agents, row.tolist()), **describe_returns(returns[kind.ravel() == k])}
        for k, row in enumerate(kinds)
    ]


def summarise_episodes(
    spec: EnvSpec, returns: Float64[np.ndarray, " E"], lengths: Int64[np.ndarray, " E"], levels: Int[np.ndarray, "E N"]
) -> dict[str, Any]:
    """The statistics that stand in the metadata (see ``docs/format.md``), from one number an episode."""
    return {
        "episodes": len(returns), "steps": int(lengths.sum()), "return_mean": float(returns.mean()),
        "length_mean": float(lengths.mean()), "length_std": float(lengths.std()),
        "returns": describe_returns(returns), "compositions": compositions(spec, levels, returns),
    }  # fmt: skip


def summarise(spec: EnvSpec, columns: Mapping[str, Shaped[np.ndarray, "R ..."]]) -> dict[str, Any]:
    """The same from flat columns, of which it needs those in ``NEEDED``."""
    starts = np.flatnonzero(columns["is_first"])
    returns = np.add.reduceat(np.asarray(columns["rewards"], np.float64), starts)
    lengths: Int64[np.ndarray, " E"] = np.diff(np.append(starts, len(columns["is_first"]))) - 1
    return summarise_episodes(spec, returns, lengths, np.asarray(columns["behavior_level"])[starts])
