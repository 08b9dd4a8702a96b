"""Results in the JSON layout that marl-eval (Gorsane et al. 2022, arXiv:2209.10485) reads, for its plots and tables.

``{environment: {task: {algorithm: {run: {step_k: {...}, absolute_metrics: {...}}}}}}``: the environment is our suite, a
task is a dataset, a step is a point of the learning curve. Their tools forbid commas in names, and want every run of a
task to have the same steps; agents with curves of different length are cut by them to the shortest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from offmarl_bench.envs import split_id
from offmarl_bench.errors import FormatError
from offmarl_bench.results import Result

METRIC = "mean_episode_return"
WINS = "win_rate"


def name_of(result: Result) -> str:
    """An algorithm's name: agent, preset unless it is the default, overrides."""
    preset = [] if result.preset == "default" else [result.preset]
    parts = [result.agent, *preset, *(f"{k}={v}" for k, v in sorted(result.overrides.items()))]
    return " ".join(parts).replace(",", ";")


def run_of(result: Result) -> dict[str, Any]:
    """One seed: its curve as steps, its final evaluation as the absolute metrics."""
    steps: dict[str, Any] = {
        f"step_{k}": {"step_count": updates, METRIC: [mean]} for k, (updates, mean) in enumerate(result.curve)
    }
    final: dict[str, list[float]] = {METRIC: list(result.greedy_returns or result.stochastic_returns)}
    if result.greedy_win_rate is not None:
        final[WINS] = [result.greedy_win_rate]
    return steps | {"absolute_metrics": final}


def to_marl_eval(results: Iterable[Result]) -> str:
    """The JSON document for these results; those without a dataset are left out.

    Raises:
        FormatError: there is no result to export, or two results of one run and seed.
    """
    found: dict[str, Any] = {}
    for r in results:
        if r.dataset is None:
            continue
        runs = found.setdefault(split_id(r.env_id)[0], {}).setdefault(r.dataset.replace(",", ";"), {})
        seeds = runs.setdefault(name_of(r), {})
        if str(r.seed) in seeds:
            raise FormatError(
                f"{name_of(r)} on {r.dataset}, seed {r.seed}: there are two runs with different budgets or data; "
                "name one with --dataset, or move the other out of the results folder"
            )
        seeds[str(r.seed)] = run_of(r)
    if not found:
        raise FormatError("no results to export: run `offmarl-bench evaluate AGENT --dataset DATASET` first")
    return json.dumps(found, indent=1, sort_keys=True) + "\n"
