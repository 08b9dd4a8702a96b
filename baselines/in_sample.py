"""What ``omiga`` and ``maiql`` share: values learnt without asking for any action that the data does not show.

Each agent has Q_i(τ_i, a) and V_i(τ_i), mixed with the same weights into Q and V of the team. Q learns r + γ V', V_i is
pulled towards the better actions of the data, and the policy imitates the data, weighted by how good the action was.
How V_i is pulled and how the policy is weighted is what the two differ in.

Choices of both: one recurrent network has the outputs Q_i(·) and V_i (the official codes have one feed-forward network
for each); targets are copied every ``target_interval`` updates (theirs move by 0.5 % each); RMSprop and 32 episodes a
batch, as all agents here; the team's reward is learnt by the mixed Q (``maiql``'s forerunners: by every agent alone).
Padding and dead agents have no part in V and policy. An episode that the horizon cut bootstraps from a damped
value (``trust_at_cut``, docs/horizon.md). Rewards are scaled down to SMAC's range of returns.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from offmarl_bench.agent import Agent, Metrics, Phase, check_settings, sampling_phase
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.flat import flatten
from offmarl_bench.nn import HIDDEN, Actor, LinearMixer, Renewal, descend, frozen_copy, linear_mix
from offmarl_bench.ops import TRUST_AT_CUT, damped_at_cut, effective_sample_size, log_prob, masked_mean, take, td_target
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.types import Batch, EnvSpec

if TYPE_CHECKING:
    from offmarl_bench.loader import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class InSampleConfig:
    """Settings that both have."""

    title: ClassVar[str] = ""
    """The agent's name in messages."""
    more_positive: ClassVar[tuple[str, ...]] = ()
    """Positive numbers among the settings that only one has."""
    more_shares: ClassVar[tuple[str, ...]] = ()
    """Numbers from 0 to 1 among them."""

    normalise_mixer: bool = False
    """Divide the weights of the mixer by their sum."""
    hidden: int = HIDDEN
    """Width of the policy's and of the values' network."""
    mixer_embed: int = 32
    """Width of the mixer."""
    actor_lr: float = 5e-4
    """Learning rate of the policy."""
    critic_lr: float = 5e-4
    """Learning rate of values and mixer."""
    rms_alpha: float = 0.99
    """RMSprop's smoothing of squared gradients."""
    rms_eps: float = 1e-5
    """RMSprop's ε."""
    clip: float = 10.0
    """Greatest norm of the gradient."""
    gamma: float = 0.99
    """Discount γ."""
    trust_at_cut: float = TRUST_AT_CUT
    """Where the horizon cut an episode: share of the last observation's own value in what is bootstrapped, the rest
    is the mean of those that are learnt (``ops.damped_at_cut``)."""
    target_interval: int = 100
    """Updates between two copies of the networks into their targets."""
    batch_size: int = 32
    """Episodes a batch."""
    steps: int = 15_000
    """Gradient steps."""
    largest_return: float = 20.0
    """Rewards are scaled down to this largest return of the data (``agent.reward_scale``; SMAC's is 20); 0: never."""

    def __post_init__(self) -> None:
        check_settings(
            self.title,
            self,
            counts=("hidden", "mixer_embed", "target_interval", "batch_size", "steps"),
            positive=("actor_lr", "critic_lr", "rms_alpha", "rms_eps", "clip", *self.more_positive),
            shares=("trust_at_cut", "gamma", *self.more_shares),
            natural=("largest_return",),
        )


def bellman_loss(q_tot: Float[Tensor, "*L"], target: Float[Tensor, "*L"]) -> Float[Tensor, ""]:
    """Mean of (r + γ V' − Q)² over real steps. IQL (arXiv:2110.06169), Eq. (6), with the team's Q and V as in OMIGA."""
    return (target - q_tot).square().mean()


def weighted_imitation(
    log_pi: Float[Tensor, "*L"], weight: Float[Tensor, "*L"], mask: Bool[Tensor, "*L"]
) -> Float[Tensor, ""]:
    """Mean of −weight · log π_i(a_i | τ_i) over what counts. IQL, Eq. (7); OMIGA's last step."""
    return -masked_mean(weight * log_pi, mask)


