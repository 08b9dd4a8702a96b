"""Who plays which slot with which memory: the bookkeeping under every policy made of networks.

Each (lane, agent) pair may be played by another network, in one forward per distinct network. What a network's output
means, discrete or continuous, is the business of ``policies`` and ``continuous_policy``.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
import torch
from jaxtyping import Float, Float32, Shaped
from torch import Tensor

from offmarl_bench.agent import Policy
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.types import EnvSpec


class Stepper(Protocol):
    """What the bookkeeping needs of a network."""

    def initial(self, k: int) -> Float[Tensor, "K H"]:
        """Memory of k agents before their first step."""

    def step(
        self,
        obs: Float[Tensor, "K O"],
        last_actions: Shaped[Tensor, "K *A"],
        h: Float[Tensor, "K H"],
        ids: Shaped[Tensor, " K"] | None = None,
    ) -> tuple[Float[Tensor, "K C"], Float[Tensor, "K H"]]:
        """One time step of K agents: (outputs, new memory)."""


class Player(Stepper, Protocol):
    """What a discrete policy needs of a network; ``nn.Actor`` is one."""

    obs_size: int
    n_actions: int


class Slots(Policy):
    """Play in which ``actors[assignment[lane, agent]]`` decides for that agent in that lane.

    Subclasses say what "no action yet" is (``_nothing``) and turn ``_outputs`` into actions, storing what was done as
    rows in ``_last``.

    Args:
        spec: the environment.
        actors: networks on any device; they are read, not copied.
        assignment: (N,) for all lanes alike, or (B, N): index into ``actors``.
        ids: (N,) agent id that each slot shows to actors that take one; None: its own index.

    Raises:
        SpecMismatch: an assignment of the wrong shape, or of actors that do not exist.
    """

    def __init__(
        self,
        spec: EnvSpec,
        actors: Sequence[Stepper],
        assignment: Shaped[np.ndarray, "*B N"],
        ids: Shaped[np.ndarray, " N"] | None,
    ) -> None:
        assignment = np.asarray(assignment, np.int64)
        if assignment.ndim not in (1, 2) or assignment.shape[-1] != spec.N:
            raise SpecMismatch(f"assignment has shape {assignment.shape}, expected ({spec.N},) or (B, {spec.N})")
        if assignment.size and not 0 <= assignment.min() <= assignment.max() < len(actors):
            raise SpecMismatch(
                f"assignment names actors {assignment.min()} to {assignment.max()}, but there are {len(actors)}, from 0"
            )
        self.spec = spec
        self.actors: Sequence[Stepper] = list(actors)
        self.assignment = assignment
        self._ids = torch.arange(spec.N) if ids is None else torch.as_tensor(np.asarray(ids, np.int64))
        self._forget()

    @abstractmethod
    def _nothing(self, rows: int) -> Shaped[Tensor, "K *A"]:
        """The previous action of rows that have not acted."""

    def _forget(self) -> None:
        self._rows: dict[int, Tensor] = {}
        self._memory: dict[int, Tensor] = {}
        self._last = self._nothing(0)

    def _again(self) -> Self:
        """The same networks with a memory of its own."""
        other = copy.copy(self)
        other._forget()
        return other

    def reset(self, n: int) -> None:
        """See Policy. Raises SpecMismatch if ``n`` is not the number of lanes of a (B, N) assignment."""
        if self.assignment.ndim == 2 and len(self.assignment) != n:
            raise SpecMismatch(f"the assignment is for {len(self.assignment)} lanes, but {n} lanes are played")
        who = torch.as_tensor(np.broadcast_to(self.assignment, (n, self.spec.N)).reshape(-1).copy())
        self._last = self._nothing(n * self.spec.N)
        self._rows = {int(k): (who == k).nonzero()[:, 0] for k in np.unique(who.numpy())}
        self._memory = {k: self.actors[k].initial(len(rows)) for k, rows in self._rows.items()}

    def keep(self, lanes: Shaped[np.ndarray, " K"]) -> None:
        """See Policy."""
        n, wanted = self.spec.N, torch.as_tensor(np.asarray(lanes, np.int64))
        position = torch.full((len(self._last) // n,), -1, dtype=torch.int64)
        position[wanted] = torch.arange(len(wanted))
        self._last = self._last.view(-1, n, *self._last.shape[1:])[wanted].flatten(0, 1)
        for k, rows in list(self._rows.items()):
            lane = position[rows // n]
            stay = lane >= 0
            self._rows[k] = (lane * n + rows % n)[stay]
            self._memory[k] = self._memory[k][stay.to(self._memory[k].device)]
            if not len(self._rows[k]):
                del self._rows[k], self._memory[k]

    def _outputs(self, obs: Float32[np.ndarray, "B N O"]) -> Float[Tensor, "B N C"]:
        """Outputs of the networks on the CPU; advances the memories. Raises SpecMismatch for other lanes."""
        n = self.spec.N
        if len(obs) * n != len(self._last):
            raise SpecMismatch(f"{len(obs)} lanes of observations, but the policy was reset for {len(self._last) // n}")
        rows = torch.from_numpy(np.require(obs, requirements=("C", "W"))).view(-1, self.spec.O)
        out = self._forward(rows)
        return out.view(len(obs), n, out.shape[-1])

    def _forward(self, obs: Float[Tensor, "K O"]) -> Float[Tensor, "K C"]:
        """One call per distinct actor."""
        agent = torch.arange(self.spec.N).repeat(len(obs) // self.spec.N)
        out = obs.new_empty(0, self.spec.A)
        for k, rows in self._rows.items():
            actor, memory = self.actors[k], self._memory[k]
            every = len(rows) == len(obs) and len(self._rows) == 1 and bool((rows[1:] > rows[:-1]).all())
            x, last, ids = (v if every else v[rows] for v in (obs, self._last, self._ids[agent]))
            q, self._memory[k] = actor.step(x.to(memory.device), last.to(memory.device), memory, ids.to(memory.device))
            if every:
                return q.to(out.device)
            if len(out) != len(obs):
                out = obs.new_empty(len(obs), q.shape[-1])
            out[rows] = q.to(out.device)
        return out
