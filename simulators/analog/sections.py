"""The parts of an analog chip's YAML: arrays, wires, cells, converters and their defects.

What a chip's file leaves out is off: no wire resistance, no time since programming, no faults.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tetrapla.ir.errors import SpecError, nearest
from tetrapla.simulators import units_
from tetrapla.simulators.analog.code_tables import MOST_BITS
from tetrapla.simulators.analog.devices import DEVICES, Device
from tetrapla.simulators.spec_ import (
    Bits,
    Count,
    Fraction,
    Hertz,
    Number,
    Seconds,
    Section,
    Siemens,
    SquareMillimetres,
    Volts,
    Watts,
)

_ROUNDING = 1 + 1e-9
_MOST_LINES = 2**20  # assumed: no crossbar has as many, and what it adds up stays exact
_MOST_OHMS = 1e12  # assumed: beyond, a wire is an insulator

Topology: TypeAlias = Literal["input_source", "interleaved", "gated", "gated_interleaved"]
Weights: TypeAlias = Literal["differential", "offset_column", "digital_offset", "n_pair"]
Resistance: TypeAlias = Annotated[float, BeforeValidator(units_.OHMS)]
Since: TypeAlias = Annotated[float, BeforeValidator(units_.SECONDS)]

INTERLEAVED: tuple[Topology, ...] = ("interleaved", "gated_interleaved")
GATED: tuple[Topology, ...] = ("gated", "gated_interleaved")


class ArraySection(Section):
    """A crossbar, and how many there are: tiles x units_per_tile x arrays_per_unit.

    One read drives every row by one DAC digit and lets every column settle. `topology`: rows
    that carry the inputs (``input_source``), with a second, inverted one for the negative cells
    of pairs on the same bit line (``interleaved``); or a rail at constant voltage along every
    bit line, with cells that their row selects (``gated``, ``gated_interleaved``: 1T1R).

    Attributes:
        drive_v: voltage of a DAC's highest level; None where no source gives it, and the
            array's energy is a price per read.
    """

    rows: Count = Field(ge=1, le=_MOST_LINES)
    cols: Count = Field(ge=2, le=_MOST_LINES)
    cell_bits: Bits = Field(alias="cell", ge=1, le=8)
    read_s: Seconds = Field(alias="read", gt=0)
    arrays_per_unit: Count = Field(ge=1)
    units_per_tile: Count = Field(ge=1)
    tiles: Count = Field(ge=1)
    topology: Topology = "input_source"
    drive_v: Volts | None = Field(default=None, alias="drive", gt=0)
    reload_s: Seconds | None = Field(default=None, alias="reload", gt=0)

    @property
    def total(self) -> int:
        """Crossbars of the chip."""
        return self.arrays_per_unit * self.units_per_tile * self.tiles

    @property
    def top_level(self) -> int:
        """The highest level of a cell; levels start at 0."""
        return (1 << self.cell_bits) - 1

    @property
    def interleaved(self) -> bool:
        """Whether both cells of a pair lie on one bit line, which subtracts their currents."""
        return self.topology in INTERLEAVED

    @property
    def gated(self) -> bool:
        """Whether rows select cells instead of carrying voltages."""
        return self.topology in GATED


class WiresSection(Section):
    """Resistances of the wires; all zero where none is given: no voltage is lost in them.

    `r_row` and `r_col` are those of one cell's length of word line (or supply rail) and of bit
    line; `r_driver` and `r_sense` those at their ends. Unused rows lie beyond the used ones,
    away from the sense amplifiers, and unused cells are off (assumed).
    """

    r_row_ohm: Resistance = Field(default=0.0, alias="r_row", description="no wires by default")
    r_col_ohm: Resistance = Field(default=0.0, alias="r_col", description="no wires by default")
    r_driver_ohm: Resistance = Field(
        default=0.0, alias="r_driver", description="no wires by default"
    )
    r_sense_ohm: Resistance = Field(
        default=0.0, alias="r_sense", description="no wires by default"
    )

    @model_validator(mode="after")
    def _conducts(self) -> Self:
        for name, field in type(self).model_fields.items():
            value = float(getattr(self, name))
            if not 0 <= value <= _MOST_OHMS:
                raise ValueError(
                    f"wires.{field.alias} must be a resistance of a wire that conducts, from 0 "
                    f"to {_MOST_OHMS:g} ohm, not {value:g} ohm; 0 ohm is a wire without loss, "
                    "and lines that are broken are faults.open_rows and faults.open_cols"
                )
        return self

    @property
    def lossy(self) -> bool:
        """Whether any voltage is lost."""
        return any(float(getattr(self, name)) > 0 for name in type(self).model_fields)


class MappingSection(Section):
    """How a signed weight becomes conductances.

    ``differential``: a pair of columns, for the positive and the negative part. ``n_pair``:
    `pairs` equal pairs, whose currents add up before they are converted. ``offset_column``:
    weight and half the range on one column, and a column of half the range in every array,
    converted like the others and subtracted digitally. ``digital_offset``: the same without
    that column, with the digital sum of the inputs in its place.

    Attributes:
        replicate: whether layers get copies while there are free arrays.
    """

    weights: Weights = "differential"
    pairs: Count = Field(default=1, ge=1, le=16, description="one cell per sign and slice")
    replicate: bool = False

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.weights != "n_pair" and self.pairs != 1:
            raise ValueError(
                f"mapping.pairs must be 1 where mapping.weights is {self.weights}, not "
                f"{self.pairs}; set mapping.weights=n_pair"
            )
        return self

    @property
    def paired(self) -> bool:
        """Whether negative parts of weights have columns of their own."""
        return self.weights in ("differential", "n_pair")


class DeviceSection(Section):
    """The cells. Level l is the conductance g_min + l (g_max - g_min) / top level.

    What g_min adds to a column, g_min times the inputs' sum, is taken away before conversion:
    assumed exact, and neither columns, time nor energy are counted for it. `read_noise_frac` is
    the standard deviation of a cell's conductance from read to read, over its programmed value.

    Attributes:
        time_s: from programming to the reads; None: the first that the model is known at.
        programming, drift, read: factors on what the model says, 0 for none of it; None: as
            published, or of a generic device its own magnitude.
        reads: noise of reads drawn per column from its exact distribution, or per cell.
        flicker: 1/f noise of a device is another at every read, or one for all of a run.
        spread_frac: standard deviation of a factor that each cell has for life, over 1.
        iv: current of a cell at a voltage v, over its conductance: v; sinh(b v) / b; or
            v + a2 v^2 + a3 v^3; or the fit to ReRAM of Milo et al., 50 to 225 uS. The highest
            digit drives `array.drive_v`.
    """

    model: str
    g_min_siemens: Siemens = Field(alias="g_min")
    g_max_siemens: Siemens = Field(alias="g_max", gt=0)
    read_noise_frac: Fraction = Field(alias="read_noise")
    time_s: Since | None = Field(default=None, alias="time")
    programming: Number | None = Field(default=None, ge=0)
    drift: Number | None = Field(default=None, ge=0)
    read: Number | None = Field(default=None, ge=0)
    reads: Literal["closed_form", "sampled"] = "closed_form"
    flicker: Literal["read", "run"] = "read"
    spread_frac: Fraction = Field(default=0.0, alias="spread", description="equal cells")
    iv: Literal["linear", "sinh", "polynomial", "milo"] = "linear"
    sinh_per_v: Number = Field(default=0.0, alias="sinh", ge=0, description="linear cells")
    quadratic_per_v: Number = Field(default=0.0, alias="quadratic", description="linear cells")
    cubic_per_v2: Number = Field(default=0.0, alias="cubic", description="linear cells")

    @field_validator("model")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DEVICES:
            hint = nearest(name, DEVICES) or f"; there are: {', '.join(DEVICES)}"
            raise ValueError(f"device.model must be a known device, not {name}{hint}")
        return name

    @field_validator("time_s")
    @classmethod
    def _after(cls, time_s: float | None) -> float | None:
        if time_s is not None and time_s < 0:
            raise ValueError(
                "device.time must not lie before programming, which is at 0 s, not "
                f"{time_s:g} s; give the time from programming to the reads"
            )
        return time_s

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
        try:
            self.device.seconds(self.time_s)
        except SpecError as error:
            raise ValueError(f"device.time must be one that is known: {error}") from None
        try:
            self.device.check(self.g_min_siemens, self.g_max_siemens, self.time_s)
        except SpecError as error:
            raise ValueError(f"device.g_max must be in range at that time: {error}") from None
        return self

    @property
    def device(self) -> Device:
        """How cells land, drift and read."""
        return DEVICES[self.model].scaled(self.programming, self.drift, self.read)

    @property
    def noisy(self) -> bool:
        """Whether two seeds may differ."""
        own = not self.device.exact or not self.device.silent
        return own or self.read_noise_frac > 0 or self.spread_frac > 0

    @property
    def frozen(self) -> bool:
        """Whether 1/f noise of the device is there, and the same at every read."""
        return self.flicker == "run" and self.device.flickers and not self.device.silent

    @property
    def curved(self) -> bool:
        """Whether a cell's current is not proportional to its voltage."""
        match self.iv:
            case "linear":
                return False
            case "milo":
                return True
            case "sinh":
                return self.sinh_per_v > 0
            case "polynomial":
                return self.quadratic_per_v != 0 or self.cubic_per_v2 != 0


