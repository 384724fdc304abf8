"""One design point of an analog chip: arrays of resistive cells behind DACs and ADCs."""

from __future__ import annotations

from math import ceil
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tetrapla.ir.errors import nearest
from tetrapla.simulators.analog.devices import DEVICES, EXACT, Device
from tetrapla.simulators.spec_ import (
    Bits,
    Count,
    Fraction,
    Hertz,
    Seconds,
    Section,
    Siemens,
    Spec,
    SquareMillimetres,
    Watts,
)

_ROUNDING = 1 + 1e-9
_MOST_LINES = 2**20  # assumed: no crossbar has as many, and what it adds up stays exact
INPUT_BITS = 8  # activations are int8; the machine drives them as unsigned 8-bit numbers


class ArraySection(Section):
    """A crossbar, and how many there are: tiles x units_per_tile x arrays_per_unit.

    One read drives every row by one DAC digit and lets every column settle.
    """

    rows: Count = Field(ge=1, le=_MOST_LINES)
    cols: Count = Field(ge=2, le=_MOST_LINES)
    cell_bits: Bits = Field(alias="cell", ge=1, le=8)
    read_s: Seconds = Field(alias="read", gt=0)
    arrays_per_unit: Count = Field(ge=1)
    units_per_tile: Count = Field(ge=1)
    tiles: Count = Field(ge=1)

    @property
    def total(self) -> int:
        """Crossbars of the chip."""
        return self.arrays_per_unit * self.units_per_tile * self.tiles

    @property
    def top_level(self) -> int:
        """The highest level of a cell; levels start at 0."""
        return (1 << self.cell_bits) - 1


class DeviceSection(Section):
    """The cells. Level l is the conductance g_min + l (g_max - g_min) / top level.

    What g_min adds to a column, g_min times the inputs' sum, is taken away before conversion:
    assumed exact, and neither columns, time nor energy are counted for it. `read_noise_frac` is
    the standard deviation of a cell's conductance from read to read, over its programmed value.
    """

    model: str
    g_min_siemens: Siemens = Field(alias="g_min")
    g_max_siemens: Siemens = Field(alias="g_max", gt=0)
    read_noise_frac: Fraction = Field(alias="read_noise")

    @field_validator("model")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DEVICES:
            hint = nearest(name, DEVICES) or f"; there are: {', '.join(DEVICES)}"
            raise ValueError(f"device.model must be a known device, not {name}{hint}")
        return name

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        if self.g_min_siemens >= self.g_max_siemens:
            raise ValueError("device.g_min must be below g_max; lower it")
        lowest, highest = self.device.lowest_usiemens, self.device.highest_usiemens
        if highest is not None and self.g_max_siemens * 1e6 > highest * _ROUNDING:
            raise ValueError(
                f"device.g_max must be at most {highest:g} uS, where {self.model} was fitted, "
                f"not {self.g_max_siemens * 1e6:g} uS; lower it or choose another model"
            )
        if lowest is not None and self.g_min_siemens * 1e6 * _ROUNDING < lowest:
            raise ValueError(
                f"device.g_min must be at least {lowest:g} uS, where {self.model} was fitted, "
                f"not {self.g_min_siemens * 1e6:g} uS; raise it or choose another model"
            )
        return self

    @property
    def device(self) -> Device:
        """The programming-error model."""
        return DEVICES[self.model]

    @property
    def noisy(self) -> bool:
        """Whether two seeds may differ."""
        return self.device is not EXACT or self.read_noise_frac > 0


class DacSection(Section):
    """Row drivers: an input is fed in digits of this many bits, the lowest first."""

    bits: Bits = Field(ge=1, le=8)


class AdcSection(Section):
    """Column converters; each array's converters take turns over its columns.

    `range`: ``calibrated`` on calibration inputs, or ``full`` for the largest possible sum. The
    step is a power of two of the unit (one cell level times one input step), and at least one.
    Codes are unsigned: a sum below zero reads as zero, one above the top code as the top code.
    """

    bits: Bits = Field(ge=1, le=24)
    rate_hz: Hertz = Field(alias="rate", gt=0)
    per_array: Count = Field(ge=1)
    range: Literal["calibrated", "full"]


class IdealAdcSection(AdcSection):
    """The converters of an ideal run: bits enough for every sum, a step of one unit.

    `given_bits` are the chip's own. They stay what `cost` is priced for.
    """

    given_bits: Bits


class DigitalSection(Section):
    """The periphery of the tile that a layer is on: elements per clock of each kind of unit.

    `fill_reads`: how many reads the last code spends in the pipeline behind the arrays.
    """

    requantize_lanes: Count = Field(ge=1)
    pool_lanes: Count = Field(ge=1)
    vector_lanes: Count = Field(ge=1)
    fill_reads: Count


class ComponentSection(Section):
    """Power and area of every component of a unit, a tile and the chip, for the closure."""

    unit_power_w: dict[str, Watts] = Field(alias="unit_power")
    tile_power_w: dict[str, Watts] = Field(alias="tile_power")
    link_power_w: Watts = Field(alias="link_power")
    unit_area_mm2: dict[str, SquareMillimetres] = Field(alias="unit_area")
    tile_area_mm2: dict[str, SquareMillimetres] = Field(alias="tile_area")
    link_area_mm2: SquareMillimetres = Field(alias="link_area")


class AnalogSpec(Spec):
    """An ISAAC-like chip; the sources of a shipped chip's numbers are in its YAML."""

    clock_hz: Hertz = Field(alias="clock", gt=0)
    array: ArraySection
    device: DeviceSection
    dac: DacSection
    adc: AdcSection
    digital: DigitalSection
    components: ComponentSection | None = None

    def ideal(self) -> Self:
        """Exact cells, silent reads, and ADCs that tell every sum of a full array apart.

        An ADC of fewer than `lossless_bits` bits is a non-ideality too, so it gets as many;
        one of more keeps its own.
        """
        device = self.device.model_copy(update={"model": EXACT.name, "read_noise_frac": 0.0})
        return self.model_copy(update={"device": device, "adc": self._ideal_adc()})

    def _ideal_adc(self) -> AdcSection:
        if isinstance(self.adc, IdealAdcSection):
            return self.adc
        bits = max(self.adc.bits, lossless_bits(self, self.array.rows))
        return IdealAdcSection.model_construct(
            bits=bits,
            rate_hz=self.adc.rate_hz,
            per_array=self.adc.per_array,
            range="full",
            given_bits=self.adc.bits,
        )

    @property
    def digits(self) -> int:
        """Reads that one input takes."""
        return ceil(INPUT_BITS / self.dac.bits)


def largest_sum(spec: AnalogSpec, rows: int) -> int:
    """The largest sum of a column over `rows` rows, in units."""
    return rows * spec.array.top_level * ((1 << spec.dac.bits) - 1)


def lossless_bits(spec: AnalogSpec, rows: int) -> int:
    """ADC bits that tell every sum of `rows` rows apart with a step of one unit.

    A sum is a whole number from 0 to R (2^cell - 1) (2^dac - 1), so the bits that are enough
    are ceil(log2(R (2^cell - 1) (2^dac - 1) + 1)): 9 for 128 rows of 2-bit cells, 1-bit DACs.
    With them, exact cells and silent reads, every code is the sum itself, and shift and add
    give the integer product. One bit less, and a column with all its cells at the top level
    and all its rows driven reads too low.
    """
    return largest_sum(spec, rows).bit_length()
