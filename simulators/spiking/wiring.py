"""Which neuron hears which: synapse lists, computed from a layer's geometry.

`connections` lists the synapses of chosen target neurons. Compiler and machine both use it
to know what a core must hold; the reference interpreter does not.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.program import Synapses


class Connections(NamedTuple):
    """Synapses as arrays of equal length.

    `target` counts within the chosen neurons, `source` is the source's neuron number, `lag`
    counts timesteps. Weights are int32, or float32 as in the program.
    """

    target: Array
    source: Array
    weight: Array
    lag: Array

    def chosen(self, held: Array) -> Connections:
        """Those that a boolean array picks."""
        return Connections(*(each[held] for each in self))


class Sorted(NamedTuple):
    """Those of source s are ``start[s] : start[s + 1]``; `start` is i64 [sources + 1]."""

    start: Array
    target: Array
    weight: Array


def connections(synapses: Synapses, shape: tuple[int, ...], neurons: Array) -> Connections:
    """The synapses that end on `neurons` of a population of `shape`.

    Target by target, but for those of a list, which keep its order.
    """
    place: Array
    weight: Array
    if synapses.kind == "sparse":
        return _listed(synapses, neurons)
    match synapses.kind:
        case "matmul":
            place, weight = _dense(synapses, shape, neurons)
        case "conv2d":
            place, weight = _conv(synapses, shape, neurons)
        case "scale":
            place = neurons[:, None]
            weight = np.full(place.shape, synapses.weight[0])
        case _:
            place, weight = _pool(synapses, shape, neurons)
    target = np.broadcast_to(np.arange(len(neurons))[:, None], place.shape)
    held = place >= 0
    source = place[held]
    if synapses.wiring is not None:
        source = synapses.wiring[source]
    lags = synapses.lags if synapses.lags.size else np.zeros(1, np.int32)
    lag = np.broadcast_to(lags, source.shape) if lags.size == 1 else lags[source]
    return Connections(target[held], source, _wide(weight[held]), lag)


def by_source(part: Connections, sources: int, targets: int) -> Sorted:
    """Synapses in the order of their sources, of one source by target; equals as they are.

    `fast` has the same.
    """
    order = _stable(part.source, sources)
    inner, outer = part.target[order], part.source[order]
    if np.any((inner[1:] < inner[:-1]) & (outer[1:] == outer[:-1])):
        order = _stable(part.target, targets)
        order = order[_stable(part.source[order], sources)]
        inner = part.target[order]
    ends = np.cumsum(np.bincount(part.source, minlength=sources))
    start = np.concatenate([np.zeros(1, np.int64), ends])
    return Sorted(start, inner, part.weight[order])


def _stable(keys: Array, size: int) -> Array:
    # a stable sort of 16 bits takes no comparisons
    return np.argsort(keys.astype(narrowest(size)), kind="stable")


def narrowest(size: int) -> type[np.unsignedinteger[Any]]:
    """The type that holds the numbers below `size`."""
    return np.uint16 if size <= 2**16 else np.uint32


def axons(synapses: Synapses, shape: tuple[int, ...], neurons: Array) -> Array:
    """The source's neuron numbers that reach any of `neurons`, ascending."""
    if synapses.kind == "matmul":  # whole rows, whatever the weights
        k, n = synapses.weight.shape
        rows = np.flatnonzero(np.bincount(neurons // n))
        source = (rows[:, None] * k + np.arange(int(k))).ravel()
        if synapses.wiring is not None:
            source = synapses.wiring[source]
    else:
        source = connections(synapses, shape, neurons).source
    heard = np.zeros(int(source.max(initial=-1)) + 1, np.bool_)
    heard[source] = True
    return np.flatnonzero(heard)


def _listed(synapses: Synapses, neurons: Array) -> Connections:
    """Of a list of synapses those that end on ascending `neurons`, in the list's order."""
    source, target = synapses.ends
    first, last = neurons[0], neurons[-1]
    in_a_row = last - first + 1 == len(neurons)
    inside = (target >= first) & (target <= last)
    if not in_a_row:
        inside &= np.isin(target, neurons)
    held = np.flatnonzero(inside)
    here = target[held]
    lags = synapses.lags if synapses.lags.size else np.zeros(1, np.int32)
    return Connections(
        here - first if in_a_row else np.searchsorted(neurons, here),
        source[held] if synapses.wiring is None else synapses.wiring[source[held]],
        _wide(synapses.weight[held]),
        np.broadcast_to(lags, held.shape) if lags.size == 1 else lags[held],
    )


def _wide(weight: Array) -> Array:
    return weight if weight.dtype.kind == "f" else weight.astype(np.int32)


def _dense(synapses: Synapses, shape: tuple[int, ...], neurons: Array) -> tuple[Array, Array]:
    k, n = synapses.weight.shape
    first: Array = neurons // n * k
    place = np.add(first[:, None], np.arange(int(k)), dtype=np.int64)
    return place, synapses.weight.T[neurons % n]


def _conv(synapses: Synapses, shape: tuple[int, ...], neurons: Array) -> tuple[Array, Array]:
    _, height, width = synapses.source_shape
    filters, per, kh, kw = synapses.weight.shape
    o, y, x = _coordinates(neurons, shape)
    first: Array = o // (filters // synapses.groups) * per
    channel = np.add(first[:, None], np.arange(int(per)), dtype=np.int64)[:, :, None, None]
    rows = _positions(y, 0, kh, synapses)[:, None, :, None]
    columns = _positions(x, 1, kw, synapses)[:, None, None, :]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    place: Array = np.where(inside, (channel * height + rows) * width + columns, -1)
    size = per * kh * kw
    return place.reshape(len(neurons), size), synapses.weight.reshape(filters, size)[o]


def _pool(synapses: Synapses, shape: tuple[int, ...], neurons: Array) -> tuple[Array, Array]:
    _, height, width = synapses.source_shape
    kh, kw = synapses.kernel
    channel, y, x = _coordinates(neurons, shape)
    rows = _positions(y, 0, kh, synapses)[:, :, None]
    columns = _positions(x, 1, kw, synapses)[:, None, :]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    place: Array = np.where(
        inside, (channel[:, None, None] * height + rows) * width + columns, -1
    )
    place = place.reshape(len(neurons), prod(synapses.kernel))
    number = 1 if synapses.kind == "max_pool2d" else int(synapses.weight[0])
    return place, np.full(place.shape, number)


def _coordinates(neurons: Array, shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
    _, height, width = shape
    return neurons // (height * width), neurons // width % height, neurons % width


def _positions(at: Array, axis: int, size: int, synapses: Synapses) -> Array:
    start = at * synapses.strides[axis] - synapses.pads[axis]
    positions: Array = start[:, None] + np.arange(size) * synapses.dilations[axis]
    return positions