class DacSection(Section):
    """Row drivers: an input is fed in digits of this many bits, the lowest first.

    Attributes:
        bits: of a digit.
        pulse: what a digit is of the highest one: a pulse's ``height``, in volts, or its
            ``width``, in time. Charges are the same, the arrays' own energy is not.
    """

    bits: Bits = Field(ge=1, le=8)
    pulse: Literal["height", "width"] = "height"


class AdcSection(Section):
    """Column converters; each array's converters take turns over its columns.

    `range`: ``calibrated`` on calibration inputs, or ``full`` for the largest possible sum. The
    step is a power of two of the unit (one cell level times one input step), and at least one.
    Codes are unsigned: a sum below zero reads as zero, one above the top code as the top code;
    or signed, where a converter sees the difference of a pair's currents.

    Attributes:
        sign: of its codes.
        offset_steps: standard deviation of an offset that each converter has, in steps.
        gain_frac: standard deviation of each converter's gain, over 1.
        unit_frac: of a unit element of its circuit (`code_tables`), over 1.
        comparator_steps: of the offset of each of a flash converter's comparators.
    """

    bits: Bits = Field(ge=1, le=24)
    rate_hz: Hertz = Field(alias="rate", gt=0)
    per_array: Count = Field(ge=1)
    range: Literal["calibrated", "full"]
    sign: Literal["unsigned", "signed"] = "unsigned"
    offset_steps: Number = Field(default=0.0, alias="offset", ge=0, description="no mismatch")
    gain_frac: Fraction = Field(default=0.0, alias="gain", description="no mismatch")
    unit_frac: Fraction = Field(default=0.0, alias="unit", description="no mismatch")
    comparator_steps: Number = Field(
        default=0.0, alias="comparator", ge=0, description="no mismatch"
    )

    @model_validator(mode="after")
    def _tables_fit(self) -> Self:
        if self.tabled and self.bits > MOST_BITS:
            raise ValueError(
                f"adc.bits must be at most {MOST_BITS} where adc.unit or adc.comparator is "
                f"given, since every converter has a table of its codes, not {self.bits}; "
                "lower it or leave them out"
            )
        return self

    @property
    def lowest(self) -> int:
        """The lowest code."""
        return 0 if self.sign == "unsigned" else -(1 << self.bits - 1)

    @property
    def highest(self) -> int:
        """The highest code."""
        return self.lowest + (1 << self.bits) - 1

    @property
    def costed_bits(self) -> int:
        """The bits that a conversion is timed and priced for."""
        return self.bits

    @property
    def mismatched(self) -> bool:
        """Whether converters differ."""
        return self.offset_steps > 0 or self.gain_frac > 0 or self.tabled

    @property
    def tabled(self) -> bool:
        """Whether converters have steps of different sizes."""
        return self.unit_frac > 0 or self.comparator_steps > 0


