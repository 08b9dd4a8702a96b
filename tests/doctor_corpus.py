"""A corpus for the doctor: one healthy recording, written in every format as its authors write it.

``healthy`` plays a small game in which agents die (they see zeros and may only do nothing). Faults are planted by
``doctor_faults``.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from offmarl_bench.loader import Dataset
from offmarl_bench.types import EnvSpec, Episode

N, OBS, S, A, HORIZON, EPISODES = 3, 5, 4, 4, 16, 40
FLAT = ("omar", "omiga", "d4rl", "vault")
FORMATS = ("offmarl-bench", "pymarl", "minari", *FLAT)


@dataclass
class Played:
    """One episode as it happened: T + 1 observations, T steps."""

    obs: np.ndarray
    state: np.ndarray
    actions: np.ndarray
    legal: np.ndarray
    rewards: np.ndarray
    """(T, N); the team's reward in every column."""
    terminal: bool
    next_obs: np.ndarray | None = None
    """What a file that stores next observations says; None: the truth."""

    def __len__(self) -> int:
        return len(self.actions)


@dataclass
class Corpus:
    """Episodes, and how they are written."""

    episodes: list[Played]
    discrete: bool = True
    quirks: dict[str, Any] = field(default_factory=dict)
    """What a writer does wrong."""


def healthy(seed: int = 0, *, discrete: bool = True) -> Corpus:
    """Forty episodes of different lengths; two of them are cut by the time limit."""
    g = np.random.default_rng(seed)
    lengths = g.integers(5, HORIZON, EPISODES)
    lengths[:2] = HORIZON
    return Corpus([_play(g, int(t), discrete) for t in lengths], discrete)


def _play(g: np.random.Generator, steps: int, discrete: bool) -> Played:
    obs = g.normal(size=(steps + 1, N, OBS)).astype(np.float32)
    legal = g.random((steps + 1, N, A)) < 0.7
    legal[..., 0] = True
    dies = int(g.integers(2, steps + 1))
    obs[dies:, 0] = 0
    legal[dies:, 0] = np.arange(A) == 0
    chances = np.where(legal[:-1], g.random((steps, N, A)), -1)
    continuous = g.uniform(-1, 1, (steps, N, 2)).astype(np.float32)
    actions = chances.argmax(2).astype(np.int64) if discrete else continuous
    team = g.random(steps).astype(np.float32)
    state = g.normal(size=(steps + 1, S)).astype(np.float32)
    return Played(obs, state, actions, legal, np.repeat(team[:, None], N, 1), steps < HORIZON)


# --- writers ---------------------------------------------------------------------------------------------------------


def _joined(corpus: Corpus, of: Callable[[Played], np.ndarray]) -> np.ndarray:
    return np.concatenate([of(e) for e in corpus.episodes])


def _ends(corpus: Corpus, terminal: bool) -> np.ndarray:
    """Flags on last steps; a format without time limits calls every end terminal."""
    flags = [np.arange(len(e)) == len(e) - 1 for e in corpus.episodes]
    blank = corpus.quirks.get("no ends", False)
    return np.concatenate(
        [f & (e.terminal == terminal) & (not blank) for f, e in zip(flags, corpus.episodes, strict=True)]
    )


def _next_obs(e: Played) -> np.ndarray:
    return e.obs[1:] if e.next_obs is None else e.next_obs


def _spec(corpus: Corpus) -> EnvSpec:
    names = tuple(f"x{i}" for i in range(N))
    return EnvSpec(
        id="toy/corpus", agents=names, agent_types=("x",) * N, O=OBS, S=S, A=A if corpus.discrete else 2,
        discrete=corpus.discrete, horizon=HORIZON,
    )  # fmt: skip


def write_native(path: Path, corpus: Corpus) -> Path:
    """Format version 1; who played is known."""
    blank = corpus.quirks.get("no ends", False)
    episodes = [
        Episode(
            actions=e.actions.astype(np.int32 if corpus.discrete else np.float32), rewards=e.rewards[:, 0],
            observations=e.obs, state=e.state, legal_actions=e.legal if corpus.discrete else None,
            terminal=e.terminal and not blank,
            behavior_level=np.zeros((len(e), N), np.int8), behavior_policy=np.zeros((len(e), N), np.int16),
            behavior_logprob=np.zeros((len(e), N), np.float32),
        )
        for e in corpus.episodes
    ]  # fmt: skip
    if corpus.quirks.get("no behaviour"):
        episodes = [replace(e, behavior_level=None, behavior_policy=None, behavior_logprob=None) for e in episodes]
    return Dataset.from_episodes(episodes, _spec(corpus)).save(path / "data.h5")


