"""Online training of one seed: the loop that turns an environment and an agent's ``update`` into snapshots.

rollout of some lanes → replay → a few updates → again. What is written on the way: snapshots of the joint policy
at fixed numbers of environment steps (the untrained one first), a learning curve as JSON lines, and a checkpoint.

A killed run resumes from its checkpoint: networks, targets, optimizer, random states, counters. The replay is not
stored (it would be half a gigabyte each time) but refilled by playing the resumed policy, which costs seconds and
counts no steps; so a resumed run is as good as an unbroken one but not equal to it bit by bit.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt64
from tqdm import tqdm

from offmarl_bench.agent import Agent, Metrics, make_agent
from offmarl_bench.alone import alone_in
from offmarl_bench.atomic import write_atomic
from offmarl_bench.checkpoint import Position, load_checkpoint, save_checkpoint
from offmarl_bench.envs import make_env
from offmarl_bench.envs.base import BatchedEnv
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.joints import Joint, save_joint
from offmarl_bench.online_config import OnlineTraining
from offmarl_bench.replay import Replay, WindowReplay
from offmarl_bench.rollout import Rollout, rollout
from offmarl_bench.seeding import generator, sequence
from offmarl_bench.types import Batch

log = logging.getLogger(__name__)

ONLINE_AGENTS = {True: "qmix", False: "facmac"}
"""Which registered agent makes the pools of discrete and of continuous environments."""
WIN = "battle_won"
"""Key of ``info`` that says whether an episode was won."""
CURVE, SETTINGS, SNAPSHOTS = "curve.jsonl", "settings.json", "snapshots"
PLAY, TEST, REFILL, DRAWS, TORCH = range(5)
"""Streams of randomness of one training seed; no two share an episode."""


@runtime_checkable
class OnlineAgent(Protocol):
    """What an agent needs besides ``Agent`` to be trained online: one update on a batch of whole episodes."""

    def update(self, batch: Batch) -> Metrics:
        """One gradient step."""
        ...


def stream_seeds(seed: int, stream: int, first: int, count: int) -> UInt64[np.ndarray, " B"]:
    """Episode seeds ``first … first + count − 1`` of one stream of a training seed."""
    drawn = [sequence(seed, "pool", stream, k).generate_state(1, np.uint64)[0] for k in range(first, first + count)]
    return np.array(drawn, np.uint64)


def score(played: Rollout) -> dict[str, float | None]:
    """Mean and standard deviation of the returns, win rate (None if the environment does not say), mean length."""
    return {
        "return_mean": float(played.returns.mean()),
        "return_std": float(played.returns.std()),
        "win_rate": float(played.info[WIN].mean()) if WIN in played.info else None,
        "length": float(played.lengths.mean()),
    }


def read_json_lines(path: Path, *, whole: bool = False) -> list[dict[str, Any]]:
    """Objects in a file, one a line, or a single one that fills it (``whole``). Raises FormatError."""
    try:
        text = path.read_text(encoding="utf-8")
        found = [json.loads(part) for part in ([text] if whole else text.splitlines())]
    except (OSError, ValueError, RecursionError) as e:
        raise FormatError(f"{path}: cannot be read as JSON: {e}; delete the folder to train anew") from e
    if not all(isinstance(p, dict) for p in found):
        raise FormatError(f"{path}: expected JSON objects; delete the folder to train anew")
    return found


def snapshot_name(step: int) -> str:
    """File name of the snapshot after ``step`` environment steps."""
    return f"step-{step:010d}.safetensors"


class SeedRun:
    """The state of one seed's training. ``advance`` does one rollout and its updates."""

    def __init__(self, env_id: str, seed: int, config: OnlineTraining, directory: Path) -> None:
        self.config, self.seed, self.directory = config, seed, directory
        self.env: BatchedEnv = make_env(env_id, max(config.lanes, config.test_episodes))
        spec = self.env.spec
        name = config.agent or ONLINE_AGENTS[spec.discrete]
        self.agent: Agent = make_agent(name, spec, seed=seed, **config.settings)
        if not isinstance(self.agent, OnlineAgent) or not isinstance(self.agent.policy(), Joint):
            raise OffmarlError(f"agent {name!r} cannot be trained online: it needs update(batch) and a SlotPolicy")
        self.update: Callable[[Batch], Metrics] = self.agent.update
        self.replay = WindowReplay(spec, config.replay, config.window) if config.window else Replay(spec, config.replay)
        self.generator = generator(seed, "pool", DRAWS)
        self.rollouts, self.steps, self.owed = 0, 0, 0.0
        self.curve: list[dict[str, Any]] = []
        self.latest: Mapping[str, Any] = {}
        self.last_metrics: Metrics = {}
        self._claim(env_id)
        if not self._resume():
            self._snapshot()
            self._test()

    def _policy(self, epsilon: float) -> Joint:
        policy = self.agent.policy(greedy=True)
        if not isinstance(policy, Joint):
            raise OffmarlError(f"agent {self.agent.name!r} cannot be trained online: its policy is not a SlotPolicy")
        return policy.exploring(epsilon)

    def _play(self, stream: int, first: int, count: int, epsilon: float, *, record: bool) -> Rollout:
        seeds = stream_seeds(self.seed, stream, first, count)
        return rollout(self.env, self._policy(epsilon), seeds, self.generator, record=record)

    def _claim(self, env_id: str) -> None:
        """Write down what is trained here, or check that a run found here is the same."""
        # The length may change: a finished run is made longer by asking for more steps.
        own = {"env": env_id, "seed": self.seed} | {k: v for k, v in asdict(self.config).items() if k != "steps"}
        path = self.directory / SETTINGS
        if not path.exists():
            write_atomic(path, json.dumps(own, indent=1).encode())
            return
        there = read_json_lines(path, whole=True)[0]
        if there != json.loads(json.dumps(own)):
            changed = sorted(k for k in own | there if own.get(k) != there.get(k))
            raise FormatError(
                f"{path}: an unfinished run with other settings ({', '.join(changed)}); "
                "go on with those settings, or delete the folder to train anew"
            )

    def _resume(self) -> bool:
        position = load_checkpoint(self.directory, self.agent, self.generator)
        if position is None:
            return False
        points = read_json_lines(self.directory / CURVE)
        self.curve = [p for p in points if p.get("rollouts", position.step + 1) <= position.step]
        if not self.curve or self.curve[-1]["rollouts"] != position.step:
            raise FormatError(f"{self.directory / CURVE}: has no line for its checkpoint; delete the folder")
        self.rollouts, self.steps, self.owed = position.step, self.curve[-1]["steps"], self.curve[-1]["owed"]
        self._write_curve()
        for path in (self.directory / SNAPSHOTS).glob("step-*.safetensors"):
            if path.name > snapshot_name(self.steps):  # of the way that was lost with the killed process
                path.unlink()
        if self.steps >= self.config.steps:
            return True
        wanted = min(self.rollouts, -(-self.config.replay // self.config.lanes))
        for k in range(wanted):
            first = (self.rollouts + k) * self.config.lanes
            played = self._play(REFILL, first, self.config.lanes, self.config.epsilon(self.steps), record=True)
            self.replay.add(played.episodes or [])
        log.info("%s: resumed after %d steps, replay refilled with %d episodes", self.directory, self.steps, wanted)
        return True

    def _write_curve(self) -> None:
        text = "".join(json.dumps(p) + "\n" for p in self.curve)
        write_atomic(self.directory / CURVE, text.encode())

    def _snapshot(self) -> None:
        save_joint(self.directory / SNAPSHOTS / snapshot_name(self.steps), self._policy(0.0))

    def _test(self) -> None:
        """Play greedily, add a point to the curve, checkpoint."""
        # A generator of its own: how often one tests must not change the training.
        seeds = stream_seeds(self.seed, TEST, 0, self.config.test_episodes)
        played = rollout(self.env, self._policy(0.0), seeds, generator(self.seed, "pool", TEST))
        self.latest = score(played)
        losses = {k: float(v) for k, v in self.last_metrics.items()}
        self.curve.append({"steps": self.steps, "rollouts": self.rollouts, "owed": self.owed, **self.latest, **losses})
        self._write_curve()
        save_checkpoint(self.directory, self.agent, self.generator, Position(step=self.rollouts))

    def advance(self) -> int:
        """One rollout and its updates; returns the environment steps taken."""
        config, before = self.config, self.steps
        first = self.rollouts * config.lanes
        played = self._play(PLAY, first, config.lanes, config.epsilon(before), record=True)
        self.replay.add(played.episodes or [])
        self.rollouts += 1
        self.steps += played.steps
        self.owed += config.lanes * config.updates_per_episode
        while self.owed >= 1.0:
            self.owed -= 1.0
            if config.window or len(self.replay) >= config.batch_size:
                batch = self.replay.sample(config.batch_size, self.generator, self.agent.device)
                self.last_metrics = self.update(batch)
        over = self.steps >= config.steps
        if over or self.steps // config.save_every > before // config.save_every:
            self._snapshot()
        if over or self.steps // config.test_every > before // config.test_every:
            self._test()
        return played.steps


def train_seed(env_id: str, seed: int, config: OnlineTraining, directory: Path, *, bar: int = 0) -> Path:
    """Train one seed to its end, or finish what a killed process began. Returns the folder.

    Args:
        env_id: ``suite/map``.
        seed: decides initial weights, episodes and exploration.
        config: how.
        directory: gets ``snapshots/``, ``curve.jsonl``, ``settings.json`` and the checkpoint.
        bar: line of the progress bar, for several seeds at once.

    Raises:
        FormatError: the folder holds a run with other settings, or is damaged.
        OffmarlError: an agent that cannot be trained online, a folder that cannot be written or that another process
            is training in.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OffmarlError(f"cannot make the folder {directory}: {e.strerror}; choose another place") from e
    with (
        alone_in(directory, f"training in {directory}"),
        torch.random.fork_rng(devices=[]),  # an agent's update draws from torch's own generator, as in `train`
    ):
        torch.manual_seed(int(sequence(seed, "pool", TORCH).generate_state(1, np.uint64)[0]))
        _train(SeedRun(env_id, seed, config, directory), bar)
    return directory


def _train(run: SeedRun, bar: int) -> None:
    config = run.config
    with tqdm(total=config.steps, initial=min(run.steps, config.steps), position=bar, unit=" steps", disable=None,
              desc=f"seed {run.seed}", smoothing=0.1) as progress:  # fmt: skip
        while run.steps < config.steps:
            progress.update(run.advance())
            shown = {"return": run.latest.get("return_mean"), "won": run.latest.get("win_rate")}
            progress.set_postfix({k: f"{v:.2f}" for k, v in shown.items() if v is not None}, refresh=False)
