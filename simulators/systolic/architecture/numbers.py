"""The arithmetic that such files write for numbers: ``1024 * 8``, ``8 * 614e9``, inf."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from math import isfinite, isnan
from typing import Final

_LONGEST: Final = 200  # characters, assumed: sizes and rates are short
_MOST_POWER: Final = 64
_BINARY: Final[Mapping[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def number(text: str) -> float | None:
    """What a text comes to; None where it is no arithmetic of plain numbers.

    An infinity is a number here; what is not a number (0/0, too large) is None.
    """
    if len(text) > _LONGEST:
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval")
        found = _value(tree.body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None
    return None if found is None or isnan(found) else found


def whole(text: str) -> int | None:
    """A positive whole number; None for anything else."""
    found = number(text)
    if found is None or not isfinite(found) or found < 1 or found != int(found):
        return None
    return int(found)


def _value(node: ast.expr) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value)
        case ast.Name(id="inf"):
            return float("inf")
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            found = _value(inner)
            return None if found is None else -found
        case ast.BinOp(left=left, op=op, right=right):
            first, second = _value(left), _value(right)
            if first is None or second is None:
                return None
            if isinstance(op, ast.Pow):
                # a complex root is no size
                bounded = abs(second) <= _MOST_POWER and (first >= 0 or second == int(second))
                return float(first**second) if bounded else None
            found_by = _BINARY.get(type(op))
            return None if found_by is None else float(found_by(first, second))
        case _:
            return None
