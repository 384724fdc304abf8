"""From a module to a NIR graph, and what of the module NIR has no words for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from tetrapla.frontend.nir.file import annotated
from tetrapla.frontend.nir.network import Edge, Field, Network
from tetrapla.frontend.nir.network import Node as NirNode
from tetrapla.frontend.nir.nodes import NEURON_KINDS
from tetrapla.frontend.nir.presets import PRESETS, Preset
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.ir.module import Module


class Exported(NamedTuple):
    """A graph, and one sentence for each thing that another tool will do otherwise."""

    network: Network
    losses: tuple[str, ...]


def exported(module: Module, dt_s: float) -> Exported:
    """The NIR graph of a module of float neurons without loops.

    Inputs are [batch, timesteps, ...] or [timesteps, batch, ...]. The discretisation goes into
    the metadata where it is one of `PRESETS`, so that `load` gives the same module again.

    Raises:
        UnsupportedError: operators that NIR cannot express; all are listed.
    """
    walk = _Walk(module.graph, dt_s)
    refused: list[str] = []
    for node in module.graph.nodes:
        try:
            walk.add(node)
        except UnsupportedError as reason:
            refused.append(f"{node.name} ({node.kind}: {reason})")
            walk.broken |= {value.index for value in node.results}
    if refused:
        raise UnsupportedError(f"nir: a graph cannot hold {', '.join(refused)}")
    return walk.finished()


class _Walk:
    def __init__(self, graph: Graph, dt_s: float) -> None:
        self.graph = graph
        self.dt_s = dt_s
        self.broken = set[int]()
        self._nodes: dict[str, NirNode] = {}
        self._edges: list[Edge] = []
        self._sources: dict[int, tuple[str, ...]] = {}
        self._rules: dict[Preset, str] = {}
        self._losses: list[str] = []
        self._used = graph.uses()
        for name, value in graph.inputs:
            self._put(name, "Input", value, [], shape=np.array(value.shape[2:], np.int64))

    def add(self, node: Node) -> None:
        """One operator: a node, or the same value under another name."""
        if any(value.index in self.broken for value in node.operands):
            self.broken |= {value.index for value in node.results}
            return
        writer = _WRITERS.get(node.kind)
        if writer is None:
            raise UnsupportedError("no node does that")
        writer(self, node)

    def put(self, node: Node, type_: str, fields: Mapping[str, Field], result: int = 0) -> None:
        """A node that is fed by the operator's first operand."""
        sources = self._sources.get(node.operands[0].index)
        if sources is None:
            raise UnsupportedError("its operand is a constant")
        self._put(node.name, type_, node.results[result], [*sources], **fields)

    def same(self, node: Node, *operands: Value) -> None:
        """The result stands for what the operands together are."""
        sources = [self._sources.get(value.index) for value in operands]
        if None in sources:
            raise UnsupportedError("a constant is added")
        self._sources[node.results[0].index] = tuple(s for each in sources for s in each or ())

    def constant(self, value: Value) -> Array:
        """The array of an operand, which must be one."""
        if not self.graph.is_weight(value):
            raise UnsupportedError("an operand is computed that NIR has as a parameter")
        return self.graph.weight(value)

    def each(self, value: Value, like: Value) -> Array:
        """A parameter of every neuron."""
        array = self.constant(value)
        if array.ndim == len(like.shape) - 1 and len(array) > 1:
            raise UnsupportedError("a parameter differs by inference")
        each: Array = np.broadcast_to(array, like.shape[1:])[0].copy()
        return each

    def is_used(self, value: Value) -> bool:
        """Whether an operator or an output reads a value."""
        outputs = {each.index for _, each in self.graph.outputs}
        return bool(self._used.get(value.index)) or value.index in outputs

    def ruled(self, node: Node, rule: Preset, words: list[str]) -> None:
        """Note a neuron's discretisation, and what of it NIR has no words for."""
        self._rules.setdefault(rule, node.name)
        self._losses += [f"{node.name}: {word} has no form in NIR" for word in words]

    def finished(self) -> Exported:
        """The graph with its outputs."""
        for name, value in self.graph.outputs:
            sources = [*self._sources[value.index]]
            shape = np.array(value.shape[2:], np.int64)
            self._put(name, "Output", value, sources, shape=shape)
        network = Network(self._nodes, tuple(dict.fromkeys(self._edges)))
        # an IF has no method: any does
        known = [
            name
            for name, held in PRESETS.items()
            if all(
                held == replace(rule, method=rule.method or held.method) for rule in self._rules
            )
        ]
        if self._rules and not known:
            named = ", ".join(self._rules.values())
            self._losses.append(f"{named}: no one discretisation is that of all neurons")
        if self._rules and known:
            network = annotated(network, known[0], self.dt_s)
        return Exported(network, tuple(self._losses))

    def _put(
        self, name: str, type_: str, value: Value, sources: list[str], **fields: Field
    ) -> None:
        label = name if name not in self._nodes else f"{name}.{len(self._nodes)}"
        self._nodes[label] = NirNode(type_, fields)
        self._edges += [(source, label) for source in sources]
        self._sources[value.index] = (label,)


