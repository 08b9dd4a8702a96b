"""What an action is: the actor's network, its policy, and how likely it makes the data's actions.

Stage III (``learn``) is written once, for choices and for vectors in [−1, 1] alike. All that it asks of a kind of
action is here (and in ``critic.Values``): one head for each kind, and what the actor says about a batch, a ``Play``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from offmarl_bench.agent import Policy
from offmarl_bench.continuous import (
    DETERMINISTIC,
    GAUSSIAN,
    ContinuousActor,
    TanhGaussian,
    only_real,
    real_components,
    tanh_log_prob,
    tanh_sample,
)
from offmarl_bench.continuous_policy import ContinuousSlotPolicy
from offmarl_bench.fused import log_softmax
from offmarl_bench.nn import Actor
from offmarl_bench.ops import take
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.types import EnvSpec
from sit.config import SITConfig
from sit.trajectories import View

AnyActor = Actor | ContinuousActor


class Play(Protocol):
    """π(· | τ) at every observation of a batch of trajectories."""

    measure: ClassVar[str]
    """What the negative of ``log_likelihood`` is called in logs."""

    def log_likelihood(self, actions: Shaped[Tensor, "B T *A"]) -> Float[Tensor, "B T"]:
        """Log π of the data's actions, or what stands for it."""

    def candidates(self, steps: int) -> tuple[Shaped[Tensor, "B U C *A"], Float[Tensor, "B U C"]]:
        """Actions at the first ``steps`` observations, and what each counts in a mean over π."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """A softmax over the legal choices."""

    measure: ClassVar[str] = "nll"
    log_pi: Float[Tensor, "B T+1 A"]

    def log_likelihood(self, actions: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """See Play."""
        return take(self.log_pi[:, :-1], actions)

    def candidates(self, steps: int) -> tuple[Int[Tensor, "B U A"], Float[Tensor, "B U A"]]:
        """See Play: every choice, weighted by its probability."""
        probability = self.log_pi[:, :steps].exp()
        return torch.arange(probability.shape[-1], device=probability.device).expand(probability.shape), probability


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussian:
    """The tanh of a normal distribution."""

    measure: ClassVar[str] = "nll"
    law: TanhGaussian
    """(B, T + 1, A) each."""
    noise: Float[Tensor, "B T+1 C A"]
    real: Bool[Tensor, "B 1 A"] | None
    """Components that are no padding; None: all."""

    def log_likelihood(self, actions: Float[Tensor, "B T A"]) -> Float[Tensor, "B T"]:
        """See Play: a density, finite for actions of ±1 too."""
        return tanh_log_prob(TanhGaussian(*(x[:, :-1] for x in self.law)), actions, self.real)

    def candidates(self, steps: int) -> tuple[Float[Tensor, "B U C A"], Float[Tensor, "B U C"]]:
        """See Play: draws, all of the same weight."""
        law = TanhGaussian(*(x[:, :steps].unsqueeze(-2) for x in self.law))
        drawn, _ = tanh_sample(law, self.noise[:, :steps], None if self.real is None else self.real.unsqueeze(-2))
        return drawn, drawn.new_full(drawn.shape[:-1], 1 / drawn.shape[-2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointing:
    """One action, π(τ): the ablation "deterministic"."""

    measure: ClassVar[str] = "half_squared_error"
    action: Float[Tensor, "B T+1 A"]

    def log_likelihood(self, actions: Float[Tensor, "B T A"]) -> Float[Tensor, "B T"]:
        """−½ |a − π(τ)|²: the log-density, up to a constant, of a normal of unit variance around π(τ)."""
        return -0.5 * (actions - self.action[:, :-1]).square().sum(-1)

    def candidates(self, steps: int) -> tuple[Float[Tensor, "B U 1 A"], Float[Tensor, "B U 1"]]:
        """See Play: the one action."""
        action = self.action[:, :steps].unsqueeze(-2)
        return action, action.new_ones(action.shape[:-1])


class Head(Protocol):
    """One kind of action."""

    candidates: int
    """Actions a step for which stage III needs noise."""

    def actor(self) -> AnyActor:
        """A fresh actor."""

    def play(self, actor: Any, raw: Float[Tensor, "B T+1 C"], data: View) -> Play:
        """What the raw outputs of ``actor`` on ``data`` say."""

    def policy(self, actors: Sequence[nn.Module], greedy: bool) -> Policy:
        """Every agent plays the actor of its type."""


class ChoiceHead:
    """Discrete actions."""

    candidates = 0

    def __init__(self, spec: EnvSpec, config: SITConfig) -> None:
        self.spec, self.config = spec, config

    def actor(self) -> Actor:
        """See Head."""
        return Actor(self.spec.O, self.spec.A, self.config.actor_hidden)

    def play(self, actor: Actor, raw: Float[Tensor, "B T+1 A"], data: View) -> Choosing:
        """See Head."""
        return Choosing(log_pi=log_softmax(raw, data.legal))

    def policy(self, actors: Sequence[nn.Module], greedy: bool) -> SlotPolicy:
        """See Head."""
        own = [a for a in actors if isinstance(a, Actor)]
        return SlotPolicy(self.spec, own, np.array(self.spec.type_index), greedy=greedy)


class VectorHead:
    """Continuous actions."""

    def __init__(self, spec: EnvSpec, config: SITConfig) -> None:
        self.spec, self.config = spec, config
        draws = config.policy == GAUSSIAN and config.filter and config.score != "return"
        self.candidates = config.action_samples if draws else 0
        real = real_components(spec)
        self._real = None if bool(real.all()) else real

    def actor(self) -> ContinuousActor:
        """See Head."""
        return ContinuousActor(self.spec.O, self.spec.A, self.config.actor_hidden, kind=self.config.policy)

    def play(self, actor: ContinuousActor, raw: Float[Tensor, "B T+1 C"], data: View) -> Gaussian | Pointing:
        """See Head."""
        real = None if self._real is None else self._real.to(raw.device)[data.agent].unsqueeze(1)
        if actor.kind == GAUSSIAN:
            return Gaussian(law=actor.law(raw), noise=data.noise, real=real)
        return Pointing(action=only_real(actor.mode(raw), real))

    def policy(self, actors: Sequence[nn.Module], greedy: bool) -> ContinuousSlotPolicy:
        """See Head. A deterministic policy has nothing to sample: it plays the same either way."""
        own = [a for a in actors if isinstance(a, ContinuousActor)]
        certain = greedy or self.config.policy == DETERMINISTIC
        return ContinuousSlotPolicy(self.spec, own, np.array(self.spec.type_index), greedy=certain)


def head_of(spec: EnvSpec, config: SITConfig) -> Head:
    """The head for the actions of an environment."""
    return ChoiceHead(spec, config) if spec.discrete else VectorHead(spec, config)
