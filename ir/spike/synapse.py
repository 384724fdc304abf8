"""From spikes to currents: weights, shifted left by the layer's weight exponent, or floats.

Every timestep is alone: ``y[t] = (sum of w over the spikes of t) * 2**exponent + bias``.
"""

from math import prod

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import ArrayAttr, IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.dialect import broadcast
from tetrapla.ir.nn.linear import conv_shape, correlate, matmul_shape, window_shape, windows
from tetrapla.ir.op import Op, Tensor, require
from tetrapla.ir.spike.dialect import (
    Spike,
    check_bias,
    check_fan_in,
    check_train,
    current_type,
    macs_by_spikes,
)


class MatMul(Op, dialect=Spike, name="matmul", traits=[Pure]):
    """All-to-all synapses.

    ``y[t, ..., n] = (sum_k s[t, ..., k] w[k, n]) * 2**exponent + bias[n]``: i32, or f32 where
    the weights are, summed in float64 and rounded once before the bias.

    Constraints:
        C1: s is a spike train of rank 3 or more: i8, or f32 where the weights are.
        C2: the exponent is 0 to 7 and the largest current fits 31 bits; floats have 0.
        C3: w is i8, i16 or f32 of shape (k, n).
        C4: the bias is of the result's type, of shape (n,).
    """

    s: Operand[RankedTensorType]
    w: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    exponent: IntegerAttr
    bias: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(s: Tensor, w: Tensor, bias: Tensor | None = None, *, exponent: int) -> Tensor:
        kind = "spike.matmul"
        dtype = current_type(kind, s, w, 3)
        require(w.rank == 2, f"{kind} C3: weights must have rank 2, not {w}")
        shape = matmul_shape(kind, s, w, bias)
        check_fan_in(kind, w.shape[0], exponent, w.dtype)
        check_bias(kind, bias, dtype)
        return Tensor(shape, dtype)

    @staticmethod
    def evaluate(s: Array, w: Array, bias: Array | None = None, *, exponent: int) -> Array:
        current = _shifted(_product(s, w), exponent)
        return np.asarray(current if bias is None else current + bias)

    macs = staticmethod(macs_by_spikes)
    example = (
        (Tensor((4, 2, 5), "i8"), Tensor((5, 3), "i8"), Tensor((3,), "i32")),
        {"exponent": 1},
    )


class Conv2d(Op, dialect=Spike, name="conv2d", traits=[Pure]):
    """Shared synapses: in each timestep the cross-correlation of s[t] with w[O,C/groups,kh,kw].

    Weights, exponent and sums are as spike.matmul's.

    Constraints:
        C1: s is a spike train [T, N, C, H, W]: i8, or f32 where the weights are.
        C2: the exponent is 0 to 7 and the largest current fits 31 bits; floats have 0.
        C3: w is i8, i16 or f32, and geometry and groups are as nn.conv2d's.
        C4: the bias is of the result's type, of shape (O,) or (O, oh, ow).
    """

    s: Operand[RankedTensorType]
    w: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    strides: ArrayAttr
    pads: ArrayAttr
    dilations: ArrayAttr
    groups: IntegerAttr
    exponent: IntegerAttr
    bias: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        s: Tensor,
        w: Tensor,
        bias: Tensor | None = None,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
        exponent: int,
    ) -> Tensor:
        kind = "spike.conv2d"
        dtype = current_type(kind, s, w, 5)
        require(s.rank == 5, f"{kind} C1: spikes must have rank 5, not {s}")
        frame = Tensor(s.shape[1:], "i8")
        shape = conv_shape(kind, frame, w, None, strides, pads, dilations, groups)
        check_fan_in(kind, prod(w.shape[1:]), exponent, w.dtype)
        check_bias(kind, bias, dtype)
        require(
            bias is None or bias.shape in ((shape[1],), shape[1:]),
            f"{kind} C4: the bias must have shape ({shape[1]},) or {shape[1:]}, not {bias}",
        )
        return Tensor((s.shape[0], *shape), dtype)

    @staticmethod
    def evaluate(
        s: Array,
        w: Array,
        bias: Array | None = None,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
        exponent: int,
    ) -> Array:
        frames = s.reshape(s.shape[0] * s.shape[1], *s.shape[2:])
        y = correlate(frames, w, strides, pads, dilations, groups, _product)
        current = _shifted(y.reshape(*s.shape[:2], *y.shape[1:]), exponent)
        if bias is None:
            return np.asarray(current)
        return np.asarray(current + (bias[:, None, None] if bias.ndim == 1 else bias))

    macs = staticmethod(macs_by_spikes)
    example = (
        (Tensor((3, 1, 4, 6, 5), "i8"), Tensor((6, 2, 3, 2), "i8"), Tensor((6,), "i32")),
        {
            "strides": (2, 1),
            "pads": (1, 0, 1, 1),
            "dilations": (1, 2),
            "groups": 2,
            "exponent": 0,
        },
    )


