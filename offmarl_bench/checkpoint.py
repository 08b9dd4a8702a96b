"""Everything that training needs in order to go on as if it had never stopped, in one safetensors file.

Tensors (weights with the targets, the optimizers' state, torch's random state) are named in the file; the rest
(the optimizers' settings, NumPy's random state, the position) is JSON in the header. No pickle: a checkpoint from
a stranger cannot run code. safetensors has no checksum of its own, so the header carries a SHA-256 of everything.
Two generations are kept: a new one is complete on disk before it takes the place of the one before.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from offmarl_bench.agent import Agent
from offmarl_bench.atomic import write_atomic
from offmarl_bench.errors import FormatError, OffmarlError

log = logging.getLogger(__name__)

LATEST = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"
FORMAT = "offmarl-bench checkpoint 1"
ENVELOPE = "offmarl-bench"
"""Key of the one entry in safetensors' own header."""
TORCH_RNG = "torch_rng"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a run has come."""

    phase: int = 0
    """Index of the phase."""
    step: int = 0
    """Updates done in that phase."""
    seconds: float = 0.0
    """Wall time spent in training so far, over all resumes."""


def _digest(tensors: Mapping[str, Tensor], header: str) -> str:
    total = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        t = tensors[name]
        total.update(f"{name} {t.dtype} {tuple(t.shape)}".encode())
        total.update(t.reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b"")
    return total.hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write named tensors and a JSON header atomically, with a checksum over both.

    Raises:
        OffmarlError: the place cannot be written, or something is not a tensor or not JSON.
    """
    for name, t in tensors.items():
        if not isinstance(t, Tensor):
            raise OffmarlError(f"{path}: {name!r} is a {type(t).__name__}, only tensors can be stored")
    try:
        text = json.dumps(header, allow_nan=False)
    except (TypeError, ValueError) as e:
        raise OffmarlError(f"{path}: the header cannot be stored as JSON: {e}") from e
    # A copy of each: safetensors refuses tensors that share memory (tied weights).
    plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    envelope = json.dumps({"format": FORMAT, "json": text, "sha256": _digest(plain, text)})
    # A single entry: safetensors writes several in random order, and equal content should be equal bytes.
    write_atomic(path, save(plain, metadata={ENVELOPE: envelope}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``write_tensors`` wrote.

    Raises:
        FormatError: missing, truncated, changed or foreign file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})[ENVELOPE])
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(metadata["json"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as e:
        raise FormatError(f"{path}: cannot be read as an offmarl-bench weights file: {e!r}") from e
    if metadata.get("format") != FORMAT or metadata.get("sha256") != _digest(tensors, metadata["json"]):
        raise FormatError(f"{path}: content does not match its checksum; the file is damaged or not ours")
    if not isinstance(header, dict):
        raise FormatError(f"{path}: header is a {type(header).__name__}, expected an object")
    return tensors, header


def load_weights(
    module: nn.Module, tensors: Mapping[str, Tensor], where: Path, part: Mapping[str, Tensor] | None = None
) -> None:
    """Copy tensors into a module after checking every name, shape and type.

    Args:
        module: what to load into.
        tensors: the weights.
        where: named in errors: a file.
        part: the entries of the module's ``state_dict`` that are wanted; None: all, nothing may be missing.

    Raises:
        FormatError: weights that are not exactly those.
    """
    own = module.state_dict() if part is None else part
    if set(own) != set(tensors):
        missing, extra = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
        raise FormatError(
            f"{where}: weights are for another network: missing {missing[:3]}, unexpected {extra[:3]}; "
            "load them with the agent and configuration that made them"
        )
    for name, t in own.items():
        if t.shape != tensors[name].shape or t.dtype != tensors[name].dtype:
            raise FormatError(
                f"{where}: weight {name!r} is {tensors[name].dtype} {tuple(tensors[name].shape)}, "
                f"expected {t.dtype} {tuple(t.shape)}"
            )
    module.load_state_dict(dict(tensors), strict=part is None)


def _optimizer_parts(
    optimizers: Mapping[str, torch.optim.Optimizer],
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of named optimizers: tensors, and the rest as JSON values."""
    tensors: dict[str, Tensor] = {}
    groups: dict[str, Any] = {}
    for name, optimizer in optimizers.items():
        state = optimizer.state_dict()
        plain: dict[str, dict[str, Any]] = {}
        for index, entries in state["state"].items():
            for key, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{name}/{index}/{key}"] = value
                else:
                    plain.setdefault(str(index), {})[key] = value
        groups[name] = {"param_groups": state["param_groups"], "plain": plain}
    return tensors, groups


def _restore_optimizers(
    optimizers: Mapping[str, torch.optim.Optimizer], tensors: Mapping[str, Tensor], groups: Any, where: Path
) -> None:
    """Put what ``_optimizer_parts`` gave into optimizers of the same names.

    Raises:
        FormatError: other names or shapes.
    """
    if not isinstance(groups, dict) or set(groups) != set(optimizers):
        raise FormatError(f"{where}: optimizers do not match, the agent has {sorted(optimizers)}")
    for name, optimizer in optimizers.items():
        prefix = f"optimizer/{name}/"
        state: dict[int, dict[str, Any]] = {
            int(index): dict(entries) for index, entries in groups[name]["plain"].items()
        }
        for full, value in tensors.items():
            if full.startswith(prefix):
                index, _, key = full[len(prefix) :].partition("/")
                state.setdefault(int(index), {})[key] = value
        parameters = [p for g in optimizer.param_groups for p in g["params"]]
        for number, entries in state.items():
            for key, value in entries.items():
                # A step counter is a scalar; everything else has the size of its parameter.
                if isinstance(value, Tensor) and value.dim() and value.shape != parameters[number].shape:
                    raise FormatError(
                        f"{where}: optimizer {name!r} state {number}/{key} has shape {tuple(value.shape)}, "
                        f"expected {tuple(parameters[number].shape)}"
                    )
        stored = [
            {k: tuple(v) if isinstance(v, list) and k != "params" else v for k, v in g.items()}
            for g in groups[name]["param_groups"]
        ]
        optimizer.load_state_dict({"state": state, "param_groups": stored})


def write_state(
    path: Path,
    weights: Mapping[str, Tensor],
    optimizers: Mapping[str, torch.optim.Optimizer],
    generator: np.random.Generator,
    position: Position,
    **more: Any,
) -> None:
    """One file of weights, optimizers, both random states, the position and ``more`` JSON values of a header.

    Raises:
        OffmarlError: the place cannot be written.
    """
    optimizer_tensors, groups = _optimizer_parts(optimizers)
    tensors = {f"model/{k}": v for k, v in weights.items()}
    tensors |= optimizer_tensors | {TORCH_RNG: torch.get_rng_state()}
    header = {"position": asdict(position), "optimizers": groups, "numpy_rng": generator.bit_generator.state}
    write_tensors(path, tensors, header | more)


def save_checkpoint(directory: Path, agent: Agent, generator: np.random.Generator, position: Position) -> None:
    """Store agent, optimizers, random states and position; the checkpoint before becomes the previous one.

    Raises:
        OffmarlError: the folder cannot be written; what was there stays valid.
    """
    fresh = directory / f"{LATEST}.new"
    write_state(fresh, agent.state_dict(), agent.optimizers, generator, position)
    try:
        # Between the two renames only the previous one exists, which is where reading falls back to.
        if (directory / LATEST).exists():
            os.replace(directory / LATEST, directory / PREVIOUS)
        os.replace(fresh, directory / LATEST)
    except OSError as e:
        raise OffmarlError(f"cannot write a checkpoint in {directory}: {e.strerror or e}") from e


def _position(raw: Any, where: Path) -> Position:
    known = {f.name for f in fields(Position)}
    if not isinstance(raw, dict) or set(raw) != known:
        raise FormatError(f"{where}: position is {raw!r}, expected {sorted(known)}")
    counts = (raw["phase"], raw["step"])
    if not all(isinstance(v, int) and v >= 0 for v in counts) or not isinstance(raw["seconds"], int | float):
        raise FormatError(f"{where}: position is {raw!r}, expected counts from 0")
    return Position(**raw)


def read_checkpoint(
    path: Path,
    agent: Agent,
    generator: np.random.Generator,
    part: Mapping[str, Tensor] | None = None,
    optimizers: Mapping[str, torch.optim.Optimizer] | None = None,
) -> tuple[Position, dict[str, Any]]:
    """Put one file of ``write_state`` into an agent, a generator and torch's random state.

    Args:
        path: the file.
        agent: gets the weights.
        generator: gets the random state.
        part: the entries of the agent's ``state_dict`` that the file has; None: all of them.
        optimizers: those that the file has; None: all of the agent's.

    Returns:
        Position and header.

    Raises:
        FormatError: the file is damaged or belongs to another agent or configuration.
    """
    tensors, header = read_tensors(path)
    position = _position(header.get("position"), path)
    prefix = "model/"
    weights = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    load_weights(agent, weights, path, part)
    try:
        named = agent.optimizers if optimizers is None else optimizers
        _restore_optimizers(named, tensors, header.get("optimizers"), path)
        generator.bit_generator.state = header["numpy_rng"]
        torch.set_rng_state(tensors[TORCH_RNG])
    except FormatError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as e:
        raise FormatError(f"{path}: optimizer or random state cannot be restored: {e!r}") from e
    return position, header


def load_checkpoint(directory: Path, agent: Agent, generator: np.random.Generator) -> Position | None:
    """Restore the newest checkpoint that is whole; None if the folder has none.

    Raises:
        FormatError: there are checkpoints but none can be used.
    """
    problem: FormatError | None = None
    for name in (LATEST, PREVIOUS):
        if not (directory / name).exists():
            continue
        try:
            return read_checkpoint(directory / name, agent, generator)[0]
        except FormatError as e:
            log.warning("%s; trying the checkpoint before it", e)
            problem = problem or e
    if problem is not None:
        raise FormatError(f"{problem}; no earlier checkpoint helps: delete {directory} to train anew") from problem
    return None


def delete_checkpoints(directory: Path) -> None:
    """Remove all checkpoints of a finished run."""
    for name in (LATEST, PREVIOUS, f"{LATEST}.new"):
        (directory / name).unlink(missing_ok=True)
