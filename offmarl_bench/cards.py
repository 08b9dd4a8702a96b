"""Dataset cards: what stands on a dataset's one page, taken from its file and rendered without it.

``card_data`` reads the file; ``render_card`` makes the Markdown and ``card_pictures`` the pictures, from that data and
nothing else. The data is kept as JSON beside the Markdown, so whether a card is stale can be told without gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from offmarl_bench.card_record import FORMAT, Card, CardMember, CardPool, from_json, to_json
from offmarl_bench.card_text import render
from offmarl_bench.describe import Description, describe
from offmarl_bench.describe_plots import pictures
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.ids import parse_dataset_id
from offmarl_bench.loader import Dataset, load_dataset
from offmarl_bench.pool import SHIPPED, Pool, load_pool


def card_data(dataset: str | Path | Dataset) -> dict[str, Any]:
    """Everything that a dataset's card says, as plain JSON values.

    Args:
        dataset: id, path, or one that is loaded (whole, not a filtered view: a card is of a file).

    Raises:
        UnknownName, FormatError: no such dataset, a damaged one, or one without an id of the form
            ``suite/map/quality-vN`` in its metadata.
    """
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset)
    stated = data.metadata.get("dataset_id")
    if not isinstance(stated, str) or parse_dataset_id(stated).version is None:
        raise FormatError(
            f"{data!r}: its metadata names it {stated!r}, but a card is of a dataset with an id such as "
            "'smac/2s3z/low-v1'; generate it with --quality, or see `offmarl-bench describe`"
        )
    found = describe(data)
    pool = _pool(data)
    return to_json(
        Card(
            format=FORMAT,
            id=stated,
            rows=len(data.columns["rewards"]),
            spec=data.spec.to_json(),
            description=found,
            pool=None if pool is None else CardPool(epsilon=pool.epsilon, thresholds=pool.thresholds),
            members=() if pool is None else tuple(_members(found, pool)),
            operation=data.metadata.get("operation"),
        )
    )


def _pool(data: Dataset) -> Pool | None:
    """The pool with the hash that the file states: the user's own, or the one that comes with the package."""
    for place in (None, SHIPPED / data.spec.id):
        try:
            pool = load_pool(data.spec.id, place)
        except OffmarlError:
            continue  # none here, or a broken one: then the card names no members
        if pool.hash == data.metadata.get("pool_hash"):
            return pool
    return None


def _members(found: Description, pool: Pool) -> Iterator[CardMember]:
    for played in found.members:
        if played.index < len(pool.members):
            m = pool.members[played.index]
            yield CardMember(
                name=m.name, level=m.level, return_mean=m.return_mean, return_std=m.return_std, win_rate=m.win_rate,
                seed=m.seed, steps=m.steps, agents=played.agents, share=played.share,
            )  # fmt: skip


def render_card(data: dict[str, Any], *, pictures: str | None = "", repo: str | None = None) -> str:
    """The Markdown of a card.

    Args:
        data: what ``card_data`` gave, or its JSON read from anywhere.
        pictures: put before the file names of ``card_pictures`` (a folder with a slash, an address); None: no
            pictures.
        repo: Hub repository ``ORG/NAME`` that holds the dataset, for the snippet that loads it; None: not known.

    Raises:
        FormatError: not the data of a card.
    """
    return render(from_json(data, "the data of a card"), pictures=pictures, repo=repo)


def card_pictures(data: dict[str, Any]) -> dict[str, bytes]:
    """The PNG files that the Markdown shows, by file name; the same data gives the same bytes. Raises FormatError."""
    card = from_json(data, "the data of a card")
    return {card.picture(name): png for name, png in pictures(card.description).items()}
