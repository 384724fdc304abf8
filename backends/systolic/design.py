"""What of a design point the compiler's choices depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tetrapla.simulators.systolic.spec import SystolicSpec

WEIGHTS, OUTPUTS, INPUTS = "weight_stationary", "output_stationary", "input_stationary"


@dataclass(frozen=True)
class Machine:
    """The arrays and the memories around them.

    Attributes:
        rows, cols: of one array.
        units: how many arrays.
        dataflow: what stays in the PEs.
        formats: cycles per activation row, by number format.
        compressed: whether a tile may keep two of each four taps.
        weight_tiles: slots of the weight memory.
        accumulator_rows: each units x cols sums.
        byte_cycles: cycles that DRAM takes for a byte.
        latency_cycles: of DRAM.
        lanes: of the vector unit.
        buffer_bytes: of the unified buffer.
    """

    rows: int
    cols: int
    units: int
    dataflow: str
    formats: Mapping[str, int]
    compressed: bool
    weight_tiles: int
    accumulator_rows: int
    byte_cycles: float
    latency_cycles: float
    lanes: int
    buffer_bytes: int

    @staticmethod
    def of(spec: SystolicSpec) -> Machine:
        """That of a chip."""
        array, memories = spec.array, spec.memories
        return Machine(
            array.rows,
            array.cols,
            array.units,
            array.dataflow,
            dict(array.formats),
            array.sparsity == "2:4",
            memories.weight_tiles,
            memories.accumulator_rows,
            spec.clock_hz / spec.dram.bandwidth_bytes_per_s,
            spec.clock_hz * spec.dram.latency_s,
            spec.vector.lanes,
            memories.unified_buffer_bytes,
        )

    @property
    def most_rows(self) -> int:
        """Rows of one tile's sums: RQ reads some while MM writes as many others."""
        return max(1, self.accumulator_rows // 2)

    @property
    def leaving_cycles(self) -> int:
        """From the last row or tap that is fed to the sums in the accumulators."""
        if self.dataflow == OUTPUTS:
            return 2 * self.rows + self.cols - 1
        return self.rows + self.cols

    def fed_cycles(self, taps: int, rows: int, form: str, spread: bool) -> int:
        """How long one MM is fed, and its tile shifted in beside."""
        if self.dataflow == OUTPUTS:
            return self.formats[form] * taps
        share = rows if spread else -(-rows // self.units)
        return max(self.formats[form] * share, self.rows)
