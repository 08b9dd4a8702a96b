"""Cards as files: written from datasets, drawn again from their own data, listed, and checked for being stale.

``OUT/suite/map/quality-vN.md`` is the card, ``.json`` beside it the data that it is rendered from, ``.NAME.png`` its
pictures. ``OUT/README.md`` lists them between two marks. A dataset of gigabytes is needed only to make a card; that
it is up to date shows without: the Markdown and the pictures must be what the JSON gives, and the JSON must agree with
the manifest of published versions, the table of recipes, the shipped pool and the simulator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from offmarl_bench.atomic import write_atomic
from offmarl_bench.card_record import Card, from_json
from offmarl_bench.card_text import render, table
from offmarl_bench.cards import card_data, card_pictures
from offmarl_bench.describe_plots import digest, picture_digest
from offmarl_bench.describe_text import percent
from offmarl_bench.envs import get_suite
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.ids import local_datasets, path_of
from offmarl_bench.loader import Dataset
from offmarl_bench.manifest import Published, compare, published
from offmarl_bench.pool import SHIPPED, load_pool
from offmarl_bench.recipes import RECIPES, parse_recipe
from offmarl_bench.records import MAX_BYTES

LIST = "README.md"
BEGIN, END = "<!-- cards: made by `offmarl-bench card`, do not edit -->", "<!-- end of cards -->"
NUMBERS = re.compile(r"\[\n\s*(-?[\d.][^\[\]{}\"]*?)\n\s*\]")
"""A list of numbers that ``json.dumps`` spread over lines."""


def _json(data: dict[str, Any]) -> bytes:
    """JSON that a diff can show: an object's fields one a line, lists of numbers in one."""
    text = json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False)
    return (NUMBERS.sub(lambda found: "[" + " ".join(found[1].split()) + "]", text) + "\n").encode()


def read_card(path: Path) -> Card:
    """The card in a JSON file. Raises FormatError for anything else."""
    return from_json(_raw(path), str(path))


