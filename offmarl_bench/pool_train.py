"""Make a policy pool: train several seeds, measure every snapshot, sort into levels, choose members, save.

Levels split the range from uniformly random play to the best snapshot. Members are spread over training seeds and
over their level's range of returns, so that a level is not one habit; the random level always holds the untrained
networks, because structured weak play is what makes imbalanced data hard.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from offmarl_bench.envs import get_spec, get_suite, make_env, split_id
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.executors import LocalExecutor
from offmarl_bench.home import runs_dir
from offmarl_bench.joints import fingerprint, load_joint
from offmarl_bench.online import CURVE, SNAPSHOTS, read_json_lines, score, train_seed
from offmarl_bench.online_config import OnlineTraining, training_of
from offmarl_bench.policies import UniformPolicy
from offmarl_bench.pool import Member, Pool, pools_dir, save_pool
from offmarl_bench.provenance import commit, versions
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds, generator
from offmarl_bench.types import LEVELS

log = logging.getLogger(__name__)

THIRDS_SUITES = ("mamujoco",)
"""Suites whose range is split in thirds; the others at 30 % and 70 % (decoded from the paper's Tables 7 to 9)."""
THIRDS, DEFAULT_SPLIT = (1 / 3, 2 / 3), (0.3, 0.7)
MIN_SEEDS = 3
"""Fewer training seeds make a level one habit; that is warned about, not refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTraining:
    """How a pool is made."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds."""
    online: OnlineTraining = field(default_factory=OnlineTraining)
    """How each of them is trained."""
    early_seeds: int = 6
    """Further seeds that are trained only to ``early_steps``: the random level's untrained and young networks."""
    early_steps: int = 16_000
    """Environment steps of those."""
    early_save_every: int = 2_000
    """Environment steps between their snapshots: learning leaves the random level within minutes."""
    measure_episodes: int = 128
    """Episodes that measure a snapshot (at least 100 by our promise), the same for all."""
    reference_episodes: int = 1024
    """Episodes of uniformly random play, the lower end of the range."""
    play_epsilon: float = 0.05
    """How members explore, here and in every dataset: ε, or the standard deviation of the noise on continuous
    actions."""
    members_per_level: int = 8
    """Greatest number of members of a level."""
    split: tuple[float, float] | None = None
    """Where ``medium`` and ``expert`` begin, as shares of the range; None: the suite's own."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise FormatError(f"pool training: seeds are {self.seeds!r}, expected different numbers, at least one")
        for name in ("measure_episodes", "reference_episodes", "members_per_level", "early_steps", "early_save_every"):
            if getattr(self, name) < 1:
                raise FormatError(f"pool training: {name} is {getattr(self, name)!r}, expected at least 1")
        if self.early_seeds < 0:
            raise FormatError(f"pool training: early_seeds is {self.early_seeds!r}, expected at least 0")
        if self.split is not None and not 0 < self.split[0] < self.split[1] < 1:
            raise FormatError(f"pool training: split is {self.split!r}, expected two rising shares between 0 and 1")

    @property
    def runs(self) -> dict[int, OnlineTraining]:
        """Every seed to train and how: the full ones first, then the early ones, numbered on from the greatest."""
        brief = replace(
            self.online, steps=min(self.early_steps, self.online.steps), save_every=self.early_save_every,
            test_every=self.early_save_every,
        )  # fmt: skip
        first = max(self.seeds) + 1
        return dict.fromkeys(self.seeds, self.online) | dict.fromkeys(range(first, first + self.early_seeds), brief)


MAMUJOCO = PoolTraining(play_epsilon=0.1, early_steps=6_000, early_save_every=2_000)
"""The robots: the noise is FacMAC's own; a few episodes of learning leave the random level."""


def pool_training_of(env_id: str) -> PoolTraining:
    """How the pool of ``suite/map`` is made."""
    online = training_of(env_id)
    return replace(MAMUJOCO, online=online) if split_id(env_id)[0] == "mamujoco" else PoolTraining(online=online)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SeedTask:
    env_id: str
    seed: int
    bar: int
    online: OnlineTraining
    config: PoolTraining
    directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One snapshot and how it plays."""

    path: Path
    seed: int
    steps: int
    return_mean: float
    return_std: float
    win_rate: float | None
    episodes: int


def _train_and_measure(task: _SeedTask) -> list[Measured]:
    """One seed from nothing (or from where it was killed) to measured snapshots."""
    train_seed(task.env_id, task.seed, task.online, task.directory, bar=task.bar)
    return measure(task.env_id, task.seed, task.directory / SNAPSHOTS, task.config)


def measure(env_id: str, seed: int, snapshots: Path, config: PoolTraining) -> list[Measured]:
    """Play every snapshot of one seed with the pool's ε, all on the same episodes. Raises FormatError."""
    env, found = make_env(env_id, config.measure_episodes), []
    seeds = episode_seeds(0, "pool", 0, config.measure_episodes)
    for path in sorted(snapshots.glob("step-*.safetensors")):
        steps = int(path.stem.partition("-")[2])
        if steps > config.online.steps + env.spec.horizon * config.online.lanes:
            continue  # left by a longer run
        played = rollout(env, load_joint(path, env.spec, config.play_epsilon), seeds, generator(seed, "pool", steps))
        of_snapshot = Measured(
            path=path, seed=seed, steps=steps, episodes=config.measure_episodes, win_rate=score(played)["win_rate"],
            return_mean=float(played.returns.mean()), return_std=float(played.returns.std()),
        )  # fmt: skip
        found.append(of_snapshot)
    return found


def random_reference(env_id: str, episodes: int) -> float:
    """Mean return of uniformly random play: reference score 0."""
    env = make_env(env_id, episodes)
    played = rollout(
        env, UniformPolicy(env.spec), episode_seeds(0, "reference", 0, episodes), generator(0, "reference")
    )
    return float(played.returns.mean())


def split_of(env_id: str, config: PoolTraining) -> tuple[float, float]:
    """The shares of the range at which ``medium`` and ``expert`` begin."""
    return config.split or (THIRDS if split_id(env_id)[0] in THIRDS_SUITES else DEFAULT_SPLIT)


def _spread(candidates: Sequence[Measured], count: int) -> list[Measured]:
    """``count`` of them, evenly over the order of returns, both ends included."""
    ordered = sorted(candidates, key=lambda m: (m.return_mean, m.steps))
    if count >= len(ordered):
        return ordered
    at = np.linspace(0, len(ordered) - 1, count) if count > 1 else [(len(ordered) - 1) / 2]
    return [ordered[round(k)] for k in at]


def choose(candidates: Sequence[Measured], count: int) -> list[Measured]:
    """Up to ``count`` snapshots of one level: half of them untrained if there are any, the rest evenly over seeds.

    Within the untrained and within a seed they are spread over the returns.
    """
    untrained = [m for m in candidates if m.steps == 0]
    chosen = _spread(untrained, min(len(untrained), -(-count // 2))) if untrained else []
    left = [m for m in candidates if m.steps > 0]
    by_seed = {s: [m for m in left if m.seed == s] for s in sorted({m.seed for m in left})}
    shares = dict.fromkeys(by_seed, 0)
    free = count - len(chosen)
    while free > 0 and any(shares[s] < len(by_seed[s]) for s in by_seed):  # one more to each in turn
        for s in by_seed:
            if free > 0 and shares[s] < len(by_seed[s]):
                shares[s] += 1
                free -= 1
    for s, share in shares.items():
        chosen += _spread(by_seed[s], share) if share else []
    return sorted(chosen, key=lambda m: (m.return_mean, m.seed, m.steps))


def _whole(experts: list[Measured], config: PoolTraining) -> list[Measured]:
    """Those of seeds trained to the end, if that is enough of them: where fights are short a lucky young network is an
    expert too, and would take the place of the best.
    """
    whole = [m for m in experts if m.seed in config.seeds]
    return whole if len(whole) >= config.members_per_level else experts


def assemble(
    env_id: str, measured: Sequence[Measured], config: PoolTraining, low: float, provenance: Mapping[str, Any]
) -> Pool:
    """Sort measured snapshots into levels and choose the members.

    Args:
        env_id: ``suite/map``.
        measured: every snapshot of every seed.
        config: number of members, split, ε.
        low: mean return of uniformly random play.
        provenance: stored with the pool.

    Raises:
        OffmarlError: training never got better than random play, or a level has no snapshot.
    """
    spec, high = get_spec(env_id), max(m.return_mean for m in measured)
    if not high > low:
        raise OffmarlError(
            f"pool of {env_id}: the best snapshot returns {high:.2f}, uniformly random play {low:.2f}; train for longer"
        )
    first, second = (low + share * (high - low) for share in split_of(env_id, config))
    pool = Pool(
        spec=spec, members=(), epsilon=config.play_epsilon, low=low, high=high, thresholds=(first, second),
        provenance=dict(provenance),
    )  # fmt: skip
    members, joints = [], []
    for level in LEVELS:
        there = [m for m in measured if pool.level_of(m.return_mean) == level]
        if not there:
            raise OffmarlError(
                f"pool of {env_id}: no snapshot is {level} (random play {low:.2f}, medium from {first:.2f}, "
                f"expert from {second:.2f}, best {high:.2f}); save more often, or train for longer"
            )
        if level == LEVELS[-1]:
            there = _whole(there, config)
        for k, m in enumerate(choose(there, config.members_per_level)):
            name = f"{level}{k}-seed{m.seed}-step{m.steps}"
            joint = load_joint(m.path, spec, config.play_epsilon)
            member = Member(
                name=name, level=level, file=f"{name}.safetensors", seed=m.seed, steps=m.steps,
                return_mean=m.return_mean, return_std=m.return_std, win_rate=m.win_rate, episodes=m.episodes,
                sha256=fingerprint(joint),
            )  # fmt: skip
            members.append(member)
            joints.append(joint)
    return replace(pool, members=tuple(members), joints=tuple(joints))


def train_pool(
    env_id: str,
    config: PoolTraining | None = None,
    *,
    out: Path | None = None,
    work_dir: Path | None = None,
    workers: int = 1,
) -> Path:
    """Train, measure and save the pool of an environment. A killed call goes on where it was.

    Args:
        env_id: ``suite/map``.
        config: None means the suite's own.
        out: folder of the pool; None means ``$OFFMARL_HOME/pools/suite/map``, where ``load_pool`` looks first.
        work_dir: folder of the runs; None means ``$OFFMARL_HOME/runs/pools/suite/map``.
        workers: training seeds at the same time. Does not change the result.

    Returns:
        The folder of the pool.

    Raises:
        UnknownName: no such environment. FormatError: the work folder holds runs with other settings.
        OffmarlError: the result lacks a level, or cannot be written.
    """
    suite, map_name = split_id(env_id)
    config = config or pool_training_of(env_id)
    get_spec(env_id)
    work = work_dir or runs_dir() / "pools" / suite / map_name
    target = out or pools_dir() / suite / map_name
    if len(config.seeds) < MIN_SEEDS:
        log.warning("pool of %s: %d training seeds, expected at least %d", env_id, len(config.seeds), MIN_SEEDS)
    tasks = [
        _SeedTask(env_id=env_id, seed=s, bar=k, online=online, config=config, directory=work / f"seed-{s}")
        for k, (s, online) in enumerate(config.runs.items())
    ]
    measured: list[Measured] = []
    for found in tqdm(LocalExecutor(workers).map(_train_and_measure, tasks), total=len(tasks), unit=" seeds",
                      desc=f"pool {env_id}", position=len(tasks), disable=None):  # fmt: skip
        measured += found
    measured.sort(key=lambda m: (m.seed, m.steps))
    curves = {str(s): read_json_lines(work / f"seed-{s}" / CURVE) for s in config.runs}
    provenance = {
        "command": f"offmarl-bench pool train {suite} {map_name}",
        "commit": commit(),
        "versions": versions(),
        "backend": get_suite(suite).backend(),
        "settings": json.loads(json.dumps(asdict(config))),
        "reference_episodes": config.reference_episodes,
        "snapshots": [{k: v for k, v in asdict(m).items() if k != "path"} for m in measured],
        "curves": curves,
    }
    low = random_reference(env_id, config.reference_episodes)
    return save_pool(assemble(env_id, measured, config, low, provenance), target).parent
