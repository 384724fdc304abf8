"""Constraints of the operators with blocks, and of rescaling by integers."""

from __future__ import annotations

from typing import Any

import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError
from tetrapla.ir.op import OPS, Tensor

X, ONE = Tensor((2, 3), "f32"), Tensor((1,), "f32")
Q, ACC = Tensor((2, 3), "i8"), Tensor((2, 3), "i32")
SMALL = "f8E4M3FN, f8E5M2, f6E2M3FN, f6E3M2FN or f4E2M1FN"
WHOLE = "i2, ui2, i4, ui4, i8, ui8, i16, ui16"
RESCALE = {
    "x_zero_point": 0,
    "zero_point": 0,
    "low": -128,
    "high": 127,
    "axis": 0,
    "dtype": "i8",
    "rounding": "single",
}
FACTOR = Tensor((1,), "i32")
MX = {"axis": 1, "block_size": 2, "dtype": "f8E4M3FN"}
NVFP4 = {"axis": 1, "block_size": 2}
MODULES = ("blocks", "micro", "rescale")  # those whose operators stand here

Case = tuple[str, tuple[Tensor, ...], dict[str, Any], str]
CASES: list[Case] = [
    (
        "quantize_blocks",
        (X, ONE),
        {"blocks": (1,), "dtype": "i8"},
        "qnn.quantize_blocks C1: there must be one positive block size per axis of "
        "tensor<2x3xf32>, not (1,)",
    ),
    (
        "quantize_blocks",
        (X, Tensor((2, 1), "f32")),
        {"blocks": (1, 2), "dtype": "i8"},
        "qnn.quantize_blocks C2: the scale of tensor<2x3xf32> in blocks of (1, 2) must have "
        "shape (2, 2), not tensor<2x1xf32>",
    ),
    (
        "quantize_blocks",
        (X, Tensor((2, 2), "f32")),
        {"blocks": (1, 2), "dtype": "f8E8M0FNU"},
        f"qnn.quantize_blocks C3: the type must be {WHOLE}, {SMALL}, not 'f8E8M0FNU'",
    ),
    (
        "quantize_blocks",
        (X, Tensor((2, 2), "f32"), Tensor((2, 2), "i8")),
        {"blocks": (1, 2), "dtype": "ui4"},
        "qnn.quantize_blocks C4: the zero point must be tensor<2x2xui4> of an integer type, "
        "not tensor<2x2xi8>",
    ),
    (
        "quantize_blocks",
        (X, Tensor((2, 2), "f64")),
        {"blocks": (1, 2), "dtype": "i8"},
        "qnn.quantize_blocks C5: values must be f32, f16, bf16, f8E8M0FNU or f8E4M3FN, "
        "not tensor<2x2xf64>",
    ),
    (
        "dequantize_blocks",
        (Tensor((2, 3), "i4"), Tensor((2, 2), "f8E8M0FNU")),
        {"blocks": (1, 2)},
        "qnn.dequantize_blocks C6: under an E8M0 scale an integer must be i8 without zero "
        "point, not i4",
    ),
    (
        "dequantize_blocks",
        (X, Tensor((2, 2), "f32")),
        {"blocks": (1, 2)},
        f"qnn.dequantize_blocks C3: values must be {WHOLE}, {SMALL}, not tensor<2x3xf32>",
    ),
    (
        "mx_quantize",
        (X,),
        {**MX, "axis": 2},
        "qnn.mx_quantize C1: tensor<2x3xf32> has no axis 2",
    ),
    (
        "mx_quantize",
        (X,),
        {**MX, "block_size": 0},
        "qnn.mx_quantize C2: the block size must be positive, not 0",
    ),
    (
        "mx_quantize",
        (X,),
        {**MX, "dtype": "i4"},
        f"qnn.mx_quantize C3: the type must be {SMALL.replace(' or ', ', ')} or i8, not 'i4'",
    ),
    (
        "mx_quantize",
        (Tensor((2, 3), "f16"),),
        MX,
        "qnn.mx_quantize C4: values must be f32, not tensor<2x3xf16>",
    ),
    (
        "nvfp4_quantize",
        (X, Tensor((2,), "f32")),
        NVFP4,
        "qnn.nvfp4_quantize C3: the tensor scale must be f32 of shape () or (1,), "
        "not tensor<2xf32>",
    ),
    (
        "nvfp4_dequantize",
        (Tensor((2, 3), "f4E2M1FN"), Tensor((2, 3), "f8E4M3FN"), ONE),
        NVFP4,
        "qnn.nvfp4_dequantize C2: the scale must be tensor<2x2xf8E4M3FN>, "
        "not tensor<2x3xf8E4M3FN>",
    ),
    (
        "nvfp4_dequantize",
        (Q, Tensor((2, 2), "f8E4M3FN"), ONE),
        NVFP4,
        "qnn.nvfp4_dequantize C3: values must be f4E2M1FN, not tensor<2x3xi8>",
    ),
    (
        "rescale",
        (ACC, FACTOR, FACTOR),
        {**RESCALE, "axis": -3},
        "qnn.rescale C1: tensor<2x3xi32> has no axis -3",
    ),
    (
        "rescale",
        (ACC, Tensor((3,), "i32"), FACTOR),
        RESCALE,
        "qnn.rescale C2: the multiplier must be of shape (1,) or one per index of axis 0 of "
        "tensor<2x3xi32>, not tensor<3xi32>",
    ),
    (
        "rescale",
        (ACC, FACTOR, Tensor((1,), "i8")),
        RESCALE,
        "qnn.rescale C2: values must be i32, not tensor<1xi8>",
    ),
    (
        "rescale",
        (ACC, FACTOR, FACTOR),
        {**RESCALE, "dtype": "i64"},
        f"qnn.rescale C3: the type must be {WHOLE} or i32, not 'i64'",
    ),
    (
        "rescale",
        (ACC, FACTOR, FACTOR),
        {**RESCALE, "high": 128},
        "qnn.rescale C4: zero point, low and high must lie in -128..127 and low must not "
        "exceed high, not 0, -128 and 128",
    ),
    (
        "rescale",
        (Tensor((2, 3), "i64"), FACTOR, FACTOR),
        RESCALE,
        f"qnn.rescale C5: values must be {WHOLE} or i32, not tensor<2x3xi64>",
    ),
    (
        "rescale",
        (ACC, FACTOR, FACTOR),
        {**RESCALE, "x_zero_point": 1},
        "qnn.rescale C6: the zero point of i32 must be 0, not 1",
    ),
    (
        "rescale",
        (ACC, FACTOR, FACTOR),
        {**RESCALE, "rounding": "up"},
        "qnn.rescale C7: rounding must be one of single, double, tflite_double, single16, "
        "not 'up'",
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
    assert named == {kind for kind in own if OPS[kind].__module__.endswith(MODULES)}
