"""What the tests of continuous agents share: random episodes that end, are cut and are padded, and slow unrolls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from offmarl_bench.collate import collate
from offmarl_bench.continuous import ContinuousActor, ContinuousCritic
from offmarl_bench.types import Batch, EnvSpec, Episode
from tests.test_qmix import shortened
from tests.toy_continuous import PADDED, uniform_dataset


def episodes(count: int = 3, spec: EnvSpec = PADDED) -> list[Episode]:
    """Uniform play; the second of two agents has one component less."""
    return [
        replace(e, behavior_level=None, behavior_policy=None, behavior_logprob=None)
        for e in uniform_dataset(count, spec).episodes()
    ]


def mixed_lengths() -> list[Episode]:
    """One episode that ends by itself after 2 steps, one that the horizon cuts after 5, one that ends after 4."""
    a, b, c = episodes()
    return [shortened(a, 2), b, shortened(c, 4)]


def batch_of(found: list[Episode], spec: EnvSpec = PADDED) -> Batch:
    """The episodes as a batch."""
    return collate(found, spec)


@torch.no_grad()
def stepwise(network: ContinuousActor | ContinuousCritic, episode: Episode) -> Tensor:
    """A network's (T + 1, N, C) outputs on one episode, one step at a time: what fused unrolls are compared with."""
    n = episode.actions.shape[1]
    h, rows = network.net.initial(n), []
    for t in range(len(episode) + 1):
        last = torch.from_numpy(episode.actions[t - 1]) if t else torch.zeros(episode.actions.shape[1:])
        x = network.inputs(torch.from_numpy(episode.observations[t]), last, torch.arange(n))
        out, h = network.net.step(x, h)
        rows.append(out)
    return torch.stack(rows)


def at_the_bounds(batch: Batch, spec: EnvSpec = PADDED) -> Batch:
    """The same batch whose actions are exactly −1 or 1 in every real component."""
    sizes = torch.tensor(spec.action_sizes or (spec.A,) * spec.N)
    real = torch.arange(spec.A) < sizes[:, None]
    extreme = torch.where(batch.actions >= 0, 1.0, -1.0) * real * batch.mask[..., None, None]
    return replace(batch, actions=extreme)


def known_draws(*shape: int, device: torch.device) -> Tensor:
    """Instead of random numbers: −0.8 … 0.8 along the first of four axes (candidates), otherwise 0.3."""
    if len(shape) < 4:
        return torch.full(shape, 0.3, device=device)
    return torch.linspace(-0.8, 0.8, shape[0], device=device).view(-1, 1, 1, 1).expand(shape)


def everything_is_finite(model: torch.nn.Module, metrics: Mapping[str, Tensor | float]) -> bool:
    """Of the metrics, the weights and the targets' weights."""
    numbers = [torch.as_tensor(v) for v in metrics.values()] + list(model.parameters())
    return all(bool(x.isfinite().all()) for x in numbers)
