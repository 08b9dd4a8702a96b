"""QMIX: monotonic value factorisation (Rashid et al. 2018, arXiv:1803.11485), online and offline by one ``update``.

Online it makes the policy pools for discrete actions; offline it is the column "QMIX" of SIT's Table 1. Defaults
are those that PyMARL publishes with the SMAC results.

Differences from the paper and from PyMARL:

* The online network and the target network are each unrolled by one fused GRU call over real observations only
  (PyMARL: a Python loop over time, padding computed and then masked away). The numbers are the same.
* An episode that the horizon cut is not terminal, so its last step bootstraps, from a damped value (``trust_at_cut``,
  docs/horizon.md). SMAC's own PyMARL treats running out of time as terminal; ``horizon_is_terminal``
  brings that back.
* The target networks are copied every ``target_interval`` updates. PyMARL counts 200 episodes, which with its one
  update an episode is the same number.
* Optionally targets over several steps (``td_lambda``), uncorrected for exploration as in PyMARL 2.
* Double Q-learning (PyMARL's default; the paper's Eq. (6) takes the target network's own maximum).
* Offline there is no correction for actions that the data never tried: that is the baseline's point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from offmarl_bench.agent import Agent, Metrics, Phase, check_settings, sampling_phase
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.flat import flatten
from offmarl_bench.loader import Dataset
from offmarl_bench.mixers import Mixer
from offmarl_bench.nn import HIDDEN, Actor, descend
from offmarl_bench.ops import TRUST_AT_CUT, damped_at_cut, hard_update, lambda_return, masked_argmax, take
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.types import Batch, EnvSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class QMIXConfig:
    """Settings of QMIX; defaults are PyMARL's for SMAC."""

    hidden: int = HIDDEN
    """Width of the agents' network."""
    mixer_embed: int = 32
    """Width of the mixing network's hidden layer."""
    hypernet_hidden: int = 64
    """Width of the hidden layer of the two hypernetworks that make the mixing weights."""
    lr: float = 5e-4
    """RMSprop's learning rate."""
    rms_alpha: float = 0.99
    """RMSprop's smoothing of squared gradients."""
    rms_eps: float = 1e-5
    """RMSprop's ε."""
    grad_clip: float = 10.0
    """Greatest norm of the gradient over all parameters together."""
    gamma: float = 0.99
    """Discount γ."""
    trust_at_cut: float = TRUST_AT_CUT
    """Where the horizon cut an episode: share of the last observation's own value in what is bootstrapped, the rest
    is the mean of those that are learnt (``ops.damped_at_cut``)."""
    td_lambda: float = 0.0
    """λ of the target, ``ops.lambda_return``; 0 is the paper's one-step target, PyMARL 2 takes 0.6."""
    target_interval: int = 200
    """Updates between two copies of the networks into their targets."""
    batch_size: int = 32
    """Episodes an update, offline."""
    steps: int = 15_000
    """Updates of offline training (SIT, Table 11: one protocol for all baselines)."""
    play_epsilon: float = 0.05
    """ε of ``policy(greedy=False)``: values are not logits, so the stochastic play of QMIX is ε-greedy."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this before they are learnt: networks of this size start near values of 0 and move
    little an update, so returns of some hundreds are out of their reach. PyMARL's SMAC rewards are scaled already."""
    horizon_is_terminal: bool = False
    """Treat the end of time as the end of the task, as PyMARL does on SMAC."""
    largest_return: float = 20.0
    """Rewards are scaled down to this largest return of the data (``agent.reward_scale``; SMAC's is 20); 0: never."""

    def __post_init__(self) -> None:
        counts = ("hidden", "mixer_embed", "hypernet_hidden", "target_interval", "batch_size", "steps")
        shares = ("trust_at_cut", "gamma", "td_lambda", "play_epsilon")
        check_settings(
            "QMIX",
            self,
            counts=counts,
            positive=("lr", "grad_clip", "reward_scale"),
            shares=shares,
            natural=("largest_return",),
        )


def double_q(
    online: Float[Tensor, "*L A"], target: Float[Tensor, "*L A"], legal: Bool[Tensor, "*L A"] | None
) -> Float[Tensor, "*L"]:
    """The target network's value of the legal action that the online network likes best (arXiv:1509.06461, Eq. (4)).

    By monotonicity the agents' own maxima together are the joint maximum of Eq. (4) of QMIX.
    """
    return take(target, masked_argmax(online, legal))


