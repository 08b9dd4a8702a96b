"""SIT: Learning from Good Trajectories in Offline Multi-Agent Reinforcement Learning (Tian et al., arXiv:2211.15612).

Three stages, one module each: ``ardnem`` (I, decompose the reward), ``dper`` (II, share the trajectories),
``critic`` and ``learn`` (III, learn conservatively); ``heads`` says what an action is, a choice or a vector. Equations
(1) to (10) are one function each.

Differences from the paper. "(D)" marks those of the default settings only; the preset ``paper`` follows the text.

Stage I
 1. (D) r_tot is z-scored; each agent then earns std · λ_i f_i + mean / N, so the parts still sum to r̂_tot.
    Raw negative rewards start inverted: the attended agent collects the punishment.
 2. (D) Agents whose only legal action is one (dead) get λ = 0. The text lets them take part.
 3. (D) A batch is 800 transitions of 32 episodes instead of all of them, for speed.
 4. No agent id in the input, so that the action is judged and not the agent; the agent type is in it.
 5. f has two hidden layers of 64, e_s and e_i have one and an output of 64; the text gives the width only.
Stage II
 6. Eq. (6) with γ^(t' − t): the printed γ^(t − t') is a slip of sign (late rewards would grow without bound). In both.
 7. (D) α is found so that the effective sample is 5 % of the trajectories; 0.2 on [0, 20] leaves two or three.
 8. T in p̂ is the episode's own length; (D) the agent's life, if that is shorter.
Stage III
 9. Eq. (10) as printed has no gradient in θ (its last factor is Q of the *data's* action); with log π there it is
    the CRR of the text around it. In both.
10. (D) The filter is on the standardised difference of the λ-return and V(τ, o_−i), a further output of the critic,
    with β = 1. Raw Q selects states, not actions; Q − E_π Q (``score="advantage"``) needs Q of actions that the data
    never tried in that state: on CN_3ls3l it lost most of what stage II had won (docs/sit.md).
11. Z: a softmax over the mini-batch per time step, as the official ICQ code does, times the number of real steps.
12. (D) No 1/û: on CN_3ls3l it gained nothing on low and cost the actor fourteen points on medium (docs/sit.md).
    "clipped" bounds it: clip(median û / û, 0.1, 10), mean one. "paper": η/(û + 1e-6), lest it divide by 0.
13. (D) λ-return (0.8) instead of the one-step target; rewards in standard deviations of ĝ, the critic starts at
    mean ĝ; 500 updates of warm-up in which the actor imitates its samples.
14. Q' where the horizon cut the episode, where the data has no next action: averaged over the present policy, and
    damped (``trust_at_cut``, docs/horizon.md). Only termination (and, with ``mask_dead``, the agent's death) ends a
    return.
15. Q of choices has one output per action instead of an action input: the same functions, and E_π Q in one pass.
    Continuous actions enter f_local, as in the text; V is an output that is read without one.
16. Networks of one type learning from one buffer are exchangeable, so there is one actor and one critic per type
    (32 trajectories a type and update), and no agent id.
17. GAT nodes: the observations of all agents, self included, with their type one-hot; one head, LeakyReLU 0.2.
18. Continuous actions, of which the text says nothing but Eq. (10): the actor is the tanh of a normal, log π the
    density of the data's action (±1 counts as ±0.99, log σ has a range), E_π Q the mean of four draws. Every network
    of all three stages reads symlog of the observations (``continuous.tamed``), as all continuous agents do here.
    Ablations: ``policy="deterministic"``, where −½ |a − π(τ)|² stands for log π; ``objective="value"`` (choices too),
    where Q' of π's own action stands for it: the printed Eq. (10) with a gradient in θ, and nothing that holds π to
    the data once the actor's warm-up is over.
"RMS" is RMSprop with PyMARL's constants; "epoch" is read as a gradient step.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from offmarl_bench.agent import Agent, Common, Metrics, Phase, Policy
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.loader import Dataset
from offmarl_bench.ops import hard_update
from offmarl_bench.types import Batch, EnvSpec
from sit.ardnem import ARDNEM, sample_steps, transitions
from sit.config import STAGE_ONE, SITConfig
from sit.critic import GATCritic
from sit.diagnostics import replay_metrics, warn_if_inverted
from sit.dper import DPER
from sit.heads import AnyActor, head_of
from sit.learn import type_losses
from sit.trajectories import Trajectories, draw_trajectories, view

log = logging.getLogger(__name__)

Nets = tuple[Iterable[AnyActor], Iterable[GATCritic], Iterable[GATCritic]]
"""What the module lists of an agent hold, which ``nn.ModuleList`` cannot say."""


class SIT(Agent):
    """Shared Individual Trajectories, for discrete and for continuous actions."""

    Config = SITConfig
    policy_parts = ("actors",)
    config: SITConfig
    updates: Tensor
    """Updates of stage III so far; a buffer, so that a resumed run copies its targets on time."""

    def __init__(self, spec: EnvSpec, config: SITConfig) -> None:
        super().__init__(spec, config)
        self.head = head_of(spec, config)
        self.ardnem = ARDNEM(spec, config)
        self.actors = nn.ModuleList(self.head.actor() for _ in spec.types)
        self.critics = nn.ModuleList(GATCritic(spec, config) for _ in spec.types)
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._done = 0
        self.optimizers = {
            "decompose": self._rmsprop(self.ardnem, config.decompose_lr),
            "critic": self._rmsprop(self.critics, config.critic_lr),
            "actor": self._rmsprop(self.actors, config.actor_lr),
        }

    def _rmsprop(self, module: nn.Module, lr: float) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(
            module.parameters(), lr=lr, alpha=self.config.rms_decay, eps=self.config.rms_eps, foreach=True
        )

    def phases(self, dataset: Dataset) -> list[Phase]:
        """``decompose`` (stage I; none in the ablation "w/o decomp"), ``share`` (II), ``learn`` (III).

        Raises:
            SpecMismatch: a dataset of another environment. FormatError: a dataset without episodes.
        """
        ours, theirs = self.spec, dataset.spec
        if (ours.agents, ours.agent_types, ours.O, ours.S, ours.A, ours.discrete) != (
            theirs.agents, theirs.agent_types, theirs.O, theirs.S, theirs.A, theirs.discrete,
        ):  # fmt: skip
            raise SpecMismatch(f"sit was built for {ours.id} but the dataset is of {theirs.id}; build it from ds.spec")
        config, device = self.config, self.device
        replay = DPER(dataset, config)
        decompose = Phase(
            name="decompose",
            steps=config.decompose_steps,
            batches=lambda generator: sample_steps(dataset, config, generator, device),
            update=self.decompose,
            start=lambda: self.ardnem.measure_reward(dataset),
            common=Common(
                name="sit.ardnem",
                settings={name: getattr(config, name) for name in STAGE_ONE},
                parts=("ardnem",),
                optimizers=("decompose",),
            ),
        )
        share = Phase(
            name="share",
            steps=replay.chunks,
            batches=lambda generator: dataset.batch(replay.next_chunk(), device=device),
            update=lambda batch: self.share(batch, replay),
            scalable=False,
        )
        learn = Phase(
            name="learn",
            steps=config.learn_steps,
            batches=lambda generator: draw_trajectories(
                dataset, replay, config, generator, device, candidates=self.head.candidates
            ),
            update=lambda batch: self.learn(batch, replay),
            start=lambda: self._start_learning(dataset, replay),
        )
        return [decompose, share, learn] if config.decomposition else [share, learn]

    def decompose(self, batch: Batch) -> Metrics:
        """Stage I: one gradient step on Eq. (3)."""
        loss, metrics = self.ardnem.loss(transitions(batch))
        return metrics | self._descend(loss, {"decompose": [self.ardnem]})

    def share(self, batch: Batch, replay: DPER) -> Metrics:
        """Stage II: decompose one chunk of episodes, Eq. (4) to Eq. (6); after the last one Eq. (7)."""
        metrics = replay.fill(batch, self.ardnem)
        if not len(replay.next_chunk()):
            replay.finish()
            metrics |= replay_metrics(replay)
            warn_if_inverted(metrics)
        return metrics

    def complete(self, dataset: Dataset, replay: DPER) -> None:
        """Do what is left of stage II, with the present weights of stage I."""
        while len(episodes := replay.next_chunk()):
            replay.fill(dataset.batch(episodes, device=self.device), self.ardnem)
        if not replay.buffers:
            replay.finish()

    def _start_learning(self, dataset: Dataset, replay: DPER) -> None:
        self.complete(dataset, replay)
        self._done = int(self.updates)

    def learn(self, batch: Batch, replay: DPER) -> Metrics:
        """Stage III: one gradient step on Eq. (9) and Eq. (10) for every type."""
        if not isinstance(batch, Trajectories):
            raise SpecMismatch(f"sit's stage III learns from individual trajectories, got a {type(batch).__name__}")
        config, n = self.config, self.config.learn_trajectories
        total: Tensor = torch.zeros((), device=batch.obs.device)
        metrics: dict[str, Tensor] = {}
        actors, critics, targets = cast("Nets", (self.actors, self.critics, self.targets))
        networks = zip(replay.buffers, actors, critics, targets, strict=True)
        for k, (buffer, actor, critic, target) in enumerate(networks):
            loss_critic, loss_actor, logged = type_losses(
                view(batch, slice(k * n, (k + 1) * n), config),
                self.head,
                actor,
                critic,
                target,
                config,
                median_doubt=buffer.median_uncertainty,
                offset=buffer.return_mean / buffer.reward_scale if config.scale_return else 0.0,
                warming_up=self._done < config.critic_warmup,
            )
            total = total + loss_critic + loss_actor
            metrics |= {f"{buffer.name}/{key}": value for key, value in logged.items()}
        learning = {"critic": self.critics, "actor": self.actors} if config.filter else {"actor": self.actors}
        norms = self._descend(total, learning)
        self._done += 1
        self.updates += 1
        if self._done % config.target_interval == 0:
            hard_update(self.targets, self.critics)
        return metrics | norms

    def _descend(self, loss: Tensor, groups: Mapping[str, list[nn.Module] | nn.ModuleList]) -> dict[str, Tensor]:
        """One step of these optimizers, each network's gradient clipped by itself; returns the greatest norms."""
        for name in groups:
            self.optimizers[name].zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norms = {}
        for name, networks in groups.items():
            clipped = [nn.utils.clip_grad_norm_(x.parameters(), self.config.clip_norm) for x in networks]
            norms[f"{name}_gradient_norm"] = torch.stack(clipped).max()
            self.optimizers[name].step()
        return norms

    def policy(self, greedy: bool = True) -> Policy:
        """Every agent plays the actor of its type; ``greedy=False`` samples it."""
        return self.head.policy(list(self.actors), greedy)