class InSample(Agent):
    """Base of ``omiga`` and ``maiql``: discrete actions, networks shared by agents that show their ids."""

    policy_parts = ("actor",)
    config: InSampleConfig

    def __init__(self, spec: EnvSpec, config: InSampleConfig) -> None:
        super().__init__(spec, config)
        if not spec.discrete:
            raise SpecMismatch(f"{spec.id}: {config.title} needs discrete actions here; for continuous ones use 'icq'")
        self.actor = Actor(spec.O, spec.A, config.hidden, n_ids=spec.N)
        self.values = Actor(spec.O, spec.A + 1, config.hidden, n_ids=spec.N)
        """Q of every action, and V in the last place."""
        self.mixer = LinearMixer(spec.N, spec.S, config.mixer_embed, normalise=config.normalise_mixer)
        self.target_values, self.target_mixer = frozen_copy(self.values), frozen_copy(self.mixer)
        self.renewal = Renewal(
            config.target_interval, (self.target_values, self.values), (self.target_mixer, self.mixer)
        )
        learnt = {
            "actor": (config.actor_lr, [*self.actor.parameters()]),
            "values": (config.critic_lr, [*self.values.parameters(), *self.mixer.parameters()]),
        }
        self.optimizers = {
            name: torch.optim.RMSprop(p, lr=lr, alpha=config.rms_alpha, eps=config.rms_eps, foreach=True)
            for name, (lr, p) in learnt.items()
        }

    @abstractmethod
    def value_loss(
        self, q: Float[Tensor, "M N"], v: Float[Tensor, "M N"], w: Float[Tensor, "M N"], alive: Bool[Tensor, "M N"]
    ) -> Float[Tensor, ""]:
        """What pulls V_i towards good actions.

        Args:
            q: Q'_i of the data's actions, a constant.
            v: V_i.
            w: w'_i(s), a constant.
            alive: agents that count.
        """

    @abstractmethod
    def policy_weight(
        self, q: Float[Tensor, "M N"], v: Float[Tensor, "M N"], w: Float[Tensor, "M N"]
    ) -> Float[Tensor, "M N"]:
        """Weight of each of the data's actions in imitation; arguments as for ``value_loss``, all constants."""

    def phases(self, dataset: Dataset) -> list[Phase]:
        """One phase: ``learn``."""
        config = self.config
        size, top = config.batch_size, config.largest_return
        return [sampling_phase("learn", config.steps, dataset, size, self.update, self.device, top)]

    def update(self, batch: Batch) -> Metrics:
        """One gradient step of Q and V, and one of the policy."""
        config, data = self.config, flatten(batch)
        now, after, alive = data.now, data.after, data.alive[data.now]
        values = data.unroll(self.values)[now]
        q_tot = self.mixer(take(values[..., :-1], data.actions), data.state[now])
        with torch.no_grad():
            old = data.unroll(self.target_values)
            w, b = self.target_mixer.weights(data.state)
            future = linear_mix(old[after][..., -1], w[after], None if b is None else b[after])
            future = data.steps(damped_at_cut(data.padded(future), batch.mask, config.trust_at_cut))
            target = td_target(data.steps(batch.rewards), future, data.steps(batch.terminated), config.gamma)
            good, w = take(old[now][..., :-1], data.actions), w[now]
        v = values[..., -1]
        critic_loss, value_loss = bellman_loss(q_tot, target), self.value_loss(good, v, w, alive)
        values_norm = descend(critic_loss + value_loss, self.optimizers["values"], config.clip)
        weight = self.policy_weight(good, v.detach(), w)
        legal = None if data.legal is None else data.legal[now]
        log_pi = log_prob(data.unroll(self.actor)[now], data.actions, legal)
        actor_loss = weighted_imitation(log_pi, weight, alive)
        actor_norm = descend(actor_loss, self.optimizers["actor"], config.clip)
        self.renewal.advance()
        return {
            "critic_loss": critic_loss.detach(),
            "value_loss": value_loss.detach(),
            "actor_loss": actor_loss.detach(),
            "critic_grad_norm": values_norm,
            "actor_grad_norm": actor_norm,
            "target": target.mean(),
            "advantage": masked_mean(good - v.detach(), alive),
            # As a share of what was sampled: 1 if all count alike.
            "weights_ess": effective_sample_size(weight[alive]) / alive.sum().clamp(min=1),
        }

    def policy(self, greedy: bool = True) -> SlotPolicy:
        """The actors; ``greedy=False`` samples them."""
        return SlotPolicy(self.spec, [self.actor], np.zeros(self.spec.N, np.int64), greedy=greedy)