class IdealAdcSection(AdcSection):
    """The converters of an ideal run: bits enough for every sum, a step of one unit.

    `given_bits` are the chip's own. They stay what `cost` is priced for.
    """

    given_bits: Bits

    @property
    def costed_bits(self) -> int:
        """The chip's own."""
        return self.given_bits


class DigitalSection(Section):
    """The periphery of the tile that a layer is on: elements per clock of each kind of unit.

    `fill_reads`: how many reads the last code spends in the pipeline behind the arrays.
    `streams`: whether layers start on the rows that the ones before have made so far.
    """

    requantize_lanes: Count = Field(ge=1)
    pool_lanes: Count = Field(ge=1)
    vector_lanes: Count = Field(ge=1)
    fill_reads: Count
    mac_lanes: Count = Field(default=1, ge=1, description="a multiplier in a vector lane")
    streams: bool = False


class ComponentSection(Section):
    """Power and area of every component of a unit, a tile and the chip, for the closure."""

    unit_power_w: dict[str, Watts] = Field(alias="unit_power")
    tile_power_w: dict[str, Watts] = Field(alias="tile_power")
    link_power_w: Watts = Field(alias="link_power")
    unit_area_mm2: dict[str, SquareMillimetres] = Field(alias="unit_area")
    tile_area_mm2: dict[str, SquareMillimetres] = Field(alias="tile_area")
    link_area_mm2: SquareMillimetres = Field(alias="link_area")
