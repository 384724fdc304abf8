"""What a generated kernel does, element by element: straight-line code over registers.

An instruction makes the register of its own number from those of its arguments. A register has
one number for each place of the iteration: `rows` places, and beside each a row of `length`
lanes, along which a reduction adds. Types are the module's; f32 stands for f16 in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.nn.erf import erf
from tetrapla.ir.quant.scale import fused_multiply_add

REDUCTIONS: Final = ("sum", "product", "largest", "smallest")


@dataclass(frozen=True)
class Instruction:
    """One operation.

    Attributes:
        op: a name of `OPERATIONS` or `REDUCTIONS`; or constant (of `value`), row, lane (their
            numbers), given (what an epilogue acts on), load (from buffer `value` at an offset,
            0 where the second argument is false).
        args: registers.
        dtype: of the result.
        value: text of a number, or a buffer's name.
    """

    op: str
    args: tuple[int, ...]
    dtype: str
    value: str = ""


def _rounded_erf(x: Array) -> Any:
    return erf(x.astype(np.float64))


def _fused(x: Array, y: Array, z: Array) -> Array:
    """``x y + z``, rounded once; the analysis of errors is in float64 and has no need to."""
    wide = np.float64 in (x.dtype, y.dtype, z.dtype)
    return np.asarray(x * y + z) if wide else fused_multiply_add(x, y, z)


# a comparison makes truths; everything else has its operands' type, wrapping where integers do
OPERATIONS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "div": np.true_divide,
        "fma": _fused,
        "floor_div": np.floor_divide,  # of integers that are not negative
        "remainder": np.remainder,  # likewise
        "minimum": np.minimum,
        "maximum": np.maximum,
        "neg": np.negative,
        "abs": np.abs,
        "sqrt": np.sqrt,
        "exp": np.exp,
        "log": np.log,
        "sin": np.sin,
        "cos": np.cos,
        "erf": _rounded_erf,
        "floor": np.floor,
        "ceil": np.ceil,
        "round": np.rint,
        "equal": np.equal,
        "less": np.less,
        "less_or_equal": np.less_equal,
        "and": np.bitwise_and,
        "or": np.bitwise_or,
        "xor": np.bitwise_xor,
        "not": np.invert,
        "shift_left": np.left_shift,  # by 0 up to the last bit
        "shift_right": np.right_shift,  # likewise, and the sign stays
        "select": np.where,
        "cast": np.asarray,
    }
)
_ALONG: Final[Mapping[str, np.ufunc]] = MappingProxyType(
    {"sum": np.add, "product": np.multiply, "largest": np.maximum, "smallest": np.minimum}
)


def registers(
    code: Sequence[Instruction],
    rows: Array,
    lanes: Array,
    load: Callable[[str, Array], Array],
    given: Array | None = None,
) -> list[Array]:
    """Every register, each of shape (invocations or 1, rows or 1, lanes or 1).

    Args:
        code: in order.
        rows: numbers of the rows to compute.
        lanes: numbers of the lanes; a reduction needs them all.
        load: a buffer's elements at the offsets, of the offsets' shape but for the first axis.
        given: of an epilogue, what it acts on: (invocations, rows, lanes).
    """
    found: list[Array] = []
    for each in code:
        args = [found[i] for i in each.args]
        if each.op == "constant":
            made: Array = constant(each).reshape(1, 1, 1)
        elif each.op == "row":
            made = rows.astype(DTYPES[each.dtype]).reshape(1, -1, 1)
        elif each.op == "lane":
            made = lanes.astype(DTYPES[each.dtype]).reshape(1, 1, -1)
        elif each.op == "given":
            assert given is not None
            made = given
        elif each.op == "load":
            made = _loaded(each, args, load)
        elif each.op in REDUCTIONS:
            x = np.broadcast_to(args[0], (*args[0].shape[:2], len(lanes)))
            # an integer wraps at its own width
            made = np.asarray(_ALONG[each.op].reduce(x, axis=2, keepdims=True, dtype=x.dtype))
        else:
            made = np.asarray(OPERATIONS[each.op](*args))
        found.append(made.astype(DTYPES[each.dtype], copy=False))
    return found


def operations(code: Sequence[Instruction]) -> int:
    """Arithmetic on floats of one lane: every instruction that makes one."""
    still = ("load", "constant", "given")
    return sum(each.dtype == "f32" and each.op not in still for each in code)


def packed_code(code: Sequence[Instruction]) -> list[list[Any]]:
    """Plain data for JSON."""
    return [[each.op, list(each.args), each.dtype, each.value] for each in code]


def unpacked_code(data: Sequence[Sequence[Any]]) -> tuple[Instruction, ...]:
    """The instructions that `packed_code` wrote."""
    return tuple(Instruction(op, tuple(args), dtype, value) for op, args, dtype, value in data)


def constant(each: Instruction) -> Array:
    """The number of a constant, in its type."""
    held = DTYPES[each.dtype]
    number = float(each.value) if held.kind == "f" else int(each.value)
    return np.array(number, held)


def _loaded(each: Instruction, args: list[Array], load: Callable[[str, Array], Array]) -> Array:
    offset = args[0]
    if len(args) == 1:
        return load(each.value, offset)
    offset, inside = np.broadcast_arrays(offset, args[1])
    found = load(each.value, np.where(inside, offset, 0))
    return np.where(inside, found, np.zeros((), found.dtype))
