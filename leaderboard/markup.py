"""Strangers' text made harmless for HTML, and numbers as the page writes them.

Everything that comes out of a submission passes through here before it becomes markup: control characters, bidi
overrides and other invisible ones become ``?`` (``printable``), the rest is escaped.
"""

from __future__ import annotations

import html
import json
from typing import Any

from offmarl_bench.report_lines import plain, printable

MINUS = "\u2212"
ESCAPED_IN_SCRIPTS = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
"""JSON may write any character as an escape; without these nothing can end or open a script element."""
MINUTE, HOUR = 60, 3600


def esc(text: object) -> str:
    """One line of text for an element or a quoted attribute."""
    return html.escape(printable(str(text)), quote=True)


def name(text: object) -> str:
    """The same, cut to the length of a name."""
    return html.escape(plain(str(text)), quote=True)


def prose(text: str) -> str:
    """Several lines; the page keeps their ends."""
    return "\n".join(esc(line) for line in text.splitlines())


def number(value: float | None, digits: int = 1) -> str:
    """A number with a true minus sign, or nothing."""
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    return text.replace("-", "") if float(text) == 0 else text.replace("-", MINUS)


def interval(low: float, high: float) -> str:
    """``[36.1, 43.4]``."""
    return f"[{number(low)}, {number(high)}]"


def spread(mean: float, deviation: float | None) -> str:
    """``9.7 ± 0.2``, without ± where nothing is known of it."""
    return number(mean) + (f" ± {number(deviation)}" if deviation is not None else "")


def percent(part: float | None) -> str:
    """A part of 1 as percent without decimals, or nothing."""
    return "" if part is None else f"{100 * part:.0f} %"


def seconds(value: float | None) -> str:
    """A duration to two figures or so, or nothing."""
    if value is None:
        return ""
    if value < MINUTE:
        return f"{value:.0f} s"
    return f"{value / MINUTE:.0f} min" if value < HOUR else f"{value / HOUR:.1f} h"


def count(value: int | None) -> str:
    """``15,000``, or nothing."""
    return "" if value is None else f"{value:,}"


def script_json(data: Any) -> str:
    """JSON that is safe inside a script element.

    Raises:
        ValueError: a number that is not finite.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return "".join(ESCAPED_IN_SCRIPTS.get(c, c) for c in text)
