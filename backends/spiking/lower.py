"""From a module with integer spike operators to populations and synapses, not yet on cores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tetrapla.backends.spiking import trains
from tetrapla.backends.spiking.feeding import Feeding
from tetrapla.backends.spiking.grid import on_grid
from tetrapla.backends.spiking.populations import timed
from tetrapla.backends.spiking.trains import NOW, ZERO, Current, macs, sent
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS, fields_of
from tetrapla.ir.spike.membrane import Membrane
from tetrapla.simulators.spiking.program import Population, Program, Synapses
from tetrapla.simulators.spiking.spec import SpikingSpec

_EMPTY = np.zeros(0, np.int8)


def unplaced(module: Module, spec: SpikingSpec) -> Program:
    """The program without cores.

    Raises:
        UnsupportedError: an operator that no core and no host step does, or a path whose
            delay a core cannot hold.
    """
    walk = _Walk(module.graph, spec)
    for name, value in module.graph.inputs:
        walk.enter(name, value)
    for node in module.graph.nodes:
        walk.node(node)
    outputs = tuple((name, walk.on_host(v)) for name, v in module.graph.outputs)
    return Program(
        name=module.name,
        timesteps=walk.timesteps,
        batch=walk.batch,
        inputs=tuple(name for name, _ in module.graph.inputs),
        outputs=outputs,
        populations=timed(tuple(walk.populations.values()), spec.core.delay_max),
        cores=(),
        readouts=tuple(walk.readouts),
        host=tuple(walk.steps),
    )


class _Walk(Feeding):
    """One graph: the module's, or the body of a loop in it, which shares the populations."""

    def __init__(self, graph: Graph, spec: SpikingSpec, outer: _Walk | None = None) -> None:
        super().__init__(graph)
        self._spec = spec
        if outer is not None:
            self.populations = outer.populations
            self.timesteps, self.batch = outer.timesteps, outer.batch
        self._starts: dict[int, Array] = {}

    def node(self, node: Node) -> None:
        """One operator."""
        found = _NODES.get(node.kind)
        operands = [v.index for v in node.operands if not self.graph.is_weight(v)]
        if found is not None and not any(index in self.host for index in operands):
            try:
                found(self, node)
            except KeyError:
                raise UnsupportedError(
                    f"spiking: {node.name} = {node.kind} must take spikes or currents of "
                    "cores, not other numbers; encode them"
                ) from None
        elif node.kind in OPS and issubclass(OPS[node.kind], Membrane):
            self._neuron(node)
        elif node.kind.startswith("nn.") and not node.bodies and operands:
            self.host_step(node)
        else:
            raise UnsupportedError(
                f"spiking: {node.name} = {node.kind} has no place on a core; "
                "convert it to spike operators"
            )

    def synapses(self, node: Node) -> None:
        """From spikes to a current."""
        self.currents[node.result.index] = self._reaching(node)

    def _reaching(self, node: Node) -> Current:
        train, geometry = self.trains[node.operands[0].index], trains.geometry(node)
        kind = node.kind.removeprefix("spike.").replace("max_binary2d", "max_pool2d")
        weight, bias, lags = _EMPTY, None, train.lags()
        given = [self.graph.weight(v) for v in node.operands[1:]]
        if kind in ("matmul", "conv2d"):
            weight, *biases = given
            bias = trains.spread(biases[0], kind, node) if biases else None
        elif kind in ("sum_pool2d", "scale"):
            weight = np.array([node.int("weight")], np.int8)
        elif kind == "sparse":
            source, target, weight, *late = given
            geometry["ends"] = np.stack([source, target]).astype(np.int32)
            extra = late[0] if late else np.zeros(len(weight), np.int32)
            each = np.broadcast_to(train.lag.ravel(), (train.wiring.size,))[source] + extra
            lags = each.astype(np.int32) if each.any() else NOW
        synapses = Synapses(
            kind=kind,
            source=train.population,
            source_shape=node.operands[0].shape[2:],
            wiring=train.in_order(),
            weight=on_grid(weight, node.name, self._spec.core.weight_bits),
            lags=lags,
            **geometry,
        )
        return Current((synapses,), bias, frame=node.result.shape[2:])

    def add(self, node: Node) -> None:
        """Currents that meet."""
        a, b = node.operands
        first = self.currents[a.index]
        if self.graph.is_weight(b):
            whole = np.broadcast_to(self.graph.weight(b), node.result.shape[1:])
            second = Current(bias=whole[0].ravel())
        else:
            second = self.currents[b.index]
        held = [each for each in (first, second) if each.bias is not None]
        if len({each.bias_from for each in held}) > 1:
            raise UnsupportedError(
                f"spiking: {node.name} adds constants that begin at different timesteps, which "
                "no core does; delay both or none"
            )
        self.currents[node.result.index] = Current(
            first.synapses + second.synapses,
            trains.summed([e.bias for e in held if e.bias is not None]),
            first.encoders + second.encoders,
            held[0].bias_from if held else 0,
            first.frame or second.frame,
        )

    def delay(self, node: Node) -> None:
        """Spikes or currents that arrive later."""
        x, steps = node.operands[0], self.graph.weight(node.operands[1])
        if x.index in self.trains:
            train = self.trains[x.index]
            each = (
                steps.reshape(1) if steps.size == 1 else trains.each_neuron(steps, node.result)
            )
            lag = train.lag + (each if each.size == 1 else each.reshape(train.wiring.shape))
            self.trains[node.result.index] = replace(train, lag=lag)
            return
        current = self.currents[x.index]
        if steps.size != 1 or current.encoders:
            raise UnsupportedError(
                f"spiking: {node.name} delays a current by neuron or from an encoder, which no "
                "core does; delay the spikes"
            )
        by = steps.reshape(1).astype(np.int32)
        late = [replace(s, lags=s.lags + by if s.lags.size else by) for s in current.synapses]
        begins = current.bias_from + int(by[0])
        self.currents[node.result.index] = Current(
            tuple(late), current.bias, (), begins, current.frame
        )

    def integrate(self, node: Node) -> None:
        """The chip's own integrate-and-fire neuron."""
        theta = self.graph.weight(node.operands[1])
        self._fire(
            node,
            "integrate_and_fire",
            self.currents[node.operands[0].index],
            threshold=trains.each_neuron(theta, node.result),
            **{key: node.attributes[key] for key in ("initial", "reset", "compare")},
        )

    def maximum(self, node: Node) -> None:
        """Neurons that follow their most active input."""
        model = "maximum" if node.kind == "spike.max_pool2d" else "maximum_binary"
        self._fire(node, model, self._reaching(node))

    def phase(self, node: Node) -> None:
        """Neurons that gather a phase before they fire."""
        current, start, theta = node.operands
        given = {
            "start": trains.each_neuron(self.graph.weight(start), node.result),
            "theta": trains.each_neuron(self.graph.weight(theta), node.result),
        }
        self._fire(
            node,
            node.kind,
            self.currents[current.index],
            parameters=given,
            words={key: node.attributes[key] for key in ("code", "levels")},
            latency=self.timesteps,
        )

    def _neuron(self, node: Node) -> None:
        """A neuron of the dialect, by its own operator."""
        current, start, *given = node.operands
        names = [f.name for f in fields_of(OPS[node.kind]) if type(f).__name__ == "OperandDef"]
        first = self._starts.get(start.index)
        held = self.graph.weight(start) if first is None else first
        states = (node.results[2].shape[0], *node.results[0].shape[1:])
        named = {
            name: trains.each_neuron(self.graph.weight(v), node.results[0])
            for name, v in zip(names[2:], given, strict=False)
        }
        whole = np.broadcast_to(held, states).reshape(states[0], states[1], -1)[:, 0]
        self._fire(
            node,
            node.kind,
            self.currents[current.index],
            parameters={"start": np.ascontiguousarray(whole), **named},
            words=dict(node.attributes),
        )
        self.voltages[node.results[1].index] = node.name

    def _fire(self, node: Node, model: str, current: Current, **more: Any) -> None:
        shape = node.results[0].shape[2:]
        frame = current.frame or shape  # a current may be reshaped before its neurons
        self._populate(node.name, model, frame, current, node, **more)
        train = sent(node.name, frame)
        wiring = train.wiring.reshape(shape)
        self.trains[node.results[0].index] = replace(train, wiring=wiring)

    def _populate(
        self,
        name: str,
        model: str,
        shape: tuple[int, ...],
        current: Current,
        node: Node,
        **more: Any,
    ) -> None:
        synapses = current.synapses
        width = node.attributes.get("state_bits", self._spec.core.state_bits)
        more.setdefault("threshold", ZERO)
        self.populations[name] = Population(
            name=name,
            op=f"spike.{synapses[0].kind}" if synapses else "spike.encode",
            model=model,
            shape=shape,
            depth=0,
            synapses=synapses,
            bias=ZERO if current.bias is None else current.bias,
            state_bits=width if isinstance(width, int) else self._spec.core.state_bits,
            encoders=current.encoders,
            macs=sum(macs(s, shape) for s in synapses),
            bias_from=current.bias_from,
            **more,
        )

    def decode(self, node: Node) -> None:
        """A count of spikes, or a membrane that gathers."""
        index = node.operands[0].index
        if index in self.trains:
            self.decoded(node, "count")
        else:
            shape = node.operands[0].shape[2:]
            self._populate(node.name, "readout", shape, self.currents[index], node)
            self.gathered(node)

    def decode_phase(self, node: Node) -> None:
        """What a phase said."""
        index = node.operands[0].index
        if index in self.trains:
            self.decoded(node, "level")
            return
        shape = node.operands[0].shape[2:]
        given = node.operands[1:]
        start = self.graph.weight(given[0]) if given else np.zeros(1, np.int32)
        self._populate(
            node.name,
            "spike.phase",
            shape,
            self.currents[index],
            node,
            parameters={"start": trains.each_neuron(start, node.operands[0])},
            words={"code": node.str("code"), "levels": 0},
        )
        self.gathered(node)

    def view(self, node: Node) -> None:
        """Another order of the same neurons, or of an input's axes."""
        x = node.operands[0]
        perm = node.ints("perm") if node.kind == "nn.transpose" else ()
        if x.index in self.inputs and perm[:2] == (1, 0):
            self.inputs[node.result.index] = (self.inputs[x.index][0], "batch_first")
        elif x.index in self.inputs and node.kind == "nn.reshape":
            self.inputs[node.result.index] = self.inputs[x.index]
        elif x.index in self.currents:
            self.currents[node.result.index] = self.currents[x.index]
        elif x.index not in self.trains or perm[:2] == (1, 0):
            self.host_step(node)
        elif node.kind == "nn.reshape":
            dropped = node.result.shape == x.shape[1:]  # of a loop: its one timestep
            frame = node.result.shape[1 if dropped else 2 :]
            self._rewire(node, lambda a: a.reshape(frame))
        elif node.kind == "nn.slice":
            self._rewire(node, lambda a: a[trains.cut(node)])
        elif perm[:2] == (0, 1):
            self._rewire(node, lambda a: a.transpose([axis - 2 for axis in perm[2:]]))
        else:
            raise UnsupportedError(f"spiking: {node.name} moves the time or batch axis")

    def _rewire(self, node: Node, moved: Callable[[Array], Array]) -> None:
        train = self.trains[node.operands[0].index]
        lag = train.lag if train.lag.size == 1 else moved(train.lag)
        self.trains[node.result.index] = replace(train, wiring=moved(train.wiring), lag=lag)

    def loop(self, node: Node) -> None:
        """A loop over timesteps: its late spikes are those of the timestep before."""
        (body,) = node.bodies
        inner = _Walk(body, self._spec, self)
        carried, scanned = node.int("carried"), node.int("scanned")
        made = {v.index: each for each in body.nodes for v in each.results}
        for i, ((_, value), operand) in enumerate(zip(body.inputs, node.operands, strict=True)):
            if carried <= i < carried + scanned:
                self._pass(operand, value, inner)
            elif i < carried and value.dtype == "i8":
                self._late(value, body.outputs[i][1], made, inner)
            else:
                inner._starts[value.index] = self.graph.weight(operand)
        for each in body.nodes:
            inner.node(each)
        for (_, value), result in zip(
            body.outputs[carried:], node.results[carried:], strict=True
        ):
            if value.index in inner.trains:
                self.trains[result.index] = inner.trains[value.index]
            else:
                self.voltages[result.index] = inner.voltages[value.index]

    def _pass(self, operand: Value, value: Value, inner: _Walk) -> None:
        if operand.index in self.currents:
            inner.currents[value.index] = self.currents[operand.index]
        else:
            inner.trains[value.index] = self.trains[operand.index]

    def _late(
        self, value: Value, carried: Value, made: Mapping[int, Node], inner: _Walk
    ) -> None:
        """Spikes of a neuron of the loop, a timestep later; the neuron is not made yet."""
        node = made[carried.index]
        while node.kind == "nn.reshape":
            node = made[node.operands[0].index]
        train = sent(node.name, node.results[0].shape[2:])
        late = replace(train, lag=np.ones(1, np.int32))
        inner.trains[value.index] = replace(late, wiring=late.wiring.reshape(value.shape[1:]))


_NODES: Mapping[str, Callable[[_Walk, Node], None]] = {
    "nn.reshape": _Walk.view,
    "nn.scan": _Walk.loop,
    "nn.slice": _Walk.view,
    "nn.transpose": _Walk.view,
    "qnn.quantize": _Walk.quantize,
    "spike.add": _Walk.add,
    "spike.conv2d": _Walk.synapses,
    "spike.decode": _Walk.decode,
    "spike.decode_phase": _Walk.decode_phase,
    "spike.delay": _Walk.delay,
    "spike.encode": _Walk.encode,
    "spike.encode_phase": _Walk.encode_phase,
    "spike.matmul": _Walk.synapses,
    "spike.max_binary2d": _Walk.maximum,
    "spike.max_pool2d": _Walk.maximum,
    "spike.neuron": _Walk.integrate,
    "spike.phase": _Walk.phase,
    "spike.scale": _Walk.synapses,
    "spike.sparse": _Walk.synapses,
    "spike.sum_pool2d": _Walk.synapses,
}
