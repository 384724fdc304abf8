"""Which nodes of a module become integer under a scheme, before anything is emitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np

from tetrapla.ir.graph import Graph, Node, Value
from tetrapla.passes.calibrate_ import Ranges
from tetrapla.passes.given_ import readings
from tetrapla.passes.scheme_ import INTEGERS, PLAIN, Scheme

# infinite, or the least float32 (-3.4e38), by which exporters hide as well: no scale holds that
# and a score
BOUNDLESS = 2.0**127

LINEAR = frozenset({"nn.matmul", "nn.conv2d"})
# what every backend that takes int8 modules knows
USUAL = LINEAR | {"nn.add", "nn.average_pool2d", "nn.global_average_pool"}
ELEMENTWISE = frozenset(
    f"nn.{name}"
    for name in (
        "relu clip leaky_relu elu sigmoid tanh gelu silu hard_swish hard_sigmoid erf softplus"
    ).split()
)
FURTHER = ELEMENTWISE | {"nn.mul", "nn.concat", "nn.softmax"}
# functions that become tables beside those, where everything does
MORE_TABLES = frozenset(
    f"nn.{name}" for name in "celu mish selu softsign thresholded_relu".split()
)
READING = frozenset({"qnn.dequantize", "qnn.dequantize_blocks", "nn.cast"})
MOVING = frozenset({"nn.max_pool2d", "nn.reshape", "nn.transpose"})
# what else picks, joins or repeats elements of its first operand
ALSO_MOVING = frozenset(
    f"nn.{name}"
    for name in (
        "depth_to_space expand gather gather_elements gather_nd global_max_pool max_pool3d "
        "pad reduce_max reduce_min reverse_sequence slice space_to_depth"
    ).split()
)
# what changes an element's place alone, of whatever type
PLACING = frozenset({"nn.reshape", "nn.slice", "nn.transpose"})
# scores below this hide a key: no scale holds them beside those that count. Assumed; exporters
# add -10,000 or the least number of a type, and scores lie within some hundreds
HIDING = -1e3
# filters and biases must be constants; a product's second matrix may be computed
FIRST_PARAMETER: Mapping[str, int] = MappingProxyType({"nn.conv2d": 1, "nn.matmul": 2})


class Plan:
    """The nodes that compute on integers, and the values that they read.

    What reads or makes infinities (the sum of scores and a mask of -inf) stays float.

    Attributes:
        wanted: indices of the values that some integer operator reads, through what only
            moves values too.
    """

    def __init__(self, graph: Graph, scheme: Scheme, found: Ranges) -> None:
        self._graph = graph
        self._scheme = scheme
        self._makers = {v.index: node for node in graph.nodes for v in node.results}
        # a calibration sees the first result of a node alone
        self._unknown = {v.index for node in graph.nodes for v in node.results[1:]}
        # rounded already: nothing is quantised twice
        made = (node for node in graph.nodes if node.kind in READING)
        self._rounded = {node.results[0].index for node in made}
        if scheme.given:  # what is read as the model says is no rounding of its own
            self._rounded -= readings(graph).keys()
        self._infinite = {value.index: True for value in _infinite(graph, found)}
        self._hiding = set(self._hidden(found))
        self.wanted: set[int] = set()
        for node in reversed(graph.nodes):
            moves = self.passes_on(node) and self.moves(node, held=False)
            if moves or self.integer(node):
                self.wanted.update(value.index for value in node.operands)

    def integer(self, node: Node) -> bool:
        """Whether the node computes on floats and has an integer form."""
        if self._scheme.activations != "integer" or not self._has_kernel(node):
            return False
        if any(value.index in self._unknown for value in node.operands):
            return False
        if self.unbounded(node) or node.results[0].index in self._hiding:
            return False
        if node.kind in LINEAR and not self._weights_fit(node.operands[1], node.name):
            return False
        parameters = node.operands[FIRST_PARAMETER.get(node.kind, len(node.operands)) :]
        return all(self._graph.is_weight(value) for value in parameters)

    def passes_on(self, node: Node) -> bool:
        """Whether the result's elements are some of the first operand's, maybe scaled by one.

        What is added (a pad) must be a zero, which every scale has.
        """
        if node.kind in MOVING:
            return True
        if not self._scheme.whole or self._scheme.activations != "integer":
            return False
        if node.kind == "nn.pad":
            return node.str("mode") != "constant" or node.float("value") == 0
        return node.kind in ALSO_MOVING or self.factor(node) is not None

    def factor(self, node: Node) -> float | None:
        """The positive number by which the node multiplies or divides all of a value."""
        if node.kind not in ("nn.mul", "nn.div") or node.result.shape != node.operands[0].shape:
            return None
        other = node.operands[1]
        if not self._graph.is_weight(other) or other.elements != 1 or other.dtype != "f32":
            return None
        value = float(self._graph.weight(other).reshape(()))
        if not np.isfinite(value) or value <= 0:
            return None
        return value if node.kind == "nn.mul" else 1 / value

    def moves(self, node: Node, held: bool) -> bool:
        """Whether a node that only moves values should move integers.

        Args:
            node: of those that pass values on.
            held: whether its operand is an integer already.
        """
        x = node.operands[0]
        if node.result.dtype != "f32" or self.unbounded(node) or x.index in self._unknown:
            return False
        table = self._scheme.whole and node.kind == "nn.gather" and self._graph.is_weight(x)
        return held or table or node.result.index in self.wanted

    def _hidden(self, found: Ranges) -> Iterator[int]:
        """Results behind which scores are hidden: a selection and a softmax after it.

        Where a mask is added instead, the sum too, if it reaches so far below.
        """
        for node in self._graph.nodes:
            if node.kind != "nn.softmax":
                continue
            maker = self._makers.get(node.operands[0].index)
            while maker is not None and maker.kind in MOVING:
                maker = self._makers.get(maker.operands[0].index)
            if maker is None:
                continue
            low, _ = found.nodes.get(maker.name, (0.0, 0.0))
            if maker.kind == "nn.where" or low < HIDING:
                yield node.result.index
                yield maker.results[0].index

    def unbounded(self, node: Node) -> bool:
        """Whether the node makes or reads infinities; the constants of products aside."""
        values = [*node.operands, *node.results]
        if node.kind in LINEAR:
            values = [value for value in values if not self._graph.is_weight(value)]
        return any(map(self._holds_infinity, values))

    def _holds_infinity(self, value: Value) -> bool:
        if self._graph.is_weight(value) and value.index not in self._infinite:
            array = self._graph.weight(value)
            ends = (array.min(initial=0), array.max(initial=0))
            self._infinite[value.index] = max(-ends[0], ends[1]) >= BOUNDLESS
        return self._infinite.get(value.index, False)

    def rounds(self, node: Node) -> bool:
        """Whether the node is a product whose operands are to be rounded, but stays float."""
        if node.kind not in LINEAR or node.results[0].dtype != "f32":
            return False
        scheme, weights = self._scheme, self._graph.is_weight(node.operands[1])
        if scheme.whole and scheme.activations in PLAIN:
            return True  # what a first scheme left, and what no range is known of
        pair = node.operands[:2]
        if any(v.index in self._unknown or v.index in self._rounded for v in pair):
            return False
        if self.unbounded(node):
            return False
        if not weights:
            return scheme.activations not in ("integer", "dynamic", "f32")
        stored = scheme.format(node.name)
        # a layer that is named as f32 is left alone altogether
        if stored == "f32" and (node.name in scheme.layers or scheme.activations == "dynamic"):
            return False
        if scheme.activations == "integer":
            return stored not in INTEGERS or scheme.group > 0
        return stored != "f32" or scheme.activations != "f32"

    def dynamic(self, node: Node) -> bool:
        """Whether a product's operand is to be quantised by its range while running."""
        if self._scheme.activations != "dynamic" or not node.operands[0].elements:
            return False
        parameters = node.operands[1:]
        constant = all(self._graph.is_weight(value) for value in parameters)
        return constant and self._weights_fit(parameters[0], node.name)

    def _has_kernel(self, node: Node) -> bool:
        """Whether there is an integer operator of the scheme's width for the node's kind."""
        if len(node.results) != 1 or node.result.dtype != "f32":
            return False
        if node.kind in LINEAR:
            return True
        # the element-wise integer kernels are of eight bits
        scheme = self._scheme
        more = node.kind in USUAL or (scheme.all_operators and node.kind in FURTHER)
        if scheme.whole and node.kind in FURTHER | MORE_TABLES:
            # for what stays float behind it, a function is better computed in floats
            more = scheme.all_operators and node.result.index in self.wanted
        return more and scheme.bits == 8 and node.result.elements > 0

    def _weights_fit(self, value: Value, layer: str) -> bool:
        if not self._graph.is_weight(value):
            return value.index not in self._rounded
        # a group's scale changes along the sum, which one accumulator cannot follow
        return self._scheme.format(layer) in INTEGERS and not self._scheme.group


def _infinite(graph: Graph, found: Ranges) -> Iterator[Value]:
    """The inputs and first results of nodes in which a calibration saw no bound."""
    inputs = ((value, found.inputs.get(name)) for name, value in graph.inputs)
    made = ((node.results[0], found.nodes.get(node.name)) for node in graph.nodes)
    for value, interval in (*inputs, *made):
        if interval is not None and max(-interval[0], interval[1]) >= BOUNDLESS:
            yield value
