"""Stage I: members are independent, the dead stay out, batches are what they say, and credit goes to who earned it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from offmarl_bench.ops import one_hot
from sit.ardnem import ARDNEM, Transitions, agreement, contribution_weights, entropy, query, sample_steps, transitions
from sit.config import SITConfig
from sit.members import spread
from tests.imbalanced_toy import imbalanced


def network(config: SITConfig) -> ARDNEM:
    torch.manual_seed(0)
    return ARDNEM(imbalanced(2).spec, config)


def some(config: SITConfig, episodes: int = 4) -> Transitions:
    data = imbalanced(episodes)
    return transitions(data.batch(range(episodes)))


def test_members_are_independent_networks() -> None:
    """The batched ensemble equals M networks of one member each, in values and in gradients."""
    config = SITConfig(members=3)
    together, data = network(config), some(config)
    lam, r = together(data)
    assert not torch.allclose(r[0], r[1])
    for m in range(3):
        alone = network(replace(config, members=1))
        alone.load_state_dict({k: v[m : m + 1] if v.dim() == 3 else v for k, v in together.state_dict().items()})
        lam_m, r_m = alone(data)
        assert torch.allclose(lam[m], lam_m[0], atol=1e-6)
        assert torch.allclose(r[m], r_m[0], atol=1e-6)


def test_credit_is_that_of_the_embedded_pairs() -> None:
    """Eq. (1) and f_i layer by layer, against what leaves out a bias and never writes e_i down."""
    config = SITConfig(members=3)
    net, data = network(config), some(config)
    K, N = data.actions.shape
    kinds = net.get_buffer("kinds").expand(K, N, -1)
    pairs = spread(torch.cat([data.obs, one_hot(data.actions, net.spec.A), kinds], -1).flatten(0, 1), 3)
    e_i = net.pair_out(F.relu(net.pair_in(pairs))).view(3, K, N, -1)
    e_s = net.state_out(F.relu(net.state_in(spread(data.state, 3))))
    scores = torch.einsum("mkh, mknh -> mkn", query(e_s, net.W_q, net.W_k), e_i)
    lam, r = net(data)
    assert torch.allclose(lam, contribution_weights(scores, data.alive), atol=1e-6)
    layers = net.reward_out(F.relu(net.reward_mid(F.relu(net.reward_in(pairs))))).view(3, K, N)
    assert torch.allclose(r, layers, atol=1e-6)


def test_swapping_two_agents_of_a_type_swaps_their_credit() -> None:
    """No agent id: what is judged is the observation and the action."""
    config = SITConfig()
    data, order = some(config), [1, 0, 2, 3]
    swapped = replace(data, obs=data.obs[:, order], actions=data.actions[:, order])
    net = network(config)
    (lam, r), (lam_s, r_s) = net(data), net(swapped)
    assert torch.allclose(lam[..., order], lam_s, atol=1e-6)
    assert torch.allclose(r[..., order], r_s, atol=1e-6)


def test_dead_agents_take_part_only_if_asked() -> None:
    data = some(SITConfig())
    data = replace(data, alive=data.alive & torch.tensor([True, False, True, True]))
    for mask_dead in (True, False):
        lam, _ = network(SITConfig(mask_dead=mask_dead))(data)
        assert bool((lam[..., 1] == 0).all()) is mask_dead
        assert torch.allclose(lam.sum(-1), torch.ones(()))


def test_without_attention_every_agent_counts_once() -> None:
    net = network(SITConfig(attention=False))
    lam, _ = net(some(SITConfig()))
    assert bool((lam == 1).all())
    assert not hasattr(net, "W_q")


def test_reward_units_come_back() -> None:
    net = network(SITConfig())
    net.mean.fill_(8.0)
    net.std.fill_(2.0)
    weighted = torch.tensor([[[1.0, -1.0, 0.5, 0.0]]])
    assert net.in_reward(weighted).tolist() == [[[2 + 2, -2 + 2, 1 + 2, 0 + 2]]]  # std · z + mean / 4 agents


def test_raw_rewards_are_left_raw() -> None:
    net = network(SITConfig(standardise_reward=False))
    net.measure_reward(imbalanced(8))
    assert (float(net.mean), float(net.std)) == (0.0, 1.0)


@pytest.mark.parametrize(("keep", "expected"), [(0, 32), (5, 5), (1000, 32)])
def test_a_batch_has_the_asked_number_of_different_steps(keep: int, expected: int) -> None:
    data = imbalanced(8)
    config = SITConfig(decompose_episodes=4, decompose_transitions=keep)
    batch = sample_steps(data, config, np.random.default_rng(3), "cpu")
    assert int(batch.mask.sum()) == expected
    rows = transitions(batch)
    k, t = int(batch.episodes[0]), int(batch.starts[0])
    assert np.array_equal(rows.obs[0].numpy(), data[k].observations[t])
    assert np.array_equal(rows.actions[0].numpy(), data[k].actions[t])
    assert float(rows.rewards[0]) == data[k].rewards[t]


def test_entropy_of_lambda() -> None:
    present = torch.tensor([[True, True, True, True], [True, True, False, False], [True, False, False, False]])
    even = present / present.sum(-1, keepdim=True)
    assert float(entropy(even.unsqueeze(0), present)) == pytest.approx(1.0)
    one = torch.eye(4)[:1].expand(1, 3, 4)
    assert float(entropy(one, present)) == 0.0


def test_agreement_is_the_mean_pairwise_correlation() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 50)))
    pairs = np.corrcoef(x.numpy())[np.triu_indices(3, 1)]
    assert float(agreement(x)) == pytest.approx(pairs.mean())
    assert float(agreement(x[:1])) == 1.0
