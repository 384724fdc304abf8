"""Read noise through wires: golden numbers, sampled arrays, the form for many vectors."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.effective import effective, solve
from tetrapla.simulators.analog.circuits.read_noise import cheap, deviations, variances
from tetrapla.simulators.analog.circuits.wires import Wires
from tetrapla.validation import GOLDEN

STORED = np.load(GOLDEN / "analog" / "read_noise.npz")
G = STORED["G"].astype(float).T
VOLTS = STORED["V"].astype(float)[None]
SHARE = float(STORED["s"])
WIRES = Wires(float(STORED["r_row_ohm"]), float(STORED["r_col_ohm"]))
# of the file's formulas, its README
FORMULA = 1e-9
# the contract of closed forms with sampling, without and with resistance
EXACT, WIRED = 0.01, 0.05


def random_cells(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Siemens; two fifths rest at the least conductance, as in a pair."""
    found: Array = rng.uniform(1e-6, 1e-4, shape)
    found[rng.random(shape) < 0.4] = 1e-6
    return found


def inputs(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> Array:
    if kind == "bits":
        return (rng.random(shape) < 0.5).astype(float)
    return rng.random(shape) if kind == "uniform" else rng.standard_normal(shape)


def test_golden_sensitivities() -> None:
    for own, name in ((False, "sigma_adjoint_all"), (True, "sigma_adjoint_own")):
        found = deviations(G, SHARE * G, VOLTS, WIRES, own_columns=own)
        np.testing.assert_allclose(found[0], STORED[name], rtol=FORMULA)
    found = cheap(effective(G, WIRES), SHARE, VOLTS)
    np.testing.assert_allclose(found[0], STORED["sigma_geff"], rtol=FORMULA)
    found = np.sqrt((VOLTS * VOLTS) @ variances(G, SHARE * G, Wires()))
    np.testing.assert_allclose(found[0], STORED["sigma_ideal"], rtol=FORMULA)


def test_golden_samples_lie_about_the_closed_forms() -> None:
    # the file's standard errors: 1.1 % of each standard deviation from 4,000 samples
    found = deviations(G, SHARE * G, VOLTS, WIRES)[0]
    assert np.abs(STORED["mc_sd"] / found - 1).max() <= 4 * 0.011
    square = float((VOLTS**2).mean())
    matrix = variances(G, SHARE * G, WIRES, coherence=float(VOLTS.mean()) ** 2 / square)
    diagonal = np.sqrt((VOLTS * VOLTS) @ matrix)[0]
    assert np.abs(diagonal / found - 1).max() <= WIRED
    assert np.abs(diagonal.mean() / found.mean() - 1) <= EXACT


def test_without_resistance_all_forms_are_one(rng: np.random.Generator) -> None:
    g, minus = random_cells(rng, (2, 30, 20))
    spread, second = 0.03 * g, 0.02 * minus
    volts = rng.standard_normal((4, 30))
    expected = np.sqrt((volts**2) @ spread**2)
    np.testing.assert_allclose(deviations(g, spread, volts, Wires()), expected, rtol=1e-12)
    assert np.array_equal(variances(g, spread, Wires()), spread**2)
    both = np.sqrt((volts**2) @ (spread**2 + second**2))
    found = deviations(g, spread, volts, Wires(), g_minus=minus, sigma_minus=second)
    np.testing.assert_allclose(found, both, rtol=1e-12)
    matrix = variances(g, spread, Wires(), g_minus=minus, sigma_minus=second)
    np.testing.assert_allclose(matrix, spread**2 + second**2, rtol=1e-15)


@pytest.mark.parametrize("pair", [False, True], ids=["one", "interleaved"])
def test_sensitivities_are_derivatives_of_the_outputs(
    pair: bool, rng: np.random.Generator
) -> None:
    g, second = random_cells(rng, (2, 7, 5))
    minus = second if pair else None
    volts, wires = rng.uniform(-1, 1, (1, 7)), Wires(300, 200, 90, 50)
    expected = np.zeros(5)
    for which, row, column in np.ndindex(2 if pair else 1, 7, 5):
        cells = np.stack((g, second))
        step = 1e-4 * cells[which, row, column]
        cells[which, row, column] += step
        up = solve(cells[0], wires, cells[1] if pair else None)
        cells[which, row, column] -= 2 * step
        down = solve(cells[0], wires, cells[1] if pair else None)
        # sigma is a tenth of the conductance: 1e-4 g is a thousandth of it
        expected += (500 * (volts @ (up - down))[0]) ** 2
    found = deviations(
        g, 0.1 * g, volts, wires, g_minus=minus, sigma_minus=0.1 * second if pair else None
    )
    # a central difference of relative step 1e-4: curvature 1e-8, rounding 1e-15 / 1e-4
    np.testing.assert_allclose(found[0], np.sqrt(expected), rtol=1e-6)


def test_sampled_arrays_lie_about_the_closed_forms(rng: np.random.Generator) -> None:
    # 24x16 cells, a fifth of the signal lost; 2,000 arrays, all solved: the standard error of
    # a standard deviation is 1.6 %, of their mean over 16 outputs 0.4 %
    g, wires, volts = random_cells(rng, (24, 16)), Wires(8, 8, 60, 60), np.ones((1, 24))
    volts[0, ::2] = 0
    sampled = np.maximum(g * (1 + 0.03 * rng.standard_normal((2000, 24, 16))), 0)
    spread = (volts @ solve(sampled, wires))[:, 0].std(axis=0)
    exact = deviations(g, 0.03 * g, volts, wires)[0]
    assert np.abs(spread / exact - 1).max() <= 4 * 0.016
    assert abs(float((spread / exact).mean()) - 1) <= EXACT + 4 * 0.004
    diagonal = np.sqrt((volts**2) @ variances(g, 0.03 * g, wires))[0]
    assert np.abs(diagonal / exact - 1).max() <= WIRED


@pytest.mark.parametrize("kind", ["bits", "uniform", "normal"])
@pytest.mark.parametrize("ohm", [0.5, 2.0])
def test_the_form_for_many_vectors_is_within_its_contract(
    kind: str, ohm: float, rng: np.random.Generator
) -> None:
    g, wires = random_cells(rng, (64, 64)), Wires(ohm, ohm)
    volts = inputs(rng, kind, (20, 64))
    coherence = {"bits": 0.5, "uniform": 0.75, "normal": 0.0}[kind]
    exact = deviations(g, 0.03 * g, volts, wires)
    found = np.sqrt((volts**2) @ variances(g, 0.03 * g, wires, coherence=coherence))
    assert np.abs(found / exact - 1).max() <= WIRED
    assert abs(float((found / exact).mean()) - 1) <= EXACT
    # what it improves on
    naive = np.sqrt((volts**2) @ (0.03 * g) ** 2)
    assert np.abs(found / exact - 1).mean() <= 0.2 * np.abs(naive / exact - 1).mean()


def test_cells_of_other_lines_hardly_matter(rng: np.random.Generator) -> None:
    g, wires, volts = random_cells(rng, (64, 64)), Wires(4, 4), rng.random((5, 64))
    every, own = (
        deviations(g, 0.03 * g, volts, wires, own_columns=own) for own in (False, True)
    )
    assert (own <= every).all()
    np.testing.assert_allclose(own, every, rtol=EXACT)


def test_arrays_do_not_see_each_other(rng: np.random.Generator) -> None:
    g = random_cells(rng, (3, 20, 10))
    every = variances(g, 0.03 * g, Wires(9, 9))
    alone = variances(g[1], 0.03 * g[1], Wires(9, 9))
    assert np.array_equal(every[1], alone)


def test_the_coherence_is_a_share() -> None:
    with pytest.raises(SpecError) as raised:
        variances(G, G, WIRES, coherence=1.5)
    assert str(raised.value) == (
        "coherence must be from 0 to 1, not 1.5; it is mean(x)^2 / mean(x^2)"
    )
