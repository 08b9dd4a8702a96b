"""ICQ: Eq. (14) by hand, the update as a whole, both ways to step the critic, and that the weights make it work."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from baselines.icq import ICQ, Critic, ICQConfig, expected_value, log_policy
from baselines.icq_equations import actor_loss, actor_weights, critic_loss, implicit_value
from offmarl_bench.agent import make_agent
from offmarl_bench.collate import collate
from offmarl_bench.errors import FormatError
from offmarl_bench.testing import check_agent
from offmarl_bench.types import Episode
from tests.imbalanced_toy import mean_return, train
from tests.test_qmix import episodes, shortened
from tests.toy_data import SPEC, careless_dataset, shaken, stepwise

LEARN: dict[str, Any] = {"actor_lr": 5e-3, "critic_lr": 3e-3, "critic_hidden": 64, "steps": 250}


def agent(**settings: Any) -> ICQ:
    made = make_agent("icq", SPEC, **settings)
    assert isinstance(made, ICQ)
    return made


def test_policy_with_a_floor_by_hand() -> None:
    logits, legal = torch.tensor([math.log(3.0), 0.0, 9.0]), torch.tensor([True, True, False])
    assert log_policy(logits, legal, 0.0).exp().tolist() == pytest.approx([0.75, 0.25, 0])
    assert log_policy(logits, legal, 0.2).exp().tolist() == pytest.approx([0.8 * 0.75 + 0.1, 0.8 * 0.25 + 0.1, 0])
    assert log_policy(logits, legal, 1.0).exp().tolist() == pytest.approx([0.5, 0.5, 0])


def test_the_floor_has_finite_gradients() -> None:
    logits = torch.tensor([200.0, 0.0, 9.0], requires_grad=True)
    log_policy(logits, torch.tensor([True, True, False]), 0.1)[1].backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_expected_value_by_hand() -> None:
    log_pi = torch.tensor([math.log(0.75), math.log(0.25), -math.inf])
    assert expected_value(log_pi, torch.tensor([4.0, 8.0, 99.0])).item() == pytest.approx(5)


def test_eq_14_actor_weights_by_hand() -> None:
    # Two episodes, one step, one agent, a third one dead: e^(2 · ln 3 / 2 / 1) = 3 against 1, so 3/4 and 1/4 of 2.
    q = torch.tensor([math.log(3.0) / 2, 0.0, 99.0]).view(3, 1, 1)
    w, mask = torch.full((3, 1, 1), 2.0), torch.tensor([True, True, False]).view(3, 1, 1)
    assert actor_weights(q, w, 1.0, mask, inside=True).flatten().tolist() == pytest.approx([1.5, 0.5, 0])
    assert actor_weights(q, w, 0.5, mask, inside=True).flatten().tolist() == pytest.approx([1.8, 0.2, 0])
    assert actor_weights(q, w, 0.5, mask, inside=False).flatten().tolist() == pytest.approx([3, 1, 0])


def test_eq_14_actor_loss_by_hand() -> None:
    log_pi, mask = (
        torch.tensor([[[-1.0], [-2.0]], [[-4.0], [-math.inf]]]),
        torch.tensor([[[True], [True]], [[True], [False]]]),
    )
    weight = torch.tensor([[[1.5], [1.0]], [[0.5], [0.0]]])
    assert actor_loss(log_pi, weight, mask).item() == pytest.approx((1.5 + 2 + 2) / 3)


def test_eq_14_implicit_value_and_critic_loss_by_hand() -> None:
    q_tot, mask = torch.tensor([[math.log(3.0)], [0.0], [99.0]]), torch.tensor([[True], [True], [False]])
    assert implicit_value(q_tot, 1.0, mask).flatten().tolist() == pytest.approx([1.5 * math.log(3), 0, 0])
    assert implicit_value(q_tot, 1e9, mask).flatten().tolist() == pytest.approx([math.log(3), 0, 0])
    assert critic_loss(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])).item() == (4 + 9) / 2


def test_the_critic_is_one_layer_on_state_observation_and_id() -> None:
    critic, k = Critic(SPEC, 8), 3
    state, obs = torch.randn(k, SPEC.S), torch.randn(k, SPEC.N, SPEC.O)
    x = torch.cat([state[:, None].expand(-1, SPEC.N, -1), obs, torch.eye(SPEC.N).expand(k, -1, -1)], -1)
    h = critic.second(critic.first(x).relu()).relu()
    assert torch.allclose(critic(state, obs), critic.value(h) + critic.advantages(h), atol=1e-6)


@torch.no_grad()
def targets_by_hand(model: ICQ, batch: list[Episode]) -> list[list[float]]:
    """The λ-returns of Eq. (14) of every episode, by loops."""
    config, taken, at_end = model.config, [], []
    for e in batch:
        state, end = torch.from_numpy(e.state), len(e)
        q = model.target_critic(state, torch.from_numpy(e.observations))
        taken.append([
            model.target_mixer(torch.stack([q[t, n, e.actions[t, n]] for n in range(SPEC.N)]), state[t]).item()
            for t in range(end)
        ])  # fmt: skip
        assert e.legal_actions is not None
        legal = torch.from_numpy(e.legal_actions[end])
        pi = stepwise(model.actor, e)[end].masked_fill(~legal, -torch.inf).softmax(-1)
        at_end.append(model.target_mixer((pi * q[end]).sum(-1), state[end]).item())
    returns = []
    for k, e in enumerate(batch):
        later, row = 0.0, [0.0] * len(e)
        for t in range(len(e) - 1, -1, -1):
            if t + 1 == len(e):
                future = 0.0 if e.terminal else at_end[k]
            else:
                present = [row_of[t + 1] for row_of in taken if len(row_of) > t + 1]
                mean = np.mean([math.exp(x / config.critic_beta) for x in present])
                value = math.exp(taken[k][t + 1] / config.critic_beta) / mean * taken[k][t + 1]
                future = (1 - config.td_lambda) * value + config.td_lambda * later
            later = row[t] = float(e.rewards[t]) + config.gamma * future
        returns.append(row)
    return returns


def test_update_computes_the_losses_of_plain_loops_with_padding_ends_and_cuts() -> None:
    model, (a, b, c, *_) = agent(critic_beta=2.0, trust_at_cut=1.0), episodes()
    shaken(model.actor, model.critic, model.target_critic, model.target_mixer)
    batch = [shortened(a, 3), b, shortened(c, 5)]
    returns = targets_by_hand(model, batch)
    critic_error, log_pi, score = 0.0, {}, {}
    with torch.no_grad():
        for k, e in enumerate(batch):
            state = torch.from_numpy(e.state)
            q, logits = model.critic(state, torch.from_numpy(e.observations)), stepwise(model.actor, e)
            assert e.legal_actions is not None
            log_p = logits.masked_fill(~torch.from_numpy(e.legal_actions), -torch.inf).log_softmax(-1)
            w, bias = model.mixer.weights(state)
            assert bias is not None
            for t in range(len(e)):
                total = float(bias[t])
                for n in range(SPEC.N):
                    did = e.actions[t, n]
                    total += float(w[t, n] * q[t, n, did])
                    log_pi[k, t, n] = float(log_p[t, n, did])
                    score[k, t, n] = float(w[t, n] * (q[t, n, did] - (log_p[t, n].exp() * q[t, n]).sum()))
                critic_error += (total - returns[k][t]) ** 2
    loss = 0.0
    for k, t, n in score:
        rivals = [score[j, t, n] for j in range(3) if (j, t, n) in score]
        weight = math.exp(score[k, t, n] / 0.1) / float(np.mean([math.exp(x / 0.1) for x in rivals]))
        loss -= weight * log_pi[k, t, n] / len(score)
    steps = sum(len(e) for e in batch)
    metrics = model.update(collate(batch, SPEC))
    assert float(metrics["target"]) == pytest.approx(sum(map(sum, returns)) / steps, rel=1e-4)
    assert float(metrics["critic_loss"]) == pytest.approx(critic_error / steps, rel=1e-4)
    assert float(metrics["actor_loss"]) == pytest.approx(loss, rel=1e-3)


def test_dead_agents_have_no_part_in_the_actors_loss() -> None:
    batch = collate(episodes(4), SPEC)
    alive, actions = batch.alive.clone(), batch.actions.clone()
    alive[1, 7, 3] = False
    assert batch.legal is not None
    actions[1, 7, 3] = next(a for a in batch.legal[1, 7, 3].nonzero()[:, 0] if a != actions[1, 7, 3])
    first, second = (agent().update(replace(batch, alive=alive, actions=a)) for a in (batch.actions, actions))
    assert first["actor_loss"] == second["actor_loss"]
    assert first["critic_loss"] != second["critic_loss"]


def test_sequential_critic_steps_are_one_for_each_time_step_in_turn() -> None:
    together, in_turn = (agent(critic_mode=m, target_interval=8) for m in ("batch", "sequential"))
    batch = collate(episodes(4), SPEC)
    before = {k: v.clone() for k, v in in_turn.target_critic.state_dict().items()}
    metrics = [model.update(batch) for model in (together, in_turn)]
    assert metrics[0]["target"] == metrics[1]["target"]
    assert metrics[0]["actor_loss"] == metrics[1]["actor_loss"]
    assert [next(iter(m.optimizers["critic"].state.values()))["step"] for m in (together, in_turn)] == [1, SPEC.horizon]
    assert together.renewal.since == 1
    assert in_turn.renewal.since == 0, "eight critic steps make the interval full"
    assert not torch.equal(before["first.weight"], in_turn.target_critic.state_dict()["first.weight"])


@pytest.mark.parametrize(
    "settings", [{}, {"preset": "official", "critic_lr": 1e-3, "steps": 60}], ids=["default", "official"]
)
def test_it_learns_what_few_in_the_data_do(settings: dict[str, Any]) -> None:
    model = agent(**LEARN | settings)
    train(model, careless_dataset(256, right=0.35))
    assert mean_return(model) > 0.95 * SPEC.horizon


def test_without_the_weights_it_does_what_most_do() -> None:
    model = agent(**LEARN, beta=1e6)
    train(model, careless_dataset(256, right=0.35))
    assert mean_return(model) < 0.5 * SPEC.horizon


def test_it_keeps_the_contract() -> None:
    check_agent("icq", hidden=8, mixer_embed=4, critic_hidden=8, target_interval=4)
    check_agent(
        "icq", hidden=8, mixer_embed=4, critic_hidden=8, target_interval=20, critic_mode="sequential", floor=0.1
    )


def test_presets() -> None:
    shared = ICQConfig(beta=0.1, actor_lr=5e-4, critic_lr=1e-4, clip=10.0, largest_return=0.0)
    paper = replace(shared, critic_beta=0.1, advantage=False, critic_hidden=32, td_lambda=0.8, normalise_mixer=False)
    official = replace(
        shared, critic_beta=1000.0, td_lambda=0.75, weigh_inside=False, floor=0.05, critic_mode="sequential", clip=20.0,
        mixer_bias=False, critic_hidden=256, target_interval=600,
    )  # fmt: skip
    assert agent(preset="paper").config == paper
    assert agent(preset="official").config == official
    played = agent(preset="official").policy(greedy=False)
    assert (played.greedy, played.epsilon) == (False, 0.05)
    assert agent(preset="official").policy().epsilon == 0


def test_what_it_refuses() -> None:
    with pytest.raises(FormatError, match="ICQ: critic_mode is 'both', expected one of batch, sequential"):
        ICQConfig(critic_mode="both")
    with pytest.raises(FormatError, match="ICQ: beta is 0, expected a number above 0"):
        ICQConfig(beta=0)
