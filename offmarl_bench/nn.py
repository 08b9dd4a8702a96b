"""The recurrent network that nearly every multi-agent paper uses, unrolled by one fused call, and the actor on top.

A loop of GRU cells over time is what makes the published implementations slow; here time never appears in Python
while training. ``step`` runs the same weights one observation at a time for play.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from offmarl_bench.fused import relu_of_sum
from offmarl_bench.ops import hard_update, one_hot
from offmarl_bench.recurrence import packed_gru

Network = TypeVar("Network", bound=nn.Module)

HIDDEN = 64
"""Width of the hidden layer and of the GRU in PyMARL, ICQ and SIT (Table 11)."""


def previous_actions(actions: Shaped[Tensor, "B T N *A"]) -> Shaped[Tensor, "B T+1 N *A"]:
    """a_{t−1} for t = 0 … T: what each agent did before observation t; at t = 0 −1 ("nothing yet"), or zeros if
    actions are continuous.
    """
    if actions.is_floating_point():
        return F.pad(actions, (0, 0, 0, 0, 1, 0))
    return F.pad(actions, (0, 0, 1, 0), value=-1)


class RecurrentNet(nn.Module):
    """fc – ReLU – GRU – fc on sequences of one agent each."""

    def __init__(self, in_size: int, out_size: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.hidden = hidden
        self.encode = nn.Linear(in_size, hidden)
        self.gru = nn.GRU(hidden, hidden)
        self.head = nn.Linear(hidden, out_size)

    def initial(self, k: int) -> Float[Tensor, "K H"]:
        """Memory of k sequences before their first step: zeros."""
        return self.head.weight.new_zeros(k, self.hidden)

    def forward(self, x: Float[Tensor, "B T I"], h0: Float[Tensor, "B H"] | None = None) -> Float[Tensor, "B T out"]:
        """Outputs at every time step, from memory ``h0`` (zeros if None)."""
        # Time first and contiguous: on a transposed tensor torch turns the linear layers into slow batched products.
        # No copy is made for a caller whose x is a transposed view of such a tensor.
        encoded = F.relu(self.encode(x.transpose(0, 1).contiguous()))
        memory, _ = self.gru(encoded, None if h0 is None else h0.unsqueeze(0))
        out: Tensor = self.head(memory)
        return out.transpose(0, 1)

    def packed(self, x: Float[Tensor, "K N I"], counts: Int[Tensor, " U"]) -> Float[Tensor, "K N out"]:
        """Outputs at every real observation of N agents in step: ``forward`` without the padding.

        Args:
            x: inputs in the order of ``recurrence.pack``.
            counts: its ``counts``.
        """
        encoded = F.relu(self.encode(x.flatten(0, 1)), inplace=True)
        return self.remember(encoded, counts * x.shape[1]).view(*x.shape[:2], -1)

    def remember(self, encoded: Float[Tensor, "K H"], counts: Int[Tensor, " U"]) -> Float[Tensor, "K out"]:
        """What follows the first layer: outputs at every row, ``counts`` of them at each time."""
        out: Tensor = self.head(packed_gru(self.gru, encoded, counts))
        return out

    def step(
        self, x: Float[Tensor, "K I"], h: Float[Tensor, "K H"]
    ) -> tuple[Float[Tensor, "K out"], Float[Tensor, "K H"]]:
        """One time step of K sequences: (output, new memory)."""
        h = torch.gru_cell(F.relu(self.encode(x)), h, *self.gru.all_weights[0])
        return self.head(h), h


class Actor(nn.Module):
    """A recurrent network of one agent's own history, with the recipe of its input.

    Its output is one number per action: logits for a stochastic policy, action values for a Q-network.

    Args:
        obs_size: O.
        n_actions: A.
        hidden: width.
        n_ids: length of the one-hot agent id appended to the input; 0 for none.
        last_action: append the one-hot previous action.
    """

    def __init__(
        self, obs_size: int, n_actions: int, hidden: int = HIDDEN, *, n_ids: int = 0, last_action: bool = True
    ) -> None:
        super().__init__()
        self.obs_size, self.n_actions, self.n_ids, self.last_action = obs_size, n_actions, n_ids, last_action
        self.net = RecurrentNet(obs_size + n_actions * last_action + n_ids, n_actions, hidden)

    def describe(self) -> dict[str, int | bool]:
        """Constructor arguments: ``Actor(**actor.describe())`` has the same shape."""
        return {
            "obs_size": self.obs_size,
            "n_actions": self.n_actions,
            "hidden": self.net.hidden,
            "n_ids": self.n_ids,
            "last_action": self.last_action,
        }

    def inputs(
        self, obs: Float[Tensor, "*L O"], last_actions: Int[Tensor, "*L"], ids: Int[Tensor, "*L"] | None = None
    ) -> Float[Tensor, "*L I"]:
        """[observation, one-hot previous action, one-hot id]. A previous action or id of −1 is a row of zeros.

        Args:
            obs: observations.
            last_actions: a_{t−1}, −1 where there is none; ignored if the actor takes no last action.
            ids: which agent, 0 … n_ids − 1; None gives zeros. Ignored if the actor takes no id.
        """
        parts = [obs]
        if self.last_action:
            parts.append(one_hot(last_actions, self.n_actions))
        if self.n_ids:
            parts.append(obs.new_zeros(*obs.shape[:-1], self.n_ids) if ids is None else one_hot(ids, self.n_ids))
        return torch.cat(parts, -1) if len(parts) > 1 else obs

    def forward(
        self, obs: Float[Tensor, "B T O"], last_actions: Int[Tensor, "B T"], ids: Int[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B T A"]:
        """Outputs for whole sequences of single agents: flatten the agents into B."""
        over_time = None if ids is None else ids.unsqueeze(1).expand(last_actions.shape)
        out: Tensor = self.net(self.inputs(obs, last_actions, over_time))
        return out

    def unroll(
        self,
        obs: Float[Tensor, "K N O"],
        last_actions: Int[Tensor, "K N"],
        counts: Int[Tensor, " U"],
        ids: Int[Tensor, "K N"] | None = None,
    ) -> Float[Tensor, "K N A"]:
        """Outputs at every real observation of N agents in step: ``net.packed`` of ``inputs``, without making those.

        The columns of the first layer that meet a one-hot input are looked up.

        Args:
            obs: observations in the order of ``recurrence.pack``.
            last_actions: as for ``inputs``.
            counts: that of the packing.
            ids: as for ``inputs``.
        """
        rows, layer = last_actions.numel(), self.net.encode
        sizes = [self.obs_size, self.n_actions * self.last_action, self.n_ids]
        by_obs, by_last, by_id = torch.split(layer.weight, sizes, 1)
        none = last_actions.new_full((rows,), -1)
        encoded = relu_of_sum(
            F.linear(obs.reshape(rows, -1), by_obs, layer.bias),
            by_last.t(),
            last_actions.reshape(rows) if self.last_action else none,
            by_id.t(),
            none if ids is None or not self.n_ids else ids.reshape(rows),
        )
        return self.net.remember(encoded, counts * obs.shape[1]).view(*obs.shape[:2], -1)

    def initial(self, k: int) -> Float[Tensor, "K H"]:
        """Memory of k sequences before their first step."""
        return self.net.initial(k)

    def step(
        self,
        obs: Float[Tensor, "K O"],
        last_actions: Int[Tensor, " K"],
        h: Float[Tensor, "K H"],
        ids: Int[Tensor, " K"] | None = None,
    ) -> tuple[Float[Tensor, "K A"], Float[Tensor, "K H"]]:
        """One time step of K single agents: (outputs, new memory)."""
        return self.net.step(self.inputs(obs, last_actions, ids), h)


def linear_mix(
    q: Float[Tensor, "*L N"], w: Float[Tensor, "*L N"], b: Float[Tensor, "*L"] | None
) -> Float[Tensor, "*L"]:
    """Q_tot = Σ_i w_i(s) Q_i + b(s). Yang et al. (2021, arXiv:2106.03400), Section 4.1."""
    total = (w * q).sum(-1)
    return total if b is None else total + b


class LinearMixer(nn.Module):
    """Hypernetworks that turn the state into the weights of ``linear_mix``, as in the official code of ICQ.

    w(s) = |W_1(s)| |w_2(s)| ≥ 0, so the agents' own maxima are the joint maximum.

    Args:
        n_agents: N.
        state_size: S.
        embed: inner width of the product, and of the network that makes b.
        normalise: divide the weights of a state by their sum (official).
        bias: have b(s) (the papers); the official code computes and drops it.
    """

    def __init__(
        self, n_agents: int, state_size: int, embed: int, *, normalise: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.n_agents, self.normalise = n_agents, normalise
        self.w1, self.w2 = nn.Linear(state_size, n_agents * embed), nn.Linear(state_size, embed)
        self.b = nn.Sequential(nn.Linear(state_size, embed), nn.ReLU(), nn.Linear(embed, 1)) if bias else None

    def weights(self, state: Float[Tensor, "*L S"]) -> tuple[Float[Tensor, "*L N"], Float[Tensor, "*L"] | None]:
        """w_i(s), and b(s) or None."""
        w1 = self.w1(state).unflatten(-1, (self.n_agents, -1)).abs()
        w = (w1 * self.w2(state).abs().unsqueeze(-2)).sum(-1)
        if self.normalise:
            w = w / w.sum(-1, keepdim=True)
        return w, None if self.b is None else self.b(state).squeeze(-1)

    def forward(self, q: Float[Tensor, "*L N"], state: Float[Tensor, "*L S"]) -> Float[Tensor, "*L"]:
        """Q_tot of each step."""
        return linear_mix(q, *self.weights(state))


def frozen_copy(network: Network) -> Network:
    """A target network: the same weights now, and no gradient ever."""
    twin = copy.deepcopy(network)
    twin.requires_grad_(False)
    return twin


class Renewal(nn.Module):
    """Copies networks into their targets after every ``interval`` updates; the count is part of the checkpoint.

    Args:
        interval: updates between two copies.
        *pairs: (target, source). They stay submodules of whoever owns them, not of this.
    """

    def __init__(self, interval: int, *pairs: tuple[nn.Module, nn.Module]) -> None:
        super().__init__()
        self.interval, self.since = interval, 0
        self._pairs = pairs

    def advance(self, updates: int = 1) -> None:
        """Count these updates, and copy if it is time."""
        self.since += updates
        if self.since >= self.interval:
            self.since = 0
            for target, source in self._pairs:
                hard_update(target, source)

    def get_extra_state(self) -> Int[Tensor, ""]:
        """Updates since the last copy, so that a resumed run copies when an unbroken one would."""
        return torch.tensor(self.since)

    def set_extra_state(self, state: Int[Tensor, ""]) -> None:
        """Inverse of ``get_extra_state``."""
        self.since = int(state)


def descend(loss: Float[Tensor, ""], optimizer: torch.optim.Optimizer, clip: float) -> Float[Tensor, ""]:
    """One step of an optimizer against the gradient of ``loss``, whose norm is clipped; returns the norm before."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip)
    optimizer.step()
    return norm.detach()
