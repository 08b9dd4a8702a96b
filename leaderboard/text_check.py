"""Is every text in a submission something that a terminal and a page can show without being told what to do?"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

from leaderboard.bundle import Submission
from offmarl_bench.errors import FormatError

MAX_DEPTH = 6
MAX_ITEMS = 20_000
"""Values in one record."""
MAX_TEXT = 2000
"""Characters of any text that has no limit of its own."""
LIMITS = {"name": 80, "agent": 120, "preset": 80, "url": 300, "created": 10}
MAX_AUTHORS, MAX_AUTHOR = 50, 100
MAX_DEVIATIONS = 64
INVISIBLE = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
"""Unicode categories: control, format (bidirectional overrides, zero-width), unassigned, private, surrogates, lines."""
MARKUP = "<>&"


def texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Every text in plain JSON, keys included. Raises FormatError on what is nested too deep."""
    if depth > MAX_DEPTH:
        raise FormatError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from texts(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner, depth + 1)


def check_text(text: str, where: str, limit: int = MAX_TEXT) -> None:
    """Refuse text that is long or holds invisible characters. Raises FormatError."""
    if len(text) > limit:
        raise FormatError(f"{where}: a text of {len(text)} characters, at most {limit} are taken")
    hidden = next((c for c in text if unicodedata.category(c) in INVISIBLE), None)
    if hidden is not None:
        raise FormatError(f"{where}: {text[:40]!a} holds the invisible character U+{ord(hidden):04X}; plain text only")


def check_texts(record: Any, where: str) -> None:
    """Refuse a record in which any text is unfit to be shown. Raises FormatError."""
    try:
        for k, text in enumerate(texts(record)):
            if k > MAX_ITEMS:
                raise FormatError(f"more than {MAX_ITEMS} texts")
            check_text(text, where)
    except FormatError as e:
        raise FormatError(str(e) if str(e).startswith(where) else f"{where}: {e}") from e


def check_words(about: Submission, where: str) -> None:
    """Refuse a submission whose title, people or links are not what they should be. Raises FormatError."""
    for field, limit in LIMITS.items():
        check_text(getattr(about, field) or "", f"{where}: {field}", limit)
    for author in about.authors:
        check_text(author, f"{where}: authors", MAX_AUTHOR)
    shown = {"name": about.name, "agent": about.agent, "preset": about.preset, "authors": " ".join(about.authors)}
    for field, text in shown.items():
        if any(c in MARKUP for c in text):
            raise FormatError(f"{where}: {field} {text[:40]!a} holds one of {MARKUP}; plain words only")
    if not about.name.strip() or not about.agent.strip():
        raise FormatError(f"{where}: name and agent must not be empty")
    if len(about.authors) > MAX_AUTHORS or len(about.deviations) > MAX_DEVIATIONS:
        raise FormatError(f"{where}: at most {MAX_AUTHORS} authors and {MAX_DEVIATIONS} deviations")
    if about.url is not None and (not about.url.startswith("https://") or any(c in about.url for c in " \"'<>\\`")):
        raise FormatError(f"{where}: url {about.url[:60]!a}, expected https://… without spaces or quotes")
