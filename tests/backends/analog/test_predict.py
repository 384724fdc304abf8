"""What the analog cross-check predicts from a spec: by hand, by summation, and as drawn."""

from __future__ import annotations

from dataclasses import replace
from itertools import product as pairs
from math import comb, erf, exp, pi, sqrt

import numpy as np
import pytest

from tetrapla.backends.analog import TARGET, deviations, predict
from tetrapla.backends.analog.normal import phi
from tetrapla.backends.target_ import Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.simulators.analog import crossbar, noise
from tetrapla.simulators.analog.adc import convert
from tetrapla.simulators.analog.cells import programmed
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec


def isaac(*overrides: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, overrides).spec


def test_a_clipped_cell_by_hand() -> None:
    # g_min = 0: level 0 is max(0, s n): mean s / sqrt(2 pi), moments s^2 / 2 and 3 s^4 / 2
    spec = isaac("device.g_min=0 uS")
    moments = predict.cell_moments(spec)
    s = 0.348 / (40 / 3)
    mean = s / sqrt(2 * pi)
    assert moments.tail[0] == pytest.approx(s)
    assert moments.mean[0] == pytest.approx(mean)
    assert moments.variance[0] == pytest.approx(s * s / 2 - mean**2)
    third = 2 * s**3 / sqrt(2 * pi)
    fourth = 1.5 * s**4 - 4 * mean * third + 6 * mean**2 * s * s / 2 - 3 * mean**4
    assert moments.fourth[0] == pytest.approx(fourth)
    # level 3 is 26 standard deviations from zero: a plain normal
    top = 1.103 / (40 / 3)
    assert moments.mean[3] == pytest.approx(3)
    assert moments.fourth[3] == pytest.approx(3 * top**4)


def test_cell_moments_are_those_of_the_device_and_of_drawn_cells(
    rng: np.random.Generator,
) -> None:
    spec = isaac("array.cell=4 bit", "device.model=reram_wan_2d")
    d, moments = spec.device, predict.cell_moments(spec)
    unit = (d.g_max_siemens - d.g_min_siemens) / 15
    goal = d.g_min_siemens + np.arange(16) * unit
    mean, variance = d.device.moments(goal, d.g_max_siemens)
    assert moments.mean == pytest.approx((mean - d.g_min_siemens) / unit, rel=1e-9)
    assert moments.variance == pytest.approx(variance / unit**2, rel=1e-9)
    n = 20_000
    drawn = np.maximum(
        goal[:, None] / unit + moments.tail[:, None] * rng.normal(size=(16, n)), 0
    )
    square = (drawn - drawn.mean(axis=1, keepdims=True)) ** 2
    assert (square**2).mean(axis=1) == pytest.approx(moments.fourth, rel=0.15)


@pytest.mark.parametrize(
    ("centre", "sd", "mean", "variance"),
    [
        # nothing random: half to even, and clipped at both ends
        (2.5, 0.0, 2.0, 0.0),
        (-1.0, 0.0, 0.0, 0.0),
        (99.0, 0.0, 15.0, 0.0),
        # on a threshold: half a step off, from Phi(-2) on one and a half, from Phi(-4) on more
        (2.5, 0.5, 2.5, 0.25 + 2 * 2 * 0.02275 + 2 * 4 * 0.0000317),
        # at code 0 only the upper half counts: Phi(-1) + Phi(-3) + ... = 0.15866 + 0.00135
        (0.0, 0.5, 0.16001, 0.15866 + 3 * 0.00135 - 0.16001**2),
        # wide noise in the middle: a twelfth more
        (7.3, 1.5, 7.3, 1.5**2 + 1 / 12),
    ],
)
def test_code_moments_by_hand(centre: float, sd: float, mean: float, variance: float) -> None:
    found = predict.code_moments(np.array([centre]), np.array([sd]), 15)
    assert found[0] == pytest.approx([mean], abs=2e-5)
    assert found[1] == pytest.approx([variance], abs=1e-4)


def test_code_moments_are_those_of_drawn_codes(rng: np.random.Generator) -> None:
    n = 4000
    centre, sd = rng.uniform(-2, 17, 300), rng.uniform(0, 1.2, 300)
    mean, variance = predict.code_moments(centre, sd, 15)
    adc = isaac("adc.bits=4 bit").adc
    codes = convert(centre[:, None] + sd[:, None] * rng.normal(size=(300, n)), adc, 1.0)
    # 300 means within 5 standard errors; the 1e-12 is for codes that never change
    assert (np.abs(codes.mean(axis=1) - mean) <= 5 * np.sqrt(variance / n) + 1e-3).all()
    # a code's fourth cumulant is at most its variance, so that of its variance is known too
    spread = np.sqrt((2 * variance**2 + variance) / n)
    assert (np.abs(codes.var(axis=1) - variance) <= 5 * spread + 1e-3).all()


def test_the_fourth_cumulant_of_a_code_is_at_most_its_variance() -> None:
    # by summation over all codes, from noise that hardly flips a bit to noise over many steps
    for centre, sd in pairs(np.linspace(0, 0.5, 11), (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.3, 3.0)):
        codes = np.arange(-40, 41)
        edges = [(1 + erf((c + 0.5 - centre) / sd / sqrt(2))) / 2 for c in (-41, *codes)]
        share = np.diff(edges)
        mean = (share * codes).sum()
        variance = (share * (codes - mean) ** 2).sum()
        cumulant = (share * (codes - mean) ** 4).sum() - 3 * variance**2
        assert abs(cumulant) <= variance + 1e-12


