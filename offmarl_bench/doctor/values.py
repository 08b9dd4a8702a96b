"""Lints about single numbers: finite, in range, legal, on a sensible scale."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool

from offmarl_bench.doctor.facts import Facts
from offmarl_bench.doctor.findings import Finding, error, info, listed, warning

LARGE = 1e3
"""An observation beyond this size is not scaled; networks expect numbers around 1."""
UNEVEN = 1e3
"""Features whose ranges differ by more than this factor are not scaled alike."""
MAKER = "find what made it: no method can learn from it"


def finite(facts: Facts) -> Iterator[Finding]:
    """No NaN and no infinity in anything that is learnt from."""
    for name, title in (
        ("obs", "observations"), ("state", "state"), ("rewards", "rewards"), ("actions", "actions"),
        ("next_obs", "next observations"),
    ):  # fmt: skip
        tally = facts.tally(name)
        if tally.count:
            yield error("not-finite", f"NaN or infinity in {title}", str(tally), MAKER, steps=tally.count)


def inf_padding(facts: Facts) -> Iterator[Finding]:
    """Observations of smaller agents are not padded with −∞."""
    tally = facts.tally("obs -inf")
    if tally.count:
        where = _by_agent(facts.minus_inf)
        yield error(
            "inf-padding", "observations are padded with -inf", f"{tally}; features {where}",
            "replace -inf by 0 and keep the true sizes: one -inf turns every network output into NaN",
            steps=tally.count, features=int(facts.minus_inf.sum()),
        )  # fmt: skip


def _by_agent(chosen: Bool[np.ndarray, "N O"]) -> str:
    """``agents 0–1: 3, 7–9; agent 2: 1``: agents with the same features together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, row in enumerate(chosen):
        if row.any():
            groups.setdefault(tuple(np.flatnonzero(row).tolist()), []).append(i)
    return "; ".join(f"agent{'s' * (len(who) > 1)} {listed(who)}: {listed(list(what))}" for what, who in groups.items())


def legal(facts: Facts) -> Iterator[Finding]:
    """Every action taken was legal, and every agent had one."""
    tally = facts.tally("illegal")
    if tally.count:
        fix = "an environment or a policy ignored the legal actions"
        yield error("illegal-action", "illegal actions were taken", str(tally), fix, steps=tally.count)
    tally = facts.tally("stuck")
    if tally.count:
        fix = "let dead agents have one no-op action: a masked softmax over nothing is NaN"
        yield error("no-legal-action", "an agent has no legal action", str(tally), fix, steps=tally.count)


def in_range(facts: Facts) -> Iterator[Finding]:
    """Choices exist; components of continuous actions lie in [−1, 1]."""
    tally = facts.tally("no such action")
    if tally.count:
        last = facts.layout.actions - 1 if facts.layout.actions else "…"
        fix = "check the action space, and that padding is not −1"
        yield error("action-range", f"actions outside 0 … {last}", str(tally), fix, steps=tally.count)
    tally = facts.tally("fraction")
    if tally.count:
        yield error(
            "action-range",
            "actions that are no whole numbers",
            str(tally),
            "store indices of choices",
            steps=tally.count,
        )
    tally = facts.tally("beyond 1")
    if tally.count:
        yield warning(
            "action-range", "actions outside [-1, 1]", f"{tally}; largest {facts.action_size:.4g}",
            "clip to the action space as the environment did, or know the bounds: a tanh policy never gets there",
            steps=tally.count, largest=facts.action_size,
        )  # fmt: skip


def features(facts: Facts) -> Iterator[Finding]:
    """Observations vary, and on one scale."""
    still = facts.low == facts.high
    for i, size in enumerate(facts.layout.obs_sizes):
        still[i, size:] = False
    dead = np.flatnonzero((facts.low == facts.high).all(1)).tolist()
    if dead and len(facts.lengths) > 1:
        yield warning(
            "constant", "an agent's observations never change", f"agent {listed(dead)} sees the same in every step",
            "check that this agent's observations were recorded", agents=len(dead),
        )  # fmt: skip
    still[dead] = False
    if still.any():
        yield info(
            "constant", "features never change", f"{int(still.sum())} of {still.size}: {_by_agent(still)}",
            "leave them out when you normalise by standard deviation", features=int(still.sum()),
        )  # fmt: skip
    span = facts.high - facts.low
    size = np.maximum(np.abs(facts.low), np.abs(facts.high))
    moving = span[(span > 0) & np.isfinite(span)]
    if not moving.size:
        return
    median = float(np.median(moving))
    wild = np.isfinite(span) & ((size > LARGE) | (span > UNEVEN * median))
    if wild.any():
        yield warning(
            "unscaled", "observations are not scaled",
            f"{_by_agent(wild)} reach {float(size[wild].max()):.4g}; the median feature spans {median:.4g}",
            "divide by each feature's range or standard deviation before training", features=int(wild.sum()),
            largest=float(size[wild].max()), median_span=median,
        )  # fmt: skip
