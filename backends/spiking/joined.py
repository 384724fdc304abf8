"""Values without an order of their own: elements of several layers, of one inference.

What a recurrent layer reads and tells is cut into timesteps and joined again. On a chip that
moves nothing: a neuron's synapses say which neurons they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

import numpy as np

from tetrapla.backends.spiking.emit import Current, Emitter, Rate, Term, Train
from tetrapla.ir.graph import Array, Attribute, Node, Value

Part: TypeAlias = Rate | Current


@dataclass(frozen=True)
class Joined:
    """Some elements of `parts`.

    Attributes:
        parts: values of layers.
        shapes: theirs, with a batch of 1 in front.
        at: numbers of elements of all parts, one behind the other, in the value's shape.
    """

    parts: tuple[Part, ...]
    shapes: tuple[tuple[int, ...], ...]
    at: Array

    @property
    def in_order(self) -> bool:
        """Whether it is all parts, one behind the other."""
        return np.array_equal(self.at.ravel(), np.arange(sum(map(prod, self.shapes))))

    def simple(self) -> Part | Joined:
        """Without parts of which it has nothing; the part alone, if it is one as it is."""
        ends = np.cumsum([prod(shape) for shape in self.shapes])
        owner = np.searchsorted(ends, self.at, side="right")
        used, new = np.unique(owner, return_inverse=True)
        shapes = tuple(self.shapes[i] for i in used)
        starts = np.concatenate([[0], np.cumsum([prod(shape) for shape in shapes])])
        first = np.concatenate([[0], ends])[owner]
        at = self.at - first + starts[new.reshape(owner.shape)]
        left = Joined(tuple(self.parts[i] for i in used), shapes, at)
        alone = len(shapes) == 1 and left.in_order and left.at.shape == shapes[0]
        return left.parts[0] if alone else left


def whole(part: Part, shape: tuple[int, ...]) -> Joined:
    """A part as it is, in the shape of the value that it stands for."""
    held = shape if shape[:1] == (1,) else (1, *shape)
    return Joined((part,), (held,), np.arange(prod(shape)).reshape(shape))


def moved(x: Joined, node: Node) -> Joined:
    """Behind an operator that only moves elements."""
    match node.kind:
        case "nn.reshape":
            at = x.at.reshape(node.result.shape)
        case "nn.transpose":
            at = x.at.transpose(node.ints("perm"))
        case _:
            cuts = zip(node.ints("starts"), node.ints("sizes"), node.ints("steps"), strict=True)
            at = x.at[np.ix_(*(first + step * np.arange(size) for first, size, step in cuts))]
    return replace(x, at=at)


def concatenated(values: Sequence[Joined], axis: int) -> Joined:
    """Several, one behind the other along an axis; a part that they share is there once."""
    parts: list[Part] = []
    shapes: list[tuple[int, ...]] = []
    starts: list[int] = []
    pieces: list[Array] = []
    for value in values:
        numbers: list[Array] = []
        for part, shape in zip(value.parts, value.shapes, strict=True):
            place = next((i for i, held in enumerate(parts) if held is part), len(parts))
            if place == len(parts):
                starts.append(sum(map(prod, shapes)))
                parts.append(part)
                shapes.append(shape)
            numbers.append(starts[place] + np.arange(prod(shape)))
        pieces.append(np.concatenate(numbers)[value.at])
    return Joined(tuple(parts), tuple(shapes), np.concatenate(pieces, axis=axis))


def terms(x: Joined, row: Array, weight: Array, emit: Emitter) -> tuple[Term, ...]:
    """The synapses of one row of a product.

    Args:
        x: of rates alone.
        row: the elements of `x` that the weights' rows are for.
        weight: real, (elements, neurons).
        emit: writes the spikes that the synapses read.
    """
    made: list[Term] = []
    place = 0
    for part, shape in zip(x.parts, x.shapes, strict=True):
        size = prod(shape)
        held = (row >= place) & (row < place + size)
        own, place = row[held] - place, place + size
        if not own.size:
            continue
        assert isinstance(part, Rate), "currents have been given neurons"
        chosen = np.unique(own)
        steps = np.unique(np.diff(chosen))
        if steps.size > 1:  # no slice is them alone
            chosen = np.arange(size)
        gathered = np.zeros((len(chosen), weight.shape[1]), weight.dtype)
        np.add.at(gathered, np.searchsorted(chosen, own), weight[held])
        for train in part.trains:
            read = Train(_cut(train.value, chosen, size, emit), train.sign)
            made.append(Term("matmul", read, part.full, gathered))
    return tuple(made)


def _cut(train: Value, chosen: Array, size: int, emit: Emitter) -> Value:
    """The train of evenly spaced neurons, [T, 1, n]."""
    if train.shape[2:] != (size,):
        train = emit.view(train, "nn.reshape", {"shape": (1, size)})
    if len(chosen) == size:
        return train
    step = int(chosen[1] - chosen[0]) if len(chosen) > 1 else 1
    held: dict[str, Attribute] = {
        "starts": (0, 0, int(chosen[0])),
        "sizes": (train.shape[0], 1, len(chosen)),
        "steps": (1, 1, step),
    }
    return emit.builder.op("nn.slice", [train], held)
