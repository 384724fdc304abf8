"""The judge: every PE, every register, every cycle, in plain loops.

It shares with the machine only the decoding of words and tables. Instructions take effect when
the hardware would do them: a row of MM leaves the unified buffer one cycle after the one before
and crosses the array PE by PE; a transfer spoils its destination at once and fills it at its
end. So values are right only where the waits are, and cycles only where the recurrence is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.backends.systolic.conftest import chip
from tetrapla.simulators.systolic.isa import ENGINES, Instruction, decode
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow

SPOILT = 0x5A


def wrapped(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


class Grid:
    """R x C PEs: activation, swap and shift bits move right, sums and weights down."""

    def __init__(self, rows: int, cols: int) -> None:
        self.rows, self.cols = rows, cols
        self.fed: dict[int, tuple[list[int], bool]] = {}  # by cycle at the edge: row of a, swap
        self.shifted: dict[int, list[int]] = {}  # by cycle at the edge: row of weights
        self.bottom: dict[tuple[int, int], int] = {}  # by column and cycle: sums
        self.left = [[(0, False, False)] * cols for _ in range(rows)]
        self.weight, self.shadow, self.passed, self.sums = (
            [[0] * cols for _ in range(rows)] for _ in range(4)
        )

    def step(self, t: int) -> None:
        """One cycle: every register from the registers of the cycle before."""
        left, passed = [row[:] for row in self.left], [row[:] for row in self.passed]
        sums = [row[:] for row in self.sums]
        for r in range(self.rows):
            for c in range(self.cols):
                value, swap, shift = left[r][c - 1] if c else self._edge(t - r, r)
                self.left[r][c] = (value, swap, shift)
                if swap:
                    self.weight[r][c] = self.shadow[r][c]
                above = sums[r - 1][c] if r else 0
                self.sums[r][c] = wrapped(above + value * self.weight[r][c])
                if shift:
                    self.passed[r][c] = self.shadow[r][c]
                    self.shadow[r][c] = passed[r - 1][c] if r else self.shifted[t - c][c]
        for c in range(self.cols):
            self.bottom[c, t] = self.sums[-1][c]

    def _edge(self, t: int, r: int) -> tuple[int, bool, bool]:
        values, swap = self.fed.get(t, ([0] * self.rows, False))
        return values[r], swap, t in self.shifted


@dataclass
class Engine:
    """In order: `active` issues, `flying` has issued and not retired (cycles to go)."""

    active: Instruction | None = None
    progress: int = 0
    credit: Fraction = Fraction(0)
    flying: deque[list[Any]] = field(default_factory=deque)
    sent: int = 0
    retired: int = 0


class Judge:
    """One invocation of a program on a chip."""

    def __init__(self, program: Program, spec: SystolicSpec, region: bytes) -> None:
        self.program, self.spec = program, spec
        self.dram = bytearray(program.constants) + bytearray(region)
        self.buffer = bytearray([SPOILT]) * program.unified_buffer_bytes
        rows, cols = spec.array.rows, spec.array.cols
        self.grid = Grid(rows, cols)
        self.slots = [[[0] * cols for _ in range(rows)] for _ in range(program.weight_slots)]
        self.acc = [[SPOILT] * cols for _ in range(program.accumulator_rows)]
        self.descriptors: dict[int, Descriptor] = {}
        self.rows: dict[int, RequantizeRow] = {}
        self.engines = {name: Engine() for name in ENGINES}
        self.dispatched: list[int] = []
        self.later: dict[int, list[Any]] = {}  # by cycle: writes at its end

    def run(self) -> int:
        """Cycles; `dispatched` has each instruction's cycle, the memories their values."""
        words = self.program.binary()
        t = at = 0
        while True:
            assert t < 200_000, "the program hangs"
            for name, engine in self.engines.items():
                if engine.active is not None:
                    self._issue(name, engine, engine.active, t)
            instruction = decode(words[16 * at : 16 * at + 16])
            if self._ready(instruction):
                self.dispatched.append(t)
                at += 1
                if instruction.op == "HALT":
                    return t + 1
                if instruction.engine is not None:
                    engine = self.engines[instruction.engine]
                    engine.active, engine.progress = instruction, 0
                    engine.sent += 1
            self.grid.step(t)
            for write in self.later.pop(t, []):
                write()
            for engine in self.engines.values():
                self._retire(engine)
            t += 1

    def _ready(self, i: Instruction) -> bool:
        if i.engine is not None and self.engines[i.engine].active is not None:
            return False
        waits = dict.fromkeys(ENGINES, 0) if i.op == "HALT" else i.waits
        return all(
            self.engines[name].sent - self.engines[name].retired <= allowed
            for name, allowed in waits.items()
        )

    def _retire(self, engine: Engine) -> None:
        for entry in engine.flying:
            entry[0] -= 1
        while engine.flying and engine.flying[0][0] < 0:
            for write in engine.flying.popleft()[1]:
                write()
            engine.retired += 1

    def _issue(self, name: str, engine: Engine, i: Instruction, t: int) -> None:
        """One cycle of an engine; after its last, the engine is free."""
        latency, writes = 0, []
        match name:
            case "LW":
                row = self.spec.array.rows - 1 - engine.progress
                self.grid.shifted[t + 1] = self.slots[i["slot"]][row][:]
                done = row == 0
            case "MM":
                self._feed(i, engine.progress, t)
                done = engine.progress + 1 == i["len"]
                latency = self.spec.array.rows + self.spec.array.cols
            case "RQ":
                row, part = divmod(engine.progress, 4 if i["raw"] else 1)
                if part == (3 if i["raw"] else 0):
                    self._requantize(i, row, t)
                done = engine.progress + 1 == i["len"] * (4 if i["raw"] else 1)
                latency = 2
            case "VE":
                done, latency = self._vector(i, engine.progress, t), 2
            case _:
                if engine.progress == 0:
                    engine.credit = Fraction(0)
                    self._spoil(i)
                link = self.spec.host if i["host"] else self.spec.dram
                clock = Fraction(self.spec.clock_hz)
                engine.credit += Fraction(link.bandwidth_bytes_per_s) / clock
                count = i["rows"] * i["cols"] if i.op == "LDW" else i["bytes"]
                done = engine.credit >= count
                latency = round(link.latency_s * self.spec.clock_hz)
                writes = [lambda: self._transfer(i)]
        engine.progress += 1
        if done:
            engine.active = None
            engine.flying.append([latency, writes])

    def _at_end_of(self, t: int, write: Any) -> None:
        self.later.setdefault(t, []).append(write)

    def _feed(self, i: Instruction, m: int, t: int) -> None:
        d = self.descriptors[i["desc"]]
        read = [self._read(d, i["row"] + m, i["k"] + n) for n in range(i["lanes"])]
        rows, cols = self.grid.rows, self.grid.cols
        values = [d.pad_value if v is None else v for v in read] + [0] * (rows - len(read))
        self.grid.fed[t + 1] = (values, bool(i["swap"]) and m == 0)

        def write() -> None:  # column c leaves the last PE at t + 1 + R - 1 + c
            target = self.acc[i["acc"] + m]
            for c in range(cols):
                found = self.grid.bottom[c, t + rows + c]
                target[c] = wrapped(found + (target[c] if i["accumulate"] else 0))

        self._at_end_of(t + rows + cols, write)

    def _read(self, d: Descriptor, m: int, k: int) -> int | None:
        ox, oy, image = m % d.out_w, m // d.out_w % d.out_h, m // (d.out_w * d.out_h)
        c, pixel = k % d.channels, k // d.channels
        y = oy * d.stride_y + pixel // d.kernel_w * d.dilation_y - d.pad_top
        x = ox * d.stride_x + pixel % d.kernel_w * d.dilation_x - d.pad_left
        if not (0 <= y < d.height and 0 <= x < d.width):
            return None
        at = d.base + image * d.image_stride + y * d.row_stride + x * d.pixel_stride + c
        return self.buffer[at] if d.unsigned else (self.buffer[at] + 128) % 256 - 128

    def _requantize(self, i: Instruction, m: int, t: int) -> None:
        row, width = self.rows[i["table"]], 4 if i["raw"] else 1
        total = [
            wrapped(self.acc[i["acc"] + m][c] + int(row.bias[c])) for c in range(i["cols"])
        ]
        if not i["raw"]:
            low, high = row.low - row.zero_point, row.high - row.zero_point
            scaled = [float(np.float32(v) * row.scale[c]) for c, v in enumerate(total)]
            total = [round(min(max(v, low), high)) + row.zero_point for v in scaled]
        data = b"".join((v % 256**width).to_bytes(width, "little") for v in total)
        self._put(i["ub"] + m * row.stride, data, t + 2)

    def _vector(self, i: Instruction, work: int, t: int) -> bool:
        """Maximum and clamp: `work` counts rows x pixels x groups of lanes."""
        a, lanes = self.descriptors[i["a"]], self.spec.vector.lanes
        groups = -(-a.channels // lanes)
        m, part = divmod(work, a.taps * groups)
        if part == 0:
            self.best: list[int] = [0 if a.unsigned else -128] * a.channels
        pixel, group = divmod(part, groups)
        for c in range(group * lanes, min(a.channels, group * lanes + lanes)):
            value = self._read(a, i["row"] + m, pixel * a.channels + c)
            if value is not None:
                self.best[c] = max(self.best[c], value)
        if part + 1 == a.taps * groups:
            clamped = [min(max(v, a.low), a.high) for v in self.best]
            found = clamped if i["func"] == 4 else self.best
            self._put(i["ub"] + m * a.channels, bytes(v % 256 for v in found), t + 2)
        return work + 1 == i["len"] * a.taps * groups

    def _put(self, at: int, data: bytes, t: int) -> None:
        def write() -> None:
            self.buffer[at : at + len(data)] = data

        self._at_end_of(t, write)

    def _spoil(self, i: Instruction) -> None:
        if i.op == "LDA":
            self.buffer[i["ub"] : i["ub"] + i["bytes"]] = bytes([SPOILT]) * i["bytes"]
        elif i.op == "LDW":
            self.slots[i["slot"]] = [[SPOILT] * self.grid.cols for _ in range(self.grid.rows)]

    def _transfer(self, i: Instruction) -> None:
        start, ub = i["dram"], i["ub"]
        data = bytes(self.dram[start : start + i["bytes"]])
        match i.op:
            case "LDA":
                self.buffer[ub : ub + i["bytes"]] = data
            case "ST":
                self.dram[start : start + i["bytes"]] = self.buffer[ub : ub + i["bytes"]]
            case "LDW":
                tile = [[0] * self.grid.cols for _ in range(self.grid.rows)]
                for n in range(i["rows"] * i["cols"]):
                    value = (self.dram[start + n] + 128) % 256 - 128
                    tile[n // i["cols"]][n % i["cols"]] = value
                self.slots[i["slot"]] = tile
            case _ if i["kind"] == 0:
                self.descriptors[i["index"]] = Descriptor.unpack(data)
            case _:
                self.rows[i["index"]] = RequantizeRow.unpack(data)


sides = st.integers(2, 8)
speeds = st.sampled_from(["0.7 GB/s", "2 GB/s", "34 GB/s"])  # 1, 2.86 and 48.6 bytes a cycle


@st.composite
def chips(draw: st.DrawFn) -> SystolicSpec:
    memories = draw(st.integers(1, 20)), draw(st.integers(1, 4))
    settings_ = (
        f"dram.bandwidth={draw(speeds)}",
        f"dram.latency={draw(st.integers(0, 20)) * 10} ns",
        "host.latency=100 ns",
        f"vector.lanes={draw(st.integers(1, 4))}",
    )
    return chip(draw(sides), draw(sides), *memories, *settings_)
