"""CFCQL: counterfactual conservative Q-learning (Shao et al. 2023, arXiv:2309.12696), discrete actions.

As MACQL it pushes down values of what the data did not do, but for one agent at a time while the others keep the data's
actions, and the agents' terms are averaged with weights λ_i(s), so that the pressure does not grow with their number.

Differences from the paper and from its code (``discrete/src/learners/cq_learner.py``), or choices:

* λ is a softmax over living agents of temperature · D_KL(μ_i ‖ β_i): μ_i the softmax over an agent's counterfactual Q,
  β_i the cloned behaviour policy. Positive temperatures (the code) hold those most who strayed farthest, 0 all alike.
* α and the temperature were chosen for each dataset in the code's table (α from 0.1 to 50); here one pair stands for
  all: what it lists for replayed data of 2s3z. ``--set alpha=…``.
* β is cloned for a fixed number of updates (the code: until its loss stalls), RMSprop and 32 episodes a batch as for
  all agents here, targets are copied every ``target_interval`` updates.
* The λ-return of double Q-learning's targets is not corrected for what others did, as in the code (0.6; PyMARL 2).
* All N · A counterfactual mixes are one pass (``mixers.monotonic_mix_each``); the code mixes once for each.
* Illegal actions are left out of the log-sum and of D_KL, dead agents and padding out of all.
* An episode that the horizon cut bootstraps from a damped value (``trust_at_cut``, docs/horizon.md).
* Rewards are scaled down to SMAC's range of returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from baselines.behaviour import PART, behaviour_phase
from offmarl_bench.agent import Agent, Metrics, Phase, check_settings, sampling_phase
from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.flat import FlatBatch, flatten
from offmarl_bench.mixers import Mixer
from offmarl_bench.nn import HIDDEN, Actor, Renewal, descend, frozen_copy
from offmarl_bench.ops import TRUST_AT_CUT, damped_at_cut, lambda_return, masked_argmax, masked_logits, take
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.types import Batch, EnvSpec

if TYPE_CHECKING:
    from offmarl_bench.loader import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class CFCQLConfig:
    """Settings of CFCQL."""

    alpha: float = 5.0
    """Weight of the conservative term."""
    temperature: float = 0.1
    """How unevenly the agents share it; 0: evenly."""
    td_lambda: float = 0.6
    """λ of the targets; 0 is the one-step target."""
    hidden: int = HIDDEN
    """Width of the values' and of the behaviour policy's network."""
    mixer_embed: int = 32
    """Width of the mixing network's hidden layer."""
    hypernet_hidden: int = 64
    """Width of the hidden layer of the hypernetworks that make the mixing weights."""
    lr: float = 5e-4
    """Learning rate of the values and of the behaviour policy."""
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
    behaviour_steps: int = 15_000
    """Gradient steps of the behaviour policy."""
    steps: int = 15_000
    """Gradient steps of the values."""
    play_epsilon: float = 0.05
    """ε of ``policy(greedy=False)``; values are not logits, so the stochastic play is ε-greedy."""
    largest_return: float = 20.0
    """Rewards are scaled down to this largest return of the data (``agent.reward_scale``; SMAC's is 20); 0: never."""

    def __post_init__(self) -> None:
        counts = ("hidden", "mixer_embed", "hypernet_hidden", "target_interval", "batch_size")
        check_settings(
            "CFCQL",
            self,
            counts=(*counts, "behaviour_steps", "steps"),
            positive=("lr", "rms_alpha", "rms_eps", "clip"),
            shares=("trust_at_cut", "gamma", "td_lambda", "play_epsilon"),
            natural=("largest_return", "alpha"),
        )
        if not np.isfinite(self.temperature):
            raise FormatError(f"CFCQL: temperature is {self.temperature!r}, expected a finite number")


def divergence(
    log_mu: Float[Tensor, "*L A"], log_beta: Float[Tensor, "*L A"], legal: Bool[Tensor, "*L A"]
) -> Float[Tensor, "*L"]:
    """D_KL(μ ‖ β) over legal actions."""
    gap = (log_mu - log_beta).masked_fill(~legal, 0.0)
    return (log_mu.exp() * gap).sum(-1)


def shares(strayed: Float[Tensor, "*L N"], temperature: float, alive: Bool[Tensor, "*L N"]) -> Float[Tensor, "*L N"]:
    """λ_i(s): a softmax over living agents of temperature · D_KL(μ_i ‖ β_i); 0 for the dead."""
    nobody = ~alive.any(-1, keepdim=True)
    return (temperature * strayed).masked_fill(~alive & ~nobody, -torch.inf).softmax(-1) * alive


