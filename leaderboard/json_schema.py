"""The records of a submission as JSON Schema, for those who make or read submissions without this package.

Generated from the dataclasses, docstrings included, so that the two cannot disagree; ``schema/*.json`` is what this
writes, and a test fails when it is stale: ``python -m leaderboard.json_schema`` writes it anew.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from leaderboard.bundle import Curves, PolicyRecord, Submission
from leaderboard.verdict import Check, Verdict
from offmarl_bench.atomic import write_atomic
from offmarl_bench.records import LATER
from offmarl_bench.results import Result

FOLDER = Path(__file__).resolve().parent / "schema"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
RECORDS: dict[str, type[Any]] = {
    "submission": Submission, "result": Result, "policy": PolicyRecord, "curves": Curves, "verdict": Verdict,
    "check": Check,
}  # fmt: skip
PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def _schema(kind: Any) -> dict[str, Any]:
    """What an annotation means in JSON."""
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if origin in (Union, types.UnionType):
        options = [_schema(k) for k in args]
        if all(set(o) == {"type"} for o in options):
            return {"type": [o["type"] for o in options]}
        return {"anyOf": options}
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return {"type": "array", "items": _schema(args[0])}
    if origin is tuple:
        return {"type": "array", "prefixItems": [_schema(k) for k in args], "minItems": len(args), "items": False}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(args[1])}
    return {"type": PLAIN[kind]}


def _told(cls: type[Any]) -> dict[str, str]:
    """The docstring of each field: the text that stands under it in the source."""
    body = ast.parse(inspect.getsource(cls)).body[0]
    found: dict[str, str] = {}
    name = None
    for statement in body.body if isinstance(body, ast.ClassDef) else []:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and name:
            found[name] = " ".join(str(statement.value.value).split())
        else:
            name = None
    return found


def schema_of(name: str) -> dict[str, Any]:
    """The schema of one kind of record.

    Args:
        name: a key of ``RECORDS``.
    """
    cls = RECORDS[name]
    hints, told = get_type_hints(cls), _told(cls)
    fields = dataclasses.fields(cls)
    return {
        "$schema": DIALECT,
        "title": cls.__name__,
        "description": (inspect.getdoc(cls) or "").splitlines()[0],
        "type": "object",
        "properties": {
            f.name: _schema(hints[f.name]) | ({"description": told[f.name]} if f.name in told else {}) for f in fields
        },
        "required": [f.name for f in fields if f.metadata != LATER],
        "additionalProperties": False,
    }


def schema_text(name: str) -> str:
    """The content of ``schema/NAME.json``."""
    return json.dumps(schema_of(name), indent=1, ensure_ascii=False) + "\n"


def write_schemas(folder: Path = FOLDER) -> None:
    """Write all of them. Raises OffmarlError."""
    for name in RECORDS:
        write_atomic(folder / f"{name}.json", schema_text(name).encode())


if __name__ == "__main__":
    write_schemas()
