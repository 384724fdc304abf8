"""Prices, area and converter times of a design point that differs from the published one.

A chip's YAML states what its converters and arrays cost at the bits and sizes that they were
built with, `priced_at`. At other ones the price is the stated one times a ratio: ADCs by
`converters`, DACs by their unit elements, a read of an array by its cells, sample-and-hold
circuits by the columns. At `priced_at` itself every ratio is exactly 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import Field

from tetrapla.simulators.analog.converters import (
    Circuit,
    area_ratio,
    dac_ratio,
    energy_ratio,
    steps,
    survey,
)
from tetrapla.simulators.spec_ import Bits, Count, Seconds, Section

ADC: Final = "adc.convert"
DAC: Final = "dac.convert"
READ: Final = "crossbar.read"
HOLD: Final = "sample_hold.read"
JOULE: Final = "crossbar.joule"
UNKNOWN: Final = "crossbar.unknown_joule"
LOAD: Final = "weight.convert"


class ConverterSection(Section):
    """What kind of circuit the ADCs are.

    Attributes:
        circuit: ``sar``, ``ramp`` or ``flash``; it decides the steps of a conversion and how
            energy and area grow with the bits.
        step_s: of one step; a conversion takes its steps. None leaves it to ``adc.rate``.
        overlaps: whether a read's codes are made while the next one settles; else the two take
            turns, as where an integrator is the ADC too.
        price: ``stated`` in the cost table, or of the ``survey``'s regression at the ADC's
            bits and rate and the chip's node.
    """

    circuit: Circuit = "sar"
    step_s: Seconds | None = Field(default=None, alias="step", gt=0)
    overlaps: bool = True
    price: Literal["stated", "survey"] = "stated"


class PricedSection(Section):
    """The design point that the prices and areas of the YAML are of."""

    adc_bits: Bits = Field(alias="adc", ge=1, le=24)
    dac_bits: Bits = Field(alias="dac", ge=1, le=8)
    rows: Count = Field(ge=1)
    cols: Count = Field(ge=1)
    arrays_per_unit: Count = Field(ge=1)
    units_per_tile: Count = Field(ge=1)
    tiles: Count = Field(ge=1)
    adcs_per_array: Count = Field(ge=1)


class NocSection(Section):
    """The mesh between tiles.

    Attributes:
        hop_cycles: clock cycles from one router to the next.
        cycle_bytes: what a link moves in a cycle.
    """

    hop_cycles: Count = Field(alias="hop", ge=1)
    cycle_bytes: Count = Field(alias="bytes_per_cycle", ge=1)


@dataclass(frozen=True)
class Point:
    """A design point, as far as prices and areas depend on it."""

    adc_bits: int
    dac_bits: int
    rows: int
    cols: int
    arrays_per_unit: int
    units_per_tile: int
    tiles: int
    adcs_per_array: int
    rate_hz: float
    node_nm: float | None
    circuit: Circuit


def conversion_s(converter: ConverterSection, bits: int, rate_hz: float) -> float:
    """Seconds of one conversion."""
    if converter.step_s is None:
        return 1 / rate_hz
    return steps(converter.circuit, bits) * converter.step_s


def prices(
    stated: Mapping[str, float | None],
    converter: ConverterSection,
    priced: PricedSection | None,
    point: Point,
) -> dict[str, float | None]:
    """Picojoules by action at a design point, from those that the YAML states."""
    found = dict(stated)
    if converter.price == "survey" and point.node_nm is not None:
        found[ADC] = survey(point.adc_bits, point.rate_hz, point.node_nm).energy_pj
    if priced is None:
        return found
    factors = {
        DAC: dac_ratio(point.dac_bits, priced.dac_bits),
        READ: point.rows * point.cols / (priced.rows * priced.cols),
        HOLD: point.cols / priced.cols,
    }
    if converter.price == "stated":
        factors[ADC] = _adc_energy(priced, point)
    for action, factor in factors.items():
        price = found.get(action)
        if price is not None:
            found[action] = price * factor
    return found


def unit_area_mm2(
    parts: Mapping[str, float], priced: PricedSection | None, point: Point
) -> float:
    """The area of a unit's components at a design point; what is not named below stays."""
    if priced is None:
        return sum(parts.values())
    arrays = point.arrays_per_unit / priced.arrays_per_unit
    rows, cols = point.rows / priced.rows, point.cols / priced.cols
    converters = area_ratio(
        point.circuit, point.adc_bits, priced.adc_bits, point.rate_hz, point.node_nm
    )
    factors = {
        "adc": arrays * converters * (point.adcs_per_array / priced.adcs_per_array),
        "dac": arrays * rows * dac_ratio(point.dac_bits, priced.dac_bits),
        "sample_hold": arrays * cols,
        "crossbar": arrays * rows * cols,
        "input_register": arrays * rows,
        "output_register": arrays * cols,
    }
    return sum(area * factors.get(name, 1.0) for name, area in parts.items())


def _adc_energy(priced: PricedSection, point: Point) -> float:
    return energy_ratio(
        point.circuit, point.adc_bits, priced.adc_bits, point.rate_hz, point.node_nm
    )