def _padded(corpus: Corpus, of: Callable[[Played], np.ndarray]) -> np.ndarray:
    first = of(corpus.episodes[0])
    out = np.zeros((len(corpus.episodes), HORIZON + 1, *first.shape[1:]), first.dtype)
    for k, e in enumerate(corpus.episodes):
        x = of(e)
        out[k, : len(x)] = x
    return out


def write_pymarl(path: Path, corpus: Corpus) -> Path:
    """ICQ's keys; like PyMARL's runner, with an action on the final row."""
    filled = _padded(corpus, lambda e: np.ones((len(e) + 1, 1), np.int64))
    terminated = _padded(corpus, lambda e: ((np.arange(len(e)) == len(e) - 1) & e.terminal)[:, None].astype(np.uint8))
    if corpus.quirks.get("no ends"):
        terminated[:] = 0
    if corpus.quirks.get("terminal inside"):
        terminated[3, 1] = 1
    if corpus.quirks.get("terminal behind"):
        terminated[3, -1] = 1
    if corpus.quirks.get("holes"):
        filled[3, 2] = 0
    actions = _padded(corpus, lambda e: np.concatenate([e.actions, 0 * e.actions[:1]]))
    with h5py.File(path / "data.h5", "w") as f:
        f["obs"], f["state"] = _padded(corpus, lambda e: e.obs), _padded(corpus, lambda e: e.state)
        f["terminated"], f["filled"] = terminated, filled
        f["actions"] = actions[..., None] if corpus.discrete else actions
        paid = _padded(corpus, lambda e: e.rewards)
        f["reward"] = paid if corpus.quirks.get("per agent") else paid[..., :1]
        if corpus.discrete:
            f["avail_actions"] = _padded(corpus, lambda e: e.legal).astype(np.int32)
            hot = np.eye(A, dtype=np.float32)[np.clip(actions, 0, A - 1)]
            if corpus.quirks.get("onehot"):
                hot = hot[..., ::-1]
            f.create_dataset("actions_onehot", data=hot)
    return path / "data.h5"


def write_minari(path: Path, corpus: Corpus) -> Path:
    """Minari's HDF5 storage with one array an agent, as its own code lays it out."""
    (path / "data").mkdir()
    space = {"type": "Discrete", "n": A} if corpus.discrete else {"type": "Box", "shape": [2]}
    spaces = json.dumps({"type": "Dict", "subspaces": {f"agent_{i}": space for i in range(N)}})
    (path / "data" / "metadata.json").write_text(json.dumps({"data_format": "hdf5", "action_space": spaces}))
    blank = corpus.quirks.get("no ends", False)
    with h5py.File(path / "data" / "main_data.hdf5", "w") as f:
        for k, e in enumerate(corpus.episodes):
            g = f.create_group(f"episode_{k}")
            last = (np.arange(len(e)) == len(e) - 1) & (not blank)
            for i in range(N):
                g[f"observations/agent_{i}"], g[f"actions/agent_{i}"] = e.obs[:, i], e.actions[:, i]
            g["rewards"] = e.rewards if corpus.quirks.get("per agent") else e.rewards[:, 0]
            g["terminations"], g["truncations"] = last & e.terminal, last & (not e.terminal)
            g["infos/state"] = e.state
            if corpus.discrete:
                g["infos/legal_actions"] = e.legal
    return path


def write_omar(path: Path, corpus: Corpus) -> Path:
    """One ``.npy`` an array and agent; ends by time are not marked, only that the next row begins elsewhere."""
    dones = _ends(corpus, True) | _ends(corpus, False)
    arrays = {
        "obs": _joined(corpus, lambda e: e.obs[:-1]), "next_obs": _joined(corpus, _next_obs),
        "acs": _joined(corpus, lambda e: e.actions), "rews": _joined(corpus, lambda e: e.rewards),
        "dones": np.repeat(dones[:, None], N, 1).astype(np.float64),
    }  # fmt: skip
    for name, array in arrays.items():
        for i in range(N):
            np.save(path / f"{name}_{i}.npy", array[:, i])
    return path


