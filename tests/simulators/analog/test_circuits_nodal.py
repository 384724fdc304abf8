"""What the judge refuses, and that it says how well its currents balance."""

from __future__ import annotations

import sys
from typing import cast

import numpy as np
import pytest

from tetrapla.ir.errors import SpecError, UnsupportedError
from tetrapla.simulators.analog.circuits.cells import Polynomial
from tetrapla.simulators.analog.circuits.nodal import judged
from tetrapla.simulators.analog.circuits.wires import Topology, Wires

ONE = np.ones((1, 1))


def test_an_unknown_topology_is_named() -> None:
    with pytest.raises(SpecError) as raised:
        judged(ONE, ONE, Wires(1), cast("Topology", "ring"))
    assert str(raised.value) == (
        "topology must be one of input_source, interleaved, gated, gated_interleaved, not ring"
    )


@pytest.mark.parametrize(
    ("topology", "pair", "polarities"),
    [("input_source", True, 2), ("gated", True, 2), ("interleaved", False, 1)],
)
def test_polarities_fit_the_topology(topology: Topology, pair: bool, polarities: int) -> None:
    with pytest.raises(SpecError) as raised:
        judged(ONE, ONE, Wires(1), topology, g_minus=ONE if pair else None)
    assert str(raised.value) == (
        f"cells of a {topology} array must be one array [rows, columns] per polarity, not "
        f"{polarities} of shape (1, 1); solve arrays one by one"
    )


def test_without_scipy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(UnsupportedError) as raised:
        judged(ONE, ONE, Wires(1))
    assert str(raised.value) == (
        "nodal analysis needs SciPy, not an installation without it; "
        "pip install 'tetrapla[analog]'"
    )


def test_a_law_without_a_balance_is_refused() -> None:
    # g = 1 S behind R = 1 ohm: d + (d - 2 d^2) = 1 has no real solution
    with pytest.raises(UnsupportedError, match="must let the currents balance, not leave "):
        judged(ONE, ONE, Wires(1), law=Polynomial(-2.0))


def test_ideal_wires_leave_no_node() -> None:
    found = judged(np.array([[2.0, 0.0], [1.0, 3.0]]), np.array([[1.0, 2.0]]), Wires())
    assert found.currents.tolist() == [[4.0, 6.0]]
    # 1 V x 2 A + 2 V x 8 A
    assert found.watts.tolist() == [18.0]
    assert found.imbalance == 0
