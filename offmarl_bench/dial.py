r"""The dial: datasets of one map that differ in how unequal the agents are, from 0 to 1, and in nothing else there is.

At imbalance X, with N agents, three kinds of episodes are mixed::

    X                     one expert, all others random
    (1 − X) · 1/N         all expert
    (1 − X) · (N − 1)/N   all random

The first kind has a lead of 1 (see ``imbalance``), the others of 0, so the dataset's imbalance is X. In every kind one
in N of the agents' episodes is an expert's, so the mean quality is 1/N wherever the dial stands. The expert is always
the same agent (then the lasting imbalance is X too), or the agents take turns (then each has the same data quality at
every X, and the lasting imbalance is 0).

What the dial cannot hold is the mean return: an expert among experts earns more than one among random agents. Hence
the twin (``twin``): balanced data with the same mean return.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from offmarl_bench import registry
from offmarl_bench.envs import get_spec, split_id
from offmarl_bench.errors import FormatError
from offmarl_bench.executors import Executor
from offmarl_bench.format.summary import composition_text
from offmarl_bench.generate import generate
from offmarl_bench.ids import DatasetId, path_of
from offmarl_bench.pool import Pool
from offmarl_bench.types import LEVELS, EnvSpec

STEPS = 100
"""Positions of the dial between 0 and 1: the id holds two decimals."""
EACH = "each"
"""In place of an agent's name: the agents take turns to be the expert."""
VERSION = 1
"""The N of ``imbalance-XXX-vN``; rises when the definition changes."""
DIGIT = Decimal("0.000001")
"""Shares are rounded to this part of a percent: one episode in a hundred million."""
RANDOM, EXPERT = LEVELS.index("random"), LEVELS.index("expert")


@dataclass(frozen=True, slots=True)
class Dial:
    """A position of the dial. Raises FormatError, UnknownName for one that there is not."""

    spec: EnvSpec
    imbalance: float
    """X, a multiple of 0.01 from 0 to 1."""
    expert: str
    """Who is the expert: an agent's name, or ``each`` in turn."""

    def __post_init__(self) -> None:
        position = self.imbalance * STEPS
        if not 0 <= self.imbalance <= 1 or abs(position - round(position)) > 1e-9:
            raise FormatError(f"imbalance {self.imbalance!r}: expected 0, 0.01, 0.02 … 1")
        if self.spec.N < 2:
            raise FormatError(f"imbalance: {self.spec.id} has one agent; expected at least two")
        if self.expert != EACH and self.expert not in self.spec.agents:
            hint = f"Or '{EACH}': the agents take turns."
            raise registry.unknown(f"agent of {self.spec.id}", self.expert, self.spec.agents, hint)

    @property
    def dataset(self) -> DatasetId:
        """Its id, e.g. ``smac/2s3z/imbalance-050-v1``; the expert is named unless it is the first agent."""
        suite, map_name = split_id(self.spec.id)
        who = "" if self.expert == self.spec.agents[0] else f"-{self.expert}"
        return DatasetId(suite, map_name, f"imbalance-{round(self.imbalance * STEPS):03d}{who}", VERSION)

    @property
    def recipe(self) -> str:
        """The mixture in the notation of recipes."""
        n, x = self.spec.N, Decimal(round(self.imbalance * STEPS)) / STEPS
        seats = range(n) if self.expert == EACH else [self.spec.agents.index(self.expert)]
        shares = [(x / len(seats), [EXPERT if k == seat else RANDOM for k in range(n)]) for seat in seats]
        shares += [((1 - x) / n, [EXPERT] * n), ((1 - x) * (n - 1) / n, [RANDOM] * n)]
        return mixture(self.spec, [(share, levels) for share, levels in shares if share])


def mixture(spec: EnvSpec, shares: list[tuple[Decimal, list[int]]]) -> str:
    """A recipe of these shares (parts of one) and levels; the last share takes what rounding leaves of 100 %."""
    rounded = [(100 * share).quantize(DIGIT) for share, _ in shares[:-1]]
    rounded.append(100 - sum(rounded, Decimal()))
    texts = (composition_text(spec.agents, levels) for _, levels in shares)
    return " + ".join(f"{percent.normalize():f}%{text}" for percent, text in zip(rounded, texts, strict=True))


def dial(env_id: str, imbalance: float, expert: str | None = None) -> Dial:
    """The position X of the dial of an environment.

    Args:
        env_id: ``suite/map``.
        imbalance: X.
        expert: an agent's name, or ``each``; None means the environment's first agent.

    Raises:
        UnknownName: no such environment or agent. FormatError: no such position.
    """
    spec = get_spec(env_id)
    return Dial(spec, imbalance, spec.agents[0] if expert is None else expert)


def command(where: Dial, episodes: int, seed: int) -> str:
    """The command that makes dataset and twin again."""
    suite, map_name = split_id(where.spec.id)
    who = "" if where.expert == where.spec.agents[0] else f" --expert {where.expert}"
    return (
        f"offmarl-bench generate {suite} {map_name} --imbalance {where.imbalance:g}{who} "
        f"--episodes {episodes} --seed {seed}"
    )


def generate_imbalanced(
    where: Dial,
    *,
    episodes: int = 10_000,
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    out: Path | None = None,
    pool: Pool | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Generate the dataset at a position of the dial; arguments and errors are those of ``generate``."""
    notes: Mapping[str, Any] = {
        "recipe_name": where.dataset.quality,
        "recipe_provenance": "ours",
        "recipe_note": "The dial of imbalance, see docs/datasets.md.",
        "dial": {"imbalance": round(where.imbalance, 2), "expert": where.expert},
        "command": command(where, episodes, seed),
    }
    return generate(
        where.spec.id, recipe=where.recipe, dataset=where.dataset, notes=notes, episodes=episodes, seed=seed,
        workers=workers, executor=executor, out=path_of(where.dataset) if out is None else out, pool=pool,
        overwrite=overwrite, progress=progress,
    )  # fmt: skip
