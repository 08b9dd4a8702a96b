"""Replay a submission on episodes that nobody could have prepared for, and say whether the claim agrees.

The seeds of the episodes are derived from the hash of the whole submission and a salt. So they are fixed only when
the submission is: changing a policy, a number or a comma changes them all. Somebody could still try one comma after
another and submit the luckiest; the salt, which the repository's workflow takes from its own state, ends that.
"""

from __future__ import annotations

import datetime
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leaderboard.agreement import ERROR_RATE, compare
from leaderboard.bundle import EPISODES_TO_RANK, Bundle, bundle_hash
from leaderboard.claims_check import Known
from leaderboard.replay import Order, Replayed, replay
from leaderboard.validate import validate
from leaderboard.verdict import DIFFERS, SELF_REPORTED, VERIFIED, Check, Verdict, write_verdict
from offmarl_bench import provenance
from offmarl_bench.envs import get_suite, split_id
from offmarl_bench.errors import FormatError
from offmarl_bench.records import to_json
from offmarl_bench.results import Result

EPISODES = 128
"""Replayed for each training seed and kind of play: four times the claim's, which are then the uncertain ones."""
SEED_BYTES = 8
KINDS = {"greedy": True, "sampled": False}
SAME = 1e-6
"""Returns closer than this are the same return."""


def seed_of(bundle: str, salt: str, stem: str) -> int:
    """Master seed of the episodes on which one policy is replayed.

    Args:
        bundle: hash of the submission.
        salt: what the submitter could not know; may be empty.
        stem: which policy.
    """
    digest = hashlib.sha256("\0".join((bundle, salt, stem)).encode()).digest()
    return int.from_bytes(digest[:SEED_BYTES], "big")


def _claimed(result: Result, play: str) -> tuple[tuple[float, ...], float | None]:
    greedy = KINDS[play]
    returns = result.greedy_returns if greedy else result.stochastic_returns
    return returns, result.greedy_win_rate if greedy else result.stochastic_win_rate


def _orders(bundle: Bundle, digest: str, salt: str, episodes: int) -> dict[str, Order]:
    """Two for every policy and kind of play: new episodes, and the claim's own once more."""
    orders = {}
    for stem, result in bundle.results.items():
        for play, greedy in KINDS.items():
            again = len(_claimed(result, play)[0])
            for name, seed, count in (
                ("new", seed_of(digest, salt, stem), episodes), ("own", result.evaluation_seed, again),
            ):  # fmt: skip
                orders[f"{name}/{play}/{stem}"] = Order(
                    stem=stem, env_id=result.env_id, greedy=greedy, seed=seed, episodes=count
                )
    return orders


def _wins(count: float, episodes: int) -> list[float]:
    won = round(count)
    return [1.0] * won + [0.0] * (episodes - won)


Samples = tuple[list[float], list[float]]
"""Claimed and replayed, one number per episode."""


def _samples(result: Result, play: str, new: Replayed) -> dict[str, Samples]:
    returns, rate = _claimed(result, play)
    found: dict[str, Samples] = {"return": (list(returns), list(new.returns))}
    if rate is not None and new.wins is not None:
        found["wins"] = (_wins(rate * len(returns), len(returns)), _wins(new.wins, len(new.returns)))
    lengths = result.greedy_lengths if KINDS[play] else result.stochastic_lengths
    if lengths:
        found["steps"] = ([float(n) for n in lengths], [float(n) for n in new.lengths])
    return found


def compare_all(bundle: Bundle, found: dict[str, Replayed], digest: str, error_rate: float) -> list[Check]:
    """Every comparison: returns, wins and steps; greedy and sampled; each seed alone and all of a dataset together.

    Args:
        bundle: the claim.
        found: the replay, under the names of the orders.
        digest: hash of the submission, from which the relabellings are drawn too.
        error_rate: of all comparisons together.
    """
    strata: dict[tuple[str, str, str], list[tuple[int, Samples]]] = defaultdict(list)
    for stem, result in bundle.results.items():
        for play in KINDS:
            for measure, samples in _samples(result, play, found[f"new/{play}/{stem}"]).items():
                strata[result.dataset or result.env_id, play, measure].append((result.seed, samples))
    plan: list[tuple[str, str, str, int | None, Sequence[Samples]]] = []
    for (dataset, play, measure), seeds in sorted(strata.items()):
        if measure == "steps" and len({n for _, pair in seeds for numbers in pair for n in numbers}) == 1:
            continue  # on a map that always lasts the same there is nothing to compare
        plan.append((dataset, play, measure, None, [s for _, s in seeds]))
        if len(seeds) > 1:
            plan += [(dataset, play, measure, seed, [s]) for seed, s in sorted(seeds)]
    checks = []
    for k, (dataset, play, measure, which, pairs) in enumerate(plan):
        generator = np.random.default_rng([int(digest[:16], 16), k])
        agreement = compare([c for c, _ in pairs], [r for _, r in pairs], generator, error_rate=error_rate / len(plan))
        checks.append(
            Check(
                dataset=dataset, seed=which, play=play, measure=measure, claimed=agreement.claimed,
                replayed=agreement.replayed, low=agreement.low, high=agreement.high, agrees=agreement.agrees,
            )
        )  # fmt: skip
    return checks


