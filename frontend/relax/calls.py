"""Calls of Relax operators as plain data: what two processes tell each other of a graph.

Nothing here imports TVM or MLIR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from numpy.typing import NDArray

Number: TypeAlias = int | float
Kind: TypeAlias = tuple[object, ...]
Setting: TypeAlias = Number | str | tuple[Number, ...] | None


@dataclass(frozen=True)
class Type:
    """A tensor's static shape and its element type by NumPy's name."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Ref:
    """A value that the region takes or computes; `index` is unique in it."""

    index: int
    type: Type


@dataclass(frozen=True, eq=False)
class Const:
    """An array that the graph holds."""

    array: NDArray[Any]


@dataclass(frozen=True)
class Numbers:
    """A shape, or numbers among the operands: an axis, a limit."""

    values: tuple[Number, ...]


@dataclass(frozen=True)
class Listed:
    """A tuple of operands."""

    items: tuple[Operand, ...]


@dataclass(frozen=True)
class Unknown:
    """What is no tensor of a static shape; `what` says what it is."""

    what: str


Operand: TypeAlias = Ref | Const | Numbers | Listed | Unknown


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        op: the operator's name without ``relax.``.
        operands: in order.
        results: one value, or those of a tuple.
        attributes: of the operator, by name.
    """

    op: str
    operands: tuple[Operand, ...]
    results: tuple[Ref | Unknown, ...]
    attributes: Mapping[str, Setting] = field(default_factory=dict[str, Setting])


@dataclass(frozen=True)
class Composite:
    """Calls that one pattern matched, in order."""

    pattern: str
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Region:
    """What a target is given: composites in order, between inputs and outputs."""

    name: str
    inputs: tuple[Ref, ...]
    composites: tuple[Composite, ...]
    outputs: tuple[Operand, ...]


def kind_of(call: Call) -> Kind:
    """What two calls have in common of which a target can do both or none."""
    operands = tuple(map(_kind, call.operands))
    return call.op, operands, tuple(sorted(call.attributes.items(), key=str))


def _kind(told: Operand) -> object:
    match told:
        case Ref(_, type_):
            return type_
        case Const(array):
            return array.shape, array.dtype.name
        case Listed(items):
            return tuple(map(_kind, items))
        case _:
            return told
