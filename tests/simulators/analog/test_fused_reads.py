"""Noise, ADC and weight of a read in one pass: the numbers of the separate steps."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.simulators.analog.adc import convert
from tetrapla.simulators.analog.fused import add_codes
from tetrapla.simulators.analog.reads import Reads
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec


def spec(sign: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, (f"adc.sign={sign}",)).spec


def reads(invocations: range, places: range) -> Reads:
    return Reads(Key(3, 1, read=5), 2, 7, invocations, places, 40, 80)


@pytest.mark.parametrize("sign", ["unsigned", "signed"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("invocations", "places", "columns"),
    [(1, 1, 1), (3, 5, 7), (1, 40, 128), (40, 1, 128), (2, 3, 5000)],
)
def test_one_pass_gives_the_numbers_of_the_steps_bit_by_bit(
    rng: np.random.Generator,
    sign: str,
    kind: type[np.floating],
    invocations: int,
    places: int,
    columns: int,
) -> None:
    adc = spec(sign).adc
    block = reads(range(4, 4 + invocations), range(places))
    shape = (invocations * places, columns)
    sums = rng.normal(20, 300, shape).astype(kind)
    spread = rng.uniform(0, 400, shape).astype(kind)
    spread[0, 0] = 0
    lsb = 2.0 ** rng.integers(0, 3, columns).astype(kind)
    before = rng.integers(0, 99, shape).astype(np.float32)

    # by hand: sums + sd z, codes, times the weight of the digit
    noisy = sums + np.sqrt(spread) * block.normals(3, columns)
    expected = before + convert(noisy, adc, lsb) * 8
    plain, compiled = before.copy(), before.copy()
    add_codes(plain, sums, spread, lsb, adc, 8, block, 3, fast=False)
    assert np.array_equal(plain, expected)
    pytest.importorskip("numba", reason="the extra `fast` is not installed")
    add_codes(compiled, sums, spread, lsb, adc, 8, block, 3, fast=True)
    assert np.array_equal(compiled, expected)


def test_the_noise_that_is_added_does_not_depend_on_the_block() -> None:
    adc = spec("signed").adc
    sums, spread = np.zeros((12, 9)), np.full((12, 9), 50.0)
    lsb = np.ones(9)
    whole = np.zeros((12, 9))
    add_codes(whole, sums, spread, lsb, adc, 1, reads(range(4), range(3)), 0)
    for invocation in range(4):
        for place in range(3):
            part = np.zeros((1, 9))
            block = reads(range(invocation, invocation + 1), range(place, place + 1))
            add_codes(part, sums[:1], spread[:1], lsb, adc, 1, block, 0)
            assert np.array_equal(part[0], whole[3 * invocation + place])
    assert len(np.unique(whole)) > 20


def test_steps_that_are_no_powers_of_two_are_divided_by() -> None:
    adc = spec("signed").adc
    block = reads(range(3), range(10))
    sums = np.random.default_rng(2).normal(0, 300, (30, 64))
    spread, lsb = np.full((30, 64), 90.0), np.full(64, 3.0)
    plain, compiled = np.zeros((30, 64)), np.zeros((30, 64))
    add_codes(plain, sums, spread, lsb, adc, 1, block, 0, fast=False)
    add_codes(compiled, sums, spread, lsb, adc, 1, block, 0, fast=True)
    expected = convert(sums + np.sqrt(spread) * block.normals(0, 64), adc, lsb)
    assert np.array_equal(plain, expected)
    assert np.array_equal(compiled, expected)
