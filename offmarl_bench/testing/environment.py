"""Does a batched environment keep the contract of ``envs.base.BatchedEnv``?

Each rule guards against a fault that is silent otherwise: lanes that influence each other, hidden auto-resets,
random numbers that do not come from the seed, padding that carries information.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import numpy as np
from jaxtyping import Shaped

from offmarl_bench.envs import make_env
from offmarl_bench.envs.base import BatchedEnv
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.seeding import episode_seeds, generator
from offmarl_bench.testing.rules import require, require_array, same
from offmarl_bench.types import EnvSpec, Start, Step

LANES = 4
"""How many lanes are played; more would find nothing more."""
AFTERLIFE = 2
"""How many steps are played beyond the end of the last lane."""

Make = Callable[[int], BatchedEnv]
Trace = tuple[Start, list[Step]]


def check_environment(env: str | Make, seed: int = 0) -> None:
    """Play a few random episodes and check every rule of the batched environment.

    Args:
        env: ``suite/map`` as for ``make_env``, or a function that builds an environment of n lanes.
        seed: decides the lanes' seeds and the random legal actions.

    Raises:
        ConformanceError: the first broken rule. UnknownName, FormatError: an id that does not exist.
    """
    make: Make = (lambda n: make_env(env, n)) if isinstance(env, str) else env
    lanes = make(LANES)
    spec = lanes.spec
    require(isinstance(spec, EnvSpec), "environment", f"spec is a {type(spec).__name__}", "an EnvSpec")
    who = f"environment {spec.id!r}"
    require(lanes.num_envs == LANES, who, f"num_envs is {lanes.num_envs} after make({LANES})", str(LANES))
    _check_seed_count(who, lanes)
    seeds = episode_seeds(seed, "verify", 0, LANES)
    trace, actions = _play(who, lanes, seeds, seed)
    _check_afterlife(who, trace)
    _check_repeats(who, lanes, make(LANES), seeds, actions, trace)
    _check_lane_alone(who, lanes, seeds, actions, trace)
    _check_refusals(who, lanes, seeds)


def _check_seed_count(who: str, env: BatchedEnv) -> None:
    for count in (0, LANES + 1):
        try:
            env.reset(np.arange(count, dtype=np.uint64))
        except SpecMismatch:
            continue
        require(False, who, f"reset took {count} seeds for {LANES} lanes", "SpecMismatch")


def _check_start(who: str, spec: EnvSpec, now: Start | Step, lanes: int) -> None:
    require_array(who, "obs", now.obs, (lanes, spec.N, spec.O), np.float32)
    require_array(who, "state", now.state, (lanes, spec.S), np.float32)
    for i, size in enumerate(spec.obs_sizes):
        require(
            not now.obs[:, i, size:].any(), who, f"obs of {spec.agents[i]!r} is not 0 beyond its size {size}", "zeros"
        )
    if not spec.discrete:
        require(now.legal is None, who, "continuous, but legal is not None", "None")
        return
    require_array(who, "legal", now.legal, (lanes, spec.N, spec.A), np.bool_)
    assert now.legal is not None  # noqa: S101  (narrowing for the type checker)
    require(bool(now.legal.any(-1).all()), who, "an agent has no legal action", "at least one for every agent")
    for i, size in enumerate(spec.action_sizes):
        require(
            not now.legal[:, i, size:].any(), who, f"{spec.agents[i]!r} may play beyond its {size} actions", "illegal"
        )


def draw(spec: EnvSpec, now: Start | Step, g: np.random.Generator) -> Shaped[np.ndarray, "B N *A"]:
    """Uniform legal actions, or uniform components in [−1, 1]."""
    if now.legal is None:
        return np.asarray(g.uniform(-1, 1, (*now.obs.shape[:2], spec.A)), np.float32)
    noise = g.random(now.legal.shape)
    return np.asarray(np.where(now.legal, noise, -1.0).argmax(-1), np.int32)


def _play(who: str, env: BatchedEnv, seeds: np.ndarray, seed: int) -> tuple[Trace, list[np.ndarray]]:
    """Random episodes to the end and a little beyond, checking what every single step must keep."""
    spec, g = env.spec, generator(seed, "verify")
    start = copy.deepcopy(env.reset(seeds))
    _check_start(who, spec, start, len(seeds))
    now: Start | Step = start
    ended = np.zeros(len(seeds), bool)
    steps: list[Step] = []
    actions: list[np.ndarray] = []
    left = AFTERLIFE
    while left:
        actions.append(draw(spec, now, g))
        now = env.step(actions[-1])
        _check_start(who, spec, now, len(seeds))
        require_array(who, "reward", now.reward, (len(seeds),), np.float32)
        for name in ("terminated", "truncated"):
            require_array(who, name, getattr(now, name), (len(seeds),), np.bool_)
        require(not (now.terminated & now.truncated).any(), who, "a lane is terminated and truncated", "one of them")
        for key, value in now.info.items():
            require(np.shape(value)[:1] == (len(seeds),), who, f"info[{key!r}] has no leading B", f"({len(seeds)}, …)")
        # Copies, so that an environment that reuses its arrays is judged by what it showed then.
        steps.append(copy.deepcopy(now))
        ended |= now.terminated | now.truncated
        late = len(steps) >= spec.horizon and not ended.all()
        require(not late, who, f"a lane still runs after {len(steps)} steps", f"an end by horizon {spec.horizon}")
        left -= bool(ended.all())
    return (start, steps), actions


def _check_afterlife(who: str, trace: Trace) -> None:
    """A finished lane stays finished, repeats its last observation and earns nothing."""
    _, steps = trace
    for before, after in itertools.pairwise(steps):
        over = before.terminated | before.truncated
        require(not after.reward[over].any(), who, "a finished lane earned a reward", "0")
        for name in ("terminated", "truncated"):
            kept = same(getattr(before, name)[over], getattr(after, name)[over])
            require(kept, who, f"{name} of a finished lane changed", "it to stay (no hidden reset)")
        require(same(before.obs[over], after.obs[over]), who, "obs of a finished lane changed", "the last one again")


def _follow(env: BatchedEnv, seeds: np.ndarray, actions: list[np.ndarray]) -> Trace:
    start = copy.deepcopy(env.reset(seeds))
    steps = [copy.deepcopy(env.step(a)) for a in actions]
    return start, steps


def _check_repeats(
    who: str, used: BatchedEnv, fresh: BatchedEnv, seeds: np.ndarray, actions: list[np.ndarray], trace: Trace
) -> None:
    for name, env in (("a fresh copy", fresh), ("a second reset", used)):
        again = _follow(env, seeds, actions)
        require(same(trace, again), who, f"{name} with the same seeds played differently", "equal arrays")


def _check_lane_alone(who: str, env: BatchedEnv, seeds: np.ndarray, actions: list[np.ndarray], trace: Trace) -> None:
    """The last lane played alone: neither its neighbours nor its place may matter."""
    start, steps = _follow(env, seeds[-1:], [a[-1:] for a in actions])
    kept = same(trace[0].obs[-1:], start.obs)
    for together, alone in zip(trace[1], steps, strict=True):
        for name in ("obs", "state", "reward", "terminated", "truncated"):
            kept = kept and same(getattr(together, name)[-1:], getattr(alone, name))
    require(kept, who, "a lane alone played differently than among others", "it to depend on its seed only")


def _check_refusals(who: str, env: BatchedEnv, seeds: np.ndarray) -> None:
    start = env.reset(seeds)
    spec = env.spec
    good = draw(spec, start, generator(0, "verify"))
    wrong = {"a shape without the last agent": good[:, :-1]}
    if start.legal is not None and not start.legal.all():
        bad = good.copy()
        lane, agent, action = np.argwhere(~start.legal)[0]
        bad[lane, agent] = action
        wrong["an illegal action"] = bad
    for what, actions in wrong.items():
        try:
            env.step(actions)
        except SpecMismatch:
            continue
        require(False, who, f"step took {what}", "SpecMismatch")
