"""Joint policies on disk: the networks of a team and who plays which slot, as one safetensors file.

It is data from anywhere, so loading trusts nothing: sizes are bounded and compared with what the environment needs
before any network is built, and numbers are finite. Pools, snapshots of online training and generation share it, for
discrete and continuous actions alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from offmarl_bench.checkpoint import load_weights, read_tensors, write_tensors
from offmarl_bench.continuous import KINDS, ContinuousActor
from offmarl_bench.continuous_policy import ContinuousSlotPolicy
from offmarl_bench.errors import FormatError
from offmarl_bench.nn import Actor
from offmarl_bench.policies import SlotPolicy
from offmarl_bench.types import EnvSpec

MAX_MEMBER_BYTES = 1 << 26
MAX_HIDDEN = 4096
Joint = SlotPolicy | ContinuousSlotPolicy
"""What a pool stores: plain actors that play slots."""
DISCRETE = {"obs_size": int, "n_actions": int, "hidden": int, "n_ids": int, "last_action": bool}
CONTINUOUS = {
    "obs_size": int, "action_size": int, "hidden": int, "n_ids": int, "last_action": bool, "recurrent": bool,
    "kind": str,
}  # fmt: skip
"""Constructor arguments of the two kinds of actor, and their types."""


def play_jointly(
    spec: EnvSpec,
    actors: Sequence[Actor | ContinuousActor],
    assignment: Shaped[np.ndarray, "*B N"],
    exploration: float = 0.0,
) -> Joint:
    """Actors as a policy of their kind.

    Args:
        spec: the environment.
        actors: all for discrete or all for continuous actions.
        assignment: index into ``actors`` per slot.
        exploration: ε, or the standard deviation of the noise on continuous actions.

    Raises:
        SpecMismatch: actors that do not fit the environment.
    """
    if spec.discrete:
        return SlotPolicy(spec, actors, assignment, epsilon=exploration)  # type: ignore[arg-type]
    return ContinuousSlotPolicy(spec, actors, assignment, noise=exploration)  # type: ignore[arg-type]


def fingerprint(policy: Joint) -> str:
    """SHA-256 over the networks of a joint policy and who plays which slot."""
    total = hashlib.sha256(json.dumps([[a.describe() for a in policy.actors], policy.assignment.tolist()]).encode())
    for actor in policy.actors:
        for name, tensor in sorted(actor.state_dict().items()):
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            total.update(tensor.cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def save_joint(path: Path, policy: Joint) -> None:
    """Write the networks of a joint policy and who plays which slot. Raises OffmarlError."""
    tensors = {f"{k}/{name}": t for k, a in enumerate(policy.actors) for name, t in a.state_dict().items()}
    header = {"actors": [a.describe() for a in policy.actors], "assignment": policy.assignment.tolist()}
    write_tensors(path, tensors, header)


def _actor(raw: object, spec: EnvSpec, where: Path) -> Actor | ContinuousActor:
    """An actor of the described shape, if that shape fits the environment."""
    known = DISCRETE if spec.discrete else CONTINUOUS
    if not isinstance(raw, dict) or set(raw) != set(known) or any(type(raw[k]) is not t for k, t in known.items()):
        raise FormatError(f"{where}: actor description {raw!r}, expected {sorted(known)}")
    size = raw["n_actions" if spec.discrete else "action_size"]
    if (raw["obs_size"], size) != (spec.O, spec.A) or raw["n_ids"] not in (0, spec.N):
        raise FormatError(f"{where}: actor {raw!r} does not fit {spec.id}: O={spec.O}, A={spec.A}, N={spec.N}")
    if not 1 <= raw["hidden"] <= MAX_HIDDEN:
        raise FormatError(f"{where}: actor width {raw['hidden']}, expected 1 to {MAX_HIDDEN}")
    if raw.get("kind", KINDS[0]) not in KINDS:
        raise FormatError(f"{where}: actor kind {raw['kind']!r}, expected one of {', '.join(KINDS)}")
    return Actor(**raw) if spec.discrete else ContinuousActor(**raw)


def load_joint(path: Path, spec: EnvSpec, epsilon: float = 0.0) -> Joint:
    """Read what ``save_joint`` wrote.

    Args:
        path: the file.
        spec: the environment it has to be for.
        epsilon: how it shall explore: ε, or the standard deviation of the noise on continuous actions.

    Raises:
        FormatError: a damaged or foreign file, or networks for another environment.
    """
    if path.exists() and path.stat().st_size > MAX_MEMBER_BYTES:
        raise FormatError(f"{path}: {path.stat().st_size} bytes, expected at most {MAX_MEMBER_BYTES}")
    tensors, header = read_tensors(path)
    described, assignment = header.get("actors"), header.get("assignment")
    if not isinstance(described, list) or not 1 <= len(described) <= spec.N:
        raise FormatError(f"{path}: expected a list of 1 to {spec.N} actors")
    whole = isinstance(assignment, list) and all(type(k) is int and 0 <= k < len(described) for k in assignment)
    if not whole or len(assignment or []) != spec.N:
        raise FormatError(f"{path}: assignment {assignment!r}, expected {spec.N} numbers below {len(described)}")
    actors = [_actor(raw, spec, path) for raw in described]
    parts: list[dict[str, Tensor]] = [{} for _ in actors]
    for name, tensor in tensors.items():
        k, _, rest = name.partition("/")
        if k not in map(str, range(len(actors))):
            raise FormatError(f"{path}: unexpected tensor {name!r}")
        if not tensor.isfinite().all():
            raise FormatError(f"{path}: tensor {name!r} holds numbers that are not finite")
        parts[int(k)][rest] = tensor
    for actor, part in zip(actors, parts, strict=True):
        load_weights(actor, part, path)
        actor.requires_grad_(False)
    if len({a.kind for a in actors if isinstance(a, ContinuousActor)}) > 1:
        raise FormatError(f"{path}: actors of several kinds, expected one")
    return play_jointly(spec, actors, np.array(assignment), epsilon)
