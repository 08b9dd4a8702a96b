"""``README.md`` of a dataset repository: what the Hub and ``datasets`` read (YAML), then what people read.

With the YAML, ``datasets.load_dataset("ORG/smac-2s3z", "low")`` needs no script of ours, knows all columns before it
has read anything, and streams. One config per quality; which version a config means is decided by the revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offmarl_bench.format.schema import Column, columns_of
from offmarl_bench.hub.listing import NAME, HubEntry
from offmarl_bench.hub.place import SCHEME, endpoint
from offmarl_bench.types import EnvSpec

SPLIT = "train"
"""Offline data has one split; ``datasets`` wants it named."""
FIRST = "low"
"""The config that is meant where none is named, if it is there."""
TAGS = ("offline-reinforcement-learning", "multi-agent-reinforcement-learning", "offmarl-bench")
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")
"""The Hub's size categories, by rows: each ten times the one before."""
SMALLEST = 1000
DTYPES = {"<f4": "float32", "<i4": "int32", "<i2": "int16", "|i1": "int8", "|b1": "bool"}
DIGITS = 12
"""Digits of a hash that are shown."""


def _feature(column: Column) -> dict[str, Any]:
    """One column in the words of ``datasets``: a value, a list of known length, or an array."""
    dtype = DTYPES[column.dtype.str]
    if not column.shape:
        return {"name": column.name, "dtype": dtype}
    if len(column.shape) == 1:
        return {"name": column.name, "list": dtype, "length": column.shape[0]}
    array = {f"array{len(column.shape)}_d": {"shape": list(column.shape), "dtype": dtype}}
    return {"name": column.name, "dtype": array}


def features(spec: EnvSpec) -> list[dict[str, Any]]:
    """All columns of a dataset of this environment, as ``dataset_info.features`` has them."""
    return [_feature(c) for c in columns_of(spec)]


def size_category(rows: int) -> str:
    """The Hub's category for so many rows."""
    k, bound = 0, SMALLEST
    while rows >= bound and k + 1 < len(SIZES):
        k, bound = k + 1, bound * 10
    return SIZES[k]


def _info(quality: str, entry: HubEntry) -> dict[str, Any]:
    raw = entry.rows * sum(c.row_bytes for c in columns_of(entry.env))
    return {
        "config_name": quality,
        "features": features(entry.env),
        "splits": [{"name": SPLIT, "num_bytes": raw, "num_examples": entry.rows}],
        "download_size": entry.size,
        "dataset_size": raw,
    }


def metadata(env_id: str, shown: Mapping[str, HubEntry], licence: str) -> dict[str, Any]:
    """The YAML front matter as plain values.

    Args:
        env_id: ``suite/map``.
        shown: for each config its file, in the order of the configs.
        licence: the Hub's identifier, e.g. ``mit``.
    """
    first = FIRST if FIRST in shown else next(iter(shown))
    configs = [
        {"config_name": quality}
        | ({"default": True} if quality == first else {})
        | {"data_files": [{"split": SPLIT, "path": entry.path}]}
        for quality, entry in shown.items()
    ]
    rows = sum(e.rows for e in shown.values())
    return {
        "license": licence,
        "pretty_name": f"{env_id}: offline multi-agent data with imbalanced agents",
        "task_categories": ["reinforcement-learning"],
        "tags": [*TAGS, env_id.partition("/")[0]],
        "size_categories": [size_category(rows)],
        "configs": configs,
        "dataset_info": [_info(quality, entry) for quality, entry in shown.items()],
    }


def _cell(text: object) -> str:
    """Text that cannot break out of a table cell, nor become HTML or a link."""
    plain = " ".join(str(text).split())
    return "".join(f"\\{c}" if c in "\\|`*_[]<>#" else c for c in plain)


def _table(shown: Mapping[str, HubEntry]) -> str:
    lines = [
        "| config | dataset | episodes | rows | mean return | MB | recipe | content hash |",
        "|---|---|---:|---:|---:|---:|---|---|",
    ]
    for quality, e in shown.items():
        numbers = f"{e.episodes} | {e.rows} | {e.return_mean:.2f} | {e.size / 1e6:.1f}"
        lines.append(
            f"| `{quality}` | `{e.id}` | {numbers} | {_cell(e.recipe or 'not made by a recipe')} "
            f"| `{e.content_hash[:DIGITS]}…` |"
        )
    return "\n".join(lines)


def render(
    repo: str, env_id: str, shown: Mapping[str, HubEntry], licence: str, cards: Mapping[str, str], tag: str
) -> str:
    """The whole ``README.md``.

    Args:
        repo: ``ORG/NAME``.
        env_id: ``suite/map``.
        shown: for each config its file.
        licence: the Hub's identifier.
        cards: Markdown of the datasets, by id; those that are missing are left out.
        tag: the revision of the examples, e.g. ``v1``.
    """
    from huggingface_hub import DatasetCardData

    first = next(iter(shown.values()))
    config = FIRST if FIRST in shown else next(iter(shown))
    spec = first.env
    yaml = DatasetCardData(**metadata(env_id, shown, licence)).to_yaml()
    text = f"""---
{yaml.strip()}
---

# {_cell(env_id)}

Offline multi-agent reinforcement learning data of `{env_id}`: {spec.N} agents ({_cell(", ".join(spec.agents))}), made
with offmarl-bench. In each episode every agent is played at a level of its own, as the recipe says; the columns
`behavior_level` and `behavior_policy` tell who played, for analysis and never as an input to learning.

{_table(shown)}

## Load

```python
import offmarl_bench as ob
ds = ob.load_dataset("{SCHEME}{repo}/{shown[config].path}")
```

or `offmarl-bench pull {shown[config].id} --repo {repo}`, which checks it and keeps it under its id.
Without offmarl-bench:

```python
from datasets import load_dataset
rows = load_dataset("{repo}", "{config}", split="{SPLIT}", revision="{tag}")
rows = load_dataset("{repo}", "{config}", split="{SPLIT}", revision="{tag}", streaming=True)
```

One row is one moment of one episode; an episode's last row (`is_last`) holds its final observation and no action.

## Versions

`QUALITY-vN.h5` never changes once it is here; better data is a file with a higher N. Config `QUALITY` is its newest
version at the revision that you name: `main` has the newest of all, tag `vN` has of every quality the newest version up
to N, tag `QUALITY-vN` that version itself. `{NAME}` has the SHA-256 and the content hash of every file;
`offmarl-bench pull` and `offmarl-bench verify` check them. This repository: {endpoint()}/datasets/{repo}
"""
    for entry in shown.values():
        if entry.id in cards:
            text += f"\n---\n\n{cards[entry.id].strip()}\n"
    return text
