"""SMAC's interface, entry by entry, against recorded outputs of the genuine package (tests/golden)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from offmarl_bench.envs.smac import battle_reward, observe
from offmarl_bench.envs.smac.combat import UNIT
from offmarl_bench.envs.smac.env import SmacEnv
from offmarl_bench.envs.smac.layout import Flags, layout, max_reward
from offmarl_bench.envs.smac.maps import MAPS, get_map
from offmarl_bench.envs.smac.reward import DRAW, LOST, ONGOING, WON, outcome
from offmarl_bench.envs.smac.tables import tables
from offmarl_bench.errors import SpecMismatch, UnknownName

GOLDEN = Path(__file__).parent / "golden"
FILES = [*MAPS, "2s3z_variant_allflags", "2s3z_variant_minimal", "2s3z_variant_obsstate"]
OUR_NAMES = {"spine": "spine crawler", "allied medivac": "medivac"}
"""Names that the recordings and our tables give differently, each to a common one."""
TOLERANCE = 1e-5


class Golden:
    """One recorded file: configurations A and B, what SMAC showed of them, and the flags it ran with."""

    def __init__(self, name: str) -> None:
        self.map_name = name.partition("_variant")[0]
        self.data = np.load(GOLDEN / f"{name}.npz")
        self.meta = json.loads(str(self.data["meta_json"]))
        known = {f.name for f in dataclasses.fields(Flags)}
        self.flags = Flags(**{k: v for k, v in self.meta["env_kwargs"].items() if k in known})

    def units(self, which: str) -> dict[str, np.ndarray]:
        units = {k[2:]: self.data[k] for k in self.data.files if k.startswith(f"{which}_")}
        if which == "A":
            return units | {"last_action": self.data["last_action_A"], "t": self.data["t_A"]}
        return units | {"last_action": self.data["actions"], "t": self.data["t_A"] + 1}


@pytest.fixture(scope="module", params=FILES)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


@pytest.mark.parametrize("which", ["A", "B"])
def test_observations_state_and_legal_actions_equal_the_genuine_package(golden: Golden, which: str) -> None:
    obs, state, legal = observe(golden.map_name, golden.units(which), golden.flags)
    assert obs.shape[-1] == golden.meta["actual_obs_len"]
    assert state.shape[-1] == golden.meta["actual_state_len"]
    np.testing.assert_allclose(obs, golden.data[f"obs_{which}"], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(state, golden.data[f"state_{which}"], atol=TOLERANCE, rtol=0)
    np.testing.assert_array_equal(legal, golden.data[f"avail_{which}"].astype(bool))


def test_battle_reward_equals_the_genuine_package(golden: Golden) -> None:
    reward = battle_reward(golden.map_name, golden.units("A"), golden.units("B"), golden.flags)
    np.testing.assert_allclose(reward, golden.data["reward_raw"], atol=TOLERANCE, rtol=0)


def test_the_scale_of_the_reward_equals_the_genuine_package(golden: Golden) -> None:
    assert max_reward(get_map(golden.map_name), golden.flags) == golden.meta["max_reward"]


END_CODES = {1: WON, -1: LOST, 0: DRAW, 99: ONGOING}
"""What ``update_units`` of the genuine package returns, and our names for it; 99 stands for None."""


def test_battles_end_as_in_the_genuine_package(golden: Golden) -> None:
    kinds, n = tables(get_map(golden.map_name)).kinds, golden.meta["n_agents"]
    world = np.zeros((len(golden.data["end_code"]), len(kinds)), UNIT)
    world["hp"] = np.concatenate([golden.data["B_ahp"], golden.data["B_ehp"]], axis=1)
    ends = [outcome(kinds, n, w) for w in world]
    assert ends == [END_CODES[int(code)] for code in golden.data["end_code"]]


def test_sizes_limit_and_pathing_equal_the_genuine_package(golden: Golden) -> None:
    meta, lay = golden.meta, layout(get_map(golden.map_name), golden.flags)
    assert (lay.n, lay.e, lay.actions) == (meta["n_agents"], meta["n_enemies"], meta["n_actions"])
    assert lay.limit == meta["episode_limit"]
    np.testing.assert_array_equal(lay.grid, golden.data["pathing_grid"])


@pytest.mark.parametrize("name", MAPS)
def test_agents_stand_in_the_order_that_smac_sorts_them_into(name: str) -> None:
    """SMAC sorts allies by (type, x, y); recorded resets show it on shuffled lists, our table must obey it."""
    golden, smac_map = Golden(name), get_map(name)
    order = [smac_map.ally_bits.index(u) if smac_map.ally_bits else 0 for u in smac_map.allies]
    assert order == golden.data["ally_type_offset"].tolist()
    assert [OUR_NAMES.get(u, u) for u in smac_map.allies] == golden.data["ally_type_name"].tolist()
    places = [(t, *p) for t, p in zip(order, smac_map.ally_start, strict=True)]
    assert places == sorted(places)
    recorded = golden.data["enemy_type_name"].tolist()
    assert list(smac_map.enemies) == [OUR_NAMES.get(u, u) for u in recorded]


@pytest.mark.parametrize("name", MAPS)
def test_the_engine_shows_what_observe_shows(name: str) -> None:
    """The environment's own arrays and ``observe`` on its units agree after twenty steps of battle."""
    env = SmacEnv(get_map(name), 8)
    view = env.reset(np.arange(8, dtype=np.uint64))
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert view.legal is not None
        view = env.step((view.legal * rng.random(view.legal.shape)).argmax(-1))  # type: ignore[assignment]
    obs, state, legal = observe(name, env.units())
    np.testing.assert_array_equal(obs, view.obs)
    np.testing.assert_array_equal(state, view.state)
    np.testing.assert_array_equal(legal, view.legal)


def test_missing_shields_cooldowns_actions_and_times_have_defaults() -> None:
    full = Golden("2s3z").units("A")
    bare = {k: full[k][:2] for k in ("apos", "epos", "ahp", "ehp")}
    zeros = bare | {"ash": np.zeros((2, 5)), "esh": np.zeros((2, 5)), "acd": np.zeros((2, 5)), "t": np.zeros(2)}
    given = observe("2s3z", zeros | {"last_action": np.full((2, 5), -1)})
    for a, b in zip(observe("2s3z", bare), given, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"apos": None}, r"'apos' is missing"),
        ({"ahp": None}, r"'ahp' of shape \(K, 5\) is missing"),
        ({"epos": np.zeros((200, 4, 2))}, r"units\['epos'\] has shape \(200, 4, 2\), expected \(200, 5, 2\)"),
        ({"ehp": np.full((200, 5), np.nan)}, r"units\['ehp'\] has values that are not finite"),
        ({"last_action": np.full((200, 5), 11)}, r"last_action'\] has values outside"),
    ],
)
def test_bad_units_are_named(change: dict[str, np.ndarray | None], words: str) -> None:
    units = {k: v for k, v in (Golden("2s3z").units("A") | change).items() if v is not None}
    with pytest.raises(SpecMismatch, match=words):
        observe("2s3z", units)


def test_an_unknown_map_is_named_with_a_suggestion() -> None:
    with pytest.raises(UnknownName, match=r"unknown map of suite smac '2s3y'\. Did you mean '2s3z'\?"):
        observe("2s3y", {})


def test_sizes_of_2s3z() -> None:
    lay = layout(get_map("2s3z"), Flags())
    assert (lay.n, lay.e, lay.obs_size, lay.state_size, lay.actions, lay.limit) == (5, 5, 80, 120, 11, 120)
