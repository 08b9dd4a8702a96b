"""How a broken rule is reported, and the two comparisons that every check makes."""

from __future__ import annotations

from typing import Any

import numpy as np

from offmarl_bench.errors import ConformanceError


def require(kept: bool, subject: str, seen: str, expected: str) -> None:
    """Raise ConformanceError unless ``kept``: who, what was seen, what was expected."""
    if not kept:
        raise ConformanceError(f"{subject}: {seen}; expected {expected}")


def require_array(subject: str, name: str, value: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """``value`` is a finite array of exactly this shape and type."""
    require(isinstance(value, np.ndarray), subject, f"{name} is a {type(value).__name__}", "a numpy array")
    require(value.shape == shape, subject, f"{name} has shape {value.shape}", str(shape))
    require(value.dtype == np.dtype(dtype), subject, f"{name} has type {value.dtype}", str(np.dtype(dtype)))
    if value.dtype.kind == "f":
        require(bool(np.isfinite(value).all()), subject, f"{name} holds NaN or infinity", "finite numbers")


def same(a: Any, b: Any) -> bool:
    """Equal values, through tuples and dicts of arrays."""
    try:
        np.testing.assert_equal(a, b)
    except AssertionError:
        return False
    return True
