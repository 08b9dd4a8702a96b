"""What a format cannot hold, as a list that a caller can print, test or refuse."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from offmarl_bench.format.schema import UNKNOWN, Columns

log = logging.getLogger(__name__)

EPISODE_ID = "episode_id"
METADATA = "metadata"
SPEC = "spec"
LOST, ASSUMED = "not carried over", "assumed"


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that does not survive, or that had to be assumed."""

    what: str
    """A column, a part of the spec, or ``metadata``."""
    why: str
    """What happens to it instead."""

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


def report(losses: Sequence[Loss], where: str, what: str = LOST) -> None:
    """Log them, one line each, as things that were ``LOST`` or ``ASSUMED``."""
    for loss in losses:
        log.info("%s: %s: %s", where, what, loss)


def renumbered(columns: Columns, first: Int64[np.ndarray, " E"]) -> list[Loss]:
    """The loss of episode ids that are not 0, 1, 2, …"""
    if (columns[EPISODE_ID][first] == np.arange(len(first))).all():
        return []
    return [Loss(EPISODE_ID, "episodes are numbered 0, 1, 2, … anew")]


def behaviour(columns: Columns, first: Int64[np.ndarray, " E"]) -> list[Loss]:
    """The loss of who played, where it is known."""
    found = [
        Loss(name, "the format has no place for it; it will be unknown (-1)")
        for name in ("behavior_level", "behavior_policy")
        if (columns[name][first] != UNKNOWN).any()
    ]
    if not np.isnan(columns["behavior_logprob"][first]).all():
        found.append(Loss("behavior_logprob", "the format has no place for it; it will be unknown (NaN)"))
    return found
