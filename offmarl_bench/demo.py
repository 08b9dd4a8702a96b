"""The whole way on a small budget: generate, train, evaluate, report. What ``offmarl-bench demo`` runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from offmarl_bench.budget import Budget
from offmarl_bench.evaluation import benchmark
from offmarl_bench.generate import generate
from offmarl_bench.results import Result

log = logging.getLogger(__name__)

EPISODES = 1000
"""Episodes of the demo's dataset; the paper's have ten times as many."""
SEEDS = 2
"""Training seeds: enough to show a spread, too few to rank anything."""


def demo(
    agents: Sequence[str],
    *,
    env_id: str = "smac/2s3z",
    quality: str = "low",
    episodes: int = EPISODES,
    seeds: int = SEEDS,
    budget: Budget = "quick",
    workers: int = 1,
    device: str = "cpu",
) -> list[Result]:
    """Generate a small dataset under ``$OFFMARL_HOME``, train and score the agents on it.

    Interrupted and started again it goes on where it was. Everything is stored as ``generate`` and ``evaluate``
    would, so give it a home of its own: the dataset has the name of a large one.

    Raises:
        UnknownName, OffmarlError: as ``generate`` and ``benchmark``.
    """
    log.info("1/2  generating %s/%s, %d episodes", env_id, quality, episodes)
    path = generate(env_id, quality=quality, episodes=episodes, workers=workers, overwrite=True)
    log.info("2/2  training %s, %d seeds each (budget %s), and playing", ", ".join(agents), seeds, budget)
    return benchmark(agents, [str(path)], seeds=seeds, budget=budget, workers=workers, device=device)
