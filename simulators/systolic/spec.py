"""One design point of the systolic family: arrays of PEs and their memories."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from tetrapla.ir.errors import SpecError, nearest
from tetrapla.simulators.roof_ import Roof
from tetrapla.simulators.spec_ import (
    Bytes,
    BytesPerSecond,
    Count,
    Hertz,
    Seconds,
    Section,
    Spec,
)
from tetrapla.simulators.systolic.formats import ELEMENT_BYTES, FORMATS, PRODUCTS
from tetrapla.simulators.systolic.isa import most

# what the fields of the instructions hold
_MOST_ROWS = min(most("LDW", "rows"), most("MM", "lanes"))
_MOST_COLS = min(most("LDW", "cols"), most("RQ", "cols"))


Dataflow = Literal["weight_stationary", "output_stationary", "input_stationary"]


class ArraySection(Section):
    """The PEs.

    Attributes:
        rows: the reduction of a weight-stationary array; activation rows where the outputs
            stay in place.
        cols: the outputs.
        dataflow: what stays in the PEs; input_stationary is the weight-stationary machine with
            its operands' roles exchanged.
        units: equal arrays in lock step on the same memories.
        formats: cycles per row of activations (per tap where outputs are stationary), by
            number format; one that is absent is not supported.
        sparsity: "2:4": a tile may keep two of each four taps.
        gate_zeros: a MAC whose weight is zero is counted apart; it takes its cycle all the
            same.
    """

    rows: Count = Field(ge=1, le=_MOST_ROWS)
    cols: Count = Field(ge=1, le=_MOST_COLS)
    dataflow: Dataflow = "weight_stationary"
    units: Count = Field(default=1, ge=1)
    formats: dict[str, Count] = Field(default={"int8": 1})
    sparsity: Literal["none", "2:4"] = "none"
    gate_zeros: bool = False

    @property
    def element_bytes(self) -> int:
        """Of the widest operand."""
        return max(ELEMENT_BYTES[name] for name in self.formats)

    @model_validator(mode="after")
    def _knows_its_formats(self) -> ArraySection:
        for name, cycles in self.formats.items():
            if name not in FORMATS:
                known = ", ".join(FORMATS)
                raise ValueError(
                    f"array.formats.{name} must be one of {known}, not {name}"
                    f"{nearest(name, FORMATS) or '; take one of them'}"
                )
            if cycles < 1:
                raise ValueError(
                    f"array.formats.{name} must be at least 1 cycle a row, not {cycles}; "
                    "leave a format out that the array lacks"
                )
        if not set(self.formats) - {"int4"}:
            raise ValueError(
                "array.formats must have a format that is multiplied, not "
                f"{', '.join(self.formats) or 'none'}; add int8: 1"
            )
        if "int4" in self.formats and self.formats["int4"] != self.formats.get("int8"):
            raise ValueError(
                "array.formats.int4 must be as int8, of which it is a form of storage, not "
                f"{self.formats['int4']}; set both to the same cycles"
            )
        return self

    @model_validator(mode="after")
    def _fits_the_words(self) -> ArraySection:
        if self.units * self.cols > _MOST_COLS:
            raise ValueError(
                f"array.units x array.cols must be at most {_MOST_COLS}, not "
                f"{self.units * self.cols}; take fewer or narrower units"
            )
        if self.sparsity == "2:4" and 2 * self.rows > most("MM", "lanes"):
            raise ValueError(
                f"array.rows must be at most {most('MM', 'lanes') // 2} with 2:4 sparsity, not "
                f"{self.rows}; take fewer rows"
            )
        if self.sparsity == "2:4" and self.dataflow != "weight_stationary":
            raise ValueError(
                f"array.sparsity must be none with dataflow {self.dataflow}, not 2:4; "
                "only weights that stay in place can be compressed"
            )
        return self


class MemoriesSection(Section):
    """On-chip memories.

    Attributes:
        unified_buffer_bytes: activations.
        weight_tiles: slots of the weight memory, each rows x cols of the widest format.
        accumulator_rows: each units x cols sums; used as two halves.
    """

    unified_buffer_bytes: Bytes = Field(alias="unified_buffer", le=most("LDA", "ub") + 1)
    weight_tiles: Count = Field(ge=1, le=most("LDW", "slot") + 1)
    accumulator_rows: Count = Field(ge=1, le=most("MM", "len"))


class VectorSection(Section):
    """The vector unit: operand elements per cycle, of one pixel's channels."""

    lanes: Count = Field(ge=1)


class DramSection(Section):
    """The accelerator's own memory."""

    capacity_bytes: Bytes = Field(alias="capacity", le=most("LDA", "dram") + 1)
    bandwidth_bytes_per_s: BytesPerSecond = Field(alias="bandwidth", gt=0)
    latency_s: Seconds = Field(alias="latency")


class HostSection(Section):
    """The link to the host."""

    bandwidth_bytes_per_s: BytesPerSecond = Field(alias="bandwidth", gt=0)
    latency_s: Seconds = Field(alias="latency")


class SystolicSpec(Spec):
    """A systolic chip."""

    optional_actions: ClassVar[tuple[str, ...]] = tuple(f"mac.{name}" for name in PRODUCTS)

    array: ArraySection
    clock_hz: Hertz = Field(alias="clock", gt=0)
    memories: MemoriesSection
    vector: VectorSection
    dram: DramSection
    host: HostSection

    @property
    def on_chip_bytes(self) -> int:
        """Activations, tiles of weights, and 32-bit sums."""
        array, held = self.array, self.memories
        tile = array.rows * array.cols * array.element_bytes
        sums = held.accumulator_rows * array.units * array.cols * 4
        return held.unified_buffer_bytes + held.weight_tiles * tile + sums

    @property
    def off_chip_bytes(self) -> int:
        """The accelerator's own memory."""
        return self.dram.capacity_bytes

    def roof(self, number_format: str | None = None) -> Roof:
        """All PEs at a format's pace, by default the fastest, and the accelerator's DRAM."""
        array = self.array
        fastest = min(array.formats, key=lambda each: array.formats[each])
        name = number_format if number_format in array.formats else fastest
        return Roof(
            array.rows * array.cols * array.units * self.clock_hz / array.formats[name],
            self.dram.bandwidth_bytes_per_s,
            f"array.rows x array.cols x array.units x clock / array.formats.{name}",
            "dram.bandwidth",
        )

    @model_validator(mode="after")
    def _holds_one_tile(self) -> SystolicSpec:
        """The smallest program: a row of activations in, a tile for each unit, a row out."""
        array, memories = self.array, self.memories
        row_in, row_out = array.rows * array.element_bytes, array.cols * array.units
        there = memories.unified_buffer_bytes
        if there < row_in + row_out:
            raise SpecError(
                "memories.unified_buffer must hold one row in and one row out, "
                f"{row_in + row_out} bytes, not {there} bytes; enlarge it or shrink the array"
            )
        if memories.weight_tiles < array.units:
            raise SpecError(
                f"memories.weight_tiles must hold a tile for each of {array.units} units, "
                f"not {memories.weight_tiles}; enlarge it or take fewer units"
            )
        tile = array.rows * array.cols * array.element_bytes
        if self.dram.capacity_bytes < tile:
            raise SpecError(
                f"dram.capacity must hold one tile of weights, {tile} bytes, not "
                f"{self.dram.capacity_bytes} bytes; enlarge it or shrink the array"
            )
        return self
