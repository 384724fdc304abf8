"""Networks of float neurons as Loihi's integer neurons, with what that loses.

A layer's unit is the real voltage that 64 of a chip's voltage stand for. Gains, which float
neurons apply to their current, go into the weights; a voltage is counted from where its neuron
is reset to, since the chip resets to 0::

    weight    = rne(w gain / unit / 2**exponent)          8 bits
    threshold = rne((v_threshold - v_reset) / unit)       17 bits
    decay     = rne(4096 (1 - what a timestep keeps))     12 bits, of voltage and current
    bias      = rne(64 (1 - keeps) (v_leak - v_reset) / unit), with a layer's constant current

Inputs are whole numbers of spikes: real ones are counted in steps of their largest / 127.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tetrapla.backends.spiking.compose import chained, listed
from tetrapla.backends.spiking.leak import NEURONS, leak, voltages
from tetrapla.backends.spiking.signals import Signals
from tetrapla.backends.spiking.terms import (
    Current,
    Host,
    Input,
    RefusedError,
    Signal,
    Spikes,
    Term,
    alone,
    scaled,
)
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Attribute, Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.simulators.spiking.spec import SpikingSpec

_LINEAR = ("spike.matmul", "spike.conv2d", "spike.sparse")


@dataclass(frozen=True)
class Integers:
    """The module in integers, and a sentence for each thing that is not as it was."""

    module: Module
    losses: tuple[str, ...]


def integers(module: Module, spec: SpikingSpec, calibration: Mapping[str, Array]) -> Integers:
    """The module with the chip's neurons.

    Args:
        module: float neurons of the `spike` dialect, as a NIR file's.
        spec: widths of the chip's integers.
        calibration: inputs by name; what they hold at most sets the size of an input's spike.

    Raises:
        UnsupportedError: lists every node without a form in integers.
    """
    builder = ModuleBuilder(module.name)
    walk = _Walk(module.graph, builder, spec, calibration)
    walk.voltages = voltages(module, calibration)
    for name, value in module.graph.inputs:
        walk.values[value.index] = Input(name, builder.input(name, value.shape, value.dtype))
    walk.nodes()
    if walk.refused:
        raise UnsupportedError(
            "spiking: the chip's integer neurons cannot do " + "; ".join(walk.refused)
        )
    for name, value in module.graph.outputs:
        builder.output(name, walk.left(value))
    return Integers(builder.finish(), tuple(walk.losses))


class _Walk(Signals):
    def __init__(
        self,
        graph: Graph,
        builder: ModuleBuilder,
        spec: SpikingSpec,
        calibration: Mapping[str, Array],
        outer: _Walk | None = None,
    ) -> None:
        super().__init__(graph, builder, spec, calibration, outer)
        self.states: dict[int, Value] = {}  # of a body: by the float state's value
        self.initial: dict[int, Array] = {}  # of a body: what they start from
        self.finals: dict[int, Value] = {}
        self._broken: set[int] = set()

    def nodes(self) -> None:
        """Every node, refusals noted."""
        for node in self.graph.nodes:
            if any(v.index in self._broken for v in node.operands):
                self._broken |= {v.index for v in node.results}
                continue
            try:
                self._node(node)
            except RefusedError as reason:
                self.refused.append(f"{node.name} ({node.kind}: {reason})")
                self._broken |= {v.index for v in node.results}

    def _node(self, node: Node) -> None:
        if node.kind in NEURONS:
            self._neuron(node)
        elif node.kind in _LINEAR:
            self._linear(node)
        elif node.kind in _OTHERS:
            _OTHERS[node.kind](self, node)
        elif node.kind.startswith("nn.") and isinstance(self.of(node), Host):
            operands = [
                self.b.weight(f"{node.name}.constant", self.graph.weight(v))
                if self.graph.is_weight(v)
                else self.left(v)
                for v in node.operands
            ]
            made = self.b.op(node.kind, operands, node.attributes, node.name)
            self.values[node.result.index] = Host(made)
        else:
            own = "; write its code in integers" if node.kind == "spike.program" else ""
            raise RefusedError(f"no form in integers{own}")

    def _linear(self, node: Node) -> None:
        signal = self.of(node)
        if isinstance(signal, Current):
            self.values[node.result.index] = self._chained(node, signal)
            return
        spikes = self.spikes(signal)
        given = [self.weight(v) for v in node.operands[1:]]
        place = 3 if node.kind == "spike.sparse" else 1
        bias, lag = None, None
        if node.kind != "spike.sparse" and len(given) > place:
            bias = given[1]
            bias = (
                bias[:, None, None] if node.kind == "spike.conv2d" and bias.ndim == 1 else bias
            )
        elif len(given) > place:
            lag = given[3]
        shapes = (node.operands[0].shape[2:], node.result.shape[2:])
        held = (tuple(given[:place]), node.attributes, node.name, lag)
        term = Term(node.kind, spikes, *held, shapes=shapes)
        self.values[node.result.index] = Current(node.name, (term,), bias)

    def _chained(self, node: Node, before: Current) -> Current:
        """A layer of a layer, without a neuron between them."""
        shape, result = node.operands[0].shape[2:], node.result.shape[2:]
        given = tuple(self.weight(v) for v in node.operands[1:])
        if node.kind == "spike.sparse" or any(t.outside for t in before.terms) or before.late:
            raise RefusedError("it takes a current that a loop or a delay is in")
        own = listed(node.kind, given, node.attributes, shape, result)
        size = int(np.prod(result))
        terms: list[Term] = []
        for t in before.terms:
            found = chained(listed(t.kind, t.operands, t.attributes, *t.shapes), own)
            source, target = (a.astype(np.int32) for a in found[:2])
            held: dict[str, Attribute] = {"size": size, "exponent": 0}
            arrays = (source, target, found.weight)
            flat = (t.shapes[0], (size,))
            terms.append(
                Term("spike.sparse", t.spikes, arrays, held, t.name, t.lag, shapes=flat)
            )
        bias = np.zeros(size)
        if before.bias is not None:
            middle = np.broadcast_to(before.bias, shape).ravel()
            bias += np.bincount(own.target, own.weight * middle[own.source], size)
        if len(given) > 1:
            column = given[1][:, None, None] if len(result) == 3 else given[1]
            bias += np.broadcast_to(column, result).ravel()
        plain = bias if bias.any() else None
        return Current(node.name, tuple(terms), plain, shapes=(result,))

    def _neuron(self, node: Node) -> None:
        current = self.current(node.operands[0])
        rule = leak(node, self.weight)
        gain = rule.gain
        if current.shapes and gain.size > 1:
            gain = np.broadcast_to(gain, node.results[0].shape[2:]).ravel()
            if any(t.kind != "spike.sparse" for t in current.terms):
                gain = alone(gain)
        terms = tuple(scaled(t, gain) for t in current.terms)
        scaling = self.scaling(node, rule, terms)
        steady = rule.drive
        constant: Array | None = None
        if current.bias is not None:
            through = current.bias * gain
            if rule.current_decay is None and not current.late:
                if current.shapes and through.size > 1:
                    frame = current.terms[0].shapes[1]
                    through = np.broadcast_to(through, frame)
                    through = through.reshape(node.results[0].shape[2:])
                steady = steady + through
            else:
                constant = through
        total = self.total(replace(current, terms=terms, bias=constant), scaling, node)
        index = node.operands[1].index
        held = (rule, scaling, np.asarray(steady))
        s, v, final, start = self.neuron(node, total, self.states.get(index), *held)
        self.initial[index] = start
        self.values[node.results[0].index] = Spikes(s)
        if rule.silent:
            self.values[node.results[1].index] = Host(self.real(v, scaling.unit / 64))
        self.finals[node.results[2].index] = final

    def loop(self, node: Node) -> None:
        """A loop over timesteps, whose states become the chip's."""
        (body,) = node.bodies
        carried, scanned = node.int("carried"), node.int("scanned")
        inner = _Walk(body, self.b.body(), self.spec, self.calibration, self)
        for i, (name, value) in enumerate(body.inputs):
            if i < carried and value.dtype == "f32":
                made = inner.b.input(name, (3, *value.shape[1:]), "i64")
                inner.states[value.index] = made
            elif i < carried:
                inner.values[value.index] = Spikes(inner.b.input(name, value.shape, "i8"))
        for (name, value), operand in zip(
            body.inputs[carried : carried + scanned], node.operands[carried:], strict=False
        ):
            inner.values[value.index] = self._sliced(name, operand, inner)
        inner.nodes()
        if self.refused:
            raise RefusedError("its body cannot be done")
        for name, value in body.outputs[:carried]:
            if value.index in inner.finals:
                inner.b.output(name, inner.finals[value.index])
            else:
                inner.b.output(name, inner.left(value))
        for name, value in body.outputs[carried:]:
            inner.b.output(name, inner.left(value))
        firsts = [
            self.b.weight(f"{node.name}.start", inner.initial[value.index])
            if value.index in inner.initial
            else self.b.weight(f"{node.name}.before", self.weight(operand))
            for (_, value), operand in zip(body.inputs[:carried], node.operands, strict=False)
        ]
        held = {**node.attributes, "scanned": len(inner.sequences)}
        results = self.b.ops(
            "nn.scan", [*firsts, *inner.sequences], held, node.name, [inner.b.graph()]
        )
        for value, result in zip(node.results[carried:], results[carried:], strict=True):
            self.values[value.index] = Spikes(result)

    def _sliced(self, name: str, operand: Value, inner: _Walk) -> Signal:
        signal = self.values[operand.index]
        if isinstance(signal, Current):
            return replace(signal, terms=tuple(replace(t, outside=True) for t in signal.terms))
        spikes = self.spikes(signal)
        inner.sequences.append(spikes.value)
        return replace(spikes, value=inner.b.input(name, spikes.value.shape[1:], "i8"))


_OTHERS: Mapping[str, Callable[[_Walk, Node], None]] = {
    "nn.add": _Walk.add,
    "nn.cast": _Walk.same,
    "nn.mul": _Walk.scale,
    "nn.reshape": _Walk.view,
    "nn.scan": _Walk.loop,
    "nn.transpose": _Walk.view,
    "spike.add": _Walk.add,
    "spike.delay": _Walk.delay,
}
