"""Stage III: what an update sees of a trajectory, where returns end, and how steps are weighted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from offmarl_bench.loader import Dataset
from offmarl_bench.types import EnvSpec, Episode
from sit.ardnem import ARDNEM
from sit.config import SITConfig
from sit.critic import ChoiceValues, GATCritic
from sit.dper import DPER
from sit.heads import Choosing
from sit.learn import bootstrap_target, uncertainty_weight
from sit.trajectories import Trajectories, View, draw_trajectories, view
from tests.imbalanced_toy import imbalanced

SPEC = EnvSpec(id="test/duel", agents=("x", "y"), agent_types=("t", "t"), O=1, S=1, A=2, discrete=True, horizon=3)


class Table(nn.Module):
    """A critic that has read its values somewhere; V is the best of them."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values

    def forward(self, obs: Tensor, agent: Tensor, last_actions: Tensor) -> ChoiceValues:
        return ChoiceValues(table=self.values, baseline=self.values.amax(-1))


def duel(terminal: bool) -> Trajectories:
    """Three steps; agent y dies after its second. Items: the episode as x, and as y, saw it."""
    legal = np.ones((4, 2, 2), bool)
    legal[2:, 1, 1] = False
    episode = Episode(
        actions=np.array([[0, 1], [1, 1], [1, 0]], np.int32),
        rewards=np.zeros(3, np.float32),
        observations=np.arange(8, dtype=np.float32).reshape(4, 2, 1),
        state=np.zeros((4, 1), np.float32),
        legal_actions=legal,
        terminal=terminal,
    )
    batch = Dataset.from_episodes([episode], SPEC).batch([0, 0])
    return Trajectories(
        **{name: getattr(batch, name) for name in type(batch).__slots__},
        agent=torch.tensor([0, 1]),
        credit=torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 0.0]]),
        doubt=torch.ones(2, 3),
        noise=torch.zeros(2, 4, 0, 2),
    )


def seen(terminal: bool, config: SITConfig) -> View:
    return view(duel(terminal), slice(0, 2), config)


def test_view_shows_each_item_from_its_own_agent() -> None:
    data = seen(False, SITConfig())
    assert data.obs[:, :, 0].tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert data.actions.tolist() == [[0, 1, 1], [1, 1, 0]]
    assert data.last_actions.tolist() == [[-1, 0, 1, 1], [-1, 1, 1, 0]]
    assert data.everyone[:, 0, :, 0].tolist() == [[0, 1], [0, 1]]


def test_death_ends_the_agents_return_and_its_lessons() -> None:
    data = seen(False, SITConfig())
    assert data.mask.tolist() == [[True, True, True], [True, True, False]]
    assert data.ended[0].tolist() == [False, False, False]
    assert data.ended[1].tolist()[:2] == [False, True]
    literal = seen(False, SITConfig(mask_dead=False))
    assert literal.mask.all()
    assert not literal.ended.any()


TABLE = torch.tensor([[[9.0, 9], [10, 20], [30, 40], [50, 60]], [[9, 9], [1, 3], [5, 7], [0, 0]]])
POLICY = Choosing(log_pi=torch.full((2, 4, 2), 0.5).log())


@pytest.mark.parametrize(
    ("terminal", "x"),
    [
        # next values: Q'(o_1, a_1=1) = 20, Q'(o_2, a_2=1) = 40, then the horizon: (50 + 60) / 2 under the policy
        (False, [1 + 0.5 * 20, 2 + 0.5 * 40, 4 + 0.5 * 55]),
        (True, [1 + 0.5 * 20, 2 + 0.5 * 40, 4.0]),
    ],
)
def test_one_step_target(terminal: bool, x: list[float]) -> None:
    config = SITConfig(gamma=0.5, td_lambda=0.0, score="q", trust_at_cut=1.0)
    target = bootstrap_target(seen(terminal, config), Table(TABLE), POLICY, 0.0, config)  # type: ignore[arg-type]
    assert target[0].tolist() == x
    assert target[1, :2].tolist() == [1 + 0.5 * 3, 2.0]  # y is dead afterwards: nothing follows


def test_with_the_score_return_no_action_enters_the_target() -> None:
    # V' stands for the best entry of the table: 20, 40, 60.
    config = SITConfig(gamma=0.5, td_lambda=0.0, trust_at_cut=1.0)
    target = bootstrap_target(seen(False, config), Table(TABLE), POLICY, 0.0, config)  # type: ignore[arg-type]
    assert target[0].tolist() == [1 + 0.5 * 20, 2 + 0.5 * 40, 4 + 0.5 * 60]
    shifted = bootstrap_target(seen(False, config), Table(TABLE), POLICY, 10.0, config)  # type: ignore[arg-type]
    assert (shifted - target)[0].tolist() == [5.0] * 3, "the offset belongs to the value that follows"


