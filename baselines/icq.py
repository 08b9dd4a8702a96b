"""ICQ: implicit constraint Q-learning for teams (Yang et al. 2021, arXiv:2106.03400), discrete actions.

Also as the SIT paper compares with (arXiv:2211.15612, Appendix B, Eq. (14)). The critic learns from actions in the
data only; the policy imitates the data, each action weighted by how good the critic finds it.

Differences from the papers, or choices where they are silent (the preset ``paper`` takes them at their word, the
preset ``official`` follows the published code where it differs):

* Z, over which both weights are normalised, is a sum over the batch at the same time step (official), of real steps
  and living agents only (official: padding and the dead take part).
* The actor is weighted by the advantage Q − E_π Q (official). The papers print Q, which chooses among states rather
  than among actions.
* β of the critic's weights is 1000 (official), so nearly none: with the papers' 0.1, one of 32 next values is
  multiplied by 32 and all others by 0.
* w_i stands inside the exponent (papers) or before it (official). The w_i of a state sum to one (official): free, they
  grow with the values' distance from 0, one sample takes a whole batch, and on CN_3ls3l play ended far below untrained.
* Σ (γλ)^t [r + γ ρ Q' − Q]² is learnt as the λ-return of ρ Q' (official). λ is Table 11's 0.8; the official code's is
  0.75 whatever its settings say.
* One critic step a batch; the official code makes one for every time step (``critic_mode="sequential"``).
* The critic is feed-forward on state, observation and agent id with a value stream as in the official code, but as wide
  as ``critic_hidden``.
* Where the horizon cut an episode there is no a' in the data: it bootstraps from Q' averaged
  over the present policy, damped (``trust_at_cut``, docs/horizon.md).
* The official code mixes its policy with ε of uniform noise, in learning too, annealed from 0.5 to 0.05; ``floor`` is
  constant, and over legal actions only.
* "RMS" is RMSprop with PyMARL's α = 0.99 and ε = 1e-5; "training epoch 15000" is gradient steps on 32 episodes.
* Rewards are scaled down to SMAC's range of returns, on which all settings were tuned (paper: as they come).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.icq_config import ICQConfig as ICQConfig
from baselines.icq_continuous import ContinuousICQ
from baselines.icq_equations import actor_loss, actor_weights, critic_loss, implicit_value
from offmarl_bench.agent import Agent, Metrics, Phase, sampling_phase
from offmarl_bench.flat import FlatBatch, flatten
from offmarl_bench.fused import log_softmax, relu_of_sum
from offmarl_bench.nn import Actor, LinearMixer, Renewal, descend, frozen_copy, linear_mix
from offmarl_bench.ops import (
    damped_at_cut,
    effective_sample_size,
    lambda_return,
    masked_logits,
    masked_mean,
    take,
)
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.types import Batch, EnvSpec

if TYPE_CHECKING:
    from offmarl_bench.loader import Dataset


class Critic(nn.Module):
    """Q_i(s, o_i, ·) of all agents, feed-forward, as the sum of one value and one number per action."""

    def __init__(self, spec: EnvSpec, hidden: int) -> None:
        super().__init__()
        self.sizes = [spec.S, spec.O, spec.N]
        self.first, self.second = nn.Linear(sum(self.sizes), hidden), nn.Linear(hidden, hidden)
        self.value, self.advantages = nn.Linear(hidden, 1), nn.Linear(hidden, spec.A)

    def forward(self, state: Float[Tensor, "K S"], obs: Float[Tensor, "K N O"]) -> Float[Tensor, "K N A"]:
        """Values of every action."""
        # The layer on [state, observation, id] in three parts: the state's is computed once for all agents.
        by_state, by_obs, by_id = torch.split(self.first.weight, self.sizes, 1)
        shared = F.linear(state, by_state, self.first.bias)
        n = obs.shape[1]
        row = torch.arange(len(obs) * n, device=obs.device)
        x = relu_of_sum(F.linear(obs.flatten(0, 1), by_obs), shared, row // n, by_id.t(), row % n)
        x = F.relu(self.second(x), inplace=True)
        # The value's layer is added to the advantages' beforehand: one product instead of two.
        weight, bias = self.advantages.weight + self.value.weight, self.advantages.bias + self.value.bias
        return F.linear(x, weight, bias).view(*obs.shape[:2], -1)


def log_policy(
    logits: Float[Tensor, "*L A"], legal: Bool[Tensor, "*L A"] | None, floor: float
) -> Float[Tensor, "*L A"]:
    """The log π of every action for π = (1 − floor) softmax + floor · uniform, both over legal actions."""
    if floor == 0.0:
        return log_softmax(logits, legal)
    masked = masked_logits(logits, legal)
    free = torch.isfinite(masked)
    pi = (1 - floor) * masked.softmax(-1) + floor * free / free.sum(-1, keepdim=True)
    return pi.masked_fill(~free, 1.0).log().masked_fill(~free, -torch.inf)


def expected_value(log_pi: Float[Tensor, "*L A"], q: Float[Tensor, "*L A"]) -> Float[Tensor, "*L"]:
    """E_π Q = Σ_a π(a) Q(a)."""
    return (log_pi.exp() * q).sum(-1)


class ICQ(Agent):
    """Agents share one recurrent actor and one critic that sees the state; both are told which agent it is.

    The form for continuous actions is ``icq_continuous.ContinuousICQ``.
    """

    Config = ICQConfig
    policy_parts = ("actor",)
    config: ICQConfig

    @classmethod
    def form(cls, spec: EnvSpec) -> type[Agent]:
        """See Agent: this class, or its sibling for continuous actions."""
        return cls if spec.discrete else ContinuousICQ

    def __init__(self, spec: EnvSpec, config: ICQConfig) -> None:
        super().__init__(spec, config)
        self.actor = Actor(spec.O, spec.A, config.hidden, n_ids=spec.N)
        self.critic = Critic(spec, config.critic_hidden)
        self.mixer = LinearMixer(
            spec.N, spec.S, config.mixer_embed, normalise=config.normalise_mixer, bias=config.mixer_bias
        )
        self.target_critic, self.target_mixer = frozen_copy(self.critic), frozen_copy(self.mixer)
        self.renewal = Renewal(
            config.target_interval, (self.target_critic, self.critic), (self.target_mixer, self.mixer)
        )
        learnt = {
            "actor": (config.actor_lr, [*self.actor.parameters()]),
            "critic": (config.critic_lr, [*self.critic.parameters(), *self.mixer.parameters()]),
        }
        self.optimizers = {
            name: torch.optim.RMSprop(p, lr=lr, alpha=config.rms_alpha, eps=config.rms_eps, foreach=True)
            for name, (lr, p) in learnt.items()
        }

    def phases(self, dataset: Dataset) -> list[Phase]:
        """One phase: ``learn``."""
        config = self.config
        size, top = config.batch_size, config.largest_return
        return [sampling_phase("learn", config.steps, dataset, size, self.update, self.device, top)]

    def update(self, batch: Batch) -> Metrics:
        """One step of the actor and one (or T) of the critic, both lines of Eq. (14) with the same critic."""
        config, data = self.config, flatten(batch)
        in_turn = config.critic_mode == "sequential"
        logits = data.unroll(self.actor)
        log_pi = log_policy(logits, data.legal, config.floor)
        target = self._target(batch, data, log_pi.detach())
        state = data.state[data.now]
        with torch.set_grad_enabled(not in_turn):
            q = self.critic(state, data.obs[data.now])
            w, b = self.mixer.weights(state)
        actor_metrics = self._learn_policy(data, log_pi[data.now], q.detach(), w.detach())
        if in_turn:
            steps = [self._critic_step(self._q_tot(data, part), target[part]) for part in data.each_time()]
        else:
            steps = [self._critic_step(linear_mix(take(q, data.actions), w, b), target)]
        loss, norm = (torch.stack(x).mean() for x in zip(*steps, strict=True))
        return {**actor_metrics, "critic_loss": loss, "critic_grad_norm": norm, "target": target.mean()}

    @torch.no_grad()
    def _target(self, batch: Batch, data: FlatBatch, log_pi: Float[Tensor, "K N A"]) -> Float[Tensor, " M"]:
        """The target r + γ ρ Q' of Eq. (14), as a λ-return."""
        config = self.config
        q = self.target_critic(data.state, data.obs)
        w, b = self.target_mixer.weights(data.state)
        at_end = linear_mix(expected_value(log_pi, q), w, b)[data.after]
        done = take(q[data.now], data.actions)
        taken = data.padded(linear_mix(done, w[data.now], None if b is None else b[data.now]))
        following = F.pad(implicit_value(taken, config.critic_beta, batch.mask)[:, 1:], (0, 1))
        value = torch.where(F.pad(batch.mask[:, 1:], (0, 1)), following, data.padded(at_end))
        value = damped_at_cut(value, batch.mask, config.trust_at_cut)
        returns = lambda_return(batch.rewards, value, batch.terminated, batch.mask, config.gamma, config.td_lambda)
        return data.steps(returns)

    def _learn_policy(
        self,
        data: FlatBatch,
        log_pi: Float[Tensor, "M N A"],
        q: Float[Tensor, "M N A"],
        w: Float[Tensor, "M N"],
    ) -> Metrics:
        """The first line of Eq. (14)."""
        config, alive = self.config, data.padded(data.alive[data.now])
        score = take(q, data.actions)
        if config.advantage:
            score = score - expected_value(log_pi.detach(), q)
        weight = actor_weights(data.padded(score), data.padded(w), config.beta, alive, inside=config.weigh_inside)
        chosen = data.padded(take(log_pi, data.actions))
        loss = actor_loss(chosen, weight, alive)
        norm = descend(loss, self.optimizers["actor"], config.clip)
        return {
            "actor_loss": loss.detach(),
            "actor_grad_norm": norm,
            "nll": -masked_mean(chosen.detach(), alive),
            # As a share of what was sampled: 1 if all count alike.
            "weights_ess": effective_sample_size(weight[alive]) / alive.sum().clamp(min=1),
        }

    def _q_tot(self, data: FlatBatch, part: slice) -> Float[Tensor, " m"]:
        """Q of the data's joint actions at some of the steps."""
        rows = data.now[part]
        q = self.critic(data.state[rows], data.obs[rows])
        q_tot: Tensor = self.mixer(take(q, data.actions[part]), data.state[rows])
        return q_tot

    def _critic_step(
        self, q_tot: Float[Tensor, " m"], target: Float[Tensor, " m"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """One gradient step on the second line of Eq. (14): its loss and its gradient's norm."""
        loss = critic_loss(q_tot, target)
        norm = descend(loss, self.optimizers["critic"], self.config.clip)
        self.renewal.advance()
        return loss.detach(), norm

    def policy(self, greedy: bool = True) -> SlotPolicy:
        """The actors; ``greedy=False`` samples them, with the config's ``floor``."""
        epsilon = 0.0 if greedy else self.config.floor
        return SlotPolicy(self.spec, [self.actor], np.zeros(self.spec.N, np.int64), greedy=greedy, epsilon=epsilon)
