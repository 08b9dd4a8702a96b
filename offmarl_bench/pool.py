"""A policy pool: saved joint policies of one environment, measured and sorted into behaviour levels.

A folder with ``pool.json`` and one safetensors file a member. It is data from anywhere, so loading trusts nothing:
file names cannot leave the folder, sizes are bounded and compared with what the environment needs before any
network is built, numbers are finite, every member matches its recorded fingerprint.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from offmarl_bench.atomic import write_atomic
from offmarl_bench.envs import get_spec, plays_as, split_id
from offmarl_bench.errors import FormatError, OffmarlError, SpecMismatch, UnknownName
from offmarl_bench.home import home
from offmarl_bench.joints import Joint, fingerprint, load_joint, play_jointly, save_joint
from offmarl_bench.records import json_digest
from offmarl_bench.types import LEVELS, EnvSpec

POOL_FILE = "pool.json"
FORMAT = "offmarl-bench pool 1"
SHIPPED = Path(__file__).resolve().parent / "pools"
"""Pools that come with the package."""
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.safetensors")
MAX_JSON_BYTES = 1 << 24
MAX_MEMBERS = 1 << 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One joint policy of a pool and how well it plays (with the pool's ε)."""

    name: str
    """Unique in its pool, e.g. ``seed1-step000400000``."""
    level: str
    """One of ``LEVELS``."""
    file: str
    """Its safetensors file in the pool's folder."""
    seed: int
    """Training seed it comes from."""
    steps: int
    """Environment steps it had been trained for; 0: untrained."""
    return_mean: float
    return_std: float
    win_rate: float | None
    """Share of episodes won, None where the environment does not say."""
    episodes: int
    """Episodes that were measured."""
    sha256: str
    """``fingerprint`` of its networks: the same weights give the same, however the file lays them out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Measured joint policies of one environment. Raises FormatError for thresholds that are not in order."""

    spec: EnvSpec
    members: tuple[Member, ...]
    epsilon: float
    """How members explore, so that every legal action has a positive probability: ε of ε-greedy play, or the standard
    deviation of the noise on continuous actions."""
    low: float
    """Mean return of uniformly random play: reference score 0."""
    high: float
    """Mean return of the best member: the expert reference."""
    thresholds: tuple[float, float]
    """Returns at which ``medium`` and ``expert`` begin."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """How it was made: command, commit, versions, settings, learning curves."""
    joints: tuple[Joint, ...] = ()
    """The members' networks, in the order of ``members``."""

    @property
    def env_id(self) -> str:
        """``suite/map``."""
        return self.spec.id

    @property
    def exploration(self) -> str:
        """How members explore, for people."""
        return f"ε = {self.epsilon:g}" if self.spec.discrete else f"noise of σ = {self.epsilon:g}"

    @property
    def reference_random(self) -> float:
        """Mean return of uniformly random play."""
        return self.low

    @property
    def reference_expert(self) -> float:
        """Mean return of the best member."""
        return self.high

    @property
    def hash(self) -> str:
        """SHA-256 over everything that decides what the pool plays: members with their fingerprints, and ε."""
        deciding = {"env": self.env_id, "epsilon": self.epsilon, "members": [asdict(m) for m in self.members]}
        return json_digest(deciding)

    def level_of(self, return_mean: float) -> str:
        """The level that a mean return belongs to."""
        return LEVELS[sum(return_mean >= t for t in self.thresholds)]

    def members_of(self, level: str) -> list[int]:
        """Indices of the members of one level. Raises UnknownName for a level that does not exist or is empty."""
        found = [k for k, m in enumerate(self.members) if m.level == level]
        if not found:
            here = ", ".join(sorted({m.level for m in self.members}))
            raise UnknownName(f"pool of {self.env_id}: no member of level {level!r}; it has {here}")
        return found

    def levels(self) -> Int[np.ndarray, " M"]:
        """Index into ``LEVELS`` of every member, int8."""
        return np.array([LEVELS.index(m.level) for m in self.members], np.int8)

    def policy(self, members: Shaped[np.ndarray, "*B N"]) -> Joint:
        """Play in which agent n of lane b takes its own slot of member ``members[b, n]``.

        Raises:
            SpecMismatch: a member index that does not exist, or a wrong shape.
        """
        table = np.asarray(members, np.int64)
        if table.ndim not in (1, 2) or table.shape[-1] != self.spec.N:
            raise SpecMismatch(f"members has shape {table.shape}, expected ({self.spec.N},) or (B, {self.spec.N})")
        if table.size and not 0 <= table.min() <= table.max() < len(self.members):
            raise SpecMismatch(
                f"members {table.min()} to {table.max()} were asked for, the pool of {self.env_id} has "
                f"{len(self.members)}, from 0"
            )
        first = np.cumsum([0, *(len(j.actors) for j in self.joints)])
        slots = np.stack([j.assignment for j in self.joints])  # (M, N): which of a member's networks plays a slot
        actors = [a for j in self.joints for a in j.actors]
        return play_jointly(self.spec, actors, first[table] + slots[table, np.arange(self.spec.N)], self.epsilon)


