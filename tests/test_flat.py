"""The flat layout: nothing real is lost, no padding gets in, and every row knows its step."""

from __future__ import annotations

from dataclasses import replace

import torch

from offmarl_bench.collate import collate
from offmarl_bench.flat import flatten
from offmarl_bench.nn import Actor
from offmarl_bench.types import Batch
from tests.toy_data import SPEC, expert_episodes


def batch() -> Batch:
    full = collate(expert_episodes(3), SPEC)
    lengths = torch.tensor([2, 8, 5])
    return replace(full, lengths=lengths, mask=torch.arange(8) < lengths[:, None])


def test_every_real_step_once_in_order_of_time() -> None:
    data, padded = flatten(batch()), batch()
    assert len(data.obs) == (2 + 8 + 5) + 3
    assert data.time.tolist() == sorted(data.time.tolist())
    assert set(zip(data.lane.tolist(), data.time.tolist(), strict=True)) == {
        (b, t) for b, n in enumerate((2, 8, 5)) for t in range(n)
    }
    assert [data.time[part].tolist() for part in data.each_time()] == [
        [t] * n for t, n in enumerate((3, 3, 2, 2, 2, 1, 1, 1))
    ]
    for row, (b, t) in enumerate(zip(data.lane.tolist(), data.time.tolist(), strict=True)):
        assert torch.equal(data.actions[row], padded.actions[b, t])
        assert torch.equal(data.obs[data.now[row]], padded.obs[b, t])
        assert torch.equal(data.state[data.after[row]], padded.state[b, t + 1])
        before = padded.actions[b, t - 1] if t else torch.full((SPEC.N,), -1)
        assert torch.equal(data.last_actions[data.now[row]], before)


def test_steps_and_padded_are_inverse() -> None:
    data, padded = flatten(batch()), batch()
    again = data.padded(data.steps(padded.actions))
    assert torch.equal(again, padded.actions * padded.mask[..., None])
    assert torch.equal(data.padded(torch.ones(15, dtype=torch.bool)), padded.mask)


def test_agent_k_shows_the_id_k() -> None:
    x = flatten(batch()).inputs(Actor(SPEC.O, SPEC.A, n_ids=SPEC.N))
    assert torch.equal(x[:, :, -SPEC.N :], torch.eye(SPEC.N).expand(len(x), -1, -1))
