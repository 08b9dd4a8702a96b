"""The Markdown of a dataset card. Every number in it comes from the card's data; nothing is typed by hand.

What a file says about itself may come from a stranger: in running text it is escaped, in code it keeps to its block.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from offmarl_bench.card_record import Card
from offmarl_bench.card_words import (
    CITATION,
    LEVEL_WORDS,
    LICENCE,
    LICENCE_ELSEWHERE,
    LIMITS,
    PAPER_DATA,
    PROVENANCE,
    SACO,
    limits_of,
)
from offmarl_bench.describe import Played, Spread
from offmarl_bench.describe_plots import words
from offmarl_bench.describe_text import percent
from offmarl_bench.ids import SUFFIX
from offmarl_bench.report_formats import markdown
from offmarl_bench.report_lines import printable
from offmarl_bench.types import LEVELS

NONE = "–"
BAR = r"\|"
ALT = {
    "returns": "Histogram of episode returns, and a violin for each composition",
    "agents": "Share of each agent's episodes by level, and the team's return then",
    "coverage": "Histogram of episode lengths, and state-action coverage",
}


def code(text: object) -> str:
    """A code span of one line; a backtick in it would end it, a bar a table's cell."""
    return f"`{printable(str(text)).replace('`', chr(39)).replace('|', BAR)}`"


def _mean(s: Spread) -> str:
    return f"{s.mean:.2f} ± {s.std:.2f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table of cells that are escaped already."""
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield f"| {' | '.join(row)} |"


