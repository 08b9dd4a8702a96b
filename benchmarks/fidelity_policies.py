"""Policies whose results on the real game are published, played on the embedded engine: SMAC's script, trained QMIX.

Used by ``fidelity.py``. The script is that of ``heuristic_ai`` in the genuine package: everybody attacks the nearest
enemy until it is dead, medivacs heal the nearest hurt comrade. Its orders are not bound by the agents' reach of six
cells (the unit walks there), which an agent's action is; a second form that keeps to legal actions walks there itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int

from offmarl_bench.envs.smac.env import SmacEnv
from offmarl_bench.envs.smac.maps import MAPS
from offmarl_bench.envs.smac.units import UNITS
from offmarl_bench.errors import OffmarlError
from offmarl_bench.pool import load_pool
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds

REAL_QMIX = {
    "3m": (19.9, 99, 22.0),
    "8m": (19.85, 98, 25.7),
    "2s3z": (19.87, 97, 45.9),
    "5m_vs_6m": (16.7, 66, 29.2),
    "1c3s5z": (19.95, 97.5, 48.8),
    "2s_vs_1sc": (20.13, 98.7, 41.6),
    "3s_vs_5z": (20.5, 74, 159.0),
}
"""Return, per cent won and length of QMIX on the real game, means of public training logs' tests after 1.7 to 2.1
million steps."""
REAL_SCRIPT = {
    "2s_vs_1sc": 0,
    "2s3z": 90,
    "3s5z": 42,
    "1c3s5z": 81,
    "10m_vs_11m": 12,
    "2c_vs_64zg": 0,
    "5m_vs_6m": 0,
    "3s_vs_5z": 0,
}
"""Median per cent won by the script on the real game, in the SMAC paper (arXiv:1902.04043) as we remember its table."""

NOOP, STOP, NORTH, SOUTH, EAST, WEST, ATTACK = range(7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """Returns, wins and lengths of some episodes."""

    returns: Float64[np.ndarray, " B"]
    won: Bool[np.ndarray, " B"]
    lengths: Int[np.ndarray, " B"]

    def cell(self) -> str:
        """Return, share won and length in the words of a table."""
        return f"{self.returns.mean():.2f} / {100 * self.won.mean():.0f} % / {self.lengths.mean():.1f}"


class Unbound(SmacEnv):
    """The same battles, in which an attack may be ordered at any distance, as SMAC's script orders it."""

    def _check(self, actions: Int[np.ndarray, "B N"]) -> None:
        """Anything goes."""


class Script:
    """SMAC's scripted heuristic for all lanes; remembers whom each agent is after."""

    def __init__(self, env: SmacEnv, lanes: int, *, keeps_to_legal: bool) -> None:
        self.env, self.keeps_to_legal = env, keeps_to_legal
        self.heals = np.array([UNITS[unit].heal > 0 for unit in MAPS[env.spec.id.split("/")[1]].allies])
        self.whole = env.units()["ahp"]
        """Health of each ally at the start, (B, N)."""
        self.target = np.full((lanes, env.spec.N), -1)

    def act(self, legal: Bool[np.ndarray, "B N A"]) -> Int[np.ndarray, "B N"]:
        """Everybody's next action; those with no choice get it."""
        units = self.env.units()
        me, foes = units["apos"], units["epos"]
        hurt = (units["ahp"] > 0) & (units["ahp"] < self.whole) & ~self.heals
        alive = units["ehp"] > 0
        chosen = np.full(legal.shape[:2], STOP)
        for i in range(self.env.spec.N):
            friends = bool(self.heals[i])
            where, good = (me, hurt) if friends else (foes, alive)
            far = np.where(good, np.linalg.norm(where - me[:, i : i + 1], axis=-1), np.inf)
            lanes = np.arange(len(far))
            old = self.target[:, i]
            keep = (old >= 0) & good[lanes, old]
            self.target[:, i] = np.where(keep, old, np.where(good.any(1), far.argmin(1), -1))
            target = self.target[:, i]
            attack = target + ATTACK
            walk = _towards(where[lanes, target] - me[:, i], legal[:, i])
            can = legal[lanes, i, np.minimum(attack, legal.shape[2] - 1)] | (not self.keeps_to_legal)
            chosen[:, i] = np.where(target < 0, STOP, np.where(can, attack, walk))
        dead = legal[:, :, NOOP]
        chosen = np.where(dead, NOOP, chosen)
        return np.where(~dead & (chosen == STOP) & ~legal[:, :, STOP], legal.argmax(-1), chosen)


def _towards(way: Float64[np.ndarray, "B 2"], legal: Bool[np.ndarray, "B A"]) -> Int[np.ndarray, " B"]:
    """A legal step along the longer axis, else along the other, else staying."""
    x = np.where(way[:, 0] > 0, EAST, WEST)
    y = np.where(way[:, 1] > 0, NORTH, SOUTH)
    longer = np.abs(way[:, 0]) > np.abs(way[:, 1])
    first, second = np.where(longer, x, y), np.where(longer, y, x)
    lanes = np.arange(len(way))
    return np.where(legal[lanes, first], first, np.where(legal[lanes, second], second, STOP))


def scripted(map_name: str, episodes: int, *, keeps_to_legal: bool) -> Played:
    """The script's episodes on one map."""
    env = (SmacEnv if keeps_to_legal else Unbound)(MAPS[map_name], episodes)
    legal = env.reset(episode_seeds(0, "reference", 1, episodes)).legal
    script = Script(env, episodes, keeps_to_legal=keeps_to_legal)
    returns, lengths, done = np.zeros(episodes), np.zeros(episodes, int), np.zeros(episodes, bool)
    while not done.all() and legal is not None:
        step = env.step(script.act(legal))
        returns += step.reward
        lengths += ~done
        legal, done = step.legal, step.terminated | step.truncated
    return Played(returns=returns, won=step.info["battle_won"], lengths=lengths)


def row(map_name: str, episodes: int) -> str:
    """One map's line: script and QMIX, on the real game and here."""
    free, bound = (scripted(map_name, episodes, keeps_to_legal=legal) for legal in (False, True))
    best = trained(map_name, episodes)
    published, real = REAL_SCRIPT.get(map_name), REAL_QMIX.get(map_name)
    cells = [
        map_name, "–" if published is None else f"{published} %", free.cell(), bound.cell(),
        "–" if real is None else f"{real[0]:.2f} / {real[1]:.0f} % / {real[2]:.1f}",
        "no pool yet" if best is None else best.cell(),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def trained(map_name: str, episodes: int) -> Played | None:
    """Greedy play of the best member of the shipped pool; None where none is shipped."""
    try:
        pool = load_pool(f"smac/{map_name}")
    except OffmarlError:
        return None
    best = int(np.argmax([m.return_mean for m in pool.members]))
    env = SmacEnv(MAPS[map_name], episodes)
    policy = pool.policy(np.full((episodes, env.spec.N), best)).exploring(0.0)
    played = rollout(env, policy, episode_seeds(0, "reference", 2, episodes), np.random.default_rng(0))
    return Played(returns=played.returns, won=played.info["battle_won"], lengths=played.lengths)
