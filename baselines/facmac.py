"""FacMAC: factored multi-agent centralised policy gradients (Peng et al. 2021, arXiv:2003.06709), online and offline.

QMIX's sibling for continuous actions: every agent has a value Q_i(τ_i, a_i), QMIX's monotonic network mixes them with
the state into Q_tot, and deterministic actors climb ∂Q_tot/∂θ where the actions of ALL agents come from their present
policies (the paper's point: MADDPG takes the teammates' from the replay). Online it makes the policy pools for
continuous actions; offline it is the naive column beside QMIX's in SIT's Table 1.

Differences from the paper and its official code (github.com/oxwhirl/facmac), or choices where SIT is silent:

* The paper offers monotonic and free mixing; monotonic is what its configuration for MaMuJoCo says, and ours.
* SIT's Table 11 has one protocol for all baselines: recurrent networks of 64, rate 5e-4, norm 10, batches of 32
  episodes. Official: plain networks of 400–400, 1e-3, norm 0.5, 100 transitions. Both forms are here (``recurrent``).
  The optimizer is Adam, as there. Agents share their networks and show an id.
* Targets follow with τ = 0.005 (official: 0.001), for we take far fewer updates.
* Optional, off by default, used online (``offmarl_bench.online``): two critics whose smaller value is believed, noise
  on the target's actions, an actor that waits (TD3, arXiv:1802.09477). Without them values outgrow what is earned.
* An episode cut by the horizon bootstraps from a damped value (``trust_at_cut``, docs/horizon.md).
* Offline there is no correction for actions that the data never tried: that is the baseline's point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from baselines.draws import normal
from offmarl_bench.agent import Agent, Metrics, Phase, check_settings, sampling_phase
from offmarl_bench.continuous import DETERMINISTIC, ContinuousActor, ContinuousCritic, only_real, real_components, tamed
from offmarl_bench.continuous_policy import ContinuousSlotPolicy
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.flat import FlatBatch, flatten
from offmarl_bench.loader import Dataset
from offmarl_bench.mixers import Mixer
from offmarl_bench.nn import HIDDEN, descend, frozen_copy
from offmarl_bench.ops import TRUST_AT_CUT, damped_at_cut, lambda_return, polyak
from offmarl_bench.types import Batch, EnvSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FacMACConfig:
    """Settings of FacMAC; the defaults are those of the offline column."""

    hidden: int = HIDDEN
    """Width of the agents' networks (Table 11)."""
    recurrent: bool = True
    """Networks with a GRU over the history that see the last action (Table 11), or plain ones of the observation."""
    critics: int = 1
    """Number of critics; with two or more the smallest Q_tot is the target (TD3)."""
    mixer_embed: int = 64
    """Width of the mixing network's hidden layer (official)."""
    hypernet_hidden: int = 64
    """Width of the hidden layer of the two hypernetworks that make the mixing weights (official)."""
    actor_lr: float = 5e-4
    """Adam's learning rate for the actor."""
    critic_lr: float = 5e-4
    """Adam's learning rate for critics and mixers."""
    grad_clip: float = 10.0
    """Greatest norm of each gradient."""
    gamma: float = 0.99
    """Discount γ."""
    trust_at_cut: float = TRUST_AT_CUT
    """Where the horizon cut an episode: share of the last observation's own value in what is bootstrapped, the rest
    is the mean of those that are learnt (``ops.damped_at_cut``)."""
    td_lambda: float = 0.0
    """λ of the target, ``ops.lambda_return``; 0 is the paper's one-step target."""
    tau: float = 0.005
    """Share of the new weights that goes into the targets after each update of the actor."""
    action_penalty: float = 1e-3
    """Factor of the mean squared output before tanh in the actor's loss (official: of the action itself, which cannot
    pull a saturated tanh back)."""
    target_noise: float = 0.0
    """Standard deviation of the noise on the target's actions (TD3: 0.2)."""
    target_noise_clip: float = 0.5
    """Greatest magnitude of that noise (TD3)."""
    actor_delay: int = 1
    """Updates of the critics for one of the actor (TD3: 2)."""
    batch_size: int = 32
    """Episodes an update, offline (Table 11)."""
    steps: int = 15_000
    """Updates of offline training (Table 11: one protocol for all baselines)."""
    play_noise: float = 0.1
    """Standard deviation of the noise of ``policy(greedy=False)`` (the paper's exploration)."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this before they are learnt."""
    largest_return: float = 20.0
    """Rewards are scaled down to this largest return of the data (``agent.reward_scale``); 0: never."""

    def __post_init__(self) -> None:
        check_settings(
            "FacMAC",
            self,
            counts=("hidden", "critics", "mixer_embed", "hypernet_hidden", "actor_delay", "batch_size", "steps"),
            positive=("actor_lr", "critic_lr", "grad_clip", "reward_scale"),
            shares=("trust_at_cut", "gamma", "tau", "td_lambda"),
            natural=("action_penalty", "target_noise", "target_noise_clip", "play_noise", "largest_return"),
        )


