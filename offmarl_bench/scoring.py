"""Evaluation episodes: the same starts for every agent, and never those that made the data."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float64, Int

from offmarl_bench.agent import Agent, Policy
from offmarl_bench.envs import lanes_of, make_env
from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds
from offmarl_bench.seeding import generator as seeded
from offmarl_bench.train import one_thread
from offmarl_bench.types import EnvSpec

EPISODES = 32
"""Evaluation episodes per seed, as everywhere in the SMAC literature."""
MAX_LANES = 256
"""Episodes played side by side."""
WON = "battle_won"
"""Key of ``Step.info`` that says whether an episode was won."""


class Played(NamedTuple):
    """Episodes of one evaluation."""

    returns: Float64[np.ndarray, " E"]
    win_rate: float | None
    lengths: Int[np.ndarray, " E"]


def curve_point(agent: Agent, env_id: str, seed: int) -> float:
    """Mean greedy return of ``EPISODES`` episodes that no final evaluation plays: one point of a learning curve."""
    return float(play(agent, env_id, EPISODES, seed, True, purpose="curve").returns.mean())


class Scored(Protocol):
    """What can be scored; an ``Agent`` is."""

    @property
    def name(self) -> str:
        """Shown in errors."""

    @property
    def spec(self) -> EnvSpec:
        """What it was made for."""

    def policy(self, greedy: bool = True) -> Policy:
        """See Agent."""


def play(agent: Scored, env_id: str, episodes: int, seed: int, greedy: bool, *, purpose: str = "evaluate") -> Played:
    """Play ``episodes`` episodes of a master seed in lockstep.

    Raises:
        SpecMismatch: the agent was made for an environment of other sizes or agent types.
        FormatError: fewer than one episode.
    """
    if episodes < 1:
        raise FormatError(f"{episodes} evaluation episodes: expected at least 1")
    lanes = lanes_of(env_id, min(episodes, MAX_LANES))
    env = make_env(env_id, num_envs=lanes)
    for name in ("N", "O", "S", "A", "discrete", "agent_types"):
        mine, theirs = getattr(agent.spec, name), getattr(env.spec, name)
        if mine != theirs:
            raise SpecMismatch(
                f"{agent.name} was made for {agent.spec.id} ({name} = {mine!r}) and cannot play {env_id} "
                f"({name} = {theirs!r}); evaluate it where it was trained"
            )
    policy, generator = agent.policy(greedy=greedy), seeded(seed, purpose)
    returns, lengths, won = [], [], []
    with one_thread():
        for first in range(0, episodes, lanes):
            seeds = episode_seeds(seed, purpose, first, min(lanes, episodes - first))
            played = rollout(env, policy, seeds, generator)
            returns.append(played.returns)
            lengths.append(played.lengths)
            if WON in played.info:
                won.append(played.info[WON].astype(bool))
    wins = float(np.concatenate(won).mean()) if won else None
    return Played(np.concatenate(returns), wins, np.concatenate(lengths))
