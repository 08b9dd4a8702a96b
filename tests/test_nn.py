"""The fused unroll and the step-by-step play are the same network; inputs are built as described."""

from __future__ import annotations

import pytest
import torch

from offmarl_bench.nn import Actor, RecurrentNet, previous_actions
from offmarl_bench.recurrence import pack


@pytest.fixture(autouse=True)
def _weights() -> None:
    torch.manual_seed(0)


def test_previous_actions_begin_with_none() -> None:
    assert previous_actions(torch.tensor([[[5, 6], [7, 8]]])).tolist() == [[[-1, -1], [5, 6], [7, 8]]]


def test_fused_unroll_equals_one_step_at_a_time() -> None:
    net, x = RecurrentNet(3, 2, hidden=8), torch.randn(4, 6, 3)
    h, outputs = net.initial(4), []
    for t in range(6):
        out, h = net.step(x[:, t], h)
        outputs.append(out)
    assert torch.allclose(net(x), torch.stack(outputs, 1), atol=1e-6)


def test_unroll_continues_from_a_memory() -> None:
    net, x = RecurrentNet(3, 2, hidden=8), torch.randn(4, 2, 3)
    _, h = net.step(x[:, 0], net.initial(4))
    assert torch.allclose(net(x[:, 1:], h), net(x)[:, 1:], atol=1e-6)


def test_packed_unroll_equals_the_padded_one_on_real_observations() -> None:
    net, x, rows = RecurrentNet(3, 2, hidden=8), torch.randn(4, 2, 7, 3), pack(torch.tensor([3, 6, 1, 6]))
    padded = net(x.flatten(0, 1)).view(4, 2, 7, 2)
    packed = net.packed(x[rows.lane, :, rows.time], rows.counts)
    assert torch.allclose(packed, padded[rows.lane, :, rows.time], atol=1e-6)


def test_actor_input_is_observation_then_last_action_then_id() -> None:
    actor = Actor(2, 3, n_ids=2)
    x = actor.inputs(torch.tensor([[0.5, 0.25]]), torch.tensor([2]), torch.tensor([1]))
    assert x.tolist() == [[0.5, 0.25, 0, 0, 1, 0, 1]]
    x = actor.inputs(torch.tensor([[0.5, 0.25]]), torch.tensor([-1]), None)
    assert x.tolist() == [[0.5, 0.25, 0, 0, 0, 0, 0]]


def test_actor_without_action_and_id_reads_the_observation_alone() -> None:
    actor, obs = Actor(2, 3, last_action=False), torch.ones(1, 2)
    assert actor.inputs(obs, torch.tensor([2])) is obs


def test_actor_forward_equals_its_steps() -> None:
    actor = Actor(4, 3, hidden=8, n_ids=2)
    obs, last, ids = torch.randn(5, 7, 4), torch.randint(-1, 3, (5, 7)), torch.randint(0, 2, (5,))
    h, outputs = actor.initial(5), []
    for t in range(7):
        out, h = actor.step(obs[:, t], last[:, t], h, ids)
        outputs.append(out)
    assert torch.allclose(actor(obs, last, ids), torch.stack(outputs, 1), atol=1e-6)


def test_actor_can_be_rebuilt_from_its_description() -> None:
    actor = Actor(4, 3, hidden=8, n_ids=2, last_action=False)
    twin = Actor(**actor.describe())  # type: ignore[arg-type]
    twin.load_state_dict(actor.state_dict())
    assert twin.describe() == actor.describe()
