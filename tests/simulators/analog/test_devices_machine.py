"""Every device in the machine: exact at magnitude zero, the same in any cut, heard if loud."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.crossbar import sliced
from tetrapla.simulators.analog.devices import DEVICES, Device
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec

EVERY = pytest.mark.parametrize("device", DEVICES.values(), ids=list(DEVICES))
ROWS, OUTPUTS = 48, 20
OFF = ("device.programming=0", "device.drift=0", "device.read=0")


def chip(device: Device, *overrides: str) -> AnalogSpec:
    """ISAAC with these cells, four hours old where they drift."""
    highest = device.drifted_usiemens or device.highest_usiemens or 25.0
    changes = [
        f"device.model={device.name}",
        f"device.g_min={device.lowest_usiemens or 0.0} uS",
        f"device.g_max={highest} uS",
        "device.read_noise=0",
        "adc.bits=12 bit",
    ]
    if device.drifts:
        changes.append("device.time=14400 s")
    return load_spec("isaac", AnalogSpec, (*changes, *overrides)).spec


def layer() -> Product:
    rng = np.random.default_rng(7)
    matrix = rng.integers(-127, 128, (ROWS, OUTPUTS)).astype(np.int16)
    return Product(
        name="fc",
        op="qnn.matmul",
        number=0,
        operand=0,
        result=1,
        x_zero_point=0,
        x_low=-128,
        matrix=matrix,
        bias=np.zeros(OUTPUTS, np.int64),
        window=None,
        slices=4,
        tiles=(Tile(0, ROWS, 0, OUTPUTS, (0,) * 4),),
        macs=ROWS * OUTPUTS,
    )


def inputs() -> Array:
    return np.random.default_rng(8).integers(0, 256, (5, 6, ROWS)).astype(np.uint8)


@EVERY
def test_with_every_magnitude_at_zero_the_arrays_give_the_integer_product(
    device: Device,
) -> None:
    exact = inputs().astype(np.int64) @ layer().matrix.astype(np.int64)
    for seed in (1, 2):
        found = sliced(layer(), chip(device, *OFF), inputs(), Key(seed))
        assert np.array_equal(found, exact)


@EVERY
def test_codes_do_not_depend_on_the_cut(device: Device) -> None:
    whole = sliced(layer(), chip(device), inputs(), Key(3))
    for chunk in (1, 1000, 1 << 20):
        assert np.array_equal(sliced(layer(), chip(device), inputs(), Key(3), chunk), whole)


@EVERY
def test_an_error_that_is_large_enough_is_heard(device: Device) -> None:
    exact = inputs().astype(np.int64) @ layer().matrix.astype(np.int64)
    # twenty times what was published, or twenty times the range of the generic ones
    found = sliced(layer(), chip(device, "device.programming=20"), inputs(), Key(3))
    assert np.array_equal(found, exact) == (not device.errs)
