"""What stages I and II made of a dataset (the paper's Fig. 3): reward by agent while stage I learns, then priorities.

From finished runs, trained if they are not there; nothing is scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from offmarl_bench import registry
from offmarl_bench.atomic import write_atomic
from offmarl_bench.comparison import as_text
from offmarl_bench.describe_plots import DPI, PART_COLOURS, STYLE
from offmarl_bench.errors import FormatError
from offmarl_bench.loader import Dataset, load_dataset
from offmarl_bench.logs import read_log
from offmarl_bench.reproduction import Effort
from offmarl_bench.runs import load_agent
from offmarl_bench.train_runs import train_runs
from offmarl_bench.types import LEVELS
from sit.agent import SIT
from sit.diagnostics import replay_metrics
from sit.dper import DPER

BINS = 40
"""Bars of a histogram of priorities."""
PANEL = (3.9, 2.9)
"""Inches."""
MEASURES = ("rank_correlation", "auc", "auc_within", "best_share", "best_present")
"""Of ``replay_metrics``: what the table shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intermediate:
    """Stages I and II of several seeds on one dataset."""

    title: str
    agents: dict[str, str]
    """Name → the levels that the data played it at."""
    updates: tuple[int, ...]
    """Updates of stage I at which all seeds logged."""
    rewards: dict[str, Float64[np.ndarray, "seeds K"]]
    """By agent: mean decomposed reward of a step, Eq. (4), at those updates."""
    priorities: dict[str, dict[str, Float64[np.ndarray, " L"]]]
    """By type and agent: rescaled priorities of all its trajectories, all seeds together."""
    measures: dict[str, tuple[float, ...]]
    """``TYPE/measure`` → one value a seed; see ``diagnostics.replay_metrics``."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; of the priorities their deciles."""
        deciles = np.linspace(0, 1, 11)
        return {
            "title": self.title, "agents": self.agents, "updates": list(self.updates),
            "rewards": {name: values.tolist() for name, values in self.rewards.items()},
            "priority_deciles": {
                kind: {name: np.quantile(x, deciles).tolist() for name, x in of_kind.items()}
                for kind, of_kind in self.priorities.items()
            },
            "measures": {name: list(values) for name, values in self.measures.items()},
        }  # fmt: skip

    def to_markdown(self) -> str:
        """A line for each agent, then how well priorities tell the levels apart."""
        out = [f"### {self.title}", "", "| agent | played | r̂ a step, at the end | priority |", "|:--|:--|--:|--:|"]
        own = {name: x for of_kind in self.priorities.values() for name, x in of_kind.items()}
        for name, played in self.agents.items():
            last = f"{self.rewards[name][:, -1].mean():.3f}" if name in self.rewards else ""
            out.append(f"| {name} | {played} | {last} | {own[name].mean():.2f} |")
        out += ["", "| priorities against the known levels | mean | each seed |", "|:--|--:|--:|"]
        for name, values in self.measures.items():
            out.append(f"| {name} | {np.mean(values):.2f} | {', '.join(f'{v:.2f}' for v in values)} |")
        return "\n".join([*out, ""])


def intermediate(
    dataset: str, effort: Effort, overrides: Mapping[str, Any] | None = None, title: str | None = None
) -> Intermediate:
    """Train (or find) ``sit`` on a dataset and look at its stages I and II.

    Raises:
        OffmarlError: a run failed. FormatError: what is called sit is another agent.
    """
    settings = {**effort.overrides, **(overrides or {})}
    folders = train_runs(
        "sit", dataset, seeds=effort.seeds, budget=effort.budget, preset=effort.preset, overrides=settings,
        device=effort.device, workers=effort.workers, progress=effort.progress, wandb=effort.wandb,
        executor=registry.resolve("executors", effort.executor)(effort.workers),
    )  # fmt: skip
    data = load_dataset(dataset)
    updates, rewards = _rewards(folders, data.spec.agents)
    priorities: dict[str, dict[str, list[np.ndarray]]] = {}
    measures: dict[str, list[float]] = {}
    for folder in folders:
        agent = load_agent(folder)
        if not isinstance(agent, SIT):
            raise FormatError(f"{folder} holds a {type(agent).__name__}, expected SIT; delete the folder")
        replay = DPER(data, agent.config)
        agent.complete(data, replay)
        for buffer in replay.buffers:
            own = buffer.priority.reshape(len(data), -1)
            for k, i in enumerate(buffer.agents.tolist()):
                priorities.setdefault(buffer.name, {}).setdefault(data.spec.agents[i], []).append(own[:, k])
        for name, value in replay_metrics(replay).items():
            if name.rpartition("/")[2] in MEASURES:
                measures.setdefault(name, []).append(value)
    return Intermediate(
        title=title or dataset, agents=_levels(data), updates=updates, rewards=rewards,
        priorities={t: {a: np.concatenate(x) for a, x in own.items()} for t, own in priorities.items()},
        measures={name: tuple(values) for name, values in measures.items()},
    )  # fmt: skip


