"""QMIX: each equation by hand, the update as a whole, and that it learns a task online."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from baselines.qmix import QMIX, QMIXConfig, double_q, last_steps, td_loss
from offmarl_bench.agent import make_agent
from offmarl_bench.collate import collate
from offmarl_bench.envs import get_spec, make_env
from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.loader import Dataset
from offmarl_bench.mixers import Mixer, monotonic_mix
from offmarl_bench.policies import UniformPolicy
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds
from offmarl_bench.types import Batch, EnvSpec, Episode

SPEC = get_spec("toy/signals")


def episodes(n: int = 8) -> list[Episode]:
    env = make_env("toy/signals", n)
    played = rollout(
        env, UniformPolicy(SPEC), episode_seeds(0, "verify", 0, n), np.random.default_rng(0), record=True
    ).episodes
    assert played is not None
    return played


def shortened(episode: Episode, t: int) -> Episode:
    legal = episode.legal_actions
    return replace(
        episode, actions=episode.actions[:t], rewards=episode.rewards[:t], observations=episode.observations[: t + 1],
        state=episode.state[: t + 1], legal_actions=None if legal is None else legal[: t + 1], terminal=True,
        behavior_level=None, behavior_policy=None, behavior_logprob=None,
    )  # fmt: skip


def agent(**settings: Any) -> QMIX:
    made = make_agent("qmix", SPEC, **settings)
    assert isinstance(made, QMIX)
    return made


def weights(of: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in of.state_dict().items()}


def test_eq_5_monotonic_mixing_by_hand() -> None:
    # Two agents, two hidden units. h = ELU([1·|1| + 2·|−2| − 1, 1·|0| + 2·|0| − 1]) = [4, e⁻¹ − 1];
    # Q_tot = 4·|−.5| + (e⁻¹ − 1)·|2| + 10.
    q, w1 = torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 0.0], [-2.0, 0.0]])
    total = monotonic_mix(q, w1, torch.tensor([-1.0, -1.0]), torch.tensor([-0.5, 2.0]), torch.tensor(10.0))
    assert total.item() == pytest.approx(2 + 2 * (np.exp(-1) - 1) + 10)


def test_mixing_never_falls_when_an_agents_value_rises() -> None:
    torch.manual_seed(0)
    q = torch.randn(64, 3, SPEC.N, requires_grad=True)
    Mixer(SPEC.N, SPEC.S, 32, 64)(q, torch.randn(64, 3, SPEC.S)).sum().backward()
    assert q.grad is not None
    assert (q.grad >= 0).all()
    assert (q.grad > 0).any()


def test_double_q_chooses_with_one_network_and_values_with_the_other() -> None:
    online, target = torch.tensor([[1.0, 9.0, 5.0]]), torch.tensor([[10.0, 20.0, 30.0]])
    assert double_q(online, target, None).tolist() == [20]
    assert double_q(online, target, torch.tensor([[True, False, True]])).tolist() == [30]


def test_eq_6_loss_by_hand() -> None:
    assert td_loss(torch.tensor([1.0, 4.0]), torch.tensor([0.0, 2.0])).item() == 2.5


def test_last_steps_are_those_before_the_padding() -> None:
    a, b = episodes(2)
    batch = collate([shortened(a, 2), shortened(b, 3)], SPEC)
    assert last_steps(batch).tolist() == [[False, True, False], [False, False, True]]


def by_hand(model: QMIX, episode: Episode) -> float:
    """The TD loss of one episode, step by step in plain loops: what ``update`` computes for a batch at once."""
    obs, state = torch.from_numpy(episode.observations), torch.from_numpy(episode.state)
    assert episode.legal_actions is not None
    q = torch.zeros(len(episode) + 1, SPEC.N, SPEC.A)
    target_q = torch.zeros_like(q)
    for net, out in ((model.actor, q), (model.target_actor, target_q)):
        h = net.initial(SPEC.N)
        for t in range(len(episode) + 1):
            last = torch.from_numpy(episode.actions[t - 1]).long() if t else torch.full((SPEC.N,), -1)
            out[t], h = net.step(obs[t], last, h, torch.arange(SPEC.N))
    errors = []
    for t in range(len(episode)):
        taken = torch.stack([q[t, n, episode.actions[t, n]] for n in range(SPEC.N)])
        choice = [
            max((a for a in range(SPEC.A) if episode.legal_actions[t + 1, n, a]), key=lambda a, n=n: q[t + 1, n, a])  # type: ignore[misc]
            for n in range(SPEC.N)
        ]
        best = torch.stack([target_q[t + 1, n, choice[n]] for n in range(SPEC.N)])
        future = model.target_mixer(best[None, None], state[None, t + 1 : t + 2]).item()
        ends = episode.terminal and t == len(episode) - 1
        target = episode.rewards[t] + model.config.gamma * (0.0 if ends else future)
        errors.append(model.mixer(taken[None, None], state[None, t : t + 1]).item() - target)
    return float(np.square(errors).sum())


@torch.no_grad()
def test_update_computes_the_loss_of_plain_loops_with_padding_ends_and_cuts() -> None:
    model, (a, b, c, *_) = agent(trust_at_cut=1.0), episodes()
    torch.manual_seed(1)
    for p in [*model.target_actor.parameters(), *model.target_mixer.parameters()]:
        p.add_(0.1 * torch.randn_like(p))  # so that mixing up the two networks would be seen
    batch = [shortened(a, 3), b, shortened(c, 5)]
    expected = sum(by_hand(model, e) for e in batch) / sum(len(e) for e in batch)
    with torch.enable_grad():
        assert float(model.update(collate(batch, SPEC))["loss"]) == pytest.approx(expected, rel=1e-4)


def test_td_lambda_of_one_sums_rewards_to_the_end() -> None:
    ends = [shortened(e, 4) for e in episodes(4)]
    returns = [sum(0.99 ** (k - t) * e.rewards[k] for k in range(t, 4)) for e in ends for t in range(4)]
    target = float(agent(td_lambda=1.0).update(collate(ends, SPEC))["target"])
    assert target == pytest.approx(np.mean(returns), rel=1e-5)


def test_padding_changes_nothing() -> None:
    short = [shortened(e, 3) for e in episodes(4)]
    model, long = agent(), collate(episodes(8), SPEC)
    batch = collate(short, SPEC)
    padded = Batch(
        **{
            f: torch.cat([getattr(batch, f), torch.zeros_like(getattr(long, f)[:4, batch.mask.shape[1] :])[:, :5]], 1)
            if f in ("actions", "rewards", "terminated", "mask", "obs", "state", "legal", "alive")
            else getattr(batch, f)
            for f in Batch.__dataclass_fields__
        }
    )
    assert float(agent().update(padded)["loss"]) == pytest.approx(float(model.update(batch)["loss"]), rel=1e-5)


def test_the_horizon_bootstraps_unless_told_otherwise() -> None:
    batch = collate(episodes(4), SPEC)  # all cut by the horizon
    assert not batch.terminated.any()
    ours, theirs = agent(), agent(horizon_is_terminal=True)
    assert float(ours.update(batch)["target"]) != float(theirs.update(batch)["target"])
    cut = replace(batch, terminated=last_steps(batch))
    assert float(agent().update(cut)["loss"]) == float(agent(horizon_is_terminal=True).update(batch)["loss"])


def test_targets_are_copied_at_the_interval_and_learn_nothing_between() -> None:
    model, batch = agent(target_interval=3), collate(episodes(4), SPEC)
    start = weights(model.target_mixer)
    for k in range(1, 4):
        model.update(batch)
        same = all(torch.equal(v, start[n]) for n, v in model.target_mixer.state_dict().items())
        assert same == (k < 3)
    assert all(torch.equal(v, model.mixer.state_dict()[n]) for n, v in model.target_mixer.state_dict().items())


def test_a_saved_and_restored_agent_goes_on_as_if_nothing_had_happened() -> None:
    straight, broken, batch = agent(target_interval=3), agent(target_interval=3), collate(episodes(4), SPEC)
    for model in (straight, broken):
        model.update(batch)
        model.update(batch)
    resumed = agent(target_interval=3)
    resumed.load_state_dict(broken.state_dict())
    resumed.optimizers["learner"].load_state_dict(broken.optimizers["learner"].state_dict())
    for model in (straight, resumed):
        model.update(batch)
    assert resumed.updates == 3
    assert all(torch.equal(v, straight.state_dict()[k]) for k, v in resumed.state_dict().items())


def test_offline_it_is_one_phase_of_sampled_episodes() -> None:
    model, data = agent(steps=7, batch_size=5), Dataset.from_episodes(episodes(), SPEC)
    (phase,) = model.phases(data)
    assert (phase.name, phase.steps) == ("learn", 7)
    batch = phase.batches(np.random.default_rng(0))
    assert batch.rewards.shape == (5, SPEC.horizon)
    metrics = phase.update(batch)
    assert set(metrics) == {"loss", "grad_norm", "q_tot", "target"}
    assert all(isinstance(v, torch.Tensor) and not v.requires_grad for v in metrics.values())


def test_what_qmix_refuses() -> None:
    with pytest.raises(SpecMismatch, match="toy/target: QMIX needs discrete actions"):
        make_agent("qmix", get_spec("toy/target"))
    with pytest.raises(FormatError, match="target_interval is 0, expected at least 1"):
        QMIXConfig(target_interval=0)
    with pytest.raises(FormatError, match=r"gamma is 1.5, expected a number from 0 to 1"):
        QMIXConfig(gamma=1.5)
    with pytest.raises(FormatError, match="lr is 0, expected a number above 0"):
        QMIXConfig(lr=0)
    other = EnvSpec(id="x/y", agents=("a",), agent_types=("a",), O=1, S=1, A=2, discrete=True, horizon=3)
    with pytest.raises(SpecMismatch, match="QMIX was built for toy/signals, but the dataset is of x/y"):
        agent().phases(Dataset(other, {"rewards": np.zeros(0)}, np.zeros(0, np.int64), np.zeros(0, np.int64)))


def test_play_is_greedy_or_epsilon_greedy() -> None:
    assert agent().policy().epsilon == 0
    assert agent(play_epsilon=0.2).policy(greedy=False).epsilon == 0.2
