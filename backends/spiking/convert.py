"""A trained ReLU network as integrate-and-fire neurons.

Data-based threshold balancing: a layer fires at rate 1 where its activation reaches the
99.9th percentile of calibration (Rueckauer et al. 2017); membranes start at half the
threshold and are reset by subtraction; the input is a constant current. What may be negative
is carried by two populations, one for each sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from tetrapla.backends.spiking.emit import Current, Rate, Term, Train
from tetrapla.backends.spiking.joined import Joined, concatenated, moved, terms, whole
from tetrapla.backends.spiking.pools import Pools
from tetrapla.backends.spiking.ranges import Magnitudes
from tetrapla.backends.spiking.recurrent import refusal
from tetrapla.backends.spiking.terms import RefusedError
from tetrapla.backends.spiking.values import Host, Spiking
from tetrapla.ir.errors import UnsupportedError, some
from tetrapla.ir.graph import Array, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import is_narrow
from tetrapla.passes.cells_ import CELLS
from tetrapla.simulators.spiking.spec import SpikingSpec


@dataclass(frozen=True)
class Converted:
    """The module with spike operators, and what to tell its user."""

    module: Module
    warnings: tuple[str, ...]
    thresholds: Mapping[str, int]
    host: tuple[str, ...]
    levels: int
    full: Mapping[str, float]
    """What the largest level of each layer of neurons stands for."""


def convert(
    module: Module,
    magnitudes: Magnitudes,
    spec: SpikingSpec,
    timesteps: int,
    code: str = "rate",
    *,
    steps: bool = False,
) -> Converted:
    """The spiking form of a fused float module.

    Args:
        module: operators of `nn` alone, batch first; steps of recurrent layers written out.
        magnitudes: what rate 1 stands for; see `ranges`.
        spec: widths of the chip's integers.
        timesteps: T.
        code: of `CODES`.
        steps: whether the module has had recurrent layers; its batch is 1, on whatever axis.

    Raises:
        UnsupportedError: lists every node that has no spiking form.
    """
    return _Walk(module, magnitudes, spec, timesteps, code).convert(steps)


class _Walk(Pools):
    _single = False  # whether there is one inference, of which any axis may be cut

    def convert(self, steps: bool) -> Converted:
        """Node by node."""
        inputs = self.graph.inputs
        self._single = steps or all(value.shape[:1] == (1,) for _, value in inputs)
        self._check_interface()
        for name, value in inputs:
            self.values[value.index] = self._input(name, value)
        self._nodes()
        for name, value in self.graph.outputs:
            self.builder.output(name, self.leave(self.values[value.index], name).value)
        warnings = list(self.emit.warnings)
        if self.maxima:
            warnings.append(
                "max pooling uses neurons that follow their most active input; "
                "no published neuron of the chip does that"
            )
        return Converted(
            self.builder.finish(),
            tuple(warnings),
            dict(self.emit.thresholds),
            tuple(self.host),
            self.emit.levels,
            self.full,
        )

    def _nodes(self) -> None:
        refused: dict[str, list[str]] = {}
        broken: set[int] = set()
        for node in self.graph.nodes:
            made = {value.index for value in node.results}
            if any(v.index in broken for v in node.operands) and node.kind in _DOES:
                broken |= made
                continue
            try:
                self.values[node.results[0].index] = self._node(node)
            except RefusedError as reason:
                refused.setdefault(f"{node.kind} ({reason})", []).append(node.name)
                broken |= made
        if refused:
            listed = "; ".join(
                f"{len(names)} x {kind}: {some(names)}" for kind, names in refused.items()
            )
            raise UnsupportedError(
                f"spiking: a network of neurons cannot do {listed}; it can do {', '.join(_CAN)}"
            )

    def _check_interface(self) -> None:
        batches = {value.shape[:1] for _, value in self.graph.inputs}
        for name, value in self.graph.inputs:
            even = self._single or len(batches) == 1
            if value.dtype != "f32" or len(value.shape) < 2 or not even:
                raise UnsupportedError(
                    f"spiking: input '{name}' must be f32 with the batch as its first axis, "
                    f"the same for all inputs, not {value.dtype} of shape {value.shape}"
                )
        for name, value in self.graph.outputs:
            if self.graph.is_weight(value):
                raise UnsupportedError(
                    f"spiking: output '{name}' must be computed from an input, not a constant"
                )

    def _input(self, name: str, value: Value) -> Spiking:
        x = self.builder.input(name, value.shape, value.dtype)
        found = self.input_magnitude(name)
        full, signs = found.largest or 1.0, (1, -1) if found.low < 0 else (1,)
        if self._single and value.shape[0] != 1:
            x = self.builder.op("nn.reshape", [x], {"shape": (1, *value.shape)})
        trains: list[Train] = []
        for sign in signs:
            label = name if sign > 0 else f"{name}.negative"
            trains.append(Train(self.emit.arrive(x, sign * full, label), sign))
        rate = Rate(tuple(trains), full)
        return whole(rate, value.shape).simple() if self._single else rate

    def _node(self, node: Node) -> Spiking:
        match node.kind:
            case "nn.matmul" | "nn.conv2d":
                return self._linear(node)
            case "nn.add":
                return self._add(node)
            case "nn.relu":
                return self.relu(self.of(node), node.name)
            case "nn.max_pool2d":
                return self.max_pool(node)
            case "nn.average_pool2d" | "nn.global_average_pool":
                return self.average_pool(node)
            case "nn.reshape" | "nn.transpose" | "nn.slice":
                return self._view(node)
            case "nn.concat" if self._single:
                for place in range(len(node.operands)):
                    self.of(node, place)
                joined = [self.joined(value) for value in node.operands]
                return concatenated(joined, node.int("axis")).simple()
            case "nn.softmax":
                value = self.leave(self.of(node), node.name).value
                return self.on_host(node, value)
            case _:
                reason = refusal(self.graph, node) if node.kind in CELLS else None
                raise RefusedError(reason or "no spiking form")

    def _linear(self, node: Node) -> Spiking:
        if not self.graph.is_weight(node.operands[1]):
            raise RefusedError("both operands are computed")
        if not is_narrow(node):
            raise RefusedError("it has more than a bias and a ReLU")
        weight = self.graph.weight(node.operands[1])
        kind = node.kind.removeprefix("nn.")
        if kind == "matmul" and weight.ndim != 2:
            raise RefusedError("the weights have more than two axes")
        bias = None
        if len(node.operands) > 2:
            bias = self.graph.weight(node.operands[2])
            bias = bias[:, None, None] if kind == "conv2d" else bias
        value = self.of(node)
        if kind == "matmul" and isinstance(value, Joined):
            return self._rows(node, value, weight, bias)
        attributes = {k: v for k, v in node.attributes.items() if k != "activation"}
        rate = self.rate(value)
        held = tuple(Term(kind, t, rate.full, weight, attributes) for t in rate.trains)
        return self._active(Current(node.name, held, bias), node)

    def _rows(self, node: Node, x: Joined, weight: Array, bias: Array | None) -> Spiking:
        """A product of what was cut or joined: neurons for each of its rows."""
        x = self.spikes(x)
        parts: list[Rate | Current] = []
        rows = x.at.reshape(-1, len(weight))
        for i, row in enumerate(rows):
            name = node.name if len(rows) == 1 else f"{node.name}.{i}"
            self.rows[name] = node.name
            current = Current(name, terms(x, row, weight, self.emit), bias)
            parts.append(self._active(current, node))
        shape = node.result.shape
        at = np.arange(node.result.elements).reshape(shape)
        return Joined(tuple(parts), ((1, weight.shape[1]),) * len(rows), at).simple()

    def _active(self, current: Current, node: Node) -> Rate | Current:
        relu = node.attributes["activation"] == "relu"
        return self.fired(current, node.name) if relu else current

    def _add(self, node: Node) -> Spiking:
        weights = [v for v in node.operands if self.graph.is_weight(v)]
        constant = self.graph.weight(weights[-1]) if weights else None
        operands = [v for v in node.operands if not self.graph.is_weight(v)]
        values = [self.values[v.index] for v in operands]
        if any(v.shape != node.result.shape for v in operands):
            raise RefusedError("it broadcasts a computed operand")
        if any(isinstance(value, Joined) for value in values):
            return self._add_parts(node, [self.joined(v) for v in operands], constant)
        if constant is not None:
            constant = self._frame(constant, node)
        return _summed(node.name, [self.current(v, node.name) for v in values], constant)

    def _add_parts(self, node: Node, values: list[Joined], constant: Array | None) -> Joined:
        """A sum of what is joined alike, part by part."""
        shapes = values[0].shapes
        if any(not value.in_order or value.shapes != shapes for value in values):
            raise RefusedError("it adds what is cut or joined in different ways")
        each = None if constant is None else np.broadcast_to(constant, node.result.shape)
        flat, place = None if each is None else each.ravel(), 0
        parts: list[Current] = []
        for i, shape in enumerate(shapes):
            own = None if flat is None else flat[place : place + prod(shape)].reshape(shape)[0]
            name, place = f"{node.name}.{i}", place + prod(shape)
            self.rows[name] = node.name
            given = [self.current(value.parts[i], name) for value in values]
            parts.append(_summed(name, given, own))
        return Joined(tuple(parts), shapes, values[0].at)

    def _frame(self, constant: Array, node: Node) -> Array:
        """A constant operand without its batch axis."""
        rank = len(node.result.shape)
        if constant.ndim == rank:
            if constant.shape[0] != 1:
                raise RefusedError("a constant differs within the batch")
            return np.asarray(constant[0])
        return constant

    def _view(self, node: Node) -> Spiking:
        value = self.of(node)
        if isinstance(value, Host):
            return self.on_host(node, value.value)
        batch = node.operands[0].shape[0]
        match node.kind:
            case "nn.transpose":
                kept = node.ints("perm")[0] == 0
            case "nn.reshape":
                kept = node.ints("shape")[:1] == (batch,)
            case _:
                kept = False
        if self._single and (isinstance(value, Joined) or not kept):
            return moved(self.joined(node.operands[0]), node).simple()
        if isinstance(value, Joined) or not kept:
            raise RefusedError("it moves the batch axis")
        if isinstance(value, Current):
            return replace(value, views=(*value.views, (node.kind, node.attributes)))
        trains = tuple(
            replace(t, value=self.emit.view(t.value, node.kind, node.attributes))
            for t in value.trains
        )
        return Rate(trains, value.full)


def _summed(name: str, parts: Sequence[Current], constant: Array | None) -> Current:
    if any(part.views for part in parts):
        raise RefusedError("it adds what was reshaped before its relu")
    held = tuple(term for part in parts for term in part.terms)
    biases = [part.bias for part in parts if part.bias is not None]
    biases += [constant] if constant is not None else []
    bias = None
    for other in biases:
        bias = other if bias is None else bias + other
    return Current(name, held, bias)


_CAN = (
    "nn.conv2d",
    "nn.matmul",
    "nn.add",
    "nn.relu",
    "nn.max_pool2d",
    "nn.average_pool2d",
    "nn.global_average_pool",
    "nn.reshape",
    "nn.transpose",
    "nn.softmax",
    "nn.rnn of relu",
    "nn.slice and nn.concat of one inference",
)
_DOES = frozenset({*_CAN, "nn.slice", "nn.concat"})
