"""What SIT asks of a kind of action: densities, expected values, the critic with an action input, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from offmarl_bench.continuous import ContinuousActor, TanhGaussian, tamed
from offmarl_bench.loader import Dataset
from offmarl_bench.types import EnvSpec, Episode
from sit.ardnem import ARDNEM, transitions
from sit.config import SITConfig
from sit.critic import GATCritic
from sit.dper import DPER
from sit.heads import Choosing, Gaussian, Pointing, VectorHead, head_of
from sit.learn import bootstrap_target, expected_value, type_losses
from sit.trajectories import Trajectories, View, draw_trajectories, view
from tests import toy_continuous as toy

STEP = EnvSpec(id="test/step", agents=("x", "y"), agent_types=("t", "t"), O=1, S=1, A=2, discrete=False, horizon=2)


def two_steps(candidates: int = 0) -> View:
    """Agent x in an episode of two steps that the horizon cut."""
    episode = Episode(
        actions=np.array([[[0.5, -0.25], [0, 0]], [[-1.0, 1.0], [0, 0]]], np.float32),
        rewards=np.zeros(2, np.float32),
        observations=np.arange(6, dtype=np.float32).reshape(3, 2, 1),
        state=np.zeros((3, 1), np.float32),
        legal_actions=None,
        terminal=False,
    )
    batch = Dataset.from_episodes([episode], STEP).batch([0])
    drawn = Trajectories(
        **{name: getattr(batch, name) for name in type(batch).__slots__},
        agent=torch.tensor([0]),
        credit=torch.tensor([[1.0, 2.0]]),
        doubt=torch.ones(1, 2),
        noise=torch.tensor([-1.0, 1.0])[:candidates].view(1, 1, -1, 1).expand(1, 3, candidates, 2).clone(),
    )
    return view(drawn, slice(0, 1), SITConfig())


class Sum(nn.Module):
    """A critic for which an action is worth ten times the observation plus the sum of its components."""

    def forward(self, obs: Tensor, agent: Tensor, last_actions: Tensor) -> Sum:
        self.own = obs[:, :, 0, 0]
        return self

    def of(self, actions: Tensor) -> Tensor:
        return 10 * self.own + actions.sum(-1)

    def each(self, candidates: Tensor) -> Tensor:
        return 10 * self.own.unsqueeze(-1) + candidates.sum(-1)


def test_a_view_shows_vectors_and_zeros_before_the_first() -> None:
    data = two_steps()
    assert data.actions.tolist() == [[[0.5, -0.25], [-1.0, 1.0]]]
    assert data.last_actions.tolist() == [[[0, 0], [0.5, -0.25], [-1.0, 1.0]]]
    assert data.mask.all(), "with continuous actions nobody is dead"


def test_the_gaussian_form_is_a_density_of_real_components() -> None:
    law = TanhGaussian(torch.tensor([[[0.5, 2.0], [9.0, 9.0]]]), torch.tensor([[[math.log(2.0), 0.0], [0.0, 0.0]]]))
    taken = torch.tanh(torch.tensor([[[1.5, 2.0]]]))
    noise = torch.zeros(1, 2, 0, 2)
    # N(1.5; 0.5, 2²) and N(2; 2, 1), each over the slope of tanh there; the last observation has no action
    normal = [-0.5 * 0.5**2 - math.log(2) - 0.5 * math.log(2 * math.pi), -0.5 * math.log(2 * math.pi)]
    slope = [math.log(1 - math.tanh(u) ** 2) for u in (1.5, 2.0)]
    both = Gaussian(law=law, noise=noise, real=None).log_likelihood(taken)
    assert both.item() == pytest.approx(sum(normal) - sum(slope), rel=1e-4)
    first = Gaussian(law=law, noise=noise, real=torch.tensor([[[True, False]]])).log_likelihood(taken)
    assert first.item() == pytest.approx(normal[0] - slope[0], rel=1e-4)


def test_the_deterministic_form_is_half_the_squared_error() -> None:
    play = Pointing(action=torch.tensor([[[0.5, 0.0], [9.0, 9.0]]]))
    assert play.log_likelihood(torch.tensor([[[0.25, 1.0]]])).tolist() == [[-0.5 * (0.25**2 + 1)]]


def test_expected_value_is_a_mean_over_the_policy() -> None:
    values = Sum()(two_steps().everyone, torch.tensor([0]), torch.zeros(()))
    # observations of x: 0, 2, 4
    pointing = Pointing(action=torch.tensor([[[0.5, 0.25], [0.0, 1.0], [1.0, 1.0]]]))
    assert expected_value(pointing, values, 3).tolist() == [[0.75, 21.0, 42.0]]
    zeros = torch.zeros(1, 3, 2)
    noise = torch.tensor([0.5, 2.0]).view(1, 1, 2, 1).expand(1, 3, 2, 2)
    drawn = (math.tanh(0.5) + math.tanh(2.0)) / 2
    for real, components in ((None, 2), (torch.tensor([[[True, False]]]), 1)):
        mean = expected_value(Gaussian(law=TanhGaussian(zeros, zeros), noise=noise, real=real), values, 3)
        assert torch.allclose(mean, torch.tensor([[0.0, 20.0, 40.0]]) + components * drawn)


def test_expected_value_of_choices_is_exact() -> None:
    class Table:
        def each(self, candidates: Tensor) -> Tensor:
            return torch.tensor([[[4.0, 8.0]]]).gather(-1, candidates)

    play = Choosing(log_pi=torch.tensor([[[0.25, 0.75], [0.5, 0.5]]]).log())
    assert expected_value(play, Table(), 1).tolist() == [[7.0]]  # type: ignore[arg-type]


def test_one_step_target_takes_the_datas_next_action_and_at_the_horizon_the_policys() -> None:
    play = Pointing(action=torch.tensor([[[9.0, 9.0], [9.0, 9.0], [0.5, 0.25]]]))
    config = SITConfig(gamma=0.5, td_lambda=0.0, score="q", trust_at_cut=1.0)
    target = bootstrap_target(two_steps(), Sum(), play, 0.0, config)  # type: ignore[arg-type]
    # Q'(o_1, a_1) = 20 − 1 + 1, then the horizon: 40 + 0.5 + 0.25 under the policy
    assert target.tolist() == [[1 + 0.5 * 20, 2 + 0.5 * 40.75]]


def test_the_critic_is_the_papers_with_the_action_in_f_local() -> None:
    torch.manual_seed(0)
    critic, data = GATCritic(toy.SPEC, SITConfig(gat=False)), toy.uniform_dataset(3).batch(range(3))
    last = torch.rand(3, 6, 2)
    actions = torch.rand(3, 6, 4, 2)
    values = critic(data.obs, torch.tensor([0, 1, 0]), last)
    own = tamed(data.obs[torch.arange(3), :, torch.tensor([0, 1, 0])])
    fed = torch.cat([own, last], -1).unsqueeze(2).expand(3, 6, 4, 4)
    first = critic.local[0]
    assert isinstance(first, nn.Linear)
    whole = nn.Linear(6, first.out_features)
    with torch.no_grad():
        whole.weight.copy_(torch.cat([first.weight, critic.by_action.weight], 1))
        whole.bias.copy_(first.bias)
    f_local = nn.Sequential(whole, critic.local[1:])
    expected = critic.aggregate(torch.relu(f_local(torch.cat([fed, actions], -1))))[..., 0]
    assert torch.allclose(values.each(actions), expected, atol=1e-6)
    assert torch.allclose(values.of(actions[:, :, 1]), expected[:, :, 1], atol=1e-6)
    assert values.baseline.shape == (3, 6)


def test_huge_observations_are_tamed_before_stage_one() -> None:
    data = toy.uniform_dataset(2).batch(range(2))
    huge = transitions(replace(data, obs=data.obs * 100, state=data.state * 100))
    assert torch.allclose(huge.obs, tamed(100 * data.obs[:, :-1].flatten(0, 1)))
    assert torch.allclose(huge.state, tamed(100 * data.state[:, :-1].flatten(0, 1)))


def test_the_critic_sees_teammates_only_with_attention() -> None:
    data, agent = toy.uniform_dataset(3).batch(range(3)), torch.zeros(3, dtype=torch.int64)
    moved = data.obs.clone()
    moved[:, :, 1] += 1.0
    actions = torch.rand(3, 6, 2)
    for gat in (True, False):
        torch.manual_seed(0)
        critic = GATCritic(toy.SPEC, SITConfig(gat=gat))
        values, other = (critic(obs, agent, torch.zeros(3, 6, 2)) for obs in (data.obs, moved))
        assert torch.allclose(values.of(actions), other.of(actions)) is not gat
        assert torch.allclose(values.baseline, other.baseline) is not gat


def test_noise_comes_from_the_generator_and_only_where_it_is_needed() -> None:
    data, config = toy.uniform_dataset(8), SITConfig(learn_trajectories=3, share_episodes=8)
    torch.manual_seed(0)
    replay = DPER(data, config)
    replay.fill(data.batch(replay.next_chunk()), ARDNEM(data.spec, config))
    replay.finish()
    cpu = torch.device("cpu")
    without, one, two = (
        draw_trajectories(data, replay, config, np.random.default_rng(5), cpu, candidates=n) for n in (0, 4, 4)
    )
    assert without.noise.shape == (3, 6, 0, 2)
    assert one.noise.shape == (3, 6, 4, 2)
    assert torch.equal(one.noise, two.noise)
    assert torch.equal(one.episodes, without.episodes)
    needed = {
        (policy, score): VectorHead(toy.SPEC, SITConfig(policy=policy, score=score, action_samples=7)).candidates
        for policy in ("gaussian", "deterministic")
        for score in ("return", "advantage", "q")
    }
    assert {k for k, n in needed.items() if n == 7} == {("gaussian", "advantage"), ("gaussian", "q")}
    assert VectorHead(toy.SPEC, SITConfig(score="q", filter=False)).candidates == 0


@pytest.mark.parametrize("objective", ["likelihood", "value"])
def test_the_actors_loss_leaves_the_critic_alone(objective: str) -> None:
    """And with the objective "value" it pulls π's own action to where Q' is greater."""
    config = SITConfig(policy="deterministic", score="q", objective=objective, gat=False)
    torch.manual_seed(0)
    head = head_of(STEP, config)
    actor, critic, target = head.actor(), GATCritic(STEP, config), Sum()
    _, loss, _ = type_losses(
        two_steps(), head, actor, critic, target, config,  # type: ignore[arg-type]
        median_doubt=1.0, offset=0.0, warming_up=False,
    )  # fmt: skip
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in critic.parameters())
    assert isinstance(actor, ContinuousActor)
    pull = actor.net.head.bias.grad
    assert pull is not None
    if objective == "value":  # Q' grows with both components, so both are to grow
        assert (pull < 0).all()
