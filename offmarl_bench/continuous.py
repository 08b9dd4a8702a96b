"""Continuous actions: densities that stay finite at the bounds, the actor and the critic of one agent's history.

Actions are floats in [−1, 1]. Agents with fewer components than the largest agent have padded ones, which are 0 in the
data: they are left out of every density, mean and draw (``real`` says which are there).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from offmarl_bench.candidates import hidden_layer
from offmarl_bench.errors import FormatError
from offmarl_bench.nn import HIDDEN, RecurrentNet
from offmarl_bench.ops import one_hot
from offmarl_bench.types import EnvSpec

BOUND = 0.99
"""Actions of the data are clipped to ±BOUND before atanh; atanh(0.99) = 2.65.

±1 itself has no finite pre-image and is no rarity: clipped noise puts a good part of all components there. Nearer to 1
the pre-images run away from all others (1 − 1e-6 is 7.25), and the one normal distribution before tanh that must cover
both draws −1 and 1 where the data has neither. What is played is not clipped."""
LOG_STD = (-5.0, 2.0)
"""Range of log σ before tanh. The network's output is squashed into it smoothly, so that its gradient never dies
abruptly; an output of 0 is the middle, σ = e^−1.5 = 0.22."""
GAUSSIAN, DETERMINISTIC = "gaussian", "deterministic"
KINDS = (GAUSSIAN, DETERMINISTIC)
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class TanhGaussian(NamedTuple):
    """The distribution of tanh(u), u ~ N(mean, exp(log_std)²), per component."""

    mean: Float[Tensor, "*L A"]
    """Before tanh."""
    log_std: Float[Tensor, "*L A"]


def real_components(spec: EnvSpec) -> Bool[Tensor, "N A"]:
    """True where an agent has that action component, False where it is padding."""
    sizes = torch.tensor(spec.action_sizes or (spec.A,) * spec.N)
    return torch.arange(spec.A) < sizes.unsqueeze(1)


def only_real(x: Float[Tensor, "*L A"], real: Bool[Tensor, "*M A"] | None) -> Float[Tensor, "*L A"]:
    """``x`` with 0 in padded components, and no gradient through them; None: all are real."""
    return x if real is None else x.masked_fill(~real, 0.0)


def tamed(x: Float[Tensor, "*L"]) -> Float[Tensor, "*L"]:
    """Observations or states on a scale that networks like: sign(x) log(1 + |x|), symlog of arXiv:2301.04104, Eq. (9).

    Joint angles stay about as they are; speeds, of 10 and for a falling walker of 60 and more, become 2.4 and 4.1.
    """
    return x.sign() * x.abs().log1p()


def before_tanh(actions: Float[Tensor, "*L A"]) -> Float[Tensor, "*L A"]:
    """atanh(a), with a clipped to ±``BOUND``."""
    return torch.atanh(actions.clamp(-BOUND, BOUND))


def log_slope(u: Float[Tensor, "*L"]) -> Float[Tensor, "*L"]:
    """Logarithm of tanh's slope, log(1 − tanh² u) = 2 (log 2 − u − softplus(−2u)): exact and finite for every u."""
    return 2.0 * (math.log(2.0) - u - F.softplus(-2.0 * u))


def _log_density(law: TanhGaussian, u: Float[Tensor, "*L A"], real: Bool[Tensor, "*M A"] | None) -> Float[Tensor, "*L"]:
    normal = -0.5 * ((u - law.mean) * torch.exp(-law.log_std)).square() - law.log_std - HALF_LOG_TWO_PI
    return only_real(normal - log_slope(u), real).sum(-1)


def tanh_log_prob(
    law: TanhGaussian, actions: Float[Tensor, "*L A"], real: Bool[Tensor, "*M A"] | None = None
) -> Float[Tensor, "*L"]:
    """Log-density of actions of the data: Σ over real components of log N(u; mean, σ²) − log(1 − tanh² u).

    Haarnoja et al. (2018, arXiv:1812.05905, Appendix C, Eq. (26)), with u = ``before_tanh(a)``.
    """
    return _log_density(law, before_tanh(actions), real)


def tanh_sample(
    law: TanhGaussian, noise: Float[Tensor, "*L A"], real: Bool[Tensor, "*M A"] | None = None
) -> tuple[Float[Tensor, "*L A"], Float[Tensor, "*L"]]:
    """Actions tanh(mean + σ · noise) and their exact log-density; gradients flow through both.

    Args:
        law: the distribution.
        noise: standard normal numbers, drawn by the caller; may have more axes in front (several draws).
        real: real components; the others are 0.
    """
    u = law.mean + torch.exp(law.log_std) * noise
    return only_real(torch.tanh(u), real), _log_density(law, u, real)


