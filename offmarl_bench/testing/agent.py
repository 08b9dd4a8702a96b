"""Does an agent keep the contract of ``offmarl_bench.agent``?

A few updates and one batch of games on the toy task (or on the caller's own dataset) find what otherwise shows up
weeks later: a run that does not resume to the same weights, randomness that does not come from the generator, a
policy whose lanes share memory, an illegal action.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Shaped
from torch import Tensor

from offmarl_bench import registry
from offmarl_bench.agent import Agent, Common, Phase, Policy, make_agent
from offmarl_bench.envs import make_env
from offmarl_bench.loader import Dataset
from offmarl_bench.policies import UniformPolicy
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds, generator
from offmarl_bench.testing.rules import require, same
from offmarl_bench.types import Batch, EnvSpec

TOY = "toy/signals"
"""What an agent is tried on when the caller brings no dataset."""
EPISODES = 16
"""Episodes in the trial dataset."""
UPDATES = 3
"""Updates before and after the point where a run is interrupted."""
LANES = 5
"""Lanes in the trial games."""
STEPS = 4
"""Steps of the trial games."""
TOLERANCE = 1e-4
"""How far a log-probability, or a continuous action, may move when the number of lanes changes (other matrix sizes
round otherwise)."""


def trial_dataset(env_id: str = TOY, episodes: int = EPISODES, seed: int = 0) -> Dataset:
    """A small dataset of uniform random play. Raises UnknownName for an environment that does not exist."""
    env = make_env(env_id, episodes)
    seeds = episode_seeds(seed, "verify", 0, episodes)
    played = rollout(env, UniformPolicy(env.spec), seeds, generator(seed, "verify"), record=True)
    return Dataset.from_episodes(played.episodes or [], env.spec)


def check_agent(name: str, dataset: Dataset | None = None, seed: int = 0, **overrides: Any) -> None:
    """Build the agent, train it for a few updates, interrupt and resume it, let it play.

    Args:
        name: registered name or ``module:attr``, as for ``make_agent``.
        dataset: what to train on; None: random play on the toy task.
        seed: decides initial weights, batches and games.
        **overrides: config fields, to make a large agent small.

    Raises:
        ConformanceError: the first broken rule. UnknownName: no such agent or setting.
    """
    who = f"agent {name!r}"
    cls = registry.resolve("agents", name)
    require(isinstance(cls, type) and issubclass(cls, Agent), who, f"it is {cls!r}", "a subclass of Agent")
    config = getattr(cls, "Config", None)
    require(
        is_dataclass(config) and config.__dataclass_params__.frozen,  # type: ignore[union-attr]
        who,
        f"Config is {config!r}",
        "a frozen dataclass",
    )
    data = trial_dataset(seed=seed) if dataset is None else dataset

    def build(init: int) -> Agent:
        return make_agent(name, data.spec, seed=init, **overrides)

    first = _weights(build(seed))
    require(same(first, _weights(build(seed))), who, "the same seed gave other initial weights", "equal weights")
    require(not same(first, _weights(build(seed + 1))), who, "two seeds gave equal initial weights", "different ones")
    with torch.random.fork_rng(devices=[]):
        _Trial(who, data, seed).run(build(seed), build(seed + 1))
    agent = build(seed)
    require(isinstance(agent.policy(), Policy), who, f"policy() is {agent.policy()!r}", "a Policy")
    _check_play(who, agent, data, seed)


def _weights(agent: Agent) -> dict[str, np.ndarray]:
    return {k: v.detach().cpu().numpy().copy() for k, v in agent.state_dict().items()}


def _snapshot(agent: Agent) -> tuple[dict[str, Tensor], dict[str, Any]]:
    state = {k: v.detach().clone() for k, v in agent.state_dict().items()}
    return state, {k: copy.deepcopy(o.state_dict()) for k, o in agent.optimizers.items()}


def _restore(agent: Agent, snapshot: tuple[dict[str, Tensor], dict[str, Any]]) -> None:
    agent.load_state_dict(snapshot[0])
    for key, state in snapshot[1].items():
        agent.optimizers[key].load_state_dict(copy.deepcopy(state))


@dataclass(frozen=True, slots=True)
class _Trial:
    """Every phase in turn: run it, interrupt it, and see whether another agent can take over."""

    who: str
    data: Dataset
    seed: int

    def run(self, agent: Agent, other: Agent) -> None:
        phases = agent.phases(self.data)
        require(bool(phases), self.who, "phases() is empty", "at least one Phase")
        names = [p.name for p in phases if isinstance(p, Phase)]
        require(len(names) == len(phases), self.who, "phases() holds something else than Phase", "a list of Phase")
        require(len(set(names)) == len(names), self.who, f"two phases share a name: {names}", "different names")
        for k, phase in enumerate(phases):
            require(phase.steps >= 1, self.who, f"phase {phase.name!r} has {phase.steps} steps", "at least 1")
            self._phase(agent, other, k, phase)

    def _phase(self, agent: Agent, other: Agent, k: int, phase: Phase) -> None:
        label = f"{self.who}, phase {phase.name!r}"
        # A phase whose length is given by the data means nothing if it is cut short.
        total = min(phase.steps, 2 * UPDATES) if phase.scalable else phase.steps
        half = total // 2
        g = generator(self.seed, "verify", k)
        phase.start()
        drawn = [phase.batches(generator(self.seed, "train", k)) for _ in range(2)]
        require(isinstance(drawn[0], Batch), label, f"batches() gave a {type(drawn[0]).__name__}", "a Batch")
        kept = same(_plain(drawn[0]), _plain(drawn[1]))
        require(kept, label, "equal generators gave different batches", "all randomness from the generator")
        before = _weights(agent)
        self._update(label, phase, g, half)
        stopped, at, torch_at = _snapshot(agent), g.bit_generator.state, torch.get_rng_state()
        self._update(label, phase, g, total - half)
        after = _weights(agent)
        for key, value in after.items():
            finite = value.dtype.kind != "f" or bool(np.isfinite(value).all())
            require(finite, label, f"weights {key!r} hold NaN or infinity after {total} updates", "finite numbers")
        if phase.common is not None:
            _check_common(label, agent, k, phase.common, [key for key in after if not same(before[key], after[key])])
        if phase.scalable:
            require(not same(before, after), label, f"{total} updates changed no weight", "an agent that learns")

        _restore(other, stopped)
        resumed = other.phases(self.data)[k]
        resumed.start()
        h = np.random.default_rng()
        h.bit_generator.state = at
        torch.set_rng_state(torch_at)  # the trainer stores torch's generator with the checkpoint as well
        self._update(label, resumed, h, total - half)
        lost = [key for key, value in _weights(other).items() if not same(value, after[key])]
        require(
            not lost, label, f"a resumed run ends with other weights in {lost[:3]}",
            "bitwise the same; keep all state in buffers, submodules and optimizers",
        )  # fmt: skip

    def _update(self, label: str, phase: Phase, g: np.random.Generator, count: int) -> None:
        for _ in range(count):
            metrics = phase.update(phase.batches(g))
            require(isinstance(metrics, Mapping), label, f"update gave a {type(metrics).__name__}", "a mapping")
            for key, value in metrics.items():
                loose = not isinstance(value, Tensor) or not value.requires_grad
                require(loose, label, f"metric {key!r} drags its graph along", "a detached tensor")
                require(math.isfinite(float(value)), label, f"metric {key!r} is {float(value)}", "a finite number")


def _check_common(label: str, agent: Agent, k: int, common: Common, changed: list[str]) -> None:
    """A phase that others take over without training it has changed nothing but what it says it changes."""
    require(k == 0, label, "it has common", "it in the first phase only: what came before would be left out")
    try:
        json.dumps(common.settings)
    except (TypeError, ValueError) as e:
        require(False, label, f"common.settings: {e}", "values that JSON can hold")
    unknown = sorted(set(common.optimizers) - set(agent.optimizers))
    require(not unknown, label, f"common.optimizers names {unknown}", f"names among {sorted(agent.optimizers)}")
    other = sorted(set(changed) - set(agent.state_of(common.parts, "common.parts")))
    require(not other, label, f"it changes {other[:3]}", "changes in common.parts only, or these parts named there")
    stepped = sorted(n for n, o in agent.optimizers.items() if o.state and n not in common.optimizers)
    require(not stepped, label, f"it steps the optimizers {stepped}", "them named in common.optimizers")


def _plain(batch: Batch) -> dict[str, Any]:
    values = {k: getattr(batch, k) for k in batch.__slots__}
    return {k: v.cpu().numpy() for k, v in values.items() if v is not None}


def _views(spec: EnvSpec, data: Dataset) -> tuple[Float32[np.ndarray, "T B N O"], Bool[np.ndarray, "T B N A"] | None]:
    """What LANES agents would see, one step after the other, taken from the data."""
    batch = data.batch(np.arange(min(LANES, len(data))))
    steps = min(STEPS, int(batch.lengths.min()))
    obs = batch.obs[:, :steps].transpose(0, 1).numpy().astype(np.float32)
    legal = None if batch.legal is None else batch.legal[:, :steps].transpose(0, 1).numpy()
    return np.ascontiguousarray(obs), legal


def _play(
    who: str, policy: Policy, spec: EnvSpec, obs: np.ndarray, legal: np.ndarray | None, seed: int, keep: int | None
) -> tuple[Shaped[np.ndarray, "T B N *A"], Float32[np.ndarray, "T B N"]]:
    """Actions and log-probabilities of a game; with ``keep`` only that lane goes on after the first step."""
    g = generator(seed, "verify")
    lanes = np.arange(obs.shape[1])
    policy.reset(len(lanes))
    actions, logprobs = [], []
    for t in range(len(obs)):
        if keep is not None and t == 1:
            policy.keep(np.array([keep]))
            lanes = lanes[[keep]]
        allowed = None if legal is None else legal[t, lanes]
        chosen, logprob = policy.decide(obs[t, lanes], allowed, g)
        shape = (len(lanes), spec.N) if spec.discrete else (len(lanes), spec.N, spec.A)
        require(np.shape(chosen) == shape, who, f"decide gave actions of shape {np.shape(chosen)}", str(shape))
        kind = np.int32 if spec.discrete else np.float32
        require(chosen.dtype == kind, who, f"actions have type {chosen.dtype}", kind.__name__)
        require(
            np.shape(logprob) == shape[:2], who, f"log-probabilities have shape {np.shape(logprob)}", str(shape[:2])
        )
        require(bool(np.isfinite(logprob).all()), who, "a log-probability is not finite", "log π(a) of what it chose")
        if allowed is not None:
            require(bool((logprob <= TOLERANCE).all()), who, "a log-probability is above 0", "at most 0")
            inside = (chosen >= 0) & (chosen < spec.A)
            fine = inside & np.take_along_axis(allowed, np.where(inside, chosen, 0)[..., None].astype(int), -1)[..., 0]
            require(bool(fine.all()), who, "the policy chose an illegal action", "legal actions only")
        actions.append(chosen[lanes.tolist().index(keep)] if keep is not None else chosen)
        logprobs.append(logprob[lanes.tolist().index(keep)] if keep is not None else logprob)
    return np.stack(actions), np.stack(logprobs)


def _near(a: np.ndarray, b: np.ndarray) -> bool:
    return np.allclose(a, b, atol=TOLERANCE)


def _check_play(who: str, agent: Agent, data: Dataset, seed: int) -> None:
    spec = agent.spec
    obs, legal = _views(spec, data)
    greedy = agent.policy()
    actions, logprob = _play(who, greedy, spec, obs, legal, seed, None)
    again = _play(who, greedy, spec, obs, legal, seed, None)[0]
    require(same(actions, again), who, "after reset the same game was played differently", "reset to forget")
    other = _play(who, agent.policy(), spec, obs, legal, seed + 1, None)[0]
    require(same(actions, other), who, "greedy play depends on the generator", "the same actions from any generator")
    lane = obs.shape[1] - 1
    alone, alone_logprob = _play(who, greedy, spec, obs, legal, seed, lane)
    alike = same if spec.discrete else _near  # a continuous action is a rounded product of matrices itself
    kept = alike(actions[:, lane], alone) and _near(logprob[:, lane], alone_logprob)
    require(kept, who, "after keep the last lane played differently", "each lane its own memory")
    sampled = agent.policy(greedy=False)
    first, again = (_play(who, sampled, spec, obs, legal, seed, None)[0] for _ in range(2))
    require(same(first, again), who, "sampled play differs under equal generators", "all randomness from the generator")
