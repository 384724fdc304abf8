"""From a module with spike operators to populations and synapses, not yet on cores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.simulators.spiking.program import (
    Encoder,
    HostStep,
    Population,
    Program,
    Readout,
    Synapses,
)
from tetrapla.simulators.spiking.spec import SpikingSpec

_EMPTY = np.zeros(0, np.int8)


@dataclass(frozen=True)
class _Train:
    """Spikes of `population`: neuron numbers in the order of the value's elements."""

    population: str
    wiring: Array

    def in_order(self, neurons: int) -> Array | None:
        """The wiring, or None where it is the identity."""
        flat = self.wiring.ravel()
        same = flat.size == neurons and bool(np.all(flat == np.arange(neurons)))
        return None if same else flat


@dataclass(frozen=True)
class _Current:
    synapses: tuple[Synapses, ...] = ()
    bias: Array | None = None
    encoders: tuple[Encoder, ...] = ()


def unplaced(module: Module, spec: SpikingSpec) -> Program:
    """The program without cores.

    Raises:
        UnsupportedError: an operator that no core and no host step does, or a path whose
            delay a core cannot hold.
    """
    return _Lowering(module, spec).program()


class _Lowering:
    def __init__(self, module: Module, spec: SpikingSpec) -> None:
        self._module = module
        self._graph: Graph = module.graph
        self._spec = spec
        self._populations: dict[str, Population] = {}
        self._trains: dict[int, _Train] = {}
        self._currents: dict[int, _Current] = {}
        self._host: dict[int, str] = {}
        self._readouts: list[Readout] = []
        self._steps: list[HostStep] = []
        self._timesteps = 1
        self._batch = 1

    def program(self) -> Program:
        """Walk the graph."""
        for _, value in self._graph.inputs:
            self._batch = value.shape[0]
        for node in self._graph.nodes:
            self._node(node)
        return Program(
            name=self._module.name,
            timesteps=self._timesteps,
            batch=self._batch,
            inputs=tuple(name for name, _ in self._graph.inputs),
            outputs=tuple((name, self._host[v.index]) for name, v in self._graph.outputs),
            populations=tuple(self._populations.values()),
            cores=(),
            readouts=tuple(self._readouts),
            host=tuple(self._steps),
        )

    def _node(self, node: Node) -> None:
        result = node.result.index
        match node.kind:
            case "spike.encode":
                self._currents[result] = self._encode(node)
            case "spike.matmul" | "spike.conv2d" | "spike.sum_pool2d" | "spike.scale":
                self._currents[result] = self._synapses(node)
            case "spike.add":
                self._currents[result] = self._add(node)
            case "spike.neuron":
                self._fire(node, "integrate_and_fire", self._currents[node.operands[0].index])
            case "spike.max_pool2d":
                self._fire(node, "maximum", self._synapses(node))
            case "spike.decode":
                self._decode(node)
            case _ if node.operands[0].index in self._host:
                operand = self._host[node.operands[0].index]
                self._steps.append(HostStep(node.kind, node.name, operand, node.attributes))
                self._host[result] = node.name
            case "nn.reshape" | "nn.transpose":
                self._trains[result] = self._rewire(node)
            case _:
                raise UnsupportedError(
                    f"spiking: {node.name} = {node.kind} has no place on a core; "
                    "convert it to spike operators"
                )

    def _encode(self, node: Node) -> _Current:
        names = {value.index: name for name, value in self._graph.inputs}
        self._timesteps = node.int("timesteps")
        encoder = Encoder(names[node.operands[0].index], node.float("scale"), node.int("high"))
        return _Current(encoders=(encoder,))

    def _synapses(self, node: Node) -> _Current:
        train = self._trains[node.operands[0].index]
        source = self._populations[train.population]
        shape: tuple[int, ...] = node.operands[0].shape
        kind = node.kind.removeprefix("spike.")
        geometry: dict[str, Any] = {
            key: node.ints(key)
            for key in ("kernel", "strides", "pads", "dilations")
            if key in node.attributes
        }
        weight, bias = _EMPTY, None
        if kind in ("matmul", "conv2d"):
            weight = self._graph.weight(node.operands[1])
        elif kind in ("sum_pool2d", "scale"):
            weight = np.array([node.int("weight")], np.int8)
        if len(node.operands) > 2:
            held = self._graph.weight(node.operands[2])
            column = held[:, None, None] if kind == "conv2d" and held.ndim == 1 else held
            bias = np.broadcast_to(column, node.result.shape[2:]).ravel()
        synapses = Synapses(
            kind=kind,
            source=train.population,
            source_shape=shape[2:],
            wiring=train.in_order(source.neurons),
            weight=weight,
            exponent=node.int("exponent") if "exponent" in node.attributes else 0,
            groups=node.int("groups") if "groups" in node.attributes else 1,
            **geometry,
        )
        return _Current((synapses,), bias)

    def _add(self, node: Node) -> _Current:
        a, b = node.operands
        first = self._currents[a.index]
        if self._graph.is_weight(b):
            whole = np.broadcast_to(self._graph.weight(b), node.result.shape[1:])
            second = _Current(bias=whole[0].ravel())
        else:
            second = self._currents[b.index]
        biases = [bias for bias in (first.bias, second.bias) if bias is not None]
        return _Current(
            first.synapses + second.synapses,
            np.asarray(np.sum(biases, axis=0, dtype=np.int32)) if biases else None,
            first.encoders + second.encoders,
        )

    def _fire(self, node: Node, model: str, current: _Current) -> None:
        shape = node.result.shape[2:]
        theta = np.zeros(1, np.int32)
        if model == "integrate_and_fire":
            theta = self._graph.weight(node.operands[1])
            if theta.size > 1:
                theta = np.broadcast_to(theta, node.result.shape[1:])[0].ravel()
            theta = theta.reshape(-1)
        self._populate(node.name, model, shape, current, theta, node)
        ids = np.arange(prod(shape)).reshape(shape)
        self._trains[node.result.index] = _Train(node.name, ids)

    def _populate(
        self,
        name: str,
        model: str,
        shape: tuple[int, ...],
        current: _Current,
        theta: Array,
        node: Node,
    ) -> None:
        synapses, depth = self._delayed(name, current)
        words = {
            k: node.str(k) for k in ("initial", "reset", "compare") if k in node.attributes
        }
        width = node.attributes.get("state_bits", self._spec.core.state_bits)
        assert isinstance(width, int)
        self._populations[name] = Population(
            name=name,
            op=f"spike.{synapses[0].kind}" if synapses else "spike.encode",
            model=model,
            shape=shape,
            depth=depth,
            synapses=synapses,
            bias=np.zeros(1, np.int32) if current.bias is None else current.bias,
            threshold=theta,
            state_bits=width,
            encoders=current.encoders,
            macs=sum(_macs(s, shape) for s in synapses),
            **words,
        )

    def _delayed(self, name: str, current: _Current) -> tuple[tuple[Synapses, ...], int]:
        """The synapses with the delays that let all paths arrive together, and when."""
        depths = [self._populations[s.source].depth for s in current.synapses]
        depth = max(depths, default=-1) + 1
        synapses = tuple(
            replace(s, delay=depth - 1 - d)
            for s, d in zip(current.synapses, depths, strict=True)
        )
        longest = max((s.delay for s in synapses), default=0)
        most = self._spec.core.delay_max
        if longest > most:
            raise UnsupportedError(
                f"layer {name}: a skip connection must wait at most {most} timesteps, not "
                f"{longest}; shorten the path beside it"
            )
        return synapses, depth

    def _decode(self, node: Node) -> None:
        operand = node.operands[0]
        counts = operand.index in self._trains
        if counts:
            train = self._trains[operand.index]
            population = train.population
            wiring = train.in_order(self._populations[population].neurons)
        else:
            population, wiring = node.name, None
            current = self._currents[operand.index]
            none = np.zeros(1, np.int32)
            self._populate(population, "readout", operand.shape[2:], current, none, node)
        self._readouts.append(
            Readout(
                node.name, population, wiring, node.result.shape, node.float("scale"), counts
            )
        )
        self._host[node.result.index] = node.name

    def _rewire(self, node: Node) -> _Train:
        train = self._trains[node.operands[0].index]
        if node.kind == "nn.reshape":
            return replace(train, wiring=train.wiring.reshape(_frame(node.result)))
        perm = node.ints("perm")
        if perm[:2] != (0, 1):
            raise UnsupportedError(f"spiking: {node.name} moves the time or batch axis")
        return replace(train, wiring=train.wiring.transpose([axis - 2 for axis in perm[2:]]))


def _frame(value: Value) -> tuple[int, ...]:
    return value.shape[2:]


def _macs(synapses: Synapses, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of the layer that the synapses stand for."""
    match synapses.kind:
        case "matmul":
            return prod(shape) * int(synapses.weight.shape[0])
        case "conv2d":
            return prod(shape) * prod(synapses.weight.shape[1:])
        case _:
            return 0
