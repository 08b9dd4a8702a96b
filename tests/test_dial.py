"""The dial of imbalance and its balanced twin: what they promise is measured on what they make."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from offmarl_bench import twin as module
from offmarl_bench.audit import verify
from offmarl_bench.dial import Dial, dial, generate_imbalanced
from offmarl_bench.envs import get_spec
from offmarl_bench.errors import FormatError, OffmarlError, UnknownName
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.imbalance import agent_quality, imbalance, lasting_imbalance
from offmarl_bench.loader import load_dataset
from offmarl_bench.nn import Actor
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.pool import Pool
from offmarl_bench.recipes import parse_recipe
from offmarl_bench.twin import choose, generate_twin
from offmarl_bench.types import EnvSpec
from tests.imbalanced_toy import imbalanced
from tests.toy_pool import HIDDEN, SPEC, toy_pool

EPISODES = 240
SKILL = {11: ("random", 1.64), 26: ("random", 1.78), 36: ("expert", 3.87), 37: ("expert", 3.91)}
"""Seeds of untrained networks that happen to play badly or well, and their mean returns."""


def skilled_pool(**returns: float) -> Pool:
    """A pool whose experts really play better than its random members; ``expert=…`` falsifies what is measured."""
    pool = toy_pool(levels=("random", "expert"))
    members, joints = [], []
    for member, (seed, (level, mean)) in zip(pool.members, SKILL.items(), strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            actors = [Actor(SPEC.O, SPEC.A, HIDDEN) for _ in range(2)]
        joints.append(SlotPolicy(SPEC, actors, np.array([0, 0, 1, 1])))
        members.append(replace(member, level=level, return_mean=returns.get(level, mean), sha256=f"{seed:064d}"))
    return replace(pool, members=tuple(members), joints=tuple(joints), low=1.7, high=3.9)


def both(where: Dial, folder: Path, **changes: object) -> tuple[Path, Path, module.Match]:
    settings = {"pool": skilled_pool(), "progress": False} | changes
    path = generate_imbalanced(where, episodes=EPISODES, seed=3, out=folder / "data.h5", **settings)  # type: ignore[arg-type]
    other, match = generate_twin(where, path, out=folder / "twin.h5", **settings)  # type: ignore[arg-type]
    return path, other, match


@pytest.mark.parametrize(
    ("x", "expert", "recipe"),
    [
        (0.0, None, "25%[a1e,a2e,b1e,b2e] + 75%[a1r,a2r,b1r,b2r]"),
        (0.2, None, "20%[a1e,a2r,b1r,b2r] + 20%[a1e,a2e,b1e,b2e] + 60%[a1r,a2r,b1r,b2r]"),
        (1.0, "b1", "100%[a1r,a2r,b1e,b2r]"),
        (1.0, "each", "25%[a1e,a2r,b1r,b2r] + 25%[a1r,a2e,b1r,b2r] + 25%[a1r,a2r,b1e,b2r] + 25%[a1r,a2r,b1r,b2e]"),
    ],
)
def test_the_recipe_at_a_position(x: float, expert: str | None, recipe: str) -> None:
    assert dial("toy/signals", x, expert).recipe == recipe


@pytest.mark.parametrize("n", [2, 3, 7])
@pytest.mark.parametrize("expert", ["x0", "each"])
def test_shares_that_do_not_divide_still_sum_to_a_hundred(n: int, expert: str) -> None:
    spec = EnvSpec(
        id="toy/n", agents=tuple(f"x{k}" for k in range(n)), agent_types=("x",) * n, O=1, S=1, A=2, discrete=True,
        horizon=1,
    )  # fmt: skip
    for position in range(101):
        where = Dial(spec, position / 100, expert)
        recipe = parse_recipe(where.recipe, spec)
        experts = sum(float(p.percent) * p.levels.count(2) for p in recipe.parts)
        assert experts == pytest.approx(100, abs=1e-4), "one in N of the agents' episodes is an expert's, everywhere"


def test_ids_say_position_and_expert() -> None:
    names = [str(dial("smac/2s3z", x, who).dataset) for x, who in ((0, None), (0.5, "s1"), (0.07, "z2"), (1, "each"))]
    assert names == [
        "smac/2s3z/imbalance-000-v1", "smac/2s3z/imbalance-050-v1", "smac/2s3z/imbalance-007-z2-v1",
        "smac/2s3z/imbalance-100-each-v1",
    ]  # fmt: skip
    assert str(module.twin_id(dial("smac/2s3z", 0.5))) == "smac/2s3z/imbalance-050-twin-v1"


@pytest.mark.parametrize("x", [0.0, 0.5, 1.0])
def test_data_are_as_unequal_as_asked_for_and_the_twin_earns_the_same(x: float, tmp_path: Path) -> None:
    path, other, match = both(dial("toy/signals", x), tmp_path)
    data, twin = load_dataset(path), load_dataset(other)
    assert imbalance(data) == pytest.approx(x)
    assert lasting_imbalance(data) == pytest.approx(x)
    assert agent_quality(data) == pytest.approx((0.25 + 0.75 * x, *(0.25 - 0.25 * x,) * 3))
    assert (len(data), len(twin)) == (EPISODES, EPISODES)
    assert imbalance(twin) == 0.0
    assert (match.mean, match.twin_mean) == (data.returns.mean(), twin.returns.mean())
    assert abs(match.difference) <= (3.9 - 1.7) / EPISODES, "one episode more or less would be no better"
    assert match.experts == int((twin.levels == 2).all(1).sum())
    assert verify(path).ok
    assert verify(other).ok, verify(other)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "home") == ["data.h5", "twin.h5"]


def test_the_agents_may_take_turns(tmp_path: Path) -> None:
    path, _, _ = both(dial("toy/signals", 1.0, "each"), tmp_path)
    assert imbalance(load_dataset(path)) == pytest.approx(1.0)
    assert lasting_imbalance(load_dataset(path)) == pytest.approx(0.0)


def test_the_twin_shares_no_episode_and_picks_none_for_its_return(tmp_path: Path) -> None:
    path, other, _ = both(dial("toy/signals", 0.0), tmp_path)
    states = [{e.state.tobytes() for e in load_dataset(p)} for p in (path, other)]
    assert not states[0] & states[1]
    experts = load_dataset(other).episodes(level="expert")
    assert experts.returns.mean() == pytest.approx(3.89, abs=0.35), "experts of the twin are experts as they come"


def test_metadata_tells_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other, match = both(dial("toy/signals", 0.5, "b2"), tmp_path)
    said, twin = read_metadata(path)[1], read_metadata(other)[1]
    command = "offmarl-bench generate toy signals --imbalance 0.5 --expert b2 --episodes 240 --seed 3"
    assert (said["dataset_id"], said["command"]) == ("toy/signals/imbalance-050-b2-v1", command)
    assert said["dial"] == {"imbalance": 0.5, "expert": "b2"}
    assert (twin["dataset_id"], twin["command"]) == ("toy/signals/imbalance-050-b2-twin-v1", command)
    assert twin["operation"]["match"]["of"] == said["content_hash"]
    assert twin["operation"]["match"]["difference"] == match.difference
    assert (twin["reference_random"], twin["reference_expert"]) == (1.7, 3.9)
    assert twin["return_mean"] == pytest.approx(match.twin_mean)


def test_the_same_again_is_not_played_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    where = dial("toy/signals", 0.5)
    _, other, match = both(where, tmp_path)
    before = other.stat().st_mtime_ns
    assert both(where, tmp_path)[2] == match
    assert other.stat().st_mtime_ns == before
    assert caplog.text.count("nothing to do") == 2
    again = both(where, (tmp_path / "again"))
    assert read_metadata(again[1])[1]["content_hash"] == read_metadata(other)[1]["content_hash"]
    changed = generate_imbalanced(
        where, episodes=EPISODES, seed=4, out=tmp_path / "other.h5", pool=skilled_pool(), progress=False
    )
    with pytest.raises(OffmarlError, match=r"twin.h5 exists and is not the twin of this dataset; choose another file"):
        generate_twin(where, changed, out=other, pool=skilled_pool())


def test_a_pool_that_plays_otherwise_than_it_says_costs_a_second_bank(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        *_, match = both(dial("toy/signals", 1.0), tmp_path, pool=skilled_pool(expert=80.0))
    assert abs(match.difference) < 0.01


def test_a_mean_that_no_balanced_data_have_is_said(tmp_path: Path) -> None:
    where, pool = dial("toy/signals", 1.0), skilled_pool()
    data = load_dataset(generate_imbalanced(where, episodes=60, out=tmp_path / "x.h5", pool=pool, progress=False))
    data.columns["rewards"][data.row_starts] += 3  # as if an expert among random agents earned more than four experts
    better = data.save(tmp_path / "better.h5")
    with pytest.raises(
        FormatError,
        match=r"no balanced twin: the imbalanced data has the mean return 5\.\d+, which no mixture of all-random "
        r"and all-expert episodes has \(mean return 5\.\d+ cannot be met by 60 of 90 episodes: .*; choose another",
    ):
        generate_twin(where, better, out=tmp_path / "twin.h5", pool=pool, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "home") == ["better.h5", "x.h5"]


def test_a_mean_just_below_that_of_random_agents_is_met_by_their_weaker_members(tmp_path: Path) -> None:
    where, pool = dial("toy/signals", 1.0), skilled_pool()
    data = load_dataset(generate_imbalanced(where, episodes=60, out=tmp_path / "x.h5", pool=pool, progress=False))
    data.columns["rewards"][data.row_starts] -= np.float32(data.returns.mean() - 1.66)
    worse = data.save(tmp_path / "worse.h5")
    other, match = generate_twin(where, worse, out=tmp_path / "twin.h5", pool=pool, progress=False)
    twin = load_dataset(other)
    assert (match.by_member, match.experts, match.twin_imbalance) == (True, 0, 0.0)
    assert match.mean == pytest.approx(1.66, abs=1e-5)
    assert abs(match.difference) <= match.tolerance
    assert (twin.levels == 0).all()
    assert len(twin) == 60
    assert verify(other).ok


def test_only_data_from_the_dial_have_a_twin(tmp_path: Path) -> None:
    other = imbalanced(8).save(tmp_path / "x.h5")
    with pytest.raises(FormatError, match=r"x.h5: was not made by `generate --imbalance`, so it has no twin"):
        generate_twin(dial("toy/signals", 0.5), other, pool=skilled_pool())


def test_the_number_of_experts_by_hand() -> None:
    experts, randoms = np.array([8.0, 9.0, 10.0]), np.array([1.0, 2.0, 0.0, 1.0])
    # of 4 episodes: none expert 4/4, one 11/4, two 20/4, three 28/4
    assert choose(experts, randoms, 4, 5.2) == (2, True)
    assert choose(experts, randoms, 4, 3.0) == (1, True)
    assert choose(experts, randoms, 4, 1.0) == (0, True)
    assert choose(experts, randoms, 4, 7.5) == (3, False)
    assert choose(experts, randoms[:2], 4, 1.0) == (2, False)


def test_wrong_positions_are_said() -> None:
    for x in (-0.1, 1.01, 0.123, float("nan")):
        with pytest.raises(FormatError, match=rf"imbalance {x!r}: expected 0, 0.01, 0.02 … 1"):
            dial("toy/signals", x)
    with pytest.raises(UnknownName, match=r"unknown agent of toy/signals 'a3'. Did you mean 'a\d'.*Or 'each': the age"):
        dial("toy/signals", 0.5, "a3")
    lonely = replace(get_spec("toy/target"), agents=("a1",), agent_types=("a",))
    with pytest.raises(FormatError, match="imbalance: toy/target has one agent; expected at least two"):
        Dial(lonely, 0.5, "a1")
