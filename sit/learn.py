"""Stage III: conservative policy learning on the shared trajectories, Eq. (9) and Eq. (10).

Targets and weights are constants (no gradient flows through them).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from offmarl_bench.nn import Actor
from offmarl_bench.ops import batch_softmax, effective_sample_size, lambda_return, masked_logits, masked_mean, take
from offmarl_bench.recurrence import pack
from sit.config import SITConfig
from sit.critic import GATCritic
from sit.trajectories import View

LEAST_SPREAD = 1e-6
"""Added to the standard deviation that advantages are divided by."""


def critic_loss(
    Q: Float[Tensor, "B T"], target: Float[Tensor, "B T"], weight: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """Mean over real steps of (η/û) (r̂ + γ Q' − Q)². Eq. (9).

    Args:
        Q: values of the data's actions.
        target: r̂ + γ Q', or its λ-return.
        weight: η/û or what stands for it, see ``uncertainty_weight``.
        mask: steps that count.
    """
    return masked_mean(weight * (target - Q).square(), mask)


def actor_loss(
    log_pi: Float[Tensor, "B T"],
    filter_weight: Float[Tensor, "B T"],
    weight: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """Mean over real steps of −(η/û) (e^(Q/β)/Z) log π(a_j | τ_j). Eq. (10), with CRR's log π for its last Q.

    Args:
        log_pi: of the data's actions.
        filter_weight: e^(Q/β)/Z, see ``crr_filter``.
        weight: η/û or what stands for it.
        mask: steps that count.
    """
    return -masked_mean(weight * filter_weight * log_pi, mask)


def crr_filter(score: Float[Tensor, "B T"], beta: float, mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """e^(Q/β)/Z of Eq. (10): per time step a softmax over the batch's real steps, times their number; 0 elsewhere.

    Scaled so that its mean over the real rows of every time step is one.
    """
    return batch_softmax(score / beta, mask)


def standardise(x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """(x − mean) / standard deviation over the real steps."""
    centred = x - masked_mean(x, mask)
    return centred / (masked_mean(centred.square(), mask).sqrt() + LEAST_SPREAD)


def uncertainty_weight(
    u: Float[Tensor, "B T"], median: Float[Tensor, ""] | float, config: SITConfig, mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """η/û of Eq. (9) and Eq. (10), or the bounded form of it.

    "clipped": clip(median/û, low, high), then scaled to mean one over the real steps, so that steps that the members
    agree on count more but none rules. A single member is never uncertain: every weight is 1.
    """
    if config.uncertainty == "none" or config.members == 1 or not config.decomposition:
        return torch.ones_like(u)
    if config.uncertainty == "literal":
        return config.eta / (u + config.uncertainty_floor)
    ratio = (median + config.uncertainty_floor) / (u + config.uncertainty_floor)
    ratio = ratio.clamp(config.uncertainty_low, config.uncertainty_high)
    return ratio / masked_mean(ratio, mask)


def unroll(actor: Actor, data: View) -> Float[Tensor, "B T+1 A"]:
    """The actor's logits at every real observation, computed without the padding; 0 beyond an episode's end."""
    rows = pack(data.lengths)
    at = (rows.lane, rows.time)
    logits = actor.net.packed(actor.inputs(data.obs[at], data.last_actions[at]).unsqueeze(1), rows.counts).squeeze(1)
    return logits.new_zeros(*data.obs.shape[:2], logits.shape[-1]).index_put(at, logits)


@torch.no_grad()
def bootstrap_target(
    data: View, target: GATCritic, policy: Float[Tensor, "B T+1 A"], offset: float, config: SITConfig
) -> Float[Tensor, "B T"]:
    """r̂ + γ Q'(τ', a'_data, o'_−i) of Eq. (9), or its λ-return.

    With the score "return" the value that follows is V', which no action enters. Otherwise: where the horizon cut the
    episode there is no a'_data; there Q' is averaged over the present policy.

    Args:
        data: trajectories.
        target: the target critic Q'.
        policy: π(· | τ) at every observation.
        offset: added to the network's output.
        config: γ and λ.
    """
    values, baseline = target(data.everyone, data.agent, data.last_actions)
    if config.score == "return":
        next_value = baseline[:, 1:]
    else:
        following = F.pad(data.actions[:, 1:], (0, 1))
        expected = (policy * values).sum(-1)[:, 1:]
        next_value = torch.where(data.last, expected, take(values[:, 1:], following))
    next_value = next_value + offset
    return lambda_return(data.credit, next_value, data.ended, data.real, config.gamma, config.td_lambda)


def type_losses(
    data: View,
    actor: Actor,
    critic: GATCritic,
    target: GATCritic,
    config: SITConfig,
    *,
    median_doubt: float,
    offset: float,
    warming_up: bool,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], dict[str, Tensor]]:
    """Both losses of one type, in the paper's order, and what to log.

    Args:
        data: the type's trajectories.
        actor: π.
        critic: Q.
        target: Q'.
        config: settings.
        median_doubt: median û of the type's buffer.
        offset: added to both critics' outputs (mean ĝ, so that they need not climb there).
        warming_up: the actor imitates with equal filter weights.

    Returns:
        critic loss, actor loss, metrics.
    """
    log_pi = torch.log_softmax(masked_logits(unroll(actor, data), data.legal), -1)
    weight = uncertainty_weight(data.doubt, median_doubt, config, data.mask)
    log_pi_taken = take(log_pi[:, :-1], data.actions)
    if not config.filter:
        loss_actor = actor_loss(log_pi_taken, data.mask.float(), weight, data.mask)
        return loss_actor.new_zeros(()), loss_actor, {"actor_loss": loss_actor.detach()}
    policy = log_pi.detach().exp()
    values, baseline = critic(data.everyone[:, :-1], data.agent, data.last_actions[:, :-1])
    goal = bootstrap_target(data, target, policy, offset, config)
    learnt = (baseline if config.score == "return" else take(values, data.actions)) + offset
    loss_critic = critic_loss(learnt, goal, weight, data.mask)
    score = learnt.detach()
    if config.score == "return":
        score = standardise(goal - score, data.mask)
    elif config.score == "advantage":
        expected = (policy[:, :-1] * values.detach()).sum(-1) + offset
        score = standardise(score - expected, data.mask)
    filtered = crr_filter(score, config.beta, data.mask)
    loss_actor = actor_loss(log_pi_taken, data.mask.float() if warming_up else filtered, weight, data.mask)
    metrics = {
        "critic_loss": loss_critic.detach(),
        "actor_loss": loss_actor.detach(),
        "value": masked_mean(learnt.detach(), data.mask),
        "nll": -masked_mean(log_pi_taken.detach(), data.mask),
        # As a share of the steps: 1 if all count alike.
        "filter_ess": effective_sample_size(filtered[data.mask]) / data.mask.sum().clamp(min=1),
        "uncertainty_ess": effective_sample_size(weight[data.mask]) / data.mask.sum().clamp(min=1),
    }
    return loss_critic, loss_actor, metrics
