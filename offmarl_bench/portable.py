"""The doors of a dataset to other people's formats: every way out of our columns, and every way in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from jaxtyping import Int64

from offmarl_bench.envs import get_spec
from offmarl_bench.format.frame import to_frame
from offmarl_bench.format.schema import Columns
from offmarl_bench.interop import exports, imports
from offmarl_bench.interop.losses import Loss
from offmarl_bench.types import EnvSpec

if TYPE_CHECKING:
    import pandas as pd


class Portable:
    """What ``Dataset`` can be written as and made from; the attributes are described there."""

    spec: EnvSpec
    metadata: dict[str, Any]
    columns: Columns
    row_starts: Int64[np.ndarray, " E"]
    lengths: Int64[np.ndarray, " E"]

    def __init__(
        self,
        spec: EnvSpec,
        columns: Columns,
        row_starts: Int64[np.ndarray, " E"],
        lengths: Int64[np.ndarray, " E"],
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.spec, self.columns, self.row_starts, self.lengths = spec, columns, row_starts, lengths
        self.metadata = dict(metadata or {})

    def to_pandas(self, observations: bool = False) -> pd.DataFrame:
        """One line per row: ``rewards``, ``actions.s1``, ``behavior_level.s1``, …

        Args:
            observations: also a column for each number of the state, observations and legal actions.
        """
        return to_frame(self.spec, self.columns, self.row_starts, self.lengths, observations)

    def to_pymarl(self, path: str | Path) -> Path:
        """Write padded episodes under PyMARL's names (``obs``, ``avail_actions``, ``filled``, …) as one HDF5 file.

        Raises:
            OffmarlError: the file exists or cannot be written.
        """
        return exports.export(self, "pymarl", Path(path))

    def to_pymarl_h5(self, path: str | Path) -> Path:
        """The same as ``to_pymarl``."""
        return self.to_pymarl(path)

    def to_minari(self, out: str | Path | None = None, *, dataset_id: str | None = None) -> Path:
        """Write a dataset that Minari reads, and return its folder; nothing is lost but odd episode ids.

        Args:
            out: the folder; None: where ``minari.load_dataset(dataset_id)`` finds it.
            dataset_id: Minari's name for it; None: this dataset's id.

        Raises:
            OffmarlError: Minari is not installed, or the folder exists or cannot be written.
            FormatError: a name that Minari refuses.
        """
        return exports.export(self, "minari", None if out is None else Path(out), name=dataset_id)

    def to_torch(self) -> dict[str, torch.Tensor]:
        """The columns as tensors that share their memory; do not write to them."""
        return {name: torch.from_numpy(column) for name, column in self.columns.items()}

    def to_tensordict(self) -> Any:
        """Every step with what came next, as TorchRL's TensorDict (see ``interop.tensors``); batch size is steps.

        Raises:
            OffmarlError: ``tensordict`` is not installed.
        """
        return exports.tensordict_of(self)

    def losses(self, target: str) -> list[Loss]:
        """What an export to ``pymarl``, ``minari`` or ``tensordict`` would not carry over. Raises UnknownName."""
        return exports.losses(self, target)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        format: str | None = None,
        env: str | EnvSpec | None = None,
        name: str | None = None,
        reward: imports.Reward = "mean",
    ) -> Self:
        """A dataset in anybody's format; what was assumed is in ``metadata["imported"]["assumed"]``, and logged.

        Args:
            path: a file or folder.
            format: ``pymarl``, ``minari``, ``omar``, ``omiga``, ``d4rl``, ``vault``; None: found out.
            env: the environment it comes from: an id that ``offmarl-bench envs`` lists, or a spec. None: as the file
                says, else inferred from its arrays.
            name: ``suite/map`` for an environment whose spec is inferred.
            reward: how rewards of each agent become the team's: ``mean`` or ``sum``.

        Raises:
            UnknownName: no such format or environment. FormatError: an unknown format, damaged or hostile data.
            SpecMismatch: it does not fit the environment.
        """
        spec = get_spec(env) if isinstance(env, str) else env
        found = imports.import_file(Path(path), format=format, spec=spec, env_id=name, reward=reward)
        return cls(found.spec, found.columns, found.row_starts, found.lengths, found.metadata)

    @classmethod
    def from_pymarl(cls, path: str | Path, env: str | EnvSpec | None = None) -> Self:
        """A dataset from PyMARL's padded episodes: a file, or a folder of parts; see ``from_file``."""
        return cls.from_file(path, format="pymarl", env=env)

    @classmethod
    def from_pymarl_h5(cls, path: str | Path, env: str | EnvSpec | None = None) -> Self:
        """The same as ``from_pymarl``."""
        return cls.from_pymarl(path, env)

    @classmethod
    def from_minari(cls, source: str | Path, env: str | EnvSpec | None = None) -> Self:
        """A dataset from Minari's: its folder, or its id among the datasets on this machine; see ``from_file``."""
        return cls.from_file(imports.minari_folder(source), format="minari", env=env)

    @classmethod
    def from_tensordict(
        cls, data: Any, env: str | EnvSpec | None = None, *, name: str | None = None, reward: imports.Reward = "mean"
    ) -> Self:
        """A dataset from a TensorDict under TorchRL's keys (see ``interop.tensors``), episodes in order of time.

        Args:
            data: a TensorDict in memory with one row a step; that of a folder you trust is
                ``TensorDict.load_memmap(folder)``.
            env: as for ``from_file``. What ``to_tensordict`` made comes back array for array if this is its spec.
            name: as for ``from_file``.
            reward: as for ``from_file``.

        Raises:
            FormatError: not such a TensorDict. SpecMismatch: it does not fit the environment. UnknownName: no such one.
        """
        spec = get_spec(env) if isinstance(env, str) else env
        found = imports.import_tensordict(data, spec=spec, env_id=name, reward=reward)
        return cls(found.spec, found.columns, found.row_starts, found.lengths, found.metadata)
