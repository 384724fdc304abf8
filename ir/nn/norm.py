"""Normalisations over axes, computed in float64 and rounded once to the operand's type."""

from math import prod
from typing import Any

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import (
    FloatAttr,
    IntegerAttr,
    Operand,
    Pure,
    RankedTensorType,
    Result,
)
from tetrapla.ir.nn.check import FLOATS, element_types, equal_types, one_axis
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.precision import rounded
from tetrapla.ir.nn.work import PerElement
from tetrapla.ir.op import Op, Tensor, require


class LogSoftmax(PerElement, dialect=Nn, name="log_softmax", traits=[Pure]):
    """``x - max - log sum exp(x - max)`` along one axis.

    Constraints:
        C1: the axis lies in ``-rank .. rank - 1``.
        C2: the element type is a float.
    """

    per_element = 5  # comparison, difference, exponential, sum, difference

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    axis: IntegerAttr

    @staticmethod
    def infer(x: Tensor, *, axis: int) -> Tensor:
        one_axis("nn.log_softmax C1", axis, x)
        element_types("nn.log_softmax C2", FLOATS, x)
        return x

    @staticmethod
    def evaluate(x: Array, *, axis: int) -> Array:
        if x.size == 0:
            return x.copy()
        wide = x.astype(np.float64)
        wide = wide - wide.max(axis=axis, keepdims=True)
        total = np.exp(wide).sum(axis=axis, keepdims=True)
        return rounded(np.asarray(wide - np.log(total)), x.dtype)

    example = (Tensor((2, 5), "f32"),), {"axis": -1}