def save_pool(pool: Pool, directory: Path) -> Path:
    """Write a pool: its members' files first, ``pool.json`` last, so that a folder with it is whole.

    The members' fingerprints are taken here. Returns the path of ``pool.json``. Raises OffmarlError.
    """
    members = []
    for member, joint in zip(pool.members, pool.joints, strict=True):
        save_joint(directory / member.file, joint)
        members.append(asdict(member) | {"sha256": fingerprint(joint)})
    content = {
        "format": FORMAT,
        "spec": pool.spec.to_json(),
        "epsilon": pool.epsilon,
        "low": pool.low,
        "high": pool.high,
        "thresholds": list(pool.thresholds),
        "members": members,
        "provenance": pool.provenance,
    }
    try:
        text = json.dumps(content, indent=1, allow_nan=False)
    except (TypeError, ValueError) as e:
        raise OffmarlError(f"{directory}: the pool cannot be stored as JSON: {e}") from e
    write_atomic(directory / POOL_FILE, text.encode())
    return directory / POOL_FILE


def _number(raw: object, what: str, where: Path) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise FormatError(f"{where}: {what} is {raw!r}, expected a finite number")
    return float(raw)


def _member(raw: object, where: Path) -> Member:
    names = {f.name for f in fields(Member)}
    if not isinstance(raw, dict) or set(raw) != names:
        raise FormatError(f"{where}: a member is {raw!r}, expected an object with {sorted(names)}")
    text = {k: raw[k] for k in ("name", "level", "file", "sha256")}
    if not all(isinstance(v, str) for v in text.values()) or text["level"] not in LEVELS:
        raise FormatError(f"{where}: member {raw['name']!r}: name, file and hash are text, level is one of {LEVELS}")
    if not FILE_NAME.fullmatch(text["file"]):
        raise FormatError(f"{where}: member file {text['file']!r}: expected a plain name ending in .safetensors")
    counts = {k: raw[k] for k in ("seed", "steps", "episodes")}
    if not all(type(v) is int and v >= 0 for v in counts.values()):
        raise FormatError(f"{where}: member {raw['name']!r}: seed, steps and episodes are whole numbers from 0")
    mean, std = (_number(raw[k], f"{k} of member {raw['name']!r}", where) for k in ("return_mean", "return_std"))
    win = None if raw["win_rate"] is None else _number(raw["win_rate"], f"win_rate of {raw['name']!r}", where)
    return Member(**text, **counts, return_mean=mean, return_std=std, win_rate=win)


