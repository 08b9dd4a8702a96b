"""The batched environment over the compiled engine."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Shaped, UInt64

from offmarl_bench.envs.scene import Scene
from offmarl_bench.envs.smac.combat import UNIT
from offmarl_bench.envs.smac.engine import BOOK, first_illegal, reset_lanes, step_lanes
from offmarl_bench.envs.smac.layout import Flags, layout
from offmarl_bench.envs.smac.maps import SmacMap
from offmarl_bench.envs.smac.reward import rules
from offmarl_bench.envs.smac.routes import routes
from offmarl_bench.envs.smac.scene import draw
from offmarl_bench.envs.smac.tables import tables
from offmarl_bench.envs.smac.units import UNITS
from offmarl_bench.errors import SpecMismatch
from offmarl_bench.types import EnvSpec, Start, Step


def make_spec(smac_map: SmacMap, flags: Flags) -> EnvSpec:
    """The spec of one map; agents are named by type letter and number: s1, s2, z1, …"""
    lay = layout(smac_map, flags)
    letters = [UNITS[u].letter for u in smac_map.allies]
    names = [f"{c}{letters[:i].count(c) + 1}" for i, c in enumerate(letters)]
    return EnvSpec(
        id=f"smac/{smac_map.name}", agents=tuple(names), agent_types=tuple(letters), O=lay.obs_size,
        S=lay.state_size, A=lay.actions, discrete=True, horizon=smac_map.limit,
    )  # fmt: skip


class SmacEnv:
    """``num_envs`` battles on one map. Arrays returned by ``reset`` and ``step`` are fresh; keep them.

    A battle that is not decided at the episode limit is truncated, not terminated. ``step``'s info:
    ``battle_won`` (B,) bool, ``dead_allies`` and ``dead_enemies`` (B,) int, set when a lane finishes.
    """

    def __init__(self, smac_map: SmacMap, num_envs: int, flags: Flags | None = None) -> None:
        flags = flags or Flags()
        self.spec = make_spec(smac_map, flags)
        self.num_envs = num_envs
        self._map = smac_map
        self._tables = tables(smac_map)
        self._layout = layout(smac_map, flags)
        self._rules = rules(smac_map, flags)
        self._land = smac_map.terrain(), routes(smac_map)
        self._lanes = 0

    def reset(self, seeds: UInt64[np.ndarray, " B"]) -> Start:
        """See BatchedEnv."""
        seeds = np.asarray(seeds, np.uint64)
        if seeds.ndim != 1 or not 1 <= len(seeds) <= self.num_envs:
            raise SpecMismatch(
                f"{self.spec.id}: reset got seeds of shape {seeds.shape}, expected 1 to {self.num_envs} of them"
            )
        b, spec, tab, lay = len(seeds), self.spec, self._tables, self._layout
        self._lanes = b
        self._world = np.zeros((b, len(tab.kinds)), UNIT)
        self._books = np.zeros(b, BOOK)
        # Mixed and never zero: xorshift cannot leave a zero state.
        self._rng = ((seeds ^ np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1 << 63))[:, None].copy()
        self._last = np.full((b, spec.N), -1, np.int64)
        self._outputs = (
            np.zeros((b, spec.N, spec.O), np.float32),
            np.zeros((b, spec.S), np.float32),
            np.zeros((b, spec.N, spec.A), np.bool_),
        )
        reset_lanes(
            tab.kinds, tab.n, lay.record, lay.grid, lay.look, self._world, self._books, self._last, *self._outputs
        )
        return Start(*(a.copy() for a in self._outputs))

    def step(self, actions: Int[np.ndarray, "B N"]) -> Step:
        """See BatchedEnv."""
        actions = np.asarray(actions)
        self._check(actions)
        reward = np.zeros(self._lanes, np.float32)
        tab, lay = self._tables, self._layout
        step_lanes(
            tab.kinds, tab.pairs, tab.n, *self._land, lay.record, lay.grid, lay.look, self._rules, self._world,
            self._books, self._rng, self._last, actions.astype(np.int64), *self._outputs, reward,
        )  # fmt: skip
        obs, state, legal = (a.copy() for a in self._outputs)
        books = self._books
        info = {"battle_won": books["won"].copy()} | {k: books[k].copy() for k in ("dead_allies", "dead_enemies")}
        return Step(obs, state, legal, reward, books["terminated"].copy(), books["truncated"].copy(), info)

    def _check(self, actions: Int[np.ndarray, "B N"]) -> None:
        spec = self.spec
        if self._lanes == 0:
            raise SpecMismatch(f"{spec.id}: step before reset; call reset(seeds) first")
        if actions.shape != (self._lanes, spec.N) or actions.dtype.kind not in "iu":
            raise SpecMismatch(
                f"{spec.id}: actions have shape {actions.shape} and type {actions.dtype}, "
                f"expected integers of shape {(self._lanes, spec.N)}"
            )
        legal = self._outputs[2]
        b, i = first_illegal(legal, self._books, actions.astype(np.int64))
        if b >= 0:
            raise SpecMismatch(
                f"{spec.id}: lane {b}, agent {spec.agents[i]}, step {self._books['t'][b]}: "
                f"action {actions[b, i]} is illegal; legal actions are {np.flatnonzero(legal[b, i]).tolist()}"
            )

    def scene(self, lane: int) -> Scene:
        """See Drawable."""
        return draw(self._map, self._tables, self.spec.agents, self._world[lane])

    def units(self) -> dict[str, Shaped[np.ndarray, "B ..."]]:
        """The present configuration under the names that ``observe`` takes: for replays, pictures and checks."""
        w, n = self._world, self.spec.N
        pos = np.stack([w["x"], w["y"]], -1)
        sides = {"a": slice(0, n), "e": slice(n, None)}
        out = {f"{side}{f}": w[f][:, part].copy() for side, part in sides.items() for f in ("hp", "sh")}
        out |= {f"{side}pos": pos[:, part].copy() for side, part in sides.items()}
        heals = self._layout.look["heals"][:n]
        out |= {"acd": np.where(heals, 0.0, w["cd"][:, :n]), "aen": np.where(heals, w["cd"][:, :n], 0.0)}
        return out | {"last_action": self._last.copy(), "t": self._books["t"].copy()}
