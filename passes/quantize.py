"""Float32 layers become int8 ones between one quantise and one dequantise.

    before   y = nn.conv2d(x, @w, @b)          after   q = qnn.quantize(x, @x.scale)
                 {activation = "relu"}                 a = qnn.conv2d(q, @w.int8, @b.int32)
                                                       r = qnn.requantize(a, @multiplier)
                                                               {low = zero_point}
                                                       y = qnn.dequantize(r, @y.scale)

Products, convolutions, sums and average pools compute on integers; reshapes, transposes and
maximum pools pass int8 values through. What has no integer form stays float between a
dequantise and a quantise. A ReLU costs nothing: it is the requantisation's lower bound. The
integer operator keeps the layer's name, and its requantisation is ``<layer>.requantize``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Self

import numpy as np

from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array, Attribute, Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.calibrate_ import Ranges, check_method, ranges
from tetrapla.passes.context_ import Context
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild
from tetrapla.passes.scales_ import (
    HIGH,
    LOW,
    Affine,
    Scales,
    affine,
    integer_bias,
    integer_weights,
    least_scales,
    multipliers,
    weight_scales,
)


@dataclass(frozen=True)
class Quantize(Pass):
    """Post-training quantisation with ONNX Runtime's exact integer arithmetic.

    It chooses new values on purpose, so it admits no bound: what it costs is measured as
    accuracy on data. Whoever judges a machine takes the quantised module as the reference.

    Args:
        ranges: of the module that is quantised (`calibrate_.ranges`); None takes them from
            the context that the pass is run in.
        bits: 8 is what there is.
        method: of finding ranges in the context's calibration data.
        percentile_pct: see `calibrate_.ranges`.
    """

    max_rel_error: ClassVar[float] = float("inf")
    ranges: Ranges | None = None
    bits: int = 8
    method: str = "minmax"
    percentile_pct: float = 99.99

    def __post_init__(self) -> None:
        check_method(self.method, self.percentile_pct)
        if self.bits != 8:
            raise UnsupportedError(f"quantize: bits must be 8, not {self.bits}")

    def __call__(self, module: Module) -> Module:
        if module.shape_only:
            raise ModelError(
                f"model '{module.name}' is shape-only and must have weights to be quantised"
            )
        if self.ranges is None:
            raise ModelError(
                f"model '{module.name}' must have calibrated ranges to be quantised, not none; "
                "run the pass in a context"
            )
        state = _State(module, self.ranges)
        for node in state.graph.nodes:
            if not state.settled(node):
                LOWERINGS.get(node.kind, _keep)(state, node)
        for _, value in state.graph.outputs:
            state.real(value)
        return state.new.finish()

    def bound(self, module: Module, context: Context) -> Self:
        if self.ranges is not None:
            return self
        found = context.ranges_of(module, self.method, self.percentile_pct)
        return replace(self, ranges=found)

    @classmethod
    def example(cls, module: Module, inputs: Mapping[str, Array]) -> Self:
        return cls(ranges(module, inputs))


class _State:
    """Which old values exist as int8, which as floats, while the new module grows."""

    def __init__(self, module: Module, found: Ranges) -> None:
        self.new = Rebuild(module)
        self.graph: Graph = self.new.graph
        self.ranges = found
        self._integers: dict[int, tuple[Value, Affine]] = {}
        self._inputs = {value.index: name for name, value in self.graph.inputs}
        self._makers = {node.result.index: node for node in self.graph.nodes}
        self._wanted = _wanted(self.graph)

    def settled(self, node: Node) -> bool:
        """Whether the node's result stands already (a ReLU taken in by the layer before)."""
        return node.result.index in self._integers

    def passes_through(self, node: Node) -> bool:
        """Whether a node that only moves values should move int8 ones."""
        held = node.operands[0].index in self._integers
        return node.result.dtype == "f32" and (held or node.result.index in self._wanted)

    def reading(self, value: Value) -> Affine | None:
        """How the value is read if it is int8 already."""
        found = self._integers.get(value.index)
        return None if found is None else found[1]

    def real(self, value: Value) -> Value:
        """The value as the old module had it: a float, dequantised if need be."""
        if not self.new.knows(value):
            quantised, reading = self._integers[value.index]
            name = f"{self._name(value)}.dequantize"
            operands = [quantised, self._scale(name, reading)]
            attributes = {"zero_point": reading.zero_point, "axis": 0}
            self.new.set(value, self.op("qnn.dequantize", operands, attributes, name))
        return self.new.of(value)

    def integer(self, value: Value) -> tuple[Value, Affine]:
        """The value as int8, quantised if need be."""
        if value.index not in self._integers:
            reading = affine(*self._interval(value))
            name = f"{self._name(value)}.quantize"
            operands = [self.real(value), self._scale(name, reading)]
            attributes: dict[str, Attribute] = {
                "zero_point": reading.zero_point,
                "axis": 0,
                "dtype": "i8",
            }
            made = self.op("qnn.quantize", operands, attributes, name)
            self._integers[value.index] = made, reading
        return self._integers[value.index]

    def set(self, old: Value, new: Value, reading: Affine) -> None:
        """Let an int8 value stand for `old`."""
        self._integers[old.index] = new, reading

    def tail(self, node: Node) -> tuple[Node, Affine]:
        """The node whose result the layer really makes (its ReLU's if one follows alone).

        A ReLU's range starts at 0, whose integer is the lowest: saturation does its work.
        """
        last = self.new.only_user(node.result, "nn.relu") or node
        return last, affine(*self.ranges.node(last.name))

    def op(
        self,
        kind: str,
        operands: list[Value],
        attributes: Mapping[str, Attribute],
        name: str,
    ) -> Value:
        """Emit an operator."""
        return self.new.builder.op(kind, operands, attributes, name=name)

    def weight(self, symbol: str, array: Array) -> Value:
        """Declare a constant of the new module."""
        return self.new.builder.weight(symbol, array)

    def _scale(self, name: str, reading: Affine) -> Value:
        return self.weight(f"{name}.scale", np.array([reading.scale], np.float32))

    def _name(self, value: Value) -> str:
        if value.index in self._inputs:
            return self._inputs[value.index]
        if value.index in self._makers:
            return self._makers[value.index].name
        return self.graph.constants[value.index]

    def _interval(self, value: Value) -> tuple[float, float]:
        if value.index in self._inputs:
            return self.ranges.input(self._inputs[value.index])
        if value.index in self._makers:
            return self.ranges.node(self._makers[value.index].name)
        array = _finite(self.graph, value)
        return float(array.min(initial=0)), float(array.max(initial=0))


