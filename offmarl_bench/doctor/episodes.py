"""Lints about whole episodes: how they end, whether they are copies, what comes after their last step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from offmarl_bench.doctor.facts import Facts
from offmarl_bench.doctor.findings import Finding, error, info, warning

MAX_COPIES = 0.01
"""Share of episodes that may be copies of others before it is an error: short episodes can coincide."""
MOST = 0.5
"""More than this share of the episodes is a property of the data, not of some episodes."""
NEARLY_ALL = 0.9
"""At least this share of the episodes does it, save for rounding and chance."""
FEW = 2
"""Fewer episodes than this prove nothing."""
AT_LIMIT = 0.2
"""A longest length that this share of the episodes has is a time limit."""


def remarks(facts: Facts) -> Iterator[Finding]:
    """What only the reader of the format could see."""
    for remark in facts.remarks:
        what, fix = REMARKS[remark.code]
        yield (warning if remark.code == "padding" and "no array" in remark.evidence else error)(
            remark.code, what, remark.evidence, fix
        )


REMARKS = {
    "padding": (
        "padding does not begin where the episode ends",
        "write 'filled' as ones up to the last observation, then zeros",
    ),
    "onehot": ("actions_onehot contradicts actions", "make it again from actions: learners read one or the other"),
    "end-flags": ("agents end at different times", "store one terminal flag a step for the team"),
}
"""Code → rule and remedy."""


def ends(facts: Facts) -> Iterator[Finding]:
    """Every episode's end is marked, once, where it is."""
    layout, lengths = facts.layout, facts.lengths
    tally = facts.tally("ended inside")
    if tally.count:
        yield error(
            "end-flags", "terminal flags inside episodes", str(tally), "cut the episode there, or clear the flag",
            steps=tally.count,
        )  # fmt: skip
    if layout.boundaries != "stated":
        found = (
            f"no flag is set; {len(lengths)} episodes were guessed from jumps in next_obs"
            if layout.boundaries == "guessed"
            else f"no flag is set and nothing else tells: {int(lengths.sum())} steps read as one episode"
        )
        fix = "write terminal and truncation flags when recording; values bootstrap across the ends otherwise"
        yield error("end-flags", "ends are not marked", found, fix, guessed=len(lengths))
        return
    limit = layout.horizon
    unmarked = ~facts.ended & ~facts.cut
    if limit is not None:
        unmarked &= lengths < limit
    if layout.unfinished:
        unmarked[-1] = False
        text = f"the file stops in the middle of episode {len(lengths) - 1}"
        yield info("end-flags", "the last episode is not whole", text, "drop its last steps, or treat them as cut")
    count = int(unmarked.sum())
    if not count:
        return
    until = f" before step {limit}" if limit is not None else ""
    evidence = f"{count} of {len(lengths)} stop without a flag{until}, the first is episode {int(np.argmax(unmarked))}"
    fix = "mark where the task was over as terminal and where time was up as truncated; learning bootstraps there"
    none = not facts.ended.any() and not facts.cut.any() and count > MOST * len(lengths)
    yield (error if none else warning)("end-flags", "ends are not marked", evidence, fix, episodes=count)


def time_limit(facts: Facts) -> Iterator[Finding]:
    """Time running out is not a terminal state."""
    layout, lengths = facts.layout, facts.lengths
    limit = layout.horizon or int(lengths.max())
    reached = lengths >= limit
    count = int(reached.sum())
    marked = int((facts.ended & ~facts.cut & reached).sum())
    if count < max(FEW, AT_LIMIT * len(lengths)) or marked < NEARLY_ALL * count:
        return
    yield warning(
        "time-limit", "a time limit is marked as terminal",
        f"{marked} of {len(lengths)} episodes are marked terminal after exactly {limit} steps, the longest there is",
        "mark them as truncated, so that values bootstrap there; ignore this if the task really ends at that step",
        episodes=marked, limit=limit,
    )  # fmt: skip


def guessed_ends(facts: Facts) -> Iterator[Finding]:
    """Ends were recorded, not guessed from a state that no longer changes."""
    if facts.still is None or facts.still_before is None:
        return
    marked = facts.ended & ~facts.cut if facts.ended.any() else np.ones(len(facts.lengths), bool)
    if facts.layout.unfinished:
        marked = marked.copy()
        marked[-1] = False
    count, still = int(marked.sum()), int((marked & facts.still).sum())
    if count < FEW or still < NEARLY_ALL * count or facts.still_before.mean() > MOST:
        return
    stated = bool(facts.ended.any())
    evidence = f"in {still} of {count} ends the next observation is the same as the one before it (s' == s)"
    yield (warning if stated else error)(
        "end-by-equality", "ends look guessed from s == s'", evidence,
        "record the final observation and the environment's terminal flag: standing still looks like an end otherwise",
        episodes=still,
    )  # fmt: skip


def next_observations(facts: Facts) -> Iterator[Finding]:
    """What follows the last step belongs to the same episode; what follows others is the next row."""
    tally = facts.tally("next_obs differs")
    if tally.count:
        fix = "the rows are not in order of time, or next_obs was taken elsewhere; store episodes in order"
        yield error("next-obs", "next_obs is not the next row's observation", str(tally), fix, steps=tally.count)
    elif facts.layout.tail == 0 and facts.still is not None:
        share = facts.layout.n * facts.layout.obs * facts.layout.rows
        text = f"next_obs repeats the next row's observation: {share} numbers more than needed"
        yield info(
            "next-obs", "observations are stored twice", text, "store T + 1 observations an episode", numbers=share
        )
    if facts.crossed is None or len(facts.crossed) < 1:
        return
    if facts.still is not None and facts.still.mean() > MOST:
        return  # nothing moves, so equality says nothing
    count = int(facts.crossed.sum())
    if count > MOST * len(facts.crossed):
        yield error(
            "next-obs", "the observation after an end is of the next episode",
            f"in {count} of {len(facts.crossed)} ends it is the first observation of the next episode, "
            f"as after episode {int(np.argmax(facts.crossed))}",
            "record the final observation before the environment resets itself", episodes=count,
        )  # fmt: skip


def duplicates(facts: Facts) -> Iterator[Finding]:
    """Episodes are not copies of each other."""
    counts = Counter(facts.digests)
    total, unique = len(facts.digests), len(counts)
    copies = total - unique
    if not copies:
        return
    seen: dict[bytes, int] = {}
    for k, digest in enumerate(facts.digests):
        if digest in seen:
            first, original = k, seen[digest]
            break
        seen[digest] = k
    evidence = (
        f"{copies} of {total} are copies, the first is episode {first} of {original}; {unique / total:.1%} are unique"
    )
    times, most = Counter(counts.values()).most_common(1)[0]
    fix = "give every episode its own seed"
    if times > 1 and most > MOST * unique:
        evidence += f", most of them each {times} times"
        fix = f"{times} parallel workers probably shared one seed: {fix}, and keep one copy of each"
    yield (error if copies > MAX_COPIES * total else warning)(
        "duplicates", "episodes are copies of each other", evidence, fix, copies=copies, unique=unique, times=times
    )
