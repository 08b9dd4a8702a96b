"""MACQL of continuous actions: its formulas by hand, the update by plain loops, and that the gap makes it work."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines import draws
from baselines.macql import MACQL, MACQLConfig
from baselines.macql_continuous import ContinuousMACQL, actor_loss, log_integral, temperature_loss
from baselines.macql_equations import team_gap
from offmarl_bench.agent import make_agent
from offmarl_bench.continuous import TanhGaussian, only_real, tamed, tanh_sample
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
    "lr": 5e-3, "actor_lr": 5e-3, "temperature_lr": 5e-3, "samples": 4, "hidden": 32, "warm_up": 0, "steps": 120
}  # fmt: skip
SMALL: dict[str, Any] = {"hidden": 8, "mixer_embed": 4, "target_interval": 4, "samples": 2}
U = math.log(0.25)
"""Log-density of a uniform draw of two components."""


def agent(spec: EnvSpec = PADDED, **settings: Any) -> ContinuousMACQL:
    made = make_agent("macql", spec, **settings)
    assert isinstance(made, ContinuousMACQL)
    return made


def test_one_name_has_two_forms() -> None:
    assert MACQL.form(SPEC) is ContinuousMACQL


def test_the_log_integral_by_hand() -> None:
    # Densities ¼ for two uniform draws, ½ and 2 for two of the policy: (1/¼ + 3/¼ + 2/½ + 4/2) / 4 = 22 / 4.
    uniform, own = torch.tensor([[1.0], [3.0]]).log(), torch.tensor([[2.0], [4.0]]).log()
    log_own = torch.tensor([[0.5], [2.0]]).log()
    assert log_integral(uniform, own, torch.tensor([U]), log_own).exp().item() == pytest.approx(5.5)


def test_the_log_integral_is_one_of_a_parabola() -> None:
    # ∫ exp(−2 a²) da over [−1, 1] = √(π/2) erf(√2) = 1.1963, whoever proposes the actions.
    torch.manual_seed(0)
    law = TanhGaussian(torch.full((1,), 0.4), torch.zeros(1))
    own, log_own = tanh_sample(law, torch.randn(100_000, 1))
    uniform = draws.uniform(100_000, 1, device=torch.device("cpu"))
    found = log_integral(-2 * uniform[:, 0] ** 2, -2 * own[:, 0] ** 2, torch.tensor(-math.log(2.0)), log_own)
    assert found.exp().item() == pytest.approx(1.1963, rel=0.01)


def test_the_gap_of_a_team_by_hand() -> None:
    soft, taken = torch.tensor([[5.0, 7.0]]), torch.tensor([[1.0, 2.0]])
    both, one = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    assert team_gap(soft, taken, None, both).tolist() == [9]
    assert team_gap(soft, taken, None, one).tolist() == [4]
    assert team_gap(soft, taken, torch.tensor([10.0]), both).tolist() == [9 + (2 - 1) * 10]


def test_the_policys_losses_by_hand() -> None:
    log_pi, worth, alive = torch.tensor([[-1.0, 2.0]]), torch.tensor([[1.5, math.nan]]), torch.tensor([[True, False]])
    assert actor_loss(log_pi, worth, torch.tensor(0.2), alive).item() == pytest.approx(-0.2 - 1.5)
    # Entropy 1 where −2 is wanted: α shall fall, so the loss rises with log α.
    log_alpha = torch.tensor(0.5, requires_grad=True)
    loss = temperature_loss(log_alpha, log_pi, torch.tensor([-2.0, -1.0]), alive)
    assert loss.item() == pytest.approx(0.5 * 3)
    assert torch.autograd.grad(loss, log_alpha)[0].item() == 3


@torch.no_grad()
def by_hand(model: ContinuousMACQL, e: Episode) -> tuple[float, float]:
    """Sums of Eq. (13) and of the policy's loss over one episode, by loops."""
    config, critic, target, state = model.config, model.critic, model.target_critic, tamed(torch.from_numpy(e.state))
    features, theirs, law = stepwise(critic, e), stepwise(target, e), model.actor.law(stepwise(model.actor, e))
    steps, real = known_draws(config.samples, 1, 1, 1, device=model.device).flatten(), model.real

    def own(t: int, z: Tensor) -> tuple[Tensor, Tensor]:
        return tanh_sample(TanhGaussian(law.mean[t], law.log_std[t]), z.expand(2, 2), real)

    total, policy = 0.0, 0.0
    for t in range(len(e)):
        later = torch.stack([target.value(theirs[t + 1], own(t + 1, z)[0]) for z in steps]).mean(0)
        ends = e.terminal and t == len(e) - 1
        y = float(e.rewards[t]) + config.gamma * (0.0 if ends else model.target_mixer(later, state[t + 1]).item())
        w, b = model.mixer.weights(state[t])
        assert b is not None
        did = critic.value(features[t], torch.from_numpy(e.actions[t]))
        gap = 0.0
        for n, size in enumerate((2, 1)):
            terms = []
            for z in steps:
                uniform = only_real(z.expand(2, 2), real)
                terms.append(float(w[n] * critic.value(features[t], uniform)[n]) + size * math.log(2))
                actions, log_pi = own(t, z)
                terms.append(float(w[n] * critic.value(features[t], actions)[n] - log_pi[n]))
            gap += math.log(sum(math.exp(x) for x in terms) / len(terms)) - float(w[n] * did[n])
        total += config.beta_cql * gap + (y - float((w * did).sum() + b)) ** 2 / 2
        actions, log_pi = own(t, torch.tensor(0.3))
        policy += float((config.temperature * log_pi - w * critic.value(features[t], actions)).sum())
    return total, policy


