"""Play an ONNX graph of discrete actions: somebody's network of any architecture, without their Python.

Illegal actions are never chosen, greedy play takes the greatest output, sampled play draws.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int

from leaderboard.onnx_player import OnnxPlayer
from offmarl_bench.policies import choose
from offmarl_bench.types import EnvSpec

NO_ACTION = -1


class OnnxPolicy(OnnxPlayer):
    """A graph that chooses among actions: ``policies.PlayerPolicy`` with the graph for a network.

    Args:
        path: an ``.onnx`` file; it is checked before it is run.
        spec: the environment; discrete.
        greedy: the greatest legal output instead of a draw.
        epsilon: share of uniform choices in sampled play.
        softmax: sampled play draws from the softmax of the outputs; False: it is greedy but for ``epsilon``.

    Raises:
        FormatError: not such a graph. OffmarlError: onnxruntime is not installed, or refuses the graph.
    """

    def __init__(
        self, path: Path, spec: EnvSpec, *, greedy: bool = True, epsilon: float = 0.0, softmax: bool = True
    ) -> None:
        super().__init__(path, spec)
        self.greedy, self.softmax = greedy or not softmax, softmax
        self.epsilon = 0.0 if greedy else epsilon

    def _nothing(self, lanes: int) -> Int[np.ndarray, "N B"]:
        return np.full((self.spec.N, lanes), NO_ACTION, np.int64)

    def decide(
        self,
        obs: Float32[np.ndarray, "B N O"],
        legal: Bool[np.ndarray, "B N A"] | None,
        generator: np.random.Generator,
    ) -> tuple[Int[np.ndarray, "B N"], Float32[np.ndarray, "B N"]]:
        """See Policy: int32 actions and float32 log-probabilities."""
        self._check_lanes(obs)
        spec = self.spec
        allowed = np.ones((len(obs), spec.N, spec.A), bool) if legal is None else legal
        parts = [self._answers(k, {"obs": obs[:, k], "legal": allowed[:, k]})[0] for k in range(spec.N)]
        own = np.stack(parts, 1).astype(np.float64)
        action, logprob = choose(own, legal, generator, greedy=self.greedy, epsilon=self.epsilon)
        self._last = action.T.astype(np.int64)
        return action, logprob
