"""The only code that steps an environment: generation, online training and evaluation all call ``rollout``.

All lanes advance together; those whose episode has ended cost the policy nothing. The result is a function of the
seeds (as an ordered array), the policy and the generator. It does not depend on ``env.num_envs``. Reordering the
seeds reorders the episodes where the policy draws no random numbers; where it does, each lane's draws depend on
its place, which is why whoever needs the same data from any number of workers cuts the work into the same arrays.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Shaped, UInt64

from offmarl_bench.agent import Policy
from offmarl_bench.envs.base import BatchedEnv
from offmarl_bench.errors import ConformanceError, EpisodeLost, SpecMismatch
from offmarl_bench.types import EnvSpec, Episode, Start, Step

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often the same seeds are played where an environment loses episodes through nobody's fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """B finished episodes."""

    returns: Float64[np.ndarray, " B"]
    """Undiscounted sum of the team reward."""
    lengths: Int[np.ndarray, " B"]
    """Steps, int32."""
    terminated: Bool[np.ndarray, " B"]
    """True where the episode ended by itself, False where the horizon cut it."""
    info: dict[str, Shaped[np.ndarray, " B"]] = field(default_factory=dict)
    """What the environment reported at each lane's last step, e.g. ``battle_won``."""
    episodes: list[Episode] | None = None
    """The recorded episodes, in the order of the seeds; None unless asked for."""

    @property
    def steps(self) -> int:
        """Environment steps taken in all."""
        return int(self.lengths.sum())


class _Recorder:
    """Preallocated (B, horizon, …) arrays; episodes are views into them, untouched pages are never mapped."""

    def __init__(self, spec: EnvSpec, b: int, start: Start) -> None:
        t, action = spec.horizon, (spec.N,) if spec.discrete else (spec.N, spec.A)
        self.obs = np.empty((b, t + 1, spec.N, spec.O), np.float32)
        self.state = np.empty((b, t + 1, spec.S), np.float32)
        self.legal = None if start.legal is None else np.empty((b, t + 1, spec.N, spec.A), bool)
        self.actions = np.empty((b, t, *action), np.int32 if spec.discrete else np.float32)
        self.rewards = np.empty((b, t), np.float32)
        self.logprob = np.empty((b, t, spec.N), np.float32)
        self._observe(0, slice(None), start)

    def _observe(self, t: int, lanes: Shaped[np.ndarray, " K"] | slice, view: Start | Step) -> None:
        self.obs[lanes, t], self.state[lanes, t] = view.obs[lanes], view.state[lanes]
        if self.legal is not None and view.legal is not None:
            self.legal[lanes, t] = view.legal[lanes]

    def add(
        self,
        t: int,
        lanes: Shaped[np.ndarray, " K"] | slice,
        actions: Shaped[np.ndarray, "K N *A"],
        logprob: Float32[np.ndarray, "K N"],
        step: Step,
    ) -> None:
        """Store the step taken at time t by ``lanes`` and what they saw after it."""
        self.actions[lanes, t], self.logprob[lanes, t] = actions, logprob
        self.rewards[lanes, t] = step.reward[lanes]
        self._observe(t + 1, lanes, step)

    def episode(
        self,
        b: int,
        length: int,
        terminal: bool,
        level: Shaped[np.ndarray, " N"] | None,
        member: Shaped[np.ndarray, " N"] | None,
    ) -> Episode:
        """Lane b as an episode of ``length`` steps."""
        shape = (length, self.logprob.shape[-1])
        return Episode(
            actions=self.actions[b, :length],
            rewards=self.rewards[b, :length],
            observations=self.obs[b, : length + 1],
            state=self.state[b, : length + 1],
            legal_actions=None if self.legal is None else self.legal[b, : length + 1],
            terminal=terminal,
            behavior_level=None if level is None else np.broadcast_to(level.astype(np.int8), shape),
            behavior_policy=None if member is None else np.broadcast_to(member.astype(np.int16), shape),
            behavior_logprob=self.logprob[b, :length],
            index=b,
        )


