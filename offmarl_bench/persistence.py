"""Temporally extended ε-greedy: an agent that explores repeats its random action for a while.

With independent random actions an agent takes three steps in one direction a thousand times less often than one, so
what needs a short walk is never found. Here every number of steps up to a greatest one is equally likely.

Source: Dabney, Ostrovski, Barreto, "Temporally-Extended ε-Greedy Exploration", arXiv:2006.01782, section 3. Its law is
heavy-tailed (most last one step, few many), for tasks whose scale is unknown; the scale of a dodge is known.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Int, Shaped

from offmarl_bench.agent import Policy


class Persistent(Policy):
    """A discrete policy whose agents now and then take one random legal action for several steps.

    An agent that is not exploring starts to with probability ε, draws an action uniformly from the legal ones and a
    number of steps, and takes that action until they are over or it is illegal. For training only: the
    log-probabilities returned are those of the policy within, not of the mixture.

    Args:
        policy: whom to follow otherwise, without exploration of its own.
        actions: number of actions, A.
        epsilon: ε in [0, 1].
        greatest: greatest number of steps of one exploration, at least 1.
    """

    def __init__(self, policy: Policy, actions: int, epsilon: float, greatest: int) -> None:
        self.policy, self.actions, self.epsilon = policy, actions, epsilon
        self.greatest = greatest

    def reset(self, n: int) -> None:
        """See Policy."""
        self.policy.reset(n)
        self._left: Int[np.ndarray, "B N"] | None = None
        self._action: Int[np.ndarray, "B N"]

    def keep(self, lanes: Shaped[np.ndarray, " K"]) -> None:
        """See Policy."""
        self.policy.keep(lanes)
        if self._left is not None:
            self._left, self._action = self._left[lanes], self._action[lanes]

    def decide(
        self,
        obs: Float32[np.ndarray, "B N O"],
        legal: Bool[np.ndarray, "B N A"] | None,
        generator: np.random.Generator,
    ) -> tuple[Shaped[np.ndarray, "B N"], Float32[np.ndarray, "B N"]]:
        """See Policy; three uniform numbers per agent and step."""
        own, logprob = self.policy.decide(obs, legal, generator)
        allowed = np.ones((*own.shape, self.actions), bool) if legal is None else legal
        if self._left is None:
            self._left, self._action = np.zeros(own.shape, np.int64), np.zeros(own.shape, np.int64)
        start, which, length = generator.random((3, *own.shape))
        fresh = (self._left == 0) & (start < self.epsilon)
        count = allowed.cumsum(-1)
        drawn = (count <= (which * count[..., -1])[..., None]).sum(-1)
        self._action = np.where(fresh, drawn, self._action)
        self._left = np.where(fresh, 1 + (length * self.greatest).astype(np.int64), self._left)
        goes_on = np.take_along_axis(allowed, self._action[..., None], -1)[..., 0]
        exploring = (self._left > 0) & goes_on
        self._left = np.where(exploring, self._left - 1, 0)
        return np.where(exploring, self._action, own).astype(own.dtype), logprob
