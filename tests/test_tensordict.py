"""TorchRL's TensorDict, there and back: ours loses no number, and what a stranger's does not say is listed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.interop import exports
from offmarl_bench.loader import Dataset
from offmarl_bench.types import EnvSpec
from tests.test_exports import CONTINUOUS
from tests.test_format import SPEC
from tests.test_interop import WITH_SIZES, assert_same, toy


@pytest.mark.parametrize("spec", [SPEC, CONTINUOUS], ids=lambda s: s.id)
def test_a_tensordict_has_every_step_and_what_came_next(spec: EnvSpec, tmp_path: Path) -> None:
    data = toy(spec)
    made = data.to_tensordict()
    assert made.batch_size == torch.Size([int(data.lengths.sum())])
    at = 0
    for k, episode in enumerate(data):
        part = made[at : at + len(episode)]
        at += len(episode)
        np.testing.assert_array_equal(part["agents", "observation"], episode.observations[:-1])
        np.testing.assert_array_equal(part["next", "agents", "observation"], episode.observations[1:])
        np.testing.assert_array_equal(part["next", "state"], episode.state[1:])
        np.testing.assert_array_equal(part["agents", "action"], episode.actions)
        np.testing.assert_array_equal(part["next", "reward"][:, 0], episode.rewards)
        ends = [False] * (len(episode) - 1)
        assert part["next", "done"][:, 0].tolist() == [*ends, True]
        assert part["next", "terminated"][:, 0].tolist() == [*ends, episode.terminal]
        assert part["next", "truncated"][:, 0].tolist() == [*ends, not episode.terminal]
        assert (part["collector", "traj_ids"] == k).all()
        assert part["step_count"][:, 0].tolist() == list(range(len(episode)))
        if spec.discrete:
            np.testing.assert_array_equal(part["agents", "action_mask"], np.asarray(episode.legal_actions)[:-1])
    assert {loss.what for loss in data.losses("tensordict")} == {"spec", "metadata"}
    kept = TensorDict.load_memmap(str(exports.export(data, "tensordict", tmp_path / "td")))
    assert bool((kept == made).all())
    with pytest.raises(OffmarlError, match="td exists already"):
        exports.export(data, "tensordict", tmp_path / "td")
    with pytest.raises(FormatError, match="export to tensordict needs a place: give out="):
        exports.export(data, "tensordict", None)


@pytest.mark.parametrize("spec", [SPEC, CONTINUOUS, WITH_SIZES], ids=lambda s: s.id)
def test_a_tensordict_gives_everything_back(spec: EnvSpec) -> None:
    data = toy(spec)
    back = Dataset.from_tensordict(data.to_tensordict(), spec)
    assert_same(data, back)
    assert back.spec == spec
    assert back.metadata["imported"] == {"format": "tensordict", "assumed": []}
    assert back.metadata["episodes"] == len(data)


def strangers(change: Mapping[tuple[str, ...], Any] | None = None, steps: int = 6) -> Any:
    """What somebody else's collector gives: two agents, no state, no masks, the second episode cut by the batch."""
    g = torch.Generator().manual_seed(0)
    seen = torch.rand((steps + 1, 2, 3), generator=g)
    following = seen[1:].clone()
    following[2] = 9.0  # the first episode's final observation
    done = torch.arange(steps) == 2
    entries = {
        ("agents", "observation"): seen[:-1], ("next", "agents", "observation"): following,
        ("agents", "action"): torch.randint(4, (steps, 2, 1), generator=g),
        ("next", "agents", "reward"): torch.arange(2.0 * steps).reshape(steps, 2, 1), ("next", "done"): done[:, None],
        **(change or {}),
    }  # fmt: skip
    return TensorDict({k: v for k, v in entries.items() if v is not None}, batch_size=[steps])


def test_a_strangers_tensordict_is_inferred_and_every_guess_is_listed() -> None:
    back = Dataset.from_tensordict(strangers(), name="their/game")
    assert (back.spec.id, back.spec.N, back.spec.O, back.spec.S, back.spec.A) == ("their/game", 2, 3, 6, 4)
    assert back.lengths.tolist() == [3, 3]
    assert [e.terminal for e in back] == [True, False]
    assert (back[0].observations[-1] == 9).all()
    assert back[0].rewards.tolist() == [0.5, 2.5, 4.5]
    said = " ".join(back.metadata["imported"]["assumed"])
    for words in ("agents: the file has no names", "the team's is their mean", "state: the file has none",
                  "behavior_level, behavior_policy, behavior_logprob: unknown"):  # fmt: skip
        assert words in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({("next", "done"): None}, r"no entry \('next', 'done'\); expected"),
        ({("next", "agents", "reward"): None}, r"no entry \('next', 'reward'\), expected the team's reward"),
        ({("next", "done"): torch.zeros(6, 1, dtype=torch.bool)}, "next to step 2 is not that of step 3 of the same"),
        ({("agents", "action"): torch.zeros(6, 3, dtype=torch.long)}, r"shape \(6, 3\), expected one of each of 2"),
        ({("agents", "action"): torch.zeros(6, 2, 4, dtype=torch.long)}, r"shape \(6, 2, 4\), expected one of each"),
        ({("agents", "observation"): torch.zeros(6, 6)}, r"float32 \(6, 6\), expected numbers of \(3,\) axes"),
    ],
)
def test_a_tensordict_that_is_no_recording(change: dict[tuple[str, ...], Any], says: str) -> None:
    with pytest.raises(FormatError, match=says):
        Dataset.from_tensordict(strangers(change))


def test_a_batch_of_tensordicts_is_to_be_flattened_first() -> None:
    with pytest.raises(FormatError, match=r"batch size \(2, 3\), expected \(steps,\); flatten it with"):
        Dataset.from_tensordict(strangers().reshape(2, 3))
    with pytest.raises(FormatError, match=r"batch size \(\), expected \(steps,\)"):
        Dataset.from_tensordict([1, 2])
    other = toy().to_tensordict()
    other["agents", "behavior_level"] = other["agents", "behavior_level"].long()
    with pytest.raises(FormatError, match=r"'behavior_level'\) is int64 .*, expected int8"):
        Dataset.from_tensordict(other, SPEC)