def last_steps(batch: Batch) -> Bool[Tensor, "B T"]:
    """True on each episode's last step, however it ended."""
    return torch.arange(batch.mask.shape[1], device=batch.mask.device) == batch.lengths.unsqueeze(1) - 1


def td_loss(q_tot: Float[Tensor, "*L"], target: Float[Tensor, "*L"]) -> Float[Tensor, ""]:
    """Mean squared TD error over real steps, Eq. (6)."""
    return (q_tot - target).square().mean()


class QMIX(Agent):
    """Agents share one recurrent Q-network that sees the observation, the last action and the agent's id."""

    Config = QMIXConfig
    policy_parts = ("actor",)
    config: QMIXConfig

    def __init__(self, spec: EnvSpec, config: QMIXConfig) -> None:
        super().__init__(spec, config)
        if not spec.discrete:
            raise SpecMismatch(f"{spec.id}: QMIX needs discrete actions; for continuous ones use 'facmac'")
        self.actor, self.target_actor = (Actor(spec.O, spec.A, config.hidden, n_ids=spec.N) for _ in range(2))
        self.mixer, self.target_mixer = (
            Mixer(spec.N, spec.S, config.mixer_embed, config.hypernet_hidden) for _ in range(2)
        )
        self._copy_targets()
        self.target_actor.requires_grad_(False)
        self.target_mixer.requires_grad_(False)
        self._learnt = [*self.actor.parameters(), *self.mixer.parameters()]
        self.optimizers["learner"] = torch.optim.RMSprop(
            self._learnt, lr=config.lr, alpha=config.rms_alpha, eps=config.rms_eps, foreach=True
        )
        self.updates = 0

    def _copy_targets(self) -> None:
        hard_update(self.target_actor, self.actor)
        hard_update(self.target_mixer, self.mixer)

    def get_extra_state(self) -> Int[Tensor, ""]:
        """The number of updates, so that a resumed run copies its targets when an unbroken one would."""
        return torch.tensor(self.updates)

    def set_extra_state(self, state: Int[Tensor, ""]) -> None:
        """Inverse of ``get_extra_state``."""
        self.updates = int(state)

    def phases(self, dataset: Dataset) -> list[Phase]:
        """See Agent: one phase, ``learn``."""
        own, theirs = self.spec, dataset.spec
        if (own.N, own.O, own.S, own.A, own.discrete) != (theirs.N, theirs.O, theirs.S, theirs.A, theirs.discrete):
            raise SpecMismatch(f"QMIX was built for {own.id}, but the dataset is of {theirs.id}: their sizes differ")
        config = self.config
        size, top = config.batch_size, config.largest_return
        return [sampling_phase("learn", config.steps, dataset, size, self.update, self.device, top)]

    def update(self, batch: Batch) -> Metrics:
        """One gradient step on a batch of whole episodes, in the order of Section 4.2.

        Works on real observations and steps only, laid out flat: no padding, no masks.
        """
        config, data = self.config, flatten(batch)
        q = data.unroll(self.actor)
        q_tot = self.mixer(take(q[data.now], data.actions), data.state[data.now])
        with torch.no_grad():
            target_q = data.unroll(self.target_actor)
            legal = None if data.legal is None else data.legal[data.after]
            future = self.target_mixer(double_q(q[data.after], target_q[data.after], legal), data.state[data.after])
            ended = last_steps(batch) if config.horizon_is_terminal else batch.terminated
            value = data.padded(future)
            value = damped_at_cut(value, batch.mask, config.trust_at_cut)
            rewards = config.reward_scale * batch.rewards
            target = lambda_return(rewards, value, ended, batch.mask, config.gamma, config.td_lambda)
            target = data.steps(target)
        loss = td_loss(q_tot, target)
        norm = descend(loss, self.optimizers["learner"], config.grad_clip)
        self.updates += 1
        if self.updates % config.target_interval == 0:
            self._copy_targets()
        return {
            "loss": loss.detach(),
            "grad_norm": norm,
            "q_tot": q_tot.detach().mean(),
            "target": target.mean(),
        }

    def policy(self, greedy: bool = True) -> SlotPolicy:
        """See Agent. Argmax of the values; ``greedy=False`` plays ε-greedily with the config's ``play_epsilon``."""
        epsilon = 0.0 if greedy else self.config.play_epsilon
        return SlotPolicy(self.spec, [self.actor], np.zeros(self.spec.N, np.int64), epsilon=epsilon)
