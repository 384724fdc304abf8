"""What a translator works with: one ONNX node with checked attributes, and where it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias, cast

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto, defs

from tetrapla.frontend.names import Names, shown
from tetrapla.frontend.onnx.tensors import MAX_TENSOR_BYTES
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES, Array, Attribute, Value

OnnxAttribute: TypeAlias = (
    "int | float | str | tuple[int, ...] | tuple[float, ...] | TensorProto"
)


Ints: TypeAlias = tuple[int, ...]


class Refusal(Exception):  # noqa: N818  a refusal is collected, not an error of its own
    """This use of a known operator cannot be imported; the text says what could be."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A value that the file holds; it becomes a weight only where an operator reads it.

    Attributes:
        array: zeros without memory when not `known` (a shape-only import).
        symbol: what the weight is called, not yet unique.
    """

    array: Array
    symbol: str
    known: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.array.shape

    @property
    def dtype(self) -> str:
        """The element type by the IR's name."""
        return next(name for name, held in DTYPES.items() if held == self.array.dtype)

    def made(self, change: Callable[[Array], Array], suffix: str = "") -> Constant:
        """The constant after a change of its array."""
        return Constant(change(self.array), f"{self.symbol}{suffix}", self.known)


Operand: TypeAlias = Value | Constant


@dataclass(frozen=True)
class OnnxNode:
    """One node with operands resolved (None where absent) and attributes of the schema's type.

    Attributes:
        label: the layer's name, safe and unique.
        extra_outputs: whether an output after the first is used.
    """

    op: str
    label: str
    operands: tuple[Operand | None, ...]
    attributes: Mapping[str, OnnxAttribute]
    extra_outputs: bool

    def operand(self, index: int) -> Operand:
        """A required operand."""
        found = self.optional(index)
        if found is None:
            raise ModelError(f"{self.op} needs its input {index}, which is absent")
        return found

    def optional(self, index: int) -> Operand | None:
        """An operand that may be absent."""
        return self.operands[index] if index < len(self.operands) else None

    def ints(self, key: str, default: Ints) -> Ints:
        """An attribute of integers; its length must be the default's."""
        found = self.attributes.get(key, tuple(default))
        assert isinstance(found, tuple)
        if len(found) != len(default):
            raise ModelError(f"{key} must hold {len(default)} numbers, not {len(found)}")
        return tuple(int(item) for item in found)

    def all_ints(self, key: str) -> Ints | None:
        """An attribute of any number of integers, or None."""
        found = self.attributes.get(key)
        assert found is None or isinstance(found, tuple)
        return None if found is None else tuple(int(item) for item in found)

    def float(self, key: str, default: float) -> float:
        """A float attribute."""
        found = self.attributes.get(key, default)
        assert isinstance(found, (int, float))
        return float(found)

    def int(self, key: str, default: int) -> int:
        """An integer attribute."""
        found = self.attributes.get(key, default)
        assert isinstance(found, int)
        return found

    def str(self, key: str, default: str) -> str:
        """A string attribute."""
        found = self.attributes.get(key, default)
        assert isinstance(found, str)
        return found


class Scope:
    """The module being built; constants become weights here."""

    def __init__(self, builder: ModuleBuilder, *, shape_only: bool) -> None:
        self.builder = builder
        self.names = Names()
        self._symbols = Names()
        self._shape_only = shape_only
        self._weights: dict[int, tuple[Constant, Value]] = {}

    def value(self, operand: Operand) -> Value:
        """The operand as a value of the module."""
        if isinstance(operand, Value):
            return operand
        # the constant is kept beside its value, so that its id is not used again
        if id(operand) not in self._weights:
            check_filled(f"constant {shown(operand.symbol)}", operand.shape)
            symbol = self._symbols.fresh(operand.symbol)
            if self._shape_only:
                made = self.builder.shape_of_weight(symbol, operand.shape, operand.dtype)
            else:
                made = self.builder.weight(symbol, operand.array)
            self._weights[id(operand)] = operand, made
        return self._weights[id(operand)][1]

    def op(
        self,
        kind: str,
        operands: Sequence[Operand | None],
        attributes: Mapping[str, Attribute] | None = None,
        name: str = "",
    ) -> Value:
        """Append an operator; an absent last operand is left out."""
        present = [self.value(operand) for operand in operands if operand is not None]
        result = self.builder.op(kind, present, attributes or {}, name=name)
        check_filled("its result", result.shape)
        if prod(result.shape) * DTYPES[result.dtype].itemsize > MAX_TENSOR_BYTES:
            raise ModelError(
                f"its result of shape {list(result.shape)} must be at most "
                f"{MAX_TENSOR_BYTES} bytes"
            )
        return result

    def reshape(self, x: Operand, shape: Sequence[int], name: str) -> Operand:
        """The same values under another shape; nothing is emitted when the shape stays."""
        if tuple(shape) == x.shape:
            return x
        if isinstance(x, Constant) and prod(shape) == prod(x.shape):
            return x.made(lambda array: array.reshape(shape))
        return self.op("nn.reshape", [x], {"shape": tuple(shape)}, name)