def _product(walk: _Walk, node: Node) -> None:
    weight = walk.constant(node.operands[1])
    if weight.dtype.kind != "f":
        raise UnsupportedError("its weights are integers")
    held = {"weight": weight.T.copy()}
    if len(node.operands) > 2:
        held["bias"] = walk.constant(node.operands[2])
    walk.put(node, "Affine" if "bias" in held else "Linear", held)


def _conv(walk: _Walk, node: Node) -> None:
    weight, pads = walk.constant(node.operands[1]), node.ints("pads")
    if weight.dtype.kind != "f" or pads[:2] != pads[2:]:
        raise UnsupportedError("its weights are integers, or its pads differ")
    filters = len(weight)
    given = node.operands[2:]
    bias = walk.constant(given[0]) if given else np.zeros(filters, np.float32)
    if bias.shape != (filters,):
        raise UnsupportedError("its bias differs by position")
    fields: dict[str, Field] = {
        "input_shape": np.array(node.operands[0].shape[-2:], np.int64),
        "weight": weight,
        "bias": bias,
        "stride": np.array(node.ints("strides")),
        "padding": np.array(pads[:2]),
        "dilation": np.array(node.ints("dilations")),
        "groups": np.array(node.int("groups")),
    }
    walk.put(node, "Conv2d", fields)


def _scale(walk: _Walk, node: Node) -> None:
    x, factor = node.operands
    walk.put(node, "Scale", {"scale": walk.each(factor, x)})


def _delay(walk: _Walk, node: Node) -> None:
    x, steps = node.operands
    walk.put(node, "Delay", {"delay": walk.each(steps, x) * walk.dt_s})


def _add(walk: _Walk, node: Node) -> None:
    walk.same(node, *node.operands)


def _cast(walk: _Walk, node: Node) -> None:
    walk.same(node, node.operands[0])


def _transpose(walk: _Walk, node: Node) -> None:
    perm = node.ints("perm")
    if perm != (1, 0, *range(2, len(perm))):
        raise UnsupportedError("it moves more than time and batch")
    walk.same(node, node.operands[0])


def _reshape(walk: _Walk, node: Node) -> None:
    x, y = node.operands[0], node.results[0]
    if x.shape[:2] != y.shape[:2] or len(y.shape) != 3:
        raise UnsupportedError("it does more than flatten")
    sizes = np.array(x.shape[2:], np.int64)
    fields = {"start_dim": np.array(0), "end_dim": np.array(-1), "input_type": sizes}
    walk.put(node, "Flatten", fields)


def _threshold(walk: _Walk, node: Node) -> None:
    walk.put(node, "Threshold", {"threshold": walk.each(node.operands[1], node.operands[0])})


def _neuron(walk: _Walk, node: Node) -> None:
    current, start, *given = node.operands
    if walk.constant(start).any() or walk.is_used(node.results[2]):
        raise UnsupportedError("it starts from a state or its last one is used")
    spiking, plain = (
        next(name for name in names if NEURON_KINDS[name][0] == node.kind)
        for names in (("IF", "LIF", "CubaLIF"), ("I", "LI", "CubaLI"))
    )
    names = [*NEURON_KINDS[spiking][2].split(), "v_threshold", "v_reset"]
    held = {name: walk.each(v, current) for name, v in zip(names, given, strict=False)}
    for name in held:
        if name.startswith("tau"):
            held[name] = held[name].astype(np.float64) * walk.dt_s
    held.setdefault("v_reset", np.zeros_like(held["v_threshold"]))
    silent = np.isposinf(held["v_threshold"]).all() and not walk.is_used(node.results[0])
    if silent:
        del held["v_threshold"], held["v_reset"]
        walk.put(node, plain, held, 1)
        return
    if walk.is_used(node.results[1]):
        raise UnsupportedError("its voltage is used")
    words = {name: node.str(name) for name in ("reset", "reset_time", "compare", "spikes")}
    method = node.str("method") if node.kind != "spike.if" else ""
    reset = "subtract" if words["reset"] == "subtract" else "to_value"
    rule = Preset(method, reset, words["reset_time"], words["spikes"])
    usual = {"reset_time": "same", "compare": "gt", "spikes": "one"}
    losses = [f"{name} {words[name]}" for name in usual if words[name] != usual[name]]
    walk.ruled(node, rule, ["reset subtract"] * (reset == "subtract") + losses)
    walk.put(node, spiking, held)


_WRITERS: Final[Mapping[str, Callable[[_Walk, Node], None]]] = MappingProxyType(
    {
        "nn.add": _add,
        "nn.cast": _cast,
        "nn.greater": _threshold,
        "nn.mul": _scale,
        "nn.reshape": _reshape,
        "nn.transpose": _transpose,
        "spike.add": _add,
        "spike.conv2d": _conv,
        "spike.cuba_lif": _neuron,
        "spike.delay": _delay,
        "spike.if": _neuron,
        "spike.lif": _neuron,
        "spike.matmul": _product,
    }
)
