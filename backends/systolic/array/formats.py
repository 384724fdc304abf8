"""In which number format a product is computed.

| operands | format |
|---|---|
| int8 or uint8 x at most 8 bits | int8 |
| int16 x at most 8 bits | int16x8, else int16 |
| int16 x int16 | int16 |
| bfloat16 or float16 with itself | bf16 or fp16 |

A chip has what its `array.formats` names; what it lacks is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Graph, Node
from tetrapla.simulators.systolic.formats import PRODUCTS as MULTIPLIED
from tetrapla.simulators.systolic.formats import STORED, stored_format

FLOATS: Mapping[str, str] = MappingProxyType({"bf16": "bf16", "f16": "fp16"})
"""By element type, the format of a product."""

RESULTS: Mapping[str, int] = MappingProxyType(
    {"i8": 0, "ui8": 0, "i16": 1, "bf16": 3, "f16": 4, "f32": 5}
)
"""RQ's `fmt` by element type of the result."""

CLAMPS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"none": (-(2**15), 2**15 - 1), "relu": (0, 2**15 - 1), "relu6": (0, 6)}
)
"""By activation of a float product; the outermost numbers stand for no limit."""

CLAMPED = tuple(name for name in CLAMPS if name != "none")
"""Activations of a float product that RQ computes."""

CONVOLUTIONS = ("qnn.conv2d", "nn.conv2d")
PRODUCTS = (*CONVOLUTIONS, "qnn.matmul", "nn.matmul")
"""Operators that the array computes."""

_NARROW = ("i2", "ui2", "i4", "ui4")
_BYTES = ("i8", "ui8")
_INT4 = (-8, 7)


@dataclass(frozen=True)
class Format:
    """How a product is computed.

    Attributes:
        name: as in `array.formats`.
        stored: the weights in DRAM, as in LDW's `STORED`.
        weights: element type in which they are multiplied.
    """

    name: str
    stored: str
    weights: str

    @property
    def code(self) -> int:
        """MM's `fmt`."""
        return MULTIPLIED.index(self.name)

    @property
    def stored_code(self) -> int:
        """LDW's `fmt`."""
        return STORED.index(self.stored)

    @property
    def slot_code(self) -> int:
        """LUW's `fmt`: what lies in a slot."""
        return STORED.index(stored_format(self.stored_code))

    @property
    def real(self) -> bool:
        """Whether its numbers are floats."""
        return self.name in FLOATS.values()

    @property
    def wide(self) -> bool:
        """Whether its sums are of 64 bits."""
        return self.name.startswith("int16")


def product_format(graph: Graph, node: Node, there: Iterable[str]) -> Format:
    """The format of a product.

    Args:
        graph: it belongs to.
        node: a convolution or matrix product.
        there: the formats of the array.

    Raises:
        UnsupportedError: the reason alone; the array lacks the format, or no array has it.
    """
    names = tuple(there)
    wanted = _wanted(node)
    found = next((name for name in wanted if name in names), None)
    if found is None:
        x, w = (value.dtype for value in node.operands[:2])
        known = ", ".join(n for n in names if n in MULTIPLIED)
        needed = f"an array with {wanted[0]}" if wanted else "no array"
        raise UnsupportedError(f"{x} x {w} takes {needed}, not one of {known}")
    if found in FLOATS.values():
        return Format(found, found, node.operands[1].dtype)
    if found == "int16":
        return Format(found, "int16", "i16")
    narrow = "int4" in names and _fits_int4(graph, node)
    return Format(found, "int4" if narrow else "int8", "i8")


def why_not(graph: Graph, node: Node, there: Iterable[str]) -> str:
    """Why no format of the array computes a product; empty where one does."""
    try:
        found = product_format(graph, node, there)
    except UnsupportedError as error:
        return str(error)
    if found.real:
        return _float_refusal(node)
    low, high = (-(2**15), 2**15 - 1) if found.weights == "i16" else (-128, 127)
    value = node.operands[1]
    if value.index not in graph.weights:
        return ""
    centred = graph.weight(value).astype(np.int32) - node.int("w_zero_point")
    if centred.size and (centred.min() < low or centred.max() > high):
        return f"weights that less their zero point exceed int{16 if high > 127 else 8}"
    return ""


def _float_refusal(node: Node) -> str:
    if len(node.operands) > 3:
        return "a residual inside a product"
    if node.str("activation") not in CLAMPS:
        return f"the activation {node.str('activation')} inside a product"
    return ""


def stores_narrow(there: Iterable[str]) -> bool:
    """Whether the chip keeps 4-bit weights as they are, so that none need be widened."""
    return "int4" in there


def _wanted(node: Node) -> tuple[str, ...]:
    """Formats that give the operator's values, the fastest first."""
    x, w = (value.dtype for value in node.operands[:2])
    if not node.kind.startswith("qnn."):
        return (FLOATS[x],) if x in FLOATS and x == w else ()
    narrow = w in (*_BYTES, *_NARROW)
    if x in _BYTES and narrow:
        return ("int8",)
    if x == "i16" and narrow:
        return ("int16x8", "int16")
    if x == "i16" and w == "i16":
        return ("int16",)
    return ()


def _fits_int4(graph: Graph, node: Node) -> bool:
    """Whether narrow weights, less their zero point, fit a nibble."""
    value, zero = node.operands[1], node.int("w_zero_point")
    if value.dtype not in _NARROW:
        return False
    if value.index not in graph.weights:
        return zero == 0 and value.dtype in ("i2", "i4", "ui2")
    centred = graph.weight(value).astype(np.int32) - zero
    return not centred.size or _INT4[0] <= centred.min() <= centred.max() <= _INT4[1]
