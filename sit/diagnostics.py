"""Did stages I and II find the good trajectories? Measures that use the known behaviour levels: to log, never to learn.

A dataset without levels gets the other measures only.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float64, Shaped

from offmarl_bench.loader import Dataset
from offmarl_bench.types import LEVELS
from sit.dper import DPER, TypeBuffer, effective_sample

if TYPE_CHECKING:
    from sit.agent import SIT

log = logging.getLogger(__name__)

TOP = 10
"""How many of the likeliest trajectories ``top10_mass`` sums up."""
BLIND = 0.5
"""AUC of a stage I that knows nothing; below, it prefers the worse trajectories."""
MARGIN = 0.05
"""An AUC no further than this from blind is called so, on either side."""


def auc(score: Float64[np.ndarray, " K"], level: Shaped[np.ndarray, " K"]) -> float | None:
    """Probability that of two trajectories of different level the better one has the greater score (ties: half).

    From rank sums, pair of levels by pair of levels, weighted by the number of pairs. Levels below 0 (unknown) are left
    out; None if fewer than two levels remain.
    """
    known = [score[level == k] for k in np.unique(level[level >= 0])]
    won = pairs = 0.0
    for at, low in enumerate(known):
        for high in known[at + 1 :]:
            ranks = pd.Series(np.concatenate([high, low])).rank().to_numpy()[: len(high)]
            won += float(ranks.sum()) - len(high) * (len(high) + 1) / 2
            pairs += len(high) * len(low)
    return won / pairs if pairs else None


def auc_within(score: Float64[np.ndarray, "E J"], level: Shaped[np.ndarray, "E J"]) -> float | None:
    """The same among teammates in one episode: blind to which episodes were good, it measures the credit alone."""
    won = pairs = 0.0
    for a, b in itertools.permutations(range(score.shape[1]), 2):
        better = (level[:, a] > level[:, b]) & (level[:, b] >= 0)
        won += float(((score[:, a] > score[:, b])[better] + 0.5 * (score[:, a] == score[:, b])[better]).sum())
        pairs += int(better.sum())
    return won / pairs if pairs else None


def rank_correlation(score: Float64[np.ndarray, " K"], level: Shaped[np.ndarray, " K"]) -> float | None:
    """Spearman's rank correlation (mean ranks for ties) of scores with known levels; None where either never varies."""
    known = level >= 0
    ranks = [pd.Series(x[known]).rank() for x in (score, level)]
    if any(r.nunique() < 2 for r in ranks):
        return None
    return float(ranks[0].corr(ranks[1]))


def levels_of(replay: DPER, buffer: TypeBuffer) -> Shaped[np.ndarray, " K"]:
    """Behaviour level of every trajectory of a buffer (−1: unknown), in the buffer's order."""
    return replay.dataset.levels[:, buffer.agents].ravel()


def replay_metrics(replay: DPER) -> dict[str, float]:
    """Per type: α, effective sample size (count, share), mass of the top 10; with known levels AUC and best level.

    ``rank_correlation`` (of priorities with levels) and ``auc`` are over all trajectories, ``auc_within`` over
    teammates of one episode. ``best_share`` is how much of what is drawn was played at the best level in the buffer,
    ``best_present`` how much of the buffer was.
    """
    out: dict[str, float] = {}
    for buffer in replay.buffers:
        p, level = buffer.probability, levels_of(replay, buffer)
        count = effective_sample(p)
        out |= {
            f"{buffer.name}/priority_ess": count,
            f"{buffer.name}/priority_ess_share": count / len(p),
            f"{buffer.name}/top{TOP}_mass": float(np.sort(p)[-TOP:].sum()),
        }
        if np.isfinite(buffer.alpha):
            out[f"{buffer.name}/alpha"] = buffer.alpha
        shape = (-1, len(buffer.agents))
        within = auc_within(buffer.priority.reshape(shape), level.reshape(shape))
        if within is not None:
            out[f"{buffer.name}/auc_within"] = within
        correlated = rank_correlation(buffer.priority, level)
        if correlated is not None:
            out[f"{buffer.name}/rank_correlation"] = correlated
        separated = auc(buffer.priority, level)
        if separated is not None:
            best = level == level.max()
            out |= {
                f"{buffer.name}/auc": separated,
                f"{buffer.name}/best_share": float(p[best].sum()),
                f"{buffer.name}/best_present": float(best.mean()),
            }
    return out


def warn_if_inverted(metrics: Mapping[str, object]) -> None:
    """Warn about types whose better trajectories got the lower priorities, or none that tell them apart."""
    for name, value in metrics.items():
        if not name.endswith("/auc") or not isinstance(value, float) or value >= BLIND + MARGIN:
            continue
        blind = value >= BLIND - MARGIN
        log.warning(
            "type %s: %s (AUC %.2f, blind is 0.5)%s; train it longer, or with standardise_reward (docs/sit.md: cases "
            "where neither helps)",
            name.partition("/")[0],
            "priorities hardly tell better trajectories from worse"
            if blind
            else "better trajectories get LOWER priorities",
            value,
            "" if blind else ": stage I is inverted",
        )


def decomposition(agent: SIT, dataset: Dataset) -> pd.DataFrame:
    """Mean decomposed reward per agent and behaviour level (Figure 3a, 3d): do the worse agents get less?

    Args:
        agent: a SIT whose stage I has been trained.
        dataset: what to decompose.

    Returns:
        One row per agent and level present (level "unknown" where the data does not say): ``reward`` (mean r̂ per
        living step), ``credit`` (mean sum of r̂ per episode), ``priority`` (mean unscaled p̂), ``episodes``.
    """
    replay = DPER(dataset, agent.config)
    agent.complete(dataset, replay)
    episode = np.repeat(np.arange(len(dataset)), dataset.lengths)
    rows = []
    for i, name in enumerate(dataset.spec.agents):
        credit = np.bincount(episode, replay.reward[:, i], len(dataset))
        steps = np.bincount(episode, replay.present[:, i], len(dataset))
        alive = np.bincount(episode, replay.reward[:, i] * replay.present[:, i], len(dataset))
        for level in np.unique(dataset.levels[:, i]):
            chosen = dataset.levels[:, i] == level
            rows.append(
                {
                    "agent": name,
                    "level": LEVELS[level] if level >= 0 else "unknown",
                    "reward": alive[chosen].sum() / max(steps[chosen].sum(), 1.0),
                    "credit": credit[chosen].mean(),
                    "priority": replay.raw_priority[chosen, i].mean(),
                    "episodes": int(chosen.sum()),
                }
            )
    return pd.DataFrame(rows)
