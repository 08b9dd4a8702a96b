"""Record a stranger's policies in a stranger's environment, in our format.

``record(env, policies, episodes=…, seed=…)``: the environment is a PettingZoo ``ParallelEnv`` (or what makes one), an
id of ours, or a batched environment; a policy is any function of one agent's observation. Episodes are played one
after the other by ``rollout``, each from a seed of its own, so the same call gives the same data.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float32, Shaped
from pettingzoo import ParallelEnv
from tqdm import tqdm

from offmarl_bench import registry
from offmarl_bench.agent import Policy
from offmarl_bench.atomic import refuse_existing
from offmarl_bench.envs import get_suite, make_env, split_id
from offmarl_bench.envs.base import BatchedEnv
from offmarl_bench.envs.from_pettingzoo import wrap_parallel_env
from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.format.summary import summarise
from offmarl_bench.loader import Dataset
from offmarl_bench.provenance import commit, versions
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds, generator
from offmarl_bench.types import LEVELS, EnvSpec, Episode

log = logging.getLogger(__name__)

Player = Callable[[Float32[np.ndarray, " O"], "Bool[np.ndarray, ' A'] | None", np.random.Generator], Any]
"""``player(observation, legal, generator)`` → an action, or (action, log-probability).

The observation is flat, without the padding and the action mask; ``legal`` is None for continuous actions. The action
is in the environment's own terms: a number of its ``Discrete``, a point of its ``Box``. If the player has a method
``reset``, it is called with no arguments before every episode.
"""
PLAYED = "policies"


class _Space:
    """From one agent's own action space to ours: counted from 0, or within [−1, 1]."""

    def __init__(self, space: spaces.Space[Any] | None, size: int, discrete: bool) -> None:
        self.start = int(space.start) if isinstance(space, spaces.Discrete) else 0
        self.discrete, self.size = discrete, size
        box = space if isinstance(space, spaces.Box) else spaces.Box(-1, 1, (size,))
        self.low, self.high = np.ravel(box.low).astype(np.float64), np.ravel(box.high).astype(np.float64)

    def ours(self, action: Any, who: str) -> Shaped[np.ndarray, "*A"]:
        """Raises SpecMismatch for what is no action."""
        given = np.asarray(action)
        if self.discrete:
            if given.size != 1 or given.dtype.kind not in "iu":
                raise SpecMismatch(f"{who} returned {action!r}, expected one whole number")
            return np.asarray(int(given.ravel()[0]) - self.start)
        flat = given.astype(np.float64).ravel() if given.dtype.kind in "iuf" else np.zeros(0)
        if flat.size != self.size or not ((flat >= self.low) & (flat <= self.high)).all():
            raise SpecMismatch(
                f"{who} returned {action!r}, "
                f"expected {self.size} numbers from {self.low.min():g} to {self.high.max():g}"
            )
        return 2 * (flat - self.low) / (self.high - self.low) - 1


class Players(Policy):
    """One function an agent, as a joint policy."""

    def __init__(self, spec: EnvSpec, players: Mapping[str, Player], own: Mapping[str, spaces.Space[Any]]) -> None:
        self.spec = spec
        self.players = [players[a] for a in spec.agents]
        sizes = spec.action_sizes or (spec.A,) * spec.N
        self.spaces = [_Space(own.get(a), n, spec.discrete) for a, n in zip(spec.agents, sizes, strict=True)]
        self.sizes = sizes

    def reset(self, n: int) -> None:
        """Tells every player that can be told."""
        if n != 1:
            raise SpecMismatch(f"players remember one episode at a time, {n} were to be played side by side")
        for player in dict.fromkeys(self.players):
            forget = getattr(player, "reset", None)
            if callable(forget):
                forget()

    def keep(self, lanes: Shaped[np.ndarray, " K"]) -> None:
        """Nothing to keep: there is one lane."""

    def decide(
        self,
        obs: Float32[np.ndarray, "B N O"],
        legal: Bool[np.ndarray, "B N A"] | None,
        generator: np.random.Generator,
    ) -> tuple[Shaped[np.ndarray, "B N *A"], Float32[np.ndarray, "B N"]]:
        """See Policy. A player that gives no log-probability leaves NaN."""
        spec = self.spec
        actions = np.zeros(
            (1, spec.N) if spec.discrete else (1, spec.N, spec.A), np.int32 if spec.discrete else np.float32
        )
        logprob = np.full((1, spec.N), np.nan, np.float32)
        seen = spec.obs_sizes or (spec.O,) * spec.N
        for i, (player, space, size) in enumerate(zip(self.players, self.spaces, self.sizes, strict=True)):
            mask = None if legal is None else legal[0, i, :size]
            if mask is not None and mask.sum() == 1:  # dead, or gone: nothing to decide
                actions[0, i], logprob[0, i] = mask.argmax(), 0.0
                continue
            said = player(obs[0, i, : seen[i]].copy(), None if mask is None else mask.copy(), generator)
            action, logprob[0, i] = said if isinstance(said, tuple) and len(said) == 2 else (said, np.nan)
            actions[0, i, ...] = 0
            ours = space.ours(action, f"{spec.id}: the policy of agent {spec.agents[i]!r}")
            if spec.discrete:
                actions[0, i] = ours
            else:
                actions[0, i, :size] = ours
        return actions, logprob


