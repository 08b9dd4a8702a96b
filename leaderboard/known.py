"""Which datasets a submission may be about: the published versions, by content hash."""

from __future__ import annotations

from leaderboard.claims_check import Known
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.ids import local_datasets, path_of
from offmarl_bench.manifest import published

NAMES = {
    "random_reference": "reference_random", "expert_reference": "reference_expert", "behavior_mean": "return_mean",
}  # fmt: skip
"""What a result calls a number, and what a dataset's metadata calls it."""


def known_datasets(*, local: bool = False) -> Known:
    """Every published dataset: id → content hash → references.

    Args:
        local: the datasets on this machine as well, so that a submission can be tried out on data of one's own.

    Raises:
        FormatError: a damaged manifest, or with ``local`` a damaged dataset.
    """
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    if local:
        for dataset in local_datasets():
            _, metadata = read_metadata(path_of(dataset))
            stated = {name: metadata.get(key) for name, key in NAMES.items()}
            found.setdefault(str(dataset), {})[str(metadata.get("content_hash"))] = stated
    for name, entry in published().items():
        found.setdefault(name, {})[entry.content_hash] = {
            "random_reference": entry.reference_random, "expert_reference": entry.reference_expert,
            "behavior_mean": float(entry.returns["mean"]),
        }  # fmt: skip
    return found
