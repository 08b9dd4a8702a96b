r"""Some of a dataset's episodes: by who played, by number, or such that their mean return is a wanted one.

A mean return can be met in many ways; the one taken changes the data as little as possible. Episode k gets the key
``λ z_k + g_k``, z its standardised return and g standard Gumbel noise, and the episodes with the largest keys are
kept: at λ = 0 a uniformly random choice, for any λ a draw without replacement with weights ∝ exp(λ z), the
reweighting of least relative entropy among those of its mean. The mean of the choice rises with λ, so bisection finds
the λ that meets the wanted one, and exchanging one pair of episodes takes away most of what is left.
"""

from __future__ import annotations

import shlex

import numpy as np
from jaxtyping import Float64, Int64

from offmarl_bench.errors import FormatError
from offmarl_bench.format.derived import derived_metadata
from offmarl_bench.format.summary import summarise_episodes
from offmarl_bench.loader import Dataset
from offmarl_bench.seeding import generator

TOLERANCE = 0.01
"""A mean return is met if it is missed by at most this part of the range of returns."""
STEEPEST = 1e6
"""λ at which nothing but the return decides: noise is below 100, standardised returns differ by more than 1e-4."""
HALVINGS = 80
"""Bisections of λ: from 10⁶ down to less than the difference of two keys."""
SLACK = 1e-9
"""Relative error of a mean of many numbers."""
PART_KEPT = 0.5
"""Of the most that can have the wanted mean, if the user leaves the number open: all of them would be a mere cut."""
EXCHANGES = 8
"""Pairs of episodes exchanged at most; each takes away most of what the one before left."""


def _view(dataset: Dataset, chosen: Int64[np.ndarray, " K"]) -> Dataset:
    return Dataset(
        dataset.spec, dataset.columns, dataset.row_starts[chosen], dataset.lengths[chosen],
        returns=dataset.returns[chosen],
    )  # fmt: skip


def _largest(keys: Float64[np.ndarray, " E"], n: int) -> Int64[np.ndarray, " n"]:
    return np.asarray(np.sort(np.argsort(-keys, kind="stable")[:n]), np.int64)


def _standardised(returns: Float64[np.ndarray, " E"]) -> Float64[np.ndarray, " E"]:
    spread = returns.std()
    return np.asarray((returns - returns.mean()) / (spread if spread > 0 else 1.0))


def most_with_mean(returns: Float64[np.ndarray, " E"], target: float) -> int:
    """The largest number of episodes that can have a mean return: the best ones, or the worst, until it is passed."""
    upwards = target >= returns.mean()
    ordered = np.sort(returns)[:: -1 if upwards else 1]
    means = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    slack = SLACK * max(1.0, abs(target))
    return int(np.sum(means >= target - slack if upwards else means <= target + slack))


def _exchange(
    returns: Float64[np.ndarray, " E"], chosen: Int64[np.ndarray, " n"], target: float
) -> Int64[np.ndarray, " n"]:
    """Exchange one episode of the choice for one outside, the pair that leaves the mean nearest to the target."""
    outside = np.setdiff1d(np.arange(len(returns)), chosen)
    short = (target - returns[chosen].mean()) * len(chosen)
    if not len(outside) or short == 0:
        return chosen
    order = outside[np.argsort(returns[outside], kind="stable")]
    wanted = returns[chosen] + short
    after = np.clip(np.searchsorted(returns[order], wanted), 0, len(order) - 1)
    best = min(
        (abs(float(returns[order[j]] - wanted[i])), i, j)
        for at in (after, np.maximum(after - 1, 0))
        for i, j in enumerate(at.tolist())
    )
    if best[0] >= abs(short):
        return chosen
    changed = chosen.copy()
    changed[best[1]] = order[best[2]]
    return np.sort(changed)