def _opened(env: Any, options: dict[str, Any]) -> tuple[BatchedEnv, dict[str, spaces.Space[Any]], str]:
    """The environment with one lane, its agents' own action spaces, and the name of what simulates."""
    if isinstance(env, str):
        if options:
            raise FormatError(
                f"{env}: options {sorted(options)} are for a ParallelEnv; this is an environment by its id"
            )
        return make_env(env, 1), {}, get_suite(split_id(env)[0]).backend()
    if isinstance(env, BatchedEnv):
        return env, {}, "unknown"
    given = env() if not isinstance(env, ParallelEnv) and callable(env) else env
    if not isinstance(given, ParallelEnv):
        raise FormatError(
            f"cannot record in {type(given).__name__}: expected an id such as 'smac/2s3z', a PettingZoo "
            "ParallelEnv or a function that makes one"
        )
    own = {str(a): given.action_space(a) for a in given.possible_agents}
    return wrap_parallel_env(lambda: given, 1, **options), own, "pettingzoo"


def _named(what: str, given: Any, spec: EnvSpec) -> dict[str, Any]:
    """One entry an agent, from a mapping or from one thing for all. Raises FormatError, UnknownName."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(spec.agents, given)
    for name in given:
        if name not in spec.agents:
            raise registry.unknown(f"agent of {spec.id}", str(name), spec.agents)
    missing = [a for a in spec.agents if a not in given]
    if missing:
        raise FormatError(f"{spec.id}: {what} has no entry for agent {missing[0]!r}; name all of {list(spec.agents)}")
    return dict(given)


def _told(episode: Episode) -> Episode:
    """Log-probabilities are known for all of an agent's steps or for none: half a column helps nobody."""
    given = episode.behavior_logprob
    if given is None or not np.isnan(given).any():
        return episode
    return replace(episode, behavior_logprob=np.where(np.isnan(given).any(0), np.float32(np.nan), given))


def _name(player: Any) -> str:
    return str(getattr(player, "__qualname__", None) or type(player).__qualname__)


def record(
    env: Any,
    policies: Policy | Player | Mapping[str, Player],
    *,
    episodes: int,
    seed: int = 0,
    out: str | Path | None = None,
    levels: str | Mapping[str, str] | None = None,
    dataset_id: str | None = None,
    progress: bool = True,
    **options: Any,
) -> Dataset:
    """Play episodes and keep everything.

    Args:
        env: ``suite/map``, a ``ParallelEnv``, a function that makes one, or a BatchedEnv.
        policies: one for all agents, one for each by name (see ``Player``), or a joint ``Policy`` of ours.
        episodes: how many.
        seed: master seed of episodes and policies.
        out: also write the dataset to this file, which must not exist.
        levels: what ``behavior_level`` should say, for all agents or for each by name: ``random``, ``medium``,
            ``expert``; None: unknown.
        dataset_id: ``suite/map/quality-vN``, if it is to have one.
        progress: a bar on stderr.
        **options: how a ``ParallelEnv`` is read: the fields of ``WrapConfig`` (``env_id``, ``horizon``, ``reward``, …).

    Raises:
        FormatError: nothing that can be played, options that are none, fewer than one episode.
        UnknownName: an environment, agent or level that does not exist. SpecMismatch: an action that is none.
        OffmarlError: the file exists or cannot be written.
    """
    if episodes < 1:
        raise FormatError(f"episodes={episodes}, expected at least 1")
    target = None if out is None else Path(out)
    if target is not None:
        refuse_existing(target)
    batched, own, backend = _opened(env, options)
    spec = batched.spec
    players = {} if isinstance(policies, Policy) else _named("policies", policies, spec)
    policy = policies if isinstance(policies, Policy) else Players(spec, players, own)
    named = {} if levels is None else _named("levels", levels, spec)
    for level in named.values():
        if level not in LEVELS:
            raise registry.unknown("level", str(level), LEVELS)
    distinct = list(dict.fromkeys(_name(p) for p in players.values())) or [_name(policy)]
    index = [distinct.index(_name(players[a])) if players else 0 for a in spec.agents]
    level = None if not named else np.array([[LEVELS.index(named[a]) for a in spec.agents]])
    played: list[Episode] = []
    for k in tqdm(range(episodes), desc=f"record {spec.id}", unit="episode", disable=None if progress else True):
        done = rollout(
            batched, policy, episode_seeds(seed, "record", k, 1), generator(seed, "record", k), record=True,
            levels=level, members=np.array([index]),
        )  # fmt: skip
        played += map(_told, done.episodes or [])
    data = Dataset.from_episodes(played, spec)
    data.metadata = {
        "dataset_id": dataset_id, "seed": seed, "backend": backend, "versions": versions(), "commit": commit(),
        PLAYED: distinct, "played_by": dict(zip(spec.agents, (distinct[i] for i in index), strict=True)),
        **summarise(spec, data.columns),
    }  # fmt: skip
    if target is not None:
        data.save(target)
    return data
