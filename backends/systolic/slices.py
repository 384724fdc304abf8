"""A routine in slices: where each step computes row by row, rows may be computed in parts.

The rows are those of the outermost axis in memory that is longer than one. Every result is cut
along it, and of the operands those that have it; what is broadcast (a scale, gamma and beta) is
read whole by each slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from tetrapla.backends.systolic.layout import Placed
from tetrapla.backends.systolic.pieces import Piece, Where, joined, moved
from tetrapla.backends.systolic.routines import RoutineStage
from tetrapla.backends.systolic.stages import Stage
from tetrapla.backends.systolic.windows import even
from tetrapla.ir.graph import Attribute
from tetrapla.simulators.systolic.routines import Step
from tetrapla.simulators.systolic.views import View

# element by element, operands broadcast as NumPy does it
_EACH = frozenset(
    "nn." + kind
    for kind in (
        "abs acos acosh add and asin asinh atan atanh bitwise_and bitwise_not bitwise_or "
        "bitwise_xor cast cast_unsaturated ceil celu clip cos cosh div elu equal erf exp "
        "floor gelu greater greater_or_equal hard_sigmoid hard_swish idiv is_inf is_nan "
        "leaky_relu less less_or_equal log maximum minimum mish mod mul neg not or pow "
        "reciprocal relu round selu shift_left shift_right sigmoid sign silu sin sinh "
        "softplus softsign sqrt sub tan tanh thresholded_relu where xor"
    ).split()
) | {"qnn.add", "qnn.mul", "qnn.lookup"}
# along an axis, row by row of the others
_ALONG = ("nn.softmax", "nn.log_softmax", "nn.layer_norm", "nn.rms_norm", "qnn.softmax")
_BORDERS = ("qnn.dequantize", "qnn.quantize", "qnn.requantize")


@dataclass(frozen=True)
class _Axis:
    """The outermost axis in memory.

    Attributes:
        memory: its number there.
        own: in the value's own shape, from the right: -1 is the last axis.
        size: its length.
        rank: of the value.
    """

    memory: int
    own: int
    size: int
    rank: int


def sliced(stage: RoutineStage) -> list[Slices]:
    """The way to cut a routine, if there is one."""
    results = [_axis(place) for _, place in stage.results]
    first = results[0]
    # only the number of the axis in memory may differ
    if first is None or len({a and (a.own, a.size, a.rank) for a in results}) > 1:
        return []
    if not all(_row_by_row(step, first, stage) for step in stage.steps):
        return []
    whole = {step.operands[1] for step in stage.steps if step.kind == "qnn.lookup"}
    for number, place in stage.operands:
        shape, axis = _shape(place), _axis(place)
        if number in whole or len(shape) < -first.own or shape[first.own] == 1:
            whole.add(number)  # a table, or broadcast
        elif axis is None or (axis.own, axis.size) != (first.own, first.size):
            return []
    return [Slices(stage, first.size, first.own, frozenset(whole))]


@dataclass(frozen=True)
class Slices:
    """A routine whose rows are places of an axis.

    Attributes:
        rows: how many.
        axis: in the values' own shapes, from the right.
        whole: numbers of the operands that each slice reads whole.
    """

    stage: RoutineStage
    rows: int
    axis: int
    whole: frozenset[int]

    def strips(self, most: int) -> list[tuple[int, int]]:
        """First row and end of each slice."""
        return even(self.rows, most)

    def pieces(self, first: int, end: int) -> tuple[list[Piece], list[Piece]]:
        """Equal shares of what is cut, and all of the rest."""
        read = [
            Piece(place.buffer, 0, place.buffer.size_bytes)
            if number in self.whole
            else self._share(place, first, end)
            for number, place in self.stage.operands
        ]
        made = [self._share(place, first, end) for _, place in self.stage.results]
        return joined(read), joined(made)

    def part(self, first: int, end: int, where: Where) -> Stage:
        """The routine of the rows alone."""
        there = moved(self.stage, where)
        assert isinstance(there, RoutineStage), "moving changes no kind"
        count = end - first
        return replace(
            there,
            steps=tuple(self._step(step, count) for step in there.steps),
            operands=tuple(
                (n, place if n in self.whole else _cut(place, count))
                for n, place in there.operands
            ),
            results=tuple((n, _cut(place, count)) for n, place in there.results),
        )

    def _share(self, place: Placed, first: int, end: int) -> Piece:
        each = place.buffer.size_bytes // self.rows
        return Piece(place.buffer, first * each, end * each)

    def _step(self, step: Step, count: int) -> Step:
        elements = step.elements
        if elements % self.rows == 0:  # else it is of what is broadcast
            elements = elements // self.rows * count
        return replace(step, elements=elements, attributes=self._attributes(step, count))

    def _attributes(self, step: Step, count: int) -> Mapping[str, Attribute]:
        shape = step.attributes.get("shape")
        if step.kind != "nn.expand" or not isinstance(shape, tuple):
            return step.attributes
        cut = list(shape)
        cut[self.axis] = count
        return {**step.attributes, "shape": tuple(cut)}


def _row_by_row(step: Step, axis: _Axis, stage: RoutineStage) -> bool:
    """Whether a step's rows along the axis do not depend on each other."""
    place = axis.rank + axis.own  # from the left; every value is taken to have this rank
    if step.kind in _EACH:
        return True
    if step.kind == "nn.expand":
        return stage.op == "copy"
    along = step.attributes.get("axis")
    if not isinstance(along, int):
        return False
    if step.kind in _ALONG:
        return place < along % axis.rank
    scale = step.operands[1:2]
    return step.kind in _BORDERS and (
        scale[0] in stage.immediates or along % axis.rank != place
    )


def _shape(place: Placed) -> tuple[int, ...]:
    return tuple(place.positions().shape)


def _axis(place: Placed) -> _Axis | None:
    """The outermost axis in memory, if a slice of it is a slice of the value."""
    long = [number for number, size in enumerate(place.physical) if size > 1]
    if not long:
        return None
    axis, shape, size = long[0], place.physical, place.physical[long[0]]
    for step, arguments in place.view:
        match step:
            case "reshape":
                found = _after_reshape(shape, arguments, axis)
                if found is None:
                    return None
                axis, shape = found, arguments
            case "transpose":
                axis, shape = arguments.index(axis), tuple(shape[n] for n in arguments)
            case _:
                return None  # a part of a buffer is not cut further
    if prod(shape) != prod(place.physical):
        return None
    return _Axis(long[0], axis - len(shape), size, len(shape))


def _after_reshape(before: tuple[int, ...], after: tuple[int, ...], axis: int) -> int | None:
    """Where an axis is after a reshape that keeps it."""
    outside = prod(before[:axis])
    for number, size in enumerate(after):
        if size == before[axis] and prod(after[:number]) == outside:
            return number
    return None


def _cut(place: Placed, count: int) -> Placed:
    """A value with fewer rows."""
    found = _axis(place)
    assert found is not None, "it has such an axis"
    shape, axis = list(place.physical), found.memory
    shape[axis] = count
    physical, view, whole = tuple(shape), [], place.physical
    for step, arguments in place.view:
        if step == "reshape":
            new = _after_reshape(whole, arguments, axis)
            assert new is not None, "it keeps the axis"
            whole, axis, cut = arguments, new, list(arguments)
            cut[axis] = count
            view.append((step, tuple(cut)))
        else:
            whole, axis = tuple(whole[n] for n in arguments), arguments.index(axis)
            view.append((step, arguments))
    return replace(place, physical=physical, view=_view(view))


def _view(steps: list[tuple[str, tuple[int, ...]]]) -> View:
    return tuple(steps)
