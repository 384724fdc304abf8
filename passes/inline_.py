"""Bodies of loops and branches written out where they are, with what is known computed.

A loop's counter and its condition are numbers that need no machine: whatever a body makes of
small arrays that are known is computed at once, and becomes a constant only where something
that is not known reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import DTYPES, Array, Graph, Node, Value
from tetrapla.ir.op import OPS
from tetrapla.passes.rebuild_ import Rebuild

# elements of an array that is worth computing here, assumed: counters, steps, flags, schedules
SMALL = 2**12


@dataclass(frozen=True)
class Known:
    """An array that is no operator's result."""

    array: Array
    symbol: str


Held = Value | Known


class Inliner:
    """Writes bodies into a module that is being rebuilt."""

    def __init__(self, new: Rebuild) -> None:
        self._new = new
        self._symbols: dict[str, Value] = {}
        self._made: dict[int, tuple[Array, Value]] = {}

    def held(self, value: Value) -> Held:
        """What stands for a value of the old module outside of bodies."""
        array = self._new.graph.weights.get(value.index)
        if array is not None and array.size <= SMALL:
            return Known(array, self._new.graph.constants[value.index])
        return self._new.of(value)

    def value(self, held: Held) -> Value:
        """The value of the new module; a constant is declared where it is needed."""
        if isinstance(held, Value):
            return held
        kept = self._made.get(id(held.array))
        if kept is None:
            kept = held.array, self._new.builder.weight(held.symbol, held.array)
            self._made[id(held.array)] = kept
        return kept[1]

    def inlined(self, body: Graph, arguments: Sequence[Held], stem: str) -> list[Held]:
        """The outputs of a body on arguments, its operators written under ``stem/name``."""
        values = self._start(body, arguments)
        for node in body.nodes:
            operands = [self._operand(body, values, value) for value in node.operands]
            found = computed(node, operands, stem)
            if found is not None:
                values[node.result.index] = found
                continue
            given = [self.value(each) for each in operands]
            made = self._new.builder.ops(
                node.kind, given, node.attributes, f"{stem}/{node.name}", node.bodies
            )
            values.update(zip((v.index for v in node.results), made, strict=True))
        return [self._operand(body, values, value) for _, value in body.outputs]

    def part(self, sequence: Held, at: int, stem: str) -> Held:
        """One slice of a sequence along its first axis, without that axis."""
        if isinstance(sequence, Known):
            return Known(np.ascontiguousarray(sequence.array[at]), f"{sequence.symbol}.{at}")
        shape = sequence.shape
        rest = (0,) * (len(shape) - 1)
        cut = self._new.builder.op(
            "nn.slice",
            [sequence],
            {"starts": (at, *rest), "sizes": (1, *shape[1:]), "steps": (1,) * len(shape)},
            f"{stem}/slice",
        )
        return self._new.builder.op("nn.reshape", [cut], {"shape": shape[1:]}, f"{stem}/row")

    def stacked(self, rows: Sequence[Held], stem: str) -> Value:
        """The rows behind one another along a new first axis."""
        values = [self.value(row) for row in rows]
        led = [
            self._new.builder.op("nn.reshape", [v], {"shape": (1, *v.shape)}, f"{stem}.row")
            for v in values
        ]
        return self._joined(led, stem)

    def _joined(self, parts: Sequence[Value], stem: str) -> Value:
        """By halves, so that every element is copied log n times and not n times."""
        if len(parts) == 1:
            return parts[0]
        middle = len(parts) // 2
        both = [self._joined(half, stem) for half in (parts[:middle], parts[middle:])]
        return self._new.builder.op("nn.concat", both, {"axis": 0}, f"{stem}.stack")

    def _start(self, body: Graph, arguments: Sequence[Held]) -> dict[int, Held]:
        pairs = zip(body.inputs, arguments, strict=True)
        return {value.index: held for (_, value), held in pairs}

    def _operand(self, body: Graph, values: dict[int, Held], value: Value) -> Held:
        if value.index in values:
            return values[value.index]
        symbol, array = body.constants[value.index], body.weights.get(value.index)
        if array is not None and array.size <= SMALL:
            return Known(array, symbol)
        if symbol not in self._symbols:
            build = self._new.builder
            if array is None:
                made = build.shape_of_weight(symbol, value.shape, value.dtype)
            else:
                made = build.weight(symbol, array)
            self._symbols[symbol] = made
        return self._symbols[symbol]


def computed(node: Node, operands: Sequence[Held | None], stem: str) -> Known | None:
    """What the node makes, if all that it reads is known and the result is small."""
    if node.bodies or len(node.results) != 1 or node.result.elements > SMALL or not operands:
        return None
    arrays = [held.array for held in operands if isinstance(held, Known)]
    if len(arrays) != len(operands):
        return None
    with np.errstate(all="ignore"):
        made = OPS[node.kind].evaluate(*arrays, **node.attributes)
    assert not isinstance(made, tuple)
    return Known(np.asarray(made, DTYPES[node.result.dtype]), f"{stem}/{node.name}")


def foreseen(body: Graph, arguments: Sequence[Known | None]) -> list[Known | None]:
    """What can be known of a body's outputs; None for what cannot."""
    values: dict[int, Known | None] = {
        value.index: held for (_, value), held in zip(body.inputs, arguments, strict=True)
    }
    for index, symbol in body.constants.items():
        array = body.weights.get(index)
        small = array is not None and array.size <= SMALL
        values[index] = Known(array, symbol) if array is not None and small else None
    for node in body.nodes:
        found = computed(node, [values[value.index] for value in node.operands], "")
        values.update(dict.fromkeys((value.index for value in node.results), found))
    return [values[value.index] for _, value in body.outputs]