def _keep(state: _State, node: Node) -> None:
    """No integer form: the node reads and makes what it did."""
    for value in node.operands:
        state.real(value)
    state.new.copy(node)


def _move(state: _State, node: Node) -> None:
    if not state.passes_through(node):
        _keep(state, node)
        return
    x, reading = state.integer(node.operands[0])
    state.set(node.result, state.op(node.kind, [x], node.attributes, node.name), reading)


def _relu(state: _State, node: Node) -> None:
    """Nothing to do where no negative number has an integer."""
    reading = state.reading(node.operands[0])
    if reading is None or reading.zero_point != LOW:
        _keep(state, node)
        return
    state.set(node.result, state.integer(node.operands[0])[0], reading)


def _linear(state: _State, node: Node) -> None:
    """A product or convolution: integer operator, then requantisation."""
    if not _integrable(state.graph, node):
        _keep(state, node)
        return
    last, y = state.tail(node)
    x, x_reading = state.integer(node.operands[0])
    bias = _finite(state.graph, node.operands[2]) if len(node.operands) == 3 else None
    w, w_zero_point, w_scales = _second(state, node, bias, x_reading, y)
    operands = [x, w]
    products = np.float32(x_reading.scale) * w_scales
    if bias is not None:
        symbol = f"{state.graph.constants[node.operands[2].index]}.int32"
        operands.append(state.weight(symbol, integer_bias(node.name, bias, products)))
    attributes = {k: v for k, v in node.attributes.items() if k != "activation"}
    attributes |= {"x_zero_point": x_reading.zero_point, "w_zero_point": w_zero_point}
    kind = node.kind.replace("nn.", "qnn.")
    acc = state.op(kind, operands, attributes, node.name)
    name = f"{node.name}.requantize"
    scale = state.weight(f"{name}.scale", multipliers(node.name, products, y.scale))
    rectified = last is not node or node.str("activation") == "relu"
    requantised = state.op(
        "qnn.requantize",
        [acc, scale],
        {
            "zero_point": y.zero_point,
            "low": y.zero_point if rectified else LOW,
            "high": HIGH,
            "axis": _channel_axis(node),
            "dtype": "i8",
        },
        name,
    )
    state.set(last.result, requantised, y)


