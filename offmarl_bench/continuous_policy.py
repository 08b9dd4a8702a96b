"""Policies made of continuous actors: the sibling of ``policies.SlotPolicy`` for actions in [−1, 1]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Shaped
from torch import Tensor

from offmarl_bench.continuous import (
    DETERMINISTIC,
    ContinuousActor,
    TanhGaussian,
    clipped_normal_log_prob,
    only_real,
    real_components,
    tanh_sample,
)
from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.slots import Slots
from offmarl_bench.types import EnvSpec


def _deviation(noise: float, greedy: bool) -> float:
    """The noise, if it is one and play is greedy. Raises FormatError."""
    if not 0.0 <= noise < math.inf:
        raise FormatError(f"noise is {noise!r}, expected a standard deviation, 0 or more")
    if noise and not greedy:
        raise FormatError(f"noise is {noise!r} on top of sampled play, which explores by itself; use greedy=True")
    return noise


Drawn = tuple[Float64[Tensor, "B N A"], Float64[Tensor, "B N"]]
"""Actions and the logarithm of the probability of what was drawn."""


def _normal(like: Tensor, generator: np.random.Generator) -> Float64[Tensor, "B N A"]:
    return torch.from_numpy(generator.standard_normal(tuple(like.shape)))


def explored(
    mean: Float64[Tensor, "B N A"], noise: float, real: Bool[Tensor, "N A"], generator: np.random.Generator
) -> Drawn:
    """Greedy actions with N(0, noise²) added and clipped to [−1, 1]; the generator is not touched where noise is 0."""
    drawn = (mean + noise * _normal(mean, generator)).clamp(-1.0, 1.0) if noise else mean
    action = only_real(drawn, real)
    return action, clipped_normal_log_prob(action, mean, noise, real)


def sampled(law: TanhGaussian, real: Bool[Tensor, "N A"], generator: np.random.Generator) -> Drawn:
    """Draws from actors' own distributions."""
    return tanh_sample(law, _normal(law.mean, generator), real)


class ContinuousSlotPolicy(Slots):
    """Continuous play in which ``actors[assignment[lane, agent]]`` decides for that agent in that lane.

    Greedy play is tanh(mean), to which ``noise`` adds N(0, noise²) per component before clipping to [−1, 1]. Sampled
    play (gaussian actors only) draws from the actor's own distribution. The log-probability returned is that of what
    was drawn: a density, except that clipping gathers its outside into atoms at ±1, which count with their
    probability (``clipped_normal_log_prob``); without noise greedy play is certain, 0. Padded components are 0 and have
    no part in it.

    Every row takes A standard normal numbers per step from the generator, none where play is deterministic.

    Args:
        spec: the environment; must be continuous.
        actors: networks on any device; they are read, not copied.
        assignment: (N,) for all lanes alike, or (B, N): index into ``actors``.
        ids: (N,) agent id that each slot shows to actors that take one; None: its own index.
        greedy: tanh(mean) instead of a draw.
        noise: standard deviation of exploration around the greedy action, in units of the action.

    Raises:
        SpecMismatch: a discrete environment, actors of other sizes or of two kinds, an ill-shaped assignment.
        FormatError: a negative noise, noise on top of sampled play, or sampled play of deterministic actors.
    """

    actors: Sequence[ContinuousActor]

    def __init__(
        self,
        spec: EnvSpec,
        actors: Sequence[ContinuousActor],
        assignment: Shaped[np.ndarray, "*B N"],
        *,
        ids: Shaped[np.ndarray, " N"] | None = None,
        greedy: bool = True,
        noise: float = 0.0,
    ) -> None:
        if spec.discrete:
            raise SpecMismatch(
                f"{spec.id}: {type(self).__name__} plays continuous actions only; this environment is discrete"
            )
        for k, actor in enumerate(actors):
            if (actor.obs_size, actor.action_size) != (spec.O, spec.A):
                raise SpecMismatch(
                    f"actor {k} takes observations of {actor.obs_size} and makes actions of {actor.action_size}, "
                    f"but {spec.id} has O={spec.O}, A={spec.A}; use an actor that was trained on {spec.id}"
                )
            if actor.kind != actors[0].kind:
                raise SpecMismatch(f"actor {k} is {actor.kind}, actor 0 is {actors[0].kind}; give actors of one kind")
            if not greedy and actor.kind == DETERMINISTIC:
                raise FormatError(
                    f"actor {k} is deterministic: nothing to sample; play greedily, with noise to explore"
                )
        super().__init__(spec, actors, assignment, ids)
        self.greedy, self.noise = greedy, _deviation(noise, greedy)
        self._real = real_components(spec)

    def _nothing(self, rows: int) -> Float32[Tensor, "K A"]:
        return torch.zeros(rows, self.spec.A)

    def exploring(self, epsilon: float) -> Self:
        """The same networks played with another noise and a memory of its own. Raises FormatError."""
        noise = _deviation(epsilon, self.greedy)
        other = self._again()
        other.noise = noise
        return other

    @torch.no_grad()
    def decide(
        self,
        obs: Float32[np.ndarray, "B N O"],
        legal: Bool[np.ndarray, "B N A"] | None,
        generator: np.random.Generator,
    ) -> tuple[Float32[np.ndarray, "B N A"], Float32[np.ndarray, "B N"]]:
        """See Policy: float32 actions and log-probabilities; ``legal`` is not looked at."""
        raw = self._outputs(obs).double()
        if self.greedy:
            mean = torch.tanh(raw[..., : self.spec.A])
            action, logprob = explored(mean, self.noise, self._real, generator)
        else:  # all actors are of one kind, so any of them can read
            action, logprob = sampled(self.actors[0].law(raw), self._real, generator)
        done = action.float()
        self._last = done.view(-1, self.spec.A)
        return done.numpy(), logprob.float().numpy()
