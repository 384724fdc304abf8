"""Signals of a float network on their way to integers, and what moves or scales them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tetrapla.backends.spiking.layers import Layers
from tetrapla.backends.spiking.terms import (
    Current,
    Host,
    Input,
    RefusedError,
    Signal,
    Spikes,
    Term,
    only_frames,
    scaled,
)
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Attribute, Graph, Node, Value
from tetrapla.simulators.spiking.spec import SpikingSpec


class Signals(Layers):
    """The values of one graph, and the operators without neurons or weights.

    Attributes:
        graph: in floats.
        calibration: inputs by name.
        values: what each value has become, by index.
        refused: nodes without a form in integers, and why.
    """

    def __init__(
        self,
        graph: Graph,
        builder: ModuleBuilder,
        spec: SpikingSpec,
        calibration: Mapping[str, Array],
        outer: Signals | None = None,
    ) -> None:
        super().__init__(builder, spec, outer)
        self.graph, self.calibration = graph, calibration
        self.values: dict[int, Signal] = {}
        self.refused: list[str] = [] if outer is None else outer.refused

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

    def of(self, node: Node, place: int = 0) -> Signal:
        """An operand's signal."""
        operand = node.operands[place]
        if operand.index not in self.values:
            raise RefusedError("its operand is a constant")
        return self.values[operand.index]

    def weight(self, value: Value) -> Array:
        """A constant operand."""
        if not self.graph.is_weight(value):
            raise RefusedError("an operand is computed that a core must hold")
        return self.graph.weight(value)

    def spikes(self, signal: Signal) -> Spikes:
        """A signal that must be spikes."""
        if isinstance(signal, Input):
            return self.fed(signal, self.calibration.get(signal.name))
        if not isinstance(signal, Spikes):
            raise RefusedError("it takes a current, where a chip has neurons only")
        return signal

    def add(self, node: Node) -> None:
        """Currents that meet."""
        parts = [self.current(v) for v in node.operands if not self.graph.is_weight(v)]
        if len(parts) != 2 or any(p.shapes for p in parts):
            raise RefusedError("it adds a constant, or what was reshaped before")
        a, b = parts
        held = [p for p in parts if p.bias is not None]
        if len({p.late for p in held}) > 1:
            raise RefusedError("it adds constants that begin at different timesteps")
        bias = a.bias if b.bias is None else b.bias if a.bias is None else a.bias + b.bias
        late = held[0].late if held else 0
        self.values[node.result.index] = Current(node.name, (*a.terms, *b.terms), bias, late)

    def current(self, value: Value) -> Current:
        """A value as a current."""
        signal = self.values[value.index]
        if isinstance(signal, Current):
            return signal
        spikes = self.spikes(signal)
        name = f"{value.index}"
        return Current(name, (self.each(spikes, value.shape[2:], np.ones(1), name),))

    def each(self, spikes: Spikes, shape: tuple[int, ...], factor: Array, name: str) -> Term:
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
        """A gain."""
        factor = self.weight(node.operands[1]).astype(np.float64)
        signal = self.of(node)
        if isinstance(signal, Current):
            if signal.shapes:
                raise RefusedError("it scales what was reshaped before")
            terms = tuple(scaled(t, factor) for t in signal.terms)
            bias = None if signal.bias is None else signal.bias * factor
            self.values[node.result.index] = replace(signal, terms=terms, bias=bias)
            return
        spikes = self.spikes(signal)
        if factor.size == 1:
            larger = replace(spikes, unit=spikes.unit * float(factor.item()))
            self.values[node.result.index] = larger
            return
        term = self.each(spikes, node.result.shape[2:], factor, node.name)
        self.values[node.result.index] = Current(node.name, (term,))

    def delay(self, node: Node) -> None:
        """Spikes or currents that arrive later."""
        signal, steps = self.of(node), self.weight(node.operands[1])
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
        spikes = self.spikes(signal)
        held = self.b.weight(f"{node.name}.steps", steps)
        made = self.b.op("spike.delay", [spikes.value, held], {}, node.name)
        self.values[node.result.index] = replace(spikes, value=made)

    def same(self, node: Node) -> None:
        """The same signal under another name."""
        signal = self.of(node)
        if isinstance(signal, Host):
            made = self.b.op(node.kind, [signal.value], node.attributes, node.name)
            signal = Host(made)
        self.values[node.result.index] = signal

    def view(self, node: Node) -> None:
        """Another order of axes."""
        signal = self.of(node)
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