def _load(directory: Path, spec: EnvSpec) -> Pool:
    where = directory / POOL_FILE
    try:
        if where.stat().st_size > MAX_JSON_BYTES:
            raise FormatError(f"{where}: {where.stat().st_size} bytes, expected at most {MAX_JSON_BYTES}")
        raw: Mapping[str, Any] = json.loads(where.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        if isinstance(e, FormatError):
            raise
        raise FormatError(f"{where}: cannot be read as JSON: {e}") from e
    expected = {"format", "spec", "epsilon", "low", "high", "thresholds", "members", "provenance"}
    if not isinstance(raw, dict) or raw.get("format") != FORMAT or set(raw) != expected:
        raise FormatError(f"{where}: not an {FORMAT!r}: expected an object with {sorted(expected)}")
    if EnvSpec.from_json(raw["spec"]) != spec:
        raise FormatError(f"{where}: made for another {spec.id} than this installation has; rebuild the pool")
    thresholds = raw["thresholds"]
    if not isinstance(thresholds, list) or len(thresholds) != len(LEVELS) - 1:
        raise FormatError(f"{where}: thresholds {thresholds!r}, expected {len(LEVELS) - 1} numbers")
    if not isinstance(raw["members"], list) or not 1 <= len(raw["members"]) <= MAX_MEMBERS:
        raise FormatError(f"{where}: expected a list of 1 to {MAX_MEMBERS} members")
    if not isinstance(raw["provenance"], dict):
        raise FormatError(f"{where}: provenance is {type(raw['provenance']).__name__}, expected an object")
    members = tuple(_member(m, where) for m in raw["members"])
    epsilon = _number(raw["epsilon"], "epsilon", where)
    joints = []
    for member in members:
        joints.append(load_joint(directory / member.file, spec, epsilon))
        if fingerprint(joints[-1]) != member.sha256:
            raise FormatError(
                f"{directory / member.file}: content does not match its fingerprint in {POOL_FILE}; the pool is damaged"
            )
    return Pool(
        spec=spec,
        members=members,
        epsilon=epsilon,
        low=_number(raw["low"], "low", where),
        high=_number(raw["high"], "high", where),
        thresholds=(
            _number(thresholds[0], "a threshold", where),
            _number(thresholds[1], "a threshold", where),
        ),
        provenance=raw["provenance"],
        joints=tuple(joints),
    )


def _adopt(pool: Pool, spec: EnvSpec) -> Pool:
    """The pool of another simulator of the same thing; its returns were measured there. Raises FormatError."""
    if replace(pool.spec, id=spec.id) != spec:
        raise FormatError(f"the pool of {pool.env_id} does not fit {spec.id}: their specs differ in more than the id")
    joints = tuple(play_jointly(spec, j.actors, j.assignment, pool.epsilon) for j in pool.joints)
    return replace(pool, spec=spec, joints=joints, provenance=pool.provenance | {"measured_on": pool.env_id})


def pools_dir() -> Path:
    """Where ``pool train`` puts pools unless told otherwise: ``$OFFMARL_HOME/pools``."""
    return home() / "pools"


def load_pool(env_id: str, directory: Path | None = None) -> Pool:
    """The pool of an environment: from ``directory`` if given, else the user's own, else the one shipped.

    An environment without one takes that of the environment it ``plays_as``: ``smac-sc2/2s3z`` that of ``smac/2s3z``.

    Raises:
        UnknownName: no such environment, or no pool of it anywhere.
        FormatError: a pool that is damaged, hostile or for another environment.
    """
    spec = get_spec(env_id)
    suite, map_name = split_id(env_id)
    places = [root / suite / map_name for root in (pools_dir(), SHIPPED)] if directory is None else [directory]
    for place in places:
        if (place / POOL_FILE).is_file():
            return _load(place, spec)
    other = plays_as(env_id)
    if other is not None and directory is None:
        return _adopt(load_pool(other), spec)
    looked = ", ".join(map(str, places))
    raise UnknownName(
        f"no policy pool of {env_id}: looked in {looked}; make one with `offmarl-bench pool train {suite} {map_name}`"
    )
