"""The sum-tree that stores the replay (Schaul et al. 2016, as the paper uses it), and its plain alternative.

A complete binary tree in one flat array: leaf values at the end, every inner node the sum of its two children, the
total at the root. Drawing walks from the root to a leaf, all draws of a batch level by level at once; a change of
some values repairs only their ancestors. Values are float64: at α = 0.2 probabilities go down to e^−100.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Float, Float64, Int64

from offmarl_bench.errors import FormatError


class Sampler(Protocol):
    """Draws indices in proportion to stored values."""

    def sample(self, n: int, generator: np.random.Generator) -> Int64[np.ndarray, " n"]:
        """``n`` independent draws with replacement."""
        ...


def _checked(values: Float[np.ndarray, " K"]) -> Float64[np.ndarray, " K"]:
    given = np.asarray(values, np.float64)
    if given.ndim != 1 or not len(given) or not np.isfinite(given).all() or (given < 0).any() or not given.sum() > 0:
        raise FormatError(
            f"sampling values of shape {given.shape}: expected at least one finite number ≥ 0, and not all of them 0"
        )
    return given


class SumTree:
    """Values with their sums in a binary tree.

    Args:
        values: (K,) finite, ≥ 0, not all 0; any scale.

    Raises:
        FormatError: other values.
    """

    def __init__(self, values: Float[np.ndarray, " K"]) -> None:
        leaves = _checked(values)
        self.depth = int(len(leaves) - 1).bit_length()
        self.first_leaf = 2**self.depth
        self.nodes = np.zeros(2 * self.first_leaf)
        """Node 1 is the root; node v has the children 2v and 2v + 1."""
        self.nodes[self.first_leaf : self.first_leaf + len(leaves)] = leaves
        self.size = len(leaves)
        for level in range(self.depth - 1, -1, -1):
            self._sum_children(np.arange(2**level, 2 ** (level + 1)))

    def _sum_children(self, parents: Int64[np.ndarray, " P"]) -> None:
        self.nodes[parents] = self.nodes[2 * parents] + self.nodes[2 * parents + 1]

    @property
    def total(self) -> float:
        """Sum of all values."""
        return float(self.nodes[1])

    def update(self, indices: Int64[np.ndarray, " P"], values: Float[np.ndarray, " P"]) -> None:
        """Set some values; costs (number of values) × depth. Raises FormatError as the constructor does."""
        changed = self.nodes[self.first_leaf : self.first_leaf + self.size].copy()
        changed[indices] = values
        _checked(changed)
        at = self.first_leaf + np.asarray(indices)
        self.nodes[at] = values
        for _ in range(self.depth):
            at = np.unique(at // 2)
            self._sum_children(at)

    def find(self, point: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """The leaf over each point of [0, total): leaf i covers as much of that line as its value.

        A leaf of value 0 is never found, not even where rounding puts a point on a border.
        """
        at, left_of = np.ones(len(point), np.int64), np.array(point, np.float64)
        for _ in range(self.depth):
            left, right = self.nodes[2 * at], self.nodes[2 * at + 1]
            go_right = (left_of >= left) & (right > 0)
            left_of -= np.where(go_right, left, 0.0)
            at = 2 * at + go_right
        return np.asarray(at - self.first_leaf)

    def sample(self, n: int, generator: np.random.Generator) -> Int64[np.ndarray, " n"]:
        """See Sampler; takes ``n`` uniform numbers."""
        return self.find(generator.random(n) * self.total)


class CumulativeSampler:
    """The same distribution by binary search in cumulative sums: shorter, but a change costs all of them."""

    def __init__(self, values: Float[np.ndarray, " K"]) -> None:
        self.ends = np.cumsum(_checked(values))
        self.last = int(np.flatnonzero(values)[-1])

    def sample(self, n: int, generator: np.random.Generator) -> Int64[np.ndarray, " n"]:
        """See Sampler; takes ``n`` uniform numbers, the same that a sum-tree would."""
        points = generator.random(n) * self.ends[-1]
        return np.asarray(np.minimum(np.searchsorted(self.ends, points, side="right"), self.last))