class SumPool2d(Op, dialect=Spike, name="sum_pool2d", traits=[Pure]):
    """Equal synapses from each window.

    ``y[t] = (spikes of t in the window) * weight * 2**exponent``.

    Constraints:
        C1: s is an i8 spike train [T, N, C, H, W].
        C2: the exponent is 0 to 7 and the largest current fits 31 bits.
        C3: the weight is -128 to 127.
        C4: the windows are as nn.average_pool2d's.
    """

    s: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    kernel: ArrayAttr
    strides: ArrayAttr
    pads: ArrayAttr
    weight: IntegerAttr
    exponent: IntegerAttr

    @staticmethod
    def infer(
        s: Tensor,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        weight: int,
        exponent: int,
    ) -> Tensor:
        check_train("spike.sum_pool2d", s, 5)
        require(len(kernel) == 2 and s.rank == 5, f"spike.sum_pool2d C1: not {s}, {kernel}")
        check_fan_in("spike.sum_pool2d", prod(kernel), exponent)
        _check_weight("spike.sum_pool2d", weight)
        down, across = window_shape(
            "spike.sum_pool2d", s.shape[3:], kernel, strides, pads, (1, 1)
        )
        return Tensor((*s.shape[:3], down, across), "i32")

    @staticmethod
    def evaluate(
        s: Array,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        weight: int,
        exponent: int,
    ) -> Array:
        frames = s.reshape(s.shape[0] * s.shape[1], *s.shape[2:])
        count = windows(frames, kernel, strides, pads, (1, 1)).sum((4, 5), dtype=np.int32)
        return np.asarray((count * weight << exponent).reshape(*s.shape[:2], *count.shape[1:]))

    macs = staticmethod(macs_by_spikes)
    example = (
        (Tensor((3, 1, 2, 4, 5), "i8"),),
        {"kernel": (2, 2), "strides": (2, 1), "pads": (0, 1, 0, 0), "weight": 3, "exponent": 1},
    )


class Scale(Op, dialect=Spike, name="scale", traits=[Pure]):
    """One synapse per neuron: ``y[t] = s[t] * weight * 2**exponent``.

    Constraints:
        C1: s is an i8 spike train.
        C2: the exponent is 0 to 7.
        C3: the weight is -128 to 127.
    """

    s: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    weight: IntegerAttr
    exponent: IntegerAttr

    @staticmethod
    def infer(s: Tensor, *, weight: int, exponent: int) -> Tensor:
        check_train("spike.scale", s, 1)
        check_fan_in("spike.scale", 1, exponent)
        _check_weight("spike.scale", weight)
        return Tensor(s.shape, "i32")

    @staticmethod
    def evaluate(s: Array, *, weight: int, exponent: int) -> Array:
        return np.asarray(s.astype(np.int32) * weight << exponent)

    macs = staticmethod(macs_by_spikes)
    example = (Tensor((3, 1, 5), "i8"),), {"weight": -7, "exponent": 2}


class Add(Op, dialect=Spike, name="add", traits=[Pure]):
    """Currents that meet in one neuron: their sum. The second may be a constant bias.

    Constraints:
        C1: the shapes broadcast to the first operand's.
        C2: both are i32, or both f32.
    """

    a: Operand[RankedTensorType]
    b: Operand[RankedTensorType]
    y: Result[RankedTensorType]

    @staticmethod
    def infer(a: Tensor, b: Tensor) -> Tensor:
        shape = broadcast("spike.add", a, b)
        require(shape == a.shape, f"spike.add C1: the result must have {a}'s shape, not {b}'s")
        require(
            a.dtype == b.dtype and a.dtype in ("i32", "f32"),
            f"spike.add C2: currents must both be i32 or f32, not {a} and {b}",
        )
        return a

    @staticmethod
    def evaluate(a: Array, b: Array) -> Array:
        return np.asarray(a + b)

    example = (Tensor((3, 1, 5), "i32"), Tensor((1, 5), "i32")), {}


def _product(a: Array, b: Array) -> Array:
    # integer sums stay under 2**31 (C2), so the float64 product is exact and uses the fast
    # routine
    wide: Array = np.matmul(a.astype(np.float64), b.astype(np.float64))
    floats = [x.dtype for x in (a, b) if x.dtype.kind == "f"]
    return wide.astype(floats[0] if floats else np.int32)


def _shifted(current: Array, exponent: int) -> Array:
    return current << exponent if exponent else current


def _check_weight(kind: str, weight: int) -> None:
    require(-128 <= weight <= 127, f"{kind} C3: the weight must be -128 to 127, not {weight}")
