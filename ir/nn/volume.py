"""Convolution and pooling over three axes, x[N,C,D,H,W], as ONNX's Conv, MaxPool, AveragePool.

Windows in the general form: dilated averages, and an overhang (ONNX's ceil_mode) of windows
beyond the padding. One or two axes are three with sizes of 1.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tetrapla.ir.graph import Array, Value
from tetrapla.ir.mlir import ArrayAttr, IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.check import FLOATS, NUMBERS, element_types, equal_types, flag
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.pool import folded, lowest
from tetrapla.ir.nn.precision import rounded, work_type
from tetrapla.ir.nn.work import PerTap
from tetrapla.ir.op import MAX_ELEMENTS, Op, Tensor, require


class Conv3d(Op, dialect=Nn, name="conv3d", traits=[Pure]):
    """Cross-correlation of x[N,C,D,H,W] with w[O,C/groups,kd,kh,kw].

    Constraints:
        C1: x and w have rank 5.
        C2: ``x.shape[1] == w.shape[1] * groups``.
        C3: groups is at least 1 and divides the number of filters.
        C4: strides and dilations are three positive numbers, pads six non-negative ones, and
            the padded volume is no larger than a value may be.
        C5: the dilated kernel fits the padded input.
        C6: the bias has shape (O,).
        C7: the element types are equal, and a float.
    """

    x: Operand[RankedTensorType]
    w: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    strides: ArrayAttr
    pads: ArrayAttr
    dilations: ArrayAttr
    groups: IntegerAttr
    bias: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        x: Tensor,
        w: Tensor,
        bias: Tensor | None = None,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
    ) -> Tensor:
        kind = "nn.conv3d"
        require(x.rank == w.rank == 5, f"{kind} C1: x and w need rank 5, not {x} and {w}")
        filters = w.shape[0]
        require(
            groups >= 1 and filters % groups == 0,
            f"{kind} C3: groups must be at least 1 and divide {filters} filters, not {groups}",
        )
        require(
            x.shape[1] == w.shape[1] * groups,
            f"{kind} C2: {x} has {x.shape[1]} channels, the weights take "
            f"{w.shape[1]} x {groups}",
        )
        require(
            bias is None or bias.shape == (filters,),
            f"{kind} C6: the bias must have shape ({filters},), not {bias}",
        )
        equal_types(f"{kind} C7", x, w, *(() if bias is None else (bias,)))
        element_types(f"{kind} C7", FLOATS, x)
        out = _window_sizes(kind, x.shape[2:], w.shape[2:], strides, pads, dilations)
        return Tensor((x.shape[0], filters, *out), x.dtype)

    @staticmethod
    def evaluate(
        x: Array,
        w: Array,
        bias: Array | None = None,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
    ) -> Array:
        work, filters = work_type(x.dtype), w.shape[0] // groups
        wide = x.astype(work, copy=False)
        patches = _windows(wide, w.shape[2:], strides, pads, dilations, 0)
        n, out = len(x), patches.shape[2:5]
        taps = w.shape[1] * prod(w.shape[2:])
        columns = patches.transpose(0, 1, 5, 6, 7, 2, 3, 4).reshape(n, groups, taps, prod(out))
        rows = w.astype(work, copy=False).reshape(groups, filters, taps)
        y = np.matmul(rows[None], columns).reshape(n, groups * filters, *out)
        if bias is not None:
            y = y + bias.astype(work).reshape(-1, 1, 1, 1)
        return rounded(y, x.dtype)

    @staticmethod
    def macs(operands: Sequence[Value], result: Value) -> int:
        """One per output and tap of its filter, those on the padding included."""
        return result.elements * prod(operands[1].shape[1:])

    example = (
        (Tensor((1, 4, 3, 4, 5), "f32"), Tensor((6, 2, 2, 3, 2), "f32"), Tensor((6,), "f32")),
        {
            "strides": (1, 2, 1),
            "pads": (1, 0, 0, 0, 1, 1),
            "dilations": (2, 1, 2),
            "groups": 2,
        },
    )


class MaxPool3d(PerTap, dialect=Nn, name="max_pool3d", traits=[Pure]):
    """Largest value of each window of x[N,C,D,H,W]; the padding never wins.

    Constraints:
        C1: x has rank 5.
        C2: kernel has three positive numbers.
        C4, C5: as nn.conv3d.
        C6: no pad is as large as the dilated kernel (a window would be empty).
        C7: the elements are numbers.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    kernel: ArrayAttr
    strides: ArrayAttr
    pads: ArrayAttr
    dilations: ArrayAttr

    @staticmethod
    def infer(
        x: Tensor,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
    ) -> Tensor:
        kind = "nn.max_pool3d"
        element_types(f"{kind} C7", NUMBERS, x)
        return Tensor(_pool_shape(kind, x, kernel, strides, pads, dilations), x.dtype)

    @staticmethod
    def evaluate(
        x: Array,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
    ) -> Array:
        seen = _windows(x, kernel, strides, pads, dilations, lowest(x.dtype))
        return folded(np.maximum, seen, kernel)

    example = (
        (Tensor((1, 2, 3, 5, 6), "f32"),),
        {
            "kernel": (2, 3, 2),
            "strides": (1, 2, 1),
            "pads": (0, 1, 0, 1, 1, 1),
            "dilations": (1, 1, 2),
        },
    )


