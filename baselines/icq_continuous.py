"""ICQ for continuous actions (Yang et al. 2021, arXiv:2106.03400; SIT paper, arXiv:2211.15612, Eq. (14)).

The equations, the settings and the choices are those of ``icq``; what differs because an action is a vector:

* The policy is a tanh-Gaussian (``continuous``), imitated with weights: −w log π of the data's actions.
* The critic takes the action as an input, beside state, observation and agent id, and is feed-forward like the
  discrete one. Like all networks for continuous actions it reads huge observations tamed (``continuous.tamed``).
* E_π Q, in the advantage and where the horizon cut an episode, is averaged over ``value_samples`` actions of the
  policy: 4, as in critic-regularised regression (Wang et al. 2020, arXiv:2006.15134).
* There is no ``floor``: a density needs none, and uniform noise on every joint is no robot's play.
* The authors' own continuous code is for one agent only (ICQ_softmax, ICQ_mu: feed-forward, Adam, β = 600, weights
  clipped at 1, r + γ Q' − Q for an advantage); the preset ``official`` follows their code for teams (ICQ-MA).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from baselines import draws
from baselines.icq_config import ICQConfig
from baselines.icq_equations import actor_loss, actor_weights, critic_loss, implicit_value
from offmarl_bench.agent import Agent, Metrics, Phase, sampling_phase
from offmarl_bench.continuous import ContinuousActor, TanhGaussian, real_components, tamed, tanh_log_prob, tanh_sample
from offmarl_bench.continuous_policy import ContinuousSlotPolicy
from offmarl_bench.flat import FlatBatch, flatten
from offmarl_bench.nn import LinearMixer, Renewal, descend, frozen_copy, linear_mix
from offmarl_bench.ops import damped_at_cut, effective_sample_size, lambda_return, masked_mean
from offmarl_bench.types import Batch, EnvSpec

if TYPE_CHECKING:
    from offmarl_bench.loader import Dataset


class Critic(nn.Module):
    """Q_i(s, o_i, a_i) of all agents, feed-forward.

    The layer on [state, observation, id, action] is computed in parts: the state's once for all agents, all but the
    action's once for all candidate actions.
    """

    def __init__(self, spec: EnvSpec, hidden: int) -> None:
        super().__init__()
        self.sizes = [spec.S, spec.O, spec.N, spec.A]
        self.first, self.second = nn.Linear(sum(self.sizes), hidden), nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 1)

    def context(self, state: Float[Tensor, "K S"], obs: Float[Tensor, "K N O"]) -> Float[Tensor, "K N H"]:
        """The first layer's sum without the action's part."""
        by_state, by_obs, by_id, _ = torch.split(self.first.weight, self.sizes, 1)
        return F.linear(obs, by_obs) + F.linear(state, by_state, self.first.bias).unsqueeze(1) + by_id.t()

    def value(self, context: Float[Tensor, "*#L H"], actions: Float[Tensor, "*#L A"]) -> Float[Tensor, "*L"]:
        """Q_i of actions whose padded components are 0; (K, N, H) with (C, K, N, A) values C actions each."""
        x = F.relu(context + F.linear(actions, self.first.weight[:, -self.sizes[-1] :]))
        q: Tensor = self.out(F.relu(self.second(x)))
        return q.squeeze(-1)


class ContinuousICQ(Agent):
    """Agents share one recurrent actor and one critic that sees the state; both are told which agent it is."""

    Config = ICQConfig
    policy_parts = ("actor",)
    config: ICQConfig

    def __init__(self, spec: EnvSpec, config: ICQConfig) -> None:
        super().__init__(spec, config)
        self.actor = ContinuousActor(spec.O, spec.A, config.hidden, n_ids=spec.N)
        self.critic = Critic(spec, config.critic_hidden)
        self.mixer = LinearMixer(
            spec.N, spec.S, config.mixer_embed, normalise=config.normalise_mixer, bias=config.mixer_bias
        )
        self.target_critic, self.target_mixer = frozen_copy(self.critic), frozen_copy(self.mixer)
        self.renewal = Renewal(
            config.target_interval, (self.target_critic, self.critic), (self.target_mixer, self.mixer)
        )
        self.register_buffer("real", real_components(spec), persistent=False)
        self.real: Bool[Tensor, "N A"]
        learnt = {
            "actor": (config.actor_lr, [*self.actor.parameters()]),
            "critic": (config.critic_lr, [*self.critic.parameters(), *self.mixer.parameters()]),
        }
        self.optimizers = {
            name: torch.optim.RMSprop(p, lr=lr, alpha=config.rms_alpha, eps=config.rms_eps)
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
        law = self.actor.law(self.actor.net.packed(data.inputs(self.actor), data.counts))  # which tames by itself
        data = replace(data, state=tamed(data.state), obs=tamed(data.obs))
        fixed, now = TanhGaussian(law.mean.detach(), law.log_std.detach()), data.now
        target = self._target(batch, data, fixed)
        state, obs = data.state[now], data.obs[now]
        with torch.set_grad_enabled(not in_turn):
            context = self.critic.context(state, obs)
            q = self.critic.value(context, data.actions)
            w, b = self.mixer.weights(state)
        score = q.detach()
        if config.advantage:
            score = score - self._expected(self.critic, context.detach(), TanhGaussian(*(x[now] for x in fixed)))
        log_pi = tanh_log_prob(TanhGaussian(*(x[now] for x in law)), data.actions, self.real)
        actor_metrics = self._learn_policy(data, log_pi, score, w.detach())
        if in_turn:
            steps = [self._critic_step(self._q_tot(data, part), target[part]) for part in data.each_time()]
        else:
            steps = [self._critic_step(linear_mix(q, w, b), target)]
        loss, norm = (torch.stack(x).mean() for x in zip(*steps, strict=True))
        return {
            **actor_metrics,
            "critic_loss": loss,
            "critic_grad_norm": norm,
            "target": target.mean(),
            "log_std": masked_mean(fixed.log_std, self.real),
        }

    @torch.no_grad()
    def _expected(self, critic: Critic, context: Float[Tensor, "K N H"], law: TanhGaussian) -> Float[Tensor, "K N"]:
        """E_π Q_i, averaged over ``value_samples`` actions of the policy."""
        noise = draws.normal(self.config.value_samples, *law.mean.shape, device=context.device)
        return critic.value(context, tanh_sample(law, noise, self.real)[0]).mean(0)

    @torch.no_grad()
    def _target(self, batch: Batch, data: FlatBatch, law: TanhGaussian) -> Float[Tensor, " M"]:
        """The target r + γ ρ Q' of Eq. (14), as a λ-return."""
        config, critic, now = self.config, self.target_critic, data.now
        state = data.state[now]
        q_tot = self.target_mixer(critic.value(critic.context(state, data.obs[now]), data.actions), state)
        taken = data.padded(q_tot)
        following = F.pad(implicit_value(taken, config.critic_beta, batch.mask)[:, 1:], (0, 1))
        # Where no step follows, the last observation's value under the policy stands in: one row for each episode.
        last = torch.ones(len(data.obs), dtype=torch.bool, device=now.device).index_fill(0, now, False).nonzero()[:, 0]
        state = data.state[last]
        context = critic.context(state, data.obs[last])
        value = self.target_mixer(self._expected(critic, context, TanhGaussian(*(x[last] for x in law))), state)
        at_end = data.padded(value.new_zeros(len(data.obs)).index_copy(0, last, value)[data.after])
        value = torch.where(F.pad(batch.mask[:, 1:], (0, 1)), following, at_end)
        value = damped_at_cut(value, batch.mask, config.trust_at_cut)
        returns = lambda_return(batch.rewards, value, batch.terminated, batch.mask, config.gamma, config.td_lambda)
        return data.steps(returns)

    def _learn_policy(
        self, data: FlatBatch, log_pi: Float[Tensor, "M N"], score: Float[Tensor, "M N"], w: Float[Tensor, "M N"]
    ) -> Metrics:
        """The first line of Eq. (14)."""
        config, alive = self.config, data.padded(data.alive[data.now])
        weight = actor_weights(data.padded(score), data.padded(w), config.beta, alive, inside=config.weigh_inside)
        chosen = data.padded(log_pi)
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
        state = data.state[rows]
        q_tot: Tensor = self.mixer(
            self.critic.value(self.critic.context(state, data.obs[rows]), data.actions[part]), state
        )
        return q_tot

    def _critic_step(
        self, q_tot: Float[Tensor, " m"], target: Float[Tensor, " m"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """One gradient step on the second line of Eq. (14): its loss and its gradient's norm."""
        loss = critic_loss(q_tot, target)
        norm = descend(loss, self.optimizers["critic"], self.config.clip)
        self.renewal.advance()
        return loss.detach(), norm

    def policy(self, greedy: bool = True) -> ContinuousSlotPolicy:
        """The actors' modes; ``greedy=False`` samples them."""
        return ContinuousSlotPolicy(self.spec, [self.actor], np.zeros(self.spec.N, np.int64), greedy=greedy)
