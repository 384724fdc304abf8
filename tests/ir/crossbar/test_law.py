"""Lossless converters give the exact product, whatever the scheme and the widths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tetrapla
from tests.ir.crossbar.chains import Chain, inputs_of, module_of, product
from tetrapla.ir.crossbar.converters import digits
from tetrapla.ir.crossbar.mapping import PAIRED, SCHEMES, Layout, slices_for
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.op import OPS

GOLDEN = Path(tetrapla.__file__).parent / "data" / "golden" / "analog"
FORMS = (("offset", "i8", 8), ("unsigned", "ui8", 8), ("twos_complement", "i8", 8))
MIXED = (*FORMS, ("sign_magnitude", "i16", 9), ("offset", "i16", 12), ("unsigned", "ui8", 9))


@st.composite
def chains(draw: st.DrawFn) -> tuple[Chain, Array]:
    """A chain of any scheme and width, and its inputs."""
    scheme = draw(st.sampled_from(SCHEMES))
    cell_bits = draw(st.integers(1, 4))
    pairs = draw(st.integers(1, 5)) if scheme == "n_pair" else 1
    form, dtype, code_bits = draw(st.sampled_from(MIXED))
    digit_bits = 1 if form == "twos_complement" else draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    largest = draw(st.sampled_from((0, 1, 7, 127, 2047)))
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    weights = rng.integers(-largest, largest + 1, shape).astype(np.int16)
    layout = Layout(scheme, cell_bits, slices_for(scheme, cell_bits, weights, pairs), pairs)
    own: dict[str, Any] = {
        "dtype": dtype,
        "code_bits": code_bits,
        "digit_bits": digit_bits,
        "form": form,
    }
    subtracted = scheme in PAIRED and draw(st.booleans())
    chain = Chain(layout, weights, draw(st.integers(1, 3)), subtracted=subtracted, **own)
    return chain, inputs_of(chain, rng)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(chains())
def test_every_scheme_and_width_gives_the_integer_product(drawn: tuple[Chain, Array]) -> None:
    chain, x = drawn
    assert np.array_equal(evaluate(module_of(chain), {"x": x})["y"], product(x, chain))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("digit_bits", [1, 2, 3, 8])
@pytest.mark.parametrize("cell_bits", [1, 2, 3, 8])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_products_of_eight_bits_are_exact_on_every_cell_and_dac(
    scheme: str,
    cell_bits: int,
    digit_bits: int,
    form: tuple[str, str, int],
    rng: np.random.Generator,
) -> None:
    if form[0] == "twos_complement":
        digit_bits = 1
    weights = rng.integers(-128, 128, (64, 5)).astype(np.int8)
    weights[0] = -128  # the extreme that a symmetric format would lack
    pairs = 3 if scheme == "n_pair" else 1
    slices = slices_for(scheme, cell_bits, weights, pairs)
    layout = Layout(scheme, cell_bits, slices, pairs)
    own: dict[str, Any] = {
        "form": form[0],
        "dtype": form[1],
        "code_bits": form[2],
        "digit_bits": digit_bits,
    }
    chain = Chain(layout, weights, **own)
    x = inputs_of(chain, rng)
    assert np.array_equal(evaluate(module_of(chain), {"x": x})["y"], product(x, chain))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_bit_too_few_reads_too_low_where_all_cells_and_digits_are_at_the_top(
    scheme: str,
) -> None:
    pairs = 2 if scheme == "n_pair" else 1
    layout = Layout(scheme, 2, 2, pairs)
    weights = np.full((20, 1), layout.limits[1], np.int16)
    chain = Chain(layout, weights, 1, dtype="ui8", form="unsigned")
    x = np.full((1, 20), 255, np.uint8)
    exact = product(x, chain)
    assert evaluate(module_of(chain), {"x": x})["y"] == exact
    found = evaluate(module_of(replace(chain, missing_bits=1)), {"x": x})["y"]
    assert found < exact


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from(SCHEMES),
    st.integers(1, 8),
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
)
def test_cells_count_the_weight_again_and_are_within_their_levels(
    scheme: str, cell_bits: int, slices: int, pairs: int, seed: int
) -> None:
    layout = Layout(scheme, cell_bits, slices, pairs if scheme == "n_pair" else 1)
    low, high = layout.limits
    weights = np.random.default_rng(seed).integers(low, high + 1, (6, 3))
    weights[0, 0], weights[0, 1] = low, high
    levels = layout.levels(weights)
    assert levels.min() >= 0
    assert levels.max() <= layout.top
    slices_ = levels.reshape(layout.pairs, slices, *levels.shape[1:]).sum(axis=0)
    counted = np.tensordot(1 << np.array(layout.shifts), slices_, 1)
    if layout.offset == 0:
        counted = counted[:, :3] - counted[:, 3:]
    else:
        counted = counted[:, :3] - layout.offset
    assert np.array_equal(counted, weights)
    for beyond in (low - 1, high + 1):
        assert slices_for(scheme, cell_bits, np.array([[beyond]]), layout.pairs) == slices + 1


def op(kind: str) -> Callable[..., Any]:
    return OPS[f"crossbar.{kind}"].evaluate


@pytest.mark.parametrize("bits", [9, 8, 6, 4])
def test_golden_partial_sums_and_lossy_converters(bits: int) -> None:
    golden = np.load(GOLDEN / "bit_slicing.npz")
    cell_bits, slices = int(golden["bits_per_cell"]), int(golden["slices"])
    rows = golden["Wq"].shape[1]
    layout = Layout("differential", cell_bits, slices)
    assert slices_for("differential", cell_bits, golden["Wq"]) == slices
    levels = layout.levels(golden["Wq"].T).astype(np.float64)
    full = rows * layout.top
    lossless = bits >= int(golden["bits_lossless"])
    lsb = np.array(1.0 if lossless else full / ((1 << bits) - 1))
    total, magnitude = np.zeros_like(golden["Y"]), np.zeros_like(golden["Y"])
    for minus, driven in enumerate((golden["Xq"], -golden["Xq"])):
        numbers = np.maximum(driven.T, 0)
        v = digits(numbers, int(golden["input_bits"]), 1, "unsigned").astype(np.float64)
        sums = op("mvm")(levels, v, pairs=1, subtracted=0)
        # partial is [slice, digit, sign of w, output, vector] here
        wanted = golden["partial"][:, :, :, minus].transpose(1, 0, 4, 2, 3)
        assert np.array_equal(sums, wanted.reshape(sums.shape))
        codes = op("adc")(sums, lsb, bits=bits, format="unsigned", rounding="half_even")
        counted = op("shift_add")(
            codes,
            shifts=layout.shifts,
            negative=(0,) * slices,
            digit_bits=1,
            signed_inputs=0,
            code_bits=bits,
            code_format="unsigned",
            sum_bits=32,
            overflow="saturate",
        )
        none = np.zeros(len(golden["Wq"]), np.int64)
        made = op("combine")(counted, none, scheme="differential", offset=0).T
        total += -made if minus else made
        magnitude += (counted[:, : len(none)] + counted[:, len(none) :]).T
    stored = golden[f"Y_adc_{bits}b"]
    assert np.array_equal(np.rint(stored / lsb), total)
    # the file sums 4 x 7 x 4 codes times lsb, each product and sum rounded once
    terms = 4 * 7 * 4
    assert (np.abs(stored - total * lsb) <= (terms + 2) * 2.0**-53 * magnitude * lsb).all()
    assert np.array_equal(total, golden["Y"]) == lossless


def test_siemens_and_volts_give_the_same_codes(rng: np.random.Generator) -> None:
    # |currents / lsb - sums| <= 128 rows x 384 units x 2^-50 (products, sums, quotient, and the
    # levels' own rounding), far below the half unit that would change a code
    layout = Layout("differential", 2, 4)
    weights = rng.integers(-127, 128, (128, 6))
    levels = layout.levels(weights).astype(np.float64)
    unit_siemens, step_v = 25e-6 / layout.top, 0.3
    g = op("affine")(levels, np.array(unit_siemens), np.array(0.0))
    how: dict[str, Any] = {"code_bits": 8, "digit_bits": 1, "format": "unsigned"}
    x = rng.integers(0, 256, (9, 128)).astype(np.uint8)
    adc: dict[str, Any] = {"bits": 9, "format": "unsigned", "rounding": "half_even"}
    exact = op("mvm")(levels, op("dac")(x, step_v=1.0, **how), pairs=1, subtracted=0)
    currents = op("mvm")(g, op("dac")(x, step_v=step_v, **how), pairs=1, subtracted=0)
    codes = op("adc")(currents, np.array(unit_siemens * step_v), **adc)
    assert np.array_equal(codes, exact)