def rollout(
    env: BatchedEnv,
    policy: Policy,
    seeds: UInt64[np.ndarray, " B"],
    generator: np.random.Generator,
    *,
    record: bool = False,
    levels: Shaped[np.ndarray, "B N"] | None = None,
    members: Shaped[np.ndarray, "B N"] | None = None,
) -> Rollout:
    """Play one episode per seed to its end, all of them side by side.

    Where the environment loses an episode (EpisodeLost), all are played again, with the same draws.

    Args:
        env: at least B lanes.
        policy: sees the unfinished lanes only.
        seeds: one per episode; lane b's episode starts from ``seeds[b]``.
        generator: all of the policy's random draws.
        record: keep the whole episodes, not only returns and lengths.
        levels: who plays, as indices into ``LEVELS``; stored as ``behavior_level`` when recording.
        members: index of the pool member that plays; stored as ``behavior_policy`` when recording.

    Raises:
        SpecMismatch: levels or members of another shape, or whatever the environment refuses (too many seeds, an
            illegal action).
        ConformanceError: an environment that lets an episode run beyond its own horizon.
        EpisodeLost: episodes were lost ``ATTEMPTS`` times.
    """
    spec, b = env.spec, len(seeds)
    for name, table in (("levels", levels), ("members", members)):
        if table is not None and table.shape != (b, spec.N):
            raise SpecMismatch(f"rollout: {name} has shape {table.shape}, expected {(b, spec.N)}: one entry per slot")
    before = generator.bit_generator.state
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _play(env, policy, seeds, generator, record, levels, members)
        except EpisodeLost as e:
            if attempt == ATTEMPTS:
                raise
            log.warning("%s (playing them again, attempt %d of %d)", e, attempt + 1, ATTEMPTS)
            generator.bit_generator.state = before
    raise EpisodeLost(f"{spec.id}: not played")  # not reached: the last attempt returns or raises


def _play(
    env: BatchedEnv,
    policy: Policy,
    seeds: UInt64[np.ndarray, " B"],
    generator: np.random.Generator,
    record: bool,
    levels: Shaped[np.ndarray, "B N"] | None,
    members: Shaped[np.ndarray, "B N"] | None,
) -> Rollout:
    """``rollout``, once."""
    spec, b = env.spec, len(seeds)
    returns, lengths = np.zeros(b), np.zeros(b, np.int32)
    terminated, info = np.zeros(b, bool), dict[str, Shaped[np.ndarray, " B"]]()
    start = env.reset(seeds)
    policy.reset(b)
    recorder = _Recorder(spec, b, start) if record else None
    view: Start | Step = start
    running = np.arange(b)
    for t in range(spec.horizon):
        lanes = slice(None) if len(running) == b else running  # a slice spares the copies while nobody has finished
        legal = None if view.legal is None else view.legal[lanes]
        chosen, logprob = policy.decide(view.obs[lanes], legal, generator)
        actions = np.zeros((b, *chosen.shape[1:]), chosen.dtype)
        actions[lanes] = chosen
        view = step = env.step(actions)
        returns[lanes] += step.reward[lanes]
        lengths[lanes] += 1
        if recorder is not None:
            recorder.add(t, lanes, chosen, logprob, step)
        done = (step.terminated | step.truncated)[lanes]
        if done.any():
            over = running[done]
            terminated[over] = step.terminated[over]
            for key, value in step.info.items():
                info.setdefault(key, np.zeros(b, value.dtype))[over] = value[over]
            running = running[~done]
            if not len(running):
                break
            policy.keep(np.flatnonzero(~done))
    if len(running):
        raise ConformanceError(
            f"{spec.id}: lane {running[0]} is still running after {spec.horizon} steps, the horizon in its spec; "
            "the environment must terminate or truncate every episode by then"
        )
    episodes = (
        None
        if recorder is None
        else [
            recorder.episode(
                k,
                int(n),
                bool(terminated[k]),
                None if levels is None else levels[k],
                None if members is None else members[k],
            )
            for k, n in enumerate(lengths)
        ]
    )
    return Rollout(returns=returns, lengths=lengths, terminated=terminated, info=info, episodes=episodes)
