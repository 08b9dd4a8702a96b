"""The two networks that make batch-constrained Q-learning continuous: a generator of likely actions, and ξ.

Fujimoto et al. (2019, arXiv:1812.02900, Section 4): a conditional variational autoencoder imitates the data, so that
what it generates is never far from them, and a perturbation moves a generated action by at most Φ towards more value.
Here both see an agent's history instead of a state.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from offmarl_bench.candidates import hidden_layer
from offmarl_bench.nn import RecurrentNet
from offmarl_bench.ops import masked_mean

LOG_STD = (-4.0, 15.0)
"""Range of log σ of the latent, as in the official code of BCQ (continuous_BCQ/BCQ.py)."""


class Generator(nn.Module):
    """μ: histories and latents to actions, and back.

    Args:
        in_size: size of what is read at every observation.
        action_size: A.
        latent_size: components of z.
        hidden: width.
    """

    def __init__(self, in_size: int, action_size: int, latent_size: int, hidden: int) -> None:
        super().__init__()
        self.net = RecurrentNet(in_size, 2 * hidden, hidden)
        self.by_action, self.code = nn.Linear(action_size, hidden, bias=False), nn.Linear(hidden, 2 * latent_size)
        self.by_latent, self.out = nn.Linear(latent_size, hidden, bias=False), nn.Linear(hidden, action_size)

    def packed(
        self, x: Float[Tensor, "K N I"], counts: Int[Tensor, " U"]
    ) -> tuple[Float[Tensor, "K N H"], Float[Tensor, "K N H"]]:
        """Features of every history, for ``encode`` and for ``decode``."""
        encoding, decoding = self.net.packed(x, counts).chunk(2, -1)
        return encoding, decoding

    def encode(
        self, features: Float[Tensor, "*L H"], actions: Float[Tensor, "*L A"]
    ) -> tuple[Float[Tensor, "*L Z"], Float[Tensor, "*L Z"]]:
        """Mean and log σ of the latents that stand for actions of the data."""
        mean, log_std = self.code(F.relu(features + self.by_action(actions))).chunk(2, -1)
        return mean, log_std.clamp(*LOG_STD)

    def decode(self, features: Float[Tensor, "*#L H"], z: Float[Tensor, "*#L Z"]) -> Float[Tensor, "*L A"]:
        """Actions; features and latents broadcast, so (K, N, H) with (C, K, N, Z) makes C actions each."""
        return torch.tanh(hidden_layer(features, z, self.by_latent.weight, self.out.weight, self.out.bias))


class Perturbation(nn.Module):
    """ξ_i(τ_i, a_i): at most ``reach`` (Φ) in every component. It reads the generator's decoding features."""

    def __init__(self, action_size: int, hidden: int, reach: float) -> None:
        super().__init__()
        self.reach = reach
        self.by_features = nn.Linear(hidden, hidden)
        self.by_action, self.out = nn.Linear(action_size, hidden, bias=False), nn.Linear(hidden, action_size)

    def forward(self, features: Float[Tensor, "*#L H"], actions: Float[Tensor, "*#L A"]) -> Float[Tensor, "*L A"]:
        """ã = a + ξ(τ, a) of Eq. (12), arXiv:2211.15612, kept within [−1, 1]."""
        seen = self.by_features(features)
        xi = hidden_layer(seen, actions, self.by_action.weight, self.out.weight, self.out.bias)
        return (actions + self.reach * torch.tanh(xi)).clamp(-1.0, 1.0)


def normal_divergence(mean: Float[Tensor, "*L Z"], log_std: Float[Tensor, "*L Z"]) -> Float[Tensor, "*L Z"]:
    """KL(N(mean, σ²) ‖ N(0, 1)) of every latent component: ½ (mean² + σ² − 1) − log σ."""
    return 0.5 * (mean.square() + torch.exp(2.0 * log_std) - 1.0) - log_std


def generator_loss(
    made: Float[Tensor, "*L N A"],
    actions: Float[Tensor, "*L N A"],
    mean: Float[Tensor, "*L N Z"],
    log_std: Float[Tensor, "*L N Z"],
    real: Bool[Tensor, "N A"],
    mask: Bool[Tensor, "*L N"],
    kl_weight: float,
) -> Float[Tensor, ""]:
    """Squared error of what the data's latents decode to, plus the weighted divergence; both means over components.

    Fujimoto et al. (2019), Section 4; weight and means as in their code.

    Args:
        made: decoded actions.
        actions: the data's.
        mean: of the latents.
        log_std: of the latents.
        real: components that agents have; the others are not counted.
        mask: living agents.
        kl_weight: of the divergence.
    """
    error = (made - actions).square().masked_fill(~real, 0.0).sum(-1) / real.sum(-1).clamp(min=1)
    return masked_mean(error + kl_weight * normal_divergence(mean, log_std).mean(-1), mask)
