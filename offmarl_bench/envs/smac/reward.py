"""SMAC's reward: damage and kills, the win, the scale. A positive part is taken as an absolute value, so shields
and health that enemies regenerate pay as well; returns above 20 are real.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped

from offmarl_bench.envs.smac.compiled import compiled
from offmarl_bench.envs.smac.layout import Flags, max_reward
from offmarl_bench.envs.smac.maps import SmacMap

WON, LOST, DRAW, ONGOING = 1, -1, 0, 2
RULES = np.dtype(
    [
        ("only_positive", "b1"),
        ("negative_scale", "f8"),
        ("death_value", "f8"),
        ("win", "f8"),
        ("defeat", "f8"),
        ("scale", "f8"),  # what the sum is divided by
        ("sparse", "b1"),
    ]
)


def rules(smac_map: SmacMap, flags: Flags) -> Shaped[np.ndarray, " 1"]:
    """The reward's switches for the compiled code; a sparse reward is never scaled."""
    scaled = flags.reward_scale and not flags.reward_sparse
    scale = max_reward(smac_map, flags) / flags.reward_scale_rate if scaled else 1.0
    row = (flags.reward_only_positive, flags.reward_negative_scale, flags.reward_death_value, flags.reward_win,
           flags.reward_defeat, scale, flags.reward_sparse)  # fmt: skip
    return np.array([row], RULES)


@compiled
def total(w, out):  # type: ignore[no-untyped-def]
    """Health plus shield of every unit (U,); 0 for the dead, whatever shield they had."""
    for u in range(len(w)):
        out[u] = w[u].hp + w[u].sh if w[u].hp > 0 else 0.0


@compiled
def battle(n, rules, before, now):  # type: ignore[no-untyped-def]
    """``reward_battle`` of one lane from ``total`` before and now.

    Units already dead before count no more. Damage to allies matters only if ``only_positive`` is off.
    """
    if rules.sparse:
        return 0.0
    ally, enemy, deaths = 0.0, 0.0, 0.0
    for u in range(len(before)):
        if before[u] <= 0:
            continue
        lost = before[u] - now[u]
        if u < n:
            ally += lost * rules.negative_scale
            if now[u] <= 0 and not rules.only_positive:
                deaths -= rules.death_value * rules.negative_scale
        else:
            enemy += lost
            if now[u] <= 0:
                deaths += rules.death_value
    return abs(enemy + deaths) if rules.only_positive else enemy + deaths - ally


@compiled
def outcome(kinds, n, w):  # type: ignore[no-untyped-def]
    """WON, LOST, DRAW (both sides dead) or ONGOING.

    SMAC's rules for teams with a healer: allies of whom only healers are left have lost, even if no enemy is; a last
    enemy that is a healer counts as none.
    """
    allies, enemies, fighters, enemy_fighters, healers = 0, 0, 0, 0, 0
    for u in range(len(w)):
        heals = kinds[u].heal > 0
        if u < n and heals:
            healers += 1
        if w[u].hp > 0:
            if u < n:
                allies += 1
                fighters += not heals
            else:
                enemies += 1
                enemy_fighters += not heals
    if healers > 0 and fighters == 0:
        return LOST
    if allies > 0:
        return WON if enemies == 0 or (enemies == 1 and enemy_fighters == 0) else ONGOING
    return LOST if enemies > 0 else DRAW
