"""Stage III: conservative policy learning on the shared trajectories, Eq. (9) and Eq. (10).

Written once for all kinds of actions: what differs between them is in ``heads.Play`` and ``critic.Values``. Targets
and weights are constants (no gradient flows through them).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from offmarl_bench.ops import batch_softmax, damped_at_cut, effective_sample_size, lambda_return, masked_mean
from offmarl_bench.recurrence import pack
from sit.config import SITConfig
from sit.critic import GATCritic, Values
from sit.heads import AnyActor, Head, Play
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
        log_pi: of the data's actions; with the objective "value" Q of π's own action instead.
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


def unroll(actor: AnyActor, data: View) -> Float[Tensor, "B T+1 C"]:
    """The actor's outputs at every real observation, computed without the padding; 0 beyond an episode's end."""
    rows = pack(data.lengths)
    at = (rows.lane, rows.time)
    raw = actor.unroll(data.obs[at].unsqueeze(1), data.last_actions[at].unsqueeze(1), rows.counts).squeeze(1)
    return raw.new_zeros(*data.obs.shape[:2], raw.shape[-1]).index_put(at, raw)


def expected_value(play: Play, values: Values, steps: int) -> Float[Tensor, "B U"]:
    """E_π Q at the first ``steps`` observations: exact for choices, the mean of a few draws for continuous actions."""
    actions, weights = play.candidates(steps)
    return (weights * values.each(actions)).sum(-1)


@torch.no_grad()
def bootstrap_target(
    data: View, target: GATCritic, play: Play, offset: float, config: SITConfig
) -> Float[Tensor, "B T"]:
    """r̂ + γ Q'(τ', a'_data, o'_−i) of Eq. (9), or its λ-return.

    With the score "return" the value that follows is V', which no action enters. Otherwise: where the horizon cut the
    episode there is no a'_data; there Q' is averaged over the present policy.

    Args:
        data: trajectories.
        target: the target critic Q'.
        play: π(· | τ).
        offset: added to the network's output.
        config: γ and λ.
    """
    values: Values = target(data.everyone, data.agent, data.last_actions)
    if config.score == "return":
        next_value = values.baseline[:, 1:]
    else:
        taken = values.of(F.pad(data.actions, (0, 0) * (data.actions.ndim - 2) + (0, 1)))
        expected = expected_value(play, values, taken.shape[1])
        next_value = torch.where(data.last, expected[:, 1:], taken[:, 1:])
    next_value = damped_at_cut(next_value, data.real, config.trust_at_cut)
    next_value = next_value + offset
    return lambda_return(data.credit, next_value, data.ended, data.real, config.gamma, config.td_lambda)


def type_losses(
    data: View,
    head: Head,
    actor: AnyActor,
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
        head: what their actions are.
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
    play = head.play(actor, unroll(actor, data), data)
    weight = uncertainty_weight(data.doubt, median_doubt, config, data.mask)
    log_pi = play.log_likelihood(data.actions)
    if not config.filter:
        loss_actor = actor_loss(log_pi, data.mask.float(), weight, data.mask)
        return loss_actor.new_zeros(()), loss_actor, {"actor_loss": loss_actor.detach()}
    seen = data.everyone[:, :-1], data.agent, data.last_actions[:, :-1]
    values: Values = critic(*seen)
    goal = bootstrap_target(data, target, play, offset, config)
    learnt = (values.baseline if config.score == "return" else values.of(data.actions)) + offset
    loss_critic = critic_loss(learnt, goal, weight, data.mask)
    score = learnt.detach()
    if config.score == "return":
        score = standardise(goal - score, data.mask)
    elif config.score == "advantage":
        with torch.no_grad():
            expected = expected_value(play, values, score.shape[1]) + offset
        score = standardise(score - expected, data.mask)
    filtered = crr_filter(score, config.beta, data.mask)
    if warming_up:
        loss_actor = actor_loss(log_pi, data.mask.float(), weight, data.mask)
    else:
        # Q' and not Q, so that the actor's loss leaves the critic alone.
        weighed = log_pi if config.objective == "likelihood" else expected_value(play, target(*seen), score.shape[1])
        loss_actor = actor_loss(weighed, filtered, weight, data.mask)
    metrics = {
        "critic_loss": loss_critic.detach(),
        "actor_loss": loss_actor.detach(),
        "value": masked_mean(learnt.detach(), data.mask),
        play.measure: -masked_mean(log_pi.detach(), data.mask),
        # As a share of the steps: 1 if all count alike.
        "filter_ess": effective_sample_size(filtered[data.mask]) / data.mask.sum().clamp(min=1),
        "uncertainty_ess": effective_sample_size(weight[data.mask]) / data.mask.sum().clamp(min=1),
    }
    return loss_critic, loss_actor, metrics
