"""A report's dictionary as JSON: plain data alone, and the same bytes for the same data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, cast

import numpy as np


class InternalError(RuntimeError):
    """A result that cannot be: a defect of the program, so nothing is reported."""


def to_json(content: Mapping[str, Any]) -> str:
    """Return JSON with a newline at its end; NaN and infinities are refused.

    A sight is thousands of small numbers, so each is one line.
    """
    sights: list[Any] = []
    held = _set_aside(plain_of(content), sights)
    text = json.dumps(held, indent=2, ensure_ascii=False, allow_nan=False)
    for number, sight in enumerate(sights):
        line = json.dumps(sight, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text = text.replace(_place(number), f'"sight": {line}', 1)
    return text + "\n"


def _set_aside(value: Any, sights: list[Any]) -> Any:
    """The same with a mark for every sight, which goes to the end of `sights`."""
    if isinstance(value, list):
        return [_set_aside(item, sights) for item in value]
    if not isinstance(value, dict):
        return value
    held = dict(value)
    for key, item in held.items():
        if key == "sight":
            held[key] = f"\0{len(sights)}"
            sights.append(item)
        else:
            held[key] = _set_aside(item, sights)
    return held


def _place(number: int) -> str:
    """Where a sight was set aside: no text within another's quotes looks like this."""
    return f'"sight": "\\u0000{number}"'


def plain_of(content: Mapping[str, Any]) -> Any:
    """Return what JSON has of it; NumPy scalars and tuples become plain ones.

    Raises:
        InternalError: a number is not finite, or something is not data.
    """
    return _plain(content, "report")


def _plain(value: Any, path: str) -> Any:
    """Return `value` as what JSON has; NumPy scalars and tuples become plain ones."""
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value)
        return {key: _plain(item, f"{path}.{key}") for key, item in entries.items()}
    if isinstance(value, list | tuple):
        items = cast("Sequence[Any]", value)
        return [_plain(item, f"{path}[{i}]") for i, item in enumerate(items)]
    plain: Any = cast("Any", value).item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and not isfinite(plain):
        raise InternalError(f"{path} must be finite, not {plain}")
    if plain is None or isinstance(plain, bool | int | float | str):
        return plain
    raise InternalError(f"{path} must be plain data, not {type(plain).__name__}")
