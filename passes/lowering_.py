"""Which old values exist as integers and which as floats, while a quantised module grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Attribute, Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.calibrate_ import Ranges
from tetrapla.passes.given_ import readings
from tetrapla.passes.moments_ import Moments
from tetrapla.passes.plan_ import Plan
from tetrapla.passes.rebuild_ import Rebuild
from tetrapla.passes.scales_ import Affine, affine
from tetrapla.passes.scheme_ import Scheme
from tetrapla.passes.weights_ import Stored


@dataclass(frozen=True)
class Tail:
    """The node whose result a layer really makes, how that is read, and its bounds."""

    node: Node
    reading: Affine
    low: int
    high: int


class Lowering:
    """A module under quantisation.

    Attributes:
        new: the module that grows.
        graph: the old one.
        scheme: the choices.
        plan: which nodes compute on integers.
        moments: of layers' inputs, by layer; may be empty.
    """

    def __init__(
        self,
        module: Module,
        found: Ranges,
        scheme: Scheme,
        moments: Mapping[str, Moments],
    ) -> None:
        self.new = Rebuild(module)
        self.graph: Graph = self.new.graph
        self.scheme = scheme
        self.moments = moments
        self.ranges = found
        self.plan = Plan(self.graph, scheme, found)
        self._rounded: dict[tuple[int, str], Value] = {}
        self._uses = self.graph.uses()
        self._stored: dict[tuple[object, ...], Stored] = {}
        self._narrow: dict[int, Value] = {}
        self._finite: set[int] = set()
        self._centred: dict[int, tuple[Value, Affine]] = {}
        self._dynamic: dict[int, tuple[Value, Value, Value]] = {}
        self._integers: dict[int, tuple[Value, Affine]] = {}
        self._given = readings(self.graph) if scheme.given else dict[int, Affine]()
        self._inputs = {value.index: name for name, value in self.graph.inputs}
        self._makers = {v.index: node for node in self.graph.nodes for v in node.results}
        named = (each for node in self.graph.nodes for each in node.named_results())
        self._labels = {value.index: name for name, value in named}

    def readers(self, value: Value) -> int:
        """How many nodes of the old module read the value."""
        return len(self._uses.get(value.index, ()))

    def settled(self, node: Node) -> bool:
        """Whether the node's result stands already (a ReLU taken in by the layer before)."""
        index = node.results[0].index
        held = index in self._integers or index in self._narrow
        return held or self.new.knows(node.results[0])

    def reading(self, value: Value) -> Affine | None:
        """How the value is read if it is an integer already."""
        found = self._integers.get(value.index)
        return None if found is None else found[1]

    def real(self, value: Value) -> Value:
        """The value as the old module had it: a float, dequantised if need be."""
        if not self.new.knows(value) and value.index in self._narrow:
            name = f"{self.name(value)}.f32"
            wide = self.op("nn.cast", [self._narrow[value.index]], {"dtype": "f32"}, name)
            self.new.set(value, wide)
        if not self.new.knows(value):
            name = f"{self.name(value)}.dequantize"
            self.new.set(value, self.dequantized(*self._integers[value.index], name))
        return self.new.of(value)

    def dequantized(self, quantised: Value, reading: Affine, name: str) -> Value:
        """The floats that integers stand for."""
        operands = [quantised, self._scale(name, reading)]
        attributes: dict[str, Attribute] = {"zero_point": reading.zero_point, "axis": 0}
        return self.op("qnn.dequantize", operands, attributes, name)

    def integer(self, value: Value) -> tuple[Value, Affine]:
        """The value as integers, quantised if need be."""
        if value.index not in self._integers:
            reading = self.given(value) or affine(*self.interval(value), self.scheme.bits)
            made = self.quantised(value, reading, f"{self.name(value)}.quantize")
            self._integers[value.index] = made, reading
        return self._integers[value.index]

    def given(self, value: Value) -> Affine | None:
        """How the model itself says that a float is read."""
        return self._given.get(value.index)

    def quantised(self, value: Value, reading: Affine, name: str) -> Value:
        """The integers that are read as the value, from its floats."""
        operands = [self.real(value), self._scale(name, reading)]
        attributes: dict[str, Attribute] = {
            "zero_point": reading.zero_point,
            "axis": 0,
            "dtype": f"i{reading.bits}",
        }
        return self.op("qnn.quantize", operands, attributes, name)

    def centred(self, value: Value) -> tuple[Value, Affine]:
        """The value as integers with a zero point of 0, quantised again if need be."""
        held, reading = self.integer(value)
        if reading.zero_point == 0:
            return held, reading
        if value.index not in self._centred:
            most = max(map(abs, self.interval(value)))
            reading = Affine(affine(0.0, most, self.scheme.bits - 1).scale, 0, reading.bits)
            made = self.quantised(value, reading, f"{self.name(value)}.centred")
            self._centred[value.index] = made, reading
        return self._centred[value.index]

    def stored(self, key: tuple[object, ...], make: Callable[[], Stored]) -> Stored:
        """Weights in fewer bits, made once for all layers that hold them alike.

        Args:
            key: that tells those that differ.
            make: them.
        """
        if key not in self._stored:
            self._stored[key] = make()
        return self._stored[key]

    def once(self, value: Value, form: str, make: Callable[[], Value]) -> Value:
        """The old value rounded to a format, made where it is first needed."""
        key = value.index, form
        if key not in self._rounded:
            self._rounded[key] = make()
        return self._rounded[key]

    def dynamic(self, value: Value) -> tuple[Value, Value, Value]:
        """The value as ui8, its scale and its zero point, both found while running."""
        if value.index not in self._dynamic:
            operands = [self.real(value)]
            name = f"{self.name(value)}.quantize"
            made = self.new.builder.ops("qnn.dynamic_quantize", operands, {}, name)
            quantised, scale, zero_point = made
            self._dynamic[value.index] = quantised, scale, zero_point
        return self._dynamic[value.index]

    def narrow(self, value: Value) -> Value | None:
        """The bf16 or f16 value that stands for an old one, if there is one."""
        return self._narrow.get(value.index)

    def hold(self, old: Value, new: Value) -> None:
        """Let a value of bf16 or f16 stand for `old`."""
        self._narrow[old.index] = new

    def set(self, old: Value, new: Value, reading: Affine) -> None:
        """Let an integer value stand for `old`."""
        self._integers[old.index] = new, reading

    def tail(self, node: Node, clips: bool = False) -> Tail:
        """What the layer makes once a ReLU that follows alone is taken into it.

        A ReLU's range starts at 0, whose integer is the lowest: saturation does its work.

        Args:
            node: the layer.
            clips: whether a clip (a ReLU6) can be taken in too, as integer bounds.
        """
        last = self.new.only_user(node.result, "nn.relu")
        if last is None and clips:
            last = self.new.only_user(node.result, "nn.clip")
        last = last or node
        reading = self.given(last.result)
        reading = reading or affine(*self.ranges.node(last.name), self.scheme.bits)
        low, high = reading.low, reading.high
        if last.kind == "nn.relu" or node.attributes.get("activation") == "relu":
            low = reading.zero_point
        if last.kind == "nn.clip":
            low = max(low, reading.integer(last.float("low")))
            high = reading.integer(last.float("high"))
        return Tail(last, reading, low, high)

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

    def name(self, value: Value) -> str:
        """What the old module calls the value."""
        if value.index in self._inputs:
            return self._inputs[value.index]
        if value.index in self._makers:
            return self._makers[value.index].name
        return self.graph.constants[value.index]

    def interval(self, value: Value) -> tuple[float, float]:
        """The range of a value: calibrated, or of a constant its own."""
        if value.index in self._inputs:
            return self.ranges.input(self._inputs[value.index])
        if value.index in self._labels:
            return self.ranges.node(self._labels[value.index])
        array = self.constant(value)
        return float(array.min(initial=0)), float(array.max(initial=0))

    def constant(self, value: Value) -> Array:
        """The array of a constant.

        Raises:
            ModelError: it holds NaN or an infinity.
        """
        array = self.graph.weight(value)
        if value.index in self._finite:
            return array
        # both are NaN where an element is, and no second array is made
        if not np.isfinite([array.min(initial=0), array.max(initial=0)]).all():
            wrong = array[~np.isfinite(array)].flat[0]
            raise ModelError(
                f"weight @{self.graph.constants[value.index]} must be finite to be quantised, "
                f"not {wrong}; train or export it again"
            )
        self._finite.add(value.index)
        return array

    def _scale(self, name: str, reading: Affine) -> Value:
        return self.weight(f"{name}.scale", np.array([reading.scale], np.float32))
