"""Where values lie in the unified buffer, and which layouts the instructions can read.

Images lie with their channels last, so that one pixel's channels are contiguous. Reshapes,
transposes and slices cost nothing: they are steps of a view. Where no access descriptor can
express a view, the value is copied first (`stages`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

import numpy as np

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Array, Graph, Value
from tetrapla.simulators.systolic.tables import UNSIGNED, Descriptor
from tetrapla.simulators.systolic.views import View, viewed

Layout: TypeAlias = tuple[tuple[int, ...], View]
"""A shape in memory, row-major, and the steps from there to the value's own."""

ROWS = (0, 2, 3, 1)
"""The axes of an image [N, C, H, W] in the order of memory, channels last."""

_MOST_AXES = 8
_LEVELS = 3  # strides of a descriptor: images, rows, pixels


@dataclass(eq=False)
class Buffer:
    """A stretch of the unified buffer; `address` is known once all are allocated.

    `first` and `last` are the first stage that writes it and the last one that reads it;
    several stages may write their own slices.
    """

    size_bytes: int
    first: int
    last: int
    address: int = -1


@dataclass(frozen=True)
class Placed:
    """A value in a buffer: `physical` is its row-major shape there, `view` leads to its own.

    A value that is a part of its buffer has slices as its view's first steps.
    """

    buffer: Buffer
    physical: tuple[int, ...]
    view: View
    dtype: str

    def positions(self) -> Array:
        """For each element in the value's own order, its index in the buffer."""
        return viewed(np.arange(prod(self.physical)).reshape(self.physical), self.view)

    def strided(self) -> tuple[int, tuple[int, ...], tuple[int, ...]] | None:
        """Index of the first element, shape, and a stride per axis; None where none do."""
        memory = np.empty(prod(self.physical), np.int8)  # never touched
        array = viewed(memory.reshape(self.physical), self.view)
        if array.size == 0 or (array is not memory and array.base is not memory):
            return None  # a reshape had to copy
        start = array.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
        pairs = zip(array.shape, array.strides, strict=True)
        return start, array.shape, tuple(0 if size == 1 else step for size, step in pairs)

    def then(self, step: str, arguments: tuple[int, ...]) -> Placed:
        """The value after a reshape, transpose or slice."""
        return replace(self, view=(*self.view, (step, arguments)))

    def parted(self) -> tuple[Placed, Layout]:
        """Its part of the buffer in the order of memory, and the layout of that part.

        Raises:
            UnsupportedError: a slice comes after another step, so that no layout says it.
        """
        count = next(
            (n for n, (step, _) in enumerate(self.view) if step != "slice"), len(self.view)
        )
        rest = self.view[count:]
        if any(step == "slice" for step, _ in rest):
            raise UnsupportedError("a result in a slice of a transposed buffer")
        part = replace(self, view=self.view[:count])
        found = part.strided()
        shape = self.physical if found is None else found[1]
        return part, (shape, rest)

    @property
    def element_bytes(self) -> int:
        """Bytes of an element."""
        return DTYPES[self.dtype].itemsize

    @property
    def flags(self) -> int:
        """The descriptor's flags for its type."""
        return UNSIGNED if self.dtype == "ui8" else 0


@dataclass(frozen=True)
class Moving:
    """Weights of a product that lie in the unified buffer, where a stage before writes them.

    LUW fills the slots: ``slot[r, c] = x(row + r, k + c)``, transposed ``x(row + c, k + r)``,
    with row and k those of the tile. Rows beyond the operand may be padding.

    Attributes:
        descriptor: base relative to the operand's buffer.
        shape: taps and columns.
    """

    source: Placed
    descriptor: Descriptor
    transpose: bool
    shape: tuple[int, int]


def constant(graph: Graph, value: Value) -> Array:
    """A constant's array; zeros where the module is shape-only."""
    held = graph.weights.get(value.index)
    return np.zeros(value.shape, DTYPES[value.dtype]) if held is None else held


def channels_last(shape: tuple[int, ...]) -> Layout:
    """The layout of an image [N, C, H, W]."""
    n, c, h, w = shape
    return (n, h, w, c), (("transpose", (0, 3, 1, 2)),)


def default_layout(value: Value) -> Layout:
    """Physical shape and view of a fresh value: channels last for images, else as it is."""
    return channels_last(value.shape) if len(value.shape) == 4 else (value.shape, ())


def placed(value: Value, first: int, layout: Layout | None = None) -> Placed:
    """A fresh value in a buffer of its own."""
    physical, view = default_layout(value) if layout is None else layout
    size_bytes = value.elements * DTYPES[value.dtype].itemsize
    return Placed(Buffer(size_bytes, first, first), physical, view, value.dtype)


def inverse(layout: Layout) -> View:
    """The steps from the value's own shape back to the one in memory."""
    shape, view = layout
    steps: list[tuple[str, tuple[int, ...]]] = []
    for step, arguments in view:
        if step == "reshape":
            steps.append(("reshape", shape))
            shape = arguments
        else:
            back = tuple(int(axis) for axis in np.argsort(arguments))
            steps.append(("transpose", back))
            shape = tuple(shape[axis] for axis in arguments)
    return tuple(steps[::-1])


