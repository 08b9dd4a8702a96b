"""The neutral view: what every offline multi-agent dataset has in common, whatever its file looks like.

A ``Recording`` says what there is (``layout``) and hands it out in ``Block``s of whole episodes, so that a file
larger than memory can be looked at. A block is flat: the rows of its episodes one after the other. With
``layout.tail`` 1 an episode of T steps has T + 1 rows, the last holding its final observation and no action (our
format, PyMARL, Minari, OMIGA); with ``tail`` 0 it has T rows (OMAR, D4RL, Vault), and what came after the last step
is in ``next_obs`` or nowhere.

Letters: E episodes in the block, R its rows, N agents, O observation, S state, A actions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from offmarl_bench.errors import FormatError
from offmarl_bench.format.schema import Columns
from offmarl_bench.types import EnvSpec

BLOCK_BYTES = 1 << 26
"""Raw bytes that one block should hold; bounds memory (an episode is never divided)."""
MAX_BLOCK_BYTES = 1 << 32
"""An episode larger than this is refused: no real one is."""

Boundaries = Literal["stated", "guessed", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a file holds, known before its arrays are read."""

    format: str
    """Name of the reader: ``offmarl-bench``, ``pymarl``, ``minari``, ``omar``, ``omiga``, ``d4rl``, ``vault``."""
    path: str
    n: int
    """Agents."""
    obs: int
    """Observation size."""
    state: int
    """State size; 0: no state."""
    actions: int
    """Choices (discrete) or components (continuous); 0: discrete, and the file does not say how many."""
    discrete: bool
    tail: Literal[0, 1]
    """Rows of an episode beyond its steps."""
    episodes: int
    rows: int
    """Rows over all episodes (for padded files: without the padding)."""
    raw_bytes: int
    """Size of all arrays in memory."""
    horizon: int | None = None
    """Longest possible episode in steps, where the file says so."""
    terminations: bool = True
    """There is an array of terminal flags."""
    truncations: bool = False
    """There is an array of flags for ends by a time limit."""
    boundaries: Boundaries = "stated"
    """Whether the file says where episodes end, or the reader had to guess it from jumps in the data."""
    indexed: bool = True
    """Episodes can be found without reading the whole file."""
    behaviour: bool = False
    """The file says who played."""
    unfinished: bool = False
    """The last episode stops where the file does, without an end."""
    agents: tuple[str, ...] = ()
    """Agent names, where there are any."""
    obs_sizes: tuple[int, ...] = ()
    """True observation size per agent; empty: all O."""
    spec: EnvSpec | None = None
    """Only for files of our own format."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What else the file says about itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows of E whole episodes. Arrays are views where they can be; do not write to them."""

    first: int
    """Index of the first episode in the file."""
    lengths: Int64[np.ndarray, " E"]
    """Steps of each episode."""
    starts: Int64[np.ndarray, " E"]
    """First row of each episode in this block."""
    steps: Bool[np.ndarray, " R"]
    """False on last rows that hold only an observation."""
    obs: Shaped[np.ndarray, "R N O"]
    actions: Shaped[np.ndarray, "R N *A"]
    """(R, N) integers, or (R, N, A) floats."""
    rewards: Shaped[np.ndarray, "R *N"]
    """(R,) of the team, or (R, N) of each agent."""
    terminated: Bool[np.ndarray, " R"]
    """The step after which the episode ended by itself."""
    truncated: Bool[np.ndarray, " R"] | None = None
    """The step after which it was cut; None where the file does not say."""
    legal: Bool[np.ndarray, "R N A"] | None = None
    state: Shaped[np.ndarray, "R ..."] | None = None
    """(R, S), or (R, N, S) where every agent has its own copy."""
    next_obs: Shaped[np.ndarray, "R N O"] | None = None
    """Stored next observations, where the file stores them."""
    columns: Columns | None = None
    """The rows in full; only for files of our own format."""

    @property
    def lasts(self) -> Int64[np.ndarray, " E"]:
        """Row of each episode's last step."""
        lasts: Int64[np.ndarray, " E"] = self.starts + self.lengths - 1
        return lasts

    def place(self, row: int) -> str:
        """``episode 3, step 7``, counted in the whole file."""
        k = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f"episode {self.first + k}, step {row - int(self.starts[k])}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something odd that only the reader of a format can see; the doctor makes a finding of it."""

    code: str
    """A lint's code."""
    evidence: str
    """Where and how often."""


@dataclass(slots=True)
class Recording:
    """A dataset somebody recorded, in whatever format."""

    layout: Layout
    read: Callable[[list[Remark]], Iterator[Block]]
    """Yields all blocks in order, and notes what is odd in the list it is given."""
    remarks: list[Remark] = field(default_factory=list)
    """Complete once ``blocks`` is exhausted."""

    def blocks(self) -> Iterator[Block]:
        """All episodes in order, from the beginning at every call.

        Raises:
            FormatError: the data are damaged.
        """
        self.remarks.clear()
        return self.read(self.remarks)


def make_block(first: int, lengths: Int64[np.ndarray, " E"], tail: int, **arrays: Any) -> Block:
    """A block of consecutive episodes; ``arrays`` are the fields of Block over all its rows."""
    counts = np.asarray(lengths, np.int64) + tail
    ends = np.cumsum(counts)
    steps = np.ones(int(ends[-1]) if len(ends) else 0, bool)
    if tail:
        steps[ends - 1] = False
    return Block(first=first, lengths=np.asarray(lengths, np.int64), starts=ends - counts, steps=steps, **arrays)


def spans(
    counts: Int64[np.ndarray, " E"], row_bytes: int, where: str, target: int = BLOCK_BYTES
) -> Iterator[tuple[int, int]]:
    """Divide episodes with so many rows into ranges of about ``target`` bytes.

    Raises:
        FormatError: a single episode too large for any memory; names ``where``.
    """
    longest = int(counts.max()) if len(counts) else 0
    if longest * row_bytes > MAX_BLOCK_BYTES:
        raise FormatError(
            f"{where}: an episode of {longest} rows would take {longest * row_bytes} bytes, expected at most "
            f"{MAX_BLOCK_BYTES}; mark where episodes end"
        )
    ends = np.cumsum(counts) * row_bytes
    at = 0
    while at < len(counts):
        done = int(ends[at - 1]) if at else 0
        stop = max(at + 1, int(np.searchsorted(ends, done + target, side="right")))
        yield at, stop
        at = stop
