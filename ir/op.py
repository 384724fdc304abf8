"""What an operator is: MLIR fields, `infer` for its type, `evaluate` for its meaning.

The verifier and the interpreter are loops over these two methods; nothing is registered
elsewhere. No ``from __future__ import annotations`` in files that define operators: the
bindings read the annotations as objects.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Array, Attribute, Node, Value
from tetrapla.ir.mlir import OpView

# Above this many elements a value is refused: nothing sensible is that large (8 GiB of float32)
MAX_ELEMENTS = 2**31


class Tensor(NamedTuple):
    """The type of a value: a static shape and an element type by MLIR's name."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __str__(self) -> str:
        return _spelled(self.shape, self.dtype)


# constraints format their messages before they are checked, mostly for the same few types
@lru_cache(4096)
def _spelled(shape: tuple[int, ...], dtype: str) -> str:
    return f"tensor<{'x'.join([*map(str, shape), dtype])}>"


Example: TypeAlias = tuple[tuple[Tensor, ...], dict[str, Attribute]]

OPS: dict[str, type["Op"]] = {}


class Op(OpView):
    """Base of every operator of the project's dialects."""

    if TYPE_CHECKING:  # an annotation that the bindings see would be a field
        infer: ClassVar[Callable[..., Tensor]]  # the result's type, or an IRError
        evaluate: ClassVar[Callable[..., Array]]  # the result's value; operands stay untouched
        example: ClassVar[Example | None]

    @staticmethod
    def macs(operands: Sequence[Value], result: Value) -> int | None:
        """Multiply-accumulates of one evaluation; None where the values decide (spikes)."""
        del operands, result
        return 0

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" in options:
            OPS[f"{options['dialect'].DIALECT_NAMESPACE}.{options['name']}"] = cls

    @staticmethod
    def verify_invariants(op: Any) -> bool:
        """Run `infer` on the operands; refuse another result type (constraint C0)."""
        from tetrapla.ir.convert import attributes_of, tensor_of

        kind = op.operation.name
        try:
            operands = [tensor_of(value.type) for value in op.operands]
            expected = inferred(kind, operands, attributes_of(op))
            found = tensor_of(op.results[0].type)
            if found != expected:
                raise IRError(f"{kind} C0: the result must be {expected}, not {found}")
        except IRError as error:
            op.location.emit_error(str(error))
            return False
        return True


def inferred(kind: str, operands: Sequence[Tensor], attributes: dict[str, Attribute]) -> Tensor:
    """The result type of operator `kind`.

    Raises:
        IRError: there is no such operator, an operand or attribute is missing or of the
            wrong kind, or a constraint does not hold.
    """
    if kind not in OPS:
        raise IRError(f"there is no operator '{kind}'")
    op = OPS[kind]
    minimum, maximum = arity(op)
    if not minimum <= len(operands) <= maximum:
        raise IRError(f"{kind} takes {minimum} to {maximum} operands, not {len(operands)}")
    names = set(attribute_names(op))
    if names != set(attributes):
        odd = sorted(names ^ set(attributes))
        raise IRError(f"{kind} takes the attributes {sorted(names)}; differing: {odd}")
    for field in _fields(op):
        if type(field).__name__ == "AttributeDef":
            _check_kind(kind, field, attributes[field.name])
    result = op.infer(*operands, **attributes)
    if prod(result.shape) > MAX_ELEMENTS:
        raise IRError(f"{kind} makes {result}, which is over {MAX_ELEMENTS} elements")
    return result


# what stands for each kind of attribute; an integer may stand for a float
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "IntegerAttr": ((int,), "an integer"),
    "FloatAttr": ((int, float), "a float"),
    "StringAttr": ((str,), "text"),
    "ArrayAttr": ((tuple, list), "a list of integers"),
}


def _check_kind(kind: str, field: Any, value: Attribute) -> None:
    types, wanted = _KINDS.get(field.constraint.__name__, ((object,), ""))
    require(isinstance(value, types), f"{kind} {field.name} must be {wanted}, not {value!r}")


def macs(nodes: Sequence[Node]) -> int | None:
    """Multiply-accumulates of the nodes together; None where those of one are not known."""
    counts = [OPS[node.kind].macs(node.operands, node.result) for node in nodes]
    return None if None in counts else sum(count or 0 for count in counts)


def _fields(op: type[Op]) -> list[Any]:
    fields: list[Any] = op._fields
    return fields


def arity(op: type[Op]) -> tuple[int, int]:
    """The least and the largest number of operands."""
    fewest, most, _ = _signature(op.OPERATION_NAME)
    return fewest, most


def segments(op: type[Op], count: int) -> list[int] | None:
    """How many of `count` operands each field takes; None where every field takes one."""
    fewest, most = arity(op)
    return None if fewest == most else [1] * count + [0] * (most - count)


def attribute_names(op: type[Op]) -> tuple[str, ...]:
    """The names of its attributes, in order."""
    return _signature(op.OPERATION_NAME)[2]


@cache
def _signature(kind: str) -> tuple[int, int, tuple[str, ...]]:
    fields = _fields(OPS[kind])
    operands = [f for f in fields if type(f).__name__ == "OperandDef"]
    optional = sum(f.default_is_none for f in operands)
    names = tuple(f.name for f in fields if type(f).__name__ == "AttributeDef")
    return len(operands) - optional, len(operands), names


def require(holds: bool, message: str) -> None:
    """Raise `message` unless a constraint holds."""
    if not holds:
        raise IRError(message)
