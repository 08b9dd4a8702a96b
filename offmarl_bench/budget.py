"""How long to train: the paper's length, a share of it, a quick look, or a number of updates."""

from __future__ import annotations

import re
from collections.abc import Sequence

from offmarl_bench.agent import Phase
from offmarl_bench.errors import FormatError

QUICK_FRACTION = 0.05
"""``quick`` is this part of the full length: minutes instead of hours, enough to see an agent learn, not to rank it."""
NAMED = {"paper": 1.0, "quick": QUICK_FRACTION}

Budget = str | int
"""``paper``, ``quick``, ``N%`` of the paper's, or the number of updates over all scalable phases together."""
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)%")


def _share(text: str) -> float | None:
    """The share of the full length that a budget in words asks for; None if it is none."""
    if text in NAMED:
        return NAMED[text]
    found = _PERCENT.fullmatch(text)
    share = float(found[1]) / 100 if found else 0.0
    return share if 0 < share <= 1 else None


def parse_budget(text: str | int) -> Budget:
    """``paper``, ``quick``, a percentage of the paper's length or a positive number of updates.

    Raises:
        FormatError: anything else.
    """
    if isinstance(text, str) and _share(text) is not None:
        return text
    try:
        updates = int(text)
    except ValueError:
        updates = 0
    if updates < 1:
        raise FormatError(
            f"budget {text!r}: expected 'paper', 'quick', '10%' of the paper's or a positive number of updates"
        )
    return updates


def steps_of(phases: Sequence[Phase], budget: Budget = "paper") -> list[int]:
    """Updates of each phase under a budget.

    A phase that is not scalable keeps its length. A number is split over the others in proportion to their full
    lengths, largest remainder first, so that it is met exactly; every scalable phase gets at least one update.

    Raises:
        FormatError: not a budget, or fewer updates than scalable phases.
    """
    budget = parse_budget(budget)
    full = [p.steps if p.scalable else 0 for p in phases]
    scalable = sum(n > 0 for n in full)
    if isinstance(budget, str):
        share = _share(budget) or 0.0
        return [max(1, round(share * p.steps)) if p.scalable and p.steps else p.steps for p in phases]
    if budget < scalable:
        raise FormatError(f"budget {budget}: {scalable} phases need at least one update each")
    # One update each is set aside, the rest is shared out.
    rest, total = budget - scalable, max(sum(full), 1)
    shares = [rest * n / total for n in full]
    steps = [int(s) + (n > 0) for s, n in zip(shares, full, strict=True)]
    order = sorted(range(len(full)), key=lambda k: (int(shares[k]) - shares[k], k))
    for k in [k for k in order if full[k]][: budget - sum(steps) if scalable else 0]:
        steps[k] += 1
    return [s if p.scalable else p.steps for s, p in zip(steps, phases, strict=True)]
