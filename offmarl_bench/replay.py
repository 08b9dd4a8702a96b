"""What online training learns from: the latest episodes, drawn whole or as short windows of steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import torch

from offmarl_bench.collate import collate, gather
from offmarl_bench.errors import FormatError
from offmarl_bench.format.flatten import flatten, row_starts_of
from offmarl_bench.format.schema import Columns, columns_of
from offmarl_bench.types import Batch, EnvSpec, Episode


class Replay:
    """The latest episodes, drawn uniformly without replacement within a batch."""

    def __init__(self, spec: EnvSpec, size: int) -> None:
        self.spec = spec
        self._episodes: deque[Episode] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._episodes)

    def add(self, episodes: Sequence[Episode]) -> None:
        """Append; the oldest give way."""
        self._episodes.extend(episodes)

    def sample(self, n: int, generator: np.random.Generator, device: torch.device | str = "cpu") -> Batch:
        """``n`` different episodes, padded to the longest of them. Raises FormatError if there are fewer."""
        if n > len(self):
            raise FormatError(f"a batch of {n} episodes from a replay that holds {len(self)}; play more first")
        chosen = generator.choice(len(self), n, replace=False, shuffle=False)
        return collate([self._episodes[k] for k in chosen], self.spec, device=device)


class WindowReplay:
    """The latest episodes in one flat table, drawn as windows that begin at any step, all steps alike.

    A window of one step is the transition of textbooks. Whoever needs no memory learns more from 256 steps of 256
    episodes than from one episode of 256 steps, at the same cost.

    Args:
        spec: the environment.
        size: episodes kept.
        window: greatest number of steps of a window; it never reaches beyond its episode.
    """

    def __init__(self, spec: EnvSpec, size: int, window: int) -> None:
        self.spec, self.size, self.window = spec, size, window
        self._stride = spec.horizon + 1
        rows = size * self._stride
        self._columns: Columns = {c.name: np.zeros((rows, *c.shape), c.dtype) for c in columns_of(spec)}
        self._lengths = np.zeros(size, np.int64)
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self.size)

    def add(self, episodes: Sequence[Episode]) -> None:
        """Append; the oldest give way."""
        columns, lengths = flatten(episodes, self.spec)
        for first, length in zip(row_starts_of(lengths), lengths, strict=True):
            place = self._added % self.size
            there = slice(place * self._stride, place * self._stride + length + 1)
            for name, column in columns.items():
                self._columns[name][there] = column[first : first + length + 1]
            self._lengths[place] = length
            self._added += 1

    def sample(self, n: int, generator: np.random.Generator, device: torch.device | str = "cpu") -> Batch:
        """``n`` windows, with replacement. Raises FormatError if nothing has been played."""
        if not len(self):
            raise FormatError("a batch of windows from an empty replay; play first")
        ends = self._lengths[: len(self)].cumsum()
        step = generator.integers(ends[-1], size=n)
        episode = np.searchsorted(ends, step, side="right")
        lengths = self._lengths[episode]
        starts = step - (ends[episode] - lengths)
        first = episode * self._stride
        return gather(self._columns, first, lengths, starts=starts, window=self.window, device=device)
