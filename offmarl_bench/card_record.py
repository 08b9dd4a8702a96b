"""The data behind a dataset card: everything its Markdown and its pictures are made from, as a JSON record."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from offmarl_bench import records
from offmarl_bench.describe import VERSION, Description
from offmarl_bench.errors import FormatError
from offmarl_bench.ids import DatasetId, parse_dataset_id
from offmarl_bench.types import EnvSpec

FORMAT = "offmarl-bench card 1"
DIGITS = 6
"""Significant digits kept: the last bits of a sum differ between machines and mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPool:
    """The policy pool that played, if it is known here."""

    epsilon: float
    """How its members explore: ε, or the standard deviation of the noise on continuous actions."""
    thresholds: tuple[float, ...]
    """Mean returns at which ``medium`` and ``expert`` begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardMember:
    """One member of the pool and where it plays in the dataset."""

    name: str
    level: str
    return_mean: float
    """Of the whole team played by this member, as the pool was measured."""
    return_std: float
    win_rate: float | None
    seed: int
    """Training seed."""
    steps: int
    """Environment steps of training."""
    agents: tuple[str, ...]
    """Whom it plays in this dataset."""
    share: float
    """Part of the episodes in which it plays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A dataset card."""

    format: str
    id: str
    """``suite/map/quality-vN``."""
    rows: int
    """Rows of every column."""
    spec: dict[str, Any]
    """The environment."""
    description: Description
    """See ``docs/describe.md``."""
    pool: CardPool | None
    """None where the pool that played is not known here."""
    members: tuple[CardMember, ...]
    operation: Any
    """How it was made from other datasets, as the file says it; None for one that was played."""

    @property
    def dataset(self) -> DatasetId:
        """The id, taken apart."""
        return parse_dataset_id(self.id)

    @property
    def environment(self) -> EnvSpec:
        """``spec`` as what it is."""
        return EnvSpec.from_json(self.spec)

    def picture(self, name: str) -> str:
        """File name of one of its pictures."""
        return f"{self.dataset.quality}-v{self.dataset.version}.{name}.png"


def to_json(card: Card) -> dict[str, Any]:
    """Plain values, floats of ``DIGITS`` significant digits."""
    plain: dict[str, Any] = _rounded(asdict(card))
    return plain


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{DIGITS}g}")
    return value


def from_json(data: Any, where: str) -> Card:
    """The card in parsed JSON; ``where`` names it in errors.

    Raises:
        FormatError: not a card of this version, or content that no card has.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise FormatError(f"{where}: not an {FORMAT!r}; make it with `offmarl-bench card DATASET`")
    found = records.from_json(Card, data, where)
    if found.description.version != VERSION:
        raise FormatError(f"{where}: description of version {found.description.version}, expected {VERSION}")
    if found.dataset.version is None:
        raise FormatError(f"{where}: id {found.id!r} names no version; expected suite/map/quality-vN")
    if found.environment.agents != found.description.agents:
        raise FormatError(f"{where}: the agents of its spec and of its description are not the same")
    return found