def _levels(data: Dataset) -> dict[str, str]:
    """``50% random, 50% medium`` for every agent."""
    found = {}
    for i, name in enumerate(data.spec.agents):
        levels, counts = np.unique(data.levels[:, i], return_counts=True)
        shares = [f"{n / len(data):.3g}" for n in 100 * counts]
        known = [LEVELS[k] if k >= 0 else "unknown" for k in levels.tolist()]
        found[name] = ", ".join(f"{share}% {level}" for share, level in zip(shares, known, strict=True))
    return found


def _rewards(folders: Sequence[Path], agents: Sequence[str]) -> tuple[tuple[int, ...], dict[str, np.ndarray]]:
    """Updates that all seeds logged, and by agent the (seeds, updates) rewards; nothing where stage I was left out."""
    logged = []
    for folder in folders:
        rows = [row for row in read_log(folder) if row.get("phase") == "decompose"]
        logged.append({int(row["step"]): row for row in rows if all(f"reward/{a}" in row for a in agents)})
    shared = tuple(sorted(set.intersection(*(set(rows) for rows in logged))))
    if not shared:
        return (), {}
    return shared, {a: np.array([[rows[u][f"reward/{a}"] for u in shared] for rows in logged], float) for a in agents}


def plot_intermediate(found: Sequence[Intermediate], path: Path) -> Path:
    """Write a PNG, one row a dataset: rewards over updates, then a histogram of priorities for each type.

    Raises:
        OffmarlError: the file cannot be written.
    """
    across = 1 + max(len(one.priorities) for one in found)
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):
        figure = Figure(figsize=(PANEL[0] * across, PANEL[1] * len(found)), layout="constrained")
        FigureCanvasAgg(figure)
        for one, row in zip(found, figure.subplots(len(found), across, squeeze=False), strict=True):
            colours = {name: PART_COLOURS[k % len(PART_COLOURS)] for k, name in enumerate(one.agents)}
            _draw_rewards(one, row[0], colours)
            for axes, (kind, own) in zip(row[1:], one.priorities.items(), strict=False):
                _draw_priorities(kind, own, axes, colours)
            for axes in row[1 + len(one.priorities) :]:
                axes.set_axis_off()
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI)
    write_atomic(path, buffer.getvalue())
    return path


def _draw_rewards(one: Intermediate, axes: Axes, colours: Mapping[str, str]) -> None:
    for name, values in one.rewards.items():
        label = as_text(f"{name} ({one.agents[name]})")
        axes.plot(one.updates, values.mean(0), color=colours[name], marker="." if len(one.updates) < BINS else None,
                  label=label)  # fmt: skip
        axes.fill_between(one.updates, values.min(0), values.max(0), color=colours[name], alpha=0.15, linewidth=0)
    axes.set_title(as_text(one.title))
    axes.set_xlabel("updates of stage I")
    axes.set_ylabel("decomposed reward of a step")
    if one.rewards:
        axes.legend(fontsize=7)
    else:
        axes.text(0.5, 0.5, "its logs hold no decomposed rewards", ha="center", transform=axes.transAxes)


def _draw_priorities(kind: str, own: Mapping[str, np.ndarray], axes: Axes, colours: Mapping[str, str]) -> None:
    top = max(float(x.max()) for x in own.values())
    bins = np.linspace(0, max(top, 1.0), BINS + 1).tolist()
    for name, values in own.items():
        axes.hist(values, bins, histtype="stepfilled", alpha=0.25, color=colours[name])
        axes.hist(values, bins, histtype="step", color=colours[name], label=as_text(name))
    axes.set_title(as_text(f"priorities, type {kind}"))
    axes.set_xlabel("priority")
    axes.set_ylabel("trajectories")
    axes.legend(fontsize=7)
