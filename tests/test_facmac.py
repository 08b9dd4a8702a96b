"""FacMAC: each equation by hand, the update as a whole, and that it learns a task online and offline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines.facmac import FacMAC, FacMACConfig, actor_loss, smoothed
from offmarl_bench.agent import make_agent
from offmarl_bench.collate import collate
from offmarl_bench.envs import get_spec
from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.flat import flatten
from offmarl_bench.online import SeedRun
from offmarl_bench.online_config import OnlineTraining
from offmarl_bench.testing import check_agent
from offmarl_bench.types import Batch, EnvSpec
from tests.imbalanced_toy import train
from tests.toy_continuous import BLIND, PADDED, SPEC, expert_dataset, mean_return, uniform_dataset
from tests.toy_data import shaken

PLAIN: dict[str, Any] = {"recurrent": False, "hidden": 32, "actor_lr": 3e-3, "critic_lr": 3e-3, "tau": 0.02}
TRICKS: dict[str, Any] = {"critics": 2, "target_noise": 0.2, "actor_delay": 2}


def made(spec: EnvSpec = SPEC, **settings: Any) -> FacMAC:
    agent = make_agent("facmac", spec, seed=0, **settings)
    assert isinstance(agent, FacMAC)
    return agent


def batch(spec: EnvSpec = SPEC, n: int = 6) -> Batch:
    return collate(list(uniform_dataset(n, spec).episodes()), spec)


def test_the_targets_noise_is_clipped_and_so_is_the_action() -> None:
    actions, noise = torch.tensor([0.0, 0.0, 0.9, -0.9]), torch.tensor([1.0, 10.0, 2.0, -1.0])
    assert smoothed(actions, noise, 0.2, 0.5).tolist() == pytest.approx([0.2, 0.5, 1.0, -1.0])


def test_the_actors_loss_on_paper() -> None:
    raw = torch.tensor([[[1.0, -3.0]]])
    assert actor_loss(torch.tensor([2.0, 4.0]), raw, 0.1).item() == pytest.approx(0.1 * 5 - 3)


@pytest.mark.parametrize("recurrent", [True, False])
def test_the_target_takes_the_least_critic_and_bootstraps_where_the_horizon_cut(recurrent: bool) -> None:
    agent, data = made(critics=2, recurrent=recurrent, reward_scale=0.5, gamma=0.9, trust_at_cut=1.0), batch()
    shaken(agent.target_actor, agent.target_critics)
    flat = flatten(data)
    raw = agent.target_actor.net.packed(flat.inputs(agent.target_actor), flat.counts)
    values = [critic(flat, flat.after, torch.tanh(raw[flat.after])) for critic in agent.target_critics]
    expected = 0.5 * flat.steps(data.rewards) + 0.9 * torch.minimum(*values)
    assert torch.allclose(agent._target(data, flat), expected, atol=1e-5)
    assert not torch.allclose(*values)
    ended = replace(data, terminated=torch.arange(SPEC.horizon).expand(6, -1) == SPEC.horizon - 1)
    last = flat.time == SPEC.horizon - 1
    assert torch.allclose(agent._target(ended, flat)[last], 0.5 * flat.steps(data.rewards)[last])
    assert torch.equal(agent._target(ended, flat)[~last], agent._target(data, flat)[~last])


def test_targets_over_several_steps_end_with_the_window() -> None:
    """λ = 1 on a window of two steps: r_0 + γ r_1 + γ² V(s_2), and r_1 + γ V(s_2)."""
    one, several = (made(gamma=0.9, td_lambda=k, trust_at_cut=1.0) for k in (0.0, 1.0))
    data = collate(list(uniform_dataset(6).episodes()), SPEC, starts=np.arange(6) % 3, window=2)
    flat = flatten(data)
    first, second = several._target(data, flat).view(2, 6)  # in order of time
    assert torch.allclose(second, one._target(data, flat).view(2, 6)[1])
    assert torch.allclose(first, flat.steps(data.rewards)[:6] + 0.9 * second, atol=1e-6)


def test_the_actor_climbs_with_all_agents_present_actions() -> None:
    """The centralised gradient: what one agent does now changes the slope that another climbs."""
    agent, data = made(hidden=16, recurrent=False), batch()
    shaken(agent.actor, agent.critics)
    flat = flatten(data)
    raw = agent.actor.net(flat.inputs(agent.actor)[flat.now]).detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(agent.critics[0](flat, flat.now, torch.tanh(raw)).sum(), raw)
    moved = raw.detach().clone()
    moved[:, 1] += 1.0
    moved.requires_grad_(True)
    (other,) = torch.autograd.grad(agent.critics[0](flat, flat.now, torch.tanh(moved)).sum(), moved)
    assert not torch.allclose(slope[:, 0], other[:, 0])


def test_an_update_moves_critics_always_and_the_actor_when_it_is_its_turn() -> None:
    agent, data = made(actor_delay=2, tau=0.5), batch()
    critic, actor, target = (m.state_dict() for m in (agent.critics, agent.actor, agent.target_critics))
    before = [{k: v.clone() for k, v in s.items()} for s in (critic, actor, target)]
    metrics = agent.update(data)
    assert set(metrics) == {"loss", "grad_norm", "q_tot", "target"}
    moved = [any(not torch.equal(b[k], s[k]) for k in s) for b, s in zip(before, (critic, actor, target), strict=True)]
    assert moved == [True, False, False]
    agent.update(data)
    moved = [any(not torch.equal(b[k], s[k]) for k in s) for b, s in zip(before, (critic, actor, target), strict=True)]
    assert moved == [True, True, True]
    assert all(p.requires_grad for p in agent.critics.parameters())


def test_padded_components_reach_nothing() -> None:
    agent, data = made(PADDED, recurrent=False), batch(PADDED)
    agent.update(data)
    shaken(agent.target_actor)
    flat = flatten(data)
    whole = agent._target(data, flat)
    agent.real = agent.real.clone()
    agent.real[1, 1] = True  # as if the second agent had a second component after all
    assert not torch.allclose(agent._target(data, flat), whole)
    policy = made(PADDED).policy()
    policy.reset(6)
    assert (policy.act(data.obs[:, 0].numpy(), None, np.random.default_rng(0))[:, 1, 1] == 0).all()


def test_it_learns_online_from_windows_to_near_optimal(tmp_path: Path) -> None:
    config = OnlineTraining(
        steps=800, lanes=16, updates_per_episode=2.0, batch_size=64, window=1, replay=128, epsilon_end=0.2,
        epsilon_steps=400, save_every=400, test_every=400, agent="facmac", settings=PLAIN | TRICKS,
    )  # fmt: skip
    run = SeedRun(SPEC.id, 0, config, tmp_path)
    while run.steps < config.steps:
        run.advance()
    assert run.curve[0]["return_mean"] < 0.5 * BLIND
    assert run.curve[-1]["return_mean"] > 0.05 * BLIND


@pytest.mark.parametrize("recurrent", [True, False])
def test_offline_it_learns_where_the_data_tries_everything(recurrent: bool) -> None:
    agent = made(**PLAIN | {"recurrent": recurrent, "steps": 200, "batch_size": 16, "mixer_embed": 16})
    train(agent, uniform_dataset(512))
    assert mean_return(agent) > 0.1 * BLIND


def test_it_keeps_the_contract_of_agents() -> None:
    check_agent("facmac", uniform_dataset(24), hidden=8, mixer_embed=8, hypernet_hidden=8, **TRICKS)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SpecMismatch, match=r"toy/signals: FacMAC needs continuous actions; for discrete ones use"):
        make_agent("facmac", get_spec("toy/signals"))
    with pytest.raises(SpecMismatch, match=r"but the dataset is of tests\.toy_continuous:suite/answers: their sizes"):
        made(replace(SPEC, O=9)).phases(expert_dataset(4))
    with pytest.raises(FormatError, match="FacMAC: critics is 0, expected at least 1"):
        FacMACConfig(critics=0)
