"""A trained ReLU network as integrate-and-fire neurons.

Data-based threshold balancing: a layer fires at rate 1 where its activation reaches the
99.9th percentile of calibration (Rueckauer et al. 2017); membranes start at half the
threshold and are reset by subtraction; the input is a constant current. What may be negative
is carried by two populations, one for each sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tetrapla.backends.spiking.emit import Current, Rate, Term, Train
from tetrapla.backends.spiking.phases import emitter
from tetrapla.backends.spiking.ranges import Magnitudes
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError, some
from tetrapla.ir.graph import Array, Attribute, Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.nn.pool import window_counts
from tetrapla.ir.unfuse import is_narrow
from tetrapla.simulators.spiking.spec import SpikingSpec

# thresholds of pooling neurons carry the division; below this they round too coarsely
_LEAST_POOL_THETA = 256


@dataclass(frozen=True)
class Host:
    """A value that has left the chip."""

    value: Value


Spiking: TypeAlias = Rate | Current | Host


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
) -> Converted:
    """The spiking form of a fused float module.

    Args:
        module: operators of `nn` alone, batch first.
        magnitudes: what rate 1 stands for; see `ranges`.
        spec: widths of the chip's integers.
        timesteps: T.
        code: of `CODES`.

    Raises:
        UnsupportedError: lists every node that has no spiking form.
    """
    return _Walk(module, magnitudes, spec, timesteps, code).convert()


class _RefusedError(Exception):
    """A node that cannot be converted, and why."""


class _Walk:
    def __init__(
        self,
        module: Module,
        magnitudes: Magnitudes,
        spec: SpikingSpec,
        timesteps: int,
        code: str,
    ) -> None:
        self._graph: Graph = module.graph
        self._magnitudes = magnitudes
        self._builder = ModuleBuilder(module.name)
        self._emit = emitter(code)(self._builder, spec.core, timesteps)
        self._values: dict[int, Spiking] = {}
        self._uses = module.graph.uses()
        self._rates: dict[int, Rate] = {}
        self._maxima = False
        self._host: list[str] = []
        self._full: dict[str, float] = {}

    def convert(self) -> Converted:
        self._check_interface()
        for name, value in self._graph.inputs:
            self._values[value.index] = self._input(name, value)
        refused: dict[str, list[str]] = {}
        broken: set[int] = set()
        for node in self._graph.nodes:
            made = {value.index for value in node.results}
            if any(v.index in broken for v in node.operands) and node.kind in _CAN:
                broken |= made
                continue
            try:
                self._values[node.results[0].index] = self._node(node)
            except _RefusedError as reason:
                refused.setdefault(f"{node.kind} ({reason})", []).append(node.name)
                broken |= made
        if refused:
            listed = "; ".join(
                f"{len(names)} x {kind}: {some(names)}" for kind, names in refused.items()
            )
            raise UnsupportedError(
                f"spiking: a network of neurons cannot do {listed}; it can do {', '.join(_CAN)}"
            )
        for name, value in self._graph.outputs:
            self._builder.output(name, self._leave(self._values[value.index], name).value)
        warnings = list(self._emit.warnings)
        if self._maxima:
            warnings.append(
                "max pooling uses neurons that follow their most active input; "
                "no published neuron of the chip does that"
            )
        return Converted(
            self._builder.finish(),
            tuple(warnings),
            dict(self._emit.thresholds),
            tuple(self._host),
            self._emit.levels,
            self._full,
        )

    def _check_interface(self) -> None:
        batches = {value.shape[:1] for _, value in self._graph.inputs}
        for name, value in self._graph.inputs:
            if value.dtype != "f32" or len(value.shape) < 2 or len(batches) != 1:
                raise UnsupportedError(
                    f"spiking: input '{name}' must be f32 with the batch as its first axis, "
                    f"the same for all inputs, not {value.dtype} of shape {value.shape}"
                )
        for name, value in self._graph.outputs:
            if self._graph.is_weight(value):
                raise UnsupportedError(
                    f"spiking: output '{name}' must be computed from an input, not a constant"
                )

    def _input(self, name: str, value: Value) -> Spiking:
        x = self._builder.input(name, value.shape, value.dtype)
        found = self._magnitudes.inputs[name]
        full, signs = found.largest or 1.0, (1, -1) if found.low < 0 else (1,)
        trains: list[Train] = []
        for sign in signs:
            label = name if sign > 0 else f"{name}.negative"
            trains.append(Train(self._emit.arrive(x, sign * full, label), sign))
        return Rate(tuple(trains), full)

    def _node(self, node: Node) -> Spiking:
        match node.kind:
            case "nn.matmul" | "nn.conv2d":
                return self._linear(node)
            case "nn.add":
                return self._add(node)
            case "nn.relu":
                return self._relu(self._of(node), node.name)
            case "nn.max_pool2d":
                return self._max_pool(node)
            case "nn.average_pool2d" | "nn.global_average_pool":
                return self._average_pool(node)
            case "nn.reshape" | "nn.transpose":
                return self._view(node)
            case "nn.softmax":
                value = self._leave(self._of(node), node.name).value
                return self._on_host(node, value)
            case _:
                raise _RefusedError("no spiking form")

    def _of(self, node: Node, place: int = 0) -> Spiking:
        operand = node.operands[place]
        if operand.index not in self._values:
            raise _RefusedError("its operand is a constant")
        return self._values[operand.index]

    def _on_host(self, node: Node, value: Value) -> Host:
        self._host.append(f"{node.kind} ({node.name})")
        return Host(self._builder.op(node.kind, [value], node.attributes, name=node.name))

    def _linear(self, node: Node) -> Spiking:
        if not self._graph.is_weight(node.operands[1]):
            raise _RefusedError("both operands are computed")
        if not is_narrow(node):
            raise _RefusedError("it has more than a bias and a ReLU")
        weight = self._graph.weight(node.operands[1])
        kind = node.kind.removeprefix("nn.")
        if kind == "matmul" and weight.ndim != 2:
            raise _RefusedError("the weights have more than two axes")
        attributes = {k: v for k, v in node.attributes.items() if k != "activation"}
        rate = self._rate(node.operands[0], self._of(node))
        terms = tuple(Term(kind, t, rate.full, weight, attributes) for t in rate.trains)
        bias = None
        if len(node.operands) > 2:
            bias = self._graph.weight(node.operands[2])
            bias = bias[:, None, None] if kind == "conv2d" else bias
        current = Current(node.name, terms, bias)
        if node.attributes["activation"] == "relu":
            return self._fired(current, node.name)
        return current

    def _add(self, node: Node) -> Spiking:
        parts: list[Current] = []
        constant: Array | None = None
        for operand in node.operands:
            if self._graph.is_weight(operand):
                constant = self._graph.weight(operand)
            else:
                parts.append(self._as_current(operand, node.name))
        if any(part.views for part in parts):
            raise _RefusedError("it adds what was reshaped before its relu")
        if constant is not None:
            constant = self._frame(constant, node)
        if any(
            operand.shape != node.result.shape
            for operand in node.operands
            if not self._graph.is_weight(operand)
        ):
            raise _RefusedError("it broadcasts a computed operand")
        terms = tuple(term for part in parts for term in part.terms)
        biases = [part.bias for part in parts if part.bias is not None]
        biases += [constant] if constant is not None else []
        bias = None
        for other in biases:
            bias = other if bias is None else bias + other
        return Current(node.name, terms, bias)

    def _frame(self, constant: Array, node: Node) -> Array:
        """A constant operand without its batch axis."""
        rank = len(node.result.shape)
        if constant.ndim == rank:
            if constant.shape[0] != 1:
                raise _RefusedError("a constant differs within the batch")
            return np.asarray(constant[0])
        return constant

    def _relu(self, value: Spiking, name: str) -> Spiking:
        if isinstance(value, Host):
            raise _RefusedError("it comes after the readout")
        if isinstance(value, Rate) and not value.signed:
            return value
        if isinstance(value, Rate):
            value = _identity(value, name)
        return self._fired(value, name)

    def _fired(self, current: Current, name: str) -> Rate:
        full = self._magnitudes.nodes[name].positive
        self._full[current.name] = full
        return Rate((Train(self._emit.neurons(current, full)),), full)

    def _max_pool(self, node: Node) -> Spiking:
        value = self._of(node)
        if isinstance(value, Current):
            users = self._uses.get(node.result.index, [])
            if not users or any(user.kind != "nn.relu" for user in users):
                raise _RefusedError("its operand may be negative")
            value = self._relu(value, self._producer(node))
        if not isinstance(value, Rate) or value.signed:
            raise _RefusedError("its operand may be negative")
        self._maxima = True
        (train,) = value.trains
        kind = self._emit.maximum
        pooled = self._builder.op(kind, [train.value], node.attributes, name=node.name)
        return Rate((Train(pooled),), value.full)

    def _average_pool(self, node: Node) -> Spiking:
        rate = self._rate(node.operands[0], self._of(node))
        strides: tuple[int, ...]
        pads: tuple[int, ...]
        size = node.operands[0].shape[2:]
        if node.kind == "nn.global_average_pool":
            kernel, strides, pads, include = size, (1, 1), (0,) * 4, 0
        else:
            kernel, strides = node.ints("kernel"), node.ints("strides")
            pads, include = node.ints("pads"), node.int("count_include_pad")
        counts = window_counts(size, kernel, strides, pads, include)
        full = (
            rate.full if rate.signed else min(rate.full, self._magnitudes.nodes[node.name].full)
        )
        shares = counts * (full / rate.full)
        weight = int(np.clip(np.ceil(_LEAST_POOL_THETA / shares.min()), 1, 127))
        theta = np.rint(weight * shares).astype(np.int32)
        theta = np.array([theta.flat[0]]) if np.all(theta == theta.flat[0]) else theta
        attributes: dict[str, Attribute] = {
            "kernel": kernel,
            "strides": strides,
            "pads": pads,
            "weight": weight,
            "exponent": 0,
        }
        trains: list[Train] = []
        for train in rate.trains:
            name = node.name if train.sign > 0 else f"{node.name}.negative"
            summed = self._builder.op(
                "spike.sum_pool2d", [train.value], attributes, name=f"{name}.synapses"
            )
            trains.append(
                Train(self._emit.fire(summed, np.maximum(theta, 1), name), train.sign)
            )
        return Rate(tuple(trains), full)

    def _view(self, node: Node) -> Spiking:
        value = self._of(node)
        batch = node.operands[0].shape[0]
        kept = (
            node.ints("perm")[0] == 0
            if node.kind == "nn.transpose"
            else node.ints("shape")[:1] == (batch,)
        )
        if isinstance(value, Host):
            return self._on_host(node, value.value)
        if not kept:
            raise _RefusedError("it moves the batch axis")
        if isinstance(value, Current):
            return replace(value, views=(*value.views, (node.kind, node.attributes)))
        trains = tuple(
            replace(t, value=self._emit.view(t.value, node.kind, node.attributes))
            for t in value.trains
        )
        return Rate(trains, value.full)

    def _rate(self, operand: Value, value: Spiking) -> Rate:
        """The value as spikes; a current gets neurons for each sign, once."""
        if isinstance(value, Rate):
            return value
        if isinstance(value, Host):
            raise _RefusedError("it comes after the readout")
        if operand.index not in self._rates:
            full = self._magnitudes.nodes[value.name].full
            trains = (
                Train(self._emit.neurons(value, full)),
                Train(self._emit.neurons(value.negated(), full, ".negative"), -1),
            )
            self._rates[operand.index] = Rate(trains, full)
        return self._rates[operand.index]

    def _as_current(self, operand: Value, name: str) -> Current:
        value = self._values[operand.index]
        if isinstance(value, Host):
            raise _RefusedError("it comes after the readout")
        return value if isinstance(value, Current) else _identity(value, name)

    def _producer(self, node: Node) -> str:
        operand = node.operands[0].index
        return next(n.name for n in self._graph.nodes if n.result.index == operand)

    def _leave(self, value: Spiking, name: str) -> Host:
        """The value read by the host."""
        if isinstance(value, Host):
            return value
        if isinstance(value, Rate) and not value.signed:
            (train,) = value.trains
            scale = value.full / self._emit.levels
            return Host(self._emit.decode(train.value, scale, f"{name}.count"))
        current = value if isinstance(value, Current) else _identity(value, name)
        fallback = sum(term.full for term in current.terms)
        known = self._magnitudes.nodes.get(current.name)
        largest = fallback if known is None else known.largest
        return Host(self._emit.readout(current, largest))


def _identity(rate: Rate, name: str) -> Current:
    one = np.ones(1)
    return Current(name, tuple(Term("scale", t, rate.full, one) for t in rate.trains), None)


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
)
