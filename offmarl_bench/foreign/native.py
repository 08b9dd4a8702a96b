"""Our own format, version 1, in the neutral view: from a file, or from columns that are in memory already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from offmarl_bench.foreign.view import Block, Layout, Recording, Remark, make_block, spans
from offmarl_bench.format.reader import read_dataset
from offmarl_bench.format.schema import UNKNOWN, Columns
from offmarl_bench.types import EnvSpec

FORMAT = "offmarl-bench"


def recording_of(
    spec: EnvSpec,
    columns: Columns,
    row_starts: Int64[np.ndarray, " E"],
    lengths: Int64[np.ndarray, " E"],
    metadata: Mapping[str, Any],
    path: str,
) -> Recording:
    """The view of columns in memory; nothing is copied where the episodes follow one another.

    Args:
        spec: the environment.
        columns: flat columns.
        row_starts: first row of each episode.
        lengths: steps of each episode.
        metadata: what the file says about itself.
        path: names the data in reports.
    """
    counts = lengths + 1
    rows = int(counts.sum())
    row_bytes = sum(c[:1].nbytes for c in columns.values())
    level, policy = columns["behavior_level"][row_starts], columns["behavior_policy"][row_starts]
    layout = Layout(
        format=FORMAT, path=path, n=spec.N, obs=spec.O, state=spec.S, actions=spec.A, discrete=spec.discrete, tail=1,
        episodes=len(lengths), rows=rows, raw_bytes=rows * row_bytes, horizon=spec.horizon,
        behaviour=bool((level != UNKNOWN).any() or (policy != UNKNOWN).any()), agents=spec.agents,
        obs_sizes=spec.obs_sizes, spec=spec, metadata=dict(metadata),
    )  # fmt: skip

    def read(_: list[Remark]) -> Iterator[Block]:
        for at, stop in spans(counts, row_bytes, path):
            first, many = row_starts[at:stop], counts[at:stop]
            which: Any = slice(int(first[0]), int(first[0] + many.sum()))
            if (first[1:] != first[:-1] + many[:-1]).any():
                which = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many) + np.repeat(first, many)
            c = {name: column[which] for name, column in columns.items()}
            terminated = np.append(c["is_terminal"][1:], False)
            yield make_block(
                at, lengths[at:stop], 1, obs=c["observations"], actions=c["actions"], rewards=c["rewards"],
                terminated=terminated, legal=c.get("legal_actions"), state=c["state"], columns=c,
            )  # fmt: skip

    return Recording(layout, read)


def read_native(path: Path) -> Recording:
    """A file of format version 1, whole in memory (see ``offmarl_bench.format.reader``).

    Raises:
        FormatError: not such a file, or damaged.
    """
    c = read_dataset(path)
    return recording_of(c.spec, c.columns, c.row_starts, c.lengths, c.metadata, str(path))