def smoothed(
    actions: Float[Tensor, "*L A"], noise: Float[Tensor, "*L A"], std: float, clip: float
) -> Float[Tensor, "*L A"]:
    """The target's actions with clipped noise, within [−1, 1]: clip(a + clip(std · noise, ±clip), ±1).

    Fujimoto et al. (2018, arXiv:1802.09477), Eq. (14).
    """
    return (actions + (std * noise).clamp(-clip, clip)).clamp(-1.0, 1.0)


def actor_loss(q_tot: Float[Tensor, "*L"], raw: Float[Tensor, "*L N A"], penalty: float) -> Float[Tensor, ""]:
    """−mean Q_tot(s, μ_1(τ_1), …, μ_N(τ_N)) + penalty · mean raw², μ = tanh(raw): Eq. (7) of arXiv:2003.06709."""
    return penalty * raw.square().mean() - q_tot.mean()


def read(network: ContinuousActor | ContinuousCritic, data: FlatBatch, rows: Int[Tensor, " M"]) -> Tensor:
    """A network's outputs at these observations; a plain one computes no others."""
    x = data.inputs(network)
    return network.net.packed(x, data.counts)[rows] if network.recurrent else network.net(x[rows])


class TeamCritic(nn.Module):
    """Q_tot(s, τ, a): the agents' shared Q_i and the mixer."""

    def __init__(self, spec: EnvSpec, config: FacMACConfig) -> None:
        super().__init__()
        self.own = ContinuousCritic(
            spec.O, spec.A, config.hidden, n_ids=spec.N, last_action=config.recurrent, recurrent=config.recurrent
        )
        self.mixer = Mixer(spec.N, spec.S, config.mixer_embed, config.hypernet_hidden)

    def forward(self, data: FlatBatch, rows: Int[Tensor, " M"], actions: Float[Tensor, "M N A"]) -> Float[Tensor, " M"]:
        """Value of these joint actions at these observations."""
        q = self.own.value(read(self.own, data, rows), actions)
        total: Tensor = self.mixer(q, tamed(data.state[rows]))
        return total


