"""MACQL: conservative Q-learning for teams, as in the SIT paper (arXiv:2211.15612, Appendix B, Eq. (13)).

Values of actions that the data did not take are pushed down, those of the data's actions up. The single-agent
original is Kumar et al. (2020, arXiv:2006.04779); the mixer is that of ICQ (arXiv:2106.03400).

Differences from the paper, or choices where it is silent:

* Eq. (13) counts the mixer's bias b(s) once per agent in its log-sums and once in Q, so it pushes b down by N − 1 times
  β without end, whatever the actions. By default b is left out of both; ``bias_in_gap`` (preset ``paper``) prints it.
* Illegal actions are left out of the log-sum (−inf; a 0 would count as e^0), dead agents out of the sum over agents.
* "n-step off-policy estimation (e.g. Tree Backup)" is the tree backup of Precup et al. (2000) with a λ, along the whole
  episode, for the greedy joint policy: the trace ends where any agent did something else. The paper gives neither n
  nor λ; 0.8 is Table 11's only λ (ICQ's).
* Double Q-learning: the online network chooses the greedy action, the target network values it. The ``paper`` preset
  takes the target network's own choice.
* One network for all agents with a one-hot agent id in its input, as in PyMARL and the official code of ICQ.
* "RMS" is RMSprop with PyMARL's α = 0.99 and ε = 1e-5; "training epoch 15000" is gradient steps on 32 episodes.
* An episode that the horizon cut bootstraps from a damped value (``trust_at_cut``, docs/horizon.md).
* The form for continuous actions is ``macql_continuous``.
* Rewards are scaled down to SMAC's range of returns, on which all settings were tuned (paper: as they come).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from baselines.macql_config import MACQLConfig as MACQLConfig
from baselines.macql_continuous import ContinuousMACQL
from baselines.macql_equations import cql_loss, team_gap
from offmarl_bench.agent import Agent, Metrics, Phase, sampling_phase
from offmarl_bench.flat import FlatBatch, flatten
from offmarl_bench.nn import Actor, LinearMixer, Renewal, descend, frozen_copy, linear_mix
from offmarl_bench.ops import backup, damped_at_cut, masked_argmax, masked_logits, take
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.types import Batch, EnvSpec

if TYPE_CHECKING:
    from offmarl_bench.loader import Dataset


def tree_backup(
    reward: Float[Tensor, "B T"],
    value: Float[Tensor, "B T"],
    taken: Float[Tensor, "B T"],
    trace: Bool[Tensor, "B T"],
    terminated: Bool[Tensor, "B T"],
    gamma: float,
    lam: float,
) -> Float[Tensor, "B T"]:
    """y_CQL of Eq. (13): G_t = r_t + γ (1 − terminated_t) [V_{t+1} + λ π(a_{t+1}) (G_{t+1} − Q(a_{t+1}))].

    Precup, Sutton and Singh (2000) for a greedy policy π, whose probability of the data's joint action is 0 or 1.

    Args:
        reward: team reward of each step t.
        value: V(s_{t+1}) = max_a Q'(s_{t+1}, a).
        taken: Q'(s_{t+1}, a_{t+1}) of the data's joint action; anything where there is none.
        trace: whether step t + 1 exists and its joint action is greedy.
        terminated: True on a last step that ended by itself.
        gamma: discount γ.
        lam: λ.
    """
    return backup(reward, value, taken, trace, terminated, gamma, lam)


def conservative_gap(
    w: Float[Tensor, "*L N"],
    q: Float[Tensor, "*L N A"],
    b: Float[Tensor, "*L"] | None,
    actions: Int[Tensor, "*L N"],
    legal: Bool[Tensor, "*L N A"] | None,
    alive: Bool[Tensor, "*L N"],
) -> Float[Tensor, "*L"]:
    """Σ_i log Σ_{a_i} exp(w_i Q_i(τ_i, a_i) + b) − Q(τ, a): the first line of Eq. (13) for each step.

    Args:
        w: weights of the mixer.
        q: values of every action.
        b: bias of the mixer; None leaves it out of both terms, then the gap is never negative.
        actions: the data's.
        legal: the log-sum is over legal actions.
        alive: agents that are counted, in both terms.
    """
    scaled = w.unsqueeze(-1) * q
    soft = torch.logsumexp(masked_logits(scaled, legal), -1)
    return team_gap(soft, take(scaled, actions), b, alive)


class MACQL(Agent):
    """Agents share one recurrent Q-network that sees the observation, the last action and the agent's id.

    The form for continuous actions is ``macql_continuous.ContinuousMACQL``.
    """

    Config = MACQLConfig
    policy_parts = ("actor",)
    config: MACQLConfig

    @classmethod
    def form(cls, spec: EnvSpec) -> type[Agent]:
        """See Agent: this class, or its sibling for continuous actions."""
        return cls if spec.discrete else ContinuousMACQL

    def __init__(self, spec: EnvSpec, config: MACQLConfig) -> None:
        super().__init__(spec, config)
        self.actor = Actor(spec.O, spec.A, config.hidden, n_ids=spec.N)
        self.mixer = LinearMixer(spec.N, spec.S, config.mixer_embed)
        self.target_actor, self.target_mixer = frozen_copy(self.actor), frozen_copy(self.mixer)
        self.renewal = Renewal(config.target_interval, (self.target_actor, self.actor), (self.target_mixer, self.mixer))
        learnt = [*self.actor.parameters(), *self.mixer.parameters()]
        self.optimizers = {
            "values": torch.optim.RMSprop(
                learnt, lr=config.lr, alpha=config.rms_alpha, eps=config.rms_eps, foreach=True
            )
        }

    def phases(self, dataset: Dataset) -> list[Phase]:
        """One phase: ``learn``."""
        config = self.config
        size, top = config.batch_size, config.largest_return
        return [sampling_phase("learn", config.steps, dataset, size, self.update, self.device, top)]

    def update(self, batch: Batch) -> Metrics:
        """One gradient step on Eq. (13)."""
        config, data = self.config, flatten(batch)
        q = data.unroll(self.actor)
        w, b = self.mixer.weights(data.state[data.now])
        q_now = q[data.now]
        q_tot = linear_mix(take(q_now, data.actions), w, b)
        with torch.no_grad():
            target_q = data.unroll(self.target_actor)
            greedy = masked_argmax(q if config.double_q else target_q, data.legal)
            y = data.steps(self._backup(batch, data, target_q, greedy))
        gap = conservative_gap(
            w,
            q_now,
            b if config.bias_in_gap else None,
            data.actions,
            None if data.legal is None else data.legal[data.now],
            data.alive[data.now],
        )
        loss = cql_loss(gap, q_tot, y, config.beta_cql)
        norm = descend(loss, self.optimizers["values"], config.clip)
        self.renewal.advance()
        return {
            "loss": loss.detach(),
            "grad_norm": norm,
            "gap": gap.detach().mean(),
            "q_tot": q_tot.detach().mean(),
            "target": y.mean(),
            "greedy_share": (greedy[data.now] == data.actions).all(-1).float().mean(),
        }

    def _backup(
        self, batch: Batch, data: FlatBatch, target_q: Float[Tensor, "K N A"], greedy: Int[Tensor, "K N"]
    ) -> Float[Tensor, "B T"]:
        """y_CQL of every step."""
        w, b = self.target_mixer.weights(data.state)
        value = data.padded(linear_mix(take(target_q, greedy), w, b)[data.after])
        value = damped_at_cut(value, batch.mask, self.config.trust_at_cut)
        done = take(target_q[data.now], data.actions)
        taken = linear_mix(done, w[data.now], None if b is None else b[data.now])
        agrees = (greedy[data.now] == data.actions).all(-1)
        return tree_backup(
            batch.rewards,
            value,
            F.pad(data.padded(taken)[:, 1:], (0, 1)),
            F.pad(data.padded(agrees)[:, 1:], (0, 1)),
            batch.terminated,
            self.config.gamma,
            self.config.backup_lambda,
        )

    def policy(self, greedy: bool = True) -> SlotPolicy:
        """See Agent. Argmax of the values; ``greedy=False`` plays ε-greedily with the config's ``play_epsilon``."""
        epsilon = 0.0 if greedy else self.config.play_epsilon
        return SlotPolicy(self.spec, [self.actor], np.zeros(self.spec.N, np.int64), epsilon=epsilon)
