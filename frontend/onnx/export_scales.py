"""Scales for a file of QDQ pairs, chosen so that a reader finds the module's multipliers again.

A reader multiplies an accumulator by ``f32(f32(x_scale * w_scale) / y_scale)``, of which a
module keeps the value alone. Where a tensor's scale is told (by the quantisation that makes it,
or by what reads it) it is kept, and the weights' scale is solved for. Not every float32 is such
a product: the unit of a tensor whose scale nothing tells is then chosen so that one is. Where
none is found, the layer reads and writes in units of one, with the multiplier as the weights'
scale; that is exact always, and only says nothing of the numbers that the integers stand for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import Array, Graph, Node, Value

# these keep each value, or pick one
MOVES = frozenset(
    f"nn.{kind}"
    for kind in (
        *("max_pool2d", "reshape", "transpose", "slice", "expand"),
        *("depth_to_space", "space_to_depth"),
    )
)
# what the names of an operand's scale and zero point begin with
_OPERANDS = {"x": 0, "a": 0, "b": 1}
_NEAR = np.arange(-4, 5)  # float32 steps around the quotient: three roundings of half a step
_UNITS = 4096  # units that are tried, spread over one octave


@dataclass(frozen=True)
class LayerScales:
    """Of a product that is requantised at once.

    Attributes:
        x: of its operand.
        w: of its weights, of shape (1,) or one per channel.
        y: of its result.
    """

    x: np.float32
    w: Array
    y: np.float32


@dataclass(frozen=True)
class Reading:
    """How an integer tensor is read: ``(q - zero_point) * scale``."""

    scale: np.float32
    zero_point: int


class Scales:
    """How a graph's integer values are read, as far as that is told or chosen."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[int, np.float32] = {}
        self._points: dict[int, int] = {}
        for node in graph.nodes:
            self._read(node)
        for node in reversed(graph.nodes):
            if node.kind in MOVES:
                self._learn(node.operands[0], self._known.get(node.result.index))
        self._forward()

    def of(self, value: Value) -> np.float32:
        """The scale of an integer value; 1 where nothing tells it."""
        return self._known.get(value.index, np.float32(1))

    def reading(self, value: Value) -> Reading:
        """The scale, 1 where nothing tells it, and the zero point, 0 where nothing does."""
        return Reading(self.of(value), self._points.get(value.index, 0))

    def layer(self, node: Node, follower: Node) -> LayerScales | None:
        """The scales of a product and its requantisation; chooses the result's if it is open.

        Args:
            node: a product of integers.
            follower: the requantisation that reads it, by a constant.

        Returns:
            None where no weights' scale gives the multiplier.
        """
        multiplier = self._graph.weight(follower.operands[1]).reshape(-1)
        x = self.of(node.operands[0])
        known = self._known.get(follower.result.index)
        for y in _units() if known is None else np.array([known]):
            w = weight_scale(multiplier, x, y)
            if w is not None:
                self._learn(follower.result, y)
                self._forward()
                return LayerScales(x, w, y)
        return None

    def unit(self, follower: Node) -> LayerScales:
        """The scales of a layer of integers that stand for themselves."""
        one = np.float32(1)
        multiplier = self._graph.weight(follower.operands[1]).reshape(-1)
        return LayerScales(one, multiplier, one)

    def _forward(self) -> None:
        for node in self._graph.nodes:
            if node.kind in MOVES:
                x = node.operands[0].index
                self._learn(node.result, self._known.get(x), self._points.get(x))

    def _read(self, node: Node) -> None:
        """What a node tells of its operands and its result."""
        if node.kind in ("qnn.quantize", "qnn.requantize"):
            scale = self._constant(node.operands[1]) if node.kind == "qnn.quantize" else None
            self._learn(node.result, scale, node.int("zero_point"))
        if node.kind == "qnn.dequantize":
            scale = self._constant(node.operands[1])
            self._learn(node.operands[0], scale, node.int("zero_point"))
        if not node.kind.startswith("qnn."):
            return
        for key, place in _OPERANDS.items():
            if f"{key}_scale" in node.attributes:
                scale = np.float32(node.float(f"{key}_scale"))
                self._learn(node.operands[place], scale)
            if f"{key}_zero_point" in node.attributes:
                self._learn(node.operands[place], None, node.int(f"{key}_zero_point"))
        if "y_scale" in node.attributes:
            scale, point = np.float32(node.float("y_scale")), node.int("y_zero_point")
            self._learn(node.result, scale, point)

    def _learn(self, value: Value, scale: np.float32 | None, point: int | None = None) -> None:
        """Keep what is told of a value first."""
        if value.index in self._graph.constants:
            return
        if scale is not None:
            self._known.setdefault(value.index, scale)
        if point is not None:
            self._points.setdefault(value.index, point)

    def _constant(self, scale: Value) -> np.float32 | None:
        """One constant scale; None for one per channel, or a computed one."""
        if scale.elements != 1 or not self._graph.is_weight(scale):
            return None
        return np.float32(self._graph.weight(scale).reshape(-1)[0])


def weight_scale(multiplier: Array, x: np.float32, y: np.float32) -> Array | None:
    """The w with ``f32(f32(x * w) / y) == multiplier`` in every place; None where one has none.

    Args:
        multiplier: float32, of rank 1.
        x: the operand's scale.
        y: the result's scale.
    """
    with np.errstate(all="ignore"):
        near = (multiplier.astype(np.float64) * y / x).astype(np.float32)
        bits = near.view(np.int32)[:, None] + _NEAR[np.argsort(np.abs(_NEAR), kind="stable")]
        tried = bits.astype(np.int32).view(np.float32)
        exact = (tried * x / y == multiplier[:, None]) & np.isfinite(tried) & (tried > 0)
        # a subnormal product would be flushed to zero by some machines
        exact &= tried * x >= np.finfo(np.float32).tiny
    if not exact.any(axis=1).all():
        return None
    found = tried[np.arange(len(tried)), exact.argmax(axis=1)]
    return np.asarray(found, np.float32)


def _units() -> Array:
    """Units of one octave, the power of two first."""
    return (1 + np.arange(_UNITS) / _UNITS).astype(np.float32)
