"""Cells that are not linear: the judge's currents, and the linear ones in the limit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tetrapla.ir.errors import SpecError, UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.cells import (
    LINEAR,
    Cell,
    Milo,
    Polynomial,
    Sinh,
)
from tetrapla.simulators.analog.circuits.effective import effective
from tetrapla.simulators.analog.circuits.ladder import gated
from tetrapla.simulators.analog.circuits.network import SIGNS, drops
from tetrapla.simulators.analog.circuits.newton import nonlinear, nonlinear_gated
from tetrapla.simulators.analog.circuits.nodal import judged
from tetrapla.simulators.analog.circuits.wires import Topology, Wires

# of the largest current, the contract
BOUND = 1e-12
LAWS: tuple[Cell, ...] = (
    *(LINEAR, Sinh(8.0), Sinh(25.0), Polynomial(0.3, 0.8)),
    *(Polynomial(-0.4, 0.0), Polynomial(0.0, -0.25), Milo()),
)


def cells(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Siemens, in the range of every law; a tenth are no device."""
    found: Array = rng.uniform(5e-5, 2e-4, shape)
    found[rng.random(shape) < 0.1] = 0
    return found


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("pair", [False, True], ids=["one", "interleaved"])
def test_every_law_agrees_with_the_judge(
    law: Cell, pair: bool, rng: np.random.Generator
) -> None:
    g, minus = cells(rng, (13, 10)), cells(rng, (13, 10)) if pair else None
    volts = rng.uniform(-0.4, 0.4, (4, 13))
    wires = Wires(20, 35, 50, 15)
    topology: Topology = "interleaved" if pair else "input_source"
    judge = judged(g, volts, wires, topology, g_minus=minus, law=law)
    found = nonlinear(g, volts, wires, law, minus)
    # the scale is what lines carry: two polarities may cancel
    scale = float(judge.watts.max()) / 0.4 / 10
    np.testing.assert_allclose(found.currents, judge.currents, rtol=0, atol=BOUND * scale)
    np.testing.assert_allclose(found.watts, judge.watts, rtol=BOUND, atol=0)


def curved(magnitude: float) -> Polynomial:
    return Polynomial(magnitude, magnitude)


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("pair", [False, True], ids=["gated", "gated_interleaved"])
def test_every_law_agrees_with_the_judge_on_rails(
    law: Cell, pair: bool, rng: np.random.Generator
) -> None:
    g, minus = cells(rng, (13, 6)), cells(rng, (13, 6)) if pair else None
    selected = (rng.random((4, 13)) < 0.5).astype(float)
    selected[0], selected[1] = 0, 1
    kind: Topology = "gated_interleaved" if pair else "gated"
    # mild wires, wires that take nearly all, and none
    for wires in (Wires(20, 35, 50, 15), Wires(1000, 2000), Wires()):
        judge = judged(g, selected, wires, kind, g_minus=minus, law=law, supply_volts=0.4)
        found = nonlinear_gated(g, selected, 0.4, wires, law, minus)
        scale = float(judge.watts.max()) / 0.4 / 6
        np.testing.assert_allclose(found.currents, judge.currents, rtol=0, atol=BOUND * scale)
        bound = BOUND * judge.watts.max()
        np.testing.assert_allclose(found.watts, judge.watts, rtol=0, atol=bound)


def test_linear_rails_are_ladders(rng: np.random.Generator) -> None:
    g, minus, wires = cells(rng, (2, 30, 8)), cells(rng, (2, 30, 8)), Wires(5, 9, 40, 20)
    selected = (rng.random((5, 30)) < 0.5).astype(float)
    for second in (None, minus):
        one = gated(g, selected, 0.3, wires, second)
        two = nonlinear_gated(g, selected, 0.3, wires, LINEAR, second)
        scale = float(one.watts.max()) / 0.3 / 8
        np.testing.assert_allclose(two.currents, one.currents, rtol=0, atol=BOUND * scale)
        np.testing.assert_allclose(two.watts, one.watts, rtol=0, atol=BOUND * one.watts.max())


@pytest.mark.parametrize("law", [Sinh, curved, Milo])
def test_it_is_linear_in_the_limit(
    law: Callable[[float], Cell], rng: np.random.Generator
) -> None:
    g, volts, wires = cells(rng, (24, 16)), rng.uniform(0, 0.3, (5, 24)), Wires(10, 10)
    straight = volts @ effective(g, wires)
    largest = np.abs(straight).max()
    off = [
        float(np.abs(nonlinear(g, volts, wires, law(x)).currents - straight).max() / largest)
        for x in (1e-2, 1e-4, 1e-6, 0.0)
    ]
    # every law is flat in its magnitude: 100 times less of it is at most a 50th of the error
    assert off[0] > 0
    assert off[1] <= max(off[0] / 50, BOUND)
    assert off[2] <= max(off[1] / 50, BOUND)
    assert off[3] <= BOUND


