"""Two linear layers without a neuron between them as one list of synapses."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tetrapla.ir.graph import Array, Attribute
from tetrapla.simulators.spiking.program import Synapses
from tetrapla.simulators.spiking.wiring import connections

_GEOMETRY = ("strides", "pads", "dilations", "groups")


class Listed(NamedTuple):
    """Synapses by source and target, i64, with real weights."""

    source: Array
    target: Array
    weight: Array


def listed(
    kind: str,
    operands: tuple[Array, ...],
    attributes: Mapping[str, Attribute],
    shape: tuple[int, ...],
    result: tuple[int, ...],
) -> Listed:
    """The synapses of a layer from `shape` to `result`, both without time and batch."""
    if kind == "spike.sparse":
        source, target, weight = operands[:3]
        return Listed(source.astype(np.int64), target.astype(np.int64), weight)
    held: dict[str, Any] = {key: attributes[key] for key in _GEOMETRY if key in attributes}
    word = kind.removeprefix("spike.")
    synapses = Synapses(word, "", shape, None, operands[0], **held)
    found = connections(synapses, result, np.arange(prod(result)))
    return Listed(found.source, found.target, found.weight.astype(np.float64))


def chained(first: Listed, second: Listed) -> Listed:
    """What spikes of the first's sources make at the second's targets."""
    order = np.argsort(first.target, kind="stable")
    middle = first.target[order]
    begin = np.searchsorted(middle, second.source)
    counts = np.searchsorted(middle, second.source, "right") - begin
    ends = np.cumsum(counts)
    at = order[np.arange(ends[-1]) + np.repeat(begin - ends + counts, counts)]
    source = first.source[at]
    target = np.repeat(second.target, counts)
    weight = first.weight[at] * np.repeat(second.weight, counts)
    # ways through several neurons of the middle add up
    size = int(target.max(initial=0)) + 1
    pairs, place = np.unique(source * size + target, return_inverse=True)
    return Listed(pairs // size, pairs % size, np.bincount(place, weight, len(pairs)))
