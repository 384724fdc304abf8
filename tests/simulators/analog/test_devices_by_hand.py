"""Devices by hand: numbers that paper can check, shapes of curves, what ranges refuse."""

from __future__ import annotations

from math import log, log10, sqrt

import numpy as np
import pytest

from tetrapla.ir.errors import SpecError
from tetrapla.simulators.analog.circuits.cells import Milo
from tetrapla.simulators.analog.devices import DEVICES, Draws, clipped_normal
from tetrapla.simulators.analog.devices.cells import draws, state
from tetrapla.simulators.analog.devices.moments import expectation
from tetrapla.simulators.analog.devices.pcm import Pcm
from tetrapla.simulators.random_ import Key

MICRO = 1e-6
NONE = Draws(np.zeros(1), np.zeros(1))


def usiemens(*values: float) -> np.ndarray:
    return np.array(values) * MICRO


def test_a_pcm_cell_falls_as_a_power_of_time() -> None:
    # r = 0.5: mu = clip(-0.0155 ln 0.5 + 0.0244, 0.049, 0.1) = 0.049; (3620 / 20)^-0.049
    held = DEVICES["pcm_like"].held(usiemens(12.5), 25 * MICRO, 3600.0, NONE)
    assert held == pytest.approx(12.5 * MICRO * 181**-0.049, rel=1e-12)
    # at the time of programming nothing has drifted
    assert DEVICES["pcm_like"].held(usiemens(12.5), 25 * MICRO, 0.0, NONE) == 12.5 * MICRO


def test_the_spread_of_exponents_makes_exponents_positive() -> None:
    # nu = |0.049 - 0.008 * 7| = 0.007 at r = 0.5
    given = Draws(np.zeros(1), np.array([-7.0]))
    held = DEVICES["pcm_like"].held(usiemens(12.5), 25 * MICRO, 3600.0, given)
    assert held == pytest.approx(12.5 * MICRO * 181**-0.007, rel=1e-12)


def test_the_noise_of_a_pcm_read_grows_with_the_logarithm_of_time() -> None:
    pcm = DEVICES["pcm_like"]
    # r = 1: Q = 0.0088; t = 1 s + 20 s, t_r = 250 ns
    expected = 0.0088 * sqrt(log((21 + 250e-9) / 500e-9)) * 20 * MICRO
    found = pcm.read_sigma(usiemens(25.0), usiemens(20.0), 25 * MICRO, 1.0)
    assert found == pytest.approx(expected, rel=1e-12)
    # a cell near zero has the most: Q = 0.2
    least = pcm.read_sigma(usiemens(0.0), usiemens(1e-3), 25 * MICRO, 1.0)
    assert least == pytest.approx(expected / 20 / 0.0088 * 0.2 * 1e-3, rel=1e-12)


def test_hermes_has_its_own_fit_on_either_side_of_its_edge() -> None:
    # mu below r = 0.0945: clip(-0.0387 ln r - 0.0182, 0.072, 0.13); from there a parabola
    device = DEVICES["hermes_2"]
    assert isinstance(device, Pcm)
    mean = device.exponent_mean
    assert mean(np.array([0.09])) == pytest.approx(-0.0387 * log(0.09) - 0.0182, rel=1e-12)
    at = 0.0945
    assert mean(np.array([at])) == pytest.approx(
        0.0736 - 0.0126 * at - 0.0436 * at**2, rel=1e-12
    )


def test_read_noise_of_a_run_is_drawn_once_or_for_every_read() -> None:
    goal, key = np.full((4, 3), 10 * MICRO), Key(1, layer=1, tile=2)
    fresh = state(DEVICES["pcm_like"], goal, 25 * MICRO, 60.0, key)
    frozen = state(DEVICES["pcm_like"], goal, 25 * MICRO, 60.0, key, frozen=True)
    assert fresh.read_sigma is not None
    assert frozen.read_sigma is None
    # the frozen one is the other plus one draw of its noise
    z = (frozen.held - fresh.held) / fresh.read_sigma
    assert 0.3 < np.abs(z).mean() < 1.5
    # SONOS's noise is not 1/f: every read has its own
    assert (
        state(DEVICES["sonos_40nm"], goal, 16 * MICRO, 0.0, key, frozen=True).read_sigma
        is not None
    )


