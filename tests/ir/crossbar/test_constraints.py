"""Every constraint of the dialect, by its whole message."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError
from tetrapla.ir.op import OPS, Tensor

G, V = Tensor((2, 3, 4), "f64"), Tensor((5, 2, 3), "f64")
ONE, TWO, FOUR = (Tensor(shape, "f64") for shape in ((), (2,), (4,)))
CELLS, LINES = Tensor((2, 3, 4), "i1"), Tensor((3, 1), "i1")
W, X, IMAGE = Tensor((6, 3), "i8"), Tensor((2, 6), "i8"), Tensor((1, 6, 3), "i8")
FLOAT = Tensor((6, 3), "f32")
CODES, SUMS, CONSTANT = Tensor((3, 2, 4, 5), "i32"), Tensor((4, 6), "i64"), Tensor((3,), "i64")
INTEGERS = "i8 or i16 or i32 or ui8 or ui16"
SCHEMES = "differential, offset_column, digital_offset, n_pair"
MAP = {"scheme": "differential", "cell_bits": 2, "slices": 4, "pairs": 1}
DRIFT = {"time_s": 100.0, "start_s": 20.0}
DAC = {"code_bits": 8, "digit_bits": 1, "format": "unsigned", "step_v": 1.0}
MVM = {"pairs": 1, "subtracted": 0}
ADC = {"bits": 8, "format": "unsigned", "rounding": "floor"}
SHIFT = {
    "shifts": (0, 2),
    "negative": (0, 1),
    "digit_bits": 1,
    "signed_inputs": 0,
    "code_bits": 8,
    "code_format": "unsigned",
    "sum_bits": 32,
    "overflow": "wrap",
}
PLAIN = {"scheme": "differential", "offset": 0}
DIGITAL = {"scheme": "digital_offset", "offset": 8}

Case = tuple[str, tuple[Tensor, ...], dict[str, Any], str]
CASES: list[Case] = [
    ("map", (FLOAT,), MAP, f"C1: weights must be {INTEGERS}, not tensor<6x3xf32>"),
    (
        "map",
        (IMAGE,),
        MAP,
        "C1: the operand must be weights [rows, outputs], not tensor<1x6x3xi8>",
    ),
    (
        "map",
        (W,),
        {**MAP, "scheme": "pair"},
        f"C2: scheme must be one of {SCHEMES}, not 'pair'",
    ),
    (
        "map",
        (W,),
        {**MAP, "cell_bits": 9},
        "C3: cells must have 1 to 8 bits, and slices and pairs be 1 or more, not 9, 4 and 1; "
        "name numbers in range",
    ),
    (
        "map",
        (W,),
        {**MAP, "pairs": 2},
        "C3: differential must have 1 pair, not 2; use the scheme n_pair",
    ),
    (
        "map",
        (W,),
        {**MAP, "slices": 16},
        "C3: slices must have at most 31 bits together, not 32; use fewer slices or bits a "
        "cell",
    ),
    (
        "fault",
        (W, FOUR, CELLS, CELLS, LINES, LINES),
        {},
        "C1: values must be f64, not tensor<6x3xi8>",
    ),
    (
        "fault",
        (G, TWO, CELLS, CELLS, LINES, LINES),
        {},
        "C1: conducts must have one value for each of 4 faults, not tensor<2xf64>",
    ),
    (
        "fault",
        (G, FOUR, CELLS, CELLS, LINES, ONE),
        {},
        "C2: a mask must be i1, not tensor<f64>",
    ),
    (
        "fault",
        (G, FOUR, CELLS, CELLS, Tensor((5, 1), "i1"), LINES),
        {},
        "C2: shapes must broadcast, not tensor<2x3x4xf64> and tensor<5x1xi1>",
    ),
    (
        "fault",
        (G, FOUR, Tensor((2, 2, 3, 4), "i1"), CELLS, LINES, LINES),
        {},
        "C2: a mask must broadcast to tensor<2x3x4xf64>, not tensor<2x2x3x4xi1>",
    ),
    ("program", (W, TWO, TWO), {}, "C1: values must be f64, not tensor<6x3xi8>"),
    (
        "program",
        (G, ONE, TWO),
        {},
        "C2: coefficients must be a list of 1 or more and limits of 2, not tensor<f64> and "
        "tensor<2xf64>",
    ),
    (
        "program",
        (G, FOUR, FOUR),
        {},
        "C2: coefficients must be a list of 1 or more and limits of 2, not tensor<4xf64> and "
        "tensor<4xf64>",
    ),
    (
        "program",
        (G, FOUR, TWO, FOUR),
        {},
        "C3: z must be tensor<2x3x4xf64>, not tensor<4xf64>",
    ),
    ("drift", (G, FLOAT), DRIFT, "C1: values must be f64, not tensor<6x3xf32>"),
    (
        "drift",
        (FOUR, G),
        DRIFT,
        "C1: nu must broadcast to tensor<4xf64>, not tensor<2x3x4xf64>",
    ),
    (
        "drift",
        (G, ONE),
        {"time_s": 1.0, "start_s": 0.0},
        "C2: start_s must be positive, not 0",
    ),
    (
        "drift",
        (G, ONE),
        {"time_s": 10.0, "start_s": 20.0},
        "C2: time_s must be start_s, 20, or later, not 10",
    ),
    ("dac", (FLOAT,), DAC, f"C1: numbers must be {INTEGERS}, not tensor<6x3xf32>"),
    (
        "dac",
        (IMAGE,),
        DAC,
        "C1: the operand must be numbers [vectors, rows], not tensor<1x6x3xi8>",
    ),
    ("dac", (X,), {**DAC, "code_bits": 32}, "C2: code_bits must be 1 to 31, not 32"),
    ("dac", (X,), {**DAC, "digit_bits": 0}, "C2: digit_bits must be 1 to 8, not 0"),
    (
        "dac",
        (X,),
        {**DAC, "digit_bits": 2, "format": "twos_complement"},
        "C2: digit_bits of twos_complement must be 1, not 2",
    ),
    (
        "dac",
        (X,),
        {**DAC, "format": "signed"},
        "C3: format must be one of unsigned, offset, twos_complement, sign_magnitude, not "
        "'signed'",
    ),
    (
        "dac",
        (X,),
        {**DAC, "code_bits": 1, "format": "sign_magnitude"},
        "C3: code_bits of sign_magnitude must be 2 or more, not 1",
    ),
    ("dac", (X,), {**DAC, "step_v": -0.5}, "C4: step_v must be positive, not -0.5"),
    ("mvm", (G, W), MVM, "C1: values must be f64, not tensor<6x3xi8>"),
    (
        "mvm",
        (FOUR, V),
        MVM,
        "C2: the operand must be g [parts, rows, columns], not tensor<4xf64>",
    ),
    (
        "mvm",
        (G, FOUR),
        MVM,
        "C2: the operand must be v [digits, vectors, rows], not tensor<4xf64>",
    ),
    (
        "mvm",
        (G, G),
        MVM,
        "C2: g and v must have equally many rows, not tensor<2x3x4xf64> and tensor<2x3x4xf64>",
    ),
    ("mvm", (G, V, G), MVM, "C3: variance must come with z, not alone"),
    (
        "mvm",
        (G, V, G, G),
        MVM,
        "C3: variance and z must be tensor<2x3x4xf64> and tensor<5x2x2x4xf64>, not "
        "tensor<2x3x4xf64> and tensor<2x3x4xf64>",
    ),
    (
        "mvm",
        (G, V),
        {**MVM, "pairs": 3},
        "C4: pairs must be 1 or more and divide 2 parts, not 3",
    ),
    (
        "mvm",
        (Tensor((2, 3, 5), "f64"), V),
        {**MVM, "subtracted": 1},
        "C5: subtracted must be 0, or 1 of an even number of columns, not 1 of 5",
    ),
    ("adc", (W, ONE), ADC, "C1: values must be f64, not tensor<6x3xi8>"),
    (
        "adc",
        (FOUR, G),
        ADC,
        "C1: the lsb must broadcast to tensor<4xf64>, not tensor<2x3x4xf64>",
    ),
    ("adc", (G, ONE), {**ADC, "bits": 0}, "C2: bits must be 1 to 31, not 0"),
    (
        "adc",
        (G, ONE),
        {**ADC, "format": "twos_complement"},
        "C3: format must be one of unsigned, offset, signed, not 'twos_complement'",
    ),
    (
        "adc",
        (G, ONE),
        {**ADC, "rounding": "up"},
        "C4: rounding must be one of half_even, half_up, floor, truncate, not 'up'",
    ),
    (
        "shift_add",
        (SUMS,),
        SHIFT,
        "C1: codes must be i32 [digits, parts, ...], not tensor<4x6xi64>",
    ),
    (
        "shift_add",
        (CODES,),
        {**SHIFT, "shifts": (0, 2, 4)},
        "C2: 2 parts must have a shift and a 0 or 1 each, not (0, 2, 4) and (0, 1)",
    ),
    (
        "shift_add",
        (CODES,),
        {**SHIFT, "code_format": "words"},
        "C3: code_format must be one of unsigned, offset, signed, not 'words'",
    ),
    (
        "shift_add",
        (CODES,),
        {**SHIFT, "overflow": "trap"},
        "C3: overflow must be one of saturate, wrap, not 'trap'",
    ),
    (
        "shift_add",
        (CODES,),
        {**SHIFT, "signed_inputs": 2},
        "C3: signed_inputs must be 0 or 1, not 2",
    ),
    (
        "shift_add",
        (CODES,),
        {**SHIFT, "digit_bits": 9},
        "C4: digit_bits must be 1 to 8, not 9",
    ),
    (
        "shift_add",
        (CODES,),
        {**SHIFT, "sum_bits": 60},
        "C4: shift_add must have at most 61 bits in a code and a sum together, not 8 and 60; "
        "narrow one",
    ),
    (
        "combine",
        (CODES, CONSTANT),
        PLAIN,
        "C1: sums and constant must be i64 [vectors, columns] and [outputs], not "
        "tensor<3x2x4x5xi32> and tensor<3xi64>",
    ),
    (
        "combine",
        (SUMS, CONSTANT),
        {"scheme": "pair", "offset": 0},
        f"C2: scheme must be one of {SCHEMES}, not 'pair'",
    ),
    (
        "combine",
        (SUMS, CONSTANT),
        {"scheme": "offset_column", "offset": 0},
        "C3: 3 outputs of offset_column must have 4 columns, not 6",
    ),
    (
        "combine",
        (SUMS, CONSTANT),
        {"scheme": "differential", "offset": 8},
        "C4: differential must have no inputs and offset 0, not None and 8",
    ),
    (
        "combine",
        (Tensor((2, 3), "i64"), CONSTANT),
        DIGITAL,
        "C4: digital_offset must have integers [2, rows] and a positive offset, not None and 8",
    ),
    (
        "combine",
        (Tensor((2, 3), "i64"), CONSTANT, W),
        DIGITAL,
        "C4: digital_offset must have integers [2, rows] and a positive offset, not "
        "tensor<6x3xi8> and 8",
    ),
    ("affine", (W, ONE, ONE), {}, "C1: x must be f64 or i64, not tensor<6x3xi8>"),
    ("affine", (G, W, ONE), {}, "C1: values must be f64, not tensor<6x3xi8>"),
    (
        "affine",
        (FOUR, G, ONE),
        {},
        "C1: gain and offset must broadcast to tensor<4xf64>, not tensor<2x3x4xf64> and "
        "tensor<f64>",
    ),
    (
        "sense",
        (SUMS,),
        {"by": "whole", "floor": 0.0},
        "C1: values must be f64, not tensor<4x6xi64>",
    ),
    (
        "sense",
        (G,),
        {"by": "whole", "floor": 0.0},
        "C1: the operand must be [vectors, columns], not tensor<2x3x4xf64>",
    ),
    (
        "sense",
        (Tensor((0, 3), "f64"),),
        {"by": "whole", "floor": 0.0},
        "C1: there must be vectors and columns, not tensor<0x3xf64>",
    ),
    (
        "sense",
        (Tensor((2, 3), "f64"),),
        {"by": "row", "floor": 0.0},
        "C2: by must be one of column, whole, not 'row'",
    ),
    (
        "sense",
        (Tensor((2, 3), "f64"),),
        {"by": "column", "floor": -1.0},
        "C3: floor must not be negative, not -1",
    ),
]


@pytest.mark.parametrize(("kind", "types", "attributes", "message"), CASES)
def test_a_broken_constraint_says_which(
    kind: str, types: tuple[Tensor, ...], attributes: dict[str, Any], message: str
) -> None:
    build = ModuleBuilder("m")
    values = [build.input(f"in{i}", t.shape, t.dtype) for i, t in enumerate(types)]
    with pytest.raises(IRError) as caught:
        build.op(f"crossbar.{kind}", values, attributes, name="layer1")
    assert str(caught.value) == f"layer1: crossbar.{kind} {message}"


def test_every_constraint_of_every_operator_stands_in_the_table() -> None:
    named = {(kind, message.split(":")[0]) for kind, *_, message in CASES}
    stated = {
        (kind.removeprefix("crossbar."), number)
        for kind, op in OPS.items()
        if kind.startswith("crossbar.")
        for number in re.findall(r"^\s*(C\d+):", op.__doc__ or "", re.MULTILINE)
    }
    assert named == stated