def _repeated(bundle: Bundle, found: dict[str, Replayed]) -> dict[str, int]:
    total, same = 0, 0
    for stem, result in bundle.results.items():
        for play in KINDS:
            claimed = _claimed(result, play)[0]
            again = found[f"own/{play}/{stem}"].returns
            total += len(claimed)
            same += sum(abs(a - b) <= SAME * max(1.0, abs(a)) for a, b in zip(claimed, again, strict=True))
    return {"episodes": total, "same": same}


def _not_checkable(bundle: Bundle, policies: int, engine: dict[str, str]) -> str | None:
    """Why a replay would show nothing, None if it would."""
    if not policies:
        return "it brings no policies"
    for result in bundle.results.values():
        if result.backend != engine[result.env_id]:
            return f"it was scored on {result.backend}, this is {engine[result.env_id]}"
        least = min(len(result.greedy_returns), len(result.stochastic_returns))
        if least < EPISODES_TO_RANK:
            return f"it has {least} episodes a seed and kind of play, a comparison needs {EPISODES_TO_RANK}"
    return None


def _told(checks: Sequence[Check]) -> str:
    bad = [c for c in checks if not c.agrees]
    if not bad:
        return f"all {len(checks)} comparisons agree"
    worst = max(bad, key=lambda c: min(abs(c.low), abs(c.high)) / max(c.high - c.low, np.finfo(float).tiny))
    seed = "all seeds" if worst.seed is None else f"seed {worst.seed}"
    return (
        f"{len(bad)} of {len(checks)} comparisons differ; {worst.dataset}, {seed}, {worst.play} {worst.measure}: "
        f"claimed {worst.claimed:.3g}, replayed {worst.replayed:.3g}"
    )


def verify(
    path: Path,
    *,
    salt: str = "",
    episodes: int = EPISODES,
    error_rate: float = ERROR_RATE,
    known: Known | None = None,
    trust: bool = False,
    write: bool = True,
) -> Verdict:
    """Validate a submission, replay it, compare, and store the verdict beside it.

    Args:
        path: its folder.
        salt: mixed into the seeds; should be something that the submitter could not know.
        episodes: replayed for each seed and kind of play.
        error_rate: chance that an honest submission is said to differ.
        known: see ``validate``.
        trust: see ``validate``.
        write: store the verdict in the folder.

    Raises:
        FormatError: not a valid submission. OffmarlError: it cannot be replayed on this machine.
    """
    if episodes < 1 or not 0 < error_rate < 1:
        raise FormatError(
            f"{episodes} episodes at error rate {error_rate}: expected at least 1, and a rate between 0 and 1"
        )
    checked = validate(path, known=known, trust=trust, verdict=False)
    bundle, digest = checked.bundle, bundle_hash(checked.bundle.path)
    engine = {r.env_id: get_suite(split_id(r.env_id)[0]).backend() for r in bundle.results.values()}
    checks: list[Check] = []
    repeated = {"episodes": 0, "same": 0}
    reason = _not_checkable(bundle, checked.policies, engine)
    state = SELF_REPORTED
    if reason is None:
        try:
            found = replay(bundle.path, _orders(bundle, digest, salt, episodes))
            checks = compare_all(bundle, found, digest, error_rate)
            repeated = _repeated(bundle, found)
            state, reason = VERIFIED if all(c.agrees for c in checks) else DIFFERS, _told(checks)
        except FormatError as e:
            state, reason = DIFFERS, str(e)
    verdict = Verdict(
        state=state, reason=reason, date=datetime.datetime.now(datetime.UTC).date().isoformat(), bundle=digest,
        salt=salt, error_rate=error_rate, episodes=episodes, engine=engine, versions=provenance.versions(),
        commit=provenance.commit(), repeated=repeated, checks=tuple(to_json(c) for c in checks),
    )  # fmt: skip
    return write_verdict(bundle.path, verdict, store=write)