class LayerNorm(PerElement, dialect=Nn, name="layer_norm", traits=[Pure]):
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias`` over the axes from `axis` on.

    Constraints:
        C1: the axis lies in ``-rank .. rank - 1``.
        C2: scale and bias have the shape of the normalised axes.
        C3: epsilon is not negative.
        C4: the element types are equal, and a float.
        C5: the normalised axes are not empty.
    """

    per_element = 7  # mean, difference, square, sum, two products, the bias

    x: Operand[RankedTensorType]
    scale: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    axis: IntegerAttr
    epsilon: FloatAttr
    bias: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        x: Tensor, scale: Tensor, bias: Tensor | None = None, *, axis: int, epsilon: float
    ) -> Tensor:
        parameters = (scale,) if bias is None else (scale, bias)
        _check_trailing("nn.layer_norm", x, parameters, axis, epsilon)
        return x

    @staticmethod
    def evaluate(
        x: Array, scale: Array, bias: Array | None = None, *, axis: int, epsilon: float
    ) -> Array:
        axes = tuple(range(axis % x.ndim, x.ndim))
        y = _standardised(x, axes, epsilon) * scale.astype(np.float64)
        return rounded(y if bias is None else y + bias.astype(np.float64), x.dtype)

    example = (
        (Tensor((2, 3, 4), "f32"), Tensor((3, 4), "f32"), Tensor((3, 4), "f32")),
        {"axis": 1, "epsilon": 1e-5},
    )


class RmsNorm(PerElement, dialect=Nn, name="rms_norm", traits=[Pure]):
    """``x / sqrt(mean(x * x) + epsilon) * scale`` over the axes from `axis` on.

    Constraints:
        C1 to C5: as nn.layer_norm, without the bias.
    """

    per_element = 4  # square, sum, two products

    x: Operand[RankedTensorType]
    scale: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    axis: IntegerAttr
    epsilon: FloatAttr

    @staticmethod
    def infer(x: Tensor, scale: Tensor, *, axis: int, epsilon: float) -> Tensor:
        _check_trailing("nn.rms_norm", x, (scale,), axis, epsilon)
        return x

    @staticmethod
    def evaluate(x: Array, scale: Array, *, axis: int, epsilon: float) -> Array:
        axes = tuple(range(axis % x.ndim, x.ndim))
        wide = x.astype(np.float64)
        power = (wide * wide).mean(axis=axes, keepdims=True)
        y = wide / np.sqrt(power + float(np.float32(epsilon))) * scale.astype(np.float64)
        return rounded(np.asarray(y), x.dtype)

    example = (
        (Tensor((2, 3, 4), "f32"), Tensor((4,), "f32")),
        {"axis": -1, "epsilon": 1e-5},
    )


class GroupNorm(PerElement, dialect=Nn, name="group_norm", traits=[Pure]):
    """The channels of x[N,C,...] in groups, each standardised, then ``* scale + bias``.

    With as many groups as channels it is ONNX's InstanceNormalization.

    Constraints:
        C1: x has rank 3 or more.
        C2: scale and bias have shape (C,).
        C3: epsilon is not negative.
        C4: the element types are equal, and a float.
        C5: the normalised axes are not empty.
        C6: groups is at least 1 and divides the channels.
    """

    per_element = 7  # mean, difference, square, sum, two products, sum

    x: Operand[RankedTensorType]
    scale: Operand[RankedTensorType]
    bias: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    groups: IntegerAttr
    epsilon: FloatAttr

    @staticmethod
    def infer(x: Tensor, scale: Tensor, bias: Tensor, *, groups: int, epsilon: float) -> Tensor:
        kind = "nn.group_norm"
        require(x.rank >= 3, f"{kind} C1: the operand needs rank 3, not {x}")
        _check_parameters(kind, x, (scale, bias), x.shape[1:2], epsilon)
        require(prod(x.shape[1:]) > 0, f"{kind} C5: channels must not be empty, not {x}")
        require(
            groups >= 1 and x.shape[1] % groups == 0,
            f"{kind} C6: groups must be at least 1 and divide {x.shape[1]} channels, "
            f"not {groups}",
        )
        return x

    @staticmethod
    def evaluate(x: Array, scale: Array, bias: Array, *, groups: int, epsilon: float) -> Array:
        grouped = x.reshape(x.shape[0], groups, prod(x.shape[1:]) // groups)
        y = _standardised(grouped, (2,), epsilon).reshape(x.shape)
        return _per_channel(y, scale, bias, x.dtype)

    example = (
        (Tensor((2, 4, 3), "f32"), Tensor((4,), "f32"), Tensor((4,), "f32")),
        {"groups": 2, "epsilon": 1e-5},
    )


class InstanceNorm(PerElement, dialect=Nn, name="instance_norm", traits=[Pure]):
    """Each channel of x[N,C,...] standardised by itself, then ``* scale + bias``.

    Constraints:
        C1 to C5: as nn.group_norm.
    """

    per_element = 7  # mean, difference, square, sum, two products, sum

    x: Operand[RankedTensorType]
    scale: Operand[RankedTensorType]
    bias: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    epsilon: FloatAttr

    @staticmethod
    def infer(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float) -> Tensor:
        kind = "nn.instance_norm"
        require(x.rank >= 3, f"{kind} C1: the operand needs rank 3, not {x}")
        _check_parameters(kind, x, (scale, bias), x.shape[1:2], epsilon)
        require(prod(x.shape[1:]) > 0, f"{kind} C5: channels must not be empty, not {x}")
        return x

    @staticmethod
    def evaluate(x: Array, scale: Array, bias: Array, *, epsilon: float) -> Array:
        y = _standardised(x, tuple(range(2, x.ndim)), epsilon)
        return _per_channel(y, scale, bias, x.dtype)

    example = (
        (Tensor((2, 4, 3), "f32"), Tensor((4,), "f32"), Tensor((4,), "f32")),
        {"epsilon": 1e-5},
    )


class LocalResponseNorm(Op, dialect=Nn, name="lrn", traits=[Pure]):
    """``x / (bias + alpha / size * sum of x² over size channels around)^beta`` on axis 1.

    Of an even number of channels the extra one comes behind. A. Krizhevsky et al., "ImageNet
    classification with deep convolutional neural networks", 2012, section 3.3, as ONNX has it.

    Constraints:
        C1: x has rank 2 or more.
        C2: size is at least 1.
        C3: the element type is a float.
        C4: there is a channel.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    size: IntegerAttr
    alpha: FloatAttr
    beta: FloatAttr
    bias: FloatAttr

    @staticmethod
    def infer(x: Tensor, *, size: int, alpha: float, beta: float, bias: float) -> Tensor:
        require(x.rank >= 2, f"nn.lrn C1: the operand needs rank 2, not {x}")
        require(size >= 1, f"nn.lrn C2: size must be at least 1, not {size}")
        element_types("nn.lrn C3", FLOATS, x)
        require(x.shape[1] > 0, f"nn.lrn C4: axis 1 of {x} must not be empty, not 0")
        return x

    @staticmethod
    def evaluate(x: Array, *, size: int, alpha: float, beta: float, bias: float) -> Array:
        wide, channels = x.astype(np.float64), x.shape[1]
        reach = min(size, 2 * channels)  # a wider window meets no more channels
        before = (reach - 1) // 2
        power = np.zeros((len(x), channels + reach - 1, *x.shape[2:]))
        power[:, before : before + channels] = wide * wide
        around = sum(power[:, i : i + channels] for i in range(reach))
        a, b, c = (float(np.float32(number)) for number in (alpha, beta, bias))
        return rounded(wide / (c + a / size * around) ** b, x.dtype)

    example = (
        (Tensor((2, 5, 3), "f32"),),
        {"size": 3, "alpha": 1e-4, "beta": 0.75, "bias": 1.0},
    )


def _per_channel(y: Array, scale: Array, bias: Array, dtype: np.dtype[Any]) -> Array:
    column = (-1, *(1,) * (y.ndim - 2))
    gain, shift = (array.astype(np.float64).reshape(column) for array in (scale, bias))
    return rounded(y * gain + shift, dtype)


def _standardised(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    wide = x.astype(np.float64)
    wide = wide - wide.mean(axis=axes, keepdims=True)
    variance = (wide * wide).mean(axis=axes, keepdims=True)
    return np.asarray(wide / np.sqrt(variance + float(np.float32(epsilon))))


def _check_trailing(
    kind: str, x: Tensor, parameters: tuple[Tensor, ...], axis: int, epsilon: float
) -> None:
    shape = x.shape[one_axis(f"{kind} C1", axis, x) :]
    _check_parameters(kind, x, parameters, shape, epsilon)
    require(prod(shape) > 0, f"{kind} C5: normalised axes must not be empty, not {shape}")


def _check_parameters(
    kind: str,
    x: Tensor,
    parameters: tuple[Tensor, ...],
    shape: tuple[int, ...],
    epsilon: float,
) -> None:
    for parameter in parameters:
        require(
            parameter.shape == shape,
            f"{kind} C2: parameters need shape {shape}, not {parameter}",
        )
    require(epsilon >= 0, f"{kind} C3: epsilon must not be negative, not {epsilon}")
    equal_types(f"{kind} C4", x, *parameters)
    element_types(f"{kind} C4", FLOATS, x)
