"""Individual trajectories exchanged at random among agents of one type: the alternative that the paper's Fig. 1f tries.

In every episode the agents of a type swap their observations, actions and legal actions (and the truth about who
played); state and team reward stay. Any agent then learns from the good ones too, but in no other share than before.
"""

from __future__ import annotations

import numpy as np

from offmarl_bench.format.derived import derived_metadata
from offmarl_bench.format.summary import summarise_episodes
from offmarl_bench.loader import Dataset
from offmarl_bench.seeding import generator

OF_AGENTS = ("observations", "actions", "legal_actions", "behavior_level", "behavior_policy", "behavior_logprob")
"""Columns with one entry an agent."""


def exchange_agents(dataset: Dataset, seed: int = 0) -> Dataset:
    """A copy in which every episode's agents have changed places within their types.

    Args:
        dataset: where from; all of its rows are copied.
        seed: of the permutations.
    """
    spec, g = dataset.spec, generator(seed, "subsample", 1)
    order = np.tile(np.arange(spec.N), (len(dataset), 1))
    kinds = np.array(spec.type_index)
    for kind in range(len(spec.types)):
        agents = np.flatnonzero(kinds == kind)
        order[:, agents] = g.permuted(order[:, agents], axis=1)
    rows = len(dataset.columns["rewards"])
    by_row = np.tile(np.arange(spec.N), (rows, 1))
    for start, length, own in zip(dataset.row_starts.tolist(), dataset.lengths.tolist(), order, strict=True):
        by_row[start : start + length + 1] = own
    columns = dict(dataset.columns)
    for name in OF_AGENTS:
        if name in columns:
            index = by_row.reshape(by_row.shape + (1,) * (columns[name].ndim - 2))
            columns[name] = np.take_along_axis(columns[name][:], index, axis=1)
    found = Dataset(spec, columns, dataset.row_starts, dataset.lengths, returns=dataset.returns)
    found.metadata = derived_metadata(
        "exchange", {"seed": seed}, [dataset.metadata],
        summarise_episodes(found.spec, found.returns, found.lengths, found.levels), None,
    )  # fmt: skip
    return found