def counterfactual_gap(
    each: Float[Tensor, "*L N A"], q_tot: Float[Tensor, "*L"], lam: Float[Tensor, "*L N"]
) -> Float[Tensor, "*L"]:
    """Σ_i λ_i [log Σ_a exp Q(τ, (a, a_−i)) − Q(τ, a)] of every step: what is pushed down.

    Args:
        each: Q with agent i's action replaced, −inf where that is illegal.
        q_tot: Q of the data's actions.
        lam: λ_i(s); they sum to one where anybody lives.
    """
    return (lam * (each.logsumexp(-1) - q_tot.unsqueeze(-1))).sum(-1)


def cfcql_loss(
    gap: Float[Tensor, "*L"], q_tot: Float[Tensor, "*L"], y: Float[Tensor, "*L"], alpha: float
) -> Float[Tensor, ""]:
    """Mean over real steps of α · gap + ½ (y − Q)²."""
    return (alpha * gap + (y - q_tot).square() / 2).mean()


class CFCQL(Agent):
    """Agents share one recurrent Q-network and one behaviour policy; both see observation, last action and id."""

    Config = CFCQLConfig
    policy_parts = ("actor",)
    config: CFCQLConfig

    def __init__(self, spec: EnvSpec, config: CFCQLConfig) -> None:
        super().__init__(spec, config)
        if not spec.discrete:
            raise SpecMismatch(f"{spec.id}: CFCQL needs discrete actions here; for continuous ones use 'macql'")
        self.behaviour, self.actor = (Actor(spec.O, spec.A, config.hidden, n_ids=spec.N) for _ in range(2))
        self.mixer = Mixer(spec.N, spec.S, config.mixer_embed, config.hypernet_hidden)
        self.target_actor, self.target_mixer = frozen_copy(self.actor), frozen_copy(self.mixer)
        self.renewal = Renewal(config.target_interval, (self.target_actor, self.actor), (self.target_mixer, self.mixer))
        learnt = {
            PART: [*self.behaviour.parameters()],
            "values": [*self.actor.parameters(), *self.mixer.parameters()],
        }
        self.optimizers = {
            name: torch.optim.RMSprop(p, lr=config.lr, alpha=config.rms_alpha, eps=config.rms_eps, foreach=True)
            for name, p in learnt.items()
        }

    def phases(self, dataset: Dataset) -> list[Phase]:
        """Two phases: ``imitate`` learns β, ``learn`` the values with β as it is."""
        config, device, size = self.config, self.device, self.config.batch_size
        return [
            behaviour_phase(dataset, config, self.behaviour, self.optimizers[PART], device),
            sampling_phase("learn", config.steps, dataset, size, self.learn, device, config.largest_return),
        ]

    def learn(self, batch: Batch) -> Metrics:
        """One gradient step of the values."""
        config, data = self.config, flatten(batch)
        q = data.unroll(self.actor)
        q_now, state = q[data.now], data.state[data.now]
        taken = take(q_now, data.actions)
        q_tot = self.mixer(taken, state)
        legal = torch.ones_like(q_now, dtype=torch.bool) if data.legal is None else data.legal[data.now]
        each = masked_logits(self.mixer.each(q_now, taken, state), legal)
        with torch.no_grad():
            y = self._target(batch, data, q)
            log_beta = masked_logits(data.unroll(self.behaviour)[data.now], legal).log_softmax(-1)
            strayed = divergence(each.log_softmax(-1), log_beta, legal)
            lam = shares(strayed, config.temperature, data.alive[data.now])
        gap = counterfactual_gap(each, q_tot, lam)
        loss = cfcql_loss(gap, q_tot, y, config.alpha)
        norm = descend(loss, self.optimizers["values"], config.clip)
        self.renewal.advance()
        return {
            "loss": loss.detach(),
            "grad_norm": norm,
            "gap": gap.detach().mean(),
            "q_tot": q_tot.detach().mean(),
            "target": y.mean(),
            "strayed": strayed.mean(),
            "largest_share": lam.amax(-1).mean(),
        }

    def _target(self, batch: Batch, data: FlatBatch, q: Float[Tensor, "K N A"]) -> Float[Tensor, " M"]:
        """The λ-return of the target network's value of what the online network would choose."""
        config, after = self.config, data.after
        best = masked_argmax(q[after], None if data.legal is None else data.legal[after])
        future = self.target_mixer(take(data.unroll(self.target_actor)[after], best), data.state[after])
        value = data.padded(future)
        value = damped_at_cut(value, batch.mask, config.trust_at_cut)
        rewards, ended = batch.rewards, batch.terminated
        return data.steps(lambda_return(rewards, value, ended, batch.mask, config.gamma, config.td_lambda))

    def policy(self, greedy: bool = True) -> SlotPolicy:
        """Argmax of the values; ``greedy=False`` plays ε-greedily with the config's ``play_epsilon``."""
        epsilon = 0.0 if greedy else self.config.play_epsilon
        return SlotPolicy(self.spec, [self.actor], np.zeros(self.spec.N, np.int64), epsilon=epsilon)
