"""What SIT's stage I made of the team reward: do the agents that were played badly get less? (The paper's Fig. 3d.)

    python benchmarks/decomposition.py smac/2s3z/low smac/2s3z/medium

Takes every finished run of ``sit`` on the named datasets under ``$OFFMARL_HOME`` and prints Markdown tables: the mean
decomposed return of each agent by behaviour level, and how well priorities tell the levels apart.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from offmarl_bench.home import runs_dir
from offmarl_bench.loader import Dataset, load_dataset
from offmarl_bench.runs import is_finished, load_agent
from sit.agent import SIT
from sit.diagnostics import decomposition, replay_metrics
from sit.dper import DPER

MEASURES = ("rank_correlation", "auc", "auc_within", "best_share", "best_present", "priority_ess_share", "alpha")


def sit_runs(dataset_id: str) -> list[Path]:
    """Folders of all finished runs of the default preset on a dataset."""
    return sorted(p for p in (runs_dir() / dataset_id).glob("sit@default/*/seed-*") if is_finished(p))


def tables(dataset: Dataset, folders: list[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Credit per (agent, level) and measures per type, one column per run."""
    credits, measures = {}, {}
    for folder in folders:
        agent = load_agent(folder)
        if not isinstance(agent, SIT):
            raise TypeError(f"{folder} holds a {type(agent).__name__}, expected SIT")
        credits[folder.name] = decomposition(agent, dataset).set_index(["agent", "level"])["credit"]
        replay = DPER(dataset, agent.config)
        agent.complete(dataset, replay)
        measures[folder.name] = pd.Series(replay_metrics(replay))
    return pd.DataFrame(credits), pd.DataFrame(measures)


def markdown(frame: pd.DataFrame, index: list[str]) -> str:
    """A table with the mean and the standard deviation over runs as last columns."""
    rows = ["| " + " | ".join([*index, *map(str, frame.columns), "mean", "std"]) + " |"]
    rows.append("|" + "---|" * (len(index) + len(frame.columns) + 2))
    for key, values in frame.iterrows():
        names = key if isinstance(key, tuple) else (key,)
        spread = values.std(ddof=1) if len(values) > 1 else np.nan
        cells = [f"{v:.2f}" for v in [*values, values.mean(), spread]]
        rows.append("| " + " | ".join([*map(str, names), *cells]) + " |")
    return "\n".join(rows)


def main(datasets: list[str]) -> None:
    """Print the tables of every named dataset."""
    for name in datasets:
        dataset = load_dataset(name)
        full = str(dataset.metadata["dataset_id"])
        folders = sit_runs(full)
        if not folders:
            sys.exit(f"no finished run of sit on {full}: offmarl-bench evaluate sit --dataset {name}")
        credit, measured = tables(dataset, folders)
        kept = measured[[key.rpartition("/")[2] in MEASURES for key in measured.index]]
        print(f"## {full}\n\nRecipe `{dataset.metadata['recipe']}`; {len(folders)} runs.\n")
        print(f"Mean decomposed return per episode:\n\n{markdown(credit, ['agent', 'level'])}\n")
        print(f"Priorities against the known levels:\n\n{markdown(kept, ['measure'])}\n")


if __name__ == "__main__":
    main(sys.argv[1:] or ["smac/2s3z/low"])
