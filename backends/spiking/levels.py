"""The quantised network behind a converted one: its layers in whole levels, without time.

Every activation is a level n of L and every layer
``n = clamp(floor((sum of w n + start) / theta), 0, L)`` in unbounded integers: what a network
of quantised ReLUs computes. Codes of whole phases must equal it; a rate code approaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from tetrapla.backends.spiking.trains import cut
from tetrapla.ir.graph import Array, Attribute, Graph, Node
from tetrapla.ir.module import Module
from tetrapla.ir.op import evaluated


def levels(module: Module, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The level of every layer of neurons, by name, i64.

    Args:
        module: converted, see `convert`.
        inputs: arrays of the inputs' shapes.
    """
    return _Walk(module.graph).levels(inputs)


class _Walk:
    """Trains as levels, currents as the charge of a whole inference; f64, whole numbers."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[int, Array] = {}
        self.found: dict[str, Array] = {}
        self.steps = 1

    def levels(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Walk the graph."""
        for name, value in self.graph.inputs:
            self.values[value.index] = inputs[name]
        for node in self.graph.nodes:
            step = _STEPS.get(node.kind)
            known = all(
                v.index in self.values or self.graph.is_weight(v) for v in node.operands
            )
            if step is None or not known:  # read out: the host's
                continue
            self.values[node.result.index] = step(self, node)
        return self.found

    def of(self, node: Node, place: int = 0) -> Array:
        """An operand's value, a constant's array."""
        operand = node.operands[place]
        if self.graph.is_weight(operand):
            return self.graph.weight(operand).astype(np.float64)
        return self.values[operand.index]

    def kept(self, node: Node, level: Array) -> Array:
        """Note a layer of neurons."""
        self.found[node.name] = level.astype(np.int64)
        return level


def _encode(w: _Walk, node: Node) -> Array:
    w.steps = node.int("timesteps")
    scaled = np.rint(w.of(node) / np.float32(node.float("scale")))
    current: Array = np.clip(scaled, 0, node.int("high")).astype(np.float64)
    return current * w.steps


def _encode_phase(w: _Walk, node: Node) -> Array:
    w.steps = 1  # a bias is a phase's, not a timestep's
    scaled = np.rint(w.of(node) / np.float32(node.float("scale")))
    return w.kept(node, np.clip(scaled, 0, node.int("levels")).astype(np.float64))


def _weighted(w: _Walk, node: Node) -> Array:
    kind = node.kind.replace("spike.", "nn.")
    geometry = {
        k: node.attributes[k]
        for k in ("strides", "pads", "dilations", "groups")
        if k in node.attributes
    }
    x, weight = w.of(node), w.of(node, 1) * 2.0 ** node.int("exponent")
    charge = evaluated(kind, [x, weight], {**geometry, "activation": "none"})
    if len(node.operands) > 2:
        bias = w.of(node, 2) * w.steps
        charge = charge + (bias[:, None, None] if charge.ndim == 4 and bias.ndim == 1 else bias)
    return charge


def _sum_pool(w: _Walk, node: Node) -> Array:
    x = w.of(node)
    channels, held = x.shape[1], {k: node.ints(k) for k in ("strides", "pads")}
    value = node.int("weight") * 2.0 ** node.int("exponent")
    ones = np.full((channels, 1, *node.ints("kernel")), value)
    words: dict[str, Attribute] = {
        **held,
        "dilations": (1, 1),
        "groups": channels,
        "activation": "none",
    }
    charge = evaluated("nn.conv2d", [x, ones], words)
    return charge


def _scale(w: _Walk, node: Node) -> Array:
    return w.of(node) * float(node.int("weight") << node.int("exponent"))


def _add(w: _Walk, node: Node) -> Array:
    constant = w.graph.is_weight(node.operands[1])
    total: Array = w.of(node) + w.of(node, 1) * (w.steps if constant else 1)
    return total


def _neuron(w: _Walk, node: Node) -> Array:
    theta = w.of(node, 1)
    start = theta // 2 if node.str("initial") == "half" else 0
    return w.kept(node, np.clip((w.of(node) + start) // theta, 0, w.steps))


def _phase(w: _Walk, node: Node) -> Array:
    level = (w.of(node) + w.of(node, 1)) // w.of(node, 2)
    return w.kept(node, np.clip(level, 0, node.int("levels")))


def _maximum(w: _Walk, node: Node) -> Array:
    most = evaluated("nn.max_pool2d", [w.of(node)], node.attributes)
    return w.kept(node, np.maximum(most, 0))  # padding never fires


def _reshape(w: _Walk, node: Node) -> Array:
    shape = node.result.shape
    given = any(v.index == node.operands[0].index for _, v in w.graph.inputs)
    return w.of(node).reshape(shape if given else shape[1:])


def _slice(w: _Walk, node: Node) -> Array:
    """Of each inference's frame."""
    return np.stack([frame[cut(node)] for frame in w.of(node)])


def _transpose(w: _Walk, node: Node) -> Array:
    moved: Array = w.of(node).transpose([axis - 1 for axis in node.ints("perm")[1:]])
    return moved


_STEPS: Mapping[str, Callable[[_Walk, Node], Array]] = MappingProxyType(
    {
        "nn.reshape": _reshape,
        "nn.slice": _slice,
        "nn.transpose": _transpose,
        "spike.add": _add,
        "spike.conv2d": _weighted,
        "spike.encode": _encode,
        "spike.encode_phase": _encode_phase,
        "spike.matmul": _weighted,
        "spike.max_binary2d": _maximum,
        "spike.max_pool2d": _maximum,
        "spike.neuron": _neuron,
        "spike.phase": _phase,
        "spike.scale": _scale,
        "spike.sum_pool2d": _sum_pool,
    }
)
