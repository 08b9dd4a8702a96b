"""A batch without its padding: real observations and real steps laid out flat, as recurrent agents learn on them.

Every value-based agent needs the same three things at every step: what was seen, what was done, and where the next
observation stands. Laid out flat, no loss needs a mask for padding and none can forget it. The order is that of
``recurrence.pack``: time first, so that the recurrent networks run over it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from offmarl_bench.nn import Actor, previous_actions
from offmarl_bench.recurrence import pack
from offmarl_bench.types import Batch


class Reader(Protocol):
    """A network that says what it reads at every observation: ``nn.Actor``, actors and critics of ``continuous``."""

    def inputs(
        self, obs: Float[Tensor, "*L O"], last_actions: Shaped[Tensor, "*L *A"], ids: Int[Tensor, "*L"] | None = None
    ) -> Float[Tensor, "*L I"]:
        """[observation, previous action, id], as far as the network takes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatBatch:
    """K real observations of N agents and the M real steps among them; both in order of time."""

    counts: Int[Tensor, " U"]
    """Episodes that still have an observation at each time."""
    obs: Float[Tensor, "K N O"]
    state: Float[Tensor, "K S"]
    legal: Bool[Tensor, "K N A"] | None
    alive: Bool[Tensor, "K N"]
    last_actions: Shaped[Tensor, "K N *A"]
    """a_{t−1}; where there is none −1, or zeros if actions are continuous."""
    actions: Shaped[Tensor, "M N *A"]
    """(M, N) int64, or (M, N, A) float32."""
    now: Int[Tensor, " M"]
    """Row of each step's observation."""
    after: Int[Tensor, " M"]
    """Row of the observation that each step led to."""
    lane: Int[Tensor, " M"]
    """Which episode of the batch each step belongs to."""
    time: Int[Tensor, " M"]
    """When it was played."""
    size: tuple[int, int]
    """B episodes, T steps of the longest."""

    def inputs(self, network: Reader) -> Float[Tensor, "K N I"]:
        """What a recurrent network reads at every observation; agent k shows the id k."""
        return network.inputs(self.obs, self.last_actions, self._ids())

    def unroll(self, actor: Actor) -> Float[Tensor, "K N A"]:
        """A recurrent actor's outputs at every observation; agent k shows the id k."""
        return actor.unroll(self.obs, self.last_actions, self.counts, self._ids())

    def _ids(self) -> Int[Tensor, "K N"]:
        agents: Int[Tensor, " N"] = torch.arange(self.obs.shape[1], device=self.obs.device)
        return agents.expand(len(self.obs), -1)

    def steps(self, padded: Shaped[Tensor, "B T *F"]) -> Shaped[Tensor, "M *F"]:
        """The real steps of a padded array."""
        return padded[self.lane, self.time]

    def padded(self, steps: Shaped[Tensor, "M *F"]) -> Shaped[Tensor, "B T *F"]:
        """The inverse of ``steps``; padding is 0 (False)."""
        return steps.new_zeros(*self.size, *steps.shape[1:]).index_put((self.lane, self.time), steps)

    def each_time(self) -> list[slice]:
        """The steps of each time in turn."""
        ends = self.counts[1:].cumsum(0).tolist()  # who acts at t sees t + 1
        return [slice(first, last) for first, last in zip([0, *ends[:-1]], ends, strict=True)]


def flatten(batch: Batch) -> FlatBatch:
    """Lay a batch out flat."""
    rows = pack(batch.lengths)
    lane, time = rows.lane, rows.time
    now = (time < batch.lengths[lane]).nonzero().squeeze(-1)
    step_lane, step_time = lane[now], time[now]
    return FlatBatch(
        counts=rows.counts,
        obs=batch.obs[lane, time],
        state=batch.state[lane, time],
        legal=None if batch.legal is None else batch.legal[lane, time],
        alive=batch.alive[lane, time],
        last_actions=previous_actions(batch.actions)[lane, time],
        actions=batch.actions[step_lane, step_time],
        now=now,
        after=rows.row[step_time + 1, step_lane],
        lane=step_lane,
        time=step_time,
        size=(batch.mask.shape[0], batch.mask.shape[1]),
    )
