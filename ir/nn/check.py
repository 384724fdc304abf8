"""Constraints that several operators share; each names the operator and the constraint."""

from collections.abc import Sequence

import numpy as np

from tetrapla.ir.errors import IRError, ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.op import Tensor, require

FLOATS = ("f64", "f32", "f16", "bf16")
UNSIGNED = ("ui8", "ui16", "ui32", "ui64")
INTEGERS = ("i8", "i16", "i32", "i64", *UNSIGNED)
SIGNED = (*FLOATS, "i8", "i16", "i32", "i64")
NUMBERS = (*SIGNED, *UNSIGNED)
INDICES = ("i32", "i64")
_WORDS: dict[tuple[str, ...], str] = {
    FLOATS: "floats",
    UNSIGNED: "unsigned integers",
    INTEGERS: "integers",
    SIGNED: "signed numbers",
    NUMBERS: "numbers",
}


def element_types(constraint: str, accepted: tuple[str, ...], *operands: Tensor) -> None:
    """Every operand has one of the accepted element types."""
    for operand in operands:
        wanted = _WORDS.get(accepted, " or ".join(accepted))
        require(
            operand.dtype in accepted,
            f"{constraint}: elements must be {wanted}, not {operand}",
        )


def equal_types(constraint: str, *operands: Tensor) -> None:
    """All operands have one element type."""
    require(
        len({operand.dtype for operand in operands}) == 1,
        f"{constraint}: element types must be equal, not {' and '.join(map(str, operands))}",
    )


def one_axis(constraint: str, axis: int, x: Tensor) -> int:
    """The axis counted from the front."""
    require(-x.rank <= axis < x.rank, f"{constraint}: {x} has no axis {axis}")
    return axis % x.rank


def several_axes(constraint: str, axes: Sequence[int], x: Tensor) -> tuple[int, ...]:
    """The axes counted from the front; they differ."""
    found = tuple(one_axis(constraint, axis, x) for axis in axes)
    require(
        len(set(found)) == len(found),
        f"{constraint}: axes of {x} must differ, not {tuple(axes)}",
    )
    return found


def one_of(constraint: str, name: str, value: str, known: Sequence[str]) -> None:
    """The attribute is one of the known words."""
    require(
        value in known,
        f"{constraint}: {name} must be one of {', '.join(known)}, not {value!r}",
    )


def flag(constraint: str, name: str, value: int) -> None:
    """The attribute is 0 or 1."""
    require(value in (0, 1), f"{constraint}: {name} must be 0 or 1, not {value}")


def broadcast_all(constraint: str, *operands: Tensor) -> tuple[int, ...]:
    """The shape of the operands together, by NumPy's rule."""
    try:
        return np.broadcast_shapes(*(operand.shape for operand in operands))
    except ValueError:
        named = " and ".join(map(str, operands))
        raise IRError(f"{constraint}: shapes must broadcast, not {named}") from None


def wrapped(kind: str, indices: Array, size: int) -> Array:
    """Indices counted from the front of an axis of that size.

    Raises:
        ModelError: one lies outside; a type cannot say so, only the data.
    """
    wide = indices.astype(np.int64)
    outside = (wide < -size) | (wide >= size)
    if outside.any():
        raise ModelError(
            f"{kind} indices must lie in {-size}..{size - 1}, not {wide[outside][0]}"
        )
    return np.where(wide < 0, wide + size, wide)
