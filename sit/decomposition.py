"""Stage I of finished runs against the ground truth of the data: credit by level, and what priorities tell apart."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.home import runs_dir
from offmarl_bench.loader import load_dataset
from offmarl_bench.runs import is_finished, load_agent
from sit.agent import SIT
from sit.diagnostics import decomposition, replay_metrics
from sit.dper import DPER

log = logging.getLogger(__name__)

MEASURES = ("rank_correlation", "auc", "auc_within", "best_share", "best_present", "priority_ess_share", "alpha")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposition:
    """What the runs on one dataset made of its reward."""

    dataset: str
    recipe: str | None
    credit: pd.DataFrame
    """Mean decomposed return an episode, by (agent, level); one column for each run."""
    measures: pd.DataFrame
    """Priorities against levels, see ``diagnostics.replay_metrics``; one column for each run."""

    def to_json(self) -> dict[str, Any]:
        """Plain values: for each run what each agent got at each level, and the measures."""
        return {
            "dataset": self.dataset,
            "recipe": self.recipe,
            "credit": self.credit.reset_index().to_dict("records"),
            "measures": self.measures.rename_axis("measure").reset_index().to_dict("records"),
        }

    def to_markdown(self) -> str:
        """Both tables, with mean and standard deviation over runs."""
        return (
            f"## {self.dataset}\n\nRecipe `{self.recipe}`; {self.credit.shape[1]} runs.\n\n"
            f"Mean decomposed return per episode:\n\n{_markdown(self.credit, ['agent', 'level'])}\n\n"
            f"Priorities against the known levels:\n\n{_markdown(self.measures, ['measure'])}\n"
        )


def sit_runs(dataset_id: str) -> list[Path]:
    """Folders of all finished runs of the default preset on a dataset."""
    return sorted(p for p in (runs_dir() / dataset_id).glob("sit@default/*/seed-*") if is_finished(p))


def decompositions(name: str) -> Decomposition:
    """Look at every finished run of ``sit`` on a dataset.

    Raises:
        FormatError: no such run, or a damaged one.
    """
    dataset = load_dataset(name)
    full = str(dataset.metadata.get("dataset_id"))
    credits, measures = {}, {}
    for folder in sit_runs(full):
        try:
            agent = load_agent(folder)
        except OffmarlError as e:
            log.warning("left out, %s is of another version: %s", folder, e)
            continue
        if not isinstance(agent, SIT):
            raise FormatError(f"{folder} holds a {type(agent).__name__}, expected SIT; delete the folder")
        column = f"{folder.parent.name}/{folder.name}"  # runs of several settings may lie side by side
        credits[column] = decomposition(agent, dataset).set_index(["agent", "level"])["credit"]
        replay = DPER(dataset, agent.config)
        agent.complete(dataset, replay)
        measures[column] = pd.Series(replay_metrics(replay), dtype=float)
    if not credits:
        raise FormatError(f"no usable run of sit on {full}: run `offmarl-bench evaluate sit --dataset {name}` first")
    measured = pd.DataFrame(measures)
    return Decomposition(
        dataset=full,
        recipe=dataset.metadata.get("recipe"),
        credit=pd.DataFrame(credits),
        measures=measured[[key.rpartition("/")[2] in MEASURES for key in measured.index]],
    )


def _markdown(frame: pd.DataFrame, index: list[str]) -> str:
    rows = ["| " + " | ".join([*index, *map(str, frame.columns), "mean", "std"]) + " |"]
    rows.append("|" + "---|" * (len(index) + len(frame.columns) + 2))
    for key, values in frame.iterrows():
        names = key if isinstance(key, tuple) else (key,)
        spread = values.std(ddof=1) if len(values) > 1 else np.nan
        cells = [f"{v:.2f}" for v in [*values, values.mean(), spread]]
        rows.append("| " + " | ".join([*map(str, names), *cells]) + " |")
    return "\n".join(rows)
