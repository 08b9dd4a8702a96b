"""Table 1 of the SIT paper as data: the columns in their order, the values as printed, and what is wrong with them.

The values are the paper's own: other policies, other data and, on SMAC maps, the real StarCraft II game. They stand
beside our results for orientation and are marked wherever they are shown.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources

FILE = "paper_table1.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """The paper's Table 1."""

    source: str
    note: str
    """What the values are, for a footnote."""
    seeds: int
    """Seeds behind each value."""
    columns: tuple[tuple[str, dict[str, str]], ...]
    """Title, and of each of our agents in that column the name and what the paper calls it; in the paper's order."""
    suites: dict[str, str]
    """Title of each suite, under every name the suite has with us."""
    origin: dict[str, str]
    """The paper's suite for each of those names."""
    values: dict[str, dict[str, tuple[float, float]]]
    """``suite/map/quality`` → column title → (mean, ±)."""
    behaviors: dict[str, float]
    """``suite/map/quality`` → mean return of the paper's dataset."""
    remarks: dict[str, dict[str, str]]
    """``suite/map/quality`` → column title → what a reader of the value must know."""

    def key(self, suite: str, map_name: str, quality: str) -> str:
        """Where the paper's row for one of our datasets is; it need not exist."""
        return f"{self.origin.get(suite, suite)}/{map_name}/{quality}"

    def title_of(self, agent: str) -> str | None:
        """The paper's column for one of our agents."""
        return next((title for title, agents in self.columns if agent in agents), None)

    def name_of(self, agent: str) -> str:
        """What the paper calls one of our agents; its own name if the paper does not have it."""
        return next((agents[agent] for _, agents in self.columns if agent in agents), agent)

    def rank(self, agent: str) -> int:
        """Place of an agent's column; agents the paper does not have come last."""
        titles = [title for title, _ in self.columns]
        title = self.title_of(agent)
        return titles.index(title) if title else len(titles)

    def row_rank(self, suite: str, map_name: str) -> tuple[int, str]:
        """Sort key of a map: the paper's order, then by name."""
        order = list(dict.fromkeys(key.rsplit("/", 1)[0] for key in self.values))
        name = f"{self.origin.get(suite, suite)}/{map_name}"
        return (order.index(name) if name in order else len(order), f"{suite}/{map_name}")


@functools.cache
def paper_table() -> PaperTable:
    """The table that is shipped with the package."""
    raw = json.loads(resources.files("offmarl_bench").joinpath(FILE).read_text(encoding="utf-8"))
    names = {name: suite for suite, about in raw["suites"].items() for name in (suite, *about["also"])}
    return PaperTable(
        source=raw["source"],
        note=raw["note"],
        seeds=raw["seeds"],
        columns=tuple((c["title"], c["agents"]) for c in raw["columns"]),
        suites={name: raw["suites"][suite]["title"] for name, suite in names.items()},
        origin=names,
        values={
            key: {title: (v[0], v[1]) for title, v in row.items() if title != "behavior"}
            for key, row in raw["values"].items()
        },
        behaviors={key: row["behavior"] for key, row in raw["values"].items()},
        remarks=raw["remarks"],
    )
