"""RQ and VE for several cycles at once, where nothing that happens in them depends on another.

What `vector` does element by element in scalar arithmetic, over whole rows; only of the kinds
that networks consist of. The others, and stretches in which one engine reads what another
writes, are left to `vector`.
"""

from __future__ import annotations

from itertools import product as pairs
from typing import Protocol

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.every_cycle.memory import Memory
from tetrapla.simulators.systolic.every_cycle.product import Product
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.tables import Descriptor

Range = tuple[int, int]

_LATENCY = 2
_MAXIMUM, _ADD = 0, 3


class Machine(Protocol):
    """What the stretches see of the machine."""

    spec: SystolicSpec
    memory: Memory
    product: Product
    taken: list[tuple[Array, Array]]

    def put(self, at: int, data: Array, due: int, now: int) -> None:
        """Write at the end of cycle `due`; every cycle before `now` is over."""
        ...


def whole_rows(machine: Machine, i: Instruction) -> bool:
    """Whether this file can do it: int8 from int32 sums; maxima, and sums of two."""
    if i.op == "VE":
        d = machine.memory.descriptors[i["a"]]
        return i["func"] == _MAXIMUM or (i["func"] == _ADD and d.taps == 1)
    kinds = machine.product.kinds[i["acc"] : i["acc"] + i["len"]]
    special = i["raw"] or i["transposed"] or i["fmt"]
    return i.op == "RQ" and not special and set(kinds) == {"i32"}


