"""Table 1 of the paper, run anew: every column's agent on every dataset that can be had."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offmarl_bench.comparison import Panel, panel, plot_panels
from offmarl_bench.errors import OffmarlError
from offmarl_bench.paper import paper_table
from offmarl_bench.report import build_report
from offmarl_bench.report_formats import render
from offmarl_bench.reproduction import Effort, Variant, first_that_plays, ready, run_variants, spec_of
from offmarl_bench.results import Result

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What could be run, and one line for each thing that could not."""

    results: tuple[Result, ...]
    panels: tuple[Panel, ...]
    missing: tuple[str, ...]
    seeds: int

    def markdown(self) -> str:
        """The report in the layout of the paper's table."""
        return render(build_report(self.results, seeds=self.seeds), "md")

    def records(self) -> Any:
        """The report's cells at full precision."""
        return json.loads(render(build_report(self.results, seeds=self.seeds), "json"))

    def plot(self, path: Path) -> Path:
        """One panel a dataset. Raises OffmarlError if the file cannot be written."""
        return plot_panels(self.panels, path)


def run_table1(datasets: Sequence[str], effort: Effort, *, make: bool = True) -> Table:
    """Run (or reuse) the agents of the paper's columns.

    Args:
        datasets: ids without a version mean the newest.
        effort: how.
        make: generate datasets that are not here.

    Raises:
        OffmarlError: not one row could be run.
    """
    paper = paper_table()
    there, missing = ready(datasets, workers=effort.workers, make=make)
    results: list[Result] = []
    panels = []
    for name in there:
        spec = spec_of(name)
        variants = []
        for title, agents in paper.columns:
            chosen = first_that_plays(tuple(agents), spec.id)
            if chosen is None:
                missing.append(f"left out {title} on {name}: none of {', '.join(agents)} can play {spec.id} yet")
            else:
                variants.append(Variant(title=title, agent=chosen))
        try:
            found, failed = run_variants(variants, name, effort)
        except OffmarlError as e:
            log.warning("%s", e)
            missing.append(str(e))
            continue
        missing += failed
        results += [r for rs in found.values() for r in rs]
        panels.append(panel(name, found))
    if not results:
        raise OffmarlError(f"no row could be run: {'; '.join(missing)}")
    return Table(results=tuple(results), panels=tuple(panels), missing=tuple(missing), seeds=effort.seeds)
