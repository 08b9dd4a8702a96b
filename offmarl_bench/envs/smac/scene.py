"""What a battle looks like: units with health and shields, whom they attack, where they may walk."""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped

from offmarl_bench.envs.scene import Body, Scene
from offmarl_bench.envs.smac.maps import SmacMap
from offmarl_bench.envs.smac.tables import Tables
from offmarl_bench.envs.smac.units import UNITS


def draw(smac_map: SmacMap, tables: Tables, names: tuple[str, ...], units: Shaped[np.ndarray, " U"]) -> Scene:
    """One lane as a scene.

    Args:
        smac_map: the map.
        tables: its numbers.
        names: the agents' names.
        units: the lane, records of ``combat.UNIT``, allies first.
    """
    letters = [UNITS[u].letter for u in smac_map.allies + smac_map.enemies]
    bodies = []
    for k, (unit, kind) in enumerate(zip(units, tables.kinds, strict=True)):
        ours, target = k < tables.n, int(unit["target"])
        alive = bool(unit["hp"] > 0)
        bodies.append(
            Body(
                x=float(unit["x"]), y=float(unit["y"]), radius=float(kind["radius"]),
                role="agent" if ours else "other", kind="" if ours else "enemy", name=names[k] if ours else letters[k],
                agent=k if ours else None, health=max(float(unit["hp"] / kind["hp_max"]), 0.0),
                shield=max(float(unit["sh"] / kind["sh_max"]), 0.0) if kind["sh_max"] > 0 else None,
                aims_at=target if alive and target >= 0 and units[target]["hp"] > 0 else None, present=alive,
            )
        )  # fmt: skip
    left = [sum(b.present for b in bodies if (b.role == "agent") == ours) for ours in (True, False)]
    ground = tuple((float(x0), float(y0), x1 + 1.0, y1 + 1.0) for x0, x1, y0, y1 in smac_map.walkable)
    return Scene(bodies=tuple(bodies), ground=ground, caption=f"{left[0]} against {left[1]}")
