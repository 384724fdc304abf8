"""What each value of a network of ReLUs has become, and how one form becomes another."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np

from tetrapla.backends.spiking.emit import Current, Rate, Term, Train
from tetrapla.backends.spiking.joined import Joined, Part, whole
from tetrapla.backends.spiking.phases import emitter
from tetrapla.backends.spiking.ranges import Magnitude, Magnitudes
from tetrapla.backends.spiking.terms import RefusedError
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Attribute, Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.simulators.spiking.spec import SpikingSpec


@dataclass(frozen=True)
class Host:
    """A value that has left the chip."""

    value: Value


Spiking: TypeAlias = Rate | Current | Host | Joined


class Values:
    """The values of one graph.

    Attributes:
        graph: the network of ReLUs.
        builder, emit: write the new one.
        values: by index; `host` are operators that the host does, `full` what the largest
            level of each layer of neurons stands for.
        rows: nodes behind currents that are one row of a product, by the current's name.
    """

    def __init__(
        self,
        module: Module,
        magnitudes: Magnitudes,
        spec: SpikingSpec,
        timesteps: int,
        code: str,
    ) -> None:
        self.graph: Graph = module.graph
        self.builder = ModuleBuilder(module.name)
        self.emit = emitter(code)(self.builder, spec.core, timesteps)
        self.values: dict[int, Spiking] = {}
        self.host: list[str] = []
        self.full: dict[str, float] = {}
        self.rows: dict[str, str] = {}
        self._magnitudes = magnitudes
        self._rates: dict[str, Rate] = {}

    def of(self, node: Node, place: int = 0) -> Spiking:
        """What an operand has become."""
        operand = node.operands[place]
        if operand.index not in self.values:
            raise RefusedError("its operand is a constant")
        return self.values[operand.index]

    def magnitude(self, name: str) -> Magnitude:
        """How large a node's result gets, or that of which a current is a row."""
        return self._magnitudes.nodes[self.rows.get(name, name)]

    def input_magnitude(self, name: str) -> Magnitude:
        """How large an input gets."""
        return self._magnitudes.inputs[name]

    def joined(self, operand: Value) -> Joined:
        """An operand by its elements."""
        value = self.values[operand.index]
        if isinstance(value, Host):
            raise RefusedError("it comes after the readout")
        return value if isinstance(value, Joined) else whole(value, operand.shape)

    def spikes(self, x: Joined) -> Joined:
        """The same elements, all of them as spikes."""
        return Joined(tuple(self.rate(part) for part in x.parts), x.shapes, x.at)

    def rate(self, value: Spiking) -> Rate:
        """The value as spikes; a current gets neurons for each sign, once."""
        if isinstance(value, Rate):
            return value
        current = _current(value)
        key = f"{current.name} {current.views}"
        if key not in self._rates:
            full = self.magnitude(current.name).full
            trains = (
                Train(self.emit.neurons(current, full)),
                Train(self.emit.neurons(current.negated(), full, ".negative"), -1),
            )
            self._rates[key] = Rate(trains, full)
        return self._rates[key]

    def current(self, value: Spiking, name: str) -> Current:
        """The value as a current."""
        return identity(value, name) if isinstance(value, Rate) else _current(value)

    def relu(self, value: Spiking, name: str) -> Spiking:
        """The positive part of a value."""
        if isinstance(value, Joined):
            parts = tuple(self._positive(part, name) for part in value.parts)
            return Joined(parts, value.shapes, value.at)
        if isinstance(value, Host):
            raise RefusedError("it comes after the readout")
        return self._positive(value, name)

    def fired(self, current: Current, name: str) -> Rate:
        """Neurons on a current, whose largest activations are those of node `name`."""
        full = self.magnitude(name).positive
        self.full[current.name] = full
        return Rate((Train(self.emit.neurons(current, full)),), full)

    def on_host(self, node: Node, value: Value) -> Host:
        """An operator that the host does."""
        self.host.append(f"{node.kind} ({node.name})")
        return Host(self.builder.op(node.kind, [value], node.attributes, name=node.name))

    def leave(self, value: Spiking, name: str) -> Host:
        """The value read by the host."""
        if isinstance(value, Host):
            return value
        if isinstance(value, Joined):
            return self._leave_joined(value, name)
        if isinstance(value, Rate) and not value.signed:
            (train,) = value.trains
            scale = value.full / self.emit.levels
            return Host(self.emit.decode(train.value, scale, f"{name}.count"))
        current = value if isinstance(value, Current) else identity(value, name)
        fallback = sum(term.full for term in current.terms)
        known = self._magnitudes.nodes.get(self.rows.get(current.name, current.name))
        largest = fallback if known is None else known.largest
        return Host(self.emit.readout(current, largest))

    def _positive(self, part: Part, name: str) -> Rate:
        if isinstance(part, Rate) and not part.signed:
            return part
        return self.fired(self.current(part, name), name)

    def _leave_joined(self, x: Joined, name: str) -> Host:
        read = [
            self._shaped(self.leave(part, f"{name}.{i}").value, (1, prod(shape)))
            for i, (part, shape) in enumerate(zip(x.parts, x.shapes, strict=True))
        ]
        made = read[0]
        for each in read[1:]:
            made = self.builder.op("nn.concat", [made, each], {"axis": 1}, f"{name}.parts")
        if not x.in_order:
            chosen = self.builder.weight(f"{name}.elements", x.at.ravel().astype(np.int64))
            made = self.builder.op("nn.gather", [made, chosen], {"axis": 1}, f"{name}.chosen")
        return Host(self._shaped(made, x.at.shape))

    def _shaped(self, x: Value, shape: tuple[int, ...]) -> Value:
        held: dict[str, Attribute] = {"shape": shape}
        return x if x.shape == shape else self.builder.op("nn.reshape", [x], held)


def identity(rate: Rate, name: str) -> Current:
    """A current that is what spikes say."""
    one = np.ones(1)
    return Current(name, tuple(Term("scale", t, rate.full, one) for t in rate.trains), None)


def _current(value: Spiking) -> Current:
    if isinstance(value, Host):
        raise RefusedError("it comes after the readout")
    if not isinstance(value, Current):
        raise RefusedError("it reads what was cut or joined")
    return value