def _raw(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FormatError(f"{path}: larger than {MAX_BYTES} bytes, not a card")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        if isinstance(e, FormatError):
            raise
        raise FormatError(f"{path}: cannot be read as a card: {e}") from e


def place(card: Card, out: Path) -> Path:
    """Where a card's Markdown lies under ``out``; an id cannot lead out of it."""
    return path_of(card.dataset, out).with_suffix(".md")


def stored(out: Path) -> list[Path]:
    """The data (``.json``) of all cards under ``out``, sorted."""
    return sorted(out.glob("*/*/*.json"))


def write_card(dataset: str | Path | Dataset, out: Path) -> Path:
    """Make the card of a dataset: JSON, Markdown and pictures under ``out``.

    Returns:
        The Markdown file.

    Raises:
        UnknownName, FormatError: see ``cards.card_data``. OffmarlError: the place cannot be written.
    """
    return _draw(card_data(dataset), out)


def redraw(path: Path, out: Path) -> Path:
    """Render a card's Markdown and pictures again from its JSON. Raises FormatError, OffmarlError."""
    return _draw(_raw(path), out)


def _draw(data: dict[str, Any], out: Path) -> Path:
    card = from_json(data, "the data of a card")
    target = place(card, out)
    for name, png in card_pictures(data).items():
        write_atomic(target.with_name(name), png)
    write_atomic(target, render(card, "", None).encode())
    write_atomic(target.with_suffix(".json"), _json(data))
    return target


def published_here() -> list[str]:
    """Ids of the published datasets whose files are on this machine and state the published content hash."""
    here = []
    for dataset in local_datasets():
        try:
            metadata = read_metadata(path_of(dataset))[1]
        except FormatError:
            continue  # `datasets` tells of damaged files
        if metadata.get("dataset_id") == str(dataset) and compare(metadata)[0] == "published":
            here.append(str(dataset))
    return here


def _listing(cards: Sequence[Card], out: Path) -> str:
    rows = []
    for card in cards:
        d = card.description
        imbalance = "–" if d.imbalance is None else f"{d.imbalance:.2f}"
        paper = d.provenance.get("paper_mean")
        rows.append(
            (
                f"[{card.id}]({place(card, out).relative_to(out).as_posix()})", f"{d.episodes:,}",
                f"{d.returns.mean:.2f} ± {d.returns.std:.2f}", "–" if paper is None else f"*{paper}*", imbalance,
                f"{d.coverage.joint:.2f}", percent(d.coverage.unique_episodes),
            )
        )  # fmt: skip
    header = ("dataset", "episodes", "mean return", "*paper's*", "imbalance", "joint SACo", "unique episodes")
    return "\n".join([BEGIN, "", *table(header, rows), "", END])


def _with_listing(text: str, cards: Sequence[Card], out: Path) -> str:
    """``text`` with what stands between the marks replaced by the list of cards; unchanged if it has no marks."""
    if BEGIN not in text or END not in text:
        return text
    return text[: text.index(BEGIN)] + _listing(cards, out) + text[text.index(END) + len(END) :]


def write_list(out: Path) -> None:
    """Bring the list of cards in ``OUT/README.md`` up to date, if there is such a file with the marks.

    Raises:
        FormatError: a ``.json`` among the cards that is none. OffmarlError: the place cannot be written.
    """
    path = out / LIST
    if path.is_file():
        old = path.read_text(encoding="utf-8")
        new = _with_listing(old, [read_card(p) for p in stored(out)], out)
        if new != old:
            write_atomic(path, new.encode())


def stale(out: Path) -> list[str]:
    """What is not up to date under ``out``, one line each; empty if all is well.

    Raises:
        FormatError: the manifest of published versions is damaged.
    """
    return list(_stale(out))


def _stale(out: Path) -> Iterator[str]:
    entries = published()
    kept, cards = set(), []
    for path in stored(out):
        try:
            card = read_card(path)
        except FormatError as e:
            yield str(e)
            continue
        cards.append(card)
        if place(card, out).with_suffix(".json") != path:
            yield f"{path}: is the card of {card.id}, which belongs in {place(card, out).with_suffix('.json')}"
            continue
        kept |= {path.with_suffix(".md"), *(path.with_name(card.picture(k)) for k in ("returns", "agents", "coverage"))}
        for why in (*_drawn(card, path), *_agrees(card, entries.get(card.id))):
            yield f"{path}: {why}"
    for path in sorted({*out.glob("*/*/*.md"), *out.glob("*/*/*.png")} - kept):
        yield f"{path}: belongs to no card; remove it"
    readme = out / LIST
    if readme.is_file():
        text = readme.read_text(encoding="utf-8")
        if _with_listing(text, cards, out) != text:
            yield f"{readme}: its list is not that of the cards; run `make cards`"


def _drawn(card: Card, path: Path) -> Iterator[str]:
    """Markdown and pictures are those of the JSON."""
    page = path.with_suffix(".md")
    if not page.is_file() or page.read_text(encoding="utf-8") != render(card, "", None):
        yield f"{page.name} is not what its data gives; run `make cards`"
    wanted = digest(card.description)
    for name in ("returns", "coverage", *(["agents"] if card.description.played else [])):
        picture = path.with_name(card.picture(name))
        try:
            found = picture_digest(picture.read_bytes())
        except OSError:
            found = None
        if found != wanted:
            yield f"{picture.name} is not drawn from its data; run `make cards`"


def _agrees(card: Card, entry: Published | None) -> Iterator[str]:
    """The JSON agrees with what the package says of this version."""
    said = card.description.provenance
    if entry is not None:
        stated = {**said, "episodes": card.description.episodes, "rows": card.rows}
        for name in ("content_hash", "recipe", "pool_hash", "seed", "backend", "commit", "episodes", "rows"):
            if stated.get(name) != getattr(entry, name):
                yield f"{name} is {stated.get(name)!r}, published was {getattr(entry, name)!r}; make it from that file"
    dataset = card.dataset
    named = RECIPES.get((dataset.env_id, dataset.quality))
    if named is None:
        if entry is None:
            yield f"is of no named recipe and not published; {dataset.env_id}/{dataset.quality} is not in recipes.py"
        return
    if dataset.version != named.version:
        if entry is None:
            yield f"version {dataset.version} was never published, recipes.py makes version {named.version}"
        return
    wanted: dict[str, Any] = {
        "recipe": str(parse_recipe(named.text, card.environment)), "recipe_provenance": named.provenance,
        "recipe_note": named.note or None, "paper_mean": named.paper_mean,
    }  # fmt: skip
    wanted |= _today(card)
    for name, value in wanted.items():
        if (said.get(name) or None) != value:
            yield f"{name} is {said.get(name)!r}, today it is {value!r}; generate the dataset and its card again"


def _today(card: Card) -> dict[str, Any]:
    """Pool and simulator that would play this dataset now."""
    env_id = card.dataset.env_id
    try:
        pool: str | None = load_pool(env_id, SHIPPED / env_id).hash
    except OffmarlError:
        pool = None
    return {"pool_hash": pool, "backend": get_suite(card.dataset.suite).backend()}
