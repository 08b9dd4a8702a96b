"""Lints about the team: whose reward it is, who is dead, who played."""

from __future__ import annotations

from collections.abc import Iterator

from offmarl_bench.doctor.facts import Facts
from offmarl_bench.doctor.findings import Finding, error, info, warning

RARE = 0.05
"""Rewards that differ in less than this share of the rewarded steps were meant to be the team's."""
RETURN_SLACK = 0.01
"""Relative difference allowed between a documented mean return and that of the data."""


def team_reward(facts: Facts) -> Iterator[Finding]:
    """It is clear whether rewards are the team's or each agent's."""
    if not facts.rewarded:
        yield warning("no-reward", "no reward", "all are 0", "there is nothing to learn from")
        return
    if facts.returns.ndim == 1 or facts.returns.shape[1] < 2:
        return
    n, differs = facts.returns.shape[1], facts.reward_differs
    if not differs:
        text = f"the same number for all {n} agents in every step: the team's reward, stored {n} times"
        yield info(
            "team-reward",
            "the team's reward is copied to every agent",
            text,
            f"use one of them; summing them counts it {n} times",
        )
        return
    evidence = f"rewards differ between agents in {differs} of {facts.rewarded} rewarded steps"
    evidence += f", first in {facts.tally('reward differs').first}"
    numbers = {"steps": differs, "rewarded": facts.rewarded}
    if differs < RARE * facts.rewarded:
        fix = "look at these steps: a team reward that some agents did not get, or rounding"
        yield warning("team-reward", "rewards differ here and there", evidence, fix, **numbers)
        return
    fix = "say whether a team return is their sum or their mean before comparing numbers"
    yield info("team-reward", "rewards are each agent's own", evidence, fix, **numbers)


def dead_agents(facts: Facts) -> Iterator[Finding]:
    """Agents without observations are dead, and treated so."""
    zero, back, free = (facts.tally(k) for k in ("zero", "zero and back", "zero with choices"))
    if free.count:
        yield warning(
            "dead-agents", "agents that see nothing have choices",
            f"all-zero observation and several legal actions in {free}",
            "give dead agents the no-op only: an update on them teaches what to do with no information",
            steps=free.count,
        )  # fmt: skip
    if back.count:
        yield warning(
            "dead-agents", "agents see nothing, then something again",
            f"all-zero observations followed by others of the same episode after {back}",
            "if zeros stand for missing data, mask those steps", steps=back.count,
        )  # fmt: skip
    if zero.count and not free.count and not back.count:
        share = zero.count / max(1, int(facts.lengths.sum()))
        text = f"observations are all zero until the end of the episode, in {share:.0%} of the steps: {zero}"
        yield info(
            "dead-agents",
            "agents see nothing for a while, probably dead",
            text,
            "leave them out of every mean",
            steps=zero.count,
        )


def documented_return(facts: Facts, documented: float | None) -> Iterator[Finding]:
    """The mean return is the documented one."""
    if documented is None:
        return
    means = {"": float(facts.returns.mean())}
    if facts.returns.ndim == 2 and facts.returns.shape[1] > 1 and facts.reward_differs:
        means = {
            " (sum over agents)": float(facts.returns.sum(1).mean()),
            " (mean over agents)": float(facts.returns.mean()),
        }
    name, mean = min(means.items(), key=lambda m: abs(m[1] - documented))
    off = abs(mean - documented)
    if not off <= RETURN_SLACK * abs(documented):
        yield error(
            "returns", "the mean return is not the documented one",
            f"documented {documented:g}, the data have {mean:.4g}{name} over {len(facts.returns)} episodes",
            "this is not the documented data, or its reward is scaled otherwise; do not compare scores", mean=mean,
            documented=documented,
        )  # fmt: skip


def about_the_file(facts: Facts) -> Iterator[Finding]:
    """What the file leaves out."""
    layout = facts.layout
    if not layout.indexed:
        text = "episodes have to be found by reading all flags"
        yield info("no-index", "no index of episodes", text, "convert it, or keep starts and lengths beside it")
    if not layout.behaviour:
        text = "nothing says which policy played which agent"
        yield info(
            "no-behaviour", "nobody knows who played", text, "ask the authors; per-agent quality cannot be checked"
        )
