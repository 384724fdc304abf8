"""What a value of the module is on the chip: spikes of a population, or a current to be."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Node, Value
from tetrapla.simulators.spiking.program import Encoder, Synapses

NOW = np.zeros(0, np.int32)
ZERO = np.zeros(1, np.int32)


@dataclass(frozen=True)
class Train:
    """Spikes of `population`: neuron numbers in the order of the value's elements.

    `lag` has the timesteps that each element is late, or one number for all.
    """

    population: str
    wiring: Array
    lag: Array
    neurons: int

    def in_order(self) -> Array | None:
        """The wiring, or None where it is the identity."""
        flat = self.wiring.ravel()
        same = flat.size == self.neurons and bool(np.all(flat == np.arange(self.neurons)))
        return None if same else flat

    def lags(self) -> Array:
        """By neuron of the population, as `Synapses` has them."""
        if self.lag.size == 1:
            return self.lag.reshape(1).astype(np.int32) if self.lag.any() else NOW
        by_neuron = np.zeros(self.neurons, np.int32)
        by_neuron[self.wiring.ravel()] = self.lag.ravel()
        return by_neuron


@dataclass(frozen=True)
class Current:
    """What reaches neurons: synapses, and a constant that begins at `bias_from`.

    `frame` is the shape that the synapses end on; none for encoders alone.
    """

    synapses: tuple[Synapses, ...] = ()
    bias: Array | None = None
    encoders: tuple[Encoder, ...] = ()
    bias_from: int = 0
    frame: tuple[int, ...] = ()


def sent(population: str, shape: tuple[int, ...]) -> Train:
    """The spikes of a whole population, in order and in time."""
    return Train(population, np.arange(prod(shape)).reshape(shape), ZERO, prod(shape))


def geometry(node: Node) -> dict[str, Any]:
    """What an operator says of its synapses, in the words of `Synapses`."""
    listed = ("kernel", "strides", "pads", "dilations", "groups", "exponent")
    return {key: node.attributes[key] for key in listed if key in node.attributes}


def cut(node: Node) -> tuple[Array, ...]:
    """Which elements of a frame a slice takes, as an index; time and batch stay whole."""
    places = zip(node.ints("starts"), node.ints("sizes"), node.ints("steps"), strict=True)
    whole = [first + step * np.arange(size) for first, size, step in places]
    return np.ix_(*whole[2:])


def spread(bias: Array, kind: str, node: Node) -> Array:
    """A bias for every neuron that an operator's synapses end on."""
    column = bias[:, None, None] if kind == "conv2d" and bias.ndim == 1 else bias
    each: Array = np.broadcast_to(column, node.result.shape[2:]).ravel()
    return each


def each_neuron(array: Array, like: Value) -> Array:
    """A parameter of every neuron of a value [T, batch, ...], or one for all."""
    if array.size == 1:
        return array.reshape(1)
    if array.ndim == len(like.shape) - 1 and array.shape[0] > 1:
        raise UnsupportedError(
            "spiking: a parameter of neurons must not differ by inference; give one for all"
        )
    each: Array = np.broadcast_to(array, like.shape[1:])[0].ravel()
    return each


def summed(biases: list[Array]) -> Array | None:
    """The constants that meet in neurons; None where there is none."""
    return np.asarray(np.sum(biases, axis=0, dtype=np.int32)) if biases else None


def macs(synapses: Synapses, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of the layer that the synapses stand for."""
    match synapses.kind:
        case "matmul":
            return prod(shape) * int(synapses.weight.shape[0])
        case "conv2d":
            return prod(shape) * prod(synapses.weight.shape[1:])
        case _:
            return 0
