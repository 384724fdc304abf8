"""Between MLIR's types and attributes and their plain Python forms."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Attribute
from tetrapla.ir.mlir import (
    ArrayAttr,
    F32Type,
    FlatSymbolRefAttr,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    RankedTensorType,
    StringAttr,
    Type,
)
from tetrapla.ir.op import Signature, Tensor

# attributes that are not the operator's own: the layer's name and MLIR's bookkeeping
FOREIGN = ("layer", "operandSegmentSizes", "resultSegmentSizes")


@lru_cache(64)  # MLIR's types are unique, and live as long as the one context
def element_type(dtype: str) -> Any:
    """MLIR's element type of that name; needs a current context."""
    return Type.parse(dtype)


def type_of(tensor: Tensor) -> Any:
    """MLIR's tensor type."""
    return RankedTensorType.get(list(tensor.shape), element_type(tensor.dtype))


@lru_cache(4096)  # MLIR's types are unique, and live as long as the one context
def tensor_of(type_: Any) -> Tensor:
    """The plain form of a ranked, static tensor type.

    Raises:
        IRError: it is another type.
    """
    if not isinstance(type_, RankedTensorType):
        raise IRError(f"values must be ranked tensors, not {type_}")
    ranked = type_
    if not ranked.has_static_shape:
        raise IRError(f"shapes must be static, not {type_}")
    return Tensor(tuple(ranked.shape), str(ranked.element_type))


def signature_of(region: Any) -> Signature:
    """What the one block of a body takes, and what its terminator gives.

    Raises:
        IRError: there is no such block, or a value is of another type than the IR's.
    """
    if len(region.blocks) != 1:
        raise IRError(f"a body must be one block, not {len(region.blocks)}")
    block = region.blocks[0]
    last = block.operations[len(block.operations) - 1]
    return Signature(
        tuple(tensor_of(argument.type) for argument in block.arguments),
        tuple(tensor_of(value.type) for value in last.operands),
    )


def attribute(value: Attribute) -> Any:
    """MLIR's attribute: integers as i64, floats as f32, tuples as arrays of i64."""
    match value:
        case bool() | int():
            return IntegerAttr.get(IntegerType.get_signless(64), int(value))
        case float():
            return FloatAttr.get(F32Type.get(), value)
        case str():
            return StringAttr.get(value)
        case _:
            return ArrayAttr.get([attribute(item) for item in value])


@lru_cache(4096)  # MLIR's attributes are unique as well
def plain(value: Any) -> Attribute:
    """The plain form of an attribute.

    Raises:
        IRError: it is of a kind that no operator uses.
    """
    if isinstance(value, IntegerAttr):
        return int(value.value)
    if isinstance(value, FloatAttr):
        return float(value.value)
    if isinstance(value, (StringAttr, FlatSymbolRefAttr)):
        return str(value.value)
    if isinstance(value, ArrayAttr):
        return tuple(_integer(item) for item in value)
    raise IRError(f"attributes must be integers, floats, strings or arrays, not {value}")


def _integer(value: Any) -> int:
    if not isinstance(value, IntegerAttr):
        raise IRError(f"an array attribute must hold integers, not {value}")
    return int(value.value)


def attributes_of(op: Any) -> dict[str, Attribute]:
    """The operator's own attributes."""
    named = (
        (item.name, item.attr) if hasattr(item, "attr") else (item, op.attributes[item])
        for item in op.attributes
    )
    return {name: plain(value) for name, value in named if name not in FOREIGN}