def _second(
    state: _State, node: Node, bias: Array | None, x: Affine, y: Affine
) -> tuple[Value, int, Scales]:
    """The second operand as int8, its zero point and its scales."""
    value = node.operands[1]
    if not state.graph.is_weight(value):
        computed, reading = state.integer(value)
        return computed, reading.zero_point, np.array([reading.scale], np.float32)
    array = _finite(state.graph, value)
    # per output channel: filters of a convolution, columns of a plain matrix
    axis = 0 if node.kind == "nn.conv2d" else 1 if array.ndim == 2 else None
    least = least_scales(bias, x.scale, y.scale)
    scales = weight_scales(array, axis, least if axis is not None else least.max(initial=0))
    integers = integer_weights(array, scales, axis)
    return state.weight(f"{state.graph.constants[value.index]}.int8", integers), 0, scales


def _add(state: _State, node: Node) -> None:
    if not _integrable(state.graph, node):
        _keep(state, node)
        return
    last, y = state.tail(node)
    (a, a_reading), (b, b_reading) = (state.integer(value) for value in node.operands)
    attributes: dict[str, Attribute] = {}
    for letter, reading in zip("aby", (a_reading, b_reading, y), strict=True):
        attributes[f"{letter}_scale"] = reading.scale
        attributes[f"{letter}_zero_point"] = reading.zero_point
    state.set(last.result, state.op("qnn.add", [a, b], attributes, node.name), y)


def _average(state: _State, node: Node) -> None:
    if not _integrable(state.graph, node):
        _keep(state, node)
        return
    last, y = state.tail(node)
    x, x_reading = state.integer(node.operands[0])
    attributes: dict[str, Attribute] = {
        **node.attributes,
        "x_scale": x_reading.scale,
        "x_zero_point": x_reading.zero_point,
        "y_scale": y.scale,
        "y_zero_point": y.zero_point,
    }
    kind = node.kind.replace("nn.", "qnn.")
    state.set(last.result, state.op(kind, [x], attributes, node.name), y)


LOWERINGS: Mapping[str, Callable[[_State, Node], None]] = MappingProxyType(
    {
        "nn.matmul": _linear,
        "nn.conv2d": _linear,
        "nn.add": _add,
        "nn.average_pool2d": _average,
        "nn.global_average_pool": _average,
        "nn.max_pool2d": _move,
        "nn.reshape": _move,
        "nn.transpose": _move,
        "nn.relu": _relu,
    }
)
COMPUTING = frozenset(
    kind for kind, how in LOWERINGS.items() if how in (_linear, _add, _average)
)
MOVING = frozenset(kind for kind, how in LOWERINGS.items() if how is _move)
FIRST_PARAMETER: Mapping[str, int] = MappingProxyType({"nn.conv2d": 1, "nn.matmul": 2})


def _integrable(graph: Graph, node: Node) -> bool:
    """Whether the node computes on floats and has an integer form."""
    if node.kind not in COMPUTING or node.result.dtype != "f32":
        return False
    # filters and biases must be constants; a product's second matrix may be computed
    parameters = node.operands[FIRST_PARAMETER.get(node.kind, len(node.operands)) :]
    return all(graph.is_weight(value) for value in parameters)


def _wanted(graph: Graph) -> set[int]:
    """The values that some integer operator reads, through what only moves values too."""
    found: set[int] = set()
    for node in reversed(graph.nodes):
        moves = node.kind in MOVING and node.result.index in found
        if moves or _integrable(graph, node):
            found.update(value.index for value in node.operands)
    return found


def _channel_axis(node: Node) -> int:
    return 1 if node.kind == "nn.conv2d" else len(node.result.shape) - 1


def _finite(graph: Graph, value: Value) -> Array:
    """The array of a constant.

    Raises:
        ModelError: it holds NaN or an infinity.
    """
    array = graph.weight(value)
    if not np.isfinite(array).all():
        wrong = array[~np.isfinite(array)].flat[0]
        raise ModelError(
            f"weight @{graph.constants[value.index]} must be finite to be quantised, "
            f"not {wrong}; train or export it again"
        )
    return array
