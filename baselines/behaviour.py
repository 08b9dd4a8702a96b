"""The behaviour policy μ of the data, cloned by MABCQ and CFCQL before they learn values: the SIT paper's Eq. (11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from offmarl_bench.agent import Common, Metrics, Phase, sampling_phase
from offmarl_bench.flat import flatten
from offmarl_bench.nn import Actor, descend
from offmarl_bench.ops import log_prob, masked_mean
from offmarl_bench.types import Batch

if TYPE_CHECKING:
    from offmarl_bench.loader import Dataset

PART = "behaviour"
"""Name of the network and of its optimizer in the agents that have one."""


class Settings(Protocol):
    """What of an agent's config decides the behaviour policy."""

    @property
    def hidden(self) -> int:
        """Width of the network."""

    @property
    def lr(self) -> float:
        """Learning rate."""

    @property
    def rms_alpha(self) -> float:
        """RMSprop's smoothing of squared gradients."""

    @property
    def rms_eps(self) -> float:
        """RMSprop's ε."""

    @property
    def clip(self) -> float:
        """Greatest norm of the gradient."""

    @property
    def batch_size(self) -> int:
        """Episodes a batch."""

    @property
    def behaviour_steps(self) -> int:
        """Gradient steps."""


def bc_loss(log_mu: Float[Tensor, "*L"], mask: Bool[Tensor, "*L"]) -> Float[Tensor, ""]:
    """Mean of −log μ_i(a_i | τ_i) over the steps in ``mask``. Eq. (11), by which μ is learnt."""
    return -masked_mean(log_mu, mask)


def imitate(behaviour: Actor, optimizer: torch.optim.Optimizer, clip: float) -> Callable[[Batch], Metrics]:
    """One gradient step of μ on Eq. (11), as the update of a phase. Living agents only."""

    def update(batch: Batch) -> Metrics:
        data = flatten(batch)
        logits = data.unroll(behaviour)[data.now]
        legal = None if data.legal is None else data.legal[data.now]
        loss = bc_loss(log_prob(logits, data.actions, legal), data.alive[data.now])
        norm = descend(loss, optimizer, clip)
        return {"loss": loss.detach(), "grad_norm": norm}

    return update


def behaviour_phase(
    dataset: Dataset, config: Settings, behaviour: Actor, optimizer: torch.optim.Optimizer, device: torch.device
) -> Phase:
    """The first phase, ``imitate``: runs that agree in these settings share it (``stages``).

    The network must be the first that the agent makes, so that every agent with the same seed starts from the same.
    """
    update = imitate(behaviour, optimizer, config.clip)
    phase = sampling_phase("imitate", config.behaviour_steps, dataset, config.batch_size, update, device)
    names = ("hidden", "lr", "rms_alpha", "rms_eps", "clip", "batch_size")
    settings = {name: getattr(config, name) for name in names}
    return replace(phase, common=Common(name="behaviour", settings=settings, parts=(PART,), optimizers=(PART,)))