def test_a_decaying_cell_moves_with_the_logarithm_of_time_and_stays_in_range() -> None:
    cmo = DEVICES["reram_cmo_2pct"]
    # ln 1 s = 0: no shift, a spread of 0.41183342 uS
    given = Draws(np.zeros(1), np.ones(1))
    held = cmo.held(usiemens(50.0), 88.2 * MICRO, 1.0, given)
    assert held == pytest.approx(50.41183342 * MICRO, rel=1e-12)
    day = log(86400)
    held = cmo.held(usiemens(50.0), 88.2 * MICRO, 86400.0, given)
    moved = -0.08900206 * day + 0.04201137 * day + 0.41183342
    assert held == pytest.approx((50 + moved) * MICRO, rel=1e-12)
    low = cmo.held(usiemens(9.0), 88.2 * MICRO, 86400.0, Draws(np.zeros(1), -np.ones(1)))
    assert low == 9 * MICRO
    found = cmo.read_sigma(usiemens(50.0), usiemens(50.0), 88.2 * MICRO, 1.0)
    expected = 0.0277316483 * log10(50) * sqrt(log((1 + 1e-6) / 2e-6))
    assert found == pytest.approx(expected * MICRO, rel=1e-12)


def test_a_decaying_cell_is_unknown_before_its_first_second() -> None:
    with pytest.raises(SpecError) as error:
        DEVICES["reram_cmo_2pct"].held(usiemens(50.0), 88.2 * MICRO, 0.5, NONE)
    assert str(error.value) == (
        "reram_cmo_2pct is known at 0 s and from 1 s on after programming, not at 0.5 s; "
        "choose a time that was measured"
    )


def test_sonos_is_known_for_five_days_and_less_high_once_it_drifts() -> None:
    sonos = DEVICES["sonos_40nm"]
    with pytest.raises(SpecError) as error:
        sonos.seconds(432001.0)
    assert str(error.value) == (
        "sonos_40nm is known at 0 s and from 0 to 432000 s after programming, not at 432001 s; "
        "choose a time that was measured"
    )
    sonos.check(0.0, 32 * MICRO, 0.0)
    with pytest.raises(SpecError) as error:
        sonos.check(0.0, 32 * MICRO, 60.0)
    assert str(error.value) == (
        "a conductance of sonos_40nm must be at most 18 uS, where it was fitted, not 32 uS; "
        "lower g_max or choose another device"
    )
    # a current of 1600 nA at 0.1 V; sd = 19.88665 (1 - exp(-1600 / 176.3115)) nA
    sigma = sonos.sigma(usiemens(16.0), 16 * MICRO)
    assert sigma == pytest.approx(
        19.88665e-2 * MICRO * (1 - np.exp(-1600 / 176.3115)), rel=1e-12
    )


def test_sonos_cells_keep_their_place_in_the_spread_while_it_widens() -> None:
    sonos = DEVICES["sonos_40nm"]
    goal, key = np.full((100, 4), 8 * MICRO), Key(4)
    given = draws(sonos, key, goal.shape)
    before = sonos.held(goal, 16 * MICRO, 0.0, given)
    after = sonos.held(goal, 16 * MICRO, 3 * 86400.0, given)
    assert np.array_equal(np.argsort(before, axis=None), np.argsort(after, axis=None))
    assert after.std() > 1.4 * before.std()


def test_generic_errors_are_of_their_form() -> None:
    goal, top = usiemens(0.0, 5.0, 10.0), 10 * MICRO
    for name, form in (
        ("independent", [1, 1, 1]),
        ("proportional", [0, 0.5, 1]),
        ("inverse", [0, 2, 1]),
    ):
        normal = DEVICES[f"normal_{name}"].scaled(programming=0.2, read=0.1)
        assert normal.sigma(goal, top) == pytest.approx(0.2 * top * np.array(form), rel=1e-12)
        read = normal.read_sigma(goal, goal, top, 0.0)
        assert read == pytest.approx(0.1 * top * np.array(form), rel=1e-12)
        # an even spread of width m has the standard deviation m / sqrt(12)
        even = DEVICES[f"uniform_{name}"].scaled(programming=0.2)
        expected = 0.2 / sqrt(12) * top * np.array(form)
        assert even.sigma(goal, top) == pytest.approx(expected, rel=1e-12)


