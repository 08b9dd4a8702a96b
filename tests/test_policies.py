"""Play: who decides for whom, with what probability, and what happens when lanes finish."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float32

from offmarl_bench.envs import get_spec
from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.nn import Actor
from offmarl_bench.policies import PlayerPolicy, SlotPolicy, UniformPolicy, draw

SPEC = get_spec("toy/signals")
N, A = SPEC.N, SPEC.A


def actors(k: int, **kwargs: int | bool) -> list[Actor]:
    torch.manual_seed(0)
    return [Actor(SPEC.O, A, 16, **kwargs) for _ in range(k)]  # type: ignore[arg-type]


def views(b: int, seed: int = 0) -> tuple[Float32[np.ndarray, "B N O"], Bool[np.ndarray, "B N A"]]:
    g = np.random.default_rng(seed)
    legal = g.random((b, N, A)) < 0.6
    legal[..., 0] = True
    return g.normal(size=(b, N, SPEC.O)).astype(np.float32), legal


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_draw_follows_the_distribution_and_never_picks_probability_zero() -> None:
    p = np.broadcast_to(np.array([0.0, 0.25, 0.0, 0.75, 0.0]), (20_000, 5))
    action, logprob = draw(p, rng())
    assert set(np.unique(action)) == {1, 3}
    assert (action == 3).mean() == pytest.approx(0.75, abs=0.02)
    assert np.allclose(np.exp(logprob), p[0][action])


def test_draw_stays_inside_when_the_uniform_number_is_next_to_one() -> None:
    class Edge(np.random.Generator):
        def random(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
            return np.array([np.nextafter(1.0, 0.0)])

    action, _ = draw(np.array([[0.1, 0.2, 0.7, 0.0]]), Edge(np.random.PCG64(0)))
    assert action.tolist() == [2]


def test_each_slot_is_played_by_its_own_actor() -> None:
    three, (obs, legal) = actors(3), views(5)
    table = np.array([[0, 1, 2, 0], [1, 1, 1, 1], [2, 0, 1, 2], [0, 0, 0, 0], [2, 2, 1, 0]])
    mixed = SlotPolicy(SPEC, three, table)
    mixed.reset(5)
    played = mixed.act(obs, legal, rng())
    for k, actor in enumerate(three):
        alone = SlotPolicy(SPEC, [actor], np.zeros(N, int))
        alone.reset(5)
        assert (alone.act(obs, legal, rng()) == played)[table == k].all()


def test_mixed_play_equals_the_actors_own_unroll_over_time() -> None:
    two = actors(2, n_ids=N)
    table = np.array([[0, 1, 1, 0], [1, 0, 0, 1]])
    policy = SlotPolicy(SPEC, two, table)
    policy.reset(2)
    seen = [views(2, seed) for seed in range(4)]
    played = np.stack([policy.act(obs, legal, rng()) for obs, legal in seen], 1)
    obs = torch.from_numpy(np.stack([o for o, _ in seen], 1))
    legal = torch.from_numpy(np.stack([m for _, m in seen], 1))
    last = torch.nn.functional.pad(torch.from_numpy(played).long(), (0, 0, 1, 0), value=-1)[:, :-1]
    for b, n in np.ndindex(2, N):
        q = two[table[b, n]](obs[b : b + 1, :, n], last[b : b + 1, :, n], torch.tensor([n]))
        assert q.masked_fill(~legal[b : b + 1, :, n], -torch.inf).argmax(-1)[0].tolist() == played[b, :, n].tolist()


@pytest.mark.parametrize(("greedy", "epsilon"), [(True, 0.0), (True, 0.05), (False, 0.0), (False, 0.3), (True, 1.0)])
def test_logprobs_are_those_of_the_mixture(greedy: bool, epsilon: float) -> None:
    policy, (obs, legal) = SlotPolicy(SPEC, actors(1), np.zeros(N, int), greedy=greedy, epsilon=epsilon), views(1)
    many_obs, many_legal = np.repeat(obs, 4000, 0), np.repeat(legal, 4000, 0)
    policy.reset(4000)
    action, logprob = policy.decide(many_obs, many_legal, rng())
    assert np.take_along_axis(many_legal, action[..., None].astype(int), -1).all()
    for n in range(N):
        seen = {int(a): np.exp(logprob[action[:, n] == a, n]) for a in np.unique(action[:, n])}
        for a, p in seen.items():
            assert np.ptp(p) < 1e-6
            assert p[0] == pytest.approx((action[:, n] == a).mean(), abs=0.03)
        if len(seen) == legal[0, n].sum():  # every legal action was seen: their probabilities are a distribution
            assert sum(p[0] for p in seen.values()) == pytest.approx(1.0, abs=1e-5)


def test_dropping_finished_lanes_changes_nothing_for_the_others() -> None:
    three, table = actors(3), np.random.default_rng(1).integers(0, 3, (6, N))
    whole, part = SlotPolicy(SPEC, three, table), SlotPolicy(SPEC, three, table)
    whole.reset(6)
    part.reset(6)
    left = np.arange(6)
    for t, keep in enumerate([None, [0, 2, 3, 5], None, [3, 1], [1]]):
        obs, legal = views(6, t)
        if keep is not None:
            part.keep(np.array(keep))
            left = left[keep]
        expected = whole.act(obs, legal, rng())
        assert (part.act(obs[left], legal[left], rng()) == expected[left]).all()


def test_without_legal_actions_all_are_allowed() -> None:
    policy = SlotPolicy(SPEC, actors(1), np.zeros(N, int), epsilon=1.0)
    policy.reset(3)
    _, logprob = policy.decide(views(3)[0], None, rng())
    assert np.allclose(np.exp(logprob), 1 / A)
    policy.reset(3)
    _, logprob = policy.decide(views(3)[0], np.zeros((3, N, A), bool), rng())
    assert np.allclose(np.exp(logprob), 1 / A)


def test_uniform_play_is_uniform_over_legal_actions() -> None:
    obs, legal = views(50)
    policy = UniformPolicy(SPEC)
    policy.reset(50)
    action, logprob = policy.decide(obs, legal, rng())
    assert action.dtype == np.int32
    assert np.allclose(np.exp(logprob), 1 / legal.sum(-1))
    policy.keep(np.array([1]))
    assert policy.act(obs[:1], None, rng()).shape == (1, N)


def test_uniform_play_of_continuous_actions() -> None:
    spec = get_spec("toy/target")
    action, logprob = UniformPolicy(spec).decide(np.zeros((9, spec.N, spec.O), np.float32), None, rng())
    assert action.shape == (9, spec.N, spec.A)
    assert np.abs(action).max() <= 1
    assert np.allclose(np.exp(logprob), 0.5)


def test_what_slot_policy_refuses() -> None:
    one = actors(1)
    with pytest.raises(SpecMismatch, match="plays discrete actions only"):
        SlotPolicy(get_spec("toy/target"), one, np.zeros(2, int))
    with pytest.raises(SpecMismatch, match=r"takes observations of 3 .* has O=6, A=4"):
        SlotPolicy(SPEC, [Actor(3, 4)], np.zeros(N, int))
    with pytest.raises(SpecMismatch, match=r"shape \(3,\), expected \(4,\) or \(B, 4\)"):
        SlotPolicy(SPEC, one, np.zeros(3, int))
    with pytest.raises(SpecMismatch, match="names actors 0 to 1, but there are 1"):
        SlotPolicy(SPEC, one, np.array([0, 0, 1, 0]))
    with pytest.raises(FormatError, match=r"epsilon is 1.5, expected a number from 0 to 1"):
        SlotPolicy(SPEC, one, np.zeros(N, int), epsilon=1.5)
    policy = SlotPolicy(SPEC, one, np.zeros((2, N), int))
    with pytest.raises(SpecMismatch, match="for 2 lanes, but 3 lanes are played"):
        policy.reset(3)
    policy.reset(2)
    with pytest.raises(SpecMismatch, match="3 lanes of observations, but the policy was reset for 2"):
        policy.act(*views(3), rng())


def test_a_rule_turns_outputs_into_values_before_illegal_actions_go() -> None:
    two, (obs, legal) = actors(2), views(5)
    table = np.array([0, 1, 1, 0])
    seen: list[bool] = []

    def worst(outputs: torch.Tensor, free: torch.Tensor | None) -> torch.Tensor:
        assert outputs.shape == (5, N, A)
        seen.append(free is not None and bool((free.numpy() == legal).all()))
        return -outputs

    plain, turned = SlotPolicy(SPEC, two, table), PlayerPolicy(SPEC, two, table, rule=worst)
    for policy in (plain, turned):
        policy.reset(5)
    played = turned.act(obs, legal, rng())
    assert (turned.exploring(0.0).rule, seen) == (worst, [True])
    for net in two:
        with torch.no_grad():
            net.net.head.weight.neg_()
            net.net.head.bias.neg_()
    assert (plain.act(obs, legal, rng()) == played).all()
