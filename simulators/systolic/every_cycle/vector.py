"""The judge's engines RQ and VE: one row of results at a time, in scalar arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.systolic import routines
from tetrapla.simulators.systolic.every_cycle.memory import Memory
from tetrapla.simulators.systolic.every_cycle.product import Product
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.tables import COUNT_PAD, Descriptor, RequantizeRow

_RESULTS = {0: "i8", 1: "i16", 3: "bf16", 4: "f16", 5: "f32"}
_LATENCY = 2


class Machine(Protocol):
    """What the engines see of the machine."""

    program: Program
    spec: SystolicSpec
    memory: Memory
    product: Product
    window: dict[tuple[int, int], Any]

    def put(self, at: int, data: Array, due: int, now: int) -> None:
        """Write at the end of cycle `due`; every cycle before `now` is over."""
        ...


def requantize(machine: Machine, i: Instruction, p: int, t: int) -> bool:
    """A cycle of RQ: a byte of each column; a row is read with its last byte."""
    kinds, units = machine.product.kinds, machine.spec.array.units
    kind = kinds[i["acc"]]
    held = kind if i["raw"] else _RESULTS[i["fmt"]]
    width = DTYPES[held].itemsize
    share = i["len"] if i["spread"] else -(-i["len"] // units)
    n, part = divmod(p, width)
    if part == width - 1:
        for m in range(n, i["len"], share):
            _requantize_row(machine, i, m, kinds[i["acc"] + m], held, t)
    return p + 1 == share * width


def _requantize_row(
    machine: Machine, i: Instruction, m: int, kind: str, held: str, t: int
) -> None:
    row, width = machine.memory.rows[i["table"]], DTYPES[held].itemsize
    sums = machine.product.accumulators[kind][i["acc"] + m]
    for c in range(i["cols"]):
        entry = m if i["transposed"] else c
        value = _result(sums[c], row, entry, kind, i)
        with np.errstate(over="ignore"):  # to the format's infinity
            data = np.array([value]).astype(DTYPES[held]).view(np.int8)
        across, along = (m, c) if i["transposed"] else (c, m)
        _put(machine, i["ub"] + along * row.stride + across * width, data, t)


def _result(sum_: Any, row: RequantizeRow, entry: int, kind: str, i: Instruction) -> Any:
    total: Any
    with np.errstate(all="ignore"):
        if kind == "f32":
            total = np.float32(sum_ + row.bias[entry : entry + 1].view(np.float32)[0])
        else:
            total = wrapped(int(sum_) + int(row.bias[entry]), 32 if kind == "i32" else 64)
        if i["raw"]:
            return total
        return scaled(total, row, entry, i["fmt"])


def scaled(total: Any, row: RequantizeRow, entry: int, fmt: int) -> Any:
    """A sum plus bias as a result of RQ."""
    value = np.float32(total) * np.float32(row.scale[entry])
    if fmt > 1:
        if row.clamped:
            value = min(max(value, np.float32(row.low)), np.float32(row.high))
        return value
    low, high = row.low - row.zero_point, row.high - row.zero_point
    near: int = round(float(min(max(value, np.float32(low)), np.float32(high))))
    return wrapped(near + row.zero_point, 16 if fmt else 8)


def wrapped(value: int, bits: int) -> int:
    """The two's complement number of so many bits."""
    half = 1 << bits - 1
    return int(value + half) % (2 * half) - half


