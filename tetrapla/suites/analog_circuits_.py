"""Wired crossbars beside golden solutions: currents, power, read noise, pre-compensation.

The golden tables write G as [outputs, inputs]; here rows are inputs. An error of currents is
the largest difference over the largest current of the case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.cells import Cell, Polynomial, Sinh
from tetrapla.simulators.analog.circuits.effective import admittance, effective, power
from tetrapla.simulators.analog.circuits.ladder import gated
from tetrapla.simulators.analog.circuits.newton import nonlinear
from tetrapla.simulators.analog.circuits.precompensation import precompensated
from tetrapla.simulators.analog.circuits.read_noise import deviations
from tetrapla.simulators.analog.circuits.wires import Solution, Wires
from tetrapla.suites.tables_ import Cells, arrays, number, read
from tetrapla.validation import Row

CASES: Final = Path("analog", "circuits.csv")
ARRAYS: Final = Path("analog", "circuits.npz")
NOISE: Final = Path("analog", "read_noise.npz")
PRE: Final = Path("analog", "precompensation.npz")
_CURRENTS: Final = 1e-10
_FORMULAS: Final = 1e-9
_SAMPLED: Final = 4 * 0.011  # four deviations of a sampled one, 1.1 % each
_FIRST_UPDATES: Final = 1e-6
_LATER_UPDATES: Final = 1e-3  # small differences of large numbers from the third on
_NODAL: Final = "nodal analysis, sparse LU with refinement in extended precision"
_LOOP: Final = "the same iteration with an independent solver"


def rows(golden: Path) -> Iterator[Row]:
    """Every case of the tables."""
    held = arrays(golden / ARRAYS)
    for where, row in read(golden / CASES):
        yield from _circuit(held, row, where)
    yield from _read_noise(arrays(golden / NOISE))
    yield from _precompensation(arrays(golden / PRE))


def _circuit(held: Mapping[str, Array], row: Cells, where: str) -> Iterator[Row]:
    case = row["case"]
    try:
        g, volts = held[f"{case}/G"].T.astype(np.float64), held[f"{case}/V"].T
        currents, watts = held[f"{case}/I"].T, held[f"{case}/P"]
    except KeyError as error:
        raise ModelError(f"{where}: {error} must be in {ARRAYS.name}; mend the table") from None
    other = held.get(f"{case}/Gneg")
    minus = None if other is None else other.T.astype(np.float64)
    names = ("r_row_ohm", "r_col_ohm", "r_driver_ohm", "r_sense_ohm")
    wires = Wires(*(number(row, name, where) for name in names))
    found = _solved(row, where, g, minus, volts.astype(np.float64), wires)
    for quantity, published, ours in (
        ("currents", currents, found.currents),
        ("power", watts, found.watts),
    ):
        apart = float(np.abs(ours - published).max() / np.abs(published).max())
        yield _row(f"circuit {case}", quantity, 1.0, 1 + apart, _CURRENTS, _NODAL)


def _solved(
    row: Cells, where: str, g: Array, minus: Array | None, volts: Array, wires: Wires
) -> Solution:
    kind = row["topology"]
    if kind.startswith("gated"):
        return gated(g, volts, number(row, "v_supply_V", where), wires, minus)
    law: Cell | None = None
    if kind == "input_sinh":
        law = Sinh(number(row, "beta_per_V", where))
    elif kind == "input_poly":
        law = Polynomial(number(row, "a2_per_V", where), number(row, "a3_per_V2", where))
    if law is not None:
        return nonlinear(g, volts, wires, law, minus)
    found = volts @ effective(g, wires, minus)
    return Solution(np.asarray(found), power(admittance(g, wires, minus), volts))


def _read_noise(held: Mapping[str, Array]) -> Iterator[Row]:
    g, volts = held["G"].T.astype(np.float64), held["V"].astype(np.float64)[None]
    sigma = float(held["s"]) * g
    wires = Wires(float(held["r_row_ohm"]), float(held["r_col_ohm"]))
    every = deviations(g, sigma, volts, wires)[0]
    own = deviations(g, sigma, volts, wires, own_columns=True)[0]
    for quantity, published, ours, bound in (
        ("deviation", held["sigma_adjoint_all"], every, _FORMULAS),
        ("deviation_of_own_column", held["sigma_adjoint_own"], own, _FORMULAS),
        ("deviation_sampled", held["mc_sd"], every, _SAMPLED),
    ):
        error = float(np.abs(ours / published - 1).max())
        yield _row("read noise 24x32", quantity, 1.0, 1 + error, bound, _NODAL)


def _precompensation(held: Mapping[str, Array]) -> Iterator[Row]:
    """Errors of the products after each update, in units where the lowest device has 1 ohm."""
    weights, x = held["W"].T.astype(np.float64), held["X"].astype(np.float64)
    wires = Wires(float(held["rp_over_rmin"]), float(held["rp_over_rmin"]))
    target = np.stack((np.maximum(weights, 0.0), np.maximum(-weights, 0.0)))
    gain, ideal = float(held["alpha"]), x.T @ weights
    for updates, published in enumerate(held["err_iteration"].tolist()):
        made = precompensated(target, wires, 1.0, updates=updates, gain=gain)
        both = effective(made.cells, wires)
        y = x.T @ (both[0] - both[1]) / made.gain
        ours = float(np.linalg.norm(y - ideal) / np.linalg.norm(ideal))
        bound = _FIRST_UPDATES if updates < 3 else _LATER_UPDATES
        case = f"pre-compensation, {updates} updates"
        yield _row(case, "product_error", published, ours, bound, _LOOP)


def _row(
    case: str, quantity: str, published: float, ours: float, bound: float, source: str
) -> Row:
    return Row("analog", case, quantity, "1", published, ours, bound, source)
