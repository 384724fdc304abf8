"""What the instructions compute: each memory a NumPy array, for many invocations at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.systolic import routines
from tetrapla.simulators.systolic.addresses import outside_and_address
from tetrapla.simulators.systolic.formats import DTYPE, SUMS, stored_format, tile_bytes
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.products import activations, sums
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.requantize import raw, requantized
from tetrapla.simulators.systolic.sparse import Tile, tile_of
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow
from tetrapla.simulators.systolic.vector import DEPTHWISE, depthwise_result, vector_result

_UNWRITTEN = 0x5A  # memories are not cleared: zeros would hide what no instruction wrote
_KINDS = ("i32", "i64", "f32")


class State:
    """The memories of the machine; the first axis of what differs per invocation is theirs.

    Attributes:
        accumulators: by type of the sums, (invocations, rows, columns of all units).
        kinds: for each accumulator row the place in `_KINDS` of what it holds.
        stationary: what the PEs of an output-stationary array hold, (invocations, units,
            rows, columns).
        shadow, weights: a tile for each unit, or one for all.
        shadow_slots, stream: the slots of those tiles; an output-stationary array reads them
            when it multiplies.
    """

    def __init__(self, program: Program, invocations: int) -> None:
        self.program = program
        self.constants = np.frombuffer(program.constants, np.int8)
        extra = program.dram_bytes - len(self.constants)
        self.regions = np.full((invocations, extra), _UNWRITTEN, np.int8)
        size = program.unified_buffer_bytes
        self.buffer = np.full((invocations, size), _UNWRITTEN, np.int8)
        self.kinds = np.zeros(program.accumulator_rows, np.int8)
        self.accumulators: dict[str, Array] = {}
        self.stationary: Array | None = None
        self.slots: dict[int, Tile] = {}
        self.shadow: tuple[Tile, ...] = ()
        self.weights: tuple[Tile, ...] = ()
        self.shadow_slots: tuple[int, ...] = ()
        self.stream: tuple[int, ...] = ()
        self.descriptors: dict[int, Descriptor] = {}
        self.rows: dict[int, RequantizeRow] = {}

    def read(self, address: int, count: int) -> Array:
        """DRAM bytes: the constants (1, count), or a region (invocations, count)."""
        start = address - len(self.constants)
        if start < 0:
            return self.constants[None, address : address + count]
        return self.regions[:, start : start + count]

    def sums(self, kind: str, first: int, count: int) -> Array:
        """Accumulator rows of one type, (invocations, count, columns); writing writes them."""
        if kind not in self.accumulators:
            # columns that no tile and no result uses are not kept
            shape = (len(self.buffer), len(self.kinds), columns_used(self.program))
            raw_bytes = np.full((*shape, DTYPES[kind].itemsize), _UNWRITTEN, np.int8)
            self.accumulators[kind] = raw_bytes.view(DTYPES[kind])[..., 0]
        return self.accumulators[kind][:, first : first + count]


def columns_used(program: Program) -> int:
    """How many accumulator columns hold something."""
    if program.units > 1:
        return program.units * program.cols
    wide = [i["cols"] for i in program.instructions if i.op in ("LDW", "LUW", "RQ")]
    return max(wide, default=1)


def execute(program: Program, state: State) -> None:
    """Run the instructions; `state` is written."""
    for instruction in program.instructions:
        step(state, instruction)


def step(state: State, instruction: Instruction) -> None:
    """Run one instruction; `state` is written."""
    action = _ACTIONS.get(instruction.op)
    if action is not None:
        action(state, instruction)


def invocation_bytes(program: Program) -> int:
    """Memory that one more invocation takes."""
    width, made = columns_used(program), [i for i in program.instructions if i.op == "MM"]
    kinds = {SUMS[i["fmt"]] for i in made} or {"i32"}
    sum_bytes = sum(DTYPES[kind].itemsize for kind in kinds)
    accumulators = sum_bytes * program.accumulator_rows * width
    widest = max([i["len"] * i["lanes"] for i in made], default=0)
    regions = program.dram_bytes - len(program.constants)
    return program.unified_buffer_bytes + regions + 2 * accumulators + 5 * widest + 1


def _load_weights(state: State, i: Instruction) -> None:
    rows, cols, fmt, sparse = i["rows"], i["cols"], i["fmt"], bool(i["sparse"])
    data = state.read(i["dram"], tile_bytes(rows, cols, fmt, sparse))[0]
    state.slots[i["slot"]] = tile_of(data, rows, cols, fmt, sparse)


def _load_activations(state: State, i: Instruction) -> None:
    state.buffer[:, i["ub"] : i["ub"] + i["bytes"]] = state.read(i["dram"], i["bytes"])


def _store(state: State, i: Instruction) -> None:
    state.read(i["dram"], i["bytes"])[:] = state.buffer[:, i["ub"] : i["ub"] + i["bytes"]]


def _gather(state: State, i: Instruction) -> None:
    g = state.program.gathers[i["routine"]]
    index_bytes = g.count * DTYPES[g.index_dtype].itemsize
    table = state.read(g.dram, g.rows * g.row_bytes).reshape(-1, g.rows, g.row_bytes)
    for n, buffer in enumerate(state.buffer):
        held = buffer[g.indices_ub : g.indices_ub + index_bytes].copy()
        given = held.view(DTYPES[g.index_dtype])
        indices = np.clip(np.where(given < 0, given + g.rows, given), 0, g.rows - 1)
        found = table[n if len(table) > 1 else 0][indices]
        buffer[g.ub : g.ub + g.count * g.row_bytes] = found.reshape(-1)


def _configure(state: State, i: Instruction) -> None:
    data = state.read(i["dram"], i["bytes"])[0].tobytes()
    if i["kind"] == 0:
        state.descriptors[i["index"]] = Descriptor.unpack(data)
    else:
        state.rows[i["index"]] = RequantizeRow.unpack(data)


def _shift_weights(state: State, i: Instruction) -> None:
    count = state.program.units if i["spread"] else 1
    state.shadow_slots = tuple(range(i["slot"], i["slot"] + count))
    state.shadow = tuple(state.slots[slot] for slot in state.shadow_slots)


def _weights_from_buffer(state: State, i: Instruction) -> None:
    d = state.descriptors[i["desc"]]
    count, lanes = (i["cols"], i["rows"]) if i["transpose"] else (i["rows"], i["cols"])
    if i["fmt"]:  # as MM reads them
        real = activations(state.buffer, d, i["row"], count, i["k"], lanes, i["fmt"])
        found = real.astype(DTYPE[stored_format(i["fmt"])])
    else:
        found = _int8(state.buffer, d, i["row"], count, i["k"], lanes)
    state.slots[i["slot"]] = Tile(found.swapaxes(1, 2) if i["transpose"] else found)


def _int8(buffer: Array, d: Descriptor, row: int, count: int, tap: int, lanes: int) -> Array:
    """Weights of a byte, less zero_x."""
    outside, address = outside_and_address(d, row, count, tap, lanes)
    values = np.take(buffer, address, axis=1)
    wide = (values.view(np.uint8) if d.unsigned else values).astype(np.int16)
    if outside is not None:
        wide[:, outside] = d.pad_value
    return (wide - np.int16(d.zero_x)).astype(np.int8)


def _multiply(state: State, i: Instruction) -> None:
    if i["swap"]:
        state.weights, state.stream = state.shadow, state.shadow_slots
    d, count, fmt = state.descriptors[i["desc"]], i["len"], i["fmt"]
    real = activations(state.buffer, d, i["row"], count, i["k"], i["lanes"], fmt)
    if state.program.dataflow == "output_stationary":
        _multiply_in_place(state, i, real)
        return
    target = _target(state, i)
    for unit, tile in enumerate(state.weights):
        made = sums(real, tile, fmt)
        first = unit * state.program.cols
        own = target[..., first : first + made.shape[2]]
        if i["accumulate"]:
            with np.errstate(over="ignore", invalid="ignore"):  # float sums may overflow
                own += made
            continue
        if unit == 0 and own.shape != target.shape:
            target[...] = 0
        own[...] = made


def _multiply_in_place(state: State, i: Instruction, real: Array) -> None:
    """The sums stay in the PEs until they drain."""
    program, count = state.program, i["len"]
    units, rows, cols = program.units, program.rows, program.cols
    if not i["accumulate"]:
        shape = (len(real), units, rows, cols)
        state.stationary = np.zeros(shape, DTYPES[SUMS[i["fmt"]]])
    held = state.stationary
    assert held is not None, "a legal program begins sums before it continues them"
    share = count if i["spread"] else -(-count // units)
    target = _target(state, i) if i["drain"] else None
    if target is not None:
        target[...] = 0
    for unit in range(units):
        first = 0 if i["spread"] else unit * share
        part = slice(first, min(first + share, count))
        fed = real[:, part]
        rows_fed = fed.shape[1]
        if not rows_fed:
            continue
        tile = state.slots[state.stream[unit if i["spread"] else 0]]
        own = held[:, unit, :rows_fed, : tile.values.shape[-1]]
        own[...] = sums(fed, tile, i["fmt"], own)
        if target is not None:  # all columns drain, also those that this tile leaves alone
            column = unit * cols if i["spread"] else 0
            into = target[:, part, column : column + cols]
            into[...] = held[:, unit, :rows_fed, : into.shape[2]]


def _target(state: State, i: Instruction) -> Array:
    """The accumulator rows that an MM writes, which hold its type of sums from now on."""
    kind, rows = SUMS[i["fmt"]], slice(i["acc"], i["acc"] + i["len"])
    state.kinds[rows] = _KINDS.index(kind)
    return state.sums(kind, i["acc"], i["len"])


def _requantize(state: State, i: Instruction) -> None:
    row, columns, count = state.rows[i["table"]], i["cols"], i["len"]
    held = state.sums(_KINDS[state.kinds[i["acc"]]], i["acc"], count)[..., :columns]
    entries: tuple[slice | None, ...] = (slice(0, columns),)
    if i["transposed"]:
        entries = (slice(0, count), None)
    if i["raw"]:
        found = raw(held, row, entries)
    else:
        found = requantized(held, row, i["fmt"], entries)
    if i["transposed"]:
        found = found.swapaxes(1, 2)
    _write_rows(state.buffer, i["ub"], row.stride, np.ascontiguousarray(found).view(np.int8))


def _vector(state: State, i: Instruction) -> None:
    a, buffer = state.descriptors[i["a"]], state.buffer
    if i["func"] == DEPTHWISE:
        result = depthwise_result(buffer, a, state.rows[i["b"]], i["row"], i["len"])
    else:
        b = state.descriptors.get(i["b"])
        result = vector_result(buffer, i["func"], a, b, i["row"], i["len"])
    _write_rows(buffer, i["ub"], a.out_stride or a.channels, result)


def _routine(state: State, i: Instruction) -> None:
    routines.execute(state.buffer, state.program.routines[i["routine"]])


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
    "LUW": _weights_from_buffer,
    "MM": _multiply,
    "RQ": _requantize,
    "VE": _vector,
    "VX": _routine,
    "ST": _store,
    "GTH": _gather,
    "CFG": _configure,
}
