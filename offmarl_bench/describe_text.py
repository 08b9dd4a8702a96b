"""A ``Description`` as a page for the terminal: bars that show at a glance who is good in which share of the data.

Every level has its own letter and its own shade, so the page reads the same without colour; without a Unicode
terminal the shades are plain characters. What a file says about itself is shown with control characters replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from offmarl_bench.describe import UNKNOWN_LEVEL, Description, Part, Played, Spread
from offmarl_bench.report_lines import printable
from offmarl_bench.types import LEVELS

MIN_WIDTH = 60
"""Narrower terminals wrap."""
MAX_WIDTH = 110
"""Wider ones are not filled: the eye loses the line."""
SHOWN = (*LEVELS, UNKNOWN_LEVEL)
LETTERS = dict(zip(SHOWN, (*(level[0] for level in LEVELS), "?"), strict=True))
PLAIN = str.maketrans({**dict(zip("░▒█·▁▂▃▄▅▆▇–…", "-=#?.:;=+*%-.", strict=True)), "±": "+-"})
"""For terminals without Unicode."""
SHADES = dict(zip(SHOWN, "░▒█·", strict=True))
COLOURS = dict(zip(SHOWN, ("33", "36", "94", "90"), strict=True))
"""ANSI: yellow, cyan, bright blue, grey; told apart with any colour vision."""
BLOCKS = " ▁▂▃▄▅▆▇█"
TINY = 1e-9
"""Less than one episode in any dataset: a rest that rounding left."""
COLUMN = 16
"""Columns of a level in the table of agents."""
KEYS = {"recipe": "recipe", "command": "made by", "backend": "backend", "content_hash": "content hash"}
"""Provenance that the page ends with; the rest is in ``--json`` and on the card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """What a terminal can show."""

    width: int = 80
    """Columns."""
    colour: bool = False
    unicode: bool = True


def percent(share: float) -> str:
    """``50 %``, ``0.5 %``: as many digits as it takes."""
    return f"{100 * share:.3g} %"


def _mean(s: Spread) -> str:
    return f"{s.mean:.2f} ± {s.std:.2f}"


