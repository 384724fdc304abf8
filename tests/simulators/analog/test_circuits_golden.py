"""Stored nodal solutions of 13 wired arrays: every method reproduces those it is made for."""

from __future__ import annotations

import csv
from typing import NamedTuple

import numpy as np
import pytest

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.cells import LINEAR, Cell, Polynomial, Sinh
from tetrapla.simulators.analog.circuits.effective import admittance, effective, power
from tetrapla.simulators.analog.circuits.ladder import gated
from tetrapla.simulators.analog.circuits.newton import nonlinear
from tetrapla.simulators.analog.circuits.nodal import judged
from tetrapla.simulators.analog.circuits.wires import Solution, Topology, Wires
from tetrapla.validation import GOLDEN

# of the largest current: what the file itself is good for
BOUND = 1e-12
TOPOLOGY: dict[str, Topology] = {
    "input": "input_source",
    "input_sinh": "input_source",
    "input_poly": "input_source",
    "interleaved": "interleaved",
    "gated": "gated",
    "gated_interleaved": "gated_interleaved",
}


class Case(NamedTuple):
    """A stored array; the file's arrays are [outputs, inputs], these [rows, columns]."""

    name: str
    topology: Topology
    law: Cell
    wires: Wires
    g: Array
    g_minus: Array | None
    volts: Array
    supply_volts: float
    currents: Array
    watts: Array


def stored() -> list[Case]:
    arrays = np.load(GOLDEN / "analog" / "circuits.npz")
    with (GOLDEN / "analog" / "circuits.csv").open() as file:
        return [_case(row, arrays) for row in csv.DictReader(file)]


def _case(row: dict[str, str], arrays: dict[str, Array]) -> Case:
    law: Cell = LINEAR
    if row["beta_per_V"]:
        law = Sinh(float(row["beta_per_V"]))
    elif row["a3_per_V2"]:
        law = Polynomial(float(row["a2_per_V"]), float(row["a3_per_V2"]))
    names = ("r_row_ohm", "r_col_ohm", "r_driver_ohm", "r_sense_ohm")
    name = row["case"]
    minus = arrays[f"{name}/Gneg"].astype(float).T if f"{name}/Gneg" in arrays else None
    return Case(
        name,
        TOPOLOGY[row["topology"]],
        law,
        Wires(*(float(row[key]) for key in names)),
        arrays[f"{name}/G"].astype(float).T,
        minus,
        arrays[f"{name}/V"].astype(float).T,
        float(row["v_supply_V"] or 0),
        arrays[f"{name}/I"].T,
        arrays[f"{name}/P"],
    )


CASES = stored()
every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
lines = pytest.mark.parametrize(
    "case", [c for c in CASES if "gated" not in c.topology], ids=lambda case: case.name
)


def agrees(found: Solution, case: Case) -> None:
    largest = np.abs(case.currents).max()
    np.testing.assert_allclose(found.currents, case.currents, rtol=0, atol=BOUND * largest)
    np.testing.assert_allclose(found.watts, case.watts, rtol=BOUND, atol=0)


def test_all_thirteen_arrays_are_stored() -> None:
    assert len(CASES) == 13
    assert {case.topology for case in CASES} == set(TOPOLOGY.values())


@every
def test_the_judge_agrees(case: Case) -> None:
    found = judged(
        case.g,
        case.volts,
        case.wires,
        case.topology,
        g_minus=case.g_minus,
        law=case.law,
        supply_volts=case.supply_volts,
    )
    agrees(found, case)
    assert found.imbalance <= 1e-13


@lines
def test_newton_agrees(case: Case) -> None:
    agrees(nonlinear(case.g, case.volts, case.wires, case.law, case.g_minus), case)


@pytest.mark.parametrize(
    "case", [c for c in CASES if "gated" in c.topology], ids=lambda case: case.name
)
def test_ladders_agree(case: Case) -> None:
    agrees(gated(case.g, case.volts, case.supply_volts, case.wires, case.g_minus), case)


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if "gated" not in c.topology and c.law == LINEAR],
    ids=lambda case: case.name,
)
def test_effective_matrices_agree(case: Case) -> None:
    matrix = effective(case.g, case.wires, case.g_minus)
    watts = power(admittance(case.g, case.wires, case.g_minus), case.volts)
    agrees(Solution(case.volts @ matrix, watts), case)
    arrays = np.load(GOLDEN / "analog" / "circuits.npz")
    rows, kept = arrays[f"{case.name}/Geff_rows"], arrays[f"{case.name}/Geff"]
    np.testing.assert_allclose(matrix.T[rows], kept, rtol=0, atol=BOUND * np.abs(kept).max())
