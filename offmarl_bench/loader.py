"""A dataset in memory: flat columns, episodes as views into them, and padded batches gathered from them.

The whole dataset is read once; after that nothing copies but the gather of a batch. Filters give views that share
the columns.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64

from offmarl_bench import hub, registry
from offmarl_bench.atomic import refuse_existing
from offmarl_bench.collate import collate, gather
from offmarl_bench.envs import get_spec, get_suite
from offmarl_bench.errors import FormatError, UnknownName
from offmarl_bench.format.derived import derived_metadata
from offmarl_bench.format.flatten import episode_at, flatten, row_starts_of
from offmarl_bench.format.reader import read_dataset
from offmarl_bench.format.schema import Columns
from offmarl_bench.format.summary import summarise_episodes
from offmarl_bench.format.writer import write_dataset
from offmarl_bench.hub.place import SCHEME
from offmarl_bench.ids import SUFFIX, DatasetId, local_datasets, parse_dataset_id, path_of
from offmarl_bench.manifest import compare
from offmarl_bench.portable import Portable
from offmarl_bench.recipes import qualities
from offmarl_bench.types import LEVELS, Batch, EnvSpec, Episode

log = logging.getLogger(__name__)


class TorchEpisodes(torch.utils.data.Dataset[Episode]):
    """Episodes for a ``torch.utils.data.DataLoader``; pass ``collate_fn=self.collate`` to it."""

    def __init__(self, dataset: Dataset, window: int | None = None) -> None:
        self.dataset = dataset
        self.window = window

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, k: int) -> Episode:
        return self.dataset[k]

    def collate(self, episodes: Sequence[Episode]) -> Batch:
        """A padded batch of these episodes, cut after ``window`` steps if one was given."""
        return collate(episodes, self.dataset.spec, window=self.window)


class Dataset(Portable):
    """Episodes of one environment, or a view of some of them.

    Attributes:
        spec: the environment they come from.
        metadata: what the file's ``metadata`` attribute says (see ``docs/format.md``).
        columns: flat arrays by name, exactly as in the file; shared between views, do not write to them.
        row_starts: (E,) first row of each episode in ``columns``.
        lengths: (E,) steps of each episode; it has one row more than steps.
        returns: (E,) undiscounted team return of each episode.
    """

    def __init__(
        self,
        spec: EnvSpec,
        columns: Columns,
        row_starts: Int64[np.ndarray, " E"],
        lengths: Int64[np.ndarray, " E"],
        metadata: Mapping[str, Any] | None = None,
        *,
        returns: Float64[np.ndarray, " E"] | None = None,
    ) -> None:
        super().__init__(spec, columns, row_starts, lengths, metadata)
        if returns is None:  # last rows hold no reward, so summing an episode's rows is summing its steps
            rewards = columns["rewards"].astype(np.float64)
            returns = np.add.reduceat(rewards, row_starts) if len(row_starts) else np.zeros(0)
        self.returns = returns

    @classmethod
    def from_episodes(
        cls, episodes: Sequence[Episode], spec: EnvSpec, metadata: Mapping[str, Any] | None = None
    ) -> Dataset:
        """A dataset of these episodes, copied into flat columns.

        Raises:
            SpecMismatch: an episode of another environment. FormatError: an episode without steps.
        """
        columns, lengths = flatten(episodes, spec)
        return cls(spec, columns, row_starts_of(lengths), lengths, metadata)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, k: int) -> Episode:
        if not -len(self) <= k < len(self):
            raise IndexError(f"episode {k} of a dataset with {len(self)} episodes")
        k = int(k) % len(self)
        return episode_at(self.columns, int(self.row_starts[k]), int(self.lengths[k]), k)

    def __iter__(self) -> Iterator[Episode]:
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        name = self.metadata.get("dataset_id") or self.spec.id
        mean = f"{self.returns.mean():.2f}" if len(self) else "none"
        return f"Dataset({name}: {len(self)} episodes, {int(self.lengths.sum())} steps, mean return {mean})"

    def batch(
        self,
        indices: Sequence[int] | Int[np.ndarray, " B"],
        *,
        starts: Int[np.ndarray, " B"] | None = None,
        window: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Batch:
        """These episodes, or of each the window of ``window`` steps that begins at ``starts``.

        A window that reaches its episode's end is shorter and padded; none crosses it.

        Raises:
            FormatError: no or unknown episodes, a window below 1, a start outside its episode.
        """
        chosen = np.asarray(indices, np.int64)
        if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(self):
            raise FormatError(
                f"episodes {chosen.min()} … {chosen.max()} were asked for, but this dataset has 0 … {len(self) - 1}"
            )
        begin = None if starts is None else np.asarray(starts, np.int64)
        return gather(
            self.columns, self.row_starts[chosen], self.lengths[chosen], starts=begin, window=window,
            episodes=chosen, device=device,
        )  # fmt: skip

    def sample(
        self,
        n: int,
        *,
        generator: np.random.Generator,
        window: int | None = None,
        device: str | torch.device = "cpu",
        weights: Float[np.ndarray, " E"] | None = None,
    ) -> Batch:
        """``n`` items drawn with replacement.

        Args:
            n: number of items.
            generator: the only source of randomness.
            window: None for whole episodes; else windows of so many steps. Without ``weights`` every window of the
                dataset is equally likely, so a long episode is drawn more often than a short one.
            device: torch device of the batch.
            weights: (E,) relative probability of each episode, any positive scale; the window within it is uniform.

        Raises:
            FormatError: an empty dataset, or weights that are negative, not finite, all zero or of a wrong length.
        """
        if not len(self):
            raise FormatError(f"{self!r} is empty: there is nothing to sample; loosen the filter")
        places = np.ones(len(self), np.int64) if window is None else np.maximum(self.lengths - window, 0) + 1
        cumulative = np.cumsum(places if weights is None else self._checked(weights), dtype=np.float64)
        chosen = np.searchsorted(cumulative, generator.random(n) * cumulative[-1], side="right")
        chosen = np.minimum(chosen, len(self) - 1)  # a product rounded up to the total would fall off the end
        starts = None if window is None else generator.integers(places[chosen])
        return self.batch(chosen, starts=starts, window=window, device=device)

    def _checked(self, weights: Float[np.ndarray, " E"]) -> Float64[np.ndarray, " E"]:
        given = np.asarray(weights, np.float64)
        if given.shape != (len(self),) or not np.isfinite(given).all() or (given < 0).any() or not given.sum() > 0:
            raise FormatError(
                f"weights of shape {given.shape}: expected {len(self)} finite numbers ≥ 0, one an episode, not all 0"
            )
        return given

    def batches(
        self,
        batch_size: int,
        *,
        generator: np.random.Generator | None,
        window: int | None = None,
        device: str | torch.device = "cpu",
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        """One pass over all episodes, or over consecutive windows of them, each step exactly once.

        Args:
            batch_size: items a batch.
            generator: shuffles the items; None keeps the dataset's order.
            window: None for whole episodes; else steps a window (an episode's last one may be shorter).
            device: torch device of the batches.
            drop_last: leave out a last batch that is not full.

        Raises:
            FormatError: ``batch_size`` or ``window`` below 1.
        """
        if batch_size < 1 or (window is not None and window < 1):
            raise FormatError(f"batches of {batch_size} items with window {window}: expected at least 1")
        pieces = np.ones(len(self), np.int64) if window is None else -(-self.lengths // window)
        episodes = np.repeat(np.arange(len(self)), pieces)
        starts = (np.arange(len(episodes)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) * (window or 0)
        order = np.arange(len(episodes)) if generator is None else generator.permutation(len(episodes))
        stop = len(order) - len(order) % batch_size if drop_last else len(order)
        for at in range(0, stop, batch_size):
            part = order[at : min(at + batch_size, stop)]
            yield self.batch(episodes[part], starts=starts[part], window=window, device=device)

    @property
    def levels(self) -> Int[np.ndarray, "E N"]:
        """For each episode and agent the index into ``LEVELS`` of who played its first step (−1: unknown)."""
        levels: Int[np.ndarray, "E N"] = self.columns["behavior_level"][self.row_starts]
        return levels

    def episodes(
        self,
        level: str | None = None,
        agent: str | None = None,
        min_return: float | None = None,
        max_return: float | None = None,
    ) -> Dataset:
        """The view of all episodes that pass every filter given.

        Args:
            level: a name from ``LEVELS``: keep episodes in which ``agent`` was played at this level, or without
                ``agent`` in which every agent was.
            agent: an agent's name; only together with ``level``.
            min_return: least return to keep.
            max_return: greatest return to keep.

        Raises:
            UnknownName: no such level or agent. FormatError: an agent without a level.
        """
        if agent is not None and level is None:
            raise FormatError(f"agent={agent!r} without a level: say which of {', '.join(LEVELS)} it should have been")
        keep: Bool[np.ndarray, " E"] = np.ones(len(self), bool)
        if level is not None:
            if level not in LEVELS:
                raise registry.unknown("level", level, LEVELS)
            if agent is not None and agent not in self.spec.agents:
                raise registry.unknown(f"agent of {self.spec.id}", agent, self.spec.agents)
            at_level = self.levels == LEVELS.index(level)
            keep &= at_level.all(1) if agent is None else at_level[:, self.spec.agents.index(agent)]
        if min_return is not None:
            keep &= self.returns >= min_return
        if max_return is not None:
            keep &= self.returns <= max_return
        chosen = np.flatnonzero(keep)
        return Dataset(
            self.spec, self.columns, self.row_starts[chosen], self.lengths[chosen], self.metadata,
            returns=self.returns[chosen],
        )  # fmt: skip

    def save(self, path: str | Path) -> Path:
        """Write this dataset (or view) as a file of format version 1; its metadata goes along.

        A view of some of the episodes gets statistics of its own, and names the dataset as its source.

        Raises:
            OffmarlError: the file exists or cannot be written. FormatError: no episodes, or metadata that is not JSON.
        """
        target = Path(path)
        refuse_existing(target)
        spans = zip(self.row_starts.tolist(), self.lengths.tolist(), strict=True)
        parts = [{name: c[a : a + t + 1] for name, c in self.columns.items()} for a, t in spans]
        said = self.metadata
        if len(self) and said.get("episodes", len(self)) != len(self):  # a filter's view: the whole is not what it is
            found = summarise_episodes(self.spec, self.returns, self.lengths, self.levels)
            said = derived_metadata("select", {}, [said], found, command=None)
        write_dataset(target, self.spec, parts, {"dataset_id": None, **said})
        return target

    def torch_dataset(self, window: int | None = None) -> TorchEpisodes:
        """Episodes for a ``DataLoader``; its ``collate`` makes padded batches (of at most ``window`` steps)."""
        return TorchEpisodes(self, window)


def find_dataset(id_or_path: str | Path, *, ask_hub: bool = True) -> Path:
    """The file that an id, a path or an address on the Hub stands for.

    Args:
        id_or_path: ``suite/map/quality[-vN]`` (without ``-vN``: the newest here), the path of a ``.h5`` file, or
            ``hf://OWNER/NAME[@REVISION]/PATH.h5``.
        ask_hub: bring a dataset that is not here from the Hub, unless ``$OFFMARL_OFFLINE`` is set.

    Raises:
        UnknownName: no such dataset here or on the Hub; the message says how to get it.
        FormatError: neither an id nor a path nor an address; or the Hub sent something else than it promised.
        OffmarlError: it is on the Hub and could not be brought.
    """
    if str(id_or_path).startswith(SCHEME):
        return hub.fetch(str(id_or_path))
    given = Path(id_or_path).expanduser()
    if isinstance(id_or_path, Path) or given.suffix in (SUFFIX, ".hdf5") or given.is_file():
        return given
    wanted = parse_dataset_id(str(id_or_path))
    here = local_datasets()
    same = [d for d in here if (d.env_id, d.quality) == (wanted.env_id, wanted.quality)]
    fitting = [d for d in same if wanted.version in (None, d.version)]
    if fitting:
        return path_of(fitting[-1])
    if not same:  # a slip of the pen is told at once, without asking anybody
        get_suite(wanted.suite)
        get_spec(wanted.env_id)
    brought, why_not = hub.pull_if_there(wanted) if ask_hub else (None, "")
    if brought is not None:
        return brought
    raise UnknownName(_not_here(wanted, here, same, why_not))


def _not_here(wanted: DatasetId, here: Sequence[DatasetId], same: Sequence[DatasetId], why_not: str) -> str:
    """What to tell somebody whose dataset is neither on this machine nor on the Hub."""
    message = f"dataset '{wanted}' is not on this machine." + (why_not and f" {why_not}")
    if same:
        return f"{message} Versions here: {', '.join(map(str, same))}; leave out '-v{wanted.version}' for the newest."
    near = sorted({d.quality for d in here if d.env_id == wanted.env_id} | {*qualities(wanted.env_id)})
    hint = registry.did_you_mean(wanted.quality, near) if wanted.quality not in near else ""
    listed = f" Qualities of {wanted.env_id}: {', '.join(near)}." if near and wanted.quality not in near else ""
    meant = registry.closest(wanted.quality, near) or (near[0] if near else wanted.quality)
    quality = wanted.quality if wanted.quality in near else meant
    how = f"offmarl-bench generate {wanted.suite} {wanted.map} --quality {quality}"
    return f"{message}{hint}{listed} Generate it: `{how}`"


@functools.cache
def _warn_once(message: str) -> None:
    """A benchmark loads the same file for every seed."""
    log.warning("%s", message)


def load_dataset(id_or_path: str | Path) -> Dataset:
    """Read a whole dataset into memory: by id from the datasets folder or else the Hub, or any file.

    Args:
        id_or_path: ``smac/2s3z/low``, ``smac/2s3z/low-v1``, the path of a ``.h5`` file, or an address on the Hub,
            ``hf://OWNER/NAME[@REVISION]/PATH.h5``.

    Raises:
        UnknownName: no such dataset here or on the Hub (says how to generate it), or no such suite or map.
        FormatError: a file that is damaged or not in our format.
        OffmarlError: it is on the Hub and could not be brought.
    """
    contents = read_dataset(find_dataset(id_or_path))
    status, why = compare(contents.metadata)
    if status == "differs" and Path(id_or_path).suffix != SUFFIX:  # who names a file knows which one it is
        _warn_once(f"{id_or_path} is not the published {contents.metadata['dataset_id']}: {why}")
    return Dataset(contents.spec, contents.columns, contents.row_starts, contents.lengths, contents.metadata)
