r"""How unequal the agents of a dataset are: the index behind ``generate --imbalance``.

Who plays at level ``LEVELS[k]`` has quality q = k / (levels − 1): random 0, medium ½, expert 1. In episode e, with
qualities q_1 … q_N, the best agent is ahead of its team mates by::

    g_e = max_n q_n − mean of the other N − 1 qualities = N / (N − 1) · (max_n q_n − mean_n q_n)

Nothing else is 0 but a team of equals, and nothing else is 1 but one expert among random agents. The imbalance of a
dataset is the mean of g_e. Its lasting imbalance is the same gap of the agents' mean qualities over the dataset: it
is at most the imbalance (max is convex), equal if the same agent is always the best, 0 if all take turns.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int

from offmarl_bench.loader import Dataset
from offmarl_bench.types import LEVELS


def quality_of_levels(levels: Int[np.ndarray, "*E N"]) -> Float64[np.ndarray, "*E N"]:
    """Quality in [0, 1] of indices into ``LEVELS``: random 0, medium ½, expert 1."""
    return np.asarray(levels, np.float64) / (len(LEVELS) - 1)


def gap(quality: Float64[np.ndarray, "*E N"]) -> Float64[np.ndarray, "*E"]:
    """How far the best agent is ahead of the mean of the others, in [0, 1]; 0 for a team of one."""
    n = quality.shape[-1]
    if n == 1:
        return np.zeros(quality.shape[:-1])
    return np.asarray((quality.max(-1) - quality.mean(-1)) * n / (n - 1))


def _known(dataset: Dataset) -> Float64[np.ndarray, "K N"]:
    """Qualities in the episodes of which the dataset says who played every agent."""
    levels = dataset.levels
    return quality_of_levels(levels[(levels >= 0).all(1)])


def agent_quality(dataset: Dataset) -> tuple[float, ...] | None:
    """Mean quality of each agent over the episodes, in [0, 1]; None where nobody knows who played."""
    known = _known(dataset)
    return tuple(known.mean(0).tolist()) if len(known) else None


def imbalance(dataset: Dataset) -> float | None:
    """Mean over the episodes of the best agent's lead over its team mates; see the module for the formula.

    Returns:
        0 if all agents of every episode are alike … 1 if every episode has one expert among random agents. Episodes
        that do not say who played each agent are left out; None if no episode says.
    """
    known = _known(dataset)
    return float(gap(known).mean()) if len(known) else None


def lasting_imbalance(dataset: Dataset) -> float | None:
    """The lead of the agent that is best over the whole dataset; None where nobody knows who played.

    Returns:
        At most ``imbalance``: equal if it is always the same agent that leads, 0 if all are equally good on average.
    """
    known = _known(dataset)
    return float(gap(known.mean(0))) if len(known) else None
