"""Continuous play: who decides for whom, with what density, and what noise does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from jaxtyping import Float32

from offmarl_bench.continuous import ContinuousActor, TanhGaussian, tanh_log_prob
from offmarl_bench.continuous_policy import ContinuousSlotPolicy
from offmarl_bench.envs import get_spec
from offmarl_bench.errors import FormatError, SpecMismatch
from tests.toy_continuous import PADDED, SPEC

N, A = SPEC.N, SPEC.A


def actors(k: int, **kwargs: str | int | bool) -> list[ContinuousActor]:
    torch.manual_seed(0)
    return [ContinuousActor(SPEC.O, A, 16, **kwargs) for _ in range(k)]  # type: ignore[arg-type]


def view(b: int, seed: int = 0) -> Float32[np.ndarray, "B N O"]:
    return np.random.default_rng(seed).normal(size=(b, N, SPEC.O)).astype(np.float32)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("recurrent", [True, False])
def test_mixed_play_equals_the_actors_own_unroll_over_time(recurrent: bool) -> None:
    two = actors(2, n_ids=N, recurrent=recurrent)
    table = np.array([[0, 1], [1, 0], [1, 1]])
    policy = ContinuousSlotPolicy(SPEC, two, table)
    policy.reset(3)
    seen = [view(3, seed) for seed in range(4)]
    played = torch.from_numpy(np.stack([policy.act(obs, None, rng()) for obs in seen], 1))
    obs = torch.from_numpy(np.stack(seen, 1))
    last = torch.nn.functional.pad(played, (0, 0, 0, 0, 1, 0))[:, :-1]
    for b, n in np.ndindex(3, N):
        actor = two[table[b, n]]
        raw = actor(obs[b : b + 1, :, n], last[b : b + 1, :, n], torch.tensor([n]))
        assert torch.allclose(actor.mode(raw)[0], played[b, :, n], atol=1e-6)


def test_lanes_that_stay_keep_their_memory() -> None:
    whole, part = (ContinuousSlotPolicy(SPEC, actors(1), np.zeros(N, int)) for _ in range(2))
    whole.reset(4)
    part.reset(4)
    for policy in (whole, part):
        policy.act(view(4, 1), None, rng())
    part.keep(np.array([3, 1]))
    after = view(4, 2)
    assert np.allclose(part.act(after[[3, 1]], None, rng()), whole.act(after, None, rng())[[3, 1]], atol=1e-6)


def test_greedy_play_is_certain_and_takes_no_random_number() -> None:
    policy, generator = ContinuousSlotPolicy(SPEC, actors(1), np.zeros(N, int)), rng()
    policy.reset(2)
    action, logprob = policy.decide(view(2), None, generator)
    assert action.dtype == logprob.dtype == np.float32
    assert action.shape == (2, N, A)
    assert logprob.tolist() == [[0.0, 0.0]] * 2
    assert generator.random() == rng().random()


def test_sampled_play_reports_the_density_of_the_actors_law() -> None:
    (actor,), obs = actors(1), view(500)
    policy = ContinuousSlotPolicy(SPEC, [actor], np.zeros(N, int), greedy=False)
    policy.reset(500)
    action, logprob = policy.decide(obs, None, rng())
    raw = actor(torch.from_numpy(obs).view(-1, 1, SPEC.O), torch.zeros(500 * N, 1, A))[:, 0]
    law = actor.law(raw.double())
    again = tanh_log_prob(TanhGaussian(*law), torch.from_numpy(action).double().view(-1, A))
    assert np.allclose(again.detach().view(-1, N), logprob, atol=1e-4)
    u = np.arctanh(action.astype(np.float64)).reshape(-1, A)
    z = (u - law.mean.detach().numpy()) / law.log_std.exp().detach().numpy()
    assert abs(z.mean()) < 0.1
    assert z.std() == pytest.approx(1.0, abs=0.05)


def test_noise_is_added_to_the_greedy_action_and_clipped() -> None:
    (actor,), obs = actors(1, kind="deterministic"), view(2000)
    quiet = ContinuousSlotPolicy(SPEC, [actor], np.zeros(N, int))
    loud = quiet.exploring(0.1)
    for policy in (quiet, loud):
        policy.reset(2000)
    mean, _ = quiet.decide(obs, None, rng())
    action, logprob = loud.decide(obs, None, rng())
    assert (action - mean).std() == pytest.approx(0.1, rel=0.05)
    z = ((action - mean) / 0.1).astype(np.float64)
    density = (-0.5 * z**2 - math.log(0.1) - 0.5 * math.log(2 * math.pi)).sum(-1)
    assert np.allclose(density, logprob, atol=1e-3)
    wild = quiet.exploring(50.0)  # nearly everything is clipped: each component has probability one half
    wild.reset(2000)
    action, logprob = wild.decide(obs, None, rng())
    ends = (np.abs(action) == 1).all(-1)
    assert ends.mean() > 0.95
    assert np.allclose(logprob[ends], A * math.log(0.5), atol=0.1)


def test_padded_components_are_zero_and_have_no_density() -> None:
    policy = ContinuousSlotPolicy(PADDED, actors(1), np.zeros(N, int), noise=0.2)
    for play in (policy, ContinuousSlotPolicy(PADDED, actors(1), np.zeros(N, int), greedy=False)):
        play.reset(3)
        action, logprob = play.decide(view(3), None, rng())
        assert (action[:, 1, 1] == 0).all()
        assert (action[:, 0] != 0).all()
        assert np.isfinite(logprob).all()


def test_the_action_that_is_remembered_is_the_one_that_was_played() -> None:
    policy = ContinuousSlotPolicy(SPEC, actors(1), np.zeros(N, int), noise=0.3)
    policy.reset(1)
    action = policy.act(view(1), None, rng())
    assert torch.equal(policy._last, torch.from_numpy(action[0]))


def test_what_does_not_fit_is_refused() -> None:
    one, slots = actors(1), np.zeros(N, int)
    with pytest.raises(SpecMismatch, match=r"toy/signals: ContinuousSlotPolicy plays continuous actions only"):
        ContinuousSlotPolicy(get_spec("toy/signals"), one, np.zeros(4, int))
    with pytest.raises(SpecMismatch, match="actor 0 takes observations of 3 and makes actions of 2"):
        ContinuousSlotPolicy(SPEC, [ContinuousActor(3, 2)], slots)
    with pytest.raises(SpecMismatch, match="actor 1 is deterministic, actor 0 is gaussian; give actors of one kind"):
        ContinuousSlotPolicy(SPEC, [*one, *actors(1, kind="deterministic")], slots)
    with pytest.raises(SpecMismatch, match=r"assignment has shape \(3,\)"):
        ContinuousSlotPolicy(SPEC, one, np.zeros(3, int))
    with pytest.raises(FormatError, match="actor 0 is deterministic: nothing to sample"):
        ContinuousSlotPolicy(SPEC, actors(1, kind="deterministic"), slots, greedy=False)
    with pytest.raises(FormatError, match=r"noise is -0.1, expected a standard deviation"):
        ContinuousSlotPolicy(SPEC, one, slots, noise=-0.1)
    with pytest.raises(FormatError, match=r"noise is 0.1 on top of sampled play"):
        ContinuousSlotPolicy(SPEC, one, slots, greedy=False).exploring(0.1)
    policy = ContinuousSlotPolicy(SPEC, one, slots)
    policy.reset(2)
    with pytest.raises(SpecMismatch, match="3 lanes of observations, but the policy was reset for 2"):
        policy.act(view(3), None, rng())