def vector(machine: Machine, i: Instruction, p: int, t: int) -> bool:
    """A cycle of VE: `lanes` channels of one pixel; a row is computed with its last ones."""
    memory, lanes = machine.memory, machine.spec.vector.lanes
    a = memory.descriptors[i["a"]]
    groups = -(-a.channels // lanes)
    m, part = divmod(p, a.taps * groups)
    pixel, group = divmod(part, groups)
    channels = np.arange(group * lanes, min(a.channels, group * lanes + lanes))
    values, padded = memory.read(a, i["row"] + m, pixel * a.channels + channels)
    window = machine.window
    for n, c in enumerate(channels.tolist()):
        window[pixel, c] = _operand(memory, i, a, (m, pixel, c), values[n], padded[n])
    if part + 1 == a.taps * groups:
        row = [_function(memory, i, a, window, c) for c in range(a.channels)]
        data = np.array([wrapped(value, 8) for value in row], np.int8)
        _put(machine, i["ub"] + m * (a.out_stride or a.channels), data, t)
        window.clear()
    return p + 1 == i["len"] * a.taps * groups


def _operand(
    memory: Memory, i: Instruction, a: Descriptor, at: Any, value: int, padded: bool
) -> Any:
    """What is kept of one element: None in the padding, or with what it meets."""
    m, pixel, c = at
    match i["func"]:
        case 0 | 1 | 2:
            return None if padded else int(value)
        case 3:
            b = memory.descriptors[i["b"]]
            other, beyond = memory.read(b, i["row"] + m, np.array([c]))
            right = b.pad_value if beyond[0] else int(other[0])
            return a.pad_value if padded else int(value), right
        case 5:
            weight = int(memory.buffer[a.weights + pixel * a.channels + c])
            return (a.pad_value if padded else int(value)) * weight
        case 6:
            index = (a.pad_value if padded else int(value)) % 256
            return int(memory.buffer[a.weights + index])
        case _:
            return a.pad_value if padded else int(value)


def _function(memory: Memory, i: Instruction, a: Descriptor, window: Any, c: int) -> int:
    """One element of the result."""
    found = [window[pixel, c] for pixel in range(a.taps)]
    inside = [value for value in found if value is not None]
    low, high = (0, 255) if a.unsigned else (-128, 127)
    steps: Any
    with np.errstate(all="ignore"):
        match i["func"]:
            case 0:
                return int(max(inside, default=low))
            case 1:
                mean: Any = np.float32(0)
                for value in inside:
                    mean += np.float32(value - a.zero_x) * np.float32(a.p0)
                count = a.taps if a.flags & COUNT_PAD else len(inside)
                steps = mean / np.float32(count) / np.float32(a.p1) + np.float32(a.zero_y)
            case 2:
                whole = np.float32(sum(value - a.zero_x for value in inside))
                steps = np.rint(whole * np.float32(a.p0)) + np.float32(a.zero_y)
            case 3:
                ((left, right),) = found
                inner = fused(right, a.p1, a.p2)
                steps = fused(left, a.p0, float(inner))
            case 4:
                return int(min(max(found[0], a.low), a.high))
            case 5:
                row = memory.rows[i["b"]]
                total = wrapped(wrapped(sum(found), 32) + int(row.bias[c]), 32)
                return int(scaled(total, row, c, 0))
            case _:
                return int(found[0])
    return int(min(max(round(float(steps)), low), high))


def fused(x: int, ratio: float, addend: float) -> np.float32:
    """float32(x ratio + addend), rounded once."""
    exact = Fraction(x) * Fraction(ratio) + Fraction(addend)
    near = np.float32(float(exact))
    around = [
        np.nextafter(near, np.float32(-np.inf)),
        near,
        np.nextafter(near, np.float32(np.inf)),
    ]

    def miss(value: np.float32) -> tuple[Fraction, int]:
        # a tie goes to the even significand
        return abs(Fraction(float(value)) - exact), int(value.view(np.int32)) & 1

    return min(around, key=miss)


def routine(machine: Machine, i: Instruction, p: int, t: int) -> bool:
    """A cycle of VX: all of it happens in its last one, but for the write."""
    one = machine.program.routines[i["routine"]]
    if p + 1 < routines.issue_cycles(one, machine.spec.vector.lanes):
        return False
    after = machine.memory.buffer[None].copy()
    routines.execute(after, one)
    for place in one.results:
        size = DTYPES[place.dtype].itemsize
        for position in place.positions().reshape(-1):
            at = place.address + int(position) * size
            _put(machine, at, after[0, at : at + size], t)
    return True


def _put(machine: Machine, at: int, data: Array, t: int) -> None:
    machine.put(at, data, t + _LATENCY, t)
