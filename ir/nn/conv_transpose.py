"""Transposed convolution: each input adds a weighted kernel to the output."""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tetrapla.ir.graph import Array, Value
from tetrapla.ir.mlir import ArrayAttr, IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.check import FLOATS, element_types, equal_types
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.precision import rounded, work_type
from tetrapla.ir.op import MAX_ELEMENTS, Op, Tensor, require


class ConvTranspose(Op, traits=[Pure]):
    """Transposed convolution of x[N,C,...] with w[C,O/groups,...], as ONNX's ConvTranspose.

    An axis of size n gives ``stride (n - 1) + extent - pads + output_padding``, where extent is
    the dilated kernel's; the output padding lies at the end.

    Constraints:
        C1: x and w have the rank of the operator.
        C2: groups is at least 1 and divides the channels, which are ``w.shape[0]``.
        C3: strides and dilations are positive, pads and output_padding not negative, each one
            number per spatial axis (pads two).
        C4: every spatial size of the result is positive, and what the pads cut off is not
            beyond what a value may hold.
        C5: the bias has shape (O,).
        C6: the element types are equal, and a float.
    """

    x: Operand[RankedTensorType]
    w: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    strides: ArrayAttr
    pads: ArrayAttr
    dilations: ArrayAttr
    output_padding: ArrayAttr
    groups: IntegerAttr
    bias: Operand[RankedTensorType] | None = None
    if TYPE_CHECKING:  # an annotation that the bindings see would be a field
        axes: ClassVar[int]
    else:
        axes = 2

    @classmethod
    def infer(
        cls,
        x: Tensor,
        w: Tensor,
        bias: Tensor | None = None,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        output_padding: tuple[int, ...],
        groups: int,
    ) -> Tensor:
        kind, n = cls.OPERATION_NAME, cls.axes
        filters = _check_operands(kind, n, x, w, bias, groups)
        good = len(strides) == len(dilations) == len(output_padding) == n and len(pads) == 2 * n
        require(
            good and min(*strides, *dilations) >= 1 and min(*pads, *output_padding) >= 0,
            f"{kind} C3: strides and dilations must be {n} positive numbers, "
            f"output_padding {n} and pads {2 * n} non-negative ones, "
            f"not {strides}, {dilations}, {output_padding} and {pads}",
        )
        sizes = tuple(
            strides[i] * (x.shape[2 + i] - 1)
            + (w.shape[2 + i] - 1) * dilations[i]
            + 1
            - pads[i]
            - pads[n + i]
            + output_padding[i]
            for i in range(n)
        )
        whole = prod(s + p + q for s, p, q in zip(sizes, pads[:n], pads[n:], strict=True))
        require(
            whole <= MAX_ELEMENTS,
            f"{kind} C4: the result with its pads must have at most {MAX_ELEMENTS} elements "
            f"in a channel, not {whole}",
        )
        require(
            min(*sizes, *x.shape[2:], *w.shape[2:]) >= 1,
            f"{kind} C4: sizes of the operands and the result must be positive, "
            f"not {x}, {w} and {sizes}",
        )
        return Tensor((x.shape[0], filters, *sizes), x.dtype)

    @classmethod
    def evaluate(
        cls,
        x: Array,
        w: Array,
        bias: Array | None = None,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        output_padding: tuple[int, ...],
        groups: int,
    ) -> Array:
        n, work = cls.axes, work_type(x.dtype)
        kernel, size = w.shape[2:], x.shape[2:]
        parts = _weighted(x.astype(work, copy=False), w.astype(work, copy=False), groups)
        extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        whole = [s * (m - 1) + e for s, m, e in zip(strides, size, extent, strict=True)]
        # padding at the end only ever adds to what the pads cut off
        more = [max(0, output_padding[i] - pads[n + i]) for i in range(n)]
        full = np.zeros(
            (x.shape[0], w.shape[1] * groups, *map(sum, zip(whole, more, strict=True))), work
        )
        both = (slice(None), slice(None))
        for tap in product(*map(range, kernel)):
            steps = zip(tap, dilations, strides, size, strict=True)
            place = (slice(t * d, t * d + s * (m - 1) + 1, s) for t, d, s, m in steps)
            full[(*both, *place)] += parts[tap]
        kept = (slice(pads[i], whole[i] - pads[n + i] + output_padding[i]) for i in range(n))
        y = full[(*both, *kept)]
        if bias is not None:
            y = y + bias.astype(work).reshape(-1, *(1,) * n)
        return rounded(np.ascontiguousarray(y), x.dtype)

    @staticmethod
    def macs(operands: Sequence[Value], result: Value) -> int:
        """One per input and tap, those that the pads cut off included."""
        del result
        return operands[0].elements * prod(operands[1].shape[1:])


class ConvTranspose2d(ConvTranspose, dialect=Nn, name="conv_transpose2d"):
    """Transposed convolution of x[N,C,H,W] with w[C,O/groups,kh,kw]."""

    example = (
        (Tensor((1, 4, 3, 2), "f32"), Tensor((4, 3, 3, 2), "f32"), Tensor((6,), "f32")),
        {
            "strides": (2, 3),
            "pads": (1, 0, 0, 1),
            "dilations": (1, 2),
            "output_padding": (1, 0),
            "groups": 2,
        },
    )


class ConvTranspose3d(ConvTranspose, dialect=Nn, name="conv_transpose3d"):
    """Transposed convolution of x[N,C,D,H,W] with w[C,O/groups,kd,kh,kw]."""

    axes = 3
    example = (
        (Tensor((1, 2, 2, 3, 2), "f32"), Tensor((2, 3, 1, 3, 2), "f32")),
        {
            "strides": (1, 2, 3),
            "pads": (0, 1, 0, 0, 0, 1),
            "dilations": (1, 1, 1),
            "output_padding": (0, 1, 0),
            "groups": 1,
        },
    )


def _weighted(x: Array, w: Array, groups: int) -> Array:
    """Every input times every tap of its filters, [*kernel, N, O, *size]."""
    n, c, *size = x.shape
    columns = x.reshape(n, groups, c // groups, prod(size))
    rows = w.reshape(groups, c // groups, prod(w.shape[1:])).swapaxes(1, 2)
    parts = np.matmul(rows[None], columns)
    whole = np.asarray(parts).reshape(n, groups * w.shape[1], *w.shape[2:], *size)
    kernel = tuple(range(2, w.ndim))
    return np.moveaxis(whole, kernel, range(len(kernel)))


def _check_operands(
    kind: str, n: int, x: Tensor, w: Tensor, bias: Tensor | None, groups: int
) -> int:
    """Check C1, C2, C5 and C6; the number of filters."""
    require(x.rank == w.rank == n + 2, f"{kind} C1: x and w need rank {n + 2}, not {x} and {w}")
    channels = x.shape[1]
    require(
        groups >= 1 and channels % groups == 0 and w.shape[0] == channels,
        f"{kind} C2: groups must be at least 1 and divide {channels} channels, for which w has "
        f"rows, not {groups} and {w}",
    )
    filters = w.shape[1] * groups
    require(
        bias is None or bias.shape == (filters,),
        f"{kind} C5: the bias must have shape ({filters},), not {bias}",
    )
    equal_types(f"{kind} C6", x, w, *(() if bias is None else (bias,)))
    element_types(f"{kind} C6", FLOATS, x)
    return filters
