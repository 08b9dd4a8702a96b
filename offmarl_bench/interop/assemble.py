"""Our columns from a dataset in any format that ``offmarl_bench.foreign`` reads.

What the file does not say has to be assumed, and every assumption is listed: it is the difference between this
dataset and one that was recorded with care.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float32, Int64, Shaped

from offmarl_bench.errors import FormatError, SpecMismatch
from offmarl_bench.foreign.view import Block, Layout, Recording
from offmarl_bench.format.flatten import flatten, row_starts_of
from offmarl_bench.format.hdf5 import available_memory
from offmarl_bench.format.reader import Contents
from offmarl_bench.format.schema import Columns
from offmarl_bench.interop.losses import Loss
from offmarl_bench.types import EnvSpec, Episode

Reward = Literal["mean", "sum"]
REWARDS = ("mean", "sum")


@dataclass(slots=True)
class Import:
    """What an import found out on its way, and how it decides."""

    spec: EnvSpec
    reward: Reward
    assumed: dict[str, str] = field(default_factory=dict)
    dropped: int = 0
    """Last steps without a next observation."""

    def note(self, what: str, why: str) -> None:
        """List something once."""
        self.assumed.setdefault(what, why)


def _count_actions(recording: Recording) -> int:
    return max(int(block.actions.max()) for block in recording.blocks()) + 1


def infer_spec(recording: Recording, env_id: str | None) -> tuple[EnvSpec, list[Loss]]:
    """The spec that a file's arrays imply, and what had to be guessed.

    Args:
        recording: the file.
        env_id: under which name the environment will be stored; None: the format's and the file's.

    Raises:
        FormatError: sizes that cannot be.
    """
    layout = recording.layout
    guessed = []
    agents = layout.agents or tuple(f"agent{i + 1}" for i in range(layout.n))
    if not layout.agents:
        guessed.append(Loss("agents", "the file has no names; they are called agent1, agent2, … and are of one type"))
    actions = layout.actions
    if layout.discrete and not actions:
        actions = _count_actions(recording)
        guessed.append(Loss("A", f"the file does not say how many actions there are; {actions} occur"))
    horizon = layout.horizon
    if not horizon:
        horizon = max(int(block.lengths.max()) for block in recording.blocks())
        guessed.append(Loss("horizon", f"the file does not say how long an episode may be; the longest has {horizon}"))
    stem = re.sub(r"[^\w.-]+", "-", Path(layout.path).stem) or "file"
    spec = EnvSpec(
        id=env_id or f"{layout.format}/{stem}", agents=agents,
        agent_types=tuple(re.sub(r"[_-]?\d+$", "", a) or "agent" for a in agents), O=layout.obs,
        S=layout.state or layout.n * layout.obs, A=actions, discrete=layout.discrete, horizon=horizon,
        obs_sizes=layout.obs_sizes,
    )  # fmt: skip
    return spec, guessed


def check_fits(spec: EnvSpec, layout: Layout) -> None:
    """Refuse a file whose sizes are not those of the environment it is said to come from.

    Raises:
        SpecMismatch: names every size that differs.
    """
    state = layout.state or spec.S
    found = {"N": layout.n, "O": layout.obs, "S": state, "A": layout.actions or spec.A, "discrete": layout.discrete}
    wrong = [f"{k} {v}, expected {getattr(spec, k)}" for k, v in found.items() if v != getattr(spec, k)]
    if wrong:
        raise SpecMismatch(
            f"{layout.path}: its arrays are not those of {spec.id}: {'; '.join(wrong)}; name the environment they come "
            "from, or none to have its sizes inferred"
        )


def _team(block: Block, job: Import) -> Float32[np.ndarray, " R"]:
    rewards = np.asarray(block.rewards, np.float64)
    if rewards.ndim == 2:
        if (rewards != rewards[:, :1]).any():
            job.note("rewards", f"the agents' own rewards differ; the team's is their {job.reward}")
        rewards = rewards.mean(1) if job.reward == "mean" else rewards.sum(1)
    return rewards.astype(np.float32)


def _state(block: Block, job: Import) -> Float32[np.ndarray, "R S"]:
    if block.state is None:
        job.note("state", "the file has none; all observations one after the other stand for it")
        joint = np.asarray(block.obs, np.float32).reshape(len(block.obs), -1)
        if joint.shape[1] != job.spec.S:
            raise SpecMismatch(
                f"the file has no state, and its observations make {joint.shape[1]} numbers where {job.spec.id} has "
                f"{job.spec.S}; name no environment to have the sizes inferred"
            )
        return joint
    state = np.asarray(block.state, np.float32)
    if state.ndim == 3:
        if (state != state[:, :1]).any():
            job.note("state", "every agent has its own; the first agent's stands for it")
        state = state[:, 0]
    return state


def _actions(block: Block, spec: EnvSpec, where: str) -> Shaped[np.ndarray, "R N *A"]:
    given = np.asarray(block.actions)
    if not spec.discrete:
        return given.astype(np.float32)
    played = given[block.steps]
    whole = given.dtype.kind in "iub" or (played == np.floor(played)).all()
    if not whole or (len(played) and not 0 <= played.min() <= played.max() < spec.A):
        raise FormatError(
            f"{where}: actions from {played.min()} to {played.max()}, expected whole numbers 0 … {spec.A - 1}"
        )
    return given.astype(np.int32)


def _legal(block: Block, job: Import) -> Bool[np.ndarray, "R N A"] | None:
    if not job.spec.discrete:
        return None
    if block.legal is None:
        job.note("legal_actions", "the file has none; every action counts as legal")
        return np.ones((len(block.obs), job.spec.N, job.spec.A), bool)
    return block.legal


def _with_end(x: Shaped[np.ndarray, "T ..."], end: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "T+1 ..."]:
    return np.concatenate([x, end[None]])


def _episodes(block: Block, layout: Layout, job: Import) -> list[Episode]:
    spec = job.spec
    obs, state = np.asarray(block.obs, np.float32), _state(block, job)
    rewards, actions, legal = _team(block, job), _actions(block, spec, layout.path), _legal(block, job)
    made = []
    for k, (at, steps) in enumerate(zip(block.starts.tolist(), block.lengths.tolist(), strict=True)):
        terminal = bool(block.terminated[at + steps - 1])
        seen = slice(at, at + steps + layout.tail)
        views: dict[str, Any] = {"observations": obs[seen], "state": state[seen]}
        views["legal_actions"] = None if legal is None else legal[seen]
        if not layout.tail and (terminal or block.next_obs is not None):
            last = obs[at + steps - 1] if block.next_obs is None else block.next_obs[at + steps - 1]
            if block.next_obs is None:
                job.note("final observation", "none in the file; where an episode ended by itself the last is repeated")
            elif block.state is not None or legal is not None:
                job.note("final state", "neither it nor legal actions are in the file; the last step's are repeated")
            joint = np.asarray(last, np.float32).reshape(-1)
            end = joint if block.state is None else state[at + steps - 1]
            views["observations"] = _with_end(views["observations"], np.asarray(last, np.float32))
            views["state"] = _with_end(views["state"], end)
            if legal is not None:
                views["legal_actions"] = _with_end(views["legal_actions"], legal[at + steps - 1])
        elif not layout.tail:
            # An episode that was cut must be bootstrapped from what came next, and inventing that would be a lie.
            steps -= 1
            job.dropped += 1
            if not steps:
                continue
        made.append(
            Episode(
                actions=actions[at : at + steps], rewards=rewards[at : at + steps], terminal=terminal,
                index=block.first + k, **views,
            )
        )  # fmt: skip
    return made


def assemble(
    recording: Recording, *, spec: EnvSpec | None = None, env_id: str | None = None, reward: Reward = "mean"
) -> tuple[Contents, list[Loss]]:
    """Read a recording of any format into our columns.

    Args:
        recording: what ``offmarl_bench.foreign`` makes of the file.
        spec: the environment it comes from; None: inferred from the arrays.
        env_id: the environment's name if its spec is inferred.
        reward: how rewards of each agent become the team's.

    Returns:
        The content, and everything that had to be assumed or was left out.

    Raises:
        SpecMismatch: sizes that are not the spec's. FormatError: damaged or impossible data, or more than fits.
    """
    if reward not in REWARDS:
        raise FormatError(f"reward={reward!r}, expected 'mean' or 'sum'")
    layout = recording.layout
    free = available_memory()
    if free is not None and layout.raw_bytes > free:
        raise FormatError(
            f"{layout.path}: its data take {layout.raw_bytes / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; "
            "use a machine with more memory"
        )
    guessed: list[Loss] = []
    if spec is None:
        spec, guessed = infer_spec(recording, env_id)
    else:
        check_fits(spec, layout)
    job = Import(spec, reward)
    parts: list[Columns] = []
    counts: list[Int64[np.ndarray, " E"]] = []
    for block in recording.blocks():
        episodes = _episodes(block, layout, job)
        if episodes:
            columns, lengths = flatten(episodes, spec, first_id=sum(map(len, counts)))
            parts.append(columns)
            counts.append(lengths)
    if not parts:
        raise FormatError(f"{layout.path}: no episode of at least one step with what came after it; nothing to import")
    joined = parts[0] if len(parts) == 1 else {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    lengths = np.concatenate(counts)
    return Contents(spec, {}, joined, row_starts_of(lengths), lengths), [*guessed, *_listed(job, layout)]


def _listed(job: Import, layout: Layout) -> Sequence[Loss]:
    if job.dropped:
        job.note("last steps", f"{job.dropped} were left out: episodes were cut there, and what came next is not in it")
    if not layout.terminations:
        job.note("is_terminal", "the file does not say which episodes ended by themselves; all count as cut")
    if layout.boundaries != "stated":
        job.note("episodes", "the file does not say where episodes end; their ends were guessed from jumps")
    return [Loss(what, why) for what, why in job.assumed.items()]
