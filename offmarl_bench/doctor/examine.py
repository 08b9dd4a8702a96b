"""Run the lints: on one recording, and across several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from offmarl_bench.doctor import agents, episodes, native, values
from offmarl_bench.doctor.facts import Facts
from offmarl_bench.doctor.findings import SEVERITIES, Finding, error, info, warning
from offmarl_bench.foreign.view import Recording

OVERLAP = 0.01
"""Share of common episodes from which two splits are not independent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the doctor was told beside the data."""

    documented_return: float | None = None
    """The mean return that a paper or a page gives."""


@dataclass(frozen=True, slots=True)
class Lint:
    """One check: a function of the facts."""

    name: str
    codes: tuple[str, ...]
    """Codes of its findings."""
    run: Callable[[Facts, Options], Iterator[Finding]]
    contract: bool = False
    """Breaking it breaks format version 1, so that ``check_dataset`` refuses the data."""


def _plain(lint: Callable[[Facts], Iterator[Finding]]) -> Callable[[Facts, Options], Iterator[Finding]]:
    return lambda facts, _: lint(facts)


def _columns(facts: Facts, _: Options) -> Iterator[Finding]:
    if facts.native is not None:
        yield from native.columns(facts.native, facts.lengths)


def _statements(facts: Facts, _: Options) -> Iterator[Finding]:
    if facts.native is not None:
        yield from native.statements(facts.native, facts.layout.metadata, facts.lengths, facts.returns)


LINTS = (
    Lint("finite numbers", ("not-finite",), _plain(values.finite), True),
    Lint("padding with -inf", ("inf-padding",), _plain(values.inf_padding), True),
    Lint("legal actions", ("illegal-action", "no-legal-action"), _plain(values.legal), True),
    Lint("range of actions", ("action-range",), _plain(values.in_range), True),
    Lint("rules of our format", ("native",), _columns, True),
    Lint("what readers notice", ("padding", "onehot", "end-flags"), _plain(episodes.remarks)),
    Lint("marked ends", ("end-flags",), _plain(episodes.ends)),
    Lint("time limits", ("time-limit",), _plain(episodes.time_limit)),
    Lint("guessed ends", ("end-by-equality",), _plain(episodes.guessed_ends)),
    Lint("next observations", ("next-obs",), _plain(episodes.next_observations)),
    Lint("copied episodes", ("duplicates",), _plain(episodes.duplicates)),
    Lint("dead agents", ("dead-agents",), _plain(agents.dead_agents)),
    Lint("constant and unscaled features", ("constant", "unscaled"), _plain(values.features)),
    Lint("whose reward", ("no-reward", "team-reward"), _plain(agents.team_reward)),
    Lint("documented return", ("returns",), lambda facts, o: agents.documented_return(facts, o.documented_return)),
    Lint("what the metadata state", ("metadata",), _statements),
    Lint("what the file leaves out", ("no-index", "no-behaviour"), _plain(agents.about_the_file)),
)
"""All lints of one dataset, in the order in which they are run."""
ACROSS = "same-data"
"""Code of findings across several datasets."""


def examine(
    recording: Recording, options: Options | None = None, *, progress: bool = False
) -> tuple[Facts, tuple[Finding, ...]]:
    """Look at a whole recording once and judge it; findings come worst first.

    Args:
        recording: any dataset.
        options: what is known beside the data.
        progress: show a bar on stderr.

    Raises:
        FormatError: the data turn out to be damaged while they are read.
    """
    facts = Facts(recording, progress=progress)
    found = [f for lint in LINTS for f in lint.run(facts, options or Options())]
    return facts, tuple(sorted(found, key=lambda f: SEVERITIES.index(f.severity)))


def breaches(recording: Recording) -> tuple[Finding, ...]:
    """Errors that break the contract of format version 1, in the order of the lints."""
    facts = Facts(recording)
    found = (f for lint in LINTS if lint.contract for f in lint.run(facts, Options()))
    return tuple(f for f in found if f.severity == "error")


def across(all_facts: Sequence[Facts]) -> tuple[Finding, ...]:
    """Whether what is given as several datasets has episodes in common."""
    return tuple(
        f for k, a in enumerate(all_facts) for b in all_facts[k + 1 :] for f in _pair(a, b)
    )  # fmt: skip


def _pair(a: Facts, b: Facts) -> Iterator[Finding]:
    one, two = set(a.digests), set(b.digests)
    common = len(one & two)
    if not common:
        return
    what, names = "splits share episodes", f"{a.layout.path} and {b.layout.path}"
    shares = (
        f"{common} episodes in common, {common / len(one):.1%} of the first and {common / len(two):.1%} of the second"
    )
    numbers = {"common": common, "first": len(one), "second": len(two)}
    if one == two:
        fix = "one of them is mislabelled: results on both count one dataset twice"
        yield error(ACROSS, what, f"{names} are the same {common} episodes", fix, **numbers)
    elif common in (len(one), len(two)):
        inner, outer = (a, b) if common == len(one) else (b, a)
        text = f"{inner.layout.path} lies wholly in {outer.layout.path}: {shares}"
        fix = "say so: a method scored on both is scored on the same episodes twice"
        yield warning(ACROSS, what, text, fix, **numbers)
    elif common >= OVERLAP * min(len(one), len(two)):
        fix = "remove the common episodes from one, or say that one holds part of the other"
        yield warning(ACROSS, what, f"{names} overlap: {shares}", fix, **numbers)
    else:
        yield info(ACROSS, what, f"{names} have {shares}", "short episodes may coincide", **numbers)
