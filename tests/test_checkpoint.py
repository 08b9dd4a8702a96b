"""A checkpoint holds everything, never runs code, and a damaged one is found and replaced by the one before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from offmarl_bench.agent import Agent, Phase, Policy
from offmarl_bench.atomic import write_atomic
from offmarl_bench.checkpoint import (
    LATEST,
    PREVIOUS,
    Position,
    load_checkpoint,
    read_checkpoint,
    read_tensors,
    save_checkpoint,
    write_tensors,
)
from offmarl_bench.envs.toy import SPECS
from offmarl_bench.errors import FormatError, OffmarlError


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoNetsConfig:
    """Nothing to choose but a width."""

    width: int = 3


class TwoNets(Agent):
    """The least that has a target network and two optimizers of different kinds."""

    Config = TwoNetsConfig

    def __init__(self, width: int = 3) -> None:
        super().__init__(SPECS["signals"], TwoNetsConfig(width=width))
        self.net, self.target = torch.nn.Linear(2, width), torch.nn.Linear(2, width)
        self.optimizers = {
            "rms": torch.optim.RMSprop(self.net.parameters(), lr=0.01),
            "adam": torch.optim.Adam(self.net.parameters(), lr=0.01, betas=(0.8, 0.9)),
        }

    def phases(self, dataset: object) -> list[Phase]:
        return []

    def policy(self, greedy: bool = True) -> Policy:
        raise NotImplementedError

    def learn(self, generator: np.random.Generator) -> None:
        """One update whose data come from both random states."""
        x = torch.from_numpy(generator.normal(size=(4, 2)).astype(np.float32)) + torch.rand(4, 2)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
            (self.net(x) - self.target(x)).square().mean().backward()
            optimizer.step()


def trained(updates: int = 3) -> tuple[TwoNets, np.random.Generator]:
    torch.manual_seed(1)
    agent, generator = TwoNets(), np.random.default_rng(5)
    for _ in range(updates):
        agent.learn(generator)
    return agent, generator


def weights(agent: TwoNets) -> list[torch.Tensor]:
    return [v.clone() for v in agent.state_dict().values()]


def test_going_on_from_a_checkpoint_equals_never_having_stopped(tmp_path: Path) -> None:
    agent, generator = trained()
    save_checkpoint(tmp_path, agent, generator, Position(phase=1, step=3, seconds=2.5))
    for _ in range(5):
        agent.learn(generator)
    other, other_generator = TwoNets(), np.random.default_rng(99)
    torch.manual_seed(77)
    assert load_checkpoint(tmp_path, other, other_generator) == Position(phase=1, step=3, seconds=2.5)
    for _ in range(5):
        other.learn(other_generator)
    assert all(torch.equal(a, b) for a, b in zip(weights(agent), weights(other), strict=True))
    assert other.optimizers["adam"].param_groups[0]["betas"] == (0.8, 0.9)


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    agent, generator = trained(0)
    assert load_checkpoint(tmp_path, agent, generator) is None


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other"])
def test_a_damaged_checkpoint_gives_way_to_the_previous_one(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent, generator = trained()
    save_checkpoint(tmp_path, agent, generator, Position(step=3))
    agent.learn(generator)
    save_checkpoint(tmp_path, agent, generator, Position(step=4))
    content = bytearray((tmp_path / LATEST).read_bytes())
    content[-5] ^= 1  # one bit of a weight: safetensors itself would not notice
    broken = {"flip": bytes(content), "cut": bytes(content[: len(content) // 2]), "empty": b"", "other": b"x" * 999}
    (tmp_path / LATEST).write_bytes(broken[damage])
    with pytest.raises(FormatError, match=r"damaged or not ours|cannot be read as an offmarl-bench weights file"):
        read_checkpoint(tmp_path / LATEST, agent, generator)
    assert load_checkpoint(tmp_path, agent, generator) == Position(step=3)
    assert "trying the checkpoint before it" in caplog.text
    (tmp_path / PREVIOUS).write_bytes(b"")
    with pytest.raises(FormatError, match="no earlier checkpoint helps: delete"):
        load_checkpoint(tmp_path, agent, generator)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    agent, generator = trained()
    save_checkpoint(tmp_path, agent, generator, Position())
    with pytest.raises(FormatError, match=r"weight 'net.weight' is torch.float32 \(3, 2\), expected .* \(4, 2\)"):
        load_checkpoint(tmp_path, TwoNets(width=4), generator)
    agent.extra = torch.nn.Linear(1, 1)
    with pytest.raises(FormatError, match=r"another network: missing \['extra.bias', 'extra.weight'\]"):
        load_checkpoint(tmp_path, agent, generator)


def test_hostile_headers_are_refused(tmp_path: Path) -> None:
    agent, generator = trained()
    save_checkpoint(tmp_path, agent, generator, Position())
    tensors, header = read_tensors(tmp_path / LATEST)
    cases = {
        "position is": {**header, "position": {"phase": -1, "step": 0, "seconds": 0.0}},
        "optimizers do not match": {**header, "optimizers": {}},
        "cannot be restored": {**header, "numpy_rng": {"bit_generator": "PCG64", "state": "no"}},
    }
    for words, bad in cases.items():
        write_tensors(tmp_path / "bad.safetensors", tensors, bad)
        with pytest.raises(FormatError, match=words):
            read_checkpoint(tmp_path / "bad.safetensors", agent, generator)
    tensors["optimizer/rms/0/square_avg"] = torch.zeros(7)
    write_tensors(tmp_path / "bad.safetensors", tensors, header)
    with pytest.raises(FormatError, match=r"state 0/square_avg has shape \(7,\), expected \(3, 2\)"):
        read_checkpoint(tmp_path / "bad.safetensors", agent, generator)


def test_writing_to_an_impossible_place_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OffmarlError, match=r"cannot write .*; free space, or choose a writable place"):
        write_atomic(tmp_path / "file" / "x", b"")
    with pytest.raises(OffmarlError, match="cannot be stored as JSON"):
        write_tensors(tmp_path / "x", {}, {"a": float("nan")})
    with pytest.raises(OffmarlError, match="'a' is a int, only tensors"):
        write_tensors(tmp_path / "x", {"a": 1}, {})  # type: ignore[dict-item]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    write_atomic(tmp_path / "ours", b"x")
    (tmp_path / "other").write_bytes(b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "other").stat().st_mode
