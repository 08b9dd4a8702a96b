"""Run an ONNX graph one agent at a time: the memory and the suspicion under both kinds of play.

The graph sees one agent at a time (``onnx_interface``). What to do with its outputs is decided by ``onnx_policy`` and
``onnx_continuous``, as for every other agent.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped

from leaderboard.onnx_check import check_graph
from leaderboard.onnx_interface import inputs, outputs
from offmarl_bench.agent import Policy
from offmarl_bench.errors import FormatError, OffmarlError, SpecMismatch
from offmarl_bench.types import EnvSpec


class OnnxPlayer(Policy):
    """A graph that plays all agents of an environment, each from its own observations and with its own memory.

    Subclasses say what "no action yet" is (``_nothing``) and store what was done in ``_last``.

    Args:
        path: an ``.onnx`` file; it is checked before it is run.
        spec: the environment.

    Raises:
        FormatError: not such a graph. OffmarlError: onnxruntime is not installed, or refuses the graph.
    """

    def __init__(self, path: Path, spec: EnvSpec) -> None:
        self.width = check_graph(path, spec)
        try:
            import onnxruntime
        except ImportError as e:
            raise OffmarlError("playing a graph needs onnxruntime: pip install 'offmarl-bench[onnx]'") from e
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the same sums in the same order everywhere
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as e:  # onnxruntime's errors have no common parent of their own
            raise FormatError(f"{path}: onnxruntime refuses the graph: {str(e).splitlines()[0][:200]!r}") from e
        self.path, self.spec = path, spec
        self._forget(0)

    @abstractmethod
    def _nothing(self, lanes: int) -> Shaped[np.ndarray, "N B *A"]:
        """The previous action of lanes that have not acted."""

    def _forget(self, lanes: int) -> None:
        self._last = self._nothing(lanes)
        self._hidden = np.zeros((self.spec.N, lanes, self.width), np.float32)

    def reset(self, n: int) -> None:
        """See Policy."""
        self._forget(n)

    def keep(self, lanes: Shaped[np.ndarray, " K"]) -> None:
        """See Policy."""
        self._last, self._hidden = self._last[:, lanes], self._hidden[:, lanes]

    def _answers(self, k: int, given: dict[str, Shaped[np.ndarray, "B *Z"]]) -> list[Float32[np.ndarray, "B A"]]:
        """What the graph says for agent k besides its memory, which is advanced.

        Args:
            k: index of the agent.
            given: ``obs``, and ``legal`` where there is such an input.

        Raises:
            FormatError: it fails, or gives other shapes than it promised, or numbers that are not finite.
        """
        rows = len(given["obs"])
        fed = {name: np.ascontiguousarray(x) for name, x in given.items()}
        fed |= {"last_action": self._last[k], "agent": np.full(rows, k, np.int64), "hidden": self._hidden[k]}
        wanted = list(outputs(self.spec))
        try:
            *said, hidden = self._session.run(wanted, {name: fed[name] for name in inputs(self.spec)})
        except Exception as e:  # see above
            raise FormatError(f"{self.path}: fails while it plays: {str(e).splitlines()[0][:200]!r}") from e
        shapes = [x.shape for x in (*said, hidden)]
        expected = [(rows, self.spec.A)] * len(said) + [self._hidden[k].shape]
        if shapes != expected:
            raise FormatError(f"{self.path}: gave shapes {shapes}, expected {expected}")
        free = given.get("legal", np.True_)
        if not all(np.isfinite(np.where(free, x, 0)).all() for x in said) or not np.isfinite(hidden).all():
            raise FormatError(f"{self.path}: gave numbers that are not finite")
        self._hidden[k] = hidden
        return [np.asarray(x, np.float32) for x in said]

    def _check_lanes(self, obs: Float32[np.ndarray, "B N O"]) -> None:
        if len(obs) != self._last.shape[1]:
            raise SpecMismatch(f"{len(obs)} lanes of observations, but the policy was reset for {self._last.shape[1]}")
