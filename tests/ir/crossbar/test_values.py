"""What each operator computes and how often the chip's units act, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.ir.crossbar.chains import Chain, module_of, planes
from tetrapla.ir.crossbar.dialect import actions
from tetrapla.ir.crossbar.mapping import Layout, largest_sum, lossless_bits, slices_for
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.op import evaluated


def value(kind: str, *operands: Any, **attributes: Any) -> Any:
    """The result of one operator, as lists."""
    arrays = [np.asarray(operand) for operand in operands]
    return evaluated(f"crossbar.{kind}", arrays, attributes).tolist()


def floats(*numbers: float) -> Array:
    return np.array(numbers, np.float64)


def test_weights_lie_in_slices_of_their_parts() -> None:
    w = np.array([[5, -3]], np.int8)
    two: dict[str, Any] = {"cell_bits": 2, "slices": 2, "pairs": 1}
    # 5 = 1 + 4 x 1, 3 = 3 + 4 x 0; positive columns, then negative ones
    found = value("map", w, scheme="differential", **two)
    assert found == [[[1, 0, 0, 3]], [[1, 0, 0, 0]]]
    # the offset is 2^(2 x 2 - 1) = 8: 13 = 1 + 4 x 3, 5 = 1 + 4 x 1, 8 = 0 + 4 x 2
    assert value("map", w, scheme="digital_offset", **two) == [[[1, 1]], [[3, 1]]]
    assert value("map", w, scheme="offset_column", **two) == [[[1, 1, 0]], [[3, 1, 2]]]


def test_pairs_share_a_value_evenly() -> None:
    # three cells of levels 0 to 3 hold 0 to 9: 7 = 2 + 2 + 3 and 4 = 1 + 1 + 2
    found = value(
        "map", np.array([[7, -4]], np.int8), scheme="n_pair", cell_bits=2, slices=1, pairs=3
    )
    assert found == [[[2, 0, 0, 1]], [[2, 0, 0, 1]], [[3, 0, 0, 2]]]


@pytest.mark.parametrize(
    ("layout", "limits"),
    [
        (Layout("differential", 2, 2), (-15, 15)),
        (Layout("digital_offset", 2, 2), (-8, 7)),
        (Layout("offset_column", 1, 8), (-128, 127)),
        # two cells hold 0 to 6, so a slice has 2 bits and the last one reaches 6: 6 x 4 + 3
        (Layout("n_pair", 2, 2, 2), (-27, 27)),
    ],
)
def test_what_cells_hold(layout: Layout, limits: tuple[int, int]) -> None:
    assert layout.limits == limits


def test_slices_are_as_few_as_hold_the_weights() -> None:
    assert slices_for("differential", 2, np.array([[127, -127]])) == 4  # 7 bits
    assert slices_for("digital_offset", 2, np.array([[127, -128]])) == 4  # 8 bits
    assert slices_for("digital_offset", 2, np.array([[128]])) == 5
    assert slices_for("differential", 2, np.array([[0]])) == 1


def test_lossless_bits_by_hand() -> None:
    assert largest_sum(128, 2, 1) == 384
    assert lossless_bits(128, 2, 1) == 9  # 2^8 <= 384 < 2^9
    assert lossless_bits(85, 2, 1) == 8  # 255: the last that 8 bits hold
    assert lossless_bits(86, 2, 1) == 9
    assert lossless_bits(128, 2, 1, pairs=2) == 10


def test_a_later_fault_hides_an_earlier_one() -> None:
    g = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    masks: Sequence[Any] = (
        [[True, True, False], [True, False, False]],  # stuck low
        [[False, True, False], [False, False, False]],  # stuck high
        [[False], [True]],  # the second row is shorted
        [False, False, True],  # the last column is open
    )
    found = value("fault", g, floats(0.1, 9.0, 20.0, 0.0), *masks)
    assert found == [[0.1, 9.0, 0.0], [20.0, 20.0, 0.0]]


def test_programming_errs_by_its_polynomial_and_is_clipped() -> None:
    target = floats(2.0, 2.0, 0.0, 4.0)
    coefficients, limits = floats(1.0, 0.5, 0.25), floats(0.0, 4.0)
    z = floats(-0.5, 0.25, -1.0, 1.0)
    # sigma(2) = 1 + 1 + 1, sigma(0) = 1, sigma(4) = 7
    assert value("program", target, coefficients, limits, z) == [0.5, 2.75, 0.0, 4.0]
    assert value("program", target, coefficients, limits) == [2.0, 2.0, 0.0, 4.0]
    # a standard deviation is not negative: 1 - 2
    assert value("program", floats(2.0), floats(1.0, -1.0), limits, floats(3.0)) == [2.0]


def test_drift_is_a_power_of_time() -> None:
    found = value("drift", floats(2.0, 3.0), floats(0.5, 0.0), time_s=80.0, start_s=20.0)
    assert found == [1.0, 3.0]  # 4^-0.5


@pytest.mark.parametrize(
    ("form", "number", "digits"),
    [
        ("unsigned", 11, [3, 2]),  # 3 + 4 x 2
        ("offset", -5, [3, 0]),  # 8 - 5
        ("offset", 3, [3, 2]),
        ("sign_magnitude", -6, [-2, -1]),
        ("sign_magnitude", 7, [3, 1]),
    ],
)
def test_digits_by_hand(form: str, number: int, digits: list[int]) -> None:
    x = np.array([[number]], np.int8)
    found = value("dac", x, code_bits=4, digit_bits=2, format=form, step_v=0.5)
    assert np.ravel(found).tolist() == [0.5 * digit for digit in digits]


def test_planes_of_twos_complement_by_hand() -> None:
    x = np.array([[-6, 5]], np.int8)  # 1010 and 0101
    found = value("dac", x, code_bits=4, digit_bits=1, format="twos_complement", step_v=1.0)
    assert np.array(found)[:, 0].T.tolist() == [[0, 1, 0, 1], [1, 0, 1, 0]]


def test_currents_add_up_over_rows_and_copies() -> None:
    g = [[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [1.0, 0.0]]]
    v = [[[1.0, 10.0]]]
    # 1 + 30, 2 + 40; 0 + 10, 1 + 0
    one, two = ({"pairs": pairs, "subtracted": 0} for pairs in (1, 2))
    assert value("mvm", g, v, **one) == [[[[31.0, 42.0]], [[10.0, 1.0]]]]
    assert value("mvm", g, v, **two) == [[[[41.0, 43.0]]]]
    assert value("mvm", g, v, pairs=2, subtracted=1) == [[[[-2.0]]]]
    variance = np.array([[[9.0, 0.0], [0.16, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])
    z = np.array([[[[2.0, -1.0]]]])
    # sqrt(9 + 100 x 0.16) = 5, sqrt(1)
    assert value("mvm", g, v, variance, z, **two) == [[[[51.0, 42.0]]]]
    # variances of a difference add up: sqrt(25 + 1)
    found = value("mvm", g, v, variance, z[..., :1], pairs=2, subtracted=1)
    assert found == [[[[-2.0 + np.sqrt(26.0) * 2.0]]]]


@pytest.mark.parametrize(
    ("rounding", "codes"),
    [
        ("half_even", [0, 0, 0, 2, 2, 3, 15, 15]),
        ("half_up", [0, 0, 1, 2, 3, 3, 15, 15]),
        ("floor", [0, 0, 0, 1, 2, 2, 15, 15]),
        ("truncate", [0, 0, 0, 1, 2, 2, 15, 15]),
    ],
)
def test_unsigned_codes_are_rounded_as_named(rounding: str, codes: list[int]) -> None:
    current = floats(-3.0, -0.5, 0.5, 1.5, 2.5, 2.75, 99.0, np.nan) * 2
    found = value("adc", current, 2.0, bits=4, format="unsigned", rounding=rounding)
    assert found == codes


def test_signed_codes_are_words() -> None:
    current = floats(-9.0, -8.0, -1.5, -0.5, 7.0, 8.0)
    # -8, -8, -2, 0, 7, 7 in four bits; truncated, -1 for -2
    signed = {"bits": 4, "rounding": "half_even"}
    assert value("adc", current, 1.0, format="signed", **signed) == [8, 8, 14, 0, 7, 7]
    assert value("adc", current, 1.0, format="offset", **signed) == [0, 0, 6, 8, 15, 15]
    found = value("adc", current, 1.0, bits=4, format="offset", rounding="truncate")
    assert found == [0, 0, 7, 8, 15, 15]


def test_a_step_may_differ_between_columns() -> None:
    found = value(
        "adc", [[8.0, 8.0]], floats(1.0, 4.0), bits=4, format="unsigned", rounding="floor"
    )
    assert found == [[8, 2]]


def test_codes_are_shifted_and_added() -> None:
    codes = np.array([[[[3]], [[1]]], [[[2]], [[5]]]], np.int32)
    found = value(
        "shift_add",
        codes,
        shifts=(0, 2),
        negative=(0, 1),
        digit_bits=3,
        signed_inputs=0,
        code_bits=4,
        code_format="unsigned",
        sum_bits=16,
        overflow="wrap",
    )
    assert found == [[-145]]  # 3 - 1 x 4 + (2 - 5 x 4) x 8


def test_columns_are_combined_by_their_scheme() -> None:
    constant = np.array([100, 200])
    four, three, two = ([[9, 8, 7, 6]], [[9, 8, 7]], [[9, 8]])
    assert value("combine", four, constant, scheme="differential", offset=0) == [[102, 202]]
    assert value("combine", four, constant, scheme="n_pair", offset=0) == [[102, 202]]
    # what converters saw as differences
    assert value("combine", two, constant, scheme="n_pair", offset=0) == [[109, 208]]
    assert value("combine", three, constant, scheme="offset_column", offset=0) == [[102, 201]]
    inputs = np.array([[1, -2, 4]], np.int8)
    # 8 x (1 - 2 + 4) = 24
    found = value("combine", two, constant, inputs, scheme="digital_offset", offset=8)
    assert found == [[85, 184]]


def test_gains_and_offsets_and_the_read_out_that_undoes_drift() -> None:
    assert value("affine", [[1, 2]], floats(2.0, 0.5), 1.0) == [[3.0, 2.0]]
    y = [[1.0, -4.0], [-3.0, 0.0]]
    assert value("sense", y, by="column", floor=0.0) == [2.0, 2.0]
    assert value("sense", y, by="whole", floor=0.0) == 2.0
    assert value("sense", y, by="column", floor=2.5) == [2.5, 2.5]


def test_a_global_gain_undoes_a_drift_that_all_cells_share() -> None:
    rng = np.random.default_rng(0)
    g, nu = rng.uniform(1, 25, (1, 16, 6)), np.full((1, 16, 6), 0.06)
    v = np.eye(16)[None]
    later = value("drift", g, nu, time_s=86400.0, start_s=20.0)
    before, after = (
        np.array(value("mvm", cells, v, pairs=1, subtracted=0))[0, 0] for cells in (g, later)
    )
    levels = [value("sense", y, by="whole", floor=0.0) for y in (before, after)]
    found = value("affine", after, levels[0] / levels[1], 0.0)
    # one factor for all: what is left is the rounding of 16 x 6 sums, quotients and products
    assert np.allclose(found, before, rtol=128 * 2.0**-53, atol=0)


DATA_ERRORS = [
    (
        "map",
        ([[16]],),
        {"scheme": "differential", "cell_bits": 2, "slices": 2, "pairs": 1},
        "weights must lie in -15..15, which differential holds in 2 slices of 2-bit cells, not "
        "16 to 16; use more slices or bits a cell",
    ),
    (
        "dac",
        ([[-1, 3]],),
        {"code_bits": 4, "digit_bits": 1, "format": "unsigned", "step_v": 1.0},
        "inputs must lie in 0..15, which unsigned has in 4 bits, not -1 to 3; use more bits or "
        "another format",
    ),
    (
        "adc",
        ([1.0], 0.0),
        {"bits": 4, "format": "unsigned", "rounding": "floor"},
        "crossbar.adc lsb must be positive, not 0; calibrate the range",
    ),
]


@pytest.mark.parametrize(("kind", "operands", "attributes", "message"), DATA_ERRORS)
def test_data_that_no_type_refuses_are_an_error(
    kind: str, operands: tuple[Any, ...], attributes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError) as caught:
        value(kind, *operands, **attributes)
    assert str(caught.value) == message


def test_a_weight_beyond_every_cell_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        slices_for("differential", 4, np.array([[2**40]]))
    assert str(caught.value) == (
        "weights must have at most 31 bits, not 0 to 1099511627776; scale them down"
    )


def test_units_act_as_often_as_counted_by_hand() -> None:
    weights = np.ones((6, 3), np.int8)
    chain = Chain(Layout("differential", 2, 4), weights, 5, digit_bits=2)
    assert planes(chain) == 4
    assert actions(module_of(chain).graph.nodes) == {
        "cell.write": 4 * 6 * 6,  # slices, rows, columns
        "dac.convert": 4 * 5 * 6,  # digits, vectors, rows
        "crossbar.read": 4 * 5,
        "cell.read": 4 * 5 * 4 * 6 * 6,
        "adc.convert": 4 * 4 * 5 * 6,  # digits, slices, vectors, columns
        "shift_add.op": 4 * 4 * 5 * 6 + 5 * 3,  # a code each, and an output each
    }
    shared = Chain(Layout("n_pair", 2, 2, 3), weights, 5, digit_bits=2)
    found = actions(module_of(shared).graph.nodes)
    assert found["cell.write"] == 3 * 2 * 6 * 6
    assert found["adc.convert"] == 4 * 2 * 5 * 6  # pairs share a conversion
    seen = Chain(Layout("differential", 2, 4), weights, 5, digit_bits=2, subtracted=True)
    assert actions(module_of(seen).graph.nodes)["adc.convert"] == 4 * 4 * 5 * 3
    summed = Chain(Layout("digital_offset", 2, 4), weights, 5, digit_bits=2)
    found = actions(module_of(summed).graph.nodes)
    assert found["adc.convert"] == 4 * 4 * 5 * 3
    # a code each, an output each, and the inputs' own sum
    assert found["shift_add.op"] == 4 * 4 * 5 * 3 + 5 * 3 + 5 * 6
