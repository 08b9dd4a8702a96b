"""Imitate the better part of the data: behaviour cloning of the episodes with the highest returns."""

from dataclasses import dataclass

import numpy as np
import torch

from offmarl_bench.agent import Agent, Phase
from offmarl_bench.nn import Actor, descend, previous_actions
from offmarl_bench.ops import log_prob, masked_mean
from offmarl_bench.policies import SlotPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class BestConfig:
    share: float = 0.25
    """Part of the episodes that is imitated."""
    learning_rate: float = 1e-3
    batch_size: int = 32
    steps: int = 5_000


class Best(Agent):
    Config = BestConfig
    policy_parts = ("actor",)  # what policy() needs; all that a submission has to hold

    def __init__(self, spec, config):
        super().__init__(spec, config)
        self.actor = Actor(spec.O, spec.A, n_ids=spec.N)
        self.optimizers = {"actor": torch.optim.Adam(self.actor.parameters(), lr=config.learning_rate)}

    def phases(self, dataset):
        count = max(1, int(self.config.share * len(dataset)))
        best = np.argsort(dataset.returns)[-count:]

        def draw(generator):
            return dataset.batch(generator.choice(best, self.config.batch_size), device=self.device)

        return [Phase(name="learn", steps=self.config.steps, batches=draw, update=self.update)]

    def update(self, batch):
        b, _, n = batch.actions.shape
        obs = batch.obs.transpose(1, 2).flatten(0, 1)  # every agent of every episode is a sequence
        last = previous_actions(batch.actions).transpose(1, 2).flatten(0, 1)
        logits = self.actor(obs, last, torch.arange(n, device=obs.device).repeat(b))
        logits = logits.unflatten(0, (b, n)).transpose(1, 2)[:, :-1]
        legal = None if batch.legal is None else batch.legal[:, :-1]
        loss = -masked_mean(log_prob(logits, batch.actions, legal), batch.alive[:, :-1])
        return {"loss": loss.detach(), "grad_norm": descend(loss, self.optimizers["actor"], 10.0)}

    def policy(self, greedy=True):
        return SlotPolicy(self.spec, [self.actor], np.zeros(self.spec.N, np.int64), greedy=greedy)
