"""ICQ of continuous actions: the update by plain loops, the bounds, and that the weights are what makes it work."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from baselines import draws
from baselines.icq import ICQ
from baselines.icq_continuous import ContinuousICQ, Critic
from offmarl_bench.agent import make_agent
from offmarl_bench.continuous import TanhGaussian, tamed, tanh_log_prob, tanh_sample
from offmarl_bench.testing import check_agent
from offmarl_bench.types import EnvSpec, Episode
from tests.continuous_case import (
    at_the_bounds,
    batch_of,
    everything_is_finite,
    known_draws,
    mixed_lengths,
    stepwise,
)
from tests.imbalanced_toy import train
from tests.toy_continuous import BLIND, PADDED, SPEC, careless_dataset, mean_return, uniform_dataset
from tests.toy_data import shaken

LEARN: dict[str, Any] = {"actor_lr": 5e-3, "critic_lr": 3e-3, "critic_hidden": 32, "hidden": 32, "steps": 150}
SMALL: dict[str, Any] = {"hidden": 8, "mixer_embed": 4, "critic_hidden": 8, "target_interval": 4}


def agent(spec: EnvSpec = PADDED, **settings: Any) -> ContinuousICQ:
    made = make_agent("icq", spec, **settings)
    assert isinstance(made, ContinuousICQ)
    return made


def test_one_name_has_two_forms() -> None:
    assert ICQ.form(SPEC) is ContinuousICQ


def test_the_critic_is_one_layer_on_state_observation_id_and_action() -> None:
    critic, k = Critic(PADDED, 8), 3
    state, obs, actions = torch.randn(k, PADDED.S), torch.randn(k, 2, PADDED.O), torch.randn(4, k, 2, PADDED.A)
    found = critic.value(critic.context(state, obs), actions)
    assert found.shape == (4, k, 2)
    ids, states = torch.eye(2).expand(k, -1, -1), state[:, None].expand(-1, 2, -1)
    h = critic.second(critic.first(torch.cat([states, obs, ids, actions[1]], -1)).relu()).relu()
    assert torch.allclose(found[1], critic.out(h)[..., 0], atol=1e-6)


def expected_q(model: ContinuousICQ, critic: Critic, law: TanhGaussian, e: Episode, t: int) -> torch.Tensor:
    """E_π Q_i at one observation, over the ``known_draws``; (N,)."""
    context = critic.context(
        tamed(torch.from_numpy(e.state[t : t + 1])), tamed(torch.from_numpy(e.observations[t : t + 1]))
    )
    here, values = TanhGaussian(law.mean[t], law.log_std[t]), []
    for z in known_draws(model.config.value_samples, 1, 1, 1, device=model.device).flatten():
        actions = tanh_sample(here, z.expand(here.mean.shape), model.real)[0]
        values.append(critic.value(context[0], actions))
    return torch.stack(values).mean(0)


def taken_q(critic: Critic, e: Episode) -> torch.Tensor:
    """Q_i of what was done; (T, N)."""
    context = critic.context(tamed(torch.from_numpy(e.state[:-1])), tamed(torch.from_numpy(e.observations[:-1])))
    return critic.value(context, torch.from_numpy(e.actions))


@torch.no_grad()
def returns_by_hand(model: ContinuousICQ, batch: list[Episode]) -> list[list[float]]:
    """The λ-returns of Eq. (14) of every episode, by loops."""
    config, mixer = model.config, model.target_mixer
    taken = [mixer(taken_q(model.target_critic, e), tamed(torch.from_numpy(e.state[:-1]))).tolist() for e in batch]
    found = []
    for k, e in enumerate(batch):
        end = len(e)
        law = model.actor.law(stepwise(model.actor, e))
        at_end = mixer(
            expected_q(model, model.target_critic, law, e, end), tamed(torch.from_numpy(e.state[end]))
        ).item()
        later, row = 0.0, [0.0] * end
        for t in range(end - 1, -1, -1):
            if t + 1 == end:
                future = 0.0 if e.terminal else at_end
            else:
                rivals = [other[t + 1] for other in taken if len(other) > t + 1]
                mean = np.mean([math.exp(x / config.critic_beta) for x in rivals])
                value = math.exp(taken[k][t + 1] / config.critic_beta) / mean * taken[k][t + 1]
                future = (1 - config.td_lambda) * value + config.td_lambda * later
            later = row[t] = float(e.rewards[t]) + config.gamma * future
        found.append(row)
    return found


def test_update_computes_the_losses_of_plain_loops_with_padding_ends_and_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "normal", known_draws)
    model, batch = agent(critic_beta=2.0, critic_hidden=16, trust_at_cut=1.0), mixed_lengths()
    shaken(model.actor, model.critic, model.target_critic, model.target_mixer)
    returns = returns_by_hand(model, batch)
    error, log_pi, score = 0.0, {}, {}
    with torch.no_grad():
        for k, e in enumerate(batch):
            law, q = model.actor.law(stepwise(model.actor, e)), taken_q(model.critic, e)
            w, b = model.mixer.weights(tamed(torch.from_numpy(e.state[:-1])))
            assert b is not None
            for t in range(len(e)):
                here = TanhGaussian(law.mean[t], law.log_std[t])
                own = tanh_log_prob(here, torch.from_numpy(e.actions[t]), model.real)
                advantage = q[t] - expected_q(model, model.critic, law, e, t)
                for n in range(2):
                    log_pi[k, t, n], score[k, t, n] = float(own[n]), float(w[t, n] * advantage[n])
                error += (float((w[t] * q[t]).sum() + b[t]) - returns[k][t]) ** 2
    loss = 0.0
    for k, t, n in score:
        rivals = [score[j, t, n] for j in range(3) if (j, t, n) in score]
        weight = math.exp(score[k, t, n] / 0.1) / float(np.mean([math.exp(x / 0.1) for x in rivals]))
        loss -= weight * log_pi[k, t, n] / len(score)
    steps = sum(len(e) for e in batch)
    metrics = model.update(batch_of(batch))
    assert float(metrics["target"]) == pytest.approx(sum(map(sum, returns)) / steps, rel=1e-4)
    assert float(metrics["critic_loss"]) == pytest.approx(error / steps, rel=1e-4)
    assert float(metrics["actor_loss"]) == pytest.approx(loss, rel=1e-3)


def test_dead_agents_have_no_part_in_the_actors_loss() -> None:
    batch = batch_of(mixed_lengths())
    alive, actions = batch.alive.clone(), batch.actions.clone()
    alive[1, 4, 0], actions[1, 4, 0] = False, 0.9
    found = []
    for a in (batch.actions, actions):
        torch.manual_seed(0)
        found.append(agent().update(replace(batch, alive=alive, actions=a)))
    assert found[0]["actor_loss"] == found[1]["actor_loss"]
    assert found[0]["critic_loss"] != found[1]["critic_loss"]


def test_sequential_critic_steps_are_one_for_each_time_step_in_turn() -> None:
    together, in_turn = (agent(critic_mode=m, target_interval=5) for m in ("batch", "sequential"))
    batch, metrics = batch_of(mixed_lengths()), []
    for model in (together, in_turn):
        torch.manual_seed(0)
        metrics.append(model.update(batch))
    assert metrics[0]["target"] == metrics[1]["target"]
    assert metrics[0]["actor_loss"] == metrics[1]["actor_loss"]
    assert [next(iter(m.optimizers["critic"].state.values()))["step"] for m in (together, in_turn)] == [1, 5]
    assert (together.renewal.since, in_turn.renewal.since) == (1, 0)


@pytest.mark.parametrize("settings", [{}, {"preset": "official", "critic_lr": 1e-3, "steps": 80}], ids=["", "official"])
def test_actions_at_the_bounds_and_huge_observations_leave_everything_finite(settings: dict[str, Any]) -> None:
    model, batch = agent(**settings), at_the_bounds(batch_of(mixed_lengths()))
    batch = replace(batch, obs=100 * batch.obs, state=100 * batch.state)
    for _ in range(20):
        metrics = model.update(batch)
    assert everything_is_finite(model, metrics)


@pytest.mark.parametrize(
    "settings", [{}, {"preset": "official", "critic_lr": 1e-3, "steps": 100}], ids=["default", "official"]
)
def test_it_learns_what_few_in_the_data_do(settings: dict[str, Any]) -> None:
    data = careless_dataset(256, right=0.35)
    model = agent(SPEC, **LEARN | settings)
    train(model, data)
    assert mean_return(model) > -0.2
    assert mean_return(model, greedy=False) > -0.5


def test_without_the_weights_it_does_what_most_do() -> None:
    model = agent(SPEC, **LEARN, beta=1e6)
    train(model, careless_dataset(256, right=0.35))
    assert mean_return(model) < BLIND


def test_it_learns_of_two_agents_one_of_which_has_less_to_move() -> None:
    model = agent(**LEARN)
    train(model, careless_dataset(256, right=0.35, spec=PADDED))
    assert mean_return(model) > -0.2


def test_it_keeps_the_contract() -> None:
    check_agent("icq", uniform_dataset(12, PADDED), **SMALL)
    check_agent("icq", uniform_dataset(12), critic_mode="sequential", **SMALL)


def test_the_official_preset_is_that_of_the_discrete_form() -> None:
    config = agent(preset="official").config
    assert (config.critic_mode, config.critic_beta, config.td_lambda, config.value_samples) == (
        "sequential", 1000.0, 0.75, 4,
    )  # fmt: skip
