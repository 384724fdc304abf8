"""The effective matrix against the judge, by hand, and by its laws."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits import effective as module
from tetrapla.simulators.analog.circuits.effective import (
    admittance,
    effective,
    power,
    solve,
)
from tetrapla.simulators.analog.circuits.nodal import judged
from tetrapla.simulators.analog.circuits.wires import Topology, Wires

# of the largest current, the contract with the judge
BOUND = 1e-12
SHAPES = ((1, 1), (1, 9), (9, 1), (5, 12), (12, 5), (70, 60))


def cells(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Siemens, a third of them no device."""
    found: Array = rng.uniform(1e-6, 1e-4, shape)
    found[rng.random(shape) < 1 / 3] = 0
    return found


def test_one_cell_is_five_resistors_in_series() -> None:
    # 1/(10000 + 3 + 5 + 7 + 11) = 1/10026
    found = effective(np.array([[1e-4]]), Wires(3, 5, 7, 11))
    assert found[0, 0] == pytest.approx(1 / 10026, rel=1e-15)
    assert admittance(np.array([[1e-4]]), Wires(3, 5, 7, 11))[0, 0] == pytest.approx(
        1 / 10026, rel=1e-15
    )


def test_two_cells_of_a_word_line_by_hand() -> None:
    # bit lines are ideal; R = 1, both cells 1 S: node 1 sees 1 ohm + cell 1 = 2 ohm, node 0
    # that beside its cell, 2/3 ohm, behind 1 ohm: v0 = (2/3)/(5/3) = 0.4, v1 = 0.2
    found = effective(np.array([[1.0, 1.0]]), Wires(row_ohm=1))
    np.testing.assert_allclose(found, [[0.4, 0.2]], rtol=1e-15)


def test_two_cells_of_a_bit_line_by_hand() -> None:
    # R = 1, cells 1 S, sources ideal. Row 0 alone driven: c0 -1- c1 -1- 0 V, and row 1's cell
    # from c1 to 0 V: 1 beside 1 is 1/2; in all 5/2 ohm; half of 2/5 A leaves at the sense.
    # Row 1 alone: at c1 leave 1 ohm (sense) and 2 ohm (row 0): 2/3; 3/5 A, of which 2/3: 0.4
    found = effective(np.array([[1.0], [1.0]]), Wires(col_ohm=1))
    np.testing.assert_allclose(found, [[0.2], [0.4]], rtol=1e-15)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("pair", [False, True], ids=["one", "interleaved"])
def test_every_shape_agrees_with_the_judge(
    shape: tuple[int, int], pair: bool, rng: np.random.Generator
) -> None:
    g, minus = cells(rng, shape), cells(rng, shape) if pair else None
    g[0, 0] = 5e-5
    volts = rng.uniform(-0.4, 0.4, (3, shape[0]))
    wires = Wires(2.5, 4.0, 30.0, 12.0)
    judge = judged(g, volts, wires, "interleaved" if pair else "input_source", g_minus=minus)
    found = volts @ effective(g, wires, minus)
    bound = BOUND * np.abs(judge.currents).max()
    np.testing.assert_allclose(found, judge.currents, rtol=0, atol=bound)
    watts = power(admittance(g, wires, minus), volts)
    np.testing.assert_allclose(watts, judge.watts, rtol=BOUND, atol=0)


@pytest.mark.parametrize("ohms", list(product((0.0, 7.0), repeat=4)), ids=str)
def test_ideal_wires_of_any_kind_are_no_special_case(
    ohms: tuple[float, float, float, float], rng: np.random.Generator
) -> None:
    g, minus = cells(rng, (9, 7)), cells(rng, (9, 7))
    volts = rng.uniform(-0.4, 0.4, (3, 9))
    for second in (None, minus):
        topology: Topology = "input_source" if second is None else "interleaved"
        judge = judged(g, volts, Wires(*ohms), topology, g_minus=second)
        found = volts @ effective(g, Wires(*ohms), second)
        bound = BOUND * np.abs(judge.currents).max()
        np.testing.assert_allclose(found, judge.currents, rtol=0, atol=bound)
        watts = power(admittance(g, Wires(*ohms), second), volts)
        np.testing.assert_allclose(watts, judge.watts, rtol=BOUND, atol=0)


