"""Padded batches from flat columns: one gather for a whole batch, whether of episodes or of windows.

The loader gathers from the dataset's columns; online training collates episodes that have just been played. An
item never reaches beyond its own episode, so nothing downstream can bootstrap across an end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from offmarl_bench.errors import FormatError
from offmarl_bench.format.flatten import flatten, row_starts_of
from offmarl_bench.format.schema import Columns
from offmarl_bench.types import Batch, EnvSpec, Episode


def _take(column: Shaped[np.ndarray, "R ..."], rows: Int64[np.ndarray, "B T"], unreal: Int64[Tensor, " P"]) -> Tensor:
    """Rows of one column as a (B, T, …) tensor, with zeros at the flat positions ``unreal``."""
    out = torch.from_numpy(column.take(rows, axis=0))
    if len(unreal):
        out.flatten(0, 1).index_fill_(0, unreal, 0)  # twice as fast as writing through a boolean mask
    return out


def gather(
    columns: Columns,
    first: Int64[np.ndarray, " B"],
    lengths: Int64[np.ndarray, " B"],
    *,
    starts: Int64[np.ndarray, " B"] | None = None,
    window: int | None = None,
    episodes: Int64[np.ndarray, " B"] | None = None,
    device: str | torch.device = "cpu",
) -> Batch:
    """Gather B episodes, or windows of them, from flat columns.

    Args:
        columns: flat columns (see ``format.schema``).
        first: first row of each item's episode.
        lengths: steps of each item's episode.
        starts: step at which each item begins in its episode; None means 0.
        window: greatest number of steps of an item; None means to the episode's end.
        episodes: what to store as the items' episode indices; None means −1.
        device: torch device of the batch.

    Raises:
        FormatError: an empty batch, a window below 1, or a start outside its episode.
    """
    if not len(first):
        raise FormatError("an empty batch: no episode was asked for; ask for at least one")
    if window is not None and window < 1:
        raise FormatError(f"window is {window}, expected at least 1 step, or None for whole episodes")
    begin = np.zeros(len(first), np.int64) if starts is None else np.asarray(starts, np.int64)
    if begin.shape != first.shape:
        raise FormatError(f"starts has shape {begin.shape}, expected one for each of {len(first)} episodes")
    bad = (begin < 0) | (begin >= lengths)
    if bad.any():
        k = int(np.argmax(bad))
        raise FormatError(
            f"starts[{k}] is {begin[k]}, but that episode has {lengths[k]} steps; expected 0 … length − 1"
        )
    steps = lengths - begin if window is None else np.minimum(lengths - begin, window)
    longest = int(steps.max())
    clock = np.arange(longest + 1)
    rows = (first + begin)[:, None] + np.minimum(clock[None], steps[:, None])
    seen = torch.from_numpy(clock[None] <= steps[:, None])
    mask = torch.from_numpy(clock[None, :-1] < steps[:, None])
    unseen, unplayed = (~seen).flatten().nonzero()[:, 0], (~mask).flatten().nonzero()[:, 0]
    obs = _take(columns["observations"], rows, unseen)
    legal = None
    alive = seen[..., None].expand(*seen.shape, obs.shape[2]).contiguous()
    if "legal_actions" in columns:
        legal = _take(columns["legal_actions"], rows, unseen)
        alive &= legal.sum(-1) > 1
        legal[..., 0] |= ~seen[..., None]
    actions = _take(columns["actions"], rows[:, :-1], unplayed)
    terminated = torch.zeros_like(mask)
    ends = begin + steps == lengths
    terminated[np.arange(len(first)), steps - 1] = torch.from_numpy(columns["is_terminal"][first + lengths] & ends)
    batch = Batch(
        actions=actions if actions.is_floating_point() else actions.long(),
        rewards=_take(columns["rewards"], rows[:, :-1], unplayed),
        terminated=terminated,
        mask=mask,
        obs=obs,
        state=_take(columns["state"], rows, unseen),
        legal=legal,
        alive=alive,
        lengths=torch.from_numpy(steps),
        episodes=torch.from_numpy(np.full(len(first), -1) if episodes is None else np.asarray(episodes, np.int64)),
        starts=torch.from_numpy(begin.copy()),
    )
    return batch if torch.device(device).type == "cpu" else batch.to(device)


def collate(
    episodes: Sequence[Episode],
    spec: EnvSpec,
    *,
    starts: Int64[np.ndarray, " B"] | None = None,
    window: int | None = None,
    device: str | torch.device = "cpu",
) -> Batch:
    """Pad these episodes (or a window of each) to the longest of them; arguments as for ``gather``.

    Raises:
        SpecMismatch: an episode of another environment. FormatError: as for ``gather``.
    """
    columns, lengths = flatten(episodes, spec)
    indices = np.array([e.index for e in episodes], np.int64)
    return gather(
        columns, row_starts_of(lengths), lengths, starts=starts, window=window, episodes=indices, device=device
    )
