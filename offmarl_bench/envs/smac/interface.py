"""SMAC's view of any configuration of units: for tests, tools, and whoever has logs of the real game.

The engine writes its observations with the same compiled functions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float32, Float64, Shaped

from offmarl_bench.envs.smac.combat import UNIT
from offmarl_bench.envs.smac.layout import Flags, Layout, layout
from offmarl_bench.envs.smac.maps import get_map
from offmarl_bench.envs.smac.outputs import write_batch
from offmarl_bench.envs.smac.reward import battle, rules, total
from offmarl_bench.errors import SpecMismatch

Units = Mapping[str, Shaped[np.ndarray, "K ..."]]


def _read(
    units: Units, name: str, shape: tuple[int, ...], default: float | None = None
) -> Float64[np.ndarray, "K ..."]:
    if name not in units:
        if default is None:
            raise SpecMismatch(f"units: {name!r} is missing; given {sorted(units)}, expected an array of shape {shape}")
        return np.full(shape, default)
    array = np.asarray(units[name], dtype=np.float64)
    if array.shape != shape:
        raise SpecMismatch(f"units[{name!r}] has shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
        raise SpecMismatch(f"units[{name!r}] has values that are not finite")
    return array


def _world(lay: Layout, units: Units, places: bool) -> Shaped[np.ndarray, "K U"]:
    """The engine's records for the given units; ``places`` says whether positions are needed."""
    if "ahp" not in units or np.ndim(units["ahp"]) != 2:
        raise SpecMismatch(f"units: 'ahp' of shape (K, {lay.n}) is missing; given {sorted(units)}")
    k, n, e = len(units["ahp"]), lay.n, lay.e
    world = np.zeros((k, n + e), UNIT)
    for side, size, part in (("a", n, slice(0, n)), ("e", e, slice(n, n + e))):
        world["hp"][:, part] = _read(units, f"{side}hp", (k, size))
        world["sh"][:, part] = _read(units, f"{side}sh", (k, size), 0.0)
        if places:
            pos = _read(units, f"{side}pos", (k, size, 2))
            world["x"][:, part], world["y"][:, part] = pos[..., 0], pos[..., 1]
    world["cd"][:, :n] = np.where(
        lay.look["heals"][:n], _read(units, "aen", (k, n), 0.0), _read(units, "acd", (k, n), 0.0)
    )
    return world


def observe(
    map_name: str, units: Units, flags: Flags | None = None
) -> tuple[Float32[np.ndarray, "K N O"], Float32[np.ndarray, "K S"], Bool[np.ndarray, "K N A"]]:
    """What SMAC shows of K configurations.

    Args:
        map_name: e.g. ``2s3z``.
        units: ``apos`` (K, N, 2), ``epos`` (K, E, 2) positions; ``ahp``, ``ehp`` health (0: dead); ``ash``, ``esh``
            shields; ``acd`` (K, N) weapon cooldowns in game loops; ``last_action`` (K, N), −1 for none; ``t`` (K,)
            steps since the start. ``aen`` (K, N) energy of healers. Missing shields, cooldowns, actions, times and
            energies are 0, 0, −1, 0 and 0.
        flags: SMAC's switches; None means its defaults.

    Returns:
        observations (K, N, O), state (K, S), legal_actions (K, N, A).

    Raises:
        UnknownName: no such map. SpecMismatch: missing arrays, wrong shapes, values that are not finite.
    """
    lay = layout(get_map(map_name), flags or Flags())
    world = _world(lay, units, places=True)
    k = len(world)
    last = _read(units, "last_action", (k, lay.n), -1.0).astype(np.int64)
    if ((last < -1) | (last >= lay.actions)).any():
        raise SpecMismatch(f"units['last_action'] has values outside −1 … {lay.actions - 1}")
    t = _read(units, "t", (k,), 0.0).astype(np.int64)
    obs = np.zeros((k, lay.n, lay.obs_size), np.float32)
    state = np.zeros((k, lay.state_size), np.float32)
    legal = np.zeros((k, lay.n, lay.actions), np.bool_)
    write_batch(lay.record, lay.grid, lay.look, world, last, t, obs, state, legal)
    return obs, state, legal


def battle_reward(map_name: str, before: Units, after: Units, flags: Flags | None = None) -> Float64[np.ndarray, " K"]:
    """SMAC's ``reward_battle`` for K transitions, before win bonus and scaling.

    Args:
        map_name: e.g. ``2s3z``.
        before: ``ahp ash ehp esh`` as in ``observe``; units dead here count no more.
        after: the same one step later.
        flags: SMAC's switches; None means its defaults.

    Raises:
        UnknownName: no such map. SpecMismatch: missing arrays or wrong shapes.
    """
    smac_map, switches = get_map(map_name), flags or Flags()
    lay = layout(smac_map, switches)
    row = rules(smac_map, switches)[0]
    was, now = np.zeros(lay.n + lay.e), np.zeros(lay.n + lay.e)
    out = []
    for old, new in zip(_world(lay, before, places=False), _world(lay, after, places=False), strict=True):
        total(old, was)
        total(new, now)
        out.append(battle(lay.n, row, was, now))
    return np.array(out)
