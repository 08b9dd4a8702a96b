"""Continuous actions: densities that integrate to one and stay finite at the bounds, networks that keep their shape."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import pytest
import torch

from offmarl_bench.collate import collate
from offmarl_bench.continuous import (
    BOUND,
    LOG_STD,
    ContinuousActor,
    ContinuousCritic,
    TanhGaussian,
    before_tanh,
    clipped_normal_log_prob,
    log_slope,
    only_real,
    real_components,
    tamed,
    tanh_log_prob,
    tanh_sample,
)
from offmarl_bench.errors import FormatError
from offmarl_bench.flat import flatten
from offmarl_bench.nn import previous_actions
from tests.toy_continuous import PADDED, SPEC, expert_episodes


def grid(edge: float, n: int = 200_001) -> torch.Tensor:
    return torch.linspace(-edge, edge, n, dtype=torch.float64)


def test_the_slope_of_tanh_is_exact_where_the_plain_formula_breaks_down() -> None:
    u = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)
    assert torch.allclose(log_slope(u), torch.log(1 - torch.tanh(u) ** 2))
    far = torch.tensor([-30.0, 30.0, 100.0])  # 1 − tanh² is 0 in float32 here; the limit is 2 (log 2 − |u|)
    assert torch.allclose(log_slope(far), 2 * (math.log(2) - far.abs()))


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.8, -1.0), (-2.0, 0.3)])
def test_the_density_of_a_tanh_gaussian_integrates_to_what_lies_inside(mean: float, log_std: float) -> None:
    a = grid(BOUND)[:, None]
    law = TanhGaussian(torch.full_like(a, mean), torch.full_like(a, log_std))
    normal, edge = NormalDist(mean, math.exp(log_std)), math.atanh(BOUND)
    inside = normal.cdf(edge) - normal.cdf(-edge)
    assert torch.trapezoid(tanh_log_prob(law, a).exp(), a[:, 0]) == pytest.approx(inside, abs=1e-3)


def test_a_density_on_paper() -> None:
    # a = tanh(0.5): N(0.5; 0, 1) / (1 − 0.4621²) = 0.352065 / 0.786448
    a = torch.tanh(torch.tensor([[0.5]]))
    zero = torch.zeros(1, 1)
    assert tanh_log_prob(TanhGaussian(zero, zero), a).exp().item() == pytest.approx(0.352065 / 0.786448, rel=1e-4)


def test_what_is_drawn_has_the_density_that_the_data_gets() -> None:
    generator = torch.Generator().manual_seed(0)
    law = TanhGaussian(torch.randn(50, 2, 3, generator=generator), -torch.rand(50, 2, 3, generator=generator))
    actions, logprob = tanh_sample(law, torch.randn(50, 2, 3, generator=generator))
    inside = (actions.abs() < BOUND).all(-1)  # beyond, an action of the data counts as one at the bound
    assert inside.float().mean() > 0.5
    assert torch.allclose(tanh_log_prob(law, actions)[inside], logprob[inside], atol=1e-3)


def test_densities_and_gradients_are_finite_at_the_bounds() -> None:
    actions = torch.tensor([[1.0, -1.0, 0.0]])
    mean, log_std = torch.zeros(1, 3, requires_grad=True), torch.full((1, 3), LOG_STD[0], requires_grad=True)
    value = tanh_log_prob(TanhGaussian(mean, log_std), actions).sum()
    value.backward()  # type: ignore[no-untyped-call]
    assert value.isfinite()
    assert mean.grad is not None
    assert log_std.grad is not None
    assert mean.grad.isfinite().all()
    assert log_std.grad.isfinite().all()
    assert before_tanh(actions).abs().max().item() == pytest.approx(math.atanh(BOUND), rel=0.01)


def test_padded_components_have_no_part() -> None:
    real = real_components(PADDED)
    assert real.tolist() == [[True, True], [True, False]]
    law = TanhGaussian(torch.zeros(2, 2, requires_grad=True), torch.zeros(2, 2))
    alone = tanh_log_prob(TanhGaussian(torch.zeros(1, 1), torch.zeros(1, 1)), torch.full((1, 1), 0.3))
    both = tanh_log_prob(law, torch.full((2, 2), 0.3), real)
    assert both.tolist() == pytest.approx([2 * alone.item(), alone.item()])
    actions, _ = tanh_sample(law, torch.ones(2, 2), real)
    assert actions[1, 1] == 0
    assert (actions[real] != 0).all()
    (gradient,) = torch.autograd.grad(both.sum(), law.mean)
    assert gradient[1, 1] == 0
    assert torch.equal(only_real(torch.ones(2, 2), None), torch.ones(2, 2))


@pytest.mark.parametrize("mean", [-0.95, 0.0, 1.0])
def test_density_inside_and_atoms_at_the_bounds_add_up_to_one(mean: float) -> None:
    inside = grid(1.0)[1:-1, None]
    density = clipped_normal_log_prob(inside, torch.full_like(inside, mean), 0.2).exp()
    ends = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    atoms = clipped_normal_log_prob(ends, torch.full_like(ends, mean), 0.2).exp().sum()
    assert torch.trapezoid(density, inside[:, 0]) + atoms == pytest.approx(1.0, abs=1e-4)


def test_without_noise_play_is_certain() -> None:
    assert clipped_normal_log_prob(torch.zeros(3, 2), torch.ones(3, 2), 0.0).tolist() == [0.0] * 3


def test_huge_observations_are_tamed() -> None:
    x = torch.tensor([0.0, -0.01, math.e - 1, -60.0])
    assert tamed(x).tolist() == pytest.approx([0.0, -0.00995, 1.0, -math.log(61)], abs=1e-5)
    reads = ContinuousActor(1, 1, last_action=False).inputs(torch.full((1, 1), -60.0), torch.zeros(1, 1))
    assert reads.item() == pytest.approx(-math.log(61))


def test_before_the_first_step_the_last_action_is_zeros() -> None:
    actions = torch.arange(1.0, 9.0).view(1, 2, 2, 2)
    assert previous_actions(actions)[0].tolist() == [[[0, 0], [0, 0]], [[1, 2], [3, 4]], [[5, 6], [7, 8]]]


def test_the_flat_layout_holds_continuous_actions() -> None:
    padded = collate(expert_episodes(3), SPEC)
    lengths = torch.tensor([2, 5, 4])
    data = flatten(replace(padded, lengths=lengths, mask=torch.arange(5) < lengths[:, None]))
    assert data.actions.shape == (11, SPEC.N, SPEC.A)
    assert data.last_actions.shape == (14, SPEC.N, SPEC.A)
    for row, (b, t) in enumerate(zip(data.lane.tolist(), data.time.tolist(), strict=True)):
        assert torch.equal(data.actions[row], padded.actions[b, t])
        before = padded.actions[b, t - 1] if t else torch.zeros(SPEC.N, SPEC.A)
        assert torch.equal(data.last_actions[data.now[row]], before)
    again = data.padded(data.steps(padded.actions))
    assert torch.equal(again, padded.actions * (torch.arange(5) < lengths[:, None])[..., None, None])


@pytest.mark.parametrize("kind", ["gaussian", "deterministic"])
@pytest.mark.parametrize("recurrent", [True, False])
def test_step_by_step_packed_and_over_time_are_one_actor(kind: str, recurrent: bool) -> None:
    torch.manual_seed(0)
    actor = ContinuousActor(SPEC.O, SPEC.A, 16, n_ids=SPEC.N, kind=kind, recurrent=recurrent)
    batch = collate(expert_episodes(4), SPEC)
    data = flatten(batch)
    packed = actor.net.packed(data.inputs(actor), data.counts)
    last, memory = previous_actions(batch.actions), actor.initial(4 * SPEC.N)
    ids = torch.arange(SPEC.N).repeat(4)
    for t in range(SPEC.horizon + 1):
        raw, memory = actor.step(batch.obs[:, t].flatten(0, 1), last[:, t].flatten(0, 1), memory, ids)
        assert torch.allclose(raw.view(4, SPEC.N, -1), packed[4 * t : 4 * t + 4], atol=1e-6)
    whole = actor(batch.obs[:, :, 1], last[:, :, 1], torch.ones(4, dtype=torch.int64))
    assert torch.allclose(whole.transpose(0, 1).flatten(0, 1), packed[:, 1], atol=1e-6)
    twin = ContinuousActor(**actor.describe())  # type: ignore[arg-type]
    twin.load_state_dict(actor.state_dict())
    assert torch.equal(twin.net.packed(data.inputs(twin), data.counts), packed)


def test_an_actor_reads_its_outputs() -> None:
    actor = ContinuousActor(SPEC.O, SPEC.A)
    raw = torch.tensor([[0.5, -0.5, 0.0, 1e6]])
    mean, log_std = actor.law(raw)
    assert mean.tolist() == [[0.5, -0.5]]
    assert log_std.tolist() == [[sum(LOG_STD) / 2, LOG_STD[1]]]
    assert torch.equal(actor.mode(raw), torch.tanh(mean))
    with pytest.raises(FormatError, match="kind is 'gausian', expected one of gaussian, deterministic"):
        ContinuousActor(2, 1, kind="gausian")
    with pytest.raises(FormatError, match="'deterministic' has no distribution; use kind='gaussian'"):
        ContinuousActor(2, 1, kind="deterministic").law(raw)


def test_a_critic_values_many_actions_with_one_unroll() -> None:
    torch.manual_seed(0)
    critic, data = ContinuousCritic(SPEC.O, SPEC.A, 16, n_ids=SPEC.N), flatten(collate(expert_episodes(3), SPEC))
    features = critic.forward_packed(data.inputs(critic), data.counts)[data.now]
    candidates = torch.rand(7, *data.actions.shape)
    many = critic.value(features, candidates)
    assert many.shape == (7, len(data.now), SPEC.N)
    assert torch.allclose(many[3], critic.value(features, candidates[3]), atol=1e-6)
    assert (many[0] != many[1]).all()
    twin = ContinuousCritic(**critic.describe())  # type: ignore[arg-type]
    assert {k: v.shape for k, v in twin.state_dict().items()} == {k: v.shape for k, v in critic.state_dict().items()}