def write_omiga(path: Path, corpus: Corpus) -> Path:
    """One-letter arrays, T + 1 rows an episode, ``d`` on the final observation."""

    def longer(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x, np.zeros_like(x[:1])])

    last = _joined(corpus, lambda e: np.arange(len(e) + 1) == len(e)) & (not corpus.quirks.get("no ends", False))
    with h5py.File(path / "data.hdf5", "w") as f:
        f["o"] = _joined(corpus, lambda e: e.obs)
        f["s"] = np.repeat(_joined(corpus, lambda e: e.state)[:, None], N, 1)
        actions = _joined(corpus, lambda e: longer(e.actions))
        f["a"] = actions[..., None] if corpus.discrete else actions
        f["r"] = _joined(corpus, lambda e: longer(e.rewards[:, :1]))
        f["d"] = last[:, None].astype(np.float32)
        if corpus.discrete:
            f["ava"] = _joined(corpus, lambda e: e.legal).astype(np.float32)
    return path / "data.hdf5"


def write_d4rl(path: Path, corpus: Corpus) -> Path:
    """D4RL's flat arrays with an axis of agents."""
    with h5py.File(path / "data.hdf5", "w") as f:
        f["observations"] = _joined(corpus, lambda e: e.obs[:-1])
        f["next_observations"] = _joined(corpus, _next_obs)
        f["actions"] = _joined(corpus, lambda e: e.actions)
        f["rewards"] = _joined(corpus, lambda e: e.rewards if corpus.quirks.get("per agent") else e.rewards[:, 0])
        f["terminals"] = _ends(corpus, True)
        if not corpus.quirks.get("no ends") and not corpus.quirks.get("no timeouts"):
            f["timeouts"] = _ends(corpus, False)
        if corpus.discrete:
            f["legal_actions"] = _joined(corpus, lambda e: e.legal[:-1])
    return path / "data.hdf5"


def write_vault(path: Path, corpus: Corpus) -> Path:
    """What flashbax would hand out; ``install_flashbax`` makes a stand-in for the package that reads it."""
    folder = path / "maze.vlt" / "Good"
    folder.mkdir(parents=True)

    def every(flags: np.ndarray) -> np.ndarray:
        return np.repeat(flags[:, None], N, 1)

    arrays = {
        "observations": _joined(corpus, lambda e: e.obs[:-1]), "actions": _joined(corpus, lambda e: e.actions),
        "rewards": _joined(corpus, lambda e: e.rewards), "terminals": every(_ends(corpus, True)),
        "truncations": every(_ends(corpus, False)), "infos.state": _joined(corpus, lambda e: e.state[:-1]),
    }  # fmt: skip
    if corpus.discrete:
        arrays["infos.legals"] = _joined(corpus, lambda e: e.legal[:-1])
    np.savez(folder / "experience.npz", **{k: v[None] for k, v in arrays.items()})  # type: ignore[arg-type]
    (folder / "metadata.json").write_text(json.dumps({"version": 1.2, "structure_shape": {}}))
    return folder


WRITERS: dict[str, Callable[[Path, Corpus], Path]] = {
    "offmarl-bench": write_native, "pymarl": write_pymarl, "minari": write_minari, "omar": write_omar,
    "omiga": write_omiga, "d4rl": write_d4rl, "vault": write_vault,
}  # fmt: skip


def install_flashbax(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the package that reads vaults, which is large and not needed for anything else."""

    class Vault:
        def __init__(self, *, rel_dir: str, vault_name: str, vault_uid: str) -> None:
            self.folder = Path(rel_dir, vault_name, vault_uid)
            sys.stdout.write("Loading vault found at …\n")  # as the original does

        def read(self) -> Any:
            with np.load(self.folder / "experience.npz") as f:
                flat = {k: f[k] for k in f.files}
            infos = {k.removeprefix("infos."): v for k, v in flat.items() if k.startswith("infos.")}
            tree = {k: v for k, v in flat.items() if not k.startswith("infos.")}
            return types.SimpleNamespace(experience={**tree, "infos": infos})

    package, module = types.ModuleType("flashbax"), types.ModuleType("flashbax.vault")
    module.Vault = Vault  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flashbax", package)
    monkeypatch.setitem(sys.modules, "flashbax.vault", module)


def write(format: str, path: Path, corpus: Corpus) -> Path:
    """The corpus in a format, in a folder of its own; what to give to the doctor."""
    path.mkdir(parents=True)
    return WRITERS[format](path, corpus)
