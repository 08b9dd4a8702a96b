"""Play an ONNX graph of continuous actions: greedy play is tanh(mean), sampled play draws or adds noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32

from leaderboard.onnx_player import OnnxPlayer
from offmarl_bench.continuous import TanhGaussian, real_components
from offmarl_bench.continuous_policy import explored, sampled
from offmarl_bench.types import EnvSpec

LOG_STD = (-20.0, 10.0)
"""A graph's log σ is taken into this range, so that every draw has a density."""


class OnnxContinuousPolicy(OnnxPlayer):
    """A graph that sets actions in [−1, 1]: ``ContinuousSlotPolicy`` with the graph for a network.

    Args:
        path: an ``.onnx`` file; it is checked before it is run.
        spec: the environment; continuous.
        greedy: tanh(mean) instead of a draw.
        noise: sampled play adds N(0, noise²) to the greedy action and clips it; None: it draws from the graph's own
            distribution, tanh(mean + exp(log_std) z).

    Raises:
        FormatError: not such a graph. OffmarlError: onnxruntime is not installed, or refuses the graph.
    """

    def __init__(self, path: Path, spec: EnvSpec, *, greedy: bool = True, noise: float | None = None) -> None:
        super().__init__(path, spec)
        self.noise = 0.0 if greedy else noise
        self._real = real_components(spec)

    def _nothing(self, lanes: int) -> Float32[np.ndarray, "N B A"]:
        return np.zeros((self.spec.N, lanes, self.spec.A), np.float32)

    def decide(
        self,
        obs: Float32[np.ndarray, "B N O"],
        legal: Bool[np.ndarray, "B N A"] | None,
        generator: np.random.Generator,
    ) -> tuple[Float32[np.ndarray, "B N A"], Float32[np.ndarray, "B N"]]:
        """See Policy: float32 actions and log-probabilities; ``legal`` is not looked at."""
        self._check_lanes(obs)
        parts = [self._answers(k, {"obs": obs[:, k]}) for k in range(self.spec.N)]
        mean, log_std = (torch.from_numpy(np.stack(column, 1)).double() for column in zip(*parts, strict=True))
        if self.noise is None:
            drawn = sampled(TanhGaussian(mean, log_std.clamp(*LOG_STD)), self._real, generator)
        else:
            drawn = explored(torch.tanh(mean), self.noise, self._real, generator)
        action, logprob = (x.float().numpy() for x in drawn)
        self._last = np.ascontiguousarray(action.transpose(1, 0, 2))
        return action, logprob