def choose_mean(
    returns: Float64[np.ndarray, " E"], target: float, n: int, generator: np.random.Generator,
    scores: Float64[np.ndarray, " E"] | None = None,
) -> Int64[np.ndarray, " n"]:  # fmt: skip
    """``n`` episodes whose mean return is as near to the target as the method of this module comes.

    Args:
        returns: of all episodes.
        target: wanted mean.
        n: how many, at most all.
        generator: the noise.
        scores: what the keys go by in place of the returns; then no episode is picked for its own return.

    Raises:
        FormatError: no choice of ``n`` episodes has that mean, within ``TOLERANCE``.
    """
    ordered = np.sort(returns)
    least, most = float(ordered[:n].mean()), float(ordered[-n:].mean())
    allowed = TOLERANCE * float(ordered[-1] - ordered[0])
    if not least - allowed <= target <= most + allowed:
        raise FormatError(
            f"mean return {target:g} cannot be met by {n} of {len(returns)} episodes: theirs can be "
            f"{least:.4g} to {most:.4g}; ask for fewer episodes or another mean"
        )
    z, noise = _standardised(returns if scores is None else scores), generator.gumbel(size=len(returns))
    low, high = -STEEPEST, STEEPEST
    best = _largest(noise, n)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        chosen = _largest(middle * z + noise, n)
        mean = float(returns[chosen].mean())
        if abs(mean - target) < abs(float(returns[best].mean()) - target):
            best = chosen
        low, high = (middle, high) if mean < target else (low, middle)
    for _ in range(EXCHANGES if scores is None else 0):
        best = _exchange(returns, best, target)
    if abs(float(returns[best].mean()) - target) > allowed:
        raise FormatError(
            f"mean return {target:g} with {n} of {len(returns)} episodes: the nearest found is "
            f"{returns[best].mean():.4g}; ask for more episodes or that mean"
        )
    return best


def subsample(
    dataset: Dataset,
    *,
    episodes: int | None = None,
    target_mean: float | None = None,
    level: str | None = None,
    agent: str | None = None,
    seed: int = 0,
) -> Dataset:
    """Some of the episodes, in their order, as a view with metadata of its own; ``save`` writes it.

    Args:
        dataset: where from.
        episodes: how many; None keeps all that fit, or with ``target_mean`` half of the most that can have it.
        target_mean: mean return that they should have.
        level: keep only episodes in which ``agent``, or without it every agent, was played at this level.
        agent: an agent's name.
        seed: of the choice; the same seed makes the same one.

    Raises:
        UnknownName: no such level or agent. FormatError: nothing was asked for, there are not so many episodes, or the
            mean cannot be met.
    """
    if episodes is None and target_mean is None and level is None and agent is None:
        raise FormatError("subsample: give episodes, target_mean or level")
    if seed < 0 or (episodes is not None and episodes < 1):
        raise FormatError(f"subsample: {episodes} episodes with seed {seed}; expected ≥ 1 and a seed ≥ 0")
    fitting = dataset.episodes(level=level, agent=agent)
    if len(fitting) < (episodes or 1):
        what = f" with {agent or 'every agent'} {level}" if level else ""
        raise FormatError(f"{dataset!r} has {len(fitting)} episodes{what}; {episodes or 1} were asked for")
    chosen, g = np.arange(len(fitting)), generator(seed, "subsample")
    if target_mean is not None:
        n = episodes or max(1, int(PART_KEPT * most_with_mean(fitting.returns, target_mean)))
        chosen = choose_mean(fitting.returns, target_mean, n, g)
    elif episodes is not None:
        chosen = np.sort(g.choice(len(fitting), episodes, replace=False))
    part = _view(fitting, chosen)
    asked = {"episodes": episodes, "target_mean": target_mean, "level": level, "agent": agent, "seed": seed}
    parameters = {name: value for name, value in asked.items() if value is not None}
    source = str(dataset.metadata.get("dataset_id") or "DATASET")
    options = [part for name, value in parameters.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    part.metadata = derived_metadata(
        "subsample", parameters, [dataset.metadata],
        summarise_episodes(part.spec, part.returns, part.lengths, part.levels),
        shlex.join(["offmarl-bench", "subsample", source, *options, "--out", "FILE"]),
    )  # fmt: skip
    return part
