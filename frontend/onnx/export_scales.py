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
_MOVES = frozenset(
    f"nn.{kind}"
    for kind in "max_pool2d reshape transpose slice expand gather depth_to_space "
    "space_to_depth".split()
)
# the scale of an operand or of the result, as an attribute
_OPERANDS = {"x_scale": 0, "a_scale": 0, "b_scale": 1}
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


class Scales:
    """The scales of a graph's integer values, as far as they are told or chosen."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[int, np.float32] = {}
        for node in graph.nodes:
            self._read(node)
        moves = [node for node in graph.nodes if node.kind in _MOVES]
        for node in moves:
            self._learn(node.result, self._known.get(node.operands[0].index))
        for node in reversed(moves):
            self._learn(node.operands[0], self._known.get(node.result.index))

    def of(self, value: Value) -> np.float32:
        """The scale of an integer value; 1 where nothing tells it."""
        return self._known.get(value.index, np.float32(1))

    def moved(self, node: Node) -> np.float32:
        """The scale of a node that keeps its operand's values."""
        self._learn(node.result, self.of(node.operands[0]))
        return self.of(node.operands[0])

    def layer(self, node: Node, follower: Node) -> LayerScales:
        """The scales of a product and its requantisation; chooses the result's if it is open.

        Args:
            node: a product of integers.
            follower: the requantisation that reads it, by a constant.
        """
        multiplier = self._graph.weight(follower.operands[1]).reshape(-1)
        x = self.of(node.operands[0])
        known = self._known.get(follower.result.index)
        for y in _units() if known is None else np.array([known]):
            w = weight_scale(multiplier, x, y)
            if w is not None:
                self._known[follower.result.index] = y
                self._forward()
                return LayerScales(x, w, y)
        one = np.float32(1)
        self._learn(follower.result, one)
        return LayerScales(one, multiplier, one)

    def _forward(self) -> None:
        for node in self._graph.nodes:
            if node.kind in _MOVES:
                self._learn(node.result, self._known.get(node.operands[0].index))

    def _read(self, node: Node) -> None:
        """What a node tells of its operands and its result."""
        if node.kind == "qnn.quantize":
            self._learn(node.result, self._constant(node.operands[1]))
        if node.kind == "qnn.dequantize":
            self._learn(node.operands[0], self._constant(node.operands[1]))
        if not node.kind.startswith("qnn."):
            return
        for key, place in _OPERANDS.items():
            if key in node.attributes:
                self._learn(node.operands[place], np.float32(node.float(key)))
        if "y_scale" in node.attributes:
            self._learn(node.result, np.float32(node.float("y_scale")))

    def _learn(self, value: Value, scale: np.float32 | None) -> None:
        if scale is not None and value.index not in self._graph.constants:
            self._known.setdefault(value.index, scale)

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