class FacMAC(Agent):
    """Agents share one deterministic actor and one critic that see the observation and the agent's id."""

    Config = FacMACConfig
    policy_parts = ("actor",)
    config: FacMACConfig

    def __init__(self, spec: EnvSpec, config: FacMACConfig) -> None:
        super().__init__(spec, config)
        if spec.discrete:
            raise SpecMismatch(f"{spec.id}: FacMAC needs continuous actions; for discrete ones use 'qmix'")
        self.actor = ContinuousActor(
            spec.O,
            spec.A,
            config.hidden,
            n_ids=spec.N,
            last_action=config.recurrent,
            kind=DETERMINISTIC,
            recurrent=config.recurrent,
        )
        self.critics = nn.ModuleList(TeamCritic(spec, config) for _ in range(config.critics))
        self.target_actor, self.target_critics = frozen_copy(self.actor), frozen_copy(self.critics)
        self.register_buffer("real", real_components(spec), persistent=False)
        self.real: Bool[Tensor, "N A"]
        self.optimizers = {
            "actor": torch.optim.Adam(self.actor.parameters(), lr=config.actor_lr, fused=True),
            "critics": torch.optim.Adam(self.critics.parameters(), lr=config.critic_lr, fused=True),
        }
        self.updates = 0

    def get_extra_state(self) -> Int[Tensor, ""]:
        """The number of updates, so that a resumed run trains its actor when an unbroken one would."""
        return torch.tensor(self.updates)

    def set_extra_state(self, state: Int[Tensor, ""]) -> None:
        """Inverse of ``get_extra_state``."""
        self.updates = int(state)

    def phases(self, dataset: Dataset) -> list[Phase]:
        """See Agent: one phase, ``learn``."""
        own, theirs = self.spec, dataset.spec
        if (own.N, own.O, own.S, own.A, own.discrete) != (theirs.N, theirs.O, theirs.S, theirs.A, theirs.discrete):
            raise SpecMismatch(f"FacMAC was built for {own.id}, but the dataset is of {theirs.id}: their sizes differ")
        config = self.config
        size, top = config.batch_size, config.largest_return
        return [sampling_phase("learn", config.steps, dataset, size, self.update, self.device, top)]

    def update(self, batch: Batch) -> Metrics:
        """One gradient step on a batch of episodes or windows: critics first, then the actor, then the targets."""
        config, data = self.config, flatten(batch)
        target = self._target(batch, data)
        values = [critic(data, data.now, data.actions) for critic in self.critics]
        loss = torch.stack([(q - target).square().mean() for q in values]).sum()
        norm = descend(loss, self.optimizers["critics"], config.grad_clip)
        found = {
            "loss": loss.detach(),
            "grad_norm": norm,
            "q_tot": values[0].detach().mean(),
            "target": target.mean(),
        }
        self.updates += 1
        if self.updates % config.actor_delay == 0:
            self._improve(data)
            polyak(self.target_actor, self.actor, config.tau)
            polyak(self.target_critics, self.critics, config.tau)
        return found

    @torch.no_grad()
    def _target(self, batch: Batch, data: FlatBatch) -> Float[Tensor, " M"]:
        """Target r + γ min_k Q'_tot(s', μ'(τ')), Eq. (5) of the paper where there is one critic; or its λ-return."""
        config = self.config
        actions = self.target_actor.mode(read(self.target_actor, data, data.after))
        if config.target_noise:
            noise = normal(*actions.shape, device=actions.device)
            actions = smoothed(actions, noise, config.target_noise, config.target_noise_clip)
        actions = only_real(actions, self.real)
        future = torch.stack([critic(data, data.after, actions) for critic in self.target_critics]).amin(0)
        rewards, value = config.reward_scale * batch.rewards, data.padded(future)
        value = damped_at_cut(value, batch.mask, config.trust_at_cut)
        return data.steps(lambda_return(rewards, value, batch.terminated, batch.mask, config.gamma, config.td_lambda))

    def _improve(self, data: FlatBatch) -> None:
        """One step of the actor up the first critic's value of what all agents would do now."""
        raw = only_real(read(self.actor, data, data.now), self.real)
        actions, critic = torch.tanh(raw), self.critics[0]
        critic.requires_grad_(False)  # spares the gradients that nobody reads
        loss = actor_loss(critic(data, data.now, actions), raw, self.config.action_penalty)
        descend(loss, self.optimizers["actor"], self.config.grad_clip)
        critic.requires_grad_(True)

    def policy(self, greedy: bool = True) -> ContinuousSlotPolicy:
        """See Agent. The actors' own actions; ``greedy=False`` adds the config's ``play_noise``."""
        noise = 0.0 if greedy else self.config.play_noise
        return ContinuousSlotPolicy(self.spec, [self.actor], np.zeros(self.spec.N, np.int64), noise=noise)
