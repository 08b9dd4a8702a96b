"""Leaderboard entries that never happened: every number is drawn from a seed, every name says that it is made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from leaderboard.bundle import EPISODES_TO_RANK, SEEDS_TO_RANK, Curves
from leaderboard.entries import DatasetScore, Entry
from leaderboard.verdict import DIFFERS, SELF_REPORTED, VERIFIED, Check, Verdict
from offmarl_bench.records import to_json

SMAC = tuple(f"smac/{m}" for m in ("2s_vs_1sc", "3s_vs_5z", "2s3z", "8m", "1c3s5z", "10m_vs_11m"))
MPE = ("mpe/CN_3ls3l", "mpe/CN_4ls4l", "mpe/PP_3p1p")
MAMUJOCO = ("mamujoco/HalfCheetah_2l", "mamujoco/Walker_2l")
EVERY = tuple(f"{m}/{q}-v1" for q in ("low", "medium") for m in (*SMAC, *MPE, *MAMUJOCO))
"""The 22 datasets of the paper."""
RANDOM, EXPERT = 2.0, 18.0
"""References of every made-up dataset."""


def made_up_curves(rng: np.random.Generator, points: int = 30) -> Curves:
    """Losses that fall and agreement that rises."""
    x = np.linspace(0, 1, points)
    return Curves(
        phases=("learn",) * points,
        updates=tuple(int(500 * (k + 1)) for k in range(points)),
        seconds=tuple(float(20 * (k + 1)) for k in range(points)),
        metrics={
            "loss": (np.exp(-3 * x) + 0.05 * rng.random(points)).round(4).tolist(),
            "agreement": (1 - np.exp(-2 * x) + 0.05 * rng.random(points)).round(4).tolist(),
        },
    )


def made_up_score(
    dataset: str = "smac/2s3z/low-v1",
    scores: Sequence[float] = (40.0, 41.0, 42.0, 43.0, 44.0),
    *,
    curves: bool = False,
    **changed: Any,
) -> DatasetScore:
    """One dataset, with these normalised scores."""
    n = len(scores)
    returns = tuple(RANDOM + (EXPERT - RANDOM) * x / 100 for x in scores)
    rng = np.random.default_rng(n)
    fields: dict[str, Any] = {
        "dataset": dataset,
        "env_id": dataset.rsplit("/", 1)[0],
        "dataset_hash": "991f83b72daaf2c6" * 4,
        "backend": "embedded-1" if dataset.startswith("smac") else "made-up-1",
        "seeds": tuple(range(n)),
        "episodes": EPISODES_TO_RANK,
        "greedy_means": returns,
        "stochastic_means": tuple(0.9 * x for x in returns),
        "win_rates": tuple(max(0.0, min(1.0, x / 120)) for x in scores),
        "stochastic_win_rates": (0.0,) * n,
        "normalised": tuple(float(x) for x in scores),
        "random_reference": RANDOM,
        "expert_reference": EXPERT,
        "behavior_mean": RANDOM + (0.15 if "/low" in dataset else 0.4) * (EXPERT - RANDOM),
        "budget": "paper",
        "updates": 15000,
        "train_seconds": (620.0,) * n,
        "config": {"learning_rate": 0.0005, "hidden": 64, "batch_size": 32},
        "command": f"offmarl-bench evaluate made-up --dataset {dataset} --seeds {n}",
        "commit": "65cd19ded23253e5f5d4082395a36ff0afb619c9",
        "policies": n,
        "curves": tuple(made_up_curves(rng) if curves else None for _ in range(n)),
        "learning": tuple(
            tuple((1500 * (k + 1), r * (1 - 0.6**k) + float(rng.normal(0, 0.3))) for k in range(10)) for r in returns
        )
        if curves
        else ((),) * n,
        "unranked": None if n >= SEEDS_TO_RANK else f"{n} of {SEEDS_TO_RANK} seeds",
    }
    return DatasetScore(**{**fields, **changed})


def made_up_verdict(state: str, datasets: Sequence[str]) -> Verdict:
    """A replay that found what the state says."""
    agrees = state != DIFFERS
    checks = tuple(
        to_json(
            Check(
                dataset=d, seed=None, play="greedy", measure="return", claimed=9.7, replayed=9.5 if agrees else 4.1,
                low=-0.6 if agrees else 3.9, high=1.0 if agrees else 7.3, agrees=agrees,
            )
        )
        for d in datasets
    )  # fmt: skip
    return Verdict(
        state=state, reason="the replay agrees" if agrees else "greedy return: claimed 9.7, replayed 4.1",
        date="2026-11-21", bundle="0" * 64, salt="0", error_rate=0.01, episodes=64, engine={"smac/2s3z": "embedded-1"},
        versions={}, commit="65cd19ded2", repeated={"episodes": 64, "same": 64}, checks=checks,
    )  # fmt: skip


def made_up_entry(
    name: str = "Made-up agent",
    scores: Sequence[DatasetScore] | None = None,
    *,
    state: str = SELF_REPORTED,
    **changed: Any,
) -> Entry:
    """One submission."""
    scores = tuple(scores if scores is not None else [made_up_score()])
    slug = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower()).strip("-") or "x"
    fields: dict[str, Any] = {
        "name": name,
        "slug": slug,
        "agent": "made_up",
        "preset": "default",
        "overrides": {},
        "config": {"learning_rate": 0.0005, "hidden": 64, "batch_size": 32},
        "description": "Invented for a test. No such agent was ever trained.",
        "authors": ("Nobody", "Somebody Else"),
        "url": "https://example.org/made-up",
        "created": "2026-11-20",
        "commit": "65cd19ded23253e5f5d4082395a36ff0afb619c9",
        "versions": {"python": "3.11.7", "torch": "2.13.0+cpu"},
        "deviations": ("The target network is updated every 200 updates instead of 100.",),
        "scores": scores,
        "bundle": "ab" * 32,
        "verdict": made_up_verdict(state, [s.dataset for s in scores]) if state != SELF_REPORTED else None,
    }
    return Entry(**{**fields, **changed})


def full_board(datasets: Sequence[str] = EVERY, agents: int = 8, *, curves: bool = True) -> list[Entry]:
    """Many invented agents on many datasets; among them one of three seeds, one with gaps and one that differs."""
    rng = np.random.default_rng(8)
    states = (VERIFIED, VERIFIED, SELF_REPORTED, VERIFIED, SELF_REPORTED, DIFFERS, VERIFIED, SELF_REPORTED)
    titles = ("Aurora", "Birch", "Cormorant", "Dune", "Ember", "Fjord", "Grove", "Heron")
    found = []
    for k in range(agents):
        level = 62 - 5.5 * (k % 9)
        seeds = 3 if k % 8 == 6 else 5
        covered = datasets[: len(datasets) // 2] if k % 8 == 4 and len(datasets) > 2 else datasets
        scores = []
        for dataset in covered:
            shift = rng.normal(0, 6) + (8 if "medium" in dataset else 0)
            scores.append(made_up_score(dataset, rng.normal(level + shift, 3.5, seeds).tolist(), curves=curves))
        name = f"{titles[k % 8]} (made up)" if k < 8 else f"{titles[k % 8]} {k} (made up)"
        state = states[k % 8]
        found.append(made_up_entry(name, scores, state=state, agent=titles[k % 8].lower()))
    return found
