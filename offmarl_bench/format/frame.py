"""A dataset as a pandas table: one line per row of the file, one column per number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from offmarl_bench.format.schema import Columns
from offmarl_bench.types import EnvSpec

if TYPE_CHECKING:
    import pandas as pd

SCALARS = ("episode_id", "timestep", "rewards", "is_first", "is_last", "is_terminal")
PER_AGENT = ("actions", "behavior_level", "behavior_policy", "behavior_logprob")


def to_frame(
    spec: EnvSpec,
    columns: Columns,
    first: Int64[np.ndarray, " E"],
    lengths: Int64[np.ndarray, " E"],
    observations: bool,
) -> pd.DataFrame:
    """The rows of these episodes.

    Args:
        spec: the environment.
        columns: flat columns.
        first: first row of each episode.
        lengths: steps of each episode.
        observations: also a column for each number of the state, the observations and the legal actions.
    """
    counts = lengths + 1
    rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    table = {name: columns[name][rows] for name in SCALARS}
    names = PER_AGENT + (("observations", "legal_actions") if observations else ())
    for name in [n for n in names if n in columns]:
        taken = columns[name][rows]
        for i, agent in enumerate(spec.agents):
            if taken.ndim == 2:
                table[f"{name}.{agent}"] = taken[:, i]
            else:
                table |= {f"{name}.{agent}.{k}": taken[:, i, k] for k in range(taken.shape[2])}
    if observations:
        state = columns["state"][rows]
        table |= {f"state.{k}": state[:, k] for k in range(spec.S)}
    import pandas as pd  # half a second that programs without tables need not spend

    return pd.DataFrame(table)
