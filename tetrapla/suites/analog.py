"""The analog machine: circuits, devices, noise, converters, and published chips.

Circuits and devices are held to golden tables, computed apart; a classifier of digits to an
independent model's accuracy; ISAAC, NeuRRAM, HERMES and Albireo to what was published of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tetrapla.suites import (
    analog_chips_,
    analog_circuits_,
    analog_converters_,
    analog_devices_,
    analog_digits_,
    analog_neurram_,
)
from tetrapla.validation import Row


def rows(golden: Path) -> Iterator[Row]:
    """Published chips first, then circuits, devices, the classifier, and converters.

    Raises:
        ModelError: a table is missing or broken.
    """
    yield from analog_chips_.rows()
    yield from analog_neurram_.rows(golden)
    yield from analog_circuits_.rows(golden)
    yield from analog_devices_.rows(golden)
    yield from analog_digits_.rows(golden)
    yield from analog_converters_.rows(golden)
