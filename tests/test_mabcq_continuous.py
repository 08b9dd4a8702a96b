"""MABCQ of continuous actions: its formulas by hand, the update by plain loops, and that being near the data counts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines import draws
from baselines.generator import Generator, Perturbation, generator_loss, normal_divergence
from baselines.mabcq import MABCQ
from baselines.mabcq_continuous import Chooser, ContinuousMABCQ, bcq_loss, perturbation_loss, soft_clipped
from offmarl_bench.agent import make_agent
from offmarl_bench.continuous import only_real, tamed
from offmarl_bench.errors import FormatError
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
from tests.toy_continuous import BLIND, PADDED, SPEC, careless_dataset, expert_dataset, mean_return, uniform_dataset
from tests.toy_data import shaken

LEARN: dict[str, Any] = {
    "lr": 5e-3, "behaviour_steps": 100, "steps": 100, "candidates": 5, "play_candidates": 20, "hidden": 32
}  # fmt: skip
SMALL: dict[str, Any] = {"hidden": 8, "mixer_embed": 4, "target_interval": 4, "candidates": 2, "play_candidates": 3}


def agent(spec: EnvSpec = PADDED, **settings: Any) -> ContinuousMABCQ:
    made = make_agent("mabcq", spec, **settings)
    assert isinstance(made, ContinuousMABCQ)
    return made


def test_one_name_has_two_forms() -> None:
    assert MABCQ.form(SPEC) is ContinuousMABCQ


def test_the_divergence_from_a_normal_distribution_by_hand() -> None:
    mean, log_std = torch.tensor([0.0, 2.0, 0.0]), torch.tensor([0.0, 0.0, math.log(2.0)])
    assert normal_divergence(mean, log_std).tolist() == pytest.approx([0, 2, 1.5 - math.log(2)])


def test_the_generators_loss_by_hand() -> None:
    # Agent 0: errors 1 and 4, mean 2.5; agent 1 has one component: 9. Divergences 2 and 0.5, of weight ½.
    made, actions = torch.tensor([[[1.0, 2.0], [3.0, 99.0]]]), torch.zeros(1, 2, 2)
    mean, log_std = torch.tensor([[[2.0], [1.0]]]), torch.zeros(1, 2, 1)
    real, both = torch.tensor([[True, True], [True, False]]), torch.tensor([[True, True]])
    loss = generator_loss(made, actions, mean, log_std, real, both, 0.5)
    assert loss.item() == pytest.approx(((2.5 + 1) + (9 + 0.25)) / 2)
    assert generator_loss(made, actions, mean, log_std, real, both & torch.tensor([True, False]), 0.5).item() == 3.5


def test_a_perturbed_action_is_near_and_inside() -> None:
    perturb, actions = Perturbation(3, 8, 0.05), torch.tensor([[-1.0, 0.0, 0.98]])
    shaken(perturb)
    perturb.out.bias.data.fill_(50.0)  # ξ as large as it can be
    assert perturb(torch.zeros(1, 8), actions)[0].tolist() == pytest.approx([-0.95, 0.05, 1.0])


def test_two_critics_joined_by_hand() -> None:
    first, second = torch.tensor([1.0, 8.0]), torch.tensor([5.0, 4.0])
    assert soft_clipped(first, second, 0.75).tolist() == [2, 5]
    assert soft_clipped(first, second, 1.0).tolist() == [1, 4]


def test_eq_12_losses_by_hand() -> None:
    q_tots, target = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([3.0, 5.0])
    assert bcq_loss(q_tots, target).item() == (4 + 9) / 2 + (0 + 1) / 2
    w, q, alive = torch.tensor([[2.0, 1.0]]), torch.tensor([[3.0, math.nan]]), torch.tensor([[True, False]])
    assert perturbation_loss(w, q, alive).item() == -6


@torch.no_grad()
def decoding(model: ContinuousMABCQ, e: Episode) -> Tensor:
    """The generator's features for decoding, one step at a time; (T + 1, N, H)."""
    h, rows = model.generator.net.initial(2), []
    for t in range(len(e) + 1):
        last = torch.from_numpy(e.actions[t - 1]) if t else torch.zeros(2, 2)
        x = model.critic.inputs(torch.from_numpy(e.observations[t]), last, torch.arange(2))
        out, h = model.generator.net.step(x, h)
        rows.append(out[:, out.shape[1] // 2 :])
    return torch.stack(rows)


@torch.no_grad()
def by_hand(model: ContinuousMABCQ, e: Episode) -> tuple[float, float]:
    """Sums of Eq. (12) of both critics and of the perturbation's loss over one episode, by loops."""
    config, state = model.config, tamed(torch.from_numpy(e.state))
    assert model.second is not None
    assert model.target_second is not None
    critics, targets = (model.critic, model.second), (model.target_critic, model.target_second)
    features, theirs = [stepwise(c, e) for c in critics], [stepwise(c, e) for c in targets]
    made_of, latents = decoding(model, e), known_draws(config.candidates, 1, 1, 1, device=model.device).flatten()
    total, perturbation = 0.0, 0.0
    for t in range(len(e)):
        future = torch.full((2,), -torch.inf)
        for z in latents:
            made = model.generator.decode(made_of[t + 1], z.clamp(-0.5, 0.5).expand(2, model.latent_size))
            moved = only_real(model.target_perturb(made_of[t + 1], made), model.real)
            q = torch.stack([c.value(f[t + 1], moved) for c, f in zip(targets, theirs, strict=True)])
            future = torch.maximum(future, 0.75 * q.amin(0) + 0.25 * q.amax(0))
        ends = e.terminal and t == len(e) - 1
        y = float(e.rewards[t]) + config.gamma * (0.0 if ends else model.target_mixer(future, state[t + 1]).item())
        for c, f in zip(critics, features, strict=True):
            total += (model.mixer(c.value(f[t], torch.from_numpy(e.actions[t])), state[t]).item() - y) ** 2
        made = model.generator.decode(made_of[t], latents[0].clamp(-0.5, 0.5).expand(2, model.latent_size))
        moved = only_real(model.perturb(made_of[t], made), model.real)
        perturbation -= float((model.mixer.weights(state[t])[0] * model.critic.value(features[0][t], moved)).sum())
    return total, perturbation


def test_update_computes_the_losses_of_plain_loops_with_padding_ends_and_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "normal", known_draws)
    model, found = agent(candidates=3, perturbation=0.3, trust_at_cut=1.0), mixed_lengths()
    assert model.second is not None
    assert model.target_second is not None
    shaken(model.critic, model.second, model.target_critic, model.target_second, model.target_mixer)
    shaken(model.generator, model.perturb, model.target_perturb)
    sums, steps = [by_hand(model, e) for e in found], sum(len(e) for e in found)
    metrics = model.learn(batch_of(found))
    assert float(metrics["loss"]) == pytest.approx(sum(s[0] for s in sums) / steps, rel=1e-4)
    assert float(metrics["perturb_loss"]) == pytest.approx(sum(s[1] for s in sums) / steps / 2, rel=1e-4)


def test_the_generator_is_learnt_first_and_then_left_alone() -> None:
    model = agent(**SMALL)
    imitate, learn = model.phases(uniform_dataset(8, PADDED))
    assert [p.name for p in (imitate, learn)] == ["imitate", "learn"]
    batch = imitate.batches(np.random.default_rng(0))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    imitate.update(batch)
    middle = {k: v.clone() for k, v in model.state_dict().items()}
    learn.update(batch)
    changed = [{k.split(".")[0] for k in a if not torch.equal(a[k], b[k])} for a, b in (
        (before, middle), (middle, model.state_dict()),
    )]  # fmt: skip
    assert changed == [{"generator"}, {"critic", "second", "mixer", "perturb", "renewal"}]


def test_padding_dead_agents_and_components_that_are_not_there_teach_the_generator_nothing() -> None:
    batch = batch_of(mixed_lengths())
    alive, actions, obs = batch.alive.clone(), batch.actions.clone(), batch.obs.clone()
    alive[1, 4, 0], actions[1, 4, 0] = False, 0.9
    actions[0, 3:], obs[0, 4:] = 0.9, 9.0
    found = []
    for changed in ({}, {"actions": actions, "obs": obs}):
        torch.manual_seed(0)
        found.append(agent(seed=3).imitate(replace(batch, alive=alive, **changed))["loss"])
    assert found[0] == found[1]


def test_play_is_the_best_of_what_is_generated() -> None:
    model = agent(play_candidates=30)
    shaken(model.critic, model.generator, model.perturb)
    chooser = Chooser(model.critic, model.generator, model.perturb, model.latents, model.real)
    obs, ids = torch.randn(4, PADDED.O), torch.tensor([0, 1, 0, 1])
    raw, _ = chooser.step(obs, torch.zeros(4, 2), chooser.initial(4), ids)
    x = model.critic.inputs(obs, torch.zeros(4, 2), ids)
    features = model.critic.net.step(x, model.critic.net.initial(4))[0]
    made_of = model.generator.net.step(x, model.generator.net.initial(4))[0].chunk(2, -1)[1]
    for k in range(4):
        every = model.perturb(made_of[k], model.generator.decode(made_of[k], model.latents))
        every = only_real(every, model.real[ids[k]])
        best = every[model.critic.value(features[k], every).argmax()]
        assert torch.allclose(torch.tanh(raw[k]), best, atol=1e-5)


def test_actions_at_the_bounds_and_huge_observations_leave_everything_finite() -> None:
    model, batch = agent(), at_the_bounds(batch_of(mixed_lengths()))
    batch = replace(batch, obs=100 * batch.obs, state=100 * batch.state)
    for _ in range(20):
        made, learnt = model.imitate(batch), model.learn(batch)
    assert everything_is_finite(model, {**made, **learnt})


def test_it_learns_from_data_that_show_only_right_answers() -> None:
    model = agent(SPEC, **LEARN)
    train(model, expert_dataset(128))
    assert mean_return(model) > -0.2
    assert -0.5 < mean_return(model, greedy=False) < mean_return(model)


def test_free_to_leave_the_data_it_trusts_what_it_never_saw() -> None:
    model = agent(SPEC, **LEARN, perturbation=2.0)
    train(model, expert_dataset(128))
    assert mean_return(model) < -1.0


def test_rewards_decide_among_what_the_data_show() -> None:
    model = agent(SPEC, **LEARN | {"behaviour_steps": 250, "latent_clip": 2.0})
    train(model, careless_dataset(256, right=0.35))
    assert mean_return(model) > 0.3 * BLIND


def test_it_learns_of_two_agents_one_of_which_has_less_to_move() -> None:
    model = agent(**LEARN, double_q=False)
    assert model.second is None
    train(model, expert_dataset(128, PADDED))
    assert mean_return(model) > -0.2


def test_it_keeps_the_contract() -> None:
    check_agent("mabcq", uniform_dataset(12, PADDED), **SMALL)
    check_agent("mabcq", uniform_dataset(12), **SMALL, double_q=False)


def test_presets_and_what_it_refuses() -> None:
    assert agent(preset="paper").second is None
    assert agent().policy().noise == 0
    assert agent(play_noise=0.2).policy(greedy=False).noise == 0.2
    assert agent().latents.abs().max() <= 0.5
    assert agent().latents.shape == (100, 4)
    for name, value, expected in (
        ("candidates", 0, "at least 1"),
        ("perturbation", -0.1, "a number from 0"),
        ("soft_clip", 1.5, "a number from 0 to 1"),
        ("latent_clip", 0, "a number above 0"),
    ):
        settings: dict[str, Any] = {name: value}
        with pytest.raises(FormatError, match=f"MABCQ: {name} is {value}, expected {expected}"):
            agent(**settings)


def test_latents_of_the_data_decode_to_the_data() -> None:
    generator = Generator(3, 2, 4, 8)
    features = torch.zeros(5, 8)
    mean, log_std = generator.encode(features, torch.randn(5, 2))
    assert mean.shape == log_std.shape == (5, 4)
    assert generator.decode(features, torch.randn(7, 5, 4)).shape == (7, 5, 2)
    assert generator.decode(features, mean).abs().max() < 1
