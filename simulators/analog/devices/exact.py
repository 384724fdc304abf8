"""Cells that hold what they are given: no device at all, and digital memory that computes."""

from __future__ import annotations

from typing import Final

from tetrapla.simulators.analog.devices.device import Device

EXACT: Final = Device(
    name="exact",
    source="no device: conductances land on their targets (every ideal run)",
)
SRAM_DIGITAL: Final = Device(
    name="sram_digital",
    source="assumed: an SRAM cell holds its bit and an adder tree counts it, without noise, as "
    "in digital CIM (H. Kim et al., Colonnade, JSSC 2021)",
)