def test_an_even_spread_stays_within_its_width() -> None:
    uniform = DEVICES["uniform_independent"].scaled(programming=0.2)
    goal = np.full((100, 100), 5 * MICRO)
    held = state(uniform, goal, 10 * MICRO, None, Key(2)).held
    # +- 0.1 of 10 uS around 5 uS, and nearly all of it is used
    assert 4 * MICRO < held.min() < 4.001 * MICRO
    assert 5.999 * MICRO < held.max() < 6 * MICRO


def test_an_inverse_error_leaves_an_empty_cell_empty() -> None:
    goal = np.zeros((10, 10))
    held = state(DEVICES["normal_inverse"], goal, 10 * MICRO, None, Key(2)).held
    assert not held.any()


def test_the_curve_of_milos_cell_is_its_published_polynomial() -> None:
    milo = DEVICES["rram_milo"]
    g, v = 100 * MICRO, 0.3
    curve = milo.curvature(np.array([g]))
    assert curve is not None
    a2, a3 = curve
    x = log10(g)
    square = 1.388e-4 * x**3 + 1.541e-3 * x**2 + 5.711e-3 * x + 7.063e-3
    cube = 8.871e-5 * x**2 + 6.7919e-4 * x + 1.2968e-3
    assert g * (v + a2 * v**2 + a3 * v**3) == pytest.approx(
        g * v + square * v**2 + cube * v**3, rel=1e-12
    )
    assert milo.highest_volts == 0.5
    assert DEVICES["pcm_like"].curvature(np.array([g])) is None
    with pytest.raises(SpecError) as error:
        milo.curvature(np.array([g, 0.0]))
    assert str(error.value) == (
        "the I-V curve of rram_milo is a fit over log10 of the conductance, which must be "
        "above 0 S, not 0 S; raise g_min"
    )


def test_circuits_solve_the_curve_that_the_device_has() -> None:
    g = np.array([50.0, 62.5, 110.0, 225.0])[:, None] * MICRO
    v = np.linspace(-0.5, 0.5, 11)
    curve = DEVICES["rram_milo"].curvature(g)
    assert curve is not None
    expected = g * (v + curve[0] * v**2 + curve[1] * v**3)
    assert np.allclose(Milo().currents(g, v), expected, rtol=1e-12, atol=0)


def test_cells_do_not_change_with_the_tile_beside_them_and_do_with_their_own() -> None:
    goal = np.full((8, 6), 10 * MICRO)
    key = Key(5, chip=1, layer=2, tile=3)
    first = state(DEVICES["pcm_like"], goal, 25 * MICRO, 3600.0, key).held
    again = state(DEVICES["pcm_like"], goal, 25 * MICRO, 3600.0, key).held
    assert np.array_equal(first, again)
    for other in (key.at(tile=4), key.at(layer=3), key.at(chip=2), key.at(seed=6)):
        held = state(DEVICES["pcm_like"], goal, 25 * MICRO, 3600.0, other).held
        assert not np.any(held == first)


def test_a_target_outside_of_the_fit_is_refused_where_cells_are_made() -> None:
    with pytest.raises(SpecError) as error:
        state(DEVICES["rram_milo"], usiemens(40.0, 100.0), 225 * MICRO, None, Key(0))
    assert str(error.value) == (
        "a conductance of rram_milo must be at least 50 uS, where it was fitted, not 40 uS; "
        "raise g_min or choose another device"
    )


def test_a_normal_that_is_never_clipped_keeps_its_mean_and_variance() -> None:
    mean, variance = clipped_normal(np.array([5.0, 0.0]), np.array([0.1, 1.0]))
    assert mean[0] == pytest.approx(5.0, rel=1e-15)
    assert variance[0] == pytest.approx(0.01, rel=1e-12)
    # max(0, n): mean 1 / sqrt(2 pi), second moment 1 / 2
    assert mean[1] == pytest.approx(1 / sqrt(2 * np.pi), rel=1e-12)
    assert variance[1] == pytest.approx(0.5 - 1 / (2 * np.pi), rel=1e-12)


def test_the_quadrature_integrates_a_normals_moments() -> None:
    # E[n^4] = 3; E[n; n > 0] = 1 / sqrt(2 pi)
    assert expectation(lambda n: n**4, np.array([-9.0])) == pytest.approx(3, rel=1e-12)
    assert expectation(lambda n: n, np.zeros(1)) == pytest.approx(
        1 / sqrt(2 * np.pi), rel=1e-12
    )
