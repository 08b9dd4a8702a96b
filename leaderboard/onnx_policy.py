"""Play an ONNX graph: somebody's network of any architecture, without their Python.

The graph sees one agent at a time (``onnx_interface``). What to do with its outputs is decided here, as for every
other agent: illegal actions are never chosen, greedy play takes the greatest output, sampled play draws.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int, Shaped

from leaderboard.onnx_check import check_graph
from leaderboard.onnx_interface import INPUTS, OUTPUTS
from offmarl_bench.agent import Policy
from offmarl_bench.errors import FormatError, OffmarlError, SpecMismatch
from offmarl_bench.policies import choose
from offmarl_bench.types import EnvSpec

NO_ACTION = -1


class OnnxPolicy(Policy):
    """A graph that plays all agents of an environment, each from its own observations.

    Args:
        path: an ``.onnx`` file; it is checked before it is run.
        spec: the environment.
        greedy: the greatest legal output instead of a draw.
        epsilon: share of uniform choices in sampled play.
        softmax: sampled play draws from the softmax of the outputs; False: it is greedy but for ``epsilon``.

    Raises:
        FormatError: not such a graph. OffmarlError: onnxruntime is not installed, or refuses the graph.
    """

    def __init__(
        self, path: Path, spec: EnvSpec, *, greedy: bool = True, epsilon: float = 0.0, softmax: bool = True
    ) -> None:
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
        self.greedy, self.softmax = greedy or not softmax, softmax
        self.epsilon = 0.0 if greedy else epsilon
        self._last = np.zeros((spec.N, 0), np.int64)
        self._hidden = np.zeros((spec.N, 0, self.width), np.float32)

    def reset(self, n: int) -> None:
        """See Policy."""
        self._last = np.full((self.spec.N, n), NO_ACTION, np.int64)
        self._hidden = np.zeros((self.spec.N, n, self.width), np.float32)

    def keep(self, lanes: Shaped[np.ndarray, " K"]) -> None:
        """See Policy."""
        self._last, self._hidden = self._last[:, lanes], self._hidden[:, lanes]

    def _outputs(
        self, k: int, obs: Float32[np.ndarray, "B O"], legal: Bool[np.ndarray, "B A"]
    ) -> Float32[np.ndarray, "B A"]:
        """What the graph says for agent k; advances that agent's memory."""
        who = np.full(len(obs), k, np.int64)
        fed = dict(zip(INPUTS, (obs, legal, self._last[k], who, self._hidden[k]), strict=True))
        try:
            logits, hidden = self._session.run(list(OUTPUTS), fed)
        except Exception as e:  # see above
            raise FormatError(f"{self.path}: fails while it plays: {str(e).splitlines()[0][:200]!r}") from e
        if logits.shape != legal.shape or hidden.shape != self._hidden[k].shape:
            raise FormatError(f"{self.path}: gave shapes {logits.shape}, {hidden.shape}, expected {legal.shape}, …")
        if not np.isfinite(np.where(legal, logits, 0)).all() or not np.isfinite(hidden).all():
            raise FormatError(f"{self.path}: gave numbers that are not finite")
        self._hidden[k] = hidden
        return np.asarray(logits, np.float32)

    def decide(
        self,
        obs: Float32[np.ndarray, "B N O"],
        legal: Bool[np.ndarray, "B N A"] | None,
        generator: np.random.Generator,
    ) -> tuple[Int[np.ndarray, "B N"], Float32[np.ndarray, "B N"]]:
        """See Policy: int32 actions and float32 log-probabilities."""
        spec = self.spec
        if len(obs) != self._last.shape[1]:
            raise SpecMismatch(f"{len(obs)} lanes of observations, but the policy was reset for {self._last.shape[1]}")
        allowed = np.ones((len(obs), spec.N, spec.A), bool) if legal is None else legal
        parts = [
            self._outputs(k, np.ascontiguousarray(obs[:, k]), np.ascontiguousarray(allowed[:, k]))
            for k in range(spec.N)
        ]
        own = np.stack(parts, 1).astype(np.float64)
        action, logprob = choose(own, legal, generator, greedy=self.greedy, epsilon=self.epsilon)
        self._last = action.T.astype(np.int64)
        return action, logprob
