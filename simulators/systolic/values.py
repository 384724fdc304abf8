"""What the instructions compute: every memory as a NumPy array, for many invocations at once.

The accumulators hold exact int32 sums. A product of int8 values through `lanes` array rows is
done by float32 BLAS where lanes * 2^15 <= 2^24, so that every partial sum is an integer that
float32 holds exactly and the order of addition does not matter; by float64 otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.addresses import outside_and_address
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow
from tetrapla.simulators.systolic.vector import vector_result

_EXACT_IN_FLOAT32 = 2**24
_LARGEST_PRODUCT = 2**15  # 255 * 128
_UNWRITTEN = 0x5A  # memories are not cleared: zeros would hide what no instruction wrote


class State:
    """The memories of the machine; the first axis of what differs per invocation is theirs."""

    def __init__(self, program: Program, invocations: int) -> None:
        width = max(
            [i["cols"] for i in program.instructions if i.op in ("LDW", "RQ")], default=1
        )
        self.constants = np.frombuffer(program.constants, np.int8)
        extra = program.dram_bytes - len(self.constants)
        self.regions = np.full((invocations, extra), _UNWRITTEN, np.int8)
        size = program.unified_buffer_bytes
        self.buffer = np.full((invocations, size), _UNWRITTEN, np.int8)
        # columns that no tile and no result uses are not kept
        shape = (invocations, program.accumulator_rows, width)
        self.accumulators = np.full(shape, _UNWRITTEN * 0x01010101, np.int32)
        self.slots: dict[int, Array] = {}
        self.shadow: Array | None = None
        self.weights: Array | None = None
        self.descriptors: dict[int, Descriptor] = {}
        self.rows: dict[int, RequantizeRow] = {}

    def read(self, address: int, count: int) -> Array:
        """DRAM bytes: the constants (1, count), or a region (invocations, count)."""
        start = address - len(self.constants)
        if start < 0:
            return self.constants[None, address : address + count]
        return self.regions[:, start : start + count]


def execute(program: Program, state: State) -> None:
    """Run the instructions; `state` is written."""
    for instruction in program.instructions:
        action = _ACTIONS.get(instruction.op)
        if action is not None:
            action(state, instruction)


def invocation_bytes(program: Program) -> int:
    """Memory that one more invocation takes."""
    width = max([i["cols"] for i in program.instructions if i.op in ("LDW", "RQ")], default=1)
    widest = max(
        [i["len"] * i["lanes"] for i in program.instructions if i.op == "MM"], default=0
    )
    regions = program.dram_bytes - len(program.constants)
    accumulators = 4 * program.accumulator_rows * width
    return program.unified_buffer_bytes + regions + 2 * accumulators + 5 * widest + 1


def _load_weights(state: State, i: Instruction) -> None:
    tile = state.read(i["dram"], i["rows"] * i["cols"])[0]
    state.slots[i["slot"]] = tile.reshape(i["rows"], i["cols"])


def _load_activations(state: State, i: Instruction) -> None:
    state.buffer[:, i["ub"] : i["ub"] + i["bytes"]] = state.read(i["dram"], i["bytes"])


def _store(state: State, i: Instruction) -> None:
    state.read(i["dram"], i["bytes"])[:] = state.buffer[:, i["ub"] : i["ub"] + i["bytes"]]


def _configure(state: State, i: Instruction) -> None:
    data = state.read(i["dram"], i["bytes"])[0].tobytes()
    if i["kind"] == 0:
        state.descriptors[i["index"]] = Descriptor.unpack(data)
    else:
        state.rows[i["index"]] = RequantizeRow.unpack(data)


def _shift_weights(state: State, i: Instruction) -> None:
    state.shadow = state.slots[i["slot"]]


def _multiply(state: State, i: Instruction) -> None:
    if i["swap"]:
        state.weights = state.shadow
    assert state.weights is not None, "a legal program swaps weights in first"
    lanes, weights = i["lanes"], state.weights
    descriptor = state.descriptors[i["desc"]]
    outside, address = outside_and_address(descriptor, i["row"], i["len"], i["k"], lanes)
    values = np.take(state.buffer, address, axis=1)
    if descriptor.unsigned:
        values = values.view(np.uint8)
    exact = lanes * _LARGEST_PRODUCT <= _EXACT_IN_FLOAT32
    real = values.astype(np.float32 if exact else np.float64)
    if outside is not None:
        real[:, outside] = descriptor.pad_value
    used = min(lanes, len(weights))  # array rows beyond the tile hold zero
    product = real[..., :used].reshape(-1, used) @ weights[:used].astype(real.dtype)
    sums = product.reshape(len(real), i["len"], -1).astype(np.int32)
    target = state.accumulators[:, i["acc"] : i["acc"] + i["len"]]
    columns = weights.shape[1]
    if i["accumulate"]:
        target[..., :columns] += sums
    else:
        target[..., :columns] = sums
        target[..., columns:] = 0


def _requantize(state: State, i: Instruction) -> None:
    row, columns = state.rows[i["table"]], i["cols"]
    acc = state.accumulators[:, i["acc"] : i["acc"] + i["len"], :columns]
    total = acc + row.bias[:columns]
    if i["raw"]:
        result = np.ascontiguousarray(total, "<i4").view(np.int8)
    else:
        scaled = total.astype(np.float32) * row.scale[:columns]
        low, high = np.float32(row.low - row.zero_point), np.float32(row.high - row.zero_point)
        steps = np.rint(np.clip(scaled, low, high)) + np.float32(row.zero_point)
        result = steps.astype(np.int16).astype(np.int8)  # uint8 keeps its bits
    _write_rows(state.buffer, i["ub"], row.stride, result)


def _vector(state: State, i: Instruction) -> None:
    result = vector_result(
        state.buffer,
        i["func"],
        state.descriptors[i["a"]],
        state.descriptors.get(i["b"]),
        i["row"],
        i["len"],
    )
    _write_rows(state.buffer, i["ub"], result.shape[2], result)


def _write_rows(buffer: Array, start: int, stride: int, rows: Array) -> None:
    """Write (invocations, rows, bytes), `stride` bytes from row to row."""
    count, width = rows.shape[1:]
    if stride == width:
        buffer[:, start : start + count * width] = rows.reshape(len(rows), -1)
        return
    address = start + stride * np.arange(count)[:, None] + np.arange(width)
    buffer[:, address] = rows


_ACTIONS: Mapping[str, Callable[[State, Instruction], None]] = {
    "LDW": _load_weights,
    "LDA": _load_activations,
    "LW": _shift_weights,
    "MM": _multiply,
    "RQ": _requantize,
    "VE": _vector,
    "ST": _store,
    "CFG": _configure,
}
