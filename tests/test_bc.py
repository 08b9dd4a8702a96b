"""BC: its one equation by hand, what it must ignore, and that it learns."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines.bc import BC, BCConfig, bc_loss
from offmarl_bench.agent import make_agent
from offmarl_bench.collate import collate
from offmarl_bench.envs.toy import ToyEnv
from offmarl_bench.errors import FormatError
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds
from tests.toy_data import SPEC, expert_dataset, expert_episodes


def test_eq_11_by_hand() -> None:
    logits = torch.tensor([[[math.log(3.0), 0.0, 5.0], [0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]])
    legal = torch.tensor([[[True, True, False], [True, True, True], [True, True, True]]])
    mask = torch.tensor([[True, True, False]])
    actions = torch.tensor([[0, 2, 1]])
    # Step 0: legal odds 3 : 1, step 1: one of three, step 2 does not count.
    assert bc_loss(logits, actions, legal, mask).item() == pytest.approx(-(math.log(3 / 4) + math.log(1 / 3)) / 2)


def test_padding_and_dead_agents_teach_nothing() -> None:
    episodes = expert_episodes(2)
    batch = collate(episodes, SPEC)
    alive = batch.alive.clone()
    alive[0, 7, 3] = False
    batch = replace(batch, lengths=torch.tensor([8, 4]), alive=alive)
    spoiled = batch.actions.clone()
    spoiled[1, 7] = (spoiled[1, 7] + 1) % SPEC.A
    spoiled[0, 7, 3] = (spoiled[0, 7, 3] + 1) % SPEC.A
    spoiled_obs = batch.obs.clone()
    spoiled_obs[1, 5:] = 9.0
    other = replace(batch, actions=spoiled, obs=spoiled_obs)
    losses = [BC.update(make_agent("bc", SPEC, seed=3), b)["loss"] for b in (batch, other)]  # type: ignore[arg-type]
    assert losses[0] == losses[1]


def test_the_loss_reads_the_history_and_not_the_future() -> None:
    agent = make_agent("bc", SPEC)
    batch = collate(expert_episodes(1), SPEC)
    later = batch.obs.clone()
    later[:, 5:] += 1
    assert isinstance(agent, BC)
    last = torch.full((1, SPEC.horizon), -1)
    now, then = (agent.actor(x[:, :-1, 0], last, torch.tensor([0])) for x in (batch.obs, later))
    assert torch.equal(now[:, :5], then[:, :5])
    assert not torch.equal(now[:, 5:], then[:, 5:])


def test_it_learns_to_play_like_the_expert() -> None:
    data = expert_dataset(256)
    agent = make_agent("bc", SPEC, learning_rate=5e-3)
    phase = agent.phases(data)[0]
    generator = np.random.default_rng(0)
    for _ in range(200):
        phase.update(phase.batches(generator))
    seeds = episode_seeds(1, "evaluate", 0, 32)
    for greedy in (True, False):
        played = rollout(ToyEnv(SPEC, 32), agent.policy(greedy=greedy), seeds, np.random.default_rng(1))
        assert played.returns.mean() > 0.95 * SPEC.horizon


def test_without_agent_ids_all_agents_share_one_answer() -> None:
    with_id, without = (make_agent("bc", SPEC, agent_id=flag) for flag in (True, False))
    x, last = torch.ones(2, 1, SPEC.O), torch.full((2, 1), -1)
    ids = torch.tensor([0, 1])
    assert isinstance(with_id, BC)
    assert isinstance(without, BC)
    assert not torch.allclose(*with_id.actor(x, last, ids))
    assert torch.allclose(*without.actor(x, last, ids))


def test_the_paper_preset_is_table_11() -> None:
    config = make_agent("bc", SPEC, preset="paper").config
    assert config == BCConfig(hidden=64, agent_id=True, learning_rate=5e-4, clip=10.0, batch_size=32, updates=15_000)


def test_bad_input() -> None:
    with pytest.raises(FormatError, match="clip is 0, expected a positive number"):
        make_agent("bc", SPEC, clip=0)
