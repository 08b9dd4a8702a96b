"""OG-MARL's Vaults: a folder of TensorStore arrays that only flashbax reads (``pip install flashbax``).

The experience is a tree of arrays (B, T, …): ``observations`` (B, T, N, O), ``actions`` (B, T, N) or (B, T, N, A),
``rewards``, ``terminals``, ``truncations`` (B, T, N), ``infos/state`` (B, T, S), ``infos/legals`` (B, T, N, A); B
lanes of time without any index of episodes. Mava writes the singular of the same names.

Sources: og_marl/replay_buffers.py of instadeepai/og-marl, flashbax/vault/vault.py of instadeepai/flashbax.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.foreign.flat import FlatArrays, flat_recording
from offmarl_bench.foreign.view import Recording

FORMAT = "vault"
DESCRIPTION = "metadata.json"
MAX_DESCRIPTION = 1 << 24
"""Bytes of a metadata.json that is still read."""
NAMES: dict[str, tuple[str, ...]] = {
    "obs": ("observations", "observation"),
    "actions": ("actions", "action"),
    "rewards": ("rewards", "reward"),
    "terminated": ("terminals", "terminal", "dones", "done"),
    "truncated": ("truncations", "truncation"),
    "state": ("infos/state", "state", "states"),
    "legal": ("infos/legals", "legals", "legal_action_mask"),
}
PER_AGENT = ("obs", "actions", "rewards", "terminated", "truncated", "legal")


def looks_like(folder: Path) -> bool:
    """Whether a folder is a vault, or holds vaults."""
    return folder.is_dir() and (_description(folder) is not None or bool(inside(folder)))


def inside(folder: Path) -> list[str]:
    """Names of the vaults directly in a ``.vlt`` folder."""
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and _description(p) is not None)


def _description(folder: Path) -> dict[str, Any] | None:
    side = folder / DESCRIPTION
    if not side.is_file() or side.stat().st_size > MAX_DESCRIPTION:
        return None
    try:
        found = json.loads(side.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "structure_shape" in found else None


def _experience(path: Path) -> Any:
    try:
        from flashbax.vault import Vault  # type: ignore[import-not-found,unused-ignore]
    except ImportError as e:
        raise OffmarlError(
            f"{path} is an OG-MARL Vault, which only flashbax reads, and that is not installed: pip install flashbax"
        ) from e
    folder = path.resolve()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it announces itself
            vault = Vault(rel_dir=str(folder.parent.parent), vault_name=folder.parent.name, vault_uid=folder.name)
            return vault.read().experience
    except Exception as e:  # whatever JAX, TensorStore or flashbax raise on a damaged folder
        reason = str(e).splitlines()[0] if str(e) else repr(e)
        raise FormatError(f"{path}: flashbax cannot read this vault ({reason}); download it again") from e


def _leaf(tree: Any, name: str) -> Any:
    for key in name.split("/"):
        tree = tree.get(key) if isinstance(tree, Mapping) else getattr(tree, key, None)
        if tree is None:
            return None
    return tree


def _flattened(x: Shaped[np.ndarray, "B T ..."]) -> Shaped[np.ndarray, "M ..."]:
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def read_vault(path: Path) -> Recording:
    """One vault: the folder ``NAME.vlt/UID``.

    Raises:
        OffmarlError: flashbax is not installed. FormatError: a folder of several vaults, or a damaged one.
    """
    if _description(path) is None:
        names = inside(path)
        raise FormatError(f"{path} holds the vaults {', '.join(names)}; give one of them, e.g. {path / names[0]}")
    tree = _experience(path)
    found: dict[str, Shaped[np.ndarray, "B T ..."]] = {}
    for field, names_ in NAMES.items():
        leaf = next((x for x in (_leaf(tree, name) for name in names_) if x is not None), None)
        if leaf is not None:
            found[field] = np.asarray(leaf)
    missing = [NAMES[k][0] for k in ("obs", "actions", "rewards") if k not in found]
    if missing:
        raise FormatError(f"{path}: the vault has no {', '.join(missing)}; expected what OG-MARL or Mava write")
    lanes = found["obs"].shape[:2]
    for field, x in found.items():
        if x.shape[:2] != lanes or x.dtype.kind not in "biuf":
            raise FormatError(f"{path}: {NAMES[field][0]} is {x.dtype} of shape {x.shape}, expected {lanes} first")
    if lanes[0] > 1 and "truncated" in found:
        found["truncated"] = found["truncated"].copy()
        found["truncated"][:, -1] = True  # a lane stops where the vault does
    arrays = FlatArrays(**{k: _flattened(v) for k, v in found.items()})  # type: ignore[arg-type]
    return flat_recording(arrays, format=FORMAT, path=str(path), tail=0)
