"""Matrix product and convolution, each with an optional bias, residual and activation.

The epilogue is a part of the operator so that fusion keeps one: act(product + bias + residual).
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.mlir import (
    ArrayAttr,
    IntegerAttr,
    Operand,
    Pure,
    RankedTensorType,
    Result,
    StringAttr,
)
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.epilogue import (
    check_activation,
    check_residual,
    check_types,
    epilogue,
    product_flops,
)
from tetrapla.ir.nn.precision import work_type
from tetrapla.ir.op import MAX_ELEMENTS, Op, Tensor, require


def matmul_macs(operands: Sequence[Value], result: Value) -> int:
    """One per output and summed index."""
    return result.elements * operands[0].shape[-1]


def conv_macs(operands: Sequence[Value], result: Value) -> int:
    """One per output and tap of its filter, those on the padding included."""
    return result.elements * prod(operands[1].shape[1:])


class MatMul(Op, dialect=Nn, name="matmul", traits=[Pure]):
    """Matrix product ``y[..., m, n] = sum_k a[..., m, k] b[..., k, n] + bias[n]``.

    Then, on the rounded sum, nn.add of the residual and the activation's own operator: nn.relu,
    relu6 (nn.clip to 0..6), nn.gelu, gelu_tanh (its tanh form), nn.hard_swish, nn.sigmoid,
    nn.silu or nn.tanh. A residual needs a bias before it; one of minus zeros keeps every bit.

    Constraints:
        C1: both operands have rank 2 or more.
        C2: ``a.shape[-1] == b.shape[-2]``.
        C3: leading axes broadcast.
        C4: the bias has shape (n,).
        C5: the activation is one of the above or none; of integers, none or relu.
        C6: all element types are equal, and floats or integers of 8 bits or more.
        C7: the residual has the result's shape.
    """

    a: Operand[RankedTensorType]
    b: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    activation: StringAttr
    bias: Operand[RankedTensorType] | None = None
    residual: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        a: Tensor,
        b: Tensor,
        bias: Tensor | None = None,
        residual: Tensor | None = None,
        *,
        activation: str,
    ) -> Tensor:
        y = Tensor(matmul_shape("nn.matmul", a, b, bias), a.dtype)
        check_activation("nn.matmul C5", activation, y)
        check_types("nn.matmul C6", a, b, bias, residual)
        check_residual("nn.matmul C7", residual, y)
        return y

    @staticmethod
    def evaluate(
        a: Array,
        b: Array,
        bias: Array | None = None,
        residual: Array | None = None,
        *,
        activation: str,
    ) -> Array:
        work = work_type(a.dtype)
        y = np.matmul(a.astype(work, copy=False), b.astype(work, copy=False))
        return epilogue(y, bias, residual, activation, a.dtype)

    @classmethod
    def flops(
        cls,
        operands: Sequence[Value],
        results: Sequence[Value],
        attributes: Mapping[str, Attribute],
    ) -> int:
        del attributes
        (y,) = results
        return product_flops(matmul_macs(operands, y), operands, y)

    macs = staticmethod(matmul_macs)
    example = (
        (*(Tensor(shape, "f32") for shape in ((4, 8), (8, 3), (3,), (4, 3))),),
        {"activation": "relu"},
    )


class Conv2d(Op, dialect=Nn, name="conv2d", traits=[Pure]):
    """Cross-correlation of x[N,C,H,W] with w[O,C/groups,kh,kw], as ONNX's Conv.

    Bias, residual and activation are as nn.matmul's.

    Constraints:
        C1: x and w have rank 4.
        C2: ``x.shape[1] == w.shape[1] * groups``.
        C3: groups is at least 1 and divides the number of filters.
        C4: strides and dilations are two positive numbers, pads four non-negative ones, and
            the padded image is no larger than a value may be.
        C5: the dilated kernel fits the padded input.
        C6: the bias has shape (O,).
        C7: the activation is one of nn.matmul's, and the element types are as there.
        C8: the residual has the result's shape.
    """

    x: Operand[RankedTensorType]
    w: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    strides: ArrayAttr
    pads: ArrayAttr
    dilations: ArrayAttr
    groups: IntegerAttr
    activation: StringAttr
    bias: Operand[RankedTensorType] | None = None
    residual: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        x: Tensor,
        w: Tensor,
        bias: Tensor | None = None,
        residual: Tensor | None = None,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
        activation: str,
    ) -> Tensor:
        shape = conv_shape("nn.conv2d", x, w, bias, strides, pads, dilations, groups)
        y = Tensor(shape, x.dtype)
        check_activation("nn.conv2d C7", activation, y)
        check_types("nn.conv2d C7", x, w, bias, residual)
        check_residual("nn.conv2d C8", residual, y)
        return y

    @staticmethod
    def evaluate(
        x: Array,
        w: Array,
        bias: Array | None = None,
        residual: Array | None = None,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
        activation: str,
    ) -> Array:
        work = work_type(x.dtype)
        operands = (x.astype(work, copy=False), w.astype(work, copy=False))
        y = correlate(*operands, strides, pads, dilations, groups)
        column = None if bias is None else bias[:, None, None]
        return epilogue(y, column, residual, activation, x.dtype)

    @classmethod
    def flops(
        cls,
        operands: Sequence[Value],
        results: Sequence[Value],
        attributes: Mapping[str, Attribute],
    ) -> int:
        del attributes
        (y,) = results
        return product_flops(conv_macs(operands, y), operands, y)

    macs = staticmethod(conv_macs)
    example = (
        (Tensor((1, 4, 6, 5), "f32"), Tensor((6, 2, 3, 2), "f32"), Tensor((6,), "f32")),
        {
            "strides": (2, 1),
            "pads": (1, 0, 1, 1),
            "dilations": (1, 2),
            "groups": 2,
            "activation": "none",
        },
    )


def matmul_shape(kind: str, a: Tensor, b: Tensor, bias: Tensor | None) -> tuple[int, ...]:
    """Check C1 to C4 of a matrix product and return its shape."""
    require(a.rank >= 2 and b.rank >= 2, f"{kind} C1: operands need rank 2, not {a} and {b}")
    require(a.shape[-1] == b.shape[-2], f"{kind} C2: inner dimensions differ in {a} @ {b}")
    try:
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        lead = None
    require(lead is not None, f"{kind} C3: leading axes must broadcast, not {a} @ {b}")
    assert lead is not None
    n = b.shape[-1]
    require(
        bias is None or bias.shape == (n,),
        f"{kind} C4: the bias must have shape ({n},), not {bias}",
    )
    return (*lead, a.shape[-2], n)


def conv_shape(
    kind: str,
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    groups: int,
) -> tuple[int, ...]:
    """Check C1 to C6 of a convolution and return its shape."""
    require(x.rank == 4 and w.rank == 4, f"{kind} C1: x and w need rank 4, not {x} and {w}")
    filters = w.shape[0]
    require(
        groups >= 1 and filters % groups == 0,
        f"{kind} C3: groups must be at least 1 and divide {filters} filters, not {groups}",
    )
    require(
        x.shape[1] == w.shape[1] * groups,
        f"{kind} C2: {x} has {x.shape[1]} channels, the weights take {w.shape[1]} x {groups}",
    )
    require(
        bias is None or bias.shape == (filters,),
        f"{kind} C6: the bias must have shape ({filters},), not {bias}",
    )
    out = window_shape(kind, x.shape[2:], w.shape[2:], strides, pads, dilations)
    return (x.shape[0], filters, *out)


def window_shape(
    kind: str,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, int]:
    """Check C4 and C5 and return how many windows there are down and across."""
    require(
        len(strides) == 2 and len(dilations) == 2 and min(*strides, *dilations) >= 1,
        f"{kind} C4: strides and dilations must be two positive numbers, "
        f"not {strides} and {dilations}",
    )
    require(
        len(pads) == 4 and min(pads) >= 0,
        f"{kind} C4: pads must be four non-negative numbers, not {pads}",
    )
    counts: list[int] = []
    for axis in (0, 1):
        extent = (kernel[axis] - 1) * dilations[axis] + 1
        padded = size[axis] + pads[axis] + pads[axis + 2]
        require(
            1 <= extent <= padded,
            f"{kind} C5: a dilated kernel of {extent} must fit the padded input of {padded}",
        )
        counts.append((padded - extent) // strides[axis] + 1)
    padded = prod(size[i] + pads[i] + pads[i + 2] for i in (0, 1))
    require(
        padded <= MAX_ELEMENTS,
        f"{kind} C4: an image with its pads must have at most {MAX_ELEMENTS} elements, "
        f"not {padded}",
    )
    return counts[0], counts[1]


def windows(
    x: Array,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    fill: Any = 0,
) -> Array:
    """A view of every window: [N, C, oh, ow, kh, kw] of the padded input."""
    top, left, bottom, right = pads
    if any(pads):
        margin = ((0, 0), (0, 0), (top, bottom), (left, right))
        x = np.pad(x, margin, constant_values=fill)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    view = sliding_window_view(x, (extent[0], extent[1]), axis=(2, 3))
    view = view[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    return view


def correlate(
    x: Array,
    w: Array,
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    groups: int,
    product: Any = np.matmul,
) -> Array:
    """Convolution as one matrix product per group: [O, C k] @ [N, C k, oh ow]."""
    patches = windows(x, w.shape[2:], strides, pads, dilations)
    n, c, oh, ow, kh, kw = patches.shape
    per, filters = c // groups, w.shape[0] // groups
    columns = patches.transpose(0, 1, 4, 5, 2, 3).reshape(n, groups, per * kh * kw, oh * ow)
    rows = w.reshape(groups, filters, per * kh * kw)
    y: Array = product(rows[None], columns)
    return y.reshape(n, groups * filters, oh, ow)
