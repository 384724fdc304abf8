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
from tetrapla.backends.spiking.layers import Layers
from tetrapla.backends.spiking.leak import NEURONS, leak, voltages
from tetrapla.backends.spiking.terms import (
    Current,
    Host,
    Input,
    RefusedError,
    Signal,
    Spikes,
    Term,
    alone,
    only_frames,
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


class _Walk(Layers):
    def __init__(
        self,
        graph: Graph,
        builder: ModuleBuilder,
        spec: SpikingSpec,
        calibration: Mapping[str, Array],
        outer: _Walk | None = None,
    ) -> None:
        super().__init__(builder, spec, outer)
        self.graph, self.calibration = graph, calibration
        self.values: dict[int, Signal] = {}
        self.refused: list[str] = [] if outer is None else outer.refused
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

    def left(self, value: Value) -> Value:
        """What an output is, in its own type."""
        signal = self.values[value.index]
        if isinstance(signal, Host):
            return signal.value
        if not isinstance(signal, Spikes):
            raise UnsupportedError(
                "spiking: an output must be spikes or voltages of neurons, not a current; end "
                "the network with neurons"
            )
        if value.dtype == "i8":
            return signal.value
        return self.real(signal.value, signal.unit)

    def _node(self, node: Node) -> None:
        if node.kind in NEURONS:
            self._neuron(node)
        elif node.kind in _LINEAR:
            self._linear(node)
        elif node.kind in _OTHERS:
            _OTHERS[node.kind](self, node)
        elif node.kind.startswith("nn.") and isinstance(self._of(node), Host):
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

    def _of(self, node: Node, place: int = 0) -> Signal:
        operand = node.operands[place]
        if operand.index not in self.values:
            raise RefusedError("its operand is a constant")
        return self.values[operand.index]

    def weight(self, value: Value) -> Array:
        if not self.graph.is_weight(value):
            raise RefusedError("an operand is computed that a core must hold")
        return self.graph.weight(value)

    def _spikes(self, signal: Signal) -> Spikes:
        if isinstance(signal, Input):
            return self.fed(signal, self.calibration.get(signal.name))
        if not isinstance(signal, Spikes):
            raise RefusedError("it takes a current, where a chip has neurons only")
        return signal

    def _linear(self, node: Node) -> None:
        signal = self._of(node)
        if isinstance(signal, Current):
            self.values[node.result.index] = self._chained(node, signal)
            return
        spikes = self._spikes(signal)
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

    def add(self, node: Node) -> None:
        parts = [self._current(v) for v in node.operands if not self.graph.is_weight(v)]
        if len(parts) != 2 or any(p.shapes for p in parts):
            raise RefusedError("it adds a constant, or what was reshaped before")
        a, b = parts
        held = [p for p in parts if p.bias is not None]
        if len({p.late for p in held}) > 1:
            raise RefusedError("it adds constants that begin at different timesteps")
        bias = a.bias if b.bias is None else b.bias if a.bias is None else a.bias + b.bias
        late = held[0].late if held else 0
        self.values[node.result.index] = Current(node.name, (*a.terms, *b.terms), bias, late)

    def _current(self, value: Value) -> Current:
        signal = self.values[value.index]
        if isinstance(signal, Current):
            return signal
        spikes = self._spikes(signal)
        name = f"{value.index}"
        return Current(name, (self._each(spikes, value.shape[2:], np.ones(1), name),))

    def _each(self, spikes: Spikes, shape: tuple[int, ...], factor: Array, name: str) -> Term:
        """One synapse for each neuron."""
        size = int(np.prod(shape))
        if len(shape) != 1:
            raise RefusedError("spikes without weights reach neurons of more than one axis")
        each = np.broadcast_to(factor, shape).astype(np.float32).ravel()
        order = np.arange(size, dtype=np.int32)
        held: dict[str, Attribute] = {"size": size, "exponent": 0}
        flat = (shape, shape)
        return Term("spike.sparse", spikes, (order, order, each), held, name, shapes=flat)

    def scale(self, node: Node) -> None:
        factor = self.weight(node.operands[1]).astype(np.float64)
        signal = self._of(node)
        if isinstance(signal, Current):
            if signal.shapes:
                raise RefusedError("it scales what was reshaped before")
            terms = tuple(scaled(t, factor) for t in signal.terms)
            bias = None if signal.bias is None else signal.bias * factor
            self.values[node.result.index] = replace(signal, terms=terms, bias=bias)
            return
        spikes = self._spikes(signal)
        if factor.size == 1:
            larger = replace(spikes, unit=spikes.unit * float(factor.item()))
            self.values[node.result.index] = larger
            return
        term = self._each(spikes, node.result.shape[2:], factor, node.name)
        self.values[node.result.index] = Current(node.name, (term,))

    def delay(self, node: Node) -> None:
        signal, steps = self._of(node), self.weight(node.operands[1])
        if isinstance(signal, Current):
            if steps.size != 1:
                raise RefusedError("it delays a current by neuron")
            by = int(steps.item())
            terms = tuple(
                replace(t, lag=np.array([by], np.int32) + (0 if t.lag is None else t.lag))
                for t in signal.terms
            )
            self.values[node.result.index] = replace(signal, terms=terms, late=signal.late + by)
            return
        spikes = self._spikes(signal)
        held = self.b.weight(f"{node.name}.steps", steps)
        made = self.b.op("spike.delay", [spikes.value, held], {}, node.name)
        self.values[node.result.index] = replace(spikes, value=made)

    def same(self, node: Node) -> None:
        signal = self._of(node)
        if isinstance(signal, Host):
            made = self.b.op(node.kind, [signal.value], node.attributes, node.name)
            signal = Host(made)
        self.values[node.result.index] = signal

    def view(self, node: Node) -> None:
        signal = self._of(node)
        if isinstance(signal, Current):
            if node.kind != "nn.reshape":
                raise RefusedError("it takes a current, not spikes or voltages of neurons")
            if not only_frames(node):
                shape = node.result.shape[-len(node.result.shape) + 2 :]
                signal = replace(signal, shapes=(*signal.shapes, shape))
            self.values[node.result.index] = signal
            return
        perm = node.ints("perm") if node.kind == "nn.transpose" else ()
        if isinstance(signal, Input):
            made = self.b.op(node.kind, [signal.value], node.attributes, node.name)
            self.values[node.result.index] = replace(signal, value=made)
        elif isinstance(signal, Host) or perm[:2] == (1, 0):
            made = self.b.op(
                node.kind, [self.left(node.operands[0])], node.attributes, node.name
            )
            self.values[node.result.index] = Host(made)
        else:
            made = self.b.op(node.kind, [signal.value], node.attributes, node.name)
            self.values[node.result.index] = replace(signal, value=made)

    def _neuron(self, node: Node) -> None:
        current = self._current(node.operands[0])
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
        spikes = self._spikes(signal)
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
