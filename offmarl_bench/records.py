"""Frozen dataclasses as JSON files, read as if a stranger had written them.

Every field is checked against its annotation, numbers must be finite, nothing unknown is let in and nothing is
executed, so that a result from anywhere can be opened without fear.
"""

from __future__ import annotations

import hashlib
import json
import math
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from offmarl_bench.atomic import write_atomic
from offmarl_bench.errors import FormatError

T = TypeVar("T")

MAX_BYTES = 16 * 2**20
"""No honest record is larger; refuse to read more into memory."""
LATER = {"later": True}
"""Metadata of a field that files made before it existed do not have; its default stands in."""
MAX_DIGITS = 40
"""No honest integer is longer, sign included: 128 bits, which is what generators' states have."""


def json_digest(value: Any) -> str:
    """SHA-256 of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _reject(token: str) -> float:
    raise ValueError(f"{token} is not a finite number")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _number(text: str) -> float:
    found = float(text)
    return found if math.isfinite(found) else _reject(text[:MAX_DIGITS])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)[:MAX_DIGITS]!r} is there twice")
    return found


def parse_json(text: str) -> Any:
    """What JSON text means, if it means one thing: finite numbers, integers of human size, no name twice.

    Raises:
        ValueError: text that is not such JSON. RecursionError: nested deeper than Python can follow.
    """
    return json.loads(text, parse_constant=_reject, parse_int=_integer, parse_float=_number, object_pairs_hook=_object)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a JSON value has the annotated type."""
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return value is None or isinstance(value, str | bool | int | float | list | tuple | dict)
    if origin in (Union, types.UnionType):
        return any(_fits(value, k) for k in args)
    if kind is None or kind is type(None):
        return value is None
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        if len(args) == 2 and args[1] is Ellipsis:
            return all(_fits(v, args[0]) for v in value)
        return len(value) == len(args) and all(_fits(v, k) for v, k in zip(value, args, strict=True))
    if origin is dict:
        return isinstance(value, dict) and all(_fits(k, args[0]) and _fits(v, args[1]) for k, v in value.items())
    if is_dataclass(kind):
        return isinstance(value, dict)  # its own fields are checked when it is built
    return isinstance(kind, type) and isinstance(value, kind)


def _frozen(value: Any, kind: Any, where: str) -> Any:
    """Lists become tuples and objects dataclasses where the annotation says so; integers become floats likewise."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _frozen(value, next(k for k in args if _fits(value, k)), where)
    if isinstance(kind, type) and is_dataclass(kind):
        return from_json(kind, value, where)
    if origin is tuple:
        kinds = [args[0]] * len(value) if len(args) == 2 and args[1] is Ellipsis else args
        return tuple(_frozen(v, k, where) for v, k in zip(value, kinds, strict=True))
    return float(value) if kind is float else value


def from_json(cls: type[T], data: Any, where: str) -> T:
    """Build a dataclass from parsed JSON.

    Args:
        cls: a dataclass whose annotations are JSON types, ``tuple[…]``, ``dict[str, …]`` and unions of them.
        data: what ``json.loads`` gave.
        where: named in errors: a file.

    Raises:
        FormatError: unknown, missing or ill-typed content; the message names the field.
    """
    if not is_dataclass(cls) or not isinstance(data, dict):
        raise FormatError(f"{where}: holds a {type(data).__name__}, expected an object with {cls.__name__}'s fields")
    hints = get_type_hints(cls)
    names = [f.name for f in fields(cls)]
    data = {f.name: f.default for f in fields(cls) if f.metadata == LATER and f.name not in data} | data
    missing, extra = [n for n in names if n not in data], sorted(set(data) - set(names))
    if missing or extra:
        raise FormatError(f"{where}: {cls.__name__} lacks {missing} and has unknown {extra[:5]!r}")
    for name in names:
        if not _fits(data[name], hints[name]):
            shown = repr(data[name])
            raise FormatError(f"{where}: {name} is {shown[:60]}, expected {hints[name]!s}")
    built: T = cls(**{n: _frozen(data[n], hints[n], where) for n in names})
    return built


def to_json(record: Any) -> dict[str, Any]:
    """The fields of a dataclass as plain JSON values."""
    return {f.name: getattr(record, f.name) for f in fields(record)}


def read_record(cls: type[T], path: Path) -> T:
    """Read one record file. Raises FormatError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FormatError(f"{path}: larger than {MAX_BYTES} bytes, not a {cls.__name__}")
        data = parse_json(path.read_text(encoding="utf-8"))
    except FormatError:
        raise
    except (OSError, ValueError, RecursionError) as e:
        raise FormatError(f"{path}: cannot be read as a {cls.__name__}: {e}") from e
    return from_json(cls, data, str(path))


def write_record(path: Path, record: Any) -> None:
    """Write one record file atomically.

    Raises:
        FormatError: a number that is not finite. OffmarlError: the place cannot be written.
    """
    try:
        text = json.dumps(to_json(record), indent=1, allow_nan=False)
    except (TypeError, ValueError) as e:
        raise FormatError(f"{path}: {type(record).__name__} cannot be stored as JSON: {e}") from e
    write_atomic(path, f"{text}\n".encode())