class _Page:
    """The sections of one card."""

    def __init__(self, card: Card, pictures: str | None, repo: str | None) -> None:
        self.card, self.d, self.said = card, card.description, card.description.provenance
        self.pictures, self.repo = pictures, repo
        self.backend = str(self.said.get("backend", ""))

    def picture(self, name: str) -> Iterator[str]:
        """One picture, if there are any."""
        if self.pictures is not None and (name != "agents" or self.d.played):
            yield ""
            yield f"![{ALT[name]}]({self.pictures}{self.card.picture(name)})"

    def head(self) -> Iterator[str]:
        """Title and what matters most."""
        d, spec = self.d, self.card.environment
        yield f"<!-- Made by `offmarl-bench card {self.card.id}` from the data beside it; do not edit. -->"
        yield f"# {self.card.id}"
        yield ""
        rows = [
            ("episodes", f"{d.episodes:,} ({d.steps:,} steps, {self.card.rows:,} rows)"),
            ("environment", f"{code(spec.id)}: {len(spec.agents)} agents, {', '.join(map(markdown, spec.agents))}"),
            ("sizes", f"observation {spec.O}, state {spec.S}, {spec.A} {self._actions()}; at most {d.horizon} steps"),
            ("team return", f"**{_mean(d.returns)}**; quartiles {' / '.join(f'{q:.2f}' for q in d.returns.quartiles)}"),
        ]
        if d.score is not None:
            low, high = (self.said[f"reference_{k}"] for k in ("random", "expert"))
            rows.append(
                ("score", f"{d.score:.3f} (0: uniformly random play, {low:.2f}; 1: the pool's best, {high:.2f})")
            )
        if isinstance(self.said.get("paper_mean"), int | float):
            rows.append(("*the paper's* mean return", f"*{self.said['paper_mean']}*: {PAPER_DATA}"))
        if d.imbalance is not None:
            lasting = (
                "" if d.lasting_imbalance is None else f"; of the agents' mean qualities {d.lasting_imbalance:.2f}"
            )
            rows.append(("imbalance", f"{d.imbalance:.2f} (0: equals, 1: one expert among random agents){lasting}"))
        rows.append(
            ("mean length", f"{_mean(d.lengths)} steps; {percent(d.terminated)} of the episodes end by themselves")
        )
        rows.append(("steps with reward", percent(d.rewarded)))
        rows.append(("content hash", code(self.said.get("content_hash", NONE))))
        yield from table(("", ""), rows)
        yield from self.picture("returns")

    def _actions(self) -> str:
        return "actions" if self.card.environment.discrete else "action components"

    def composition(self) -> Iterator[str]:
        """Recipe, and who played together."""
        yield "## Composition"
        yield ""
        if "recipe" in self.said:
            yield f"Recipe: {code(self.said['recipe'])}"
            origin = PROVENANCE.get(str(self.said.get("recipe_provenance")))
            note = self.said.get("recipe_note")
            if origin or note:
                yield f"({origin or ''}{'; ' if origin and note else ''}{markdown(str(note)) if note else ''})"
            yield ""
        header = ("share", "who", *map(markdown, self.d.agents), "episodes", "return", "median", "length")
        rows = [
            (
                percent(p.share), markdown(words(p, self.d.agents)), *(p.levels or [NONE] * len(self.d.agents)),
                f"{p.returns.episodes:,}", _mean(p.returns), f"{p.returns.quartiles[2]:.2f}", f"{p.lengths.mean:.1f}",
            )
            for p in self.d.parts
        ]  # fmt: skip
        yield from table(header, rows)

    def agents(self) -> Iterator[str]:
        """How good each agent is in which share."""
        yield "## Who is good in which share"
        yield ""
        if not self.d.played:
            yield "The file does not say who played."
            return
        header = ("agent", *(f"{k}, share" for k in LEVELS), *(f"team return when {k}" for k in LEVELS))
        by = {(p.agent, p.level): p for p in self.d.played}
        yield from table(header, [self._agent(a, [by.get((a, k)) for k in LEVELS]) for a in self.d.agents])
        yield ""
        yield LEVEL_WORDS
        yield from self.picture("agents")

    @staticmethod
    def _agent(agent: str, played: Sequence[Played | None]) -> tuple[str, ...]:
        shares = (percent(p.share) if p else NONE for p in played)
        return (markdown(agent), *shares, *(_mean(p.returns) if p else NONE for p in played))

    def members(self) -> Iterator[str]:
        """The pool members that played."""
        yield "## Who played"
        yield ""
        pool = self.card.pool
        if pool is None:
            yield "The pool that played is not known to the package that wrote this card."
            return
        bounds = " and ".join(f"{t:.2f}" for t in pool.thresholds)
        way = "ε =" if self.card.spec["discrete"] else "noise of standard deviation"
        yield f"Levels begin at mean returns {bounds}; members play with {way} {pool.epsilon:g}. For every level that"
        yield "occurs in an episode one member is drawn; an agent of that level plays its own slot of it. Return and"
        yield "wins are those of a whole team of the member, as the pool was measured."
        yield ""
        header = ("level", "member", "return", "wins", "training seed", "training steps", "plays", "in episodes")
        rows = [
            (
                m.level, code(m.name), f"{m.return_mean:.2f} ± {m.return_std:.2f}",
                NONE if m.win_rate is None else percent(m.win_rate), f"{m.seed}", f"{m.steps:,}",
                markdown(" ".join(m.agents)), percent(m.share),
            )
            for m in self.card.members
        ]  # fmt: skip
        yield from table(header, rows)

    def coverage(self) -> Iterator[str]:
        """How much of it is new."""
        c = self.d.coverage
        yield "## Coverage"
        yield ""
        own = [(f"{markdown(a)}'s own", f"{x:.3f}") for a, x in zip(self.d.agents, c.agents, strict=True)]
        rows = [("joint SACo", f"{c.joint:.3f}"), *own, ("unique episodes", percent(c.unique_episodes))]
        yield from table(("distinct over all", ""), rows)
        yield ""
        yield SACO
        yield from self.picture("coverage")

    def making(self) -> Iterator[str]:
        """How it was made."""
        yield "## How it was made"
        yield ""
        if "command" in self.said:
            yield "```bash"
            yield printable(str(self.said["command"])).replace("```", "'''")
            yield f"offmarl-bench verify {self.card.id}"
            yield "```"
            yield ""
        if self.card.operation is not None:
            yield f"Made from other datasets: {code(json.dumps(self.card.operation, sort_keys=True))}"
            yield ""
        versions = self.said.get("versions")
        facts = {
            "master seed": self.said.get("seed"), "simulator": self.said.get("backend"),
            "policy pool": self.said.get("pool_hash"), "commit": self.said.get("commit"),
            "software": ", ".join(f"{k} {v}" for k, v in versions.items()) if isinstance(versions, dict) else None,
            "content hash": self.said.get("content_hash"),
        }  # fmt: skip
        yield from table(("", ""), [(k, code(v)) for k, v in facts.items() if v is not None])

    def loading(self) -> Iterator[str]:
        """Snippets that load it."""
        c = self.card.dataset
        file = f"{c.quality}-v{c.version}{SUFFIX}"
        hub = self.repo or f"ORG/{c.suite}-{c.map}"
        yield "## Load it"
        yield ""
        yield "With offmarl-bench: local if it is here, else from the Hub, else an error that says how to generate it."
        yield ""
        yield "```python"
        yield "import numpy as np"
        yield "import offmarl_bench as ob"
        yield ""
        yield f'dataset = ob.load_dataset("{self.card.id}")'
        yield "episode = dataset[0]  # actions (T, N), rewards (T,), observations (T + 1, N, O), state (T + 1, S)"
        if self.d.played:
            best = max(self.d.played, key=lambda p: LEVELS.index(p.level))
            yield f'good = dataset.episodes(agent={json.dumps(best.agent)}, level="{best.level}")'
        yield "batch = next(dataset.batches(8, generator=np.random.default_rng(0)))  # padded, masked"
        yield "table = dataset.to_pandas()  # one line per row"
        yield "```"
        yield ""
        yield f"From the Hugging Face Hub, without offmarl-bench{'' if self.repo else ' (ORG: who pushed it)'}:"
        yield ""
        yield "```python"
        yield "from datasets import load_dataset"
        yield ""
        yield f'rows = load_dataset("{printable(hub)}", "{c.quality}", revision="v{c.version}", streaming=True)'
        yield "```"
        yield ""
        yield "With h5py; every column has the same first dimension, an episode's last row has no action:"
        yield ""
        yield "```python"
        yield "import h5py"
        yield ""
        yield f'with h5py.File("{file}") as file:'
        yield '    actions, rewards, last = (file[name][()] for name in ("actions", "rewards", "is_last"))'
        yield "```"
        yield ""
        yield "With pandas:"
        yield ""
        yield "```python"
        yield "import h5py"
        yield "import pandas as pd"
        yield ""
        yield f'with h5py.File("{file}") as file:'
        yield '    rows = pd.DataFrame({name: file[name][()] for name in ("episode_id", "timestep", "rewards")})'
        yield 'returns = rows.groupby("episode_id")["rewards"].sum()'
        yield "```"

    def limits(self) -> Iterator[str]:
        """What it is not."""
        yield "## Limits"
        yield ""
        for line in (*limits_of(self.backend), *LIMITS):
            yield f"- {line}"

    def rights(self) -> Iterator[str]:
        """Licence and citation."""
        yield "## Licence and citation"
        yield ""
        yield LICENCE if limits_of(self.backend) else LICENCE_ELSEWHERE
        yield ""
        yield "```bibtex"
        yield CITATION
        yield "```"


def render(card: Card, pictures: str | None, repo: str | None) -> str:
    """See ``cards.render_card``."""
    page = _Page(card, pictures, repo)
    sections = (
        page.head, page.composition, page.agents, page.members, page.coverage, page.making, page.loading, page.limits,
        page.rights,
    )  # fmt: skip
    return "\n\n".join("\n".join(section()) for section in sections) + "\n"