def test_without_resistance_it_is_the_array_itself(rng: np.random.Generator) -> None:
    g, minus = cells(rng, (20, 30)), cells(rng, (20, 30))
    assert np.array_equal(effective(g, Wires()), g)
    assert np.array_equal(effective(g, Wires(), minus), g - minus)
    volts = rng.random((4, 20))
    np.testing.assert_allclose(
        power(admittance(g, Wires()), volts), (volts**2) @ g.sum(axis=1), rtol=1e-14
    )


def test_a_steep_line_keeps_its_digits(rng: np.random.Generator) -> None:
    # a ratio of 1e-4 from node to node: their product underflows after 80 nodes
    g = rng.uniform(1, 2, (3, 100))
    wires = Wires(row_ohm=1e4, col_ohm=1.0)
    judge = judged(g, np.eye(3), wires)
    found = effective(g, wires)
    np.testing.assert_allclose(
        found, judge.currents, rtol=0, atol=BOUND * np.abs(judge.currents).max()
    )
    assert np.isfinite(found).all()


def test_an_array_is_the_same_alone_and_among_others(rng: np.random.Generator) -> None:
    g = cells(rng, (2, 3, 40, 33))
    # steep: it takes another way through the computation
    g[1, 2] = 1.0
    wires = Wires(1e3, 3.0, 5.0, 2.0)
    both, one = effective(g, wires), admittance(g, wires)
    for chip, tile in product(range(2), range(3)):
        assert np.array_equal(both[chip, tile], solve(g[chip, tile], wires))
        assert np.array_equal(one[chip, tile], admittance(g[chip, tile], wires))


def test_a_state_is_solved_once(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    g, wires = cells(rng, (8, 8)), Wires(1, 1)
    first = effective(g, wires)

    def refuse(*_: object) -> Array:
        raise AssertionError

    monkeypatch.setattr(module, "solve", refuse)
    assert effective(g.copy(), Wires(1, 1)) is first
    for changed in (g * (1 + 1e-15), g.T, g[:4]):
        with pytest.raises(AssertionError):
            effective(changed, wires)
    with pytest.raises(AssertionError):
        effective(g, Wires(1, 2))
    with pytest.raises(AssertionError):
        effective(g, wires, g)
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 0


def test_what_is_kept_is_bounded() -> None:
    cache = module.Cache(limit_bytes=3 * 80)
    for key in range(5):
        cache.put(bytes([key]), np.full(10, key))
        cache.get(b"\0")
    # the one asked for again stays, the oldest of the others went
    assert [cache.get(bytes([key])) is not None for key in range(5)] == [
        *(True, False, False, True, True)
    ]
    cache.put(b"large", np.zeros(31))
    assert cache.get(b"large") is None
    assert cache.get(b"\0") is not None


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["row_ohm", "col_ohm", "driver_ohm", "sense_ohm"])
def test_resistances_are_finite_and_not_negative(name: str, value: float) -> None:
    with pytest.raises(SpecError) as raised:
        Wires(**{name: value})
    assert str(raised.value) == (
        f"{name} must be finite and 0 or more ohms, not {value}; 0 is an ideal wire, and a "
        "broken one is a fault"
    )


@pytest.mark.parametrize(
    ("g", "minus", "message"),
    [
        (
            np.array([[1.0, -2.0]]),
            None,
            "conductances must be finite and 0 or more siemens, not -2.0; 0 is no device",
        ),
        (
            np.array([[1.0]]),
            np.array([[np.nan]]),
            "conductances must be finite and 0 or more siemens, not nan; 0 is no device",
        ),
        (
            np.ones(3),
            None,
            "conductances must have rows and columns, not the shape (3,); give [..., rows, "
            "columns]",
        ),
        (
            np.ones((2, 3)),
            np.ones((3, 2)),
            "conductances of both polarities must have one shape, not (2, 3) and (3, 2); give "
            "the absent cells as 0",
        ),
    ],
)
def test_bad_conductances_are_named(g: Array, minus: Array | None, message: str) -> None:
    for function in (effective, admittance, solve):
        with pytest.raises(SpecError) as raised:
            function(g, Wires(1), minus)
        assert str(raised.value) == message
