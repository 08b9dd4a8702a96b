"""Metadata of a dataset that was made from others: which ones, how, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from offmarl_bench import provenance

OF_A_SOURCE = ("dataset_id", "content_hash", "recipe", "seed", "pool_hash", "backend", "operation")
"""What is kept of every source; ``operation`` says what that one was made from."""
SHARED = ("pool_hash", "backend", "reference_random", "reference_expert")
"""Holds for the new dataset if it holds for all sources; else nothing is said."""


def derived_metadata(
    operation: str,
    parameters: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    statistics: Mapping[str, Any],
    command: str | None,
) -> dict[str, Any]:
    """The metadata of what an operation makes.

    Args:
        operation: its name, e.g. ``combine``.
        parameters: what else decides the content.
        sources: metadata of the datasets it was made from, in order.
        statistics: what ``summary.summarise`` says of the new content.
        command: makes it again; None if no command does.
    """
    first = sources[0]
    shared = {
        name: first.get(name) if all(s.get(name) == first.get(name) for s in sources) else None for name in SHARED
    }
    return {
        "dataset_id": None,
        "recipe": None,
        **shared,
        "operation": {
            "name": operation,
            **parameters,
            "sources": [{k: s[k] for k in OF_A_SOURCE if s.get(k) is not None} for s in sources],
        },
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "command": command,
        **statistics,
    }
