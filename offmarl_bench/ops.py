"""The small arithmetic that several agents share: one pure function per formula, nothing with a state but two copies.

Each function has a hand-computed test. What only one algorithm needs lives in that algorithm's file.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from offmarl_bench import kernels
from offmarl_bench.fused import has_kernel, log_softmax

TRUST_AT_CUT = 0.0
"""Default of agents that play what they value for ``damped_at_cut``: 0.8 still let their values drift away."""


def one_hot(index: Int[Tensor, "*L"], n: int) -> Float[Tensor, "*L n"]:
    """Float one-hot rows; an index outside 0 … n−1 (−1 means "none yet") gives a row of zeros."""
    return (index.unsqueeze(-1) == torch.arange(n, device=index.device)).float()


def take(values: Float[Tensor, "*L A"], actions: Int[Tensor, "*L"]) -> Float[Tensor, "*L"]:
    """The entry of each row that its action names."""
    return values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def masked_logits(logits: Float[Tensor, "*L A"], legal: Bool[Tensor, "*L A"] | None) -> Float[Tensor, "*L A"]:
    """−inf where an action is illegal, so that a softmax gives it exactly 0 and an argmax never picks it.

    A row without any legal action (padding) is left as it is, so that its softmax stays finite.
    """
    if legal is None:
        return logits
    return logits.masked_fill(~legal & legal.any(-1, keepdim=True), -torch.inf)


def masked_argmax(values: Float[Tensor, "*L A"], legal: Bool[Tensor, "*L A"] | None) -> Int[Tensor, "*L"]:
    """Index of the greatest value among the legal actions."""
    return masked_logits(values, legal).argmax(-1)


def log_prob(
    logits: Float[Tensor, "*L A"], actions: Int[Tensor, "*L"], legal: Bool[Tensor, "*L A"] | None
) -> Float[Tensor, "*L"]:
    """Log π(a) of these actions under the softmax over the legal ones."""
    return take(log_softmax(logits, legal), actions)


def batch_softmax(score: Float[Tensor, "B *L"], mask: Bool[Tensor, "B *L"]) -> Float[Tensor, "B *L"]:
    """e^score / Z with Z = the mean of e^score over the first axis: weights whose mean is one, 0 where masked.

    Where ICQ and CRR write 1/Z they mean this normaliser: per time step (and agent), over the batch. Entries outside
    ``mask`` (padding, dead agents) have no part in it.
    """
    empty = ~mask.any(0)  # a column with nothing in it must not become 0/0
    return score.masked_fill(~mask & ~empty, -torch.inf).softmax(0) * mask.sum(0) * mask


def masked_mean(x: Float[Tensor, "*L"], mask: Bool[Tensor, "*#L"]) -> Float[Tensor, ""]:
    """Mean of x over the entries where ``mask`` (broadcast to x's shape) is True; 0 if there is none.

    What stands in masked entries, NaN included, cannot reach the result or its gradient.
    """
    mask = mask.expand_as(x)
    return x.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)


def td_target(
    reward: Float[Tensor, "*L"], next_value: Float[Tensor, "*L"], terminated: Bool[Tensor, "*L"], gamma: float
) -> Float[Tensor, "*L"]:
    """One-step target r + γ (1 − terminated) V(s'). An episode cut by the horizon is not terminated: it bootstraps."""
    return reward + gamma * next_value.masked_fill(terminated, 0.0)


def backup(
    reward: Float[Tensor, "B T"],
    value: Float[Tensor, "B T"],
    taken: Float[Tensor, "B T"],
    trace: Bool[Tensor, "B T"],
    terminated: Bool[Tensor, "B T"],
    gamma: float,
    lam: float,
) -> Float[Tensor, "B T"]:
    """G_t = r_t + γ (1 − terminated_t) [V_{t+1} + λ trace_t (G_{t+1} − Q_{t+1})], from the last step backwards.

    What λ-returns and tree backups have in common. A target: no gradient flows through it.

    Args:
        reward: team reward of each step t.
        value: V_{t+1}.
        taken: Q_{t+1} of what was done next; anything where ``trace`` is False.
        trace: whether the return from step t + 1 on takes part.
        terminated: True on a last step that ended by itself.
        gamma: discount γ.
        lam: λ.
    """
    reward, value, taken = reward.detach(), value.detach(), taken.detach()
    out = torch.empty_like(value, memory_format=torch.contiguous_format)
    if has_kernel(value):
        r, v, q, follows, ended = (x.contiguous().numpy() for x in (reward, value, taken, trace, terminated))
        kernels.backup(r, v, q, follows, ended, gamma, lam, out.numpy())
        return out
    later = taken[:, -1]
    for t in range(reward.shape[1] - 1, -1, -1):
        going_on = (lam * (later - taken[:, t])).masked_fill(~trace[:, t], 0.0)
        later = td_target(reward[:, t], value[:, t] + going_on, terminated[:, t], gamma)
        out[:, t] = later
    return out


def damped_at_cut(next_value: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], trust: float) -> Float[Tensor, "B T"]:
    """V(s_{t+1}) with that of each episode's last observation drawn to the mean of all the others of the batch.

    No step starts at the last observation, so nothing ever teaches its value: it is what the network makes of those
    before. Where the horizon cuts every episode it ends every return, and a recurrent network goes on with any trend in
    time that it sees: bootstrapped into the step before, the trend feeds itself and values grow without end
    (docs/horizon.md). The mean is learnt. Terminal steps ignore what is put here.

    Args:
        next_value: V(s_{t+1}) at each t.
        mask: True on real steps, which come first in every row.
        trust: share of the observation's own value; 1 leaves it as it is, 0 puts the mean in its place.
    """
    if trust == 1.0:
        return next_value
    learnt = F.pad(mask[:, 1:], (0, 1))
    mean = masked_mean(next_value, learnt)
    return torch.where(learnt | ~learnt.any(), next_value, mean + trust * (next_value - mean))


def lambda_return(
    reward: Float[Tensor, "B T"],
    next_value: Float[Tensor, "B T"],
    terminated: Bool[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    gamma: float,
    lam: float,
) -> Float[Tensor, "B T"]:
    """G_t = r_t + γ (1 − terminated_t) [(1 − λ) V(s_{t+1}) + λ G_{t+1}], with G = V after the last real step.

    λ = 0 is ``td_target``; λ = 1 is Monte-Carlo with a bootstrap where the horizon cut the episode. Sutton and
    Barto (2018), Eq. (12.20) in its recursive form.

    Args:
        reward: team reward per step.
        next_value: V(s_{t+1}) at each t.
        terminated: True on a last step that ended by itself.
        mask: True on real steps, which come first in every row.
        gamma: discount γ.
        lam: λ in [0, 1].
    """
    goes_on = F.pad(mask[:, 1:], (0, 1))  # the step after the last real one is padding: its return is not a return
    return backup(reward, next_value, next_value, goes_on, terminated, gamma, lam)


@torch.no_grad()
def polyak(target: nn.Module, source: nn.Module, tau: float) -> None:
    """θ' ← (1 − τ) θ' + τ θ for every parameter; buffers are copied."""
    for old, new in zip(target.parameters(), source.parameters(), strict=True):
        old.lerp_(new, tau)
    for kept, current in zip(target.buffers(), source.buffers(), strict=True):
        kept.copy_(current)


def hard_update(target: nn.Module, source: nn.Module) -> None:
    """θ' ← θ."""
    target.load_state_dict(source.state_dict())


def effective_sample_size(weights: Float[Tensor, " K"]) -> Float[Tensor, ""]:
    """(Σ w)² / Σ w²: how many equally weighted samples these weights are worth. Kish (1965). 0 if all are 0."""
    square = weights.square().sum()
    return weights.sum().square() / torch.where(square > 0, square, torch.ones_like(square))
