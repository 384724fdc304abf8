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
        )

    @property
    def halves(self) -> int:
        """Parts of the accumulators: RQ reads one while MM writes the other."""
        return 2 if self.accumulator_rows > 1 else 1

    @property
    def most_rows(self) -> int:
        """Rows of one part."""
        return self.accumulator_rows // self.halves
