"""Minari (Farama): written through its own library, so that its users read it with theirs.

One ``Box`` (N, O) of observations, one action per agent, the team's reward; state, legal actions and who played are in
``infos``, row for row as in our columns; spec and metadata are a key of the dataset's ``metadata.json``. Nothing is
lost but episode ids that are not 0, 1, 2, …. Reading is ``offmarl_bench.foreign.minari`` and needs h5py alone.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from gymnasium import spaces
from jaxtyping import Int64

from offmarl_bench.atomic import refuse_existing, temporary_beside
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.foreign.arrays import h5_array
from offmarl_bench.foreign.minari import main_file
from offmarl_bench.format.hdf5 import opened
from offmarl_bench.format.metadata import decode, encode
from offmarl_bench.format.schema import Columns, columns_of
from offmarl_bench.interop.losses import Loss, renumbered
from offmarl_bench.types import EnvSpec

INFOS = ("state", "legal_actions", "behavior_level", "behavior_policy", "behavior_logprob")
"""Columns that are kept in ``infos``, under their own names."""
BEHAVIOUR = INFOS[2:]
KEY = "offmarl_bench"
"""Where spec and metadata are in ``metadata.json``."""
DATA = "data"
"""Minari keeps a dataset's files in this folder of the dataset's."""
EXTRA = "pip install 'offmarl-bench[minari]'"


def losses(columns: Columns, first: Int64[np.ndarray, " E"]) -> list[Loss]:
    """What a Minari dataset of ours does not hold."""
    return renumbered(columns, first)


def root() -> Path:
    """Where Minari keeps datasets: ``$MINARI_DATASETS_PATH``, else ``~/.minari/datasets``."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")


def _spaces(spec: EnvSpec) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    seen = spaces.Box(-np.inf, np.inf, (spec.N, spec.O), np.float32)
    if spec.discrete:
        return seen, spaces.MultiDiscrete([spec.A] * spec.N, dtype=np.int32)
    return seen, spaces.Box(-np.inf, np.inf, (spec.N, spec.A), np.float32)


def _buffers(
    kind: Any, columns: Columns, first: Int64[np.ndarray, " E"], lengths: Int64[np.ndarray, " E"]
) -> Iterator[Any]:
    """Episodes as Minari takes them."""
    kept = [name for name in INFOS if name in columns]
    for k, (at, steps) in enumerate(zip(first.tolist(), lengths.tolist(), strict=True)):
        seen, done = slice(at, at + steps + 1), slice(at, at + steps)
        ends, cut = np.zeros(steps, bool), np.zeros(steps, bool)
        ends[-1] = columns["is_terminal"][at + steps]
        cut[-1] = not ends[-1]
        yield kind(
            id=k, observations=columns["observations"][seen], actions=columns["actions"][done],
            rewards=columns["rewards"][done], terminations=ends, truncations=cut,
            infos={name: columns[name][seen] for name in kept},
        )  # fmt: skip


def write_minari(
    folder: Path,
    spec: EnvSpec,
    columns: Columns,
    first: Int64[np.ndarray, " E"],
    lengths: Int64[np.ndarray, " E"],
    metadata: Mapping[str, Any],
    dataset_id: str,
) -> None:
    """Write episodes as the dataset folder of Minari, which ``minari.load_dataset`` finds if it lies in ``root()``.

    Args:
        folder: the dataset's folder; Minari's files will be in ``folder/data``.
        spec: the environment.
        columns: flat columns.
        first: first row of each episode.
        lengths: steps of each episode.
        metadata: kept, and given back by ``from_minari``.
        dataset_id: Minari's name for it, ``namespace/name-v0``.

    Raises:
        OffmarlError: Minari is not installed, the folder exists or cannot be written, or there are no episodes.
        FormatError: a name that Minari refuses.
    """
    try:
        buffer = import_module("minari.data_collector").EpisodeBuffer
        parse_dataset_id = import_module("minari.dataset.minari_dataset").parse_dataset_id
        storages = import_module("minari.dataset.minari_storage").MinariStorage
    except ImportError as e:
        raise OffmarlError(f"cannot write {folder}: Minari is not installed; {EXTRA}") from e
    try:
        parse_dataset_id(dataset_id)
    except (ValueError, TypeError) as e:
        raise FormatError(f"Minari refuses the name {dataset_id!r}; expected namespace/name-v0") from e
    refuse_existing(folder)
    if not len(first):
        raise OffmarlError(f"{folder}: there are no episodes to write; loosen the filter")
    about = json.loads(encode(spec, "", metadata))
    temporary = temporary_beside(folder.absolute())  # Minari joins relative ones twice
    try:
        temporary.mkdir(parents=True)
        seen, actions = _spaces(spec)
        storage = storages.new(
            temporary / DATA, observation_space=seen, action_space=actions, data_format="hdf5", jpeg_encoding=False
        )
        storage.update_episodes(_buffers(buffer, columns, first, lengths))
        storage.update_metadata({"dataset_id": dataset_id, "minari_version": version("minari"), KEY: about})
        temporary.rename(folder)
    except OSError as e:
        raise OffmarlError(f"cannot write {folder}: {e}; free some space or choose another place") from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_about(described: Mapping[str, Any], where: str) -> tuple[EnvSpec, dict[str, Any]] | None:
    """Spec and metadata that ``write_minari`` left, or None in a stranger's dataset. Raises FormatError."""
    if KEY not in described:
        return None
    return decode(json.dumps(described[KEY]), f"{where}: {KEY}")


def read_behaviour(path: Path, spec: EnvSpec, lengths: Int64[np.ndarray, " E"]) -> Columns:
    """Who played, of a dataset that ``write_minari`` wrote; empty where a stranger did.

    Raises:
        FormatError: other shapes or types than ours.
    """
    wanted = [c for c in columns_of(spec) if c.name in BEHAVIOUR]
    found: dict[str, list[np.ndarray]] = {c.name: [] for c in wanted}
    with opened(main_file(path)) as file:
        for k, steps in enumerate(lengths.tolist()):
            infos = file.get(f"episode_{k}/infos")
            for c in wanted:
                if not isinstance(infos, h5py.Group) or c.name not in infos:  # a stranger's
                    return {}
                label = f"{path}: episode_{k}/infos"
                data = h5_array(infos, c.name, (1 + len(c.shape),), label)
                if data.dtype != c.dtype or data.shape != (steps + 1, *c.shape):
                    raise FormatError(
                        f"{label}/{c.name} is {data.dtype} {data.shape}, expected {c.dtype} {(steps + 1, *c.shape)}"
                    )
                found[c.name].append(data[()])
    return {name: np.concatenate(parts) for name, parts in found.items()}
