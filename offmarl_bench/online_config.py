"""How one seed of a pool is trained online: the settings, and how they differ between suites and maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from offmarl_bench.envs import split_id
from offmarl_bench.errors import FormatError


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineTraining:
    """How one seed is trained. Defaults are PyMARL's but for fewer, fresher updates; each line says what differs."""

    steps: int = 1_750_000
    """Environment steps (PyMARL: 2,050,000)."""
    lanes: int = 32
    """Episodes played side by side between updates (PyMARL: 1, or 8 in parallel)."""
    updates_per_episode: float = 0.25
    """Gradient steps for each episode played (PyMARL: 1). Play is cheap here and updates are not."""
    batch_size: int = 32
    """Episodes, or windows, an update."""
    window: int = 0
    """Greatest number of steps of what is learnt from: 0 for whole episodes, 1 for single transitions.

    What follows a window is learnt elsewhere, unlike what follows a horizon: agents need ``trust_at_cut=1``."""
    replay: int = 5_000
    """Episodes kept."""
    epsilon_start: float = 1.0
    """Exploration at first: ε of ε-greedy play, or the standard deviation of the noise on continuous actions."""
    epsilon_end: float = 0.05
    epsilon_steps: int = 50_000
    """Environment steps over which ε falls linearly from start to end."""
    save_every: int = 25_000
    """Environment steps between snapshots."""
    test_every: int = 50_000
    """Environment steps between tests (and checkpoints)."""
    test_episodes: int = 32
    """Greedy episodes a test; the same ones each time."""
    agent: str | None = None
    """Registered agent; None: ``ONLINE_AGENTS``."""
    settings: Mapping[str, Any] = field(
        default_factory=lambda: {"td_lambda": 0.6, "target_interval": 50, "trust_at_cut": 1.0}
    )
    """Settings of the agent that differ from its defaults. Targets are copied every 200 episodes, as in PyMARL; its
    one-step targets learn too slowly from a quarter of its updates, so λ is that of the tuned QMIX
    (arXiv:2102.03479)."""

    def __post_init__(self) -> None:
        for name in ("steps", "lanes", "batch_size", "replay", "save_every", "test_every", "test_episodes"):
            if getattr(self, name) < 1:
                raise FormatError(f"online training: {name} is {getattr(self, name)!r}, expected at least 1")
        if self.window < 0:
            raise FormatError(f"online training: window is {self.window!r}, expected at least 0")
        if not self.updates_per_episode > 0:
            raise FormatError(f"online training: updates_per_episode is {self.updates_per_episode!r}, expected above 0")
        least = self.lanes if self.window else max(self.batch_size, self.lanes)
        if self.replay < least:
            raise FormatError(
                f"online training: replay is {self.replay} episodes, expected at least batch_size and lanes ({least})"
            )

    def epsilon(self, step: int) -> float:
        """ε after ``step`` environment steps."""
        done = min(1.0, step / max(1, self.epsilon_steps))
        return self.epsilon_start + done * (self.epsilon_end - self.epsilon_start)


MPE = OnlineTraining(
    steps=240_000, lanes=64, updates_per_episode=0.75, save_every=10_000, test_every=20_000,
    settings={"td_lambda": 0.6, "target_interval": 50, "gamma": 0.9, "reward_scale": 0.1, "trust_at_cut": 1.0},
)  # fmt: skip
"""The particle maps: short episodes, so more updates a step; rewards of −6 a step that never end, so a short horizon.
With the defaults QMIX gets worse than untrained there (docs/pools.md)."""
MAMUJOCO = OnlineTraining(
    steps=50_000, lanes=10, updates_per_episode=40.0, batch_size=16, window=8, replay=2_500, epsilon_start=0.6,
    epsilon_end=0.2, epsilon_steps=20_000, save_every=5_000, test_every=5_000,
    settings={
        "recurrent": False, "critics": 2, "target_noise": 0.2, "actor_delay": 2, "td_lambda": 0.9, "gamma": 0.98,
        "tau": 0.01, "actor_lr": 1e-3, "critic_lr": 1e-3, "action_penalty": 3e-3, "reward_scale": 0.3,
        "trust_at_cut": 1.0,
    },
)  # fmt: skip
"""The robots: an agent's observation is enough to act on, so plain networks learn from short windows. Play is cheap
and updates are not: one for five steps (docs/pools.md)."""
OF_SUITE = {"mpe": MPE, "mamujoco": MAMUJOCO}
OF_MAP = {
    "smac/3s_vs_5z": OnlineTraining(
        steps=2_000_000, updates_per_episode=1.0,
        settings={"td_lambda": 0.6, "target_interval": 200, "trust_at_cut": 1.0},
    ),
}  # fmt: skip
"""Maps that the suite's way is too little for: kiting five zealots is learnt with all of PyMARL's updates. With a
quarter of them no seed won within 1,750,000 steps."""


def training_of(env_id: str) -> OnlineTraining:
    """How the pools of ``suite/map`` are trained."""
    suite, _ = split_id(env_id)
    return OF_MAP.get(env_id, OF_SUITE.get(suite, OnlineTraining()))