def test_phi_is_the_normal_distribution() -> None:
    t = np.linspace(-7, 7, 4001)
    exact = np.array([(1 + erf(v / sqrt(2))) / 2 for v in t])
    assert np.abs(phi(t) - exact).max() < 5e-7


def test_normals_of_reads_are_within_an_atom_of_phi() -> None:
    table = np.sort(np.unique(noise.quantiles()).astype(np.float64))
    assert len(table) == 1 << 16
    exact = phi(table)
    steps = np.arange(1 << 16) / 65536
    assert np.abs(exact - steps).max() < predict.ATOM
    assert np.abs(exact - steps - 1 / 65536).max() < predict.ATOM


def test_expected_sums_by_hand() -> None:
    # one weight 5 = 1 + 1 * 4 on exact cells, input 3 = bits 0 and 1, reads of 30 %
    spec = isaac("device.model=exact", "device.g_min=0 uS", "device.read_noise=0.3")
    b = ModuleBuilder("net")
    w = b.weight("w", np.array([[5]], np.int8))
    points = {"x_zero_point": -128, "w_zero_point": 0}
    b.output("y", b.op("qnn.matmul", [b.input("x", (1, 1), "i8"), w], points, "fc"))
    program = TARGET.lower(b.finish(), spec, None, Options()).program
    (step,) = program.products
    assert step.slices == 2
    cells = [programmed(step, 0, spec, Key(0))]
    found = predict.accumulators(step, spec, cells, np.array([[3]], np.uint8))
    # two slices and two bits, each code 1 + rint(0.3 n): -1 or +1 with p = Phi(-0.5 / 0.3)
    p = (1 + erf(-0.5 / 0.3 / sqrt(2))) / 2
    weights = np.array([1, 2, 4, 8])
    assert found.mean == pytest.approx(np.array([[15.0]]))
    assert found.variance == pytest.approx(np.array([[2 * p * (weights**2).sum()]]), rel=1e-4)
    assert found.fourth == pytest.approx(np.array([[2 * p * (weights**4).sum()]]), rel=1e-4)
    assert found.largest == 8 * 2  # the highest weight, two thresholds in reach
    assert [float(part.mean[0, 0]) for part in found.parts] == pytest.approx(
        # the tile; slices of +, of -; digits 0 to 7
        [15, 3, 12, 0, 0, 5, 10, 0, 0, 0, 0, 0, 0],
        abs=1e-5,
    )


def test_deviations_by_hand() -> None:
    # without a scale it is the plain ratio; with one, x solves sqrt(2 V x) + c x = |T|
    assert deviations.sigmas(-6, 4, 0) == 3
    assert deviations.sigmas(7, 4, 0, slack=1) == 3
    x: float = deviations.sigmas(6, 4, 1) ** 2 / 2
    assert sqrt(2 * 4 * x) + x == pytest.approx(6)
    assert deviations.sigmas(5, 0, 10) == pytest.approx(1)  # x = 1/2
    assert deviations.sigmas(0, 0, 0) == 0


def test_a_few_rare_flips_of_a_heavy_bit_are_no_deviation() -> None:
    # 2000 codes that flip with p = 1e-3: 11 flips are 6.4 plain standard deviations above 2,
    # and as rare as 1e-5; sqrt(2 ln(1 / 1e-5)) = 4.8 is not exceeded
    p, weight, n = 1e-3, 64.0, 2000
    beyond = 1 - sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(11))
    variance = n * p * (1 - p) * weight**2
    assert 9 * weight / sqrt(variance) > 6
    found = deviations.sigmas(9 * weight, variance, weight)
    assert beyond == pytest.approx(8.2e-6, rel=0.05)
    assert beyond < 2 * exp(-found * found / 2)


def test_what_steps_and_top_codes_allow_by_hand() -> None:
    # one column of 4 cells at level 3, all driven: 12 units in every digit of 255
    spec = isaac("device.model=exact", "device.read_noise=0", "adc.bits=2 bit")
    b = ModuleBuilder("net")
    w = b.weight("w", np.full((4, 1), 3, np.int8))
    points = {"x_zero_point": -128, "w_zero_point": 0}
    b.output("y", b.op("qnn.matmul", [b.input("x", (1, 4), "i8"), w], points, "fc"))
    (step,) = TARGET.lower(b.finish(), spec, None, Options()).program.products
    rows = np.full((1, 4), 255, np.uint8)
    # 2 bits for 12: steps of 4, so 2 units a code on two columns, in digits that sum to 255
    assert step.tiles[0].adc_shifts == (2,)
    held = [programmed(step, 0, spec, Key(0))]
    assert predict.resolution(step, spec, held, rows).item() == 2 * 2 * 255
    # with steps of a unit nothing is rounded, and 12 exceeds the top code 3 by 9
    fine = replace(step, tiles=(replace(step.tiles[0], adc_shifts=(0,)),))
    assert predict.resolution(fine, spec, held, rows).item() == 9 * 255
    assert crossbar.sliced(fine, spec, rows[None], Key(0)).item() == (12 - 9) * 255


def test_a_noisy_chip_is_stochastic_and_an_ideal_one_is_not() -> None:
    assert TARGET.stochastic(isaac(), Options())
    assert not TARGET.stochastic(isaac(), Options(ideal=True))
    assert not TARGET.stochastic(isaac().ideal(), Options())
