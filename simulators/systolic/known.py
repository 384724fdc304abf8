"""What is known of the machine's tables and accumulators before a program runs."""

from __future__ import annotations

from tetrapla.ir.graph import DTYPES
from tetrapla.simulators.systolic.formats import RESULT_BYTES, SUMS
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow

_KINDS = ("i32", "i64", "f32")


class Known:
    """Follows the instructions of a program in order; the tables are constants.

    Attributes:
        descriptors, rows: the entries that CFG has filled.
    """

    def __init__(self, program: Program) -> None:
        self.descriptors: dict[int, Descriptor] = {}
        self.rows: dict[int, RequantizeRow] = {}
        self._program = program
        self._kinds = bytearray(program.accumulator_rows)

    def configure(self, i: Instruction) -> None:
        """Take what CFG loads."""
        data = self._program.constants[i["dram"] : i["dram"] + i["bytes"]]
        if i["kind"]:
            self.rows[i["index"]] = RequantizeRow.unpack(data)
        else:
            self.descriptors[i["index"]] = Descriptor.unpack(data)

    def multiply(self, i: Instruction) -> None:
        """Take which type of sums an MM leaves in the accumulators."""
        if self._program.dataflow != "output_stationary" or i["drain"]:
            count = i["len"]
            kind = _KINDS.index(SUMS[i["fmt"]])
            self._kinds[i["acc"] : i["acc"] + count] = bytes([kind]) * count

    def kinds(self, i: Instruction) -> tuple[str, ...]:
        """The types of the accumulator rows that an instruction names."""
        held = set(self._kinds[i["acc"] : i["acc"] + i["len"]])
        return tuple(_KINDS[kind] for kind in sorted(held))

    def sum_bytes(self, i: Instruction) -> int:
        """Of an accumulator that RQ reads."""
        return DTYPES[_KINDS[self._kinds[i["acc"]]]].itemsize

    def result_bytes(self, i: Instruction) -> int:
        """Of an element that RQ writes."""
        return self.sum_bytes(i) if i["raw"] else RESULT_BYTES[i["fmt"]]