def steps_of(layout: Layout) -> tuple[int, ...]:
    """Elements from one to the next along each axis; a large one where no stride says it."""
    physical, view = layout
    found = Placed(Buffer(0, 0, 0), physical, view, "i8").strided()
    return (prod(physical),) * _MOST_AXES if found is None else found[2]


def is_dense(x: Placed) -> bool:
    """Whether a value is all of its buffer, in its own order."""
    found = x.strided()
    if found is None or prod(found[1]) != prod(x.physical):
        return False
    return [stride for _, stride in collapsed(found[1], found[2])] in ([], [1])


def image(x: Placed) -> Descriptor:
    """How to read x[N,C,H,W], for a window to be added; base is relative to the buffer.

    Raises:
        UnsupportedError: the channels of a pixel are not contiguous.
    """
    found = x.strided()
    if found is None or (found[1][1] > 1 and found[2][1] != 1):
        raise UnsupportedError("channels that are not contiguous in memory")
    base, (_, c, h, w), (images, _, rows, pixels) = found
    size = x.element_bytes
    return Descriptor(
        base=base * size,
        channels=c,
        height=h,
        width=w,
        image_stride=images * size,
        row_stride=rows * size,
        pixel_stride=pixels * size,
        flags=x.flags,
    )


def matrix(x: Placed) -> tuple[Descriptor, Array]:
    """How to read a[..., m, k] row by row, and the order of k in memory.

    Element j of a row in memory is element ``order[j]`` of the row itself.

    Raises:
        UnsupportedError: a row is not contiguous, or rows differ in their order.
    """
    found = x.strided()
    if found is not None and (found[1][-1] == 1 or found[2][-1] == 1):
        base, shape, strides = found
        return _rows(x, base, shape, strides), np.arange(shape[-1])
    return _shuffled(x)


def _rows(x: Placed, base: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Descriptor:
    levels = collapsed(shape[:-1], strides[:-1])
    if len(levels) > _LEVELS:
        raise UnsupportedError("rows with more than three strides in memory")
    (_, images), (height, rows), (width, pixels) = [(1, 0)] * (_LEVELS - len(levels)) + levels
    size = x.element_bytes
    return Descriptor(
        base=base * size,
        channels=shape[-1],
        height=height,
        width=width,
        out_h=height,
        out_w=width,
        image_stride=images * size,
        row_stride=rows * size,
        pixel_stride=pixels * size,
        flags=x.flags,
    )


def collapsed(shape: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """The axes as few (size, stride) pairs, outermost first; no axis of size 1 is kept."""
    levels: list[tuple[int, int]] = []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if levels and levels[-1][1] == size * stride:
            levels[-1] = levels[-1][0] * size, stride
        else:
            levels.append((size, stride))
    return levels


def _shuffled(x: Placed) -> tuple[Descriptor, Array]:
    """Rows whose elements lie together, but in another order."""
    p = x.positions()
    rows = p.reshape(-1, p.shape[-1])
    starts = rows.min(axis=1)
    offsets = rows[0] - starts[0]
    step = int(starts[1] - starts[0]) if len(starts) > 1 else 0
    even = np.array_equal(starts, starts[0] + step * np.arange(len(starts)))
    same = np.array_equal(rows, starts[:, None] + offsets)
    if not even or not same or step < 0 or int(offsets.max()) != rows.shape[1] - 1:
        raise UnsupportedError("rows that are not contiguous in memory")
    shape = (len(starts), rows.shape[1])
    return _rows(x, int(starts[0]), shape, (step, 1)), np.argsort(offsets)


def like(x: Placed, layout: Layout) -> Descriptor:
    """How to read a value's rows in the order in which a layout has them.

    Raises:
        UnsupportedError: the rows are not contiguous in that order.
    """
    physical = layout[0] or (1,)
    turned = replace(x, view=(*x.view, *inverse(layout), ("reshape", physical)))
    found = turned.strided()
    if found is None or (found[1][-1] > 1 and found[2][-1] != 1):
        raise UnsupportedError("operands of different layouts")
    return _rows(x, *found)


def rows_of(target: Placed, order: Sequence[int] | None = None) -> tuple[int, int, int]:
    """Where an instruction writes rows: first element, elements a row, and stride.

    Args:
        target: of the result.
        order: the value's axes, rows first and columns last; None: the order of memory.

    Raises:
        UnsupportedError: the rows have no single stride.
    """
    part = target.parted()[0] if order is None else target.then("transpose", tuple(order))
    found = part.strided()
    if found is None:
        raise UnsupportedError("a result that is not in rows")
    base, shape, strides = found
    channels = shape[-1] if shape else 1
    levels = collapsed(shape[:-1], strides[:-1])
    if len(levels) > 1 or (channels > 1 and strides[-1] != 1):
        raise UnsupportedError("a result whose rows have no single stride")
    return base, channels, levels[0][1] if levels else channels