def test_cells_alone_follow_their_law() -> None:
    volts = np.linspace(-0.5, 0.5, 11)[:, None]
    g = np.array([[1e-4]])
    for law in LAWS:
        found = nonlinear(g, volts, Wires(), law).currents
        np.testing.assert_allclose(found, law.currents(g, volts), rtol=1e-15, atol=1e-25)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_slopes_are_derivatives(law: Cell, rng: np.random.Generator) -> None:
    g, volts, step = cells(rng, (50,)), rng.uniform(-0.4, 0.4, 50), 1e-5
    rise = law.currents(g, volts + step) - law.currents(g, volts - step)
    # central difference: error step^2 / 6 f''' <= 2e-11 * 25^2 cosh(10) g, beside rounding
    np.testing.assert_allclose(rise / (2 * step), law.slopes(g, volts), rtol=2e-7, atol=1e-14)


def test_milos_coefficients_by_hand() -> None:
    # g = 1e-4 S: L = -4. NL2 = -8.8832e-3 + 2.4656e-2 - 2.2844e-2 + 7.063e-3 = -8.2e-6,
    # NL3 = 1.41936e-3 - 2.71676e-3 + 1.2968e-3 = -6e-7; at 0.5 V: 5e-5 + NL2/4 + NL3/8
    found = Milo().currents(np.array([1e-4, 0.0]), np.array([0.5, 0.5]))
    np.testing.assert_allclose(found, [5e-5 - 8.2e-6 / 4 - 6e-7 / 8, 0], rtol=1e-9)


def test_drops_are_ohms_law_along_the_wires() -> None:
    # one row, two columns, 1 A in each cell: the first segment and the driver carry 2 A, the
    # second 1 A; each bit line 1 A through its segment and the sense
    found = drops(np.ones((1, 1, 2, 1)), Wires(3, 5, 7, 11))
    np.testing.assert_array_equal(found[0, 0, :, 0], [2 * 10 + 16, 2 * 10 + 3 + 16])
    # two rows, one column: the second segment carries both
    found = drops(np.ones((1, 2, 1, 1)), Wires(3, 5, 7, 11))
    np.testing.assert_array_equal(found[0, :, 0, 0], [10 + 5 + 32, 10 + 32])
    assert SIGNS.tolist() == [1.0, -1.0]


def test_arrays_and_chunks_do_not_see_each_other(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    g, volts = cells(rng, (2, 8, 6)), rng.uniform(0, 0.4, (2, 5, 8))
    every = nonlinear(g, volts, Wires(20, 20), Sinh(5))
    monkeypatch.setattr("tetrapla.simulators.analog.circuits.newton._HELD", 1)
    alone = nonlinear(g[1], volts[1], Wires(20, 20), Sinh(5))
    # vectors share no arithmetic but the widths of matrix products, which round differently
    bound = BOUND * every.currents.max()
    np.testing.assert_allclose(every.currents[1], alone.currents, rtol=0, atol=bound)


def test_a_law_without_a_balance_is_refused() -> None:
    # g = 1 S behind R = 1 ohm: d + (d - 2 d^2) = 1 has no real solution
    falling = Polynomial(-2.0)
    with pytest.raises(UnsupportedError) as raised:
        nonlinear(np.ones((1, 1)), np.ones((1, 1)), Wires(1), falling)
    # the least that is missing is that of the vertex, d = 1/2: 2 d - 2 d^2 - 1 = -1/2
    assert str(raised.value) == (
        "the cell law Polynomial(a2_per_volt=-2.0, a3_per_volt2=0.0) must let the currents "
        "balance, not miss 0.5 of the input; use lower voltages or a flatter law"
    )


def test_the_steepest_rising_law_has_a_balance() -> None:
    # sinh(1e4 v) overflows at the linear solution, 0.5 V: 1e-4 sinh(1e4 d) + d = 1 at
    # d = asinh(1e4 (1 - d)) / 1e4
    d = 0.0
    for _ in range(9):
        d = float(np.arcsinh(1e4 * (1 - d))) / 1e4
    found = nonlinear(np.ones((1, 1)), np.ones((1, 1)), Wires(1), Sinh(1e4))
    # the bound is on voltages, 1e-13 of the input
    assert found.currents[0, 0] == pytest.approx(1 - d, rel=2e-13)


def test_laws_are_finite() -> None:
    for law, name in ((Sinh, "beta_per_volt"), (Polynomial, "a2_per_volt"), (Milo, "scale")):
        with pytest.raises(SpecError) as raised:
            law(float("nan"))
        assert str(raised.value) == f"{name} must be finite, not nan; 0 is the linear cell"
