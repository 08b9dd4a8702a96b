"""SMAC's reward: damage and kills, the win, the scale. A positive part is taken as an absolute value, so shields
and health that enemies regenerate pay as well; returns above 20 are real.
"""

from __future__ import annotations

import math

from numba import njit


@njit(cache=True)
def battle(n, before, now, only_positive, negative_scale, death_value):  # type: ignore[no-untyped-def]
    """``reward_battle`` of one lane: health + shield (U,) before and now; 0 or less now means dead.

    Units already dead before count no more. Damage to allies matters only if ``only_positive`` is off.
    """
    ally, enemy, deaths = 0.0, 0.0, 0.0
    for u in range(before.shape[0]):
        if before[u] <= 0:
            continue
        lost = before[u] - max(now[u], 0.0)
        if u < n:
            ally += lost * negative_scale
            if now[u] <= 0 and not only_positive:
                deaths -= death_value * negative_scale
        else:
            enemy += lost
            if now[u] <= 0:
                deaths += death_value
    return abs(enemy + deaths) if only_positive else enemy + deaths - ally


@njit(cache=True)
def outcome(n, hp):  # type: ignore[no-untyped-def]
    """1 won, −1 lost, 0 both sides dead, 2 the battle goes on. hp (U,)."""
    allies, enemies = 0, 0
    for u in range(hp.shape[0]):
        if hp[u] > 0:
            if u < n:
                allies += 1
            else:
                enemies += 1
    if allies > 0:
        return 1 if enemies == 0 else 2
    return -1 if enemies > 0 else 0


def scale(reward: float, maximum: float, rate: float) -> float:
    """SMAC's last step: divide so that a flawless win is worth ``rate``."""
    return reward / (maximum / rate) if maximum > 0 and math.isfinite(reward) else reward