def test_without_trust_the_mean_of_what_is_learnt_follows_a_cut() -> None:
    # V' stands for the best entry of the table: x sees 20, 40 and 60 next, the last of them in no step.
    config = SITConfig(gamma=0.5, td_lambda=0.0, trust_at_cut=0.0)
    data = seen(False, config)
    target = bootstrap_target(data, Table(TABLE), POLICY, 0.0, config)  # type: ignore[arg-type]
    following = ((target - data.credit) / 0.5)[0]
    assert following[:2].tolist() == [20, 40]
    changed = TABLE.clone()
    changed[:, -1] = 1e6
    again = bootstrap_target(data, Table(changed), POLICY, 0.0, config)  # type: ignore[arg-type]
    assert torch.equal(target, again)


def test_lambda_one_is_monte_carlo() -> None:
    config = SITConfig(gamma=0.5, td_lambda=1.0)
    target = bootstrap_target(seen(True, config), Table(TABLE), POLICY, 0.0, config)  # type: ignore[arg-type]
    assert target[0].tolist() == [1 + 0.5 * (2 + 0.5 * 4), 2 + 0.5 * 4, 4]
    assert target[1, :2].tolist() == [1 + 0.5 * 2, 2]


def test_uncertainty_weights() -> None:
    u = torch.tensor([[1.0, 2.0, 4.0, 1e9, 0.0]])
    mask = torch.tensor([[True, True, True, True, False]])
    clipped = SITConfig(uncertainty="clipped", uncertainty_floor=1e-12)
    # median 2: ratios 2, 1, .5 and the bound .1 (the infinite ratio is masked), mean .9
    assert uncertainty_weight(u, 2.0, clipped, mask)[0, :4].tolist() == pytest.approx(
        [2 / 0.9, 1 / 0.9, 0.5 / 0.9, 1 / 9]
    )
    literal = replace(clipped, uncertainty="literal", eta=3.0)
    assert uncertainty_weight(u, 2.0, literal, mask)[0, :3].tolist() == pytest.approx([3.0, 1.5, 0.75])
    for even in (replace(clipped, uncertainty="none"), replace(literal, members=1)):
        assert uncertainty_weight(u, 2.0, even, mask).tolist() == [[1.0] * 5]


def test_unanimous_members_do_not_divide_by_zero() -> None:
    zero, mask = torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool)
    for kind in ("clipped", "literal"):
        weight = uncertainty_weight(zero, 0.0, SITConfig(uncertainty=kind), mask)
        assert torch.isfinite(weight).all()
        assert (weight > 0).all()


def test_drawn_trajectories_carry_their_own_agents_credit() -> None:
    config = SITConfig(learn_trajectories=6, scale_return=False)
    data = imbalanced(10)
    torch.manual_seed(0)
    network, replay = ARDNEM(data.spec, config), DPER(data, config)
    replay.fill(data.batch(replay.next_chunk()), network)
    replay.finish()
    drawn = draw_trajectories(data, replay, config, np.random.default_rng(0), torch.device("cpu"))
    assert (drawn.agent[:6] < 2).all()
    assert (drawn.agent[6:] >= 2).all()
    rewards = replay.reward.reshape(10, 8, 4)
    for b in range(12):
        assert np.array_equal(drawn.credit[b].numpy(), rewards[int(drawn.episodes[b]), :, int(drawn.agent[b])])
        assert np.array_equal(drawn.obs[b].numpy(), data[int(drawn.episodes[b])].observations)
    scaled = draw_trajectories(
        data, replay, replace(config, scale_return=True), np.random.default_rng(0), torch.device("cpu")
    )
    assert torch.allclose(scaled.credit[:6] * replay.buffers[0].reward_scale, drawn.credit[:6])


def test_critic_sees_teammates_only_with_attention() -> None:
    data = imbalanced(3)
    batch, agent = data.batch(range(3)), torch.tensor([0, 1, 0])
    last = torch.full((3, 9), -1)
    moved = batch.obs.clone()
    moved[:, :, 3] += 1.0
    for gat in (True, False):
        torch.manual_seed(0)
        critic = GATCritic(data.spec, SITConfig(gat=gat))
        values = critic(batch.obs, agent, last)
        same = torch.allclose(values.table, critic(moved, agent, last).table)
        assert same is not gat
        mine = batch.obs.clone()
        mine[:, :, 0] += 1.0
        assert not torch.allclose(values.table[0], critic(mine, agent, last).table[0])
        assert values.baseline.shape == batch.obs.shape[:2]