def clipped_normal_log_prob(
    actions: Float[Tensor, "*L A"],
    mean: Float[Tensor, "*L A"],
    std: float,
    real: Bool[Tensor, "*M A"] | None = None,
) -> Float[Tensor, "*L"]:
    """Log-probability of clip(N(mean, std²), −1, 1): exploration around a deterministic action.

    Clipping gathers what lies outside into two atoms: a component strictly inside counts with its density, one at ±1
    with the probability of its whole tail. With ``std`` 0 play is deterministic: 0.
    """
    if not std:
        return actions.new_zeros(actions.shape[:-1])
    z = (actions - mean) / std
    inside = -0.5 * z.square() - math.log(std) - HALF_LOG_TWO_PI
    tail = torch.special.log_ndtr(torch.where(actions > 0, -z, z))
    return only_real(torch.where(actions.abs() < 1.0, inside, tail), real).sum(-1)


class PlainNet(nn.Module):
    """fc – ReLU – fc – ReLU – fc on one observation at a time: ``RecurrentNet`` without a memory, same methods."""

    def __init__(self, in_size: int, out_size: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.hidden = hidden
        self.encode = nn.Linear(in_size, hidden)
        self.middle = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, out_size)

    def initial(self, k: int) -> Float[Tensor, "K 0"]:
        """An empty memory for each of k sequences."""
        return self.head.weight.new_zeros(k, 0)

    def forward(self, x: Float[Tensor, "*L I"], h0: Float[Tensor, "B 0"] | None = None) -> Float[Tensor, "*L out"]:
        """Outputs for inputs of any shape."""
        out: Tensor = self.head(F.relu(self.middle(F.relu(self.encode(x)))))
        return out

    def packed(self, x: Float[Tensor, "K N I"], counts: Int[Tensor, " U"]) -> Float[Tensor, "K N out"]:
        """The same; ``counts`` does not matter."""
        return self(x)  # type: ignore[no-any-return]

    def step(
        self, x: Float[Tensor, "K I"], h: Float[Tensor, "K 0"]
    ) -> tuple[Float[Tensor, "K out"], Float[Tensor, "K 0"]]:
        """One time step of K sequences: (output, the empty memory)."""
        return self(x), h


class _History(nn.Module):
    """What actor and critic share: a network on [observation, previous action, one-hot id], with or without memory."""

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        hidden: int,
        *,
        out_size: int,
        n_ids: int,
        last_action: bool,
        recurrent: bool,
    ) -> None:
        super().__init__()
        self.obs_size, self.action_size, self.n_ids, self.last_action = obs_size, action_size, n_ids, last_action
        self.recurrent = recurrent
        in_size = obs_size + action_size * last_action + n_ids
        self.net = (RecurrentNet if recurrent else PlainNet)(in_size, out_size, hidden)

    def describe(self) -> dict[str, int | bool | str]:
        """Constructor arguments: ``type(self)(**self.describe())`` has the same shape."""
        return {
            "obs_size": self.obs_size,
            "action_size": self.action_size,
            "hidden": self.net.hidden,
            "n_ids": self.n_ids,
            "last_action": self.last_action,
            "recurrent": self.recurrent,
        }

    def inputs(
        self, obs: Float[Tensor, "*L O"], last_actions: Float[Tensor, "*L A"], ids: Int[Tensor, "*L"] | None = None
    ) -> Float[Tensor, "*L I"]:
        """[tamed observation, a_{t−1}, one-hot id].

        Args:
            obs: observations.
            last_actions: a_{t−1}, zeros where there is none; ignored if the network takes no last action.
            ids: which agent, 0 … n_ids − 1; None gives zeros. Ignored if the network takes no id.
        """
        parts = [tamed(obs)]
        if self.last_action:
            parts.append(last_actions)
        if self.n_ids:
            parts.append(obs.new_zeros(*obs.shape[:-1], self.n_ids) if ids is None else one_hot(ids, self.n_ids))
        return torch.cat(parts, -1) if len(parts) > 1 else parts[0]


