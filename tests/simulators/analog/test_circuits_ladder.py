"""Gated arrays: exact for every length, every wire and every choice of rows."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.ladder import gated
from tetrapla.simulators.analog.circuits.nodal import judged
from tetrapla.simulators.analog.circuits.wires import Topology, Wires

# of the largest current, the contract with the judge
BOUND = 1e-12
KINDS: tuple[Topology, ...] = ("gated", "gated_interleaved")


def close(
    g: Array, selected: Array, wires: Wires, minus: Array | None, volts: float = 0.3
) -> None:
    kind = KINDS[minus is not None]
    judge = judged(g, selected, wires, kind, g_minus=minus, supply_volts=volts)
    found = gated(g, selected, volts, wires, minus)
    # the scale is what a polarity carries: two of them may cancel
    scale = max(
        float(judge.watts.max()) / volts / g.shape[1], float(np.abs(judge.currents).max())
    )
    np.testing.assert_allclose(found.currents, judge.currents, rtol=0, atol=BOUND * scale)
    np.testing.assert_allclose(
        found.watts, judge.watts, rtol=BOUND, atol=BOUND * judge.watts.max()
    )


def selects(rng: np.random.Generator, vectors: int, rows: int) -> Array:
    """Random ones, with a vector that selects nothing and one that selects all."""
    found: Array = (rng.random((vectors, rows)) < 0.5).astype(float)
    found[0], found[1] = 0, 1
    return found


def test_two_cells_by_hand() -> None:
    # rail and bit line 1 ohm a segment, cells 1 S. From the supply: 1, then two ways of 2 ohm
    # each to the last bit line node (cell and bit segment; rail segment and cell): 1, then 1
    found = gated(np.ones((2, 1)), np.ones((1, 2)), 3.0, Wires(1, 1))
    assert found.currents[0, 0] == pytest.approx(1.0, rel=1e-15)
    assert found.watts[0] == pytest.approx(3.0, rel=1e-15)


@pytest.mark.parametrize("ohms", list(product((0.0, 40.0), repeat=4)), ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_wire_agrees_with_the_judge(
    ohms: tuple[float, float, float, float], kind: Topology, rng: np.random.Generator
) -> None:
    g = rng.uniform(0, 1e-4, (9, 4))
    g[rng.random(g.shape) < 0.3] = 0
    minus = rng.uniform(0, 1e-4, g.shape) if kind == "gated_interleaved" else None
    close(g, selects(rng, 4, 9), Wires(*ohms), minus)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (30, 4)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_shape_agrees_with_the_judge(
    shape: tuple[int, int], kind: Topology, rng: np.random.Generator
) -> None:
    g = rng.uniform(1e-6, 1e-4, shape)
    minus = rng.uniform(1e-6, 1e-4, shape) if kind == "gated_interleaved" else None
    close(g, selects(rng, 5, shape[0]), Wires(20, 30, 10, 5), minus)


@pytest.mark.parametrize("ohm", [1.0, 100.0, 1e4])
@pytest.mark.parametrize("kind", KINDS)
def test_long_ladders_lose_no_digits(
    ohm: float, kind: Topology, rng: np.random.Generator
) -> None:
    # kappa = rows sqrt(R g) = 64 sqrt(3 ohm 5e-5) is 0.8, 8 and 78: shooting from one end would
    # lose e^kappa
    g = rng.uniform(2e-5, 8e-5, (64, 3))
    minus = rng.uniform(2e-5, 8e-5, g.shape) if kind == "gated_interleaved" else None
    close(g, selects(rng, 4, 64), Wires(ohm, 2 * ohm), minus)


def test_absent_cells_are_absent_rails(rng: np.random.Generator) -> None:
    g, x = rng.uniform(1e-6, 1e-4, (20, 5)), selects(rng, 6, 20)
    wires = Wires(5, 9, 40, 20)
    one, two = gated(g, x, 0.2, wires), gated(g, x, 0.2, wires, np.zeros_like(g))
    bound = BOUND * np.abs(one.currents).max()
    np.testing.assert_allclose(two.currents, one.currents, rtol=0, atol=bound)
    swapped = gated(np.zeros_like(g), x, 0.2, wires, g)
    np.testing.assert_allclose(swapped.currents, -one.currents, rtol=0, atol=bound)
    np.testing.assert_allclose(swapped.watts, one.watts, rtol=BOUND)


def test_without_resistance_it_is_a_product(rng: np.random.Generator) -> None:
    g, minus = rng.uniform(0, 1e-4, (2, 20, 5))
    x = selects(rng, 6, 20)
    found = gated(g, x, 0.2, Wires()).currents
    np.testing.assert_allclose(found, 0.2 * (x @ g), rtol=1e-14)
    found = gated(g, x, 0.2, Wires(), minus).currents
    np.testing.assert_allclose(found, 0.2 * (x @ (g - minus)), rtol=0, atol=1e-14 * 20e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_and_arrays_do_not_see_each_other(
    kind: Topology, rng: np.random.Generator
) -> None:
    g = rng.uniform(0, 1e-4, (3, 12, 40))
    minus = rng.uniform(0, 1e-4, g.shape) if kind == "gated_interleaved" else None
    x, wires = selects(rng, 900, 12), Wires(5, 9, 40, 20)
    every = gated(g, x, 0.2, wires, minus)
    assert every.currents.shape == (3, 900, 40)
    second = None if minus is None else minus[1]
    one = gated(g[1], x[700:701], 0.2, wires, second)
    assert np.array_equal(every.currents[1, 700:701], one.currents)
    assert np.array_equal(every.watts[1, 700:701], one.watts)


def test_selects_have_a_value_per_row() -> None:
    with pytest.raises(SpecError) as raised:
        gated(np.ones((3, 2)), np.ones((4, 2)), 0.2, Wires(1))
    assert str(raised.value) == (
        "inputs must be [..., vectors, 3], a value per row, not of the shape (4, 2); "
        "reshape them"
    )
