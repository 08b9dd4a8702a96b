"""SIT beside itself: the ablations of Figure 4, the stage I of Figure 7 and the settings of Figure 8 as variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from offmarl_bench.comparison import Panel, panel
from offmarl_bench.paper import paper_table
from offmarl_bench.reproduction import Effort, Variant, first_that_plays, ready, run_variants, spec_of
from sit.config import AUTO

ABLATIONS: dict[str, dict[str, Any]] = {
    "SIT": {},
    "w/o decomp": {"decomposition": False},
    "w/o attention": {"attention": False},
    "w/o ensemble": {"members": 1},
    "w/o GAT": {"gat": False},
}
"""Figure 4(a)."""
PRIORITY: dict[str, dict[str, Any]] = {"SIT": {}, "w/o priority": {"priority": False}}
"""Figure 4(b)."""
MONOTONIC: dict[str, Any] = {"decomposer": "monotonic"}
"""Figure 7."""
ALPHAS: tuple[float | str, ...] = (0.02, 0.2, 2.0, 20.0, AUTO)
BETAS = (0.01, 0.1, 1.0, 10.0)
ETAS = (0.1, 1.0, 10.0)
"""Figure 8; the paper's own grid cannot be read from its text. Its choice is α = 0.2, β = 0.1, η = 1."""


def variants(settings: Mapping[str, Mapping[str, Any]]) -> list[Variant]:
    """Each of these settings of sit under its title."""
    return [Variant(title=title, agent="sit", overrides=overrides) for title, overrides in settings.items()]


def figure4(
    datasets: Mapping[str, Sequence[str]], effort: Effort, *, make: bool = True
) -> tuple[list[Panel], list[str]]:
    """The panels a, b and c that are asked for.

    Args:
        datasets: for each panel its datasets.
        effort: how.
        make: generate datasets that are not here.

    Returns:
        One panel a dataset, and one line for each thing that is missing.

    Raises:
        OffmarlError: nothing could be run.
    """
    wanted = list(dict.fromkeys(name for names in datasets.values() for name in names))
    there, missing = ready(wanted, workers=effort.workers, make=make)
    found = []
    for letter, names in datasets.items():
        for name in (n for n in names if n in there):
            chosen = {"a": variants(ABLATIONS), "b": variants(PRIORITY), "c": columns(name)}[letter]
            scored, failed = run_variants(chosen, name, effort)
            missing += failed
            found.append(panel(f"({letter}) {name}", scored))
    return found, missing


def columns(dataset: str) -> list[Variant]:
    """The agents of Table 1 that can play a dataset's environment."""
    env_id = spec_of(dataset).id
    chosen = {title: first_that_plays(tuple(agents), env_id) for title, agents in paper_table().columns}
    return [Variant(title=title, agent=agent) for title, agent in chosen.items() if agent is not None]


def figure7(datasets: Sequence[str], effort: Effort) -> tuple[list[Panel], list[str]]:
    """Panel c: SIT with either stage I, one panel a dataset; and what failed. Raises OffmarlError if all did."""
    kinds: dict[str, Mapping[str, Any]] = {"attention": {}, "monotonic": MONOTONIC}
    return _panels({"": kinds}, datasets, effort)


def figure8(datasets: Sequence[str], effort: Effort) -> tuple[list[Panel], list[str]]:
    """One panel a setting and dataset; and what failed. Raises OffmarlError if all did."""
    grids: dict[str, dict[str, dict[str, Any]]] = {
        "α, ": {f"α = {x}": {"alpha": x} for x in ALPHAS},
        "β, ": {f"β = {x}": {"beta": x} for x in BETAS},
        "η, ": {f"η = {x}": {"eta": x, "uncertainty": "literal"} for x in ETAS},
    }
    return _panels(grids, datasets, effort)


def _panels(
    grids: Mapping[str, Mapping[str, Mapping[str, Any]]], datasets: Sequence[str], effort: Effort
) -> tuple[list[Panel], list[str]]:
    found, missing = [], []
    for name in datasets:
        for title, settings in grids.items():
            scored, failed = run_variants(variants(settings), name, effort)
            found.append(panel(f"{title}{name}", scored))
            missing += failed
    return found, missing
