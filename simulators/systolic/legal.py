"""What a program may not do: reach outside a memory, or use what nothing has written.

The check is static: addresses, lengths and tables are known before anything runs. Whether the
waits cover every hazard is a matter of time, not of legality.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tetrapla.ir.errors import ModelError
from tetrapla.simulators.systolic.isa import DESCRIPTORS, REQUANTIZE_ROWS, Instruction
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.tables import (
    DESCRIPTOR_BYTES,
    HEADER,
    Descriptor,
    RequantizeRow,
)
from tetrapla.simulators.systolic.timing import RAW_BYTES
from tetrapla.simulators.systolic.vector import ADD


def check_legal(program: Program) -> None:
    """Refuse a program that the machine cannot run.

    Raises:
        ModelError: names the instruction, what is wrong with it, and the bound.
    """
    names = [instruction.op for instruction in program.instructions]
    if names[:1] != ["MARK"]:
        raise ModelError(f"program '{program.name}' must begin with MARK; compile it again")
    if names[-1] != "HALT" or names.count("HALT") > 1:
        raise ModelError(
            f"program '{program.name}' must have one HALT, at its end; compile it again"
        )
    walk = _Walk(program)
    for walk.number, instruction in enumerate(program.instructions):
        if instruction.op in _CHECKS:
            _CHECKS[instruction.op](walk, instruction)


@dataclass
class _Walk:
    """Where the check is, and what has been written so far."""

    program: Program
    number: int = 0
    slots: set[int] = field(default_factory=set)
    descriptors: dict[int, Descriptor] = field(default_factory=dict)
    rows: dict[int, RequantizeRow] = field(default_factory=dict)
    shadow: bool = False
    weights: bool = False

    def most(self, i: Instruction, thing: str, value: int, bound: int) -> None:
        """Hold `value` to at most `bound`."""
        if value > bound:
            self.refuse(i, f"{thing} must be at most {bound}, not {value}")

    def counted(self, i: Instruction, *names: str) -> None:
        """Hold operands to at least one."""
        for name in names:
            if i[name] < 1:
                self.refuse(i, f"{name} must be at least 1, not 0")

    def written(self, i: Instruction, thing: str, present: bool) -> None:
        """Hold that something was written before it is used."""
        if not present:
            self.refuse(i, f"reads {thing}, which no instruction before it writes")

    def refuse(self, i: Instruction, rule: str) -> None:
        """Raise."""
        raise ModelError(
            f"program '{self.program.name}' instruction {self.number}: {i.op} {rule}; "
            "compile it again"
        )

    def constant(self, i: Instruction, count: int) -> None:
        """Hold a DRAM read to the constants."""
        self.most(i, "dram end", i["dram"] + count, len(self.program.constants))

    def buffer(self, i: Instruction, count: int) -> None:
        """Hold the bytes at `ub` to the unified buffer."""
        self.most(i, "ub end", i["ub"] + count, self.program.unified_buffer_bytes)

    def window(self, i: Instruction, index: int, taps: int) -> Descriptor:
        """Hold what a descriptor reads to the unified buffer, and the taps to its window."""
        self.written(i, f"descriptor {index}", index in self.descriptors)
        d = self.descriptors[index]
        if min(d.channels, d.taps, d.out_h, d.out_w) < 1:
            self.refuse(i, f"descriptor {index} must have a window of at least one element")
        self.most(i, "last tap", taps, d.taps * d.channels)
        image = (i["row"] + i["len"] - 1) // (d.out_h * d.out_w)
        last = max(d.height - 1, 0) * d.row_stride + max(d.width - 1, 0) * d.pixel_stride
        end = d.base + image * d.image_stride + last + d.channels
        self.most(i, f"end of descriptor {index}", end, self.program.unified_buffer_bytes)
        return d


def _mark(walk: _Walk, i: Instruction) -> None:
    walk.most(i, "id", i["id"], len(walk.program.layers) - 1)


def _load_weights(walk: _Walk, i: Instruction) -> None:
    walk.counted(i, "rows", "cols")
    walk.most(i, "rows", i["rows"], walk.program.rows)
    walk.most(i, "cols", i["cols"], walk.program.cols)
    walk.most(i, "slot", i["slot"], walk.program.weight_slots - 1)
    walk.constant(i, i["rows"] * i["cols"])
    walk.slots.add(i["slot"])


def _move(walk: _Walk, i: Instruction) -> None:
    walk.counted(i, "bytes")
    walk.buffer(i, i["bytes"])
    start, constants = i["dram"], len(walk.program.constants)
    if i.op == "ST" and start < constants:
        walk.refuse(i, f"dram must be at least {constants}, after the constants, not {start}")
    own = start < constants
    walk.most(i, "dram end", start + i["bytes"], constants if own else walk.program.dram_bytes)


def _configure(walk: _Walk, i: Instruction) -> None:
    entries = REQUANTIZE_ROWS if i["kind"] else DESCRIPTORS
    walk.most(i, "index", i["index"], entries - 1)
    walk.constant(i, i["bytes"])
    least = HEADER.size if i["kind"] else DESCRIPTOR_BYTES
    if i["bytes"] < least:
        walk.refuse(i, f"bytes must be at least {least}, not {i['bytes']}")
    data = walk.program.constants[i["dram"] : i["dram"] + i["bytes"]]
    if i["kind"]:
        walk.rows[i["index"]] = RequantizeRow.unpack(data)
    else:
        walk.descriptors[i["index"]] = Descriptor.unpack(data)


def _shift(walk: _Walk, i: Instruction) -> None:
    walk.written(i, f"slot {i['slot']}", i["slot"] in walk.slots)
    walk.shadow = True


def _multiply(walk: _Walk, i: Instruction) -> None:
    walk.counted(i, "len", "lanes")
    if i["swap"]:
        walk.written(i, "shadow weights", walk.shadow)
        walk.weights = True
    walk.written(i, "weights", walk.weights)
    walk.most(i, "lanes", i["lanes"], walk.program.rows)
    walk.most(i, "acc end", i["acc"] + i["len"], walk.program.accumulator_rows)
    walk.window(i, i["desc"], i["k"] + i["lanes"])


def _requantize(walk: _Walk, i: Instruction) -> None:
    walk.counted(i, "len", "cols")
    walk.written(i, f"requantise row {i['table']}", i["table"] in walk.rows)
    row = walk.rows[i["table"]]
    walk.most(i, "cols", i["cols"], min(walk.program.cols, len(row.bias)))
    walk.most(i, "acc end", i["acc"] + i["len"], walk.program.accumulator_rows)
    width = RAW_BYTES if i["raw"] else 1
    walk.buffer(i, (i["len"] - 1) * row.stride + i["cols"] * width)


def _vector(walk: _Walk, i: Instruction) -> None:
    walk.counted(i, "len")
    a = walk.window(i, i["a"], 0)
    if i["func"] == ADD:
        b = walk.window(i, i["b"], 0)
        if (b.channels, b.taps, a.taps) != (a.channels, 1, 1):
            walk.refuse(i, "operands must be of one pixel and equal channels")
    walk.buffer(i, i["len"] * a.channels)


_CHECKS: dict[str, Callable[[_Walk, Instruction], None]] = {
    "MARK": _mark,
    "LDW": _load_weights,
    "LDA": _move,
    "LW": _shift,
    "MM": _multiply,
    "RQ": _requantize,
    "VE": _vector,
    "ST": _move,
    "CFG": _configure,
}
