"""One design point of an analog chip: arrays of resistive cells behind DACs and ADCs."""

from __future__ import annotations

from math import ceil
from typing import Any, Self

from pydantic import Field, model_validator

from tetrapla.simulators.analog import costing
from tetrapla.simulators.analog.defect_sections import FaultsSection, RecoverySection
from tetrapla.simulators.analog.devices import EXACT
from tetrapla.simulators.analog.sections import (
    AdcSection,
    ArraySection,
    ComponentSection,
    DacSection,
    DeviceSection,
    DigitalSection,
    IdealAdcSection,
    MappingSection,
    WiresSection,
)
from tetrapla.simulators.roof_ import Roof
from tetrapla.simulators.spec_ import Cost, Hertz, Spec

_DRIVE_V = 0.2  # assumed: W. Wan et al. and V. Milo et al. read ReRAM at 0.1 to 0.5 V
INPUT_BITS = 8  # activations are int8; the machine drives them as unsigned 8-bit numbers


class AnalogSpec(Spec):
    """An ISAAC-like chip; the sources of a shipped chip's numbers are in its YAML."""

    optional_actions = ("mac.op", costing.JOULE, costing.UNKNOWN, costing.LOAD)

    clock_hz: Hertz = Field(alias="clock", gt=0)
    array: ArraySection
    wires: WiresSection = WiresSection()
    mapping: MappingSection = MappingSection()
    device: DeviceSection
    faults: FaultsSection = FaultsSection()
    recovery: RecoverySection = RecoverySection()
    dac: DacSection
    adc: AdcSection
    digital: DigitalSection
    components: ComponentSection | None = None
    converter: costing.ConverterSection = costing.ConverterSection()
    noc: costing.NocSection | None = None
    priced_at: costing.PricedSection | None = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.adc.sign == "signed" and not self.mapping.paired:
            raise ValueError(
                "adc.sign must be unsigned where mapping.weights is "
                f"{self.mapping.weights}, not signed; there are no pairs to subtract"
            )
        if self.array.interleaved and (self.adc.sign == "unsigned" or not self.mapping.paired):
            raise ValueError(
                f"array.topology must not be {self.array.topology} with {self.adc.sign} "
                f"converters and {self.mapping.weights} weights, since its bit lines subtract "
                "pairs; set adc.sign=signed and mapping.weights=differential"
            )
        return self

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if self.adc.comparator_steps and self.converter.circuit != "flash":
            raise ValueError(
                "adc.comparator must be 0 where converter.circuit is "
                f"{self.converter.circuit}, which has one comparator, not "
                f"{self.adc.comparator_steps:g}; set adc.offset, or converter.circuit=flash"
            )
        return self

    @model_validator(mode="after")
    def _recovers(self) -> Self:
        bends = self.recovery.wires == "precompensated"
        if bends and (self.array.gated or self.device.curved):
            raise ValueError(
                "recovery.wires must be none where array.topology is gated or device.iv is "
                "not linear, since such arrays are not one matrix to invert, not "
                f"precompensated with {self.array.topology} arrays of {self.device.iv} cells; "
                "leave it out"
            )
        return self

    @property
    def on_chip_bytes(self) -> int:
        """What the cells of all arrays hold."""
        array = self.array
        return array.total * array.rows * array.cols * array.cell_bits // 8

    def roof(self, number_format: str | None = None) -> Roof:
        """None, and why."""
        del number_format
        return Roof(
            None,
            None,
            "a layer multiplies in the arrays that hold its weights and in no others, so each "
            "has a peak of its own",
            "weights stay in the arrays: no memory feeds them",
        )

    @property
    def noisy(self) -> bool:
        """Whether two seeds may differ."""
        return self.device.noisy or self.faults.any or self.adc.mismatched

    @property
    def sums_are_exact(self) -> bool:
        """Whether every column sum is the integer that it stands for."""
        return not (self.noisy or self.wires.lossy or self.curved)

    @property
    def curved(self) -> bool:
        """Whether the law of a cell changes a sum: its voltage takes more than two values."""
        several = self.wires.lossy or (self.dac.bits > 1 and not self.array.gated)
        return self.device.curved and (several or self.device.iv == "milo")

    @property
    def drive_v(self) -> float:
        """Volts of the highest digit; a usual read voltage where no source gives one."""
        return _DRIVE_V if self.array.drive_v is None else self.array.drive_v

    @model_validator(mode="after")
    def _costs_fit(self) -> Self:
        if self.converter.price == "survey":
            if self.cost.get(costing.ADC) is not None:
                raise ValueError(
                    "converter.price must be stated where cost.adc.convert has a value, not "
                    "survey; write 'adc.convert: null' or leave converter.price out"
                )
            if self.chip.node_nm is None:
                raise ValueError(
                    "converter.price can be survey where chip.node is known alone; add it"
                )
        if costing.JOULE in self.cost and self.array.drive_v is None:
            raise ValueError(
                "cost.crossbar.joule needs array.drive, the volts that the rows are driven "
                "with; add it, or leave the price of a read, cost.crossbar.read, alone"
            )
        return self

    @property
    def prices(self) -> Cost:
        """Picojoules by action at this design point; the YAML's are those at `priced_at`."""
        return costing.prices(super().prices, self.converter, self.priced_at, self._point())

    @property
    def area_mm2(self) -> float | None:
        """The chip's area; with components, in proportion to theirs at `priced_at`."""
        stated, parts, priced = self.chip.area_mm2, self.components, self.priced_at
        if stated is None or parts is None or priced is None:
            return stated
        own = self._components_mm2(parts, self._point())
        return stated * own / self._components_mm2(parts, self._published(priced))

    @property
    def rescaled(self) -> str:
        """What overrides of the spec do not change."""
        if self.priced_at is None:
            return super().rescaled
        return (
            "prices and area follow the arrays' sizes and numbers, dac.bits and the ADCs' bits "
            "and number from those that they were published for; nothing else that the chip's "
            "YAML states is rescaled by --set"
        )

    @property
    def conversion_s(self) -> float:
        """Seconds of one conversion of an ADC."""
        return costing.conversion_s(self.converter, self.adc.costed_bits, self.adc.rate_hz)

    def _components_mm2(self, parts: ComponentSection, point: costing.Point) -> float:
        unit = costing.unit_area_mm2(parts.unit_area_mm2, self.priced_at, point)
        tile = point.units_per_tile * unit + sum(parts.tile_area_mm2.values())
        return point.tiles * tile + parts.link_area_mm2

    def _point(self) -> costing.Point:
        return costing.Point(
            adc_bits=self.adc.costed_bits,
            dac_bits=self.dac.bits,
            rows=self.array.rows,
            cols=self.array.cols,
            arrays_per_unit=self.array.arrays_per_unit,
            units_per_tile=self.array.units_per_tile,
            tiles=self.array.tiles,
            adcs_per_array=self.adc.per_array,
            rate_hz=1 / self.conversion_s,
            node_nm=self.chip.node_nm,
            circuit=self.converter.circuit,
        )

    def _published(self, priced: costing.PricedSection) -> costing.Point:
        return costing.Point(
            **priced.model_dump(),
            rate_hz=1 / self.conversion_s,
            node_nm=self.chip.node_nm,
            circuit=self.converter.circuit,
        )

    def ideal(self) -> Self:
        """Exact cells, silent reads, no wires, no faults, ADCs that tell every sum apart.

        An ADC of fewer than `lossless_bits` bits is a non-ideality too, so it gets as many;
        one of more keeps its own.
        """
        device = self.device.model_copy(
            update={
                "model": EXACT.name,
                "read_noise_frac": 0.0,
                "spread_frac": 0.0,
                "time_s": None,
                "programming": None,
                "drift": None,
                "read": None,
                "iv": "linear",
            }
        )
        changes = {"wires": WiresSection(), "faults": FaultsSection(), "device": device}
        return self.model_copy(update={**changes, "adc": self._ideal_adc()})

    def _ideal_adc(self) -> AdcSection:
        if isinstance(self.adc, IdealAdcSection):
            return self.adc
        bits = max(self.adc.bits, lossless_bits(self, self.array.rows))
        given: dict[str, Any] = dict(self.adc)
        given |= {"bits": bits, "range": "full", "offset_steps": 0.0, "gain_frac": 0.0}
        given |= {"unit_frac": 0.0, "comparator_steps": 0.0}
        # not validated: a sum may have more bits than a converter can be asked for
        return IdealAdcSection.model_construct(None, **given, given_bits=self.adc.bits)

    @property
    def digits(self) -> int:
        """Reads that one input takes."""
        return ceil(INPUT_BITS / self.dac.bits)


def largest_sum(spec: AnalogSpec, rows: int) -> int:
    """The largest sum of a column over `rows` rows, in units."""
    cells = rows * spec.mapping.pairs
    return cells * spec.array.top_level * ((1 << spec.dac.bits) - 1)


def lossless_bits(spec: AnalogSpec, rows: int) -> int:
    """ADC bits that tell every sum of `rows` rows apart with a step of one unit.

    A sum is a whole number from 0 to R (2^cell - 1) (2^dac - 1), so the bits that are enough
    are ceil(log2(R (2^cell - 1) (2^dac - 1) + 1)): 9 for 128 rows of 2-bit cells, 1-bit DACs.
    With them, exact cells and silent reads, every code is the sum itself, and shift and add
    give the integer product. One bit less, and a column with all its cells at the top level
    and all its rows driven reads too low. Differences of pairs take a bit more, for the sign;
    of the N cells of n_pair each counts.
    """
    return largest_sum(spec, rows).bit_length() + (spec.adc.sign == "signed")
