"""The judge's memories, and what moves bytes between them: DMA, and reading activations."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow

SPOILT = 0x5A


@dataclass
class Slot:
    """A slot, rows x columns with its zeros: values, and what a sparse PE picks."""

    values: Array
    places: Array
    sparse: bool
    held: str


class Memory:
    """DRAM, unified buffer, weight slots and tables of one invocation."""

    def __init__(self, program: Program, region: bytes) -> None:
        self.program = program
        self.dram = np.full(program.dram_bytes, SPOILT, np.int8)
        given = np.frombuffer(program.constants + region, np.int8)
        self.dram[: len(given)] = given
        self.buffer = np.full(program.unified_buffer_bytes, SPOILT, np.int8)
        self.slots: dict[int, Slot] = {}
        self.descriptors: dict[int, Descriptor] = {}
        self.rows: dict[int, RequantizeRow] = {}
        self._gathered: deque[list[int]] = deque()  # by gather that is on its way, its rows

    def place(
        self, d: Descriptor, m: int | Array, taps: Array, width: int = 1
    ) -> tuple[Array, Array]:
        """Where taps of an output row lie (or of a column of rows), and which are padding."""
        image, pixel = divmod(m, d.out_w * d.out_h)
        oy, ox = divmod(pixel, d.out_w)
        window, c = np.divmod(taps, d.channels)
        ky, kx = np.divmod(window, d.kernel_w)
        y = oy * d.stride_y - d.pad_top + ky * d.dilation_y
        x = ox * d.stride_x - d.pad_left + kx * d.dilation_x
        at = d.base + image * d.image_stride + y * d.row_stride + x * d.pixel_stride
        padded = (y < 0) | (y >= d.height) | (x < 0) | (x >= d.width)
        return np.where(padded, 0, at + c * width), padded

    def read(self, d: Descriptor, m: int | Array, taps: Array) -> tuple[Array, Array]:
        """Bytes as int64, and which of them are padding."""
        at, padded = self.place(d, m, taps)
        values = self.buffer[at].astype(np.int64)
        return (values & 255 if d.unsigned else values), padded

    def activations(self, d: Descriptor, m: int | Array, taps: Array, held: str) -> Array:
        """Taps of an output row, or of a column of rows, as the array takes them."""
        if held == "i8":
            values, padded = self.read(d, m, taps)
        else:
            at, padded = self.place(d, m, taps, 2)
            pairs = np.stack([self.buffer[at], self.buffer[at + 1]], axis=-1)
            values = np.ascontiguousarray(pairs).view(DTYPES[held])[..., 0]
        wide = values.astype(np.float32 if held in ("bf16", "f16") else np.int64)
        wide[padded] = d.pad_value
        return wide

    def begin(self, i: Instruction) -> None:
        """A transfer starts: its destination holds nothing to rely on."""
        if i.op == "LDA":
            self.buffer[i["ub"] : i["ub"] + i["bytes"]] = SPOILT
        elif i.op == "LDW":
            self.spoil(i["slot"])
        elif i.op == "GTH":
            g = self.program.gathers[i["routine"]]
            self.buffer[g.ub : g.ub + g.count * g.row_bytes] = SPOILT
            self._gathered.append([self._index(i, 0)])

    def spoil(self, slot: int) -> None:
        """A slot that is being filled."""
        shape = (self.program.rows, self.program.cols)
        held = np.full(shape, SPOILT, np.int64)
        self.slots[slot] = Slot(held, np.zeros(shape, np.uint8), False, "i8")

    def piece_bytes(self, i: Instruction) -> int:
        """What the link moves before it asks for more."""
        if i.op == "GTH":
            return self.program.gathers[i["routine"]].row_bytes
        if i.op != "LDW":
            return i["bytes"]
        rows, cols = i["rows"], i["cols"]
        row = (cols, 2 * cols, (cols + 1) // 2, 2 * cols, 2 * cols)[i["fmt"]]
        return rows * row + ((rows * cols + 3) // 4 if i["sparse"] else 0)

    def another(self, i: Instruction) -> bool:
        """Whether a gather has a further row, which is begun."""
        if i.op != "GTH":
            return False
        rows = self._gathered[-1]
        if len(rows) == self.program.gathers[i["routine"]].count:
            return False
        rows.append(self._index(i, len(rows)))
        return True

    def _index(self, i: Instruction, n: int) -> int:
        g = self.program.gathers[i["routine"]]
        dtype = DTYPES[g.index_dtype]
        at = g.indices_ub + n * dtype.itemsize
        index = int(self.buffer[at : at + dtype.itemsize].view(dtype)[0])
        return min(max(index + g.rows if index < 0 else index, 0), g.rows - 1)

    def end(self, i: Instruction) -> None:
        """A transfer's bytes arrive."""
        start, ub, count = i["dram"], i["ub"], i["bytes"]
        data = self.dram[start : start + count].tobytes()
        match i.op:
            case "LDA":
                self.buffer[ub : ub + count] = self.dram[start : start + count]
            case "ST":
                self.dram[start : start + count] = self.buffer[ub : ub + count]
            case "LDW":
                self.slots[i["slot"]] = self._tile(i)
            case "GTH":
                g = self.program.gathers[i["routine"]]
                for n, index in enumerate(self._gathered.popleft()):
                    row = self.dram[g.dram + index * g.row_bytes :][: g.row_bytes]
                    self.buffer[g.ub + n * g.row_bytes :][: g.row_bytes] = row
            case _ if i["kind"] == 0:
                self.descriptors[i["index"]] = Descriptor.unpack(data)
            case _:
                self.rows[i["index"]] = RequantizeRow.unpack(data)

    def _tile(self, i: Instruction) -> Slot:
        """The bytes of a tile, weight by weight."""
        rows, cols, fmt = i["rows"], i["cols"], i["fmt"]
        data = self.dram[i["dram"] : i["dram"] + self.piece_bytes(i)]
        held = ("i8", "i16", "i8", "bf16", "f16")[fmt]
        size = DTYPES[held].itemsize
        dtype = np.int64 if held in ("i8", "i16") else np.float32
        shape = (self.program.rows, self.program.cols)
        values, places = np.zeros(shape, dtype), np.zeros(shape, np.uint8)
        stored = rows * ((cols + 1) // 2) if fmt == 2 else rows * cols * size
        if fmt == 2:
            pairs = data[:stored].reshape(rows, -1)
            nibbles = np.stack([pairs << 4 >> 4, pairs >> 4], axis=-1).reshape(rows, -1)
            values[:rows, :cols] = nibbles[:, :cols]
        else:
            values[:rows, :cols] = data[:stored].view(DTYPES[held]).reshape(rows, cols)
        if i["sparse"]:
            four = data[stored:, None].view(np.uint8) >> np.arange(0, 8, 2, dtype=np.uint8) & 3
            places[:rows, :cols] = four.reshape(-1)[: rows * cols].reshape(rows, cols)
        return Slot(values, places, bool(i["sparse"]), held)
