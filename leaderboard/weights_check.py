"""Is a file of weights what it claims, by its header alone? Decided before a byte of it is loaded.

safetensors is 8 bytes of length, a JSON header, and raw numbers. The library that loads it checks much of this too;
looking first keeps a hostile header from being the thing that decides how much memory is asked for.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from offmarl_bench.checkpoint import read_tensors
from offmarl_bench.errors import FormatError
from offmarl_bench.records import parse_json

LENGTH_BYTES = 8
MAX_HEADER = 2**20
MAX_TENSORS = 2000
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
METADATA = "__metadata__"


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header and the number of bytes after it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if size < LENGTH_BYTES or length > min(MAX_HEADER, size - LENGTH_BYTES):
            raise FormatError(f"{path}: not a safetensors file: its header claims {length} bytes of {size}")
        raw = file.read(length)
    try:
        header = parse_json(raw.decode())
    except (ValueError, RecursionError) as e:
        raise FormatError(f"{path}: the header is not JSON: {str(e)[:100]!r}") from e
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        raise FormatError(f"{path}: the header is no object of at most {MAX_TENSORS} tensors")
    return header, size - LENGTH_BYTES - length


def _span(name: str, about: Any, path: Path) -> tuple[int, int]:
    """First and last byte of one tensor, if its type, shape and place agree."""
    where = f"{path}: tensor {name[:60]!r}"
    if not isinstance(about, dict) or set(about) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"{where}: expected dtype, shape and data_offsets")
    width, shape, offsets = SIZES.get(str(about["dtype"])), about["shape"], about["data_offsets"]
    if width is None:
        raise FormatError(f"{where}: dtype {str(about['dtype'])[:20]!r}, expected one of {', '.join(SIZES)}")
    listed = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2
    if not listed or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in [*shape, *offsets]):
        raise FormatError(f"{where}: shape and data_offsets are counts from 0")
    if offsets[1] - offsets[0] != math.prod(shape) * width:
        raise FormatError(
            f"{where}: shape {shape[:8]} of {about['dtype']} does not fill bytes {offsets[0]} to {offsets[1]}"
        )
    return offsets[0], offsets[1]


def check_weights(path: Path) -> None:
    """Refuse a file of weights that is not whole, exact and finite.

    Raises:
        FormatError: what is wrong.
    """
    header, body = _header(path)
    spans = sorted(_span(name, about, path) for name, about in header.items() if name != METADATA)
    end = 0
    for first, last in spans:
        if first != end:
            raise FormatError(f"{path}: tensors overlap or leave a gap at byte {min(first, end)} of the data")
        end = last
    if end != body or not spans:
        raise FormatError(f"{path}: its tensors take {end} bytes, but the file holds {body}")
    tensors, _ = read_tensors(path)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not np.isfinite(tensor.double().numpy()).all():
            raise FormatError(f"{path}: tensor {json.dumps(name)[:60]} holds NaN or infinity")
