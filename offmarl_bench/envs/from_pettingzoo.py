"""A stranger's PettingZoo ``ParallelEnv`` as a batched environment: generate from it, train and score agents on it.

What PettingZoo leaves open is decided here, once. Reward: the team's reward is the mean (or the sum) over all N
possible agents, an absent one counting 0. State: ``env.state()``, else all observations one after the other.
Observations: flattened, padded with zeros to the longest. Legal actions: ``observation["action_mask"]``, else
``info["action_mask"]``, else all. An agent that has left sees zeros and may only play action 0. Continuous actions
live in [−1, 1] and are stretched to the agent's box. Lanes are separate copies, so B lanes cost B times one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Shaped, UInt64
from pettingzoo import ParallelEnv

from offmarl_bench import registry
from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.types import EnvSpec, Start, Step

Factory = Callable[[], "ParallelEnv[Any, Any, Any]"]
SEED_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class WrapConfig:
    """How a ``ParallelEnv`` is read.

    Raises:
        FormatError: a reward rule that does not exist, a horizon or a number of seed bits below 1.
    """

    env_id: str = "parallel/env"
    """The id under which data and results will be stored."""
    horizon: int | None = None
    """Longest episode in steps; None asks the environment for ``max_cycles``."""
    reward: Literal["mean", "sum"] = "mean"
    """How the agents' rewards become the team's. Right for environments that give everybody the same: mean."""
    types: Literal["name", "space"] | Mapping[str, str] = "name"
    """Agent types: by the name without its trailing number (``s1``, ``s_2`` → ``s``), by equal spaces, or given."""
    seed_bits: int = SEED_BITS
    """Bits of the lane's seed that ``reset(seed=…)`` is given; 32 for environments that refuse more."""
    info_keys: tuple[str, ...] = ()
    """Numbers to carry over from the infos (of the first agent that has them; 0 where nobody has)."""

    def __post_init__(self) -> None:
        if self.reward not in ("mean", "sum"):
            raise FormatError(f"{self.env_id}: reward={self.reward!r}, expected 'mean' or 'sum'")
        if self.horizon is not None and self.horizon < 1:
            raise FormatError(f"{self.env_id}: horizon={self.horizon!r}, expected at least 1 step")
        if not 1 <= self.seed_bits <= SEED_BITS:
            raise FormatError(f"{self.env_id}: seed_bits={self.seed_bits!r}, expected 1 to {SEED_BITS}")


