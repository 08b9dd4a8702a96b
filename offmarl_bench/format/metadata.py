"""The root attribute ``metadata``: JSON that says where a dataset comes from (fields in ``docs/format.md``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from offmarl_bench.errors import FormatError
from offmarl_bench.format.schema import FORMAT_VERSION
from offmarl_bench.types import EnvSpec

ATTRIBUTE = "metadata"
FORMAT_NAME = "offmarl-bench"
MAX_BYTES = 1 << 22
"""A metadata text longer than this is refused before it is parsed."""


def encode(spec: EnvSpec, content_hash: str, extra: Mapping[str, Any]) -> str:
    """The attribute's text: ``extra`` plus format, version, spec and content hash.

    Raises:
        FormatError: something in ``extra`` is not JSON (a NaN, an array, …), or the whole is too long.
    """
    own = {"format": FORMAT_NAME, "format_version": FORMAT_VERSION, "spec": spec.to_json()}
    try:
        text = json.dumps({**extra, **own, "content_hash": content_hash}, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as e:
        raise FormatError(f"metadata of a {spec.id} dataset cannot be JSON: {e}; give plain numbers and text") from e
    if len(text.encode()) > MAX_BYTES:
        raise FormatError(f"metadata of a {spec.id} dataset is {len(text)} bytes, expected at most {MAX_BYTES}")
    return text


def decode(text: object, where: str) -> tuple[EnvSpec, dict[str, Any]]:
    """The spec and the metadata in an attribute's text; ``where`` names the file in errors.

    Raises:
        FormatError: not JSON, not ours, a version we do not know, or a broken spec.
    """
    remedy = "generate or download the file again"
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if not isinstance(text, str) or len(text) > MAX_BYTES:
        raise FormatError(f"{where}: attribute {ATTRIBUTE!r} is no text of at most {MAX_BYTES} bytes; {remedy}")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise FormatError(f"{where}: attribute {ATTRIBUTE!r} is not JSON ({e}); {remedy}") from e
    if not isinstance(found, dict) or found.get("format") != FORMAT_NAME:
        raise FormatError(f"{where}: attribute {ATTRIBUTE!r} does not say 'format': {FORMAT_NAME!r}; {remedy}")
    version = found.get("format_version")
    if version != FORMAT_VERSION:
        raise FormatError(
            f"{where}: format version {version!r}, but this release reads version {FORMAT_VERSION}; "
            "update offmarl-bench, or generate the dataset again"
        )
    spec = found.get("spec")
    if not isinstance(spec, dict):
        raise FormatError(f"{where}: metadata has no 'spec' that describes the environment; {remedy}")
    try:
        return EnvSpec.from_json(spec), found
    except (FormatError, TypeError) as e:
        raise FormatError(f"{where}: metadata: {e}; {remedy}") from e
