"""Pre-compensation: the stored iteration, what it gains, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.effective import solve
from tetrapla.simulators.analog.circuits.precompensation import precompensated
from tetrapla.simulators.analog.circuits.wires import Wires
from tetrapla.validation import GOLDEN

STORED = np.load(GOLDEN / "analog" / "precompensation.npz")


def pair(weights: Array) -> Array:
    """Both polarities of weights [rows, columns], stacked."""
    return np.stack((np.maximum(weights, 0), np.maximum(-weights, 0)))


def outputs(cells: Array, inputs: Array, wires: Wires) -> Array:
    matrix = solve(cells, wires)
    return np.asarray(inputs @ (matrix[0] - matrix[1]))


def error(found: Array, wanted: Array) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def test_the_stored_iteration() -> None:
    weights, inputs = STORED["W"].astype(float).T, STORED["X"].astype(float).T
    ohm = float(STORED["rp_over_rmin"])
    target, wires, wanted = pair(weights), Wires(ohm, ohm), inputs @ weights
    raw = outputs(target, inputs, wires)
    assert error(raw, wanted) == pytest.approx(float(STORED["err_raw"]), rel=1e-6)
    errors = STORED["err_iteration"]
    for update in range(1, len(errors)):
        found = precompensated(target, wires, 1.0, updates=update)
        assert found.gain == pytest.approx(float(STORED["alpha"]), rel=1e-12)
        reached = error(outputs(found.cells, inputs, wires) / found.gain, wanted)
        # the file's tolerance: from the third on the error is that of few clipped cells
        bound = 1e-6 if update < 3 else 1e-3
        assert reached == pytest.approx(float(errors[update]), rel=bound)


def test_it_divides_the_error_of_a_stiff_array_by_twenty(rng: np.random.Generator) -> None:
    # 128x128, wires of 1e-4 of the lowest device resistance: normal weights, |w| <= 3 sd
    weights = np.clip(rng.standard_normal((128, 128)) / 3, -1, 1)
    inputs, wires = rng.random((32, 128)), Wires(1e-4, 1e-4)
    wanted = inputs @ weights
    raw = outputs(pair(weights), inputs, wires)
    # what gains alone can do: the best one, and the best of each column
    one = raw * (raw * wanted).sum() / (raw * raw).sum()
    each = raw * (raw * wanted).sum(axis=0) / (raw * raw).sum(axis=0)
    found = precompensated(pair(weights), wires, 1.0)
    bent = outputs(found.cells, inputs, wires) / found.gain
    assert error(bent, wanted) <= error(raw, wanted) / 20
    assert error(bent, wanted) <= min(error(one, wanted), error(each, wanted)) / 10
    # without an update there is nothing to gain: the test above needs them
    nothing = precompensated(pair(weights), wires, 1.0, updates=0)
    assert error(outputs(nothing.cells, inputs, wires) / nothing.gain, wanted) == error(
        raw, wanted
    )


def test_devices_keep_their_range(rng: np.random.Generator) -> None:
    target = rng.uniform(1e-6, 1e-4, (2, 40, 30))
    target[0, :3] = 0
    found = precompensated(target, Wires(40, 40), 1e-4, g_min_siemens=1e-6)
    assert not found.cells[0, :3].any()
    there = found.cells[target > 0]
    assert there.min() >= 1e-6
    assert there.max() <= 1e-4


def test_ideal_wires_need_only_the_gain(rng: np.random.Generator) -> None:
    target = rng.uniform(0, 1e-4, (12, 9))
    found = precompensated(target, Wires(), 1e-4, gain=1.0)
    np.testing.assert_allclose(found.cells, target, rtol=1e-15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"updates": -1}, "updates must be 0 or more, not -1; 0 changes nothing"),
        ({"gain": 0.0}, "gain must be finite and above 0, not 0.0; leave it out"),
        (
            {"g_min_siemens": 2.0},
            "g_min_siemens and g_max_siemens must be finite with 0 <= g_min <= g_max > 0, not "
            "2.0 and 1.0; take them from the device",
        ),
    ],
)
def test_bad_options_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError) as raised:
        precompensated(np.ones((2, 2)), Wires(1), 1.0, **options)  # type: ignore[arg-type]
    assert str(raised.value) == message
