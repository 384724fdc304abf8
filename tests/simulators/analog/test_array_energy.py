"""Joules of arrays: by hand, by brute force, through wires, and whatever the cut."""

from __future__ import annotations

import numpy as np
import pytest

import tetrapla
from tetrapla.backends.target_ import find
from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import dissipation
from tetrapla.simulators.analog.cells import programmed, siemens
from tetrapla.simulators.analog.circuits.effective import admittance
from tetrapla.simulators.analog.circuits.wires import Wires
from tetrapla.simulators.analog.energy import (
    drive_gram,
    drive_squares,
    joules,
    wired_joules,
)
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec
from tetrapla.suites.analog_chips_ import full

JOULES = ("cost.crossbar.joule=1 J",)


def counted(*overrides: str) -> AnalogSpec:
    """ISAAC with the joules of its arrays in place of a price per read."""
    text = find("isaac")[1].text
    held = [line for line in text.splitlines() if not line.startswith("  crossbar.read:")]
    held.insert(held.index("cost:") + 1, "  crossbar.joule: 1 J")
    path = counted.folder / "counted.yaml"
    path.write_text("\n".join(held).replace("name: isaac", "name: counted"), "utf-8")
    return load_spec(path, AnalogSpec, ("array.drive=0.2 V", *overrides)).spec


@pytest.fixture(autouse=True)
def _folder(tmp_path: pytest.TempPathFactory) -> None:
    counted.folder = tmp_path


def brute(inputs: Array, cells: Array, dac_bits: int, volts: float, read_s: float) -> float:
    """Every cell, every read."""
    total = 0.0
    for vector in inputs.reshape(-1, inputs.shape[-1]):
        for shift in range(0, 8, dac_bits):
            digit = vector.astype(int) >> shift & (1 << dac_bits) - 1
            driven = volts * digit / ((1 << dac_bits) - 1)
            total += read_s * float((driven[:, None] ** 2 * cells).sum())
    return total
