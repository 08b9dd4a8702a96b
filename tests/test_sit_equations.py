"""One test per equation of the paper (arXiv:2211.15612), on numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sit import ardnem, critic, dper, learn
from sit.monotonic import monotonic_total

LN3 = math.log(3)
"""exp(ln 3) = 3, so a softmax over (ln 3, 0) is (3/4, 1/4)."""


def t(*values: object) -> torch.Tensor:
    """A float64 tensor; one list is a row of a batch of one."""
    return torch.tensor(values, dtype=torch.float64)


def test_eq_1_contribution_weights_are_a_softmax_over_agents() -> None:
    both = torch.tensor([[True, True]])
    assert torch.allclose(ardnem.contribution_weights(t([[0.0, LN3]]), both), t([[0.25, 0.75]]))


def test_eq_1_dead_agents_get_nothing() -> None:
    alive = torch.tensor([[True, False], [False, False]])
    assert ardnem.contribution_weights(t([[0.0, LN3], [0.0, LN3]]), alive).tolist() == [[[1.0, 0.0], [0.0, 0.0]]]


def test_eq_1_states_are_compared_with_agents() -> None:
    e_s, W_q, W_k = t([[2.0, 0.0]]), t([[1.0, 7.0]]), t([[0.5, 3.0]])
    assert ardnem.query(e_s, W_q, W_k).tolist() == [[[2 * 1 * 0.5, 2 * 1 * 3.0]]]


def test_eq_1_equals_the_printed_product_member_by_member() -> None:
    g = torch.Generator().manual_seed(0)
    M, K, N, H, D = 2, 3, 4, 5, 6
    e_s, e_i = torch.randn(M, K, H, generator=g), torch.randn(M, K, N, H, generator=g)
    W_q, W_k = torch.randn(M, D, H, generator=g), torch.randn(M, D, H, generator=g)
    fast = torch.einsum("mkh, mknh -> mkn", ardnem.query(e_s, W_q, W_k), e_i)
    for m in range(M):
        for k in range(K):
            scores = [e_s[m, k] @ W_q[m].T @ W_k[m] @ e_i[m, k, i] for i in range(N)]
            assert torch.allclose(fast[m, k], torch.stack(scores), atol=1e-5)


def test_eq_2_total_reward() -> None:
    assert ardnem.total_reward(t([0.25, 0.75]), t([4.0, 8.0])).tolist() == [7.0]


def test_eq_3_loss_is_the_mean_over_members_of_squared_errors() -> None:
    predicted = t([7.0], [3.0])  # the truth is 6: (1 + 9) / 2
    assert float(ardnem.decomposition_loss(predicted, t(6.0))) == 5.0


def test_monotonic_mixing_of_appendix_e_1() -> None:
    r = t([[1.0, 2.0]])
    w_1 = t([[[1.0, -2.0], [-0.5, 1.0]]])  # |w_1|ᵀ r = (1 + 1, 2 + 2)
    b_1, w_2, b_2 = t([[1.0, -4.0]]), t([[-3.0, 5.0]]), t([0.25])  # ELU(3) = 3, ELU(0) = 0
    assert monotonic_total(r, w_1, b_1, w_2, b_2).tolist() == [[3 * 3 + 5 * 0 + 0.25]]


def test_eq_4_individual_reward_is_the_members_mean() -> None:
    assert dper.individual_reward(np.array([[1.0, 0.0], [3.0, 8.0]])).tolist() == [2.0, 4.0]


def test_eq_5_uncertainty_is_the_members_standard_deviation() -> None:
    assert dper.uncertainty(np.array([[1.0, 0.0], [3.0, 8.0]])).tolist() == [1.0, 4.0]


def test_eq_6_monte_carlo_return_discounts_later_rewards() -> None:
    r = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 0.0]])  # the second episode has two steps
    assert dper.monte_carlo_return(r, 0.5).tolist() == [[3.0, 4.0, 4.0], [2.0, 2.0, 0.0]]


def test_priority_is_the_mean_return_over_the_trajectorys_own_steps() -> None:
    g = np.array([[[3.0, 6.0], [4.0, 2.0], [5.0, 9.0]], [[2.0, 2.0], [2.0, 2.0], [0.0, 0.0]]])
    present = np.ones((2, 3, 2), bool)
    present[1, 2] = False  # the second episode has two steps
    present[0, 2, 1] = False  # and in the first one the second agent died after two
    assert dper.trajectory_priority(g, present).tolist() == [[4.0, 4.0], [2.0, 2.0]]


def test_eq_7_probabilities_are_a_softmax_at_temperature_alpha() -> None:
    assert np.allclose(dper.sampling_probability(np.array([0.0, 0.2 * LN3]), 0.2), [0.25, 0.75])
    assert dper.sampling_probability(np.array([0.0, 20.0]), math.inf).tolist() == [0.5, 0.5]


def test_eq_7_survives_exponents_that_overflow() -> None:
    p = dper.sampling_probability(np.array([1e6, 1e6 - 20.0, 0.0]), 0.2)
    assert p[0] == 1.0
    assert p[1] == pytest.approx(math.exp(-100))
    assert p[2] == 0.0


def test_eq_8_attention_over_what_everyone_sees() -> None:
    W_2 = t(1.0, 1.0)
    weights, seen = critic.graph_attention(t([0.0]), t([[LN3], [0.0]]), W_2)
    assert torch.allclose(weights, t([0.75, 0.25]))
    assert torch.allclose(seen, t([0.75 * LN3]))
    # LeakyReLU has slope 0.2: 0.2 · (−5 ln 3) = −ln 3.
    weights, _ = critic.graph_attention(t([0.0]), t([[0.0], [-5 * LN3]]), W_2)
    assert torch.allclose(weights, t([0.75, 0.25]))


def test_eq_8_first_half_of_W_2_meets_the_agent_itself() -> None:
    # Score_j = leaky(1 · own + 2 · other): leaky(−5 + 2·2.5) = 0 and leaky(−5 + 0) = −1.
    weights, _ = critic.graph_attention(t([-5.0]), t([[2.5], [0.0]]), t(1.0, 2.0))
    assert torch.allclose(weights, t([0.0, -1.0]).softmax(-1).unsqueeze(0))


def test_eq_9_critic_loss_weighs_squared_errors_and_ignores_padding() -> None:
    mask = torch.tensor([[True, True, False]])
    loss = learn.critic_loss(t([1.0, 2.0, math.nan]), t([2.0, 4.0, 0.0]), t([1.0, 0.5, 9.0]), mask)
    assert float(loss) == (1 * 1 + 0.5 * 4) / 2


def test_eq_10_actor_loss_is_weighted_log_likelihood() -> None:
    mask = torch.tensor([[True, True, False]])
    log_pi, filtered, weight = t([-1.0, -2.0, -math.inf]), t([2.0, 0.5, 0.0]), t([1.0, 3.0, 1.0])
    assert float(learn.actor_loss(log_pi, filtered, weight, mask)) == (1 * 2 * 1 + 3 * 0.5 * 2) / 2


def test_eq_10_filter_is_a_softmax_per_time_step_with_mean_one() -> None:
    score = t([0.1 * LN3, 5.0, 7.0], [0.0, 100.0, 9.0])
    mask = torch.tensor([[True, True, False], [True, False, False]])  # the second trajectory has one step
    assert torch.allclose(learn.crr_filter(score, 0.1, mask), t([1.5, 1.0, 0.0], [0.5, 0.0, 0.0]))
