"""The fused unroll and the step-by-step play are the same network; inputs are built as described."""

from __future__ import annotations

import pytest
import torch

from offmarl_bench.nn import (
    Actor,
    LinearMixer,
    RecurrentNet,
    Renewal,
    descend,
    frozen_copy,
    linear_mix,
    previous_actions,
)
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


def test_linear_mixing_by_hand() -> None:
    q, w, b = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 0.5]]), torch.tensor([10.0])
    assert linear_mix(q, w, b).tolist() == [12]
    assert linear_mix(q, w, None).tolist() == [2]


def test_the_mixers_weights_by_hand() -> None:
    # Two agents, two inner units: |W1| = [[1, 2], [0, 3]], |w2| = [1, 4], so w = [9, 12] and b = ReLU(5) · 2 + 1.
    mixer, state = LinearMixer(2, 1, 2), torch.tensor([[1.0]])
    mixer.load_state_dict(
        {
            "w1.weight": torch.tensor([[1.0], [-2.0], [0.0], [3.0]]), "w1.bias": torch.zeros(4),
            "w2.weight": torch.tensor([[-1.0], [4.0]]), "w2.bias": torch.zeros(2),
            "b.0.weight": torch.tensor([[5.0], [-5.0]]), "b.0.bias": torch.zeros(2),
            "b.2.weight": torch.tensor([[2.0, 7.0]]), "b.2.bias": torch.ones(1),
        }
    )  # fmt: skip
    w, b = mixer.weights(state)
    assert b is not None
    assert (w.tolist(), b.tolist()) == ([[9, 12]], [11])
    assert mixer(torch.tensor([[1.0, 1.0]]), state).tolist() == [32]
    mixer.normalise, mixer.b = True, None
    w, b = mixer.weights(state)
    assert w.tolist() == [pytest.approx([9 / 21, 12 / 21])]
    assert b is None


def test_targets_are_copied_at_the_interval_learn_nothing_and_resume() -> None:
    source = torch.nn.Linear(1, 1)
    target = frozen_copy(source)
    assert not any(p.requires_grad for p in target.parameters())
    renewal = Renewal(3, (target, source))
    torch.nn.init.constant_(source.weight, 7.0)
    renewal.advance(2)
    assert target.weight.item() != 7
    resumed = Renewal(3, (target, source))
    resumed.load_state_dict(renewal.state_dict())
    resumed.advance()
    assert (target.weight.item(), resumed.since) == (7, 0)
    assert list(renewal.parameters()) == []


def test_descend_takes_one_clipped_step() -> None:
    x = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    norm = descend(x.square().sum() / 2, torch.optim.SGD([x], lr=1.0), clip=1.0)
    assert norm.item() == 5
    assert x.tolist() == pytest.approx([3 - 0.6, 4 - 0.8])
