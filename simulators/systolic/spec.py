"""One design point of the systolic family: a weight-stationary array and its memories."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tetrapla.ir.errors import SpecError
from tetrapla.simulators.spec_ import (
    Bytes,
    BytesPerSecond,
    Count,
    Hertz,
    Seconds,
    Section,
    Spec,
)
from tetrapla.simulators.systolic.isa import most

# what the fields of the instructions hold
_MOST_ROWS = min(most("LDW", "rows"), most("MM", "lanes"))
_MOST_COLS = min(most("LDW", "cols"), most("RQ", "cols"))


class ArraySection(Section):
    """The PEs: `rows` is the reduction, `cols` the outputs."""

    rows: Count = Field(ge=1, le=_MOST_ROWS)
    cols: Count = Field(ge=1, le=_MOST_COLS)
    dataflow: Literal["weight_stationary"] = "weight_stationary"


class MemoriesSection(Section):
    """On-chip memories.

    Attributes:
        unified_buffer_bytes: activations, int8.
        weight_tiles: slots of the weight memory, each rows x cols int8.
        accumulator_rows: each `cols` int32; used as two halves.
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

    array: ArraySection
    clock_hz: Hertz = Field(alias="clock", gt=0)
    memories: MemoriesSection
    vector: VectorSection
    dram: DramSection
    host: HostSection

    @model_validator(mode="after")
    def _holds_one_tile(self) -> SystolicSpec:
        """The smallest program needs one row of activations in and one out."""
        need, there = self.array.rows + self.array.cols, self.memories.unified_buffer_bytes
        if there < need:
            raise SpecError(
                "memories.unified_buffer must hold one row in and one row out, "
                f"{need} bytes, not {there}; enlarge it or shrink the array"
            )
        return self
