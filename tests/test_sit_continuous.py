"""SIT on continuous actions: what its heads and its critic compute, and that all three stages learn from vectors."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from offmarl_bench.agent import make_agent
from offmarl_bench.continuous import ContinuousActor, TanhGaussian, tamed
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.loader import Dataset
from offmarl_bench.testing.agent import check_agent
from offmarl_bench.types import EnvSpec, Episode
from sit.agent import SIT
from sit.ardnem import ARDNEM, transitions
from sit.config import SITConfig
from sit.critic import GATCritic
from sit.diagnostics import decomposition
from sit.dper import DPER
from sit.heads import Choosing, Gaussian, Pointing, VectorHead, head_of
from sit.learn import bootstrap_target, expected_value, type_losses
from sit.trajectories import Trajectories, View, draw_trajectories, view
from tests import toy_continuous as toy
from tests.imbalanced_toy import interrupted, train

QUICK: dict[str, Any] = {
    "decompose_steps": 120,
    "decompose_lr": 2e-3,
    "decompose_episodes": 16,
    "reward_hidden": 32,
    "attention_hidden": 16,
    "learn_steps": 100,
    "critic_warmup": 25,
    "critic_lr": 1e-3,
    "actor_lr": 3e-3,
}
"""Enough for the toy."""
TINY = QUICK | {"decompose_steps": 6, "learn_steps": 6, "share_episodes": 3, "target_interval": 2, "critic_warmup": 2}
"""Enough to run every line."""
FORMS: tuple[dict[str, Any], ...] = (
    {},
    {"score": "advantage"},
    {"score": "q"},
    {"policy": "deterministic"},
    {"policy": "deterministic", "score": "advantage"},
    {"score": "advantage", "objective": "value"},
    {"policy": "deterministic", "score": "q", "objective": "value"},
)
"""The default, and every way in which the continuous form can be ablated."""
CONTROLS = ("bc-shared", "bc-joint-sampler", "bc-sit-sampler", "bc-oracle")


def contrary(episodes: int = 128, spec: EnvSpec = toy.SPEC) -> Dataset:
    """The second agent answers rightly in every second episode; everybody else answers the opposite.

    So a good trajectory has a bad teammate in its own episode, and whoever imitates all of them learns the opposite.
    """
    expert = np.zeros((episodes, spec.N), bool)
    expert[::2, 1] = True

    def play(answer: Any, g: np.random.Generator) -> Any:
        return np.where(expert[..., None], 1, -1) * answer + toy.NOISE * g.standard_normal(answer.shape)

    return toy.played(play, episodes, spec, 0, expert)


def at_bounds(episodes: int = 16, spec: EnvSpec = toy.SPEC) -> Dataset:
    """Every component of every action is exactly −1 or 1, as clipped noise often leaves it."""
    return toy.played(lambda right, g: g.choice([-1.0, 1.0], size=right.shape), episodes, spec, 0)


# What one batch looks like, and the formulas on it.

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
    config = SITConfig(gamma=0.5, td_lambda=0.0, score="q")
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


# Learning.


@pytest.mark.parametrize("form", FORMS[:4], ids=str)
def test_learns_from_the_good_trajectories_of_an_imbalanced_dataset(form: dict[str, Any]) -> None:
    data = contrary()
    assert data.returns.mean() < -10
    agent = make_agent("sit", data.spec, **(QUICK | form))
    logged = train(agent, data)
    assert toy.mean_return(agent) > -0.1
    assert toy.mean_return(agent, greedy=False) > -0.15
    shared = logged["share"]
    assert shared["a/auc"] > 0.95
    assert shared["a/auc_within"] > 0.95
    assert shared["a/best_share"] > 0.95
    assert shared["a/best_present"] == 0.25
    assert logged["decompose"]["explained_variance"] > 0.8
    assert ("a/half_squared_error" in logged["learn"]) is ("policy" in form)


def test_what_is_lost_without_each_stage() -> None:
    """Imitating everything learns the opposite; the sampler of stage II, or the filter of stage III, prevents it."""
    data, score = contrary(), {}
    for name, settings in {
        "imitation": {"priority": False, "filter": False},
        "sampler": {"filter": False},
        "filter": {"priority": False},
        "no stage I": {"decomposition": False},
    }.items():
        agent = make_agent("sit", data.spec, **(QUICK | settings))
        train(agent, data)
        score[name] = toy.mean_return(agent)
    assert score["imitation"] < -10
    assert score["sampler"] > -0.2
    assert -1.0 < score["filter"] < score["sampler"]
    assert score["no stage I"] < -3, "the team's reward cannot tell an expert from its teammate"


def test_credit_goes_to_the_agent_that_earned_it() -> None:
    data = contrary()
    agent = make_agent("sit", data.spec, **(QUICK | {"learn_steps": 1}))
    train(agent, data)
    assert isinstance(agent, SIT)
    table = {(row["agent"], row["level"]): row["reward"] for row in decomposition(agent, data).to_dict("records")}
    # An expert's step is worth about 0, the opposite of it −(2 · 0.6)².
    assert table["a2", "expert"] > table["a1", "random"] + 0.6
    assert table["a2", "random"] == pytest.approx(table["a1", "random"], abs=0.4)


def test_controls_differ_in_what_they_draw() -> None:
    data, drawn, score = contrary(), {}, {}
    for name in CONTROLS:
        agent = make_agent(name, data.spec, **QUICK)
        drawn[name] = train(agent, data)["share"]["a/best_share"]
        score[name] = toy.mean_return(agent)
    assert drawn["bc-shared"] == 0.25
    assert drawn["bc-joint-sampler"] == pytest.approx(0.5, abs=0.05)
    assert drawn["bc-sit-sampler"] > 0.95
    assert drawn["bc-oracle"] == pytest.approx(1.0)
    assert score["bc-shared"] < score["bc-joint-sampler"] < -3
    assert min(score["bc-sit-sampler"], score["bc-oracle"]) > -0.2


@pytest.mark.parametrize(
    "switch",
    [*FORMS[4:], {"attention": False}, {"members": 1}, {"gat": False}, {"decomposer": "monotonic"},
     {"uncertainty": "literal"}],
    ids=str,
)  # fmt: skip
def test_every_ablation_trains(switch: dict[str, Any]) -> None:
    data = toy.imbalanced_dataset(16)
    agent = make_agent("sit", data.spec, **(TINY | switch))
    logged = train(agent, data)
    assert list(logged) == ["decompose", "share", "learn"]
    assert np.isfinite(list(logged["learn"].values())).all()
    assert math.isfinite(toy.mean_return(agent))


def test_the_papers_literal_settings_run() -> None:
    data = toy.imbalanced_dataset(16)
    tiny = {k: v for k, v in TINY.items() if k != "critic_warmup"}
    agent = make_agent("sit", data.spec, preset="paper", **tiny)
    assert np.isfinite(list(train(agent, data)["learn"].values())).all()


# What must never break.


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_actions_at_the_bounds_stay_finite(form: dict[str, Any]) -> None:
    data = at_bounds()
    agent = make_agent("sit", data.spec, **(TINY | form | {"critic_warmup": 3}))
    logged = train(agent, data)
    assert np.isfinite(list(logged["learn"].values())).all()
    assert all(bool(torch.isfinite(v).all()) for v in agent.state_dict().values())


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_padded_components_are_never_played_and_never_learnt(form: dict[str, Any]) -> None:
    """Agent b1 has one component of two: whatever its actor says about the other changes nothing."""
    data = toy.expert_dataset(16, toy.PADDED)
    agent = make_agent("sit", data.spec, **(TINY | form))
    assert isinstance(agent, SIT)
    actor = agent.actors[1]
    assert isinstance(actor, ContinuousActor)
    before = actor.net.head.weight.detach().clone()
    train(agent, data)
    after = actor.net.head.weight.detach()
    assert torch.equal(before[1::2], after[1::2]), "rows of the padded component: mean, log σ"
    assert not torch.equal(before[0::2], after[0::2])
    for greedy in (True, False):
        policy = agent.policy(greedy)
        policy.reset(3)
        actions, _ = policy.decide(np.ones((3, 2, 2), np.float32), None, np.random.default_rng(0))
        assert (actions[:, 1, 1] == 0).all()
        assert (actions[:, 0] != 0).all()


@pytest.mark.parametrize("form", [{}, {"score": "advantage"}, {"policy": "deterministic"}], ids=str)
@pytest.mark.parametrize("stop", [("decompose", 3), ("share", 2), ("learn", 0), ("learn", 5)])
def test_a_resumed_run_is_bitwise_an_uninterrupted_one(
    stop: tuple[str, int], form: dict[str, Any], tmp_path: Path
) -> None:
    data = toy.imbalanced_dataset(16)
    whole, first, second = (make_agent("sit", data.spec, seed=s, **(TINY | form)) for s in (0, 0, 1))
    interrupted(whole, data, tmp_path, None)
    interrupted(first, data, tmp_path, stop)
    interrupted(second, data, tmp_path, None, resume=True)
    got = second.state_dict()
    assert all(torch.equal(v, got[k]) for k, v in whole.state_dict().items())


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_keeps_the_contract_of_agents(form: dict[str, Any]) -> None:
    check_agent("sit", dataset=toy.imbalanced_dataset(16), **(TINY | form))


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_keep_the_contract_of_agents(name: str) -> None:
    check_agent(name, dataset=toy.imbalanced_dataset(16), **TINY)


def test_agents_of_one_type_share_one_actor_and_their_trajectories() -> None:
    data = toy.imbalanced_dataset(8)
    together = make_agent("sit", data.spec, **TINY)
    apart = make_agent("sit", replace(data.spec, agent_types=("l", "r")), **TINY)
    assert isinstance(together, SIT)
    assert isinstance(apart, SIT)
    assert (len(together.actors), len(apart.actors)) == (1, 2)


def test_data_of_the_other_kind_is_refused() -> None:
    data = toy.uniform_dataset(2)
    agent = make_agent("sit", replace(data.spec, id="test/choices", discrete=True))
    with pytest.raises(SpecMismatch, match="sit was built for test/choices but the dataset is of"):
        agent.phases(data)