def row_cycles(machine: Machine, i: Instruction) -> int:
    """Cycles of one row of results."""
    if i.op == "RQ":
        return 1
    d = machine.memory.descriptors[i["a"]]
    return d.taps * -(-d.channels // machine.spec.vector.lanes)


def cycles(machine: Machine, i: Instruction) -> int:
    """How long an instruction issues that `whole_rows` is true of."""
    units = machine.spec.array.units
    split = i.op == "RQ" and not i["spread"]
    rows = -(-i["len"] // units) if split else i["len"]
    return rows * row_cycles(machine, i)


def independent(machine: Machine, active: list[Instruction], written: list[Range]) -> bool:
    """Whether none of these reads what another one writes, or what is still to be written."""
    memory = machine.memory
    reads = [one for i in active for one in _reads(memory, i)]
    writes = [_writes(memory, i) for i in active if i.op in ("RQ", "VE")]
    meeting = any(_meet(*pair) for pair in pairs(reads, writes + written))
    return not meeting and not (len(writes) == 2 and _meet(*writes))


def requantize(machine: Machine, i: Instruction, p: int, t: int, count: int) -> None:
    """Rows of sums from cycle t on, one a cycle from each unit."""
    share, cols = cycles(machine, i), i["cols"]
    row = machine.memory.rows[i["table"]]
    sums = machine.product.accumulators["i32"]
    low, high = (np.float32(bound - row.zero_point) for bound in (row.low, row.high))
    for first in range(p, i["len"], share):
        end = min(first + count, i["len"])
        # int32 wraps around
        total = sums[i["acc"] + first : i["acc"] + end, :cols] + row.bias[:cols]
        value = np.float32(total) * row.scale[:cols]
        near = np.rint(np.minimum(np.maximum(value, low), high))
        data = (near.astype(np.int64) + row.zero_point).astype(np.int8)
        for n in range(end - first):
            at = i["ub"] + (first + n) * row.stride
            machine.put(at, data[n], t + n + _LATENCY, t + count)


def vector(machine: Machine, i: Instruction, p: int, t: int, count: int) -> None:
    """Whole rows of VE from cycle t on."""
    memory, pace = machine.memory, row_cycles(machine, i)
    a = memory.descriptors[i["a"]]
    first, rows = p // pace, count // pace
    m = i["row"] + first + np.arange(rows)[:, None]
    data = _results(i, memory, _operands(i, memory, m, np.arange(a.taps * a.channels)))
    for n in range(rows):
        at = i["ub"] + (first + n) * (a.out_stride or a.channels)
        machine.put(at, data[n], t + (n + 1) * pace - 1 + _LATENCY, t + count)


def vector_cycle(machine: Machine, i: Instruction, p: int, t: int) -> bool:
    """One cycle of VE, of a row or the whole of it; and whether it is the last."""
    memory, lanes = machine.memory, machine.spec.vector.lanes
    a = memory.descriptors[i["a"]]
    pixel, group = divmod(p % row_cycles(machine, i), -(-a.channels // lanes))
    channels = np.arange(group * lanes, min(a.channels, group * lanes + lanes))
    m = i["row"] + p // row_cycles(machine, i) + np.zeros((1, 1), np.int64)
    machine.taken.append(_operands(i, memory, m, pixel * a.channels + channels))
    if len(machine.taken) == row_cycles(machine, i):
        left, right = (
            np.concatenate(some, axis=1) for some in zip(*machine.taken, strict=True)
        )
        machine.taken.clear()
        (data,) = _results(i, memory, (left, right))
        at = i["ub"] + p // row_cycles(machine, i) * (a.out_stride or a.channels)
        machine.put(at, data, t + _LATENCY, t)
    return p + 1 == cycles(machine, i)


def _operands(i: Instruction, memory: Memory, m: Array, taps: Array) -> tuple[Array, Array]:
    """(rows, taps) of each operand."""
    a = memory.descriptors[i["a"]]
    values, padded = memory.read(a, m, taps)
    if i["func"] == _MAXIMUM:
        left = np.where(padded, 0 if a.unsigned else -128, values)
        return left, left
    b = memory.descriptors[i["b"]]
    others, beyond = memory.read(b, m, taps)
    left, right = np.where(padded, a.pad_value, values), np.where(beyond, b.pad_value, others)
    return left, right


def _results(i: Instruction, memory: Memory, operands: tuple[Array, Array]) -> Array:
    """(rows, channels) int8 of all taps of each operand."""
    a, (left, right) = memory.descriptors[i["a"]], operands
    if i["func"] == _MAXIMUM:
        results = left.reshape(-1, a.taps, a.channels).max(axis=1)
    else:
        steps = _fused(left, a.p0, _fused(right, a.p1, np.float64(a.p2)))
        low, high = (0, 255) if a.unsigned else (-128, 127)
        results = np.clip(np.rint(steps), low, high)
    return np.asarray(results, np.int64).astype(np.int8)


def _fused(x: Array, ratio: float, addend: Array | np.float64) -> Array:
    """float32(x ratio + addend), rounded once.

    The product is exact in float64. The sum is rounded to odd there, which keeps what decides
    the second rounding (Boldo and Melquiond, IEEE Transactions on Computers 57(4), 2008).
    """
    product, other = x * np.float64(ratio), np.asarray(addend, np.float64)
    total = product + other
    back = total - product
    lost = (product - (total - back)) + (other - back)
    even = (total.view(np.int64) & 1) == 0
    toward = np.where(lost > 0, np.inf, -np.inf)
    odd = np.where((lost != 0) & even, np.nextafter(total, toward), total)
    return odd.astype(np.float32)


def _reads(memory: Memory, i: Instruction) -> list[Range]:
    """Bytes of the unified buffer that an instruction reads, and what lies between them."""
    match i.op:
        case "MM":
            return [_window(memory.descriptors[i["desc"]], i, 2 if i["fmt"] else 1)]
        case "VE":
            used = [i["a"], i["b"]] if i["func"] == _ADD else [i["a"]]
            return [_window(memory.descriptors[n], i, 1) for n in used]
        case _:
            return []


def _window(d: Descriptor, i: Instruction, width: int) -> Range:
    pixels = d.out_w * d.out_h
    first, last = i["row"] // pixels, (i["row"] + i["len"] - 1) // pixels
    image = (d.height - 1) * d.row_stride + (d.width - 1) * d.pixel_stride
    start = d.base + first * d.image_stride
    return start, d.base + last * d.image_stride + image + d.channels * width


def _writes(memory: Memory, i: Instruction) -> Range:
    if i.op == "RQ":
        stride, size = memory.rows[i["table"]].stride, i["cols"]
    else:
        d = memory.descriptors[i["a"]]
        stride, size = d.out_stride or d.channels, d.channels
    return i["ub"], i["ub"] + (i["len"] - 1) * stride + size


def _meet(one: Range, other: Range) -> bool:
    return one[0] < other[1] and other[0] < one[1]
