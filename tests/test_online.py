"""Online training learns, resumes and refuses; from its snapshots a pool is made."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offmarl_bench.agent import Agent, Phase
from offmarl_bench.alone import alone_in
from offmarl_bench.envs import get_spec
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.joints import load_joint
from offmarl_bench.loader import Dataset
from offmarl_bench.nn import Actor
from offmarl_bench.online import (
    CURVE,
    SNAPSHOTS,
    SeedRun,
    snapshot_name,
    stream_seeds,
    train_seed,
)
from offmarl_bench.online_config import OnlineTraining, training_of
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.pool import load_pool
from offmarl_bench.pool_train import Measured, PoolTraining, assemble, choose, measure, random_reference, train_pool
from offmarl_bench.replay import Replay
from offmarl_bench.types import EnvSpec

SPEC = get_spec("toy/signals")
FAST: dict[str, Any] = {"lr": 2e-3, "target_interval": 50, "hidden": 32}
"""Settings under which the toy is solved in about a hundred updates."""


@dataclass(frozen=True)
class Nothing:
    """No settings."""


class Silent(Agent):
    """An agent that has phases but no ``update``: fine offline, useless online."""

    Config = Nothing

    def __init__(self, spec: EnvSpec, config: Nothing) -> None:
        super().__init__(spec, config)
        self.actor = Actor(spec.O, spec.A)

    def phases(self, dataset: Dataset) -> list[Phase]:
        return []

    def policy(self, greedy: bool = True) -> SlotPolicy:
        return SlotPolicy(self.spec, [self.actor], np.zeros(self.spec.N, np.int64))


def short(**changes: Any) -> OnlineTraining:
    values: dict[str, Any] = {
        "steps": 768, "lanes": 16, "updates_per_episode": 1.0, "batch_size": 16, "replay": 64, "epsilon_steps": 1000,
        "save_every": 256, "test_every": 256, "test_episodes": 8, "settings": FAST,
    }  # fmt: skip
    return OnlineTraining(**values | changes)


def curve(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / CURVE).read_text().splitlines()]


def test_qmix_learns_the_toy_online_to_near_optimal(tmp_path: Path) -> None:
    config = short(steps=4096, lanes=32, batch_size=32, replay=512, epsilon_steps=2000, test_every=1024)
    points = curve(train_seed("toy/signals", 0, config, tmp_path))
    assert points[0]["steps"] == 0
    assert points[0]["return_mean"] < 4
    assert points[-1]["return_mean"] > 7.5  # 8 is perfect, random play earns about 2.7


def test_epsilon_falls_linearly_and_stays() -> None:
    config = OnlineTraining(epsilon_start=1.0, epsilon_end=0.1, epsilon_steps=100)
    assert [config.epsilon(k) for k in (0, 50, 100, 999)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_snapshots_at_fixed_steps_begin_with_the_untrained_network(tmp_path: Path) -> None:
    train_seed("toy/signals", 0, short(), tmp_path)
    names = sorted(p.name for p in (tmp_path / SNAPSHOTS).iterdir())
    assert names == [snapshot_name(k) for k in (0, 256, 512, 768)]
    first, last = (load_joint(tmp_path / SNAPSHOTS / n, SPEC).actors[0].state_dict() for n in (names[0], names[-1]))
    assert not torch.equal(first["net.head.weight"], last["net.head.weight"])


def test_the_same_seed_gives_the_same_networks_and_another_does_not(tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_seed("toy/signals", seed, short(steps=256), tmp_path / name)
        joint = load_joint(tmp_path / name / SNAPSHOTS / snapshot_name(256), SPEC)
        found.append(joint.actors[0].state_dict()["net.head.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_killed_run_goes_on_from_its_last_test(tmp_path: Path) -> None:
    config = short()
    run = SeedRun("toy/signals", 0, config, tmp_path)
    while run.steps < 384:  # beyond the checkpoint at 256, then killed
        run.advance()
    (tmp_path / SNAPSHOTS / snapshot_name(300)).write_bytes(b"of the way that is lost")
    again = SeedRun("toy/signals", 0, config, tmp_path)
    assert not (tmp_path / SNAPSHOTS / snapshot_name(300)).exists()
    assert (again.steps, again.rollouts) == (256, 2)
    assert len(again.replay) == 32
    assert again.agent.get_extra_state() == 32  # updates done, so that targets are copied on time
    train_seed("toy/signals", 0, config, tmp_path)
    points = curve(tmp_path)
    assert [p["steps"] for p in points] == [0, 256, 512, 768]
    train_seed("toy/signals", 0, config, tmp_path)  # finished: nothing to do
    assert curve(tmp_path) == points


def test_two_processes_do_not_train_one_seed(tmp_path: Path) -> None:
    with (
        alone_in(tmp_path, "training"),
        pytest.raises(OffmarlError, match=f"another process is training in {tmp_path}"),
    ):
        train_seed("toy/signals", 0, short(steps=256), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_can_be_made_longer_but_not_different(tmp_path: Path) -> None:
    train_seed("toy/signals", 0, short(steps=256), tmp_path)
    train_seed("toy/signals", 0, short(steps=512), tmp_path)
    assert curve(tmp_path)[-1]["steps"] == 512
    with pytest.raises(FormatError, match=r"an unfinished run with other settings \(lanes\)"):
        train_seed("toy/signals", 0, short(lanes=8), tmp_path)


def test_a_curve_that_does_not_fit_its_checkpoint_is_refused(tmp_path: Path) -> None:
    train_seed("toy/signals", 0, short(steps=256), tmp_path)
    (tmp_path / CURVE).write_text("")
    with pytest.raises(FormatError, match="has no line for its checkpoint"):
        train_seed("toy/signals", 0, short(steps=512), tmp_path)


def test_damaged_files_of_a_run_give_one_clear_line(tmp_path: Path) -> None:
    train_seed("toy/signals", 0, short(steps=256), tmp_path)
    (tmp_path / CURVE).write_text("{")
    with pytest.raises(FormatError, match=r"curve.jsonl: cannot be read as JSON"):
        train_seed("toy/signals", 0, short(steps=512), tmp_path)
    (tmp_path / "settings.json").write_text("3")
    with pytest.raises(FormatError, match=r"settings.json: expected JSON objects"):
        train_seed("toy/signals", 0, short(steps=512), tmp_path)


def test_updates_follow_the_episodes(tmp_path: Path) -> None:
    run = SeedRun("toy/signals", 0, short(updates_per_episode=0.1), tmp_path)
    for _ in range(5):
        run.advance()
    assert run.agent.get_extra_state() == 8  # 5 rollouts × 16 lanes × 0.1


def test_agents_that_cannot_be_trained_online(tmp_path: Path) -> None:
    with pytest.raises(
        OffmarlError, match=r"'tests.test_online:Silent' cannot be trained online: it needs update\(batch\)"
    ):
        SeedRun("toy/signals", 0, short(agent="tests.test_online:Silent", settings={}), tmp_path)


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(FormatError, match="lanes is 0, expected at least 1"):
        OnlineTraining(lanes=0)
    with pytest.raises(FormatError, match="updates_per_episode is 0, expected above 0"):
        OnlineTraining(updates_per_episode=0)
    with pytest.raises(FormatError, match="replay is 10 episodes, expected at least batch_size and lanes"):
        OnlineTraining(replay=10)
    with pytest.raises(FormatError, match=r"seeds are \(1, 1\), expected different numbers"):
        PoolTraining(seeds=(1, 1))
    with pytest.raises(FormatError, match="measure_episodes is 0, expected at least 1"):
        PoolTraining(measure_episodes=0)
    with pytest.raises(FormatError, match=r"split is \(0.7, 0.3\), expected two rising shares"):
        PoolTraining(split=(0.7, 0.3))


def test_a_replay_that_is_too_empty() -> None:
    with pytest.raises(FormatError, match="a batch of 2 episodes from a replay that holds 0"):
        Replay(SPEC, 5).sample(2, np.random.default_rng(0))


def test_streams_share_no_episode() -> None:
    seeds = [stream_seeds(seed, stream, 0, 50) for seed in (0, 1) for stream in range(3)]
    assert len(np.unique(np.concatenate(seeds))) == 300


def snapshots(tmp_path: Path) -> list[Measured]:
    """Seven snapshots of two seeds with invented returns, over files that exist."""
    train_seed("toy/signals", 0, short(steps=256), tmp_path)
    path = tmp_path / SNAPSHOTS / snapshot_name(0)
    table = [(0, 0, 1.0), (0, 1, 2.5), (0, 2, 5.0), (0, 3, 7.5), (1, 0, 0.5), (1, 1, 5.5), (1, 2, 8.0)]
    return [
        Measured(path=path, seed=s, steps=k, return_mean=r, return_std=0.0, win_rate=None, episodes=9)
        for s, k, r in table
    ]


def test_levels_split_the_range_from_random_play_to_the_best_at_30_and_70_percent(tmp_path: Path) -> None:
    pool = assemble("toy/signals", snapshots(tmp_path), PoolTraining(), 2.0, {})
    assert (pool.low, pool.high) == (2.0, 8.0)
    assert pool.thresholds == pytest.approx((3.8, 6.2))
    by_level = {
        level: [pool.members[k].return_mean for k in pool.members_of(level)] for level in ("random", "medium", "expert")
    }
    assert by_level == {"random": [0.5, 1.0, 2.5], "medium": [5.0, 5.5], "expert": [7.5, 8.0]}
    assert len({m.file for m in pool.members}) == 7


def test_lucky_young_networks_are_no_experts_where_there_are_trained_ones(tmp_path: Path) -> None:
    there = snapshots(tmp_path)
    lucky = replace(there[-1], seed=7, steps=5, return_mean=7.9)
    for members, found in ((2, [7.5, 8.0]), (3, [7.5, 7.9, 8.0])):  # not enough trained ones: all may be
        pool = assemble(
            "toy/signals", [*there, lucky], PoolTraining(seeds=(0, 1, 2), members_per_level=members), 2.0, {}
        )
        assert [pool.members[k].return_mean for k in pool.members_of("expert")] == found


def test_early_seeds_are_numbered_on_and_trained_briefly() -> None:
    config = PoolTraining(seeds=(0, 4), early_seeds=2, early_steps=1000, early_save_every=100)
    assert list(config.runs) == [0, 4, 5, 6]
    assert [config.runs[s].steps for s in config.runs] == [config.online.steps] * 2 + [1000] * 2
    assert config.runs[6].save_every == 100
    with pytest.raises(FormatError, match="early_seeds is -1, expected at least 0"):
        PoolTraining(early_seeds=-1)


def test_members_are_spread_over_seeds_and_returns_with_half_of_them_untrained() -> None:
    def one(seed: int, steps: int, value: float) -> Measured:
        return Measured(
            path=Path(), seed=seed, steps=steps, return_mean=value, return_std=0.0, win_rate=None, episodes=1
        )

    crowd = [one(0, k, float(k)) for k in range(1, 11)] + [one(1, 5, 2.5), one(0, 0, -1.0), one(1, 0, -2.0)]
    chosen = [(m.seed, m.steps) for m in choose(crowd, 6)]
    assert chosen == [(1, 0), (0, 0), (0, 1), (1, 5), (0, 5), (0, 10)]
    assert len(choose(crowd, 99)) == len(crowd)
    assert [m.return_mean for m in choose(crowd, 2)] == [-2.0, 5.0], "one of the two is untrained"


def test_a_level_without_snapshots_and_training_that_taught_nothing(tmp_path: Path) -> None:
    there = snapshots(tmp_path)
    with pytest.raises(OffmarlError, match=r"no snapshot is medium .*; save more often, or train for longer"):
        assemble("toy/signals", [m for m in there if not 3.8 <= m.return_mean < 6.2], PoolTraining(), 2.0, {})
    with pytest.raises(OffmarlError, match=r"the best snapshot returns 8.00, uniformly random play 9.00"):
        assemble("toy/signals", there, PoolTraining(), 9.0, {})


def test_random_reference_is_the_mean_of_uniform_play() -> None:
    # Three legal answers, one of them right, eight steps: 8 / 3.
    assert random_reference("toy/signals", 300) == pytest.approx(8 / 3, abs=0.1)


def test_train_pool_from_nothing_to_a_pool_that_loads(tmp_path: Path) -> None:
    online = short(steps=1024, lanes=32, batch_size=32, replay=512, save_every=128, test_every=512)
    config = PoolTraining(
        seeds=(0, 1), online=online, early_seeds=1, early_steps=256, early_save_every=128, measure_episodes=16,
        reference_episodes=64, members_per_level=6,
    )  # fmt: skip
    out = train_pool("toy/signals", config, out=tmp_path / "pool", work_dir=tmp_path / "work")
    pool = load_pool("toy/signals", out)
    assert {m.level for m in pool.members} == {"random", "medium", "expert"}
    assert {m.seed for m in pool.members if m.steps == 0} == {0, 1, 2}
    assert [s["steps"] for s in pool.provenance["snapshots"] if s["seed"] == 2] == [0, 256], "the early seed"
    assert pool.high == max(s["return_mean"] for s in pool.provenance["snapshots"])
    assert set(pool.provenance) >= {"command", "commit", "versions", "backend", "settings", "curves"}
    again = measure("toy/signals", 0, tmp_path / "work" / "seed-0" / SNAPSHOTS, config)
    assert {m.return_mean for m in again} <= {s["return_mean"] for s in pool.provenance["snapshots"]}


def test_a_map_that_needs_other_training_gets_it() -> None:
    """Kiting is learnt with all of PyMARL's updates; the particle maps have settings of their suite."""
    kiting, plain = training_of("smac/3s_vs_5z"), training_of("smac/8m")
    assert (kiting.updates_per_episode, plain.updates_per_episode) == (1.0, 0.25)
    assert training_of("mpe/PP_3p1p") == training_of("mpe/CN_3ls3l") != plain
