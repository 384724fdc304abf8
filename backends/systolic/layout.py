"""Where values lie in the unified buffer, and which layouts the instructions can read.

Images lie with their channels last, so that one pixel's channels are contiguous. Reshapes and
transposes cost nothing: they are steps of a view, and the weights of the next matrix product
are permuted instead. A layout that no access descriptor can express is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Array, Graph, Value
from tetrapla.simulators.systolic.tables import UNSIGNED, Descriptor
from tetrapla.simulators.systolic.views import View, viewed


@dataclass(eq=False)
class Buffer:
    """A stretch of the unified buffer; `address` is known once all are allocated.

    `first` and `last` are the stages that write and last read it.
    """

    size_bytes: int
    first: int
    last: int
    address: int = -1


@dataclass(frozen=True)
class Placed:
    """A value in a buffer: `physical` is its row-major shape there, `view` leads to its own."""

    buffer: Buffer
    physical: tuple[int, ...]
    view: View
    dtype: str

    def positions(self) -> Array:
        """For each element in the value's own order, its index in the buffer."""
        return viewed(np.arange(int(np.prod(self.physical))).reshape(self.physical), self.view)

    def then(self, step: str, arguments: tuple[int, ...]) -> Placed:
        """The value after a reshape or transpose."""
        return replace(self, view=(*self.view, (step, arguments)))

    @property
    def flags(self) -> int:
        """The descriptor's flags for its type."""
        return UNSIGNED if self.dtype == "ui8" else 0


@dataclass(frozen=True)
class Moving:
    """Weights of a product that lie in the unified buffer, where a stage before writes them.

    LUW fills the slots: ``slot[r][c] = x(row + r, k + c)``, transposed ``x(row + c, k + r)``,
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


def default_layout(value: Value) -> tuple[tuple[int, ...], View]:
    """Physical shape and view of a fresh value: channels last for images, else as it is."""
    if len(value.shape) != 4:
        return value.shape, ()
    n, c, h, w = value.shape
    return (n, h, w, c), (("transpose", (0, 3, 1, 2)),)


def placed(value: Value, first: int) -> Placed:
    """A fresh value in a buffer of its own."""
    physical, view = default_layout(value)
    size_bytes = value.elements * DTYPES[value.dtype].itemsize
    return Placed(Buffer(size_bytes, first, first), physical, view, value.dtype)


def image(x: Placed) -> Descriptor:
    """How to read x[N,C,H,W], for a window to be added; base is relative to the buffer.

    Raises:
        UnsupportedError: the channels of a pixel are not contiguous.
    """
    p = x.positions()
    _, c, h, w = p.shape
    base = int(p[0, 0, 0, 0])
    steps = [_step(p, axis) for axis in range(4)]
    grid = [step * np.arange(size) for step, size in zip(steps, p.shape, strict=True)]
    affine = grid[0][:, None, None, None] + grid[1][:, None, None] + grid[2][:, None] + grid[3]
    if (c > 1 and steps[1] != 1) or not np.array_equal(p, base + affine):
        raise UnsupportedError("channels that are not contiguous in memory")
    return Descriptor(
        base=base,
        channels=c,
        height=h,
        width=w,
        image_stride=steps[0],
        row_stride=steps[2],
        pixel_stride=steps[3],
        flags=x.flags,
    )


def matrix(x: Placed) -> tuple[Descriptor, Array]:
    """How to read a[..., m, k] row by row, and the order of k in memory.

    Element j of a row in memory is element ``order[j]`` of the row itself.

    Raises:
        UnsupportedError: a row is not contiguous, or rows differ in their order.
    """
    p = x.positions()
    rows = p.reshape(-1, p.shape[-1])
    starts = rows.min(axis=1)
    offsets = rows[0] - starts[0]
    step = int(starts[1] - starts[0]) if len(starts) > 1 else 0
    even = np.array_equal(starts, starts[0] + step * np.arange(len(starts)))
    same = np.array_equal(rows, starts[:, None] + offsets)
    if not even or not same or step < 0 or int(offsets.max()) != rows.shape[1] - 1:
        raise UnsupportedError("rows that are not contiguous in memory")
    descriptor = Descriptor(
        base=int(starts[0]),
        channels=rows.shape[1],
        width=len(rows),
        out_w=len(rows),
        pixel_stride=step,
        flags=x.flags,
    )
    return descriptor, np.argsort(offsets)


def flat(x: Placed) -> Descriptor:
    """All of a buffer as rows of its last axis, whatever the view."""
    channels = x.physical[-1] if x.physical else 1
    rows = int(np.prod(x.physical)) // channels
    return Descriptor(
        base=0, channels=channels, width=rows, out_w=rows, pixel_stride=channels, flags=x.flags
    )


def _step(p: Array, axis: int) -> int:
    if p.shape[axis] == 1:
        return 0
    index = [0] * p.ndim
    index[axis] = 1
    return int(p[tuple(index)] - p[(0,) * p.ndim])
