"""One look at every number: what the lints need to know, gathered block by block.

Nothing here judges. A fact is small (per episode, per feature, or a count with its first place), so that a dataset of
any size fits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped
from tqdm import tqdm

from offmarl_bench.doctor.native import NativeFacts
from offmarl_bench.foreign.view import Block, Layout, Recording, Remark

DIGEST_BYTES = 16
"""Two different episodes share a digest of 128 bits never."""
UNIT = 1.0 + 1e-6
"""Largest size of a continuous action that counts as inside [−1, 1]."""


@dataclass(slots=True)
class Tally:
    """How often something was seen, and where first."""

    count: int = 0
    first: str = ""

    def __str__(self) -> str:
        return f"{self.count} step{'s' if self.count != 1 else ''}, the first is {self.first}"


class Facts:
    """Everything known about one recording after one pass over it."""

    def __init__(self, recording: Recording, *, progress: bool = False) -> None:
        self.layout: Layout = recording.layout
        shape = (self.layout.n, self.layout.obs)
        self.tallies: dict[str, Tally] = {}
        self.low: Float64[np.ndarray, "N O"] = np.full(shape, np.inf)
        self.high: Float64[np.ndarray, "N O"] = np.full(shape, -np.inf)
        self.minus_inf: Bool[np.ndarray, "N O"] = np.zeros(shape, bool)
        """Features that are −∞ somewhere."""
        self.action_size = 0.0
        """Largest |component| of a continuous action."""
        self.digests: list[bytes] = []
        """Of each episode's observations and actions."""
        self.rewarded = self.reward_differs = 0
        """Steps with a reward, and those of them in which the agents' rewards differ."""
        self.native = NativeFacts(self.layout.spec) if self.layout.spec is not None else None
        self._parts: dict[str, list[Shaped[np.ndarray, "E ..."]]] = {}
        self._final: Shaped[np.ndarray, "N O"] | None = None
        episodes = self.layout.episodes
        with tqdm(total=episodes, unit="episode", desc="doctor", disable=None if progress else True) as bar:
            for block in recording.blocks():
                with np.errstate(all="ignore"):  # NaN and overflow are what is looked for
                    self._see(block)
                bar.update(len(block.lengths))
        self.remarks: list[Remark] = list(recording.remarks)
        self.lengths: Int64[np.ndarray, " E"] = self._joined("lengths")
        self.returns: Float64[np.ndarray, "E *N"] = self._joined("returns")
        """(E,) of the team, or (E, N) of each agent."""
        self.ended: Bool[np.ndarray, " E"] = self._joined("ended")
        """The last step is marked terminal."""
        self.cut: Bool[np.ndarray, " E"] = self._joined("cut")
        """The last step is marked as cut."""
        self.still: Bool[np.ndarray, " E"] | None = self._maybe("still")
        """The observation after the last step is the one before it."""
        self.still_before: Bool[np.ndarray, " E"] | None = self._maybe("still_before")
        """The same for the step before the last."""
        self.crossed: Bool[np.ndarray, " E-1"] | None = self._maybe("crossed")
        """The observation after an episode's last step is the first of the next episode: E − 1 pairs."""

    def tally(self, name: str) -> Tally:
        """How often ``name`` was counted; zero if never."""
        return self.tallies.get(name, Tally())

    def _joined(self, name: str) -> Any:
        return np.concatenate(self._parts[name])

    def _maybe(self, name: str) -> Any:
        return self._joined(name) if name in self._parts else None

    def _keep(self, name: str, values: Shaped[np.ndarray, "E ..."]) -> None:
        self._parts.setdefault(name, []).append(np.asarray(values))

    def _count(self, name: str, block: Block, bad: Bool[np.ndarray, "R *N"]) -> None:
        rows = bad if bad.ndim == 1 else bad.any(1)
        found = int(rows.sum())
        if not found:
            return
        tally = self.tallies.setdefault(name, Tally())
        if not tally.count:
            row = int(np.argmax(rows))
            tally.first = block.place(row)
            if bad.ndim == 2 and self.layout.n > 1:
                tally.first += f", agent {int(np.argmax(bad[row]))}"
        tally.count += found

    def _see(self, block: Block) -> None:
        self._values(block)
        self._actions(block)
        self._rewards(block)
        self._ends(block)
        self._agents(block)
        self._hashes(block)
        if self.native is not None and block.columns is not None:
            self.native.see(block)

    def _values(self, block: Block) -> None:
        low, high = block.obs.min(0), block.obs.max(0)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            finite = np.isfinite(block.obs)
            low_inf = block.obs == -np.inf
            self.minus_inf |= low_inf.any(0)
            self._count("obs -inf", block, low_inf.any(2))
            self._count("obs", block, (~finite & ~low_inf).any(2))
            known = np.where(finite, block.obs, np.nan)
            low, high = np.fmin.reduce(known, 0), np.fmax.reduce(known, 0)
        self.low, self.high = np.fmin(self.low, low), np.fmax(self.high, high)
        for name in ("state", "next_obs"):
            values = getattr(block, name)
            if values is not None and not (np.isfinite(values.min()) and np.isfinite(values.max())):
                bad = ~np.isfinite(values)
                if name == "next_obs":  # where observations are padded with −∞, so are these; once is enough
                    bad &= ~((values == -np.inf) & self.minus_inf)
                self._count(name, block, bad.reshape(len(bad), -1).any(1))
        rewards = block.rewards.reshape(len(block.steps), -1)
        self._count("rewards", block, ~np.isfinite(rewards).all(1) & block.steps)

    def _actions(self, block: Block) -> None:
        taken, legal, steps = block.actions, block.legal, block.steps[:, None]
        if taken.dtype.kind == "f":
            flat = taken.reshape(*taken.shape[:2], -1)
            wild = ~np.isfinite(flat).all(2) & steps
            self._count("actions", block, wild)
            if not self.layout.discrete:
                size = np.abs(flat).max(2, initial=0)
                self._count("beyond 1", block, (size > UNIT) & steps & ~wild)
                here = size[steps & ~wild]
                self.action_size = max(self.action_size, float(here.max())) if here.size else self.action_size
                return
            self._count("fraction", block, (taken != np.round(taken)) & steps & ~wild)
        choices = taken.astype(np.int64)
        beyond = choices < 0
        if self.layout.actions:
            beyond |= choices >= self.layout.actions
        self._count("no such action", block, beyond & steps)
        if legal is not None:
            inside = np.where(beyond, 0, choices)
            allowed = np.take_along_axis(legal, inside[..., None], 2)[..., 0]
            free = legal.any(2)
            self._count("illegal", block, ~allowed & ~beyond & free & steps)
            self._count("stuck", block, ~free & steps)

    def _rewards(self, block: Block) -> None:
        paid = block.rewards.astype(np.float64)
        paid[~block.steps] = 0
        self._keep("returns", np.add.reduceat(paid, block.starts, axis=0))
        if paid.ndim == 1:
            self.rewarded += int((paid != 0).sum())
            return
        some = (paid != 0).any(1)
        self.rewarded += int(some.sum())
        self.reward_differs += int((some & (paid != paid[:, :1]).any(1)).sum())
        self._count("reward differs", block, some & (paid != paid[:, :1]).any(1))

    def _ends(self, block: Block) -> None:
        lasts, tail = block.lasts, self.layout.tail
        self._keep("lengths", block.lengths)
        self._keep("ended", block.terminated[lasts])
        self._keep("cut", np.zeros(len(lasts), bool) if block.truncated is None else block.truncated[lasts])
        inside = block.terminated & block.steps
        inside[lasts] = False
        self._count("ended inside", block, inside)
        after = block.obs[lasts + 1] if tail else None if block.next_obs is None else block.next_obs[lasts]
        if after is None:
            return
        earlier = np.maximum(lasts - 1, block.starts)
        before_after = block.obs[lasts] if tail or block.next_obs is None else block.next_obs[earlier]
        self._keep("still", _same(after, block.obs[lasts]))
        self._keep("still_before", _same(before_after, block.obs[earlier]) & (block.lengths > 1))
        firsts = block.obs[block.starts]
        before = after[:0] if self._final is None else self._final[None]
        self._keep("crossed", _same(np.concatenate([before, after[:-1]]), firsts[1 - len(before) :]))
        self._final = after[-1].copy()
        if not tail and block.next_obs is not None:
            running = np.ones(len(block.steps), bool)
            running[lasts] = False
            rows = np.flatnonzero(running)
            wrong = np.zeros(len(block.steps), bool)
            wrong[rows] = ~_same(block.next_obs[rows], block.obs[rows + 1])
            self._count("next_obs differs", block, wrong)

    def _agents(self, block: Block) -> None:
        zero = ~block.obs.any(2) & block.steps[:, None]
        if not zero.any():
            return
        self._count("zero", block, zero)
        back = np.zeros_like(zero)
        back[:-1] = zero[:-1] & ~zero[1:] & block.steps[1:, None]
        back[block.lasts] = False
        self._count("zero and back", block, back)
        if block.legal is not None:
            self._count("zero with choices", block, zero & (block.legal.sum(2) > 1))

    def _hashes(self, block: Block) -> None:
        obs = np.ascontiguousarray(block.obs, np.float32)
        taken = np.ascontiguousarray(block.actions, np.int32 if self.layout.discrete else np.float32)
        for at, steps in zip(block.starts.tolist(), block.lengths.tolist(), strict=True):
            digest = hashlib.blake2b(obs[at : at + steps].data, digest_size=DIGEST_BYTES)
            digest.update(taken[at : at + steps].data)
            self.digests.append(digest.digest())


def _same(a: Shaped[np.ndarray, "X N O"], b: Shaped[np.ndarray, "X N O"]) -> Bool[np.ndarray, " X"]:
    """Whether two observations are equal; NaN equals NaN."""
    equal = a == b
    if a.dtype.kind == "f" and not equal.all():
        equal |= np.isnan(a) & np.isnan(b)
    return np.asarray(equal.all(axis=tuple(range(1, equal.ndim))))
