"""QMIX on the two-step game of its paper (Rashid et al. 2018, arXiv:1803.11485, Section 5): what the mixer is for.

The first agent's first action chooses a matrix of team rewards. One pays 7 whatever is done, the other 8 if both do the
right thing and 0 or 1 otherwise. A sum of the agents' values cannot hold the second and makes it worth 6.5.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from baselines.qmix import QMIX
from offmarl_bench.agent import make_agent
from offmarl_bench.loader import Dataset
from offmarl_bench.seeding import generator
from offmarl_bench.types import EnvSpec, Episode

SPEC = EnvSpec(
    id="toy/two-step", agents=("a0", "a1"), agent_types=("a", "a"), O=3, S=3, A=2, discrete=True, horizon=2
)  # fmt: skip
MATRICES = np.array([[[7, 7], [7, 7]], [[0, 1], [1, 8]]], np.float32)
START, COPIES, UPDATES = 0, 16, 600


def place(matrix: int) -> int:
    """Index of the state in which this matrix pays."""
    return 1 + matrix


def episode(first: tuple[int, int], second: tuple[int, int]) -> Episode:
    """Both agents see which state it is; the episode ends after the second reward."""
    states = np.eye(SPEC.S, dtype=np.float32)[[START, place(first[0]), place(first[0])]]
    return Episode(
        actions=np.array([first, second], np.int32),
        rewards=np.array([0, MATRICES[first[0]][second]], np.float32),
        observations=np.repeat(states[:, None], SPEC.N, 1),
        state=states,
        legal_actions=np.ones((SPEC.horizon + 1, SPEC.N, SPEC.A), bool),
        terminal=True,
    )


def everything_once() -> Dataset:
    """All sixteen ways to play, equally often."""
    pairs = list(itertools.product(range(SPEC.A), range(SPEC.A)))
    return Dataset.from_episodes([episode(a, b) for a in pairs for b in pairs] * COPIES, SPEC)


class Sum(nn.Module):
    """VDN's mixing (arXiv:1706.05296): the state decides nothing, no value bends another."""

    def forward(self, q: Tensor, state: Tensor) -> Tensor:
        return q.sum(-1)


def trained(*, mixing: bool) -> QMIX:
    agent = make_agent("qmix", SPEC, seed=0, hidden=16, mixer_embed=8, lr=3e-3, target_interval=25, gamma=1.0)
    assert isinstance(agent, QMIX)
    if not mixing:
        agent.mixer, agent.target_mixer = Sum(), Sum()  # type: ignore[assignment]
    phase, draws = agent.phases(everything_once())[0], generator(0, "train")
    for _ in range(UPDATES):
        phase.update(phase.batches(draws))
    return agent


@torch.no_grad()
def payoff(agent: QMIX) -> float:
    """Team reward of greedy play."""
    h, last, where, joint = agent.actor.initial(SPEC.N), torch.full((SPEC.N,), -1), START, []
    for _ in range(SPEC.horizon):
        obs = torch.eye(SPEC.S)[where].expand(SPEC.N, -1)
        q, h = agent.actor.step(obs, last, h, torch.arange(SPEC.N))
        last = q.argmax(-1)
        joint.append(last.tolist())
        where = place(joint[0][0])
    return float(MATRICES[joint[0][0]][tuple(joint[1])])


def test_it_finds_the_best_joint_play() -> None:
    assert payoff(trained(mixing=True)) == 8


def test_without_the_mixing_it_takes_what_is_safe() -> None:
    assert payoff(trained(mixing=False)) == 7
