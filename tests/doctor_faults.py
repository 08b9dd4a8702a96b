"""Every kind of fault of an offline dataset: how to plant it, where it can exist, and what the doctor has to answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tests.doctor_corpus import EPISODES, FLAT, FORMATS, A, Corpus, N

WITH_LEGAL = ("offmarl-bench", "pymarl", "minari", "omiga", "d4rl", "vault")
WITH_NEXT = ("offmarl-bench", "pymarl", "minari", "omiga", "omar", "d4rl")
PER_AGENT = ("pymarl", "minari", "omar", "d4rl", "vault")
WITH_STATE = ("offmarl-bench", "pymarl", "minari", "omiga", "vault")
COUNTED = ("pymarl", "minari", "omiga", "d4rl", "vault")
"""Formats that say how many choices there are (ours refuses others unread)."""


@dataclass(frozen=True)
class Fault:
    """One thing gone wrong."""

    code: str
    severity: str
    plant: Callable[[Corpus], None]
    says: str
    """Words of the evidence."""
    formats: Sequence[str] = FORMATS
    """Where it can exist."""
    discrete: bool = True


def quirk(name: str) -> Callable[[Corpus], None]:
    """A fault of the writer."""
    return lambda corpus: corpus.quirks.update({name: True})


def _eight_times(corpus: Corpus) -> None:
    corpus.episodes = [corpus.episodes[k // 8] for k in range(EPISODES)]


def _one_copy(corpus: Corpus) -> None:
    corpus.episodes[9] = corpus.episodes[4]


def _illegal(corpus: Corpus) -> None:
    corpus.episodes[5].legal[3, 1, corpus.episodes[5].actions[3, 1]] = False
    corpus.episodes[5].legal[3, 1, (corpus.episodes[5].actions[3, 1] + 1) % A] = True


def _stuck(corpus: Corpus) -> None:
    corpus.episodes[5].legal[3, 1] = False


def _beyond(corpus: Corpus) -> None:
    corpus.episodes[5].actions[3, 1] = A


def _unclipped(corpus: Corpus) -> None:
    corpus.episodes[5].actions[3, 1] = 5.0


def _put(field: str, value: float) -> Callable[[Corpus], None]:
    def plant(corpus: Corpus) -> None:
        getattr(corpus.episodes[5], field)[3, : 2 if field != "rewards" else N] = value

    return plant


def _padded_with_inf(corpus: Corpus) -> None:
    for e in corpus.episodes:
        e.obs[:, 2, 3:] = -np.inf


def _blind(corpus: Corpus) -> None:
    for e in corpus.episodes:
        e.obs[:, 1] = 0.5


def _stuck_feature(corpus: Corpus) -> None:
    for e in corpus.episodes:
        e.obs[:, 1, 2] = 0.5


def _unscaled(corpus: Corpus) -> None:
    for e in corpus.episodes:
        e.obs[:, 1, 2] *= 1e5


def _dead_with_choices(corpus: Corpus) -> None:
    for e in corpus.episodes:
        e.legal[~e.obs.any(2)] = True


def _back_from_the_dead(corpus: Corpus) -> None:
    corpus.episodes[5].obs[2, 1] = 0
    corpus.episodes[5].legal[2, 1] = np.arange(A) == 0
    if corpus.discrete:
        corpus.episodes[5].actions[2, 1] = 0


def _all_zero_reward(corpus: Corpus) -> None:
    for e in corpus.episodes:
        e.rewards[:] = 0


def _own_rewards(corpus: Corpus) -> None:
    corpus.quirks["per agent"] = True
    for e in corpus.episodes:
        e.rewards = e.rewards * np.arange(1, N + 1, dtype=np.float32)


def _one_other_reward(corpus: Corpus) -> None:
    corpus.quirks["per agent"] = True
    corpus.episodes[5].rewards[3, 1] += 1


def _time_is_terminal(corpus: Corpus) -> None:
    first = corpus.episodes[0]
    g = np.random.default_rng(7)
    for k in range(EPISODES):
        noise = g.normal(size=first.obs.shape).astype(np.float32)
        corpus.episodes[k] = replace(first, obs=np.where(first.obs == 0, 0, noise), terminal=True)


def _still_ends(corpus: Corpus) -> None:
    for e in corpus.episodes:
        e.obs[-1], e.terminal = e.obs[-2], True


def _crossing(corpus: Corpus) -> None:
    for e, after in zip(corpus.episodes, corpus.episodes[1:], strict=False):
        e.obs = e.obs.copy()
        e.obs[-1] = after.obs[0]


def _shuffled(corpus: Corpus) -> None:
    for k, e in enumerate(corpus.episodes):
        e.next_obs = e.obs[1:][np.random.default_rng(k).permutation(len(e))]


def _nothing(_: Corpus) -> None:
    return


FAULTS: dict[str, Fault] = {
    "each episode 8 times": Fault("duplicates", "error", _eight_times, "35 of 40 are copies, .* each 8 times"),
    "one episode twice": Fault("duplicates", "error", _one_copy, "1 of 40 are copies, the first is episode 9 of 4"),
    "illegal action": Fault("illegal-action", "error", _illegal, "episode 5, step 3, agent 1", WITH_LEGAL),
    "nothing legal": Fault("no-legal-action", "error", _stuck, "episode 5, step 3, agent 1", WITH_LEGAL),
    "no such action": Fault("action-range", "error", _beyond, "episode 5, step 3, agent 1", COUNTED),
    "unclipped action": Fault("action-range", "warning", _unclipped, "step 3, agent 1; largest 5", FORMATS, False),
    "NaN action": Fault("not-finite", "error", _put("actions", np.nan), "episode 5, step 3", FORMATS, False),
    "NaN observation": Fault("not-finite", "error", _put("obs", np.nan), "episode 5, step 3"),
    "infinite observation": Fault("not-finite", "error", _put("obs", np.inf), "episode 5, step 3"),
    "NaN state": Fault("not-finite", "error", _put("state", np.nan), "episode 5, step 3", WITH_STATE),
    "NaN reward": Fault("not-finite", "error", _put("rewards", np.nan), "episode 5, step 3"),
    "-inf padding": Fault("inf-padding", "error", _padded_with_inf, "features agent 2: 3–4"),
    "blind agent": Fault("constant", "warning", _blind, "agent 1 sees the same"),
    "stuck feature": Fault("constant", "info", _stuck_feature, "1 of 15: agent 1: 2"),
    "unscaled feature": Fault("unscaled", "warning", _unscaled, "agent 1: 2 reach"),
    "dead agents with choices": Fault("dead-agents", "warning", _dead_with_choices, "several legal", WITH_LEGAL),
    "back from the dead": Fault("dead-agents", "warning", _back_from_the_dead, "episode 5, step 2, agent 1"),
    "dead agents": Fault("dead-agents", "info", _nothing, "all zero until the end"),
    "no reward": Fault("no-reward", "warning", _all_zero_reward, "all are 0"),
    "rewards of one's own": Fault("team-reward", "info", _own_rewards, "differ between agents in", PER_AGENT),
    "one other reward": Fault("team-reward", "warning", _one_other_reward, "in 1 of .* episode 5, step 3", PER_AGENT),
    "copied reward": Fault("team-reward", "info", quirk("per agent"), "the same number for all 3 agents", PER_AGENT),
    "no ends": Fault("end-flags", "error", quirk("no ends"), "no flag is set|stop without a flag"),
    "no timeouts": Fault("end-flags", "warning", quirk("no timeouts"), "2 of 40 stop without a flag", ("d4rl",)),
    "terminal inside": Fault("end-flags", "error", quirk("terminal inside"), "is episode 3, step 1", ("pymarl",)),
    "time limit as terminal": Fault(
        "time-limit", "warning", _time_is_terminal, "40 of 40 .* after exactly 16", (*FLAT, "minari", "pymarl")
    ),
    "ends where nothing moves": Fault("end-by-equality", "warning", _still_ends, "in 40 of 40 ends", WITH_NEXT),
    "next episode after the end": Fault("next-obs", "error", _crossing, "in 39 of 39 ends", WITH_NEXT),
    "shuffled next_obs": Fault("next-obs", "error", _shuffled, "episode 0, step 0", ("omar", "d4rl")),
    "next_obs stored": Fault("next-obs", "info", _nothing, "repeats the next row", ("omar", "d4rl")),
    "holes in filled": Fault("padding", "error", quirk("holes"), "holes in 1 episodes, .* 3", ("pymarl",)),
    "terminal in the padding": Fault("padding", "error", quirk("terminal behind"), "behind the end of 1", ("pymarl",)),
    "wrong one-hot": Fault("onehot", "error", quirk("onehot"), "differs from 'actions'", ("pymarl",)),
    "no index": Fault("no-index", "info", _nothing, "reading all flags", FLAT),
    "nobody knows who played": Fault("no-behaviour", "info", quirk("no behaviour"), "which policy played"),
}  # fmt: skip
"""Every kind of fault by name. What has severity info is nothing wrong, but should be said."""
