"""What each instruction writes, of the memories that the Python machine and the RTL share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.known import Known
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.views import Place

Memory: TypeAlias = Literal["dram", "buffer", "accumulators"]


@dataclass(frozen=True)
class Written:
    """A part of a memory: bytes, or rows of the accumulators.

    Attributes:
        index: of the memory as one axis; positions ascend.
    """

    memory: Memory
    index: slice | Array

    @property
    def positions(self) -> Array:
        """Every byte or row."""
        index = self.index
        return np.arange(index.start, index.stop) if isinstance(index, slice) else index

    @property
    def bounds(self) -> tuple[int, int]:
        """The first, and the one behind the last."""
        if isinstance(self.index, slice):
            return self.index.start, self.index.stop
        return int(self.index[0]), int(self.index[-1]) + 1

    def meets(self, other: Written) -> bool:
        """Whether the two have something in common."""
        (first, end), (start, stop) = self.bounds, other.bounds
        if self.memory != other.memory or end <= start or stop <= first:
            return False
        if isinstance(self.index, slice) and isinstance(other.index, slice):
            return True
        return bool(np.isin(self.positions, other.positions).any())


def written(program: Program) -> Iterator[tuple[Written, ...]]:
    """For each instruction its writes, in order; none of one that writes other memories."""
    known = Known(program)
    for instruction in program.instructions:
        if instruction.op == "CFG":
            known.configure(instruction)
        elif instruction.op == "MM":
            known.multiply(instruction)
        yield tuple(_writes(program, known, instruction))


def _writes(program: Program, known: Known, i: Instruction) -> Iterator[Written]:
    match i.op:
        case "LDA":
            yield _rows("buffer", i["ub"], i["bytes"])
        case "ST":
            yield _rows("dram", i["dram"], i["bytes"])
        case "MM" if program.dataflow != "output_stationary" or i["drain"]:
            yield _rows("accumulators", i["acc"], i["len"])
        case "RQ":
            count, width = i["len"], i["cols"]
            if i["transposed"]:
                count, width = width, count
            stride = known.rows[i["table"]].stride
            yield _rows("buffer", i["ub"], width * known.result_bytes(i), count, stride)
        case "VE":
            a = known.descriptors[i["a"]]
            stride = a.out_stride or a.channels
            yield _rows("buffer", i["ub"], a.channels, i["len"], stride)
        case "GTH":
            gather = program.gathers[i["routine"]]
            yield _rows("buffer", gather.ub, gather.count * gather.row_bytes)
        case "VX":
            for place in program.routines[i["routine"]].results:
                yield Written("buffer", _bytes(place))
        case _:
            pass


def _rows(memory: Memory, first: int, width: int, count: int = 1, stride: int = 0) -> Written:
    """`count` stretches of `width`, `stride` from one to the next."""
    if count == 1 or stride == width:
        return Written(memory, slice(first, first + count * width))
    found = first + stride * np.arange(count)[:, None] + np.arange(width)
    return Written(memory, found.ravel())


def _bytes(place: Place) -> Array:
    size = DTYPES[place.dtype].itemsize
    elements = np.sort(place.positions(), axis=None)
    return (place.address + size * elements[:, None] + np.arange(size)).ravel()
