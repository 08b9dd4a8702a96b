"""What stage III learns from: individual trajectories i(j), and what one type's networks see of a batch of them.

A trajectory was played by agent j; the one actor and the one critic of its type learn from it. Actions are choices or
vectors; whatever is done with either is in ``heads`` and ``critic``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from offmarl_bench.loader import Dataset
from offmarl_bench.types import Batch
from sit.config import SITConfig
from sit.dper import DPER


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectories(Batch):
    """Individual trajectories of every type, ``learn_trajectories`` a type, one type after the other."""

    agent: Int[Tensor, " B"]
    """j, whose trajectory each item is."""
    credit: Float[Tensor, "B T"]
    """r̂ of that agent, in units of its type's scale."""
    doubt: Float[Tensor, "B T"]
    """û of that agent, in units of reward."""
    noise: Float[Tensor, "B T+1 C A"]
    """Standard normal numbers to make C actions a step of; C = 0 where E_π Q is not asked for or needs none."""


def draw_trajectories(
    dataset: Dataset,
    replay: DPER,
    config: SITConfig,
    generator: np.random.Generator,
    device: torch.device,
    *,
    candidates: int = 0,
) -> Trajectories:
    """Draw ``learn_trajectories`` from every type's buffer by P_J, and noise for ``candidates`` actions a step."""
    n = config.learn_trajectories
    draws = [b.sample(n, generator) for b in replay.buffers]
    episodes, agents = (np.concatenate(x) for x in zip(*draws, strict=True))
    batch = dataset.batch(episodes, device=device)
    scale = np.repeat([b.reward_scale for b in replay.buffers], n)[:, None] if config.scale_return else np.ones((1, 1))
    credit = replay.individual(replay.reward, episodes, agents) / scale.astype(np.float32)
    noise = generator.standard_normal((*batch.obs.shape[:2], candidates, dataset.spec.A), np.float32)
    return Trajectories(
        **{name: getattr(batch, name) for name in Batch.__slots__},
        agent=torch.from_numpy(agents).to(device),
        credit=torch.from_numpy(credit.astype(np.float32)).to(device),
        doubt=torch.from_numpy(replay.individual(replay.uncertainty, episodes, agents)).to(device),
        noise=torch.from_numpy(noise).to(device),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one type's networks see of a batch: each item from its own agent's side."""

    everyone: Float[Tensor, "B T+1 N O"]
    agent: Int[Tensor, " B"]
    obs: Float[Tensor, "B T+1 O"]
    last_actions: Shaped[Tensor, "B T+1 *A"]
    actions: Shaped[Tensor, "B T *A"]
    legal: Bool[Tensor, "B T+1 A"] | None
    credit: Float[Tensor, "B T"]
    doubt: Float[Tensor, "B T"]
    lengths: Int[Tensor, " B"]
    real: Bool[Tensor, "B T"]
    """Steps of the episode."""
    mask: Bool[Tensor, "B T"]
    """Steps that count: real, and (with ``mask_dead``) the agent alive."""
    ended: Bool[Tensor, "B T"]
    """No value follows this step: the episode terminated, or (with ``mask_dead``) the agent died."""
    last: Bool[Tensor, "B T"]
    """The episode's last step: its next action is not in the data."""
    noise: Float[Tensor, "B T+1 C A"]


def previous(actions: Shaped[Tensor, "B T *A"]) -> Shaped[Tensor, "B T+1 *A"]:
    """a_{t−1}: −1 at the beginning, or zeros if actions are continuous."""
    return F.pad(actions, (0, 0, 1, 0)) if actions.is_floating_point() else F.pad(actions, (1, 0), value=-1)


def view(batch: Trajectories, part: slice, config: SITConfig) -> View:
    """Items ``part`` of a batch as their agents saw them."""
    agent = batch.agent[part]
    item = torch.arange(len(agent), device=agent.device)
    actions = batch.actions[part][item, :, agent]
    real, alive = batch.mask[part], batch.alive[part][item, :, agent]
    ended = batch.terminated[part]
    clock = torch.arange(real.shape[1], device=agent.device)
    return View(
        everyone=batch.obs[part],
        agent=agent,
        obs=batch.obs[part][item, :, agent],
        last_actions=previous(actions),
        actions=actions,
        legal=None if batch.legal is None else batch.legal[part][item, :, agent],
        credit=batch.credit[part],
        doubt=batch.doubt[part],
        lengths=batch.lengths[part],
        real=real,
        mask=real & alive[:, :-1] if config.mask_dead else real,
        ended=ended | (real & ~alive[:, 1:]) if config.mask_dead else ended,
        last=clock == batch.lengths[part, None] - 1,
        noise=batch.noise[part],
    )
