"""What online training draws: whole episodes, or windows that begin anywhere and never cross an end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from offmarl_bench.errors import FormatError
from offmarl_bench.online_config import OnlineTraining
from offmarl_bench.replay import Replay, WindowReplay
from offmarl_bench.types import Episode
from tests.toy_continuous import SPEC, uniform_dataset


def episodes(n: int) -> list[Episode]:
    return list(uniform_dataset(n).episodes())


@pytest.mark.parametrize("window", [1, 3])
def test_a_window_is_what_was_played(window: int) -> None:
    replay, played = WindowReplay(SPEC, 8, window), episodes(8)
    replay.add(played)
    batch = replay.sample(200, np.random.default_rng(0))
    assert batch.actions.shape == (200, window, SPEC.N, SPEC.A)
    assert batch.legal is None
    starts = set()
    for k in range(200):
        t, n = int(batch.starts[k]), int(batch.lengths[k])
        assert n == min(window, SPEC.horizon - t)
        (episode,) = [e for e in played if np.array_equal(e.actions[t : t + n], batch.actions[k, :n].numpy())]
        assert np.array_equal(episode.observations[t : t + n + 1], batch.obs[k, : n + 1].numpy())
        assert np.array_equal(episode.state[t : t + n + 1], batch.state[k, : n + 1].numpy())
        assert np.array_equal(episode.rewards[t : t + n], batch.rewards[k, :n].numpy())
        starts.add(t)
    assert starts == set(range(SPEC.horizon))
    assert not batch.terminated.any()  # cut by the horizon: bootstraps


def test_the_oldest_episodes_give_way() -> None:
    replay, played = WindowReplay(SPEC, 3, 1), episodes(5)
    replay.add(played[:2])
    assert len(replay) == 2
    replay.add(played[2:])
    assert len(replay) == 3
    seen = replay.sample(300, np.random.default_rng(0)).actions[:, 0]
    for k, e in enumerate(played):
        there = bool((seen == torch.from_numpy(e.actions[0])).all((1, 2)).any())
        assert there == (k >= 2)


def test_windows_are_drawn_by_the_generator_alone() -> None:
    replay = WindowReplay(SPEC, 4, 2)
    replay.add(episodes(4))
    one, two = (replay.sample(16, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(one.obs, two.obs)


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(FormatError, match="a batch of windows from an empty replay; play first"):
        WindowReplay(SPEC, 4, 1).sample(2, np.random.default_rng(0))
    with pytest.raises(FormatError, match="a batch of 2 episodes from a replay that holds 0"):
        Replay(SPEC, 4).sample(2, np.random.default_rng(0))
    with pytest.raises(FormatError, match="window is -1, expected at least 0"):
        OnlineTraining(window=-1)
    assert OnlineTraining(window=1, batch_size=256, replay=32).replay == 32
    with pytest.raises(FormatError, match=r"replay is 32 episodes, expected at least batch_size and lanes \(256\)"):
        OnlineTraining(batch_size=256, replay=32)
