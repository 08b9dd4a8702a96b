"""Policies made of actors: each (lane, agent) pair may be played by another network, in one forward per network.

That is what makes a dataset of imbalanced quality cheap: 256 episodes whose agents come from a dozen saved joint
policies cost a dozen small matrix products per step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int, Shaped
from torch import Tensor

from offmarl_bench.agent import Policy
from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.nn import Actor
from offmarl_bench.slots import Player as Player
from offmarl_bench.slots import Slots
from offmarl_bench.types import EnvSpec

Rule = Callable[[Tensor, Tensor | None], Tensor]
"""Turns the outputs of networks (B, N, C) and the legal actions (B, N, A) into one number per action (B, N, A)."""


def _share(epsilon: float) -> float:
    """ε, if it is one. Raises FormatError."""
    if not 0.0 <= epsilon <= 1.0:
        raise FormatError(f"epsilon is {epsilon!r}, expected a number from 0 to 1")
    return epsilon


def _usable(legal: Bool[np.ndarray, "*L A"]) -> Bool[np.ndarray, "*L A"]:
    """``legal``, with every action allowed in rows that allow none, so that a distribution exists."""
    return np.asarray(legal | ~legal.any(-1, keepdims=True))


def draw(
    probability: Float64[np.ndarray, "*L A"], generator: np.random.Generator
) -> tuple[Int[np.ndarray, "*L"], Float32[np.ndarray, "*L"]]:
    """One action per row by inverting the cumulative distribution, with one uniform number per row.

    Returns:
        The actions and the logarithm of their probability. An action of probability 0 is never drawn.
    """
    steps = probability.cumsum(-1)
    total = steps[..., -1]
    point = np.minimum(generator.random(total.shape) * total, np.nextafter(total, 0.0))  # rounding must not reach 1
    action = (steps <= point[..., None]).sum(-1).astype(np.int32)
    chosen = np.take_along_axis(probability, action[..., None].astype(np.int64), -1)[..., 0]
    return action, np.log(chosen / total).astype(np.float32)


def _mixture(
    own: Float64[np.ndarray, "B N A"], legal: Bool[np.ndarray, "B N A"] | None, greedy: bool, epsilon: float
) -> Float64[np.ndarray, "B N A"]:
    """(1 − ε) · own + ε · uniform over legal actions."""
    if greedy:
        own = np.equal(np.arange(own.shape[-1]), own.argmax(-1)[..., None]).astype(np.float64)
    else:
        own = np.exp(own - own.max(-1, keepdims=True))
        own /= own.sum(-1, keepdims=True)
    if not epsilon:
        return own
    free = np.ones(own.shape, bool) if legal is None else _usable(legal)
    return np.asarray((1 - epsilon) * own + epsilon * free / free.sum(-1, keepdims=True))


def choose(
    own: Float64[np.ndarray, "B N A"],
    legal: Bool[np.ndarray, "B N A"] | None,
    generator: np.random.Generator,
    *,
    greedy: bool,
    epsilon: float,
) -> tuple[Int[np.ndarray, "B N"], Float32[np.ndarray, "B N"]]:
    """Turn one number per action into actions: what ``PlayerPolicy`` does with the outputs of networks.

    Args:
        own: numbers per action; overwritten with −∞ where illegal.
        legal: legal actions; None: all.
        generator: takes one number per row, none where play is deterministic (greedy, ε = 0).
        greedy: argmax instead of a draw from the softmax.
        epsilon: share of uniform choices among legal actions.

    Returns:
        int32 actions and the logarithm of the probability with which each was chosen.
    """
    if legal is not None:
        own[~_usable(legal)] = -np.inf
    if greedy and not epsilon:
        action = own.argmax(-1).astype(np.int32)
        return action, np.zeros(action.shape, np.float32)
    return draw(_mixture(own, legal, greedy, epsilon), generator)


class PlayerPolicy(Slots):
    """Discrete play in which ``actors[assignment[lane, agent]]`` decides for that agent in that lane.

    The distribution is (1 − ε) · own + ε · uniform over legal actions, where own is the argmax (``greedy``) or the
    masked softmax of the actor's outputs; the log-probability returned is that of the mixture, exactly. Every row
    takes one uniform number per step from the generator, none where play is deterministic (greedy, ε = 0).

    Args:
        spec: the environment; must be discrete.
        actors: networks on any device; they are read, not copied.
        assignment: (N,) for all lanes alike, or (B, N): index into ``actors``.
        ids: (N,) agent id that each slot shows to actors that take one; None: its own index.
        greedy: argmax instead of softmax.
        epsilon: ε in [0, 1].
        rule: what to do with the networks' outputs before anything else; None: they are the numbers per action.

    Raises:
        SpecMismatch: a continuous environment, actors of other sizes, or an assignment of the wrong shape.
        FormatError: ε outside [0, 1].
    """

    def __init__(
        self,
        spec: EnvSpec,
        actors: Sequence[Player],
        assignment: Shaped[np.ndarray, "*B N"],
        *,
        ids: Shaped[np.ndarray, " N"] | None = None,
        greedy: bool = True,
        epsilon: float = 0.0,
        rule: Rule | None = None,
    ) -> None:
        if not spec.discrete:
            raise SpecMismatch(
                f"{spec.id}: {type(self).__name__} plays discrete actions only; this environment is continuous"
            )
        for k, actor in enumerate(actors):
            if (actor.obs_size, actor.n_actions) != (spec.O, spec.A):
                raise SpecMismatch(
                    f"actor {k} takes observations of {actor.obs_size} and chooses among {actor.n_actions} actions, "
                    f"but {spec.id} has O={spec.O}, A={spec.A}; use an actor that was trained on {spec.id}"
                )
        super().__init__(spec, actors, assignment, ids)
        self.greedy, self.epsilon, self.rule = greedy, _share(epsilon), rule

    def _nothing(self, rows: int) -> Int[Tensor, " K"]:
        return torch.full((rows,), -1, dtype=torch.int64)

    def exploring(self, epsilon: float) -> Self:
        """The same networks played with another ε and a memory of its own. Raises FormatError."""
        share = _share(epsilon)
        other = self._again()
        other.epsilon = share
        return other

    @torch.no_grad()
    def decide(
        self,
        obs: Float32[np.ndarray, "B N O"],
        legal: Bool[np.ndarray, "B N A"] | None,
        generator: np.random.Generator,
    ) -> tuple[Int[np.ndarray, "B N"], Float32[np.ndarray, "B N"]]:
        """See Policy: int32 actions and float32 log-probabilities."""
        values = self._outputs(obs)
        if self.rule is not None:
            values = self.rule(values, None if legal is None else torch.from_numpy(np.ascontiguousarray(legal)))
        own = values.numpy().astype(np.float64)
        action, logprob = choose(own, legal, generator, greedy=self.greedy, epsilon=self.epsilon)
        self._last = torch.from_numpy(action.astype(np.int64)).view(-1)
        return action, logprob


class SlotPolicy(PlayerPolicy):
    """``PlayerPolicy`` of plain actors, whose outputs are the numbers per action: what pools store and agents play.

    Arguments and errors are those of ``PlayerPolicy``.
    """

    actors: Sequence[Actor]

    def __init__(
        self,
        spec: EnvSpec,
        actors: Sequence[Actor],
        assignment: Shaped[np.ndarray, "*B N"],
        *,
        ids: Shaped[np.ndarray, " N"] | None = None,
        greedy: bool = True,
        epsilon: float = 0.0,
    ) -> None:
        super().__init__(spec, actors, assignment, ids=ids, greedy=greedy, epsilon=epsilon)


class UniformPolicy(Policy):
    """Uniform over legal actions, or over [−1, 1] for every continuous component: the play that scores 0."""

    def __init__(self, spec: EnvSpec) -> None:
        self.spec = spec

    def reset(self, n: int) -> None:
        """Nothing to forget."""

    def keep(self, lanes: Shaped[np.ndarray, " K"]) -> None:
        """Nothing to keep."""

    def decide(
        self,
        obs: Float32[np.ndarray, "B N O"],
        legal: Bool[np.ndarray, "B N A"] | None,
        generator: np.random.Generator,
    ) -> tuple[Shaped[np.ndarray, "B N *A"], Float32[np.ndarray, "B N"]]:
        """See Policy. Padded components of a continuous action are 0."""
        spec, shape = self.spec, (len(obs), self.spec.N, self.spec.A)
        if spec.discrete:
            free = np.ones(shape, bool) if legal is None else _usable(legal)
            return draw(free.astype(np.float64), generator)
        sizes = np.array(spec.action_sizes or (spec.A,) * spec.N)
        real = np.arange(spec.A) < sizes[:, None]
        action: Float32[np.ndarray, "B N A"] = np.where(real, generator.uniform(-1, 1, shape), 0.0).astype(np.float32)
        density = (-np.log(2.0) * sizes).astype(np.float32)
        return action, np.broadcast_to(density, shape[:2]).copy()