def _seen_space(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The space of the observation proper, without the action mask that may come with it."""
    if isinstance(space, spaces.Dict) and "action_mask" in space.spaces:
        if "observation" in space.spaces:
            return space["observation"]
        return spaces.Dict({k: v for k, v in space.spaces.items() if k != "action_mask"})
    return space


def _action_size(env_id: str, agent: str, space: spaces.Space[Any]) -> int:
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.Box) and space.is_bounded():
        return int(np.prod(space.shape))
    raise SpecMismatch(f"{env_id}: agent {agent!r} acts in {space}, expected Discrete or a bounded Box")


def _types(config: WrapConfig, env: ParallelEnv[Any, Any, Any], agents: list[str]) -> tuple[str, ...]:
    if isinstance(config.types, Mapping):
        missing = [a for a in agents if a not in config.types]
        if missing:
            raise FormatError(f"{config.env_id}: types has no entry for agent {missing[0]!r}; name all of {agents}")
        return tuple(config.types[a] for a in agents)
    if config.types == "name":
        return tuple(re.sub(r"[_-]?\d+$", "", a) or "agent" for a in agents)
    if config.types != "space":
        raise FormatError(f"{config.env_id}: types={config.types!r}, expected 'name', 'space' or a mapping")
    kinds: list[Any] = []
    for a in agents:
        kind = (env.observation_space(a), env.action_space(a))
        if kind not in kinds:
            kinds.append(kind)
    return tuple(f"type{kinds.index((env.observation_space(a), env.action_space(a)))}" for a in agents)


def read_spec(env: ParallelEnv[Any, Any, Any], config: WrapConfig) -> EnvSpec:
    """The EnvSpec of a ``ParallelEnv``; resets it once to see whether it has a state.

    Raises:
        FormatError: no horizon to be found, bad ``types``. SpecMismatch: discrete and continuous agents together.
    """
    names = list(env.possible_agents)
    agents = [str(a) for a in names]
    horizon = config.horizon or getattr(env.unwrapped, "max_cycles", None)
    if not isinstance(horizon, int):
        raise FormatError(f"{config.env_id}: the environment has no max_cycles; give horizon=, its longest episode")
    obs_sizes = [spaces.flatdim(_seen_space(env.observation_space(a))) for a in names]
    discrete = {isinstance(env.action_space(a), spaces.Discrete) for a in names}
    action_sizes = [_action_size(config.env_id, str(a), env.action_space(a)) for a in names]
    if len(discrete) != 1:
        raise SpecMismatch(f"{config.env_id}: some agents are discrete and some continuous; expected all of one kind")
    env.reset(seed=0)
    state = _state(env)
    return EnvSpec(
        id=config.env_id, agents=tuple(agents), agent_types=_types(config, env, names), O=max(obs_sizes),
        S=sum(obs_sizes) if state is None else state.size, A=max(action_sizes), discrete=discrete.pop(),
        horizon=horizon, obs_sizes=tuple(obs_sizes), action_sizes=tuple(action_sizes),
    )  # fmt: skip


def _state(env: ParallelEnv[Any, Any, Any]) -> np.ndarray | None:
    """``env.state()`` flat, or None where it is not implemented."""
    try:
        return np.asarray(env.state(), np.float32).ravel()
    except (NotImplementedError, AttributeError):
        return None


@dataclass(slots=True)
class _Lane:
    """One copy of the environment and what it last showed."""

    env: ParallelEnv[Any, Any, Any]
    spec: EnvSpec
    config: WrapConfig
    t: int = 0
    over: bool = False
    terminated: bool = False
    reward: float = 0.0
    obs: np.ndarray = field(default_factory=lambda: np.zeros(0))
    state: np.ndarray = field(default_factory=lambda: np.zeros(0))
    legal: np.ndarray = field(default_factory=lambda: np.zeros(0))
    info: tuple[float, ...] = ()

    def reset(self, seed: int) -> None:
        seen, infos = self.env.reset(seed=seed % 2**self.config.seed_bits)
        self.t, self.over, self.terminated, self.reward = 0, False, False, 0.0
        self._look(seen, infos)

    def _look(self, seen: Mapping[Any, Any], infos: Mapping[Any, Any]) -> None:
        spec, env = self.spec, self.env
        self.obs = np.zeros((spec.N, spec.O), np.float32)
        self.legal = np.zeros((spec.N, spec.A), bool)
        for i, a in enumerate(env.possible_agents):
            if a in seen:
                space, raw = env.observation_space(a), seen[a]
                masked = isinstance(space, spaces.Dict) and "action_mask" in space.spaces
                inner = raw["observation"] if masked and "observation" in raw else raw
                if masked and "observation" not in raw:
                    inner = {k: v for k, v in raw.items() if k != "action_mask"}
                flat = spaces.flatten(_seen_space(space), inner)
                self.obs[i, : spec.obs_sizes[i]] = np.asarray(flat, np.float32)
                mask = raw["action_mask"] if masked else infos.get(a, {}).get("action_mask")
                # In an episode that is over the last mask stands; in a running one, who has left only waits.
                if a in env.agents or not env.agents:
                    self.legal[i, : spec.action_sizes[i]] = True if mask is None else _mask(spec, i, mask)
        # An agent that has left, or whose mask is empty, still needs one legal action.
        self.legal[~self.legal.any(-1), 0] = True
        state = _state(env)
        if state is None:
            state = np.concatenate([self.obs[i, :n] for i, n in enumerate(spec.obs_sizes)])
        self.state = state
        self.info = tuple(
            float(next((i[k] for i in infos.values() if isinstance(i, Mapping) and k in i), 0))
            for k in self.config.info_keys
        )

    def step(self, actions: np.ndarray) -> None:
        self.reward = 0.0
        if self.over:
            return
        env, spec = self.env, self.spec
        joint: dict[Any, Any] = {}
        for i, a in enumerate(env.possible_agents):
            if a in env.agents:
                joint[a] = _action(env.action_space(a), actions[i])
        seen, rewards, ended, _, infos = env.step(joint)
        total = float(sum(rewards.values()))
        self.reward = total / spec.N if self.config.reward == "mean" else total
        self.t += 1
        if not env.agents or self.t >= spec.horizon:
            self.over = True
            # By itself only if everybody who left now was terminated and nobody was merely cut.
            self.terminated = not env.agents and all(bool(ended.get(a)) for a in joint)
        self._look(seen, infos)


def _mask(spec: EnvSpec, i: int, given: Any) -> Bool[np.ndarray, " A"]:
    """An agent's legal actions. Raises SpecMismatch for a mask that says nothing about its actions."""
    who, size = f"{spec.id}: agent {spec.agents[i]!r}", spec.action_sizes[i]
    if not spec.discrete:
        raise SpecMismatch(
            f"{who} has continuous actions and an action_mask; expected masks of Discrete actions only: take it out of "
            "the observation and the info in a wrapper"
        )
    mask = np.asarray(given)
    if mask.shape != (size,) or mask.dtype.kind not in "biuf":
        raise SpecMismatch(f"{who} has an action_mask {given!r}, expected {size} flags, one for each action")
    return np.asarray(mask != 0)


def _action(space: spaces.Space[Any], action: np.ndarray) -> Any:
    if isinstance(space, spaces.Discrete):
        return int(action) + int(space.start)
    assert isinstance(space, spaces.Box)  # noqa: S101  (narrowing; read_spec has refused everything else)
    middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
    unit = np.clip(action[: middle.size].reshape(middle.shape), -1, 1)
    return (middle + half * unit).astype(space.dtype)


class WrappedParallel:
    """A BatchedEnv over ``num_envs`` copies of a ``ParallelEnv``."""

    def __init__(self, make: Factory, num_envs: int, config: WrapConfig) -> None:
        first = make()
        self.spec = read_spec(first, config)
        self.num_envs = num_envs
        self._make = make
        self._config = config
        # Copies are made when a reset first asks for them: listing a suite must not build 256 simulators.
        self._lanes = [_Lane(first, self.spec, config)]
        self._live: list[_Lane] = []

    def reset(self, seeds: UInt64[np.ndarray, " B"]) -> Start:
        """See BatchedEnv."""
        if not 1 <= len(seeds) <= self.num_envs:
            raise SpecMismatch(f"{self.spec.id}: {len(seeds)} seeds for {self.num_envs} lanes")
        while len(self._lanes) < len(seeds):
            self._lanes.append(_Lane(self._make(), self.spec, self._config))
        self._live = self._lanes[: len(seeds)]
        for lane, seed in zip(self._live, seeds, strict=True):
            lane.reset(int(seed))
        return self._view()

    def _view(self) -> Start:
        legal = np.stack([x.legal for x in self._live]) if self.spec.discrete else None
        return Start(np.stack([x.obs for x in self._live]), np.stack([x.state for x in self._live]), legal)

    def step(self, actions: Shaped[np.ndarray, "B N *A"]) -> Step:
        """See BatchedEnv."""
        spec, b = self.spec, len(self._live)
        expected = (b, spec.N) if spec.discrete else (b, spec.N, spec.A)
        if actions.shape != expected:
            raise SpecMismatch(f"{spec.id}: actions have shape {actions.shape}, expected {expected}")
        if spec.discrete:
            self._check_legal(actions)
        for lane, joint in zip(self._live, actions, strict=True):
            lane.step(joint)
        now = self._view()
        over = np.array([x.over for x in self._live])
        terminated = np.array([x.terminated for x in self._live])
        reward = np.array([x.reward for x in self._live], np.float32)
        info = {k: np.array([x.info[j] for x in self._live]) for j, k in enumerate(self._config.info_keys)}
        return Step(now.obs, now.state, now.legal, reward, terminated, over & ~terminated, info)

    def _check_legal(self, actions: Shaped[np.ndarray, "B N"]) -> None:
        for b, lane in enumerate(self._live):
            if lane.over:
                continue
            for i, action in enumerate(actions[b]):
                if not (0 <= action < self.spec.A and lane.legal[i, action]):
                    raise SpecMismatch(
                        f"{self.spec.id}: lane {b}, agent {self.spec.agents[i]}: action {action} is illegal; "
                        f"legal are {np.flatnonzero(lane.legal[i]).tolist()}"
                    )


def wrap_parallel_env(make: Factory, num_envs: int = 1, **options: Any) -> WrappedParallel:
    """A stranger's ``ParallelEnv`` as a BatchedEnv.

    Args:
        make: builds one fresh environment; called once per lane.
        num_envs: the greatest number of lanes.
        **options: the fields of ``WrapConfig``.

    Raises:
        FormatError, SpecMismatch: an option or an environment that cannot be read (see ``read_spec``).
    """
    try:
        config = WrapConfig(**options)
    except TypeError as e:
        raise FormatError(f"wrap_parallel_env: {e}; options are the fields of WrapConfig") from e
    return WrappedParallel(make, num_envs, config)


class ParallelSuite:
    """A Suite of PettingZoo environments, to be registered or spelled ``module:attr/map``."""

    def __init__(self, name: str, factories: Mapping[str, Factory], **options: Any) -> None:
        self.name = name
        self._factories = dict(factories)
        self._options = options

    def maps(self) -> tuple[str, ...]:
        """See Suite."""
        return tuple(self._factories)

    def spec(self, map_name: str) -> EnvSpec:
        """See Suite. A ParallelEnv says what it is only once it is built, so this builds one."""
        return self.make(map_name, 1).spec

    def make(self, map_name: str, num_envs: int) -> WrappedParallel:
        """See Suite."""
        if map_name not in self._factories:
            raise registry.unknown(f"map of suite {self.name}", map_name, self._factories)
        env_id = f"{self.name}/{map_name}"
        return wrap_parallel_env(self._factories[map_name], num_envs, env_id=env_id, **self._options)

    def backend(self) -> str:
        """See Suite."""
        return "pettingzoo"