class ContinuousActor(_History):
    """One agent's own history turned into an action in [−1, 1]^A: the continuous sibling of ``nn.Actor``.

    ``forward``, ``step`` and ``net.packed`` give raw outputs; ``law`` and ``mode`` read them.

    Args:
        obs_size: O.
        action_size: A.
        hidden: width.
        n_ids: length of the one-hot agent id appended to the input; 0 for none.
        last_action: append the previous action.
        kind: ``gaussian`` (mean and log σ before tanh) or ``deterministic`` (tanh of the output).
        recurrent: fc – GRU – fc over the history, or a plain network on the present input.

    Raises:
        FormatError: an unknown kind.
    """

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        hidden: int = HIDDEN,
        *,
        n_ids: int = 0,
        last_action: bool = True,
        kind: str = GAUSSIAN,
        recurrent: bool = True,
    ) -> None:
        if kind not in KINDS:
            raise FormatError(f"ContinuousActor: kind is {kind!r}, expected one of {', '.join(KINDS)}")
        out_size = action_size * (2 if kind == GAUSSIAN else 1)
        super().__init__(
            obs_size,
            action_size,
            hidden,
            out_size=out_size,
            n_ids=n_ids,
            last_action=last_action,
            recurrent=recurrent,
        )
        self.kind = kind

    def describe(self) -> dict[str, int | bool | str]:
        """Constructor arguments: ``ContinuousActor(**actor.describe())`` has the same shape."""
        return super().describe() | {"kind": self.kind}

    def forward(
        self, obs: Float[Tensor, "B T O"], last_actions: Float[Tensor, "B T A"], ids: Int[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B T C"]:
        """Raw outputs for whole sequences of single agents: flatten the agents into B."""
        over_time = None if ids is None else ids.unsqueeze(1).expand(obs.shape[:2])
        out: Tensor = self.net(self.inputs(obs, last_actions, over_time))
        return out

    def unroll(
        self,
        obs: Float[Tensor, "K N O"],
        last_actions: Float[Tensor, "K N A"],
        counts: Int[Tensor, " U"],
        ids: Int[Tensor, "K N"] | None = None,
    ) -> Float[Tensor, "K N C"]:
        """Raw outputs at every real observation of N agents in step, in the order of ``recurrence.pack``."""
        return self.net.packed(self.inputs(obs, last_actions, ids), counts)

    def initial(self, k: int) -> Float[Tensor, "K H"]:
        """Memory of k sequences before their first step."""
        return self.net.initial(k)

    def step(
        self,
        obs: Float[Tensor, "K O"],
        last_actions: Float[Tensor, "K A"],
        h: Float[Tensor, "K H"],
        ids: Int[Tensor, " K"] | None = None,
    ) -> tuple[Float[Tensor, "K C"], Float[Tensor, "K H"]]:
        """One time step of K single agents: (raw outputs, new memory)."""
        return self.net.step(self.inputs(obs, last_actions, ids), h)

    def law(self, raw: Float[Tensor, "*L C"]) -> TanhGaussian:
        """The distribution that raw outputs stand for. Raises FormatError for a deterministic actor."""
        if self.kind != GAUSSIAN:
            raise FormatError(f"ContinuousActor of kind {self.kind!r} has no distribution; use kind={GAUSSIAN!r}")
        mean, width = raw.chunk(2, -1)
        low, high = LOG_STD
        return TanhGaussian(mean, low + 0.5 * (high - low) * (torch.tanh(width) + 1.0))

    def mode(self, raw: Float[Tensor, "*L C"]) -> Float[Tensor, "*L A"]:
        """The greedy action tanh(mean); padded components have to be zeroed by the caller (``only_real``)."""
        return torch.tanh(raw[..., : self.action_size])


class ContinuousCritic(_History):
    """Q_i(τ_i, a_i): the history is unrolled once, then any number of actions per observation is valued.

    value = fc(ReLU(features(τ) + fc(a))), where features are the output of the history's network: the same function as
    one fully connected layer on [history, a]. Padded components of an action must be 0 (they are, in data and in
    ``only_real``).

    Args:
        obs_size: O.
        action_size: A.
        hidden: width.
        n_ids: length of the one-hot agent id appended to the input; 0 for none.
        last_action: append the previous action.
        recurrent: with a GRU over the history, or plain.
    """

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        hidden: int = HIDDEN,
        *,
        n_ids: int = 0,
        last_action: bool = True,
        recurrent: bool = True,
    ) -> None:
        super().__init__(
            obs_size,
            action_size,
            hidden,
            out_size=hidden,
            n_ids=n_ids,
            last_action=last_action,
            recurrent=recurrent,
        )
        self.by_action = nn.Linear(action_size, hidden, bias=False)
        self.out = nn.Linear(hidden, 1)

    def forward_packed(self, x: Float[Tensor, "K N I"], counts: Int[Tensor, " U"]) -> Float[Tensor, "K N H"]:
        """Features of every real observation, from ``inputs`` in the order of ``recurrence.pack``."""
        return self.net.packed(x, counts)

    def value(self, features: Float[Tensor, "*#L H"], actions: Float[Tensor, "*#L A"]) -> Float[Tensor, "*L"]:
        """Q_i(τ_i, a_i); features and actions broadcast, so (K, N, H) with (C, K, N, A) values C actions each."""
        return hidden_layer(features, actions, self.by_action.weight, self.out.weight, self.out.bias).squeeze(-1)