def test_update_computes_the_losses_of_plain_loops_with_padding_ends_and_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "normal", known_draws)
    monkeypatch.setattr(draws, "uniform", known_draws)
    model, found = agent(samples=3, warm_up=0, trust_at_cut=1.0), mixed_lengths()
    shaken(model.actor, model.critic, model.target_critic, model.target_mixer)
    sums = [by_hand(model, e) for e in found]
    steps = sum(len(e) for e in found)
    metrics = model.update(batch_of(found))
    assert float(metrics["loss"]) == pytest.approx(sum(s[0] for s in sums) / steps, rel=1e-4)
    assert float(metrics["actor_loss"]) == pytest.approx(sum(s[1] for s in sums) / steps / 2, rel=1e-4)


def test_the_bias_counts_where_the_printed_equation_has_it() -> None:
    plain, printed = agent(), agent(preset="paper")
    batch, gaps = batch_of(mixed_lengths()), []
    assert printed.mixer.b is not None
    for model in (plain, printed):
        torch.manual_seed(0)
        gaps.append(float(model.update(batch)["gap"]))
    fresh = agent(preset="paper").mixer
    assert fresh.b is not None
    states = torch.cat([batch.state[k, :n] for k, n in enumerate(batch.lengths.tolist())])
    assert gaps[1] - gaps[0] == pytest.approx(fresh.b(tamed(states)).mean().item(), abs=1e-5)


def test_dead_agents_have_no_part_in_the_gap() -> None:
    batch = batch_of(mixed_lengths())
    assert float(agent().update(replace(batch, alive=torch.zeros_like(batch.alive)))["gap"]) == 0


def test_actions_at_the_bounds_and_huge_observations_leave_everything_finite() -> None:
    model, batch = agent(), at_the_bounds(batch_of(mixed_lengths()))
    batch = replace(batch, obs=100 * batch.obs, state=100 * batch.state)
    for _ in range(20):
        metrics = model.update(batch)
    assert everything_is_finite(model, metrics)


def test_it_learns_from_data_that_show_only_right_answers() -> None:
    model = agent(SPEC, **LEARN)
    train(model, expert_dataset(128))
    assert mean_return(model) > -0.2


def test_without_the_conservative_term_it_trusts_what_it_never_saw() -> None:
    model = agent(SPEC, **LEARN, beta_cql=0.0)
    train(model, expert_dataset(128))
    assert mean_return(model) < -1.0


def test_rewards_still_decide_where_the_data_show_both() -> None:
    model = agent(SPEC, **LEARN, beta_cql=0.05)
    train(model, careless_dataset(256, right=0.35))
    assert mean_return(model) > 0.3 * BLIND


def test_it_learns_of_two_agents_one_of_which_has_less_to_move() -> None:
    model = agent(**LEARN)
    train(model, expert_dataset(128, PADDED))
    assert mean_return(model) > -0.2


def test_the_entropy_settles_where_it_is_wanted() -> None:
    model = agent(SPEC, **LEARN | {"temperature_lr": 5e-2}, beta_cql=0.0, entropy=-0.5)
    metrics = train(model, uniform_dataset(64))
    assert metrics["learn"]["entropy"] == pytest.approx(2 * -0.5, abs=0.7)
    fixed = agent(SPEC, temperature_lr=0.0, temperature=0.3)
    fixed.update(batch_of(list(uniform_dataset(4).episodes()), SPEC))
    assert fixed.log_alpha.exp().item() == pytest.approx(0.3)


def test_the_policy_imitates_while_values_know_nothing() -> None:
    model, data = agent(SPEC, **LEARN | {"warm_up": 100, "steps": 100}), careless_dataset(128, right=0.1)
    train(model, data)
    assert mean_return(model) < 2 * BLIND, "what most do, whatever it pays"
    model, batch = agent(warm_up=3), batch_of(mixed_lengths())
    model.updates = 3
    model.load_state_dict(agent(warm_up=3).state_dict())
    assert model.updates == 0, "the count is part of the checkpoint"
    for _ in range(3):
        model.update(batch)
    assert model.updates == 3


def test_it_keeps_the_contract() -> None:
    check_agent("macql", uniform_dataset(12, PADDED), **SMALL, warm_up=4)


def test_what_it_refuses() -> None:
    with pytest.raises(FormatError, match="MACQL: samples is 0, expected at least 1"):
        MACQLConfig(samples=0)
    with pytest.raises(FormatError, match="MACQL: temperature is 0, expected a number above 0"):
        MACQLConfig(temperature=0)
