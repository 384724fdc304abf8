"""Every constraint of the dialect is checked, and its message says which."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError
from tetrapla.ir.op import OPS, Tensor
from tetrapla.ir.quant.table import lookup_table, relu

X, ONE = Tensor((2, 3), "f32"), Tensor((1,), "f32")
Q, ACC = Tensor((2, 3), "i8"), Tensor((2, 3), "i32")
IMAGE, FILTERS = Tensor((1, 2, 4, 4), "i8"), Tensor((3, 2, 3, 3), "i8")
INTEGERS = "i2, ui2, i4, ui4, i8, ui8, i16 or ui16"
SMALL = "f8E4M3FN, f8E5M2, f6E2M3FN, f6E3M2FN or f4E2M1FN"
WHOLE = INTEGERS.replace(" or ", ", ")
QUANTIZE = {"zero_point": 0, "axis": 0, "dtype": "i8"}
REQUANTIZE = {**QUANTIZE, "low": -128, "high": 127}
BINARY = {
    "a_scale": 0.5,
    "a_zero_point": 0,
    "b_scale": 0.5,
    "b_zero_point": 0,
    "y_scale": 0.5,
    "y_zero_point": 0,
}
CONV = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "groups": 1}
POOL = {"x_scale": 0.5, "x_zero_point": 0, "y_scale": 0.5, "y_zero_point": 0}
WINDOW = {"kernel": (2, 2), "strides": (1, 1), "pads": (0, 0, 0, 0), "count_include_pad": 0}
SOFTMAX = {"axis": -1, "x_scale": 0.5, "y_scale": 0.5, "y_zero_point": 0}

ELSEWHERE = ("blocks", "micro", "rescale")  # the modules of test_constraints_of_blocks

Case = tuple[str, tuple[Tensor, ...], dict[str, Any], str]
CASES: list[Case] = [
    (
        "quantize",
        (X, ONE),
        {**QUANTIZE, "axis": 2},
        "qnn.quantize C1: tensor<2x3xf32> has no axis 2",
    ),
    (
        "quantize",
        (X, Tensor((2,), "f32")),
        {**QUANTIZE, "axis": 1},
        "qnn.quantize C2: the scale must be float32 of shape (1,) or one per index of axis 1 "
        "of tensor<2x3xf32>, not tensor<2xf32>",
    ),
    (
        "quantize",
        (X, ONE),
        {**QUANTIZE, "dtype": "i32"},
        f"qnn.quantize C3: the type must be {WHOLE}, {SMALL}, not 'i32'",
    ),
    (
        "quantize",
        (X, ONE),
        {**QUANTIZE, "dtype": "i4", "zero_point": 8},
        "qnn.quantize C4: the zero point must lie in -8..7, not 8",
    ),
    (
        "quantize",
        (X, ONE),
        {**QUANTIZE, "dtype": "f8E5M2", "zero_point": 1},
        "qnn.quantize C4: the zero point of f8E5M2 must be 0, not 1",
    ),
    (
        "quantize",
        (Tensor((2, 3), "f64"), ONE),
        QUANTIZE,
        "qnn.quantize C5: the operand must be float32, not tensor<2x3xf64>",
    ),
    (
        "dequantize",
        (Tensor((2, 3), "i64"), ONE),
        {"zero_point": 0, "axis": 0},
        f"qnn.dequantize C3: values must be {WHOLE}, i32, {SMALL}, not tensor<2x3xi64>",
    ),
    (
        "dequantize",
        (Q, ONE),
        {"zero_point": 128, "axis": 0},
        "qnn.dequantize C4: the zero point must lie in -128..127, not 128",
    ),
    (
        "requantize",
        (ACC, ONE),
        {**REQUANTIZE, "dtype": "f32"},
        f"qnn.requantize C3: the type must be {INTEGERS}, not 'f32'",
    ),
    (
        "requantize",
        (ACC, ONE),
        {**REQUANTIZE, "low": 3, "high": 2},
        "qnn.requantize C4: low must not exceed high, not 3..2",
    ),
    (
        "requantize",
        (Q, ONE),
        REQUANTIZE,
        "qnn.requantize C5: values must be i32 or i64, not tensor<2x3xi8>",
    ),
    (
        "add",
        (Q, Tensor((2,), "i8")),
        BINARY,
        "qnn.add C1: shapes must broadcast, not tensor<2x3xi8> and tensor<2xi8>",
    ),
    (
        "add",
        (Q, Tensor((2, 3), "ui8")),
        BINARY,
        "qnn.add C3: element types must be equal, not tensor<2x3xi8> and tensor<2x3xui8>",
    ),
    (
        "add",
        (Tensor((2, 3), "i4"), Q),
        BINARY,
        "qnn.add C3: values must be i8 or ui8, not tensor<2x3xi4>",
    ),
    (
        "mul",
        (Q, Q),
        {**BINARY, "y_zero_point": 200},
        "qnn.mul C4: the zero point must lie in -128..127, not 200",
    ),
    (
        "concat",
        (Q, Q),
        {**BINARY, "axis": 2},
        "qnn.concat C1: tensor<2x3xi8> has no axis 2",
    ),
    (
        "concat",
        (Q, Tensor((3, 3), "i8")),
        {**BINARY, "axis": 1},
        "qnn.concat C1: sizes but that of axis 1 must be equal, not tensor<2x3xi8> and "
        "tensor<3x3xi8>",
    ),
    (
        "matmul",
        (Q, Tensor((4, 3), "i8")),
        {"x_zero_point": 0, "w_zero_point": 0},
        "qnn.matmul C2: inner dimensions differ in tensor<2x3xi8> @ tensor<4x3xi8>",
    ),
    (
        "matmul",
        (Q, Tensor((3, 4), "i4")),
        {"x_zero_point": 0, "w_zero_point": 9},
        "qnn.matmul C5: the zero point must lie in -8..7, not 9",
    ),
    (
        "matmul",
        (Tensor((2, 3), "i16"), Tensor((3, 4), "i8"), Tensor((4,), "i32")),
        {"x_zero_point": 0, "w_zero_point": 0},
        "qnn.matmul C5: the bias must be i64, not tensor<4xi32>",
    ),
    (
        "matmul",
        (X, Tensor((3, 4), "i8")),
        {"x_zero_point": 0, "w_zero_point": 0},
        f"qnn.matmul C5: values must be {INTEGERS}, not tensor<2x3xf32>",
    ),
    (
        "conv2d",
        (IMAGE, FILTERS, Tensor((3,), "i64")),
        {**CONV, "x_zero_point": 0, "w_zero_point": 0},
        "qnn.conv2d C7: the bias must be i32, not tensor<3xi64>",
    ),
    (
        "matmul_integer",
        (Q, ACC),
        {},
        "qnn.matmul_integer C2: inner dimensions differ in tensor<2x3xi8> @ tensor<2x3xi32>",
    ),
    (
        "matmul_integer",
        (Q, Tensor((3, 4), "i32")),
        {},
        f"qnn.matmul_integer C4: values must be {INTEGERS}, not tensor<3x4xi32>",
    ),
    (
        "matmul_integer",
        (Q, Tensor((3, 4), "i8"), Tensor((3,), "i8")),
        {},
        "qnn.matmul_integer C5: the zero point of tensor<2x3xi8> must have its type and one of "
        "the shapes (), (1,), (2,), (2, 1), not tensor<3xi8>",
    ),
    (
        "matmul_integer",
        (Q, Tensor((3, 4), "i8"), Tensor((), "i8"), Tensor((4,), "ui8")),
        {},
        "qnn.matmul_integer C5: the zero point of tensor<3x4xi8> must have its type and one of "
        "the shapes (), (1,), (4,), (1, 4), not tensor<4xui8>",
    ),
    (
        "conv_integer",
        (IMAGE, Tensor((3, 2, 3, 3), "f32")),
        CONV,
        f"qnn.conv_integer C6: values must be {INTEGERS}, not tensor<3x2x3x3xf32>",
    ),
    (
        "conv_integer",
        (IMAGE, FILTERS, Tensor((2,), "i8")),
        CONV,
        "qnn.conv_integer C7: the zero point of tensor<1x2x4x4xi8> must have its type and one "
        "of the shapes (), (1,), not tensor<2xi8>",
    ),
    (
        "average_pool2d",
        (Tensor((1, 2, 4, 4), "i16"),),
        {**POOL, **WINDOW},
        "qnn.average_pool2d C3: values must be i8 or ui8, not tensor<1x2x4x4xi16>",
    ),
    (
        "average_pool2d",
        (IMAGE,),
        {**POOL, **WINDOW, "count_include_pad": 2},
        "qnn.average_pool2d C7: count_include_pad must be 0 or 1, not 2",
    ),
    (
        "global_average_pool",
        (Q,),
        POOL,
        "qnn.global_average_pool C1: the operand needs rank 4, not tensor<2x3xi8>",
    ),
    (
        "softmax",
        (Tensor((2, 0), "i8"),),
        SOFTMAX,
        "qnn.softmax C1: axis -1 of tensor<2x0xi8> must not be empty",
    ),
    (
        "softmax",
        (ACC,),
        SOFTMAX,
        "qnn.softmax C3: values must be i8 or ui8, not tensor<2x3xi32>",
    ),
    (
        "softmax",
        (Q,),
        {**SOFTMAX, "y_zero_point": 128},
        "qnn.softmax C4: the zero point must lie in -128..127, not 128",
    ),
    (
        "lookup",
        (X, Tensor((256,), "i8")),
        {},
        f"qnn.lookup C1: values must be {INTEGERS}, not tensor<2x3xf32>",
    ),
    (
        "lookup",
        (Tensor((2, 3), "ui4"), Tensor((256,), "i8")),
        {},
        "qnn.lookup C2: the table for ui4 must have shape (16,), not tensor<256xi8>",
    ),
    (
        "dynamic_quantize",
        (Tensor((0,), "f32"),),
        {},
        "qnn.dynamic_quantize C1: the operand must be float32 and not empty, not tensor<0xf32>",
    ),
]


def _built(kind: str, types: tuple[Tensor, ...], attributes: dict[str, Any]) -> None:
    build = ModuleBuilder("m")
    values = [build.input(f"in{i}", t.shape, t.dtype) for i, t in enumerate(types)]
    build.ops(kind, values, attributes, name="layer1")


@pytest.mark.parametrize(("kind", "types", "attributes", "message"), CASES)
def test_a_broken_constraint_says_which(
    kind: str, types: tuple[Tensor, ...], attributes: dict[str, Any], message: str
) -> None:
    with pytest.raises(IRError) as caught:
        _built(f"qnn.{kind}", types, attributes)
    assert str(caught.value) == f"layer1: {message}"


def test_every_operator_stands_in_the_table_of_messages() -> None:
    named = {f"qnn.{kind}" for kind, *_ in CASES}
    own = {kind for kind, op in OPS.items() if op.__module__.startswith("tetrapla.ir.quant.")}
    assert named == {kind for kind in own if not OPS[kind].__module__.endswith(ELSEWHERE)}


# of every operator whose scales are attributes: constraint and the scale's name
SCALED = [
    ("add", "C2", "a_scale"),
    ("add", "C2", "y_scale"),
    ("mul", "C2", "b_scale"),
    ("concat", "C2", "y_scale"),
    ("softmax", "C2", "x_scale"),
    ("softmax", "C2", "y_scale"),
    ("average_pool2d", "C7", "x_scale"),
    ("global_average_pool", "C7", "y_scale"),
]
# 1e-50 is 0 in float32, in which MLIR keeps the attribute, and 1e39 an infinity
ODD = [0.0, -0.5, float("nan"), float("inf"), 1e-50, 1e39]


@pytest.mark.parametrize(("name", "constraint", "scale"), SCALED)
@pytest.mark.parametrize("value", ODD)
def test_a_scale_must_be_positive_and_finite(
    name: str, constraint: str, scale: str, value: float
) -> None:
    types, attributes = OPS[f"qnn.{name}"].example or ((), {})
    with pytest.raises(IRError) as caught:
        _built(f"qnn.{name}", types, {**attributes, scale: value})
    assert str(caught.value) == (
        f"layer1: qnn.{name} {constraint}: {scale} must be positive and finite in float32, "
        f"not {value}"
    )


def test_a_table_of_odd_scales_or_types_is_refused() -> None:
    with pytest.raises(IRError) as caught:
        lookup_table(relu, 0.0, 0, 1.0, 0)
    assert str(caught.value) == (
        "qnn.lookup table: x_scale must be positive and finite in float32, not 0.0"
    )
    with pytest.raises(IRError) as caught:
        lookup_table(relu, 1.0, 128, 1.0, 0)
    assert str(caught.value) == (
        "qnn.lookup table C4: the zero point must lie in -128..127, not 128"
    )
    with pytest.raises(IRError) as caught:
        lookup_table(lambda x: x.astype(np.float64), 1.0, 0, 1.0, 0)
    assert str(caught.value) == "qnn.lookup table's function must make float32, not float64"
