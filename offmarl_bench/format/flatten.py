"""Episodes ↔ flat columns: the one place that knows how T steps and T + 1 observations become T + 1 rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.format.schema import UNKNOWN, Columns, columns_of
from offmarl_bench.types import EnvSpec, Episode

PER_STEP = ("actions", "rewards", "behavior_level", "behavior_policy", "behavior_logprob")
PER_OBSERVATION = ("observations", "state", "legal_actions")


def row_starts_of(lengths: Int64[np.ndarray, " E"]) -> Int64[np.ndarray, " E"]:
    """First row of each of consecutive episodes with these lengths in steps."""
    ends = np.cumsum(lengths + 1)
    return np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if len(ends) else np.zeros(0, np.int64)


def episode_rows(columns: Columns) -> tuple[Int64[np.ndarray, " E"], Int64[np.ndarray, " E"]]:
    """First row and length in steps of each episode of whole columns."""
    starts, lasts = np.flatnonzero(columns["is_first"]), np.flatnonzero(columns["is_last"])
    return starts, lasts - starts


def _fill(out: np.ndarray, episode: Episode, name: str, k: int, first: int) -> None:
    given = getattr(episode, name)
    if given is None:
        if name in ("observations", "state", "legal_actions", "actions", "rewards"):
            raise SpecMismatch(f"episode {k}: {name} is missing, expected {out.shape[1:]} a row")
        return
    steps = len(episode) + (name in PER_OBSERVATION)
    if given.shape != (steps, *out.shape[1:]):
        raise SpecMismatch(f"episode {k}: {name} has shape {given.shape}, expected {(steps, *out.shape[1:])}")
    if given.dtype.kind != out.dtype.kind:
        raise SpecMismatch(f"episode {k}: {name} is {given.dtype}, expected {out.dtype}")
    out[first : first + steps] = given


def flatten(
    episodes: Sequence[Episode], spec: EnvSpec, *, first_id: int = 0
) -> tuple[Columns, Int64[np.ndarray, " E"]]:
    """Flat columns of these episodes, and their lengths in steps.

    Last rows hold the final observation: action and reward 0, behaviour level and policy −1, log-probability 0.
    Where an episode does not say who played, level and policy are −1 and the log-probability NaN.

    Raises:
        SpecMismatch: an array whose shape or kind is not that of the spec (names episode and field).
        FormatError: an episode without steps.
    """
    lengths = np.array([len(e) for e in episodes], np.int64)
    if (lengths < 1).any():
        raise FormatError(f"episode {int(np.argmin(lengths))} has no steps; leave it out")
    starts = row_starts_of(lengths)
    rows = int((lengths + 1).sum())
    out: Columns = {c.name: np.zeros((rows, *c.shape), c.dtype) for c in columns_of(spec)}
    lasts = starts + lengths
    for name in ("behavior_level", "behavior_policy"):
        out[name][:] = UNKNOWN
    if any(e.behavior_logprob is None for e in episodes):
        out["behavior_logprob"][:] = np.nan
        out["behavior_logprob"][lasts] = 0
    names = [name for name in PER_OBSERVATION + PER_STEP if name in out]
    for k, (episode, first) in enumerate(zip(episodes, starts.tolist(), strict=True)):
        for name in names:
            _fill(out[name], episode, name, k, first)
    out["is_first"][starts] = True
    out["is_last"][lasts] = True
    out["is_terminal"][lasts] = [e.terminal for e in episodes]
    out["episode_id"][:] = np.repeat(np.arange(first_id, first_id + len(episodes)), lengths + 1)
    out["timestep"][:] = np.arange(rows) - np.repeat(starts, lengths + 1)
    return out, lengths


def episode_at(columns: Columns, first: int, length: int, index: int) -> Episode:
    """The episode whose rows are ``first … first + length``, as views into the columns."""
    seen, done = slice(first, first + length + 1), slice(first, first + length)
    legal = columns.get("legal_actions")
    level, policy = columns["behavior_level"][done], columns["behavior_policy"][done]
    known = bool((policy != UNKNOWN).any() or (level != UNKNOWN).any())
    logprob = columns["behavior_logprob"][done]
    return Episode(
        actions=columns["actions"][done],
        rewards=columns["rewards"][done],
        observations=columns["observations"][seen],
        state=columns["state"][seen],
        legal_actions=None if legal is None else legal[seen],
        terminal=bool(columns["is_terminal"][first + length]),
        behavior_level=level if known else None,
        behavior_policy=policy if known else None,
        behavior_logprob=None if np.isnan(logprob).all() else logprob,
        index=index,
    )