class AveragePool3d(PerTap, dialect=Nn, name="average_pool3d", traits=[Pure]):
    """Mean of each window of x[N,C,D,H,W], in float32 (float64 for f64).

    Over its inside alone, or over the padding too where count_include_pad is 1; the overhang,
    how far windows may reach beyond the end of the padding, never counts.

    Constraints:
        C1, C2, C4, C5, C6: as nn.max_pool3d; pads and overhang together.
        C3: count_include_pad is 0 or 1.
        C7: the element type is a float.
        C8: overhang is three non-negative numbers.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    kernel: ArrayAttr
    strides: ArrayAttr
    pads: ArrayAttr
    dilations: ArrayAttr
    overhang: ArrayAttr
    count_include_pad: IntegerAttr

    @staticmethod
    def infer(
        x: Tensor,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        overhang: tuple[int, ...],
        count_include_pad: int,
    ) -> Tensor:
        kind = "nn.average_pool3d"
        flag(f"{kind} C3", "count_include_pad", count_include_pad)
        element_types(f"{kind} C7", FLOATS, x)
        require(
            len(overhang) == 3 and min(overhang) >= 0,
            f"{kind} C8: overhang must be three non-negative numbers, not {overhang}",
        )
        around = _more(pads, overhang)
        return Tensor(_pool_shape(kind, x, kernel, strides, around, dilations), x.dtype)

    @staticmethod
    def evaluate(
        x: Array,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        overhang: tuple[int, ...],
        count_include_pad: int,
    ) -> Array:
        work = work_type(x.dtype)
        form = (kernel, strides, _more(pads, overhang), dilations)
        total = folded(np.add, _windows(x.astype(work, copy=False), *form, 0), kernel)
        inside = np.ones((1, 1, *x.shape[2:]), work)
        if count_include_pad:
            inside = np.pad(inside, _margins(pads), constant_values=1)
            form = (kernel, strides, (0, 0, 0, *overhang), dilations)
        count = folded(np.add, _windows(inside, *form, 0), kernel)
        with np.errstate(invalid="ignore"):  # all taps of a dilated window may miss x: NaN
            mean = np.asarray(total / count)
        return rounded(mean, x.dtype)

    example = (
        (Tensor((1, 2, 3, 5, 6), "f32"),),
        {
            "kernel": (2, 3, 2),
            "strides": (1, 2, 1),
            "pads": (0, 1, 0, 1, 1, 1),
            "dilations": (1, 1, 2),
            "overhang": (0, 1, 0),
            "count_include_pad": 1,
        },
    )


def _more(pads: tuple[int, ...], overhang: tuple[int, ...]) -> tuple[int, ...]:
    both = (pad + more for pad, more in zip(pads[3:], overhang, strict=False))
    return (*pads[:3], *both) if len(pads) == 6 else pads


def _margins(pads: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return ((0, 0), (0, 0), *zip(pads[:3], pads[3:], strict=True))


def _windows(
    x: Array,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    fill: Any,
) -> Array:
    """A view of every window: [N, C, od, oh, ow, kd, kh, kw] of the padded input."""
    if any(pads):
        x = np.pad(x, _margins(pads), constant_values=fill)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    view = sliding_window_view(x, (extent[0], extent[1], extent[2]), axis=(2, 3, 4))
    a, b, c = strides
    d, e, f = dilations
    return view[:, :, ::a, ::b, ::c, ::d, ::e, ::f]


def _window_sizes(
    kind: str,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...]:
    """Check C4 and C5 and return how many windows there are on each axis."""
    require(
        len(strides) == len(dilations) == 3 and min(*strides, *dilations) >= 1,
        f"{kind} C4: strides and dilations must be three positive numbers, "
        f"not {strides} and {dilations}",
    )
    require(
        len(pads) == 6 and min(pads) >= 0,
        f"{kind} C4: pads must be six non-negative numbers, not {pads}",
    )
    counts: list[int] = []
    for axis in range(3):
        extent = (kernel[axis] - 1) * dilations[axis] + 1
        padded = size[axis] + pads[axis] + pads[axis + 3]
        require(
            1 <= extent <= padded,
            f"{kind} C5: a dilated kernel of {extent} must fit the padded input of {padded}",
        )
        counts.append((padded - extent) // strides[axis] + 1)
    padded = prod(size[i] + pads[i] + pads[i + 3] for i in range(3))
    require(
        padded <= MAX_ELEMENTS,
        f"{kind} C4: a volume with its pads must have at most {MAX_ELEMENTS} elements, "
        f"not {padded}",
    )
    return tuple(counts)


def _pool_shape(
    kind: str,
    x: Tensor,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...]:
    """Check the constraints of a window and return the result's shape."""
    require(x.rank == 5, f"{kind} C1: the operand needs rank 5, not {x}")
    require(
        len(kernel) == 3 and min(kernel) >= 1,
        f"{kind} C2: kernel must be three positive numbers, not {kernel}",
    )
    out = _window_sizes(kind, x.shape[2:], kernel, strides, pads, dilations)
    for axis in range(3):
        extent, worst = (
            (kernel[axis] - 1) * dilations[axis] + 1,
            max(pads[axis], pads[axis + 3]),
        )
        require(
            worst < extent, f"{kind} C6: pads must be below the kernel of {extent}, not {worst}"
        )
    return (*x.shape[:2], *out)