def bars(counts: Sequence[int], width: int, top: int | None = None) -> str:
    """A histogram of at most ``width`` columns in one line; whatever is not 0 shows.

    Args:
        counts: episodes in each bar.
        width: columns.
        top: count that reaches the top, after neighbours were put together; None: the greatest one.
    """
    merged = merge(counts, width)
    most = max(top or 0, *merged, 1)
    return "".join(BLOCKS[-(-n * (len(BLOCKS) - 1) // most)] for n in merged)


def merge(counts: Sequence[int], width: int) -> list[int]:
    """Neighbouring bars put together until there are at most ``width``."""
    step = -(-len(counts) // max(1, width))
    return [sum(counts[k : k + step]) for k in range(0, len(counts), step)]


class _Page:
    """The lines of one description."""

    def __init__(self, found: Description, terminal: Terminal) -> None:
        self.d, self.terminal = found, terminal
        self.width = min(max(terminal.width, MIN_WIDTH), MAX_WIDTH)
        self.names = [printable(a) for a in found.agents]
        self.name = max(map(len, self.names))

    def paint(self, text: str, level: str) -> str:
        """``text`` in the colour of a level."""
        return f"\x1b[{COLOURS[level]}m{text}\x1b[0m" if self.terminal.colour and text else text

    def bold(self, text: str) -> str:
        """A heading."""
        return f"\x1b[1m{text}\x1b[0m" if self.terminal.colour else text

    def head(self) -> Iterator[str]:
        """What it is and how good it is."""
        d = self.d
        yield f"{self.bold(printable(d.dataset))}  {d.episodes:,} episodes, {d.steps:,} steps of {printable(d.env_id)}"
        yield f"team return {_mean(d.returns)}, from {d.returns.quartiles[0]:.2f} to {d.returns.quartiles[-1]:.2f}"
        if d.score is not None:
            low, high = (d.provenance[f"reference_{k}"] for k in ("random", "expert"))
            yield f"score {d.score:.2f}, where 0 is random play ({low:.2f}) and 1 the pool's best member ({high:.2f})"
        if d.imbalance is not None:
            yield f"imbalance {d.imbalance:.2f}, where 0 is a team of equals and 1 one expert among random agents"

    def parts(self) -> Iterator[str]:
        """One bar a composition."""
        yield self.bold("Who played together") + ("" if self.known else ": the file does not say")
        if not self.known:
            return
        agents = max(sum(len(a) + 2 for a in self.d.agents), 0)
        length = max(10, self.width - agents - 30)
        for part in self.d.parts:
            full = max(1, round(part.share * length))
            bar = "█" * full + " " * (length - full)
            yield f"  {percent(part.share):>7} {bar} {self._cast(part):{agents}} return {_mean(part.returns)}"

    @property
    def known(self) -> bool:
        """Whether the file says who played."""
        return bool(self.d.played)

    def _cast(self, part: Part) -> str:
        if not part.levels:
            return part.composition
        return (
            " ".join(
                self.paint(f"{a}{LETTERS[level]}", level) for a, level in zip(self.names, part.levels, strict=True)
            )
            + " "
        )

    def agents(self) -> Iterator[str]:
        """One bar an agent: its share of the data at each level, and the mean return there."""
        if not self.known:
            return
        room = COLUMN * len(LEVELS)
        length = max(12, self.width - self.name - 4 - room)
        blank = f"  {'':{self.name}}  {'':{length}}"
        yield self.bold("Who is good in which share of the data, and the team's mean return then")
        yield blank + "".join(self.paint(f"{f'{SHADES[level]} {level}':>{COLUMN}}", level) for level in LEVELS)
        for agent in self.d.agents:
            mine = {p.level: p for p in self.d.played if p.agent == agent}
            yield f"  {printable(agent):{self.name}}  {self._bar(mine, length)}" + "".join(
                self._cell(mine[level]) if level in mine else f"{'–':>{COLUMN}}" for level in LEVELS
            )

    @staticmethod
    def _cell(p: Played) -> str:
        return f"{percent(p.share):>{COLUMN - 8}}{p.returns.mean:>8.2f}"

    def _bar(self, mine: dict[str, Played], length: int) -> str:
        shares = {level: mine[level].share for level in LEVELS if level in mine}
        rest = 1 - sum(shares.values())
        if rest > TINY:
            shares[UNKNOWN_LEVEL] = rest
        # What is there shows, however rare: one column each, the others by share.
        widths = {level: 1 + int(share * (length - len(shares))) for level, share in shares.items()}
        widths[max(shares, key=lambda k: shares[k])] += length - sum(widths.values())
        return "".join(self.paint(SHADES[level] * width, level) for level, width in widths.items())

    def histograms(self) -> Iterator[str]:
        """Returns and lengths, in one line each."""
        d = self.d
        low, high = f"{d.returns.quartiles[0]:.1f}", f"{d.returns.quartiles[-1]:.1f}"
        room = self.width - 32
        counts = [sum(c) for c in zip(*(p.return_counts for p in d.parts), strict=True)]
        yield self.bold("Spread")
        yield f"  return  {low:>7} {bars(counts, room)} {high}"
        counts = [sum(c) for c in zip(*(p.length_counts for p in d.parts), strict=True)]
        yield f"  length  {1:>7} {bars(counts, room)} {d.horizon}"
        yield f"  mean length {_mean(d.lengths)} of at most {d.horizon} steps"
        ends, rewarded = percent(d.terminated), percent(d.rewarded)
        yield f"  {ends} of the episodes end by themselves; {rewarded} of the steps have reward"

    def coverage(self) -> Iterator[str]:
        """How much of it is new."""
        c = self.d.coverage
        yield self.bold("Coverage") + " (distinct state-action pairs over steps: SACo)"
        own = " ".join(f"{a}={x:.2f}" for a, x in zip(self.names, c.agents, strict=True))
        line = printable(f"joint {c.joint:.2f}; each agent's own: {own}")
        yield from wrap(line, self.width, initial_indent="  ", subsequent_indent="    ")
        yield f"  {percent(c.unique_episodes)} of the episodes are no copies of others"

    def provenance(self) -> Iterator[str]:
        """Where it comes from."""
        said = self.d.provenance
        for key, label in KEYS.items():
            if key in said:
                yield f"{label}: {printable(str(said[key]))}"
        if isinstance(said.get("paper_mean"), int | float):
            yield f"the paper's data of this name: mean return {said['paper_mean']} (its own policies and simulator)"


def as_text(found: Description, terminal: Terminal | None = None) -> str:
    """A page for the terminal; None: 80 columns, no colour, Unicode."""
    page = _Page(found, terminal or Terminal())
    blocks = (page.head(), page.agents(), page.parts(), page.histograms(), page.coverage(), page.provenance())
    text = "\n\n".join(block for block in ("\n".join(lines) for lines in blocks) if block)
    return text if page.terminal.unicode else text.translate(PLAIN).encode("ascii", "replace").decode()