def check_filled(what: str, shape: Ints) -> None:
    """Refuse a value without elements: no machine has a meaning for it.

    Raises:
        ModelError: a dimension is 0.
    """
    if 0 in shape:
        raise ModelError(f"{what} must have at least one element, not shape {list(shape)}")


Translate: TypeAlias = Callable[[OnnxNode, Scope], Operand]


def array_of(operand: Operand, what: str) -> Array:
    """The values of an operand that must be constant.

    Raises:
        Refusal: it is computed, or not known in a shape-only import.
    """
    if not isinstance(operand, Constant):
        raise Refusal(f"only with a constant {what}")
    if not operand.known:
        raise Refusal(f"only with a known {what}")
    return operand.array


def ints_of(operand: Operand, what: str) -> tuple[int, ...]:
    """The values of a constant operand of integers, at most 64 of them."""
    array = array_of(operand, what)
    if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > 64:
        raise ModelError(
            f"{what} must be a list of at most 64 integers, "
            f"not {array.dtype} of shape {list(array.shape)}"
        )
    return tuple(int(item) for item in array.reshape(-1))


def normal_axis(axis: int, rank: int) -> int:
    """The axis counted from the front.

    Raises:
        ModelError: the value has no such axis.
    """
    if not -rank <= axis < rank:
        raise ModelError(f"axis must lie in {-rank}..{rank - 1}, not {axis}")
    return axis % rank


def attributes_of(
    node: NodeProto, schema: defs.OpSchema | None, known: Mapping[str, str]
) -> dict[str, OnnxAttribute]:
    """The node's attributes after their names and types were checked.

    Args:
        node: the node.
        schema: ONNX's own description of the operator.
        known: attribute name -> type name, for an operator without a schema.

    Raises:
        ModelError: an attribute is unknown, given twice, of another type, or missing.
    """
    described: Mapping[str, Any] = cast(Any, schema).attributes if schema else {}
    types = {**known, **{name: form.type.name for name, form in described.items()}}
    found: dict[str, OnnxAttribute] = {}
    for attribute in node.attribute:
        name = attribute.name
        if name not in types:
            raise ModelError(f"{node.op_type} has no attribute {shown(name)}")
        if name in found:
            raise ModelError(f"attribute {shown(name)} must be given once, not twice")
        held = AttributeProto.AttributeType.Name(attribute.type)
        if held != types[name] or attribute.ref_attr_name:
            raise ModelError(
                f"attribute {shown(name)} must be of type {types[name]}, not {held}"
            )
        found[name] = _plain(attribute)
    for name, form in described.items():
        if form.required and name not in found:
            raise ModelError(f"{node.op_type} needs the attribute '{name}', which is absent")
    return found


def _plain(attribute: AttributeProto) -> OnnxAttribute:
    match attribute.type:
        case AttributeProto.INT:
            return int(attribute.i)
        case AttributeProto.FLOAT:
            return float(attribute.f)
        case AttributeProto.STRING:
            return attribute.s.decode("utf-8", "replace")
        case AttributeProto.INTS:
            return tuple(attribute.ints)
        case AttributeProto.FLOATS:
            return tuple(attribute.floats)
        case AttributeProto.TENSOR:
            return attribute.t
        case _:
            kind = AttributeProto.AttributeType.Name(attribute.type)
            raise Refusal(f"only without '{attribute.name}' ({kind})")


def check_arity(node: NodeProto, schema: defs.OpSchema) -> None:
    """The number of inputs and outputs is one that the operator has.

    Raises:
        ModelError: it is not.
    """
    for what, names, low, high in (
        ("input", node.input, schema.min_input, schema.max_input),
        ("output", node.output, schema.min_output, schema.max_output),
    ):
        if not low <= len(names) <= high:
            span = str(low) if low == high else f"{low} to {high}"
            plural = what if high == 1 else f"{what}s"
            raise ModelError(f"{node.op_type} takes {span} {plural}, not {len(names)}")


def as_constant(value: float, like: Operand, symbol: str) -> Constant:
    """A single number of the operand's type."""
    return Constant(np.full((1,), value, DTYPES[like.dtype]), symbol)
