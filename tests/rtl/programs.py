"""Random legal programs for small arrays: the int8 machine's instructions, any operands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from tetrapla.simulators.systolic.faults import FaultError
from tetrapla.simulators.systolic.hazards import checked
from tetrapla.simulators.systolic.isa import ENGINES, Instruction
from tetrapla.simulators.systolic.program import Gather, Layer, Program
from tetrapla.simulators.systolic.routines import Routine, Step
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow
from tetrapla.simulators.systolic.views import Place

BUFFER_BYTES = 8192
READ_BYTES = 4096  # windows, weights and look-up tables lie below, results above
SUMS = 64
SLOTS = 4
CHANNELS = 20  # at most, of a window: several groups of a few lanes
_REGION = 1024
_WEIGHTS = 4  # from this descriptor on, LUW can take them


@dataclass
class Draft:
    """A program in the making."""

    rng: np.random.Generator
    rows: int
    cols: int
    stays: bool = False  # the outputs do
    constants: bytearray = field(default_factory=bytearray)
    descriptors: list[Descriptor] = field(default_factory=list[Descriptor])
    instructions: list[Instruction] = field(default_factory=list[Instruction])
    routines: list[Routine] = field(default_factory=list[Routine])
    gathers: list[Gather] = field(default_factory=list[Gather])

    def upto(self, most: int, least: int = 0) -> int:
        return int(self.rng.integers(least, most + 1))

    def constant(self, data: bytes) -> int:
        address = len(self.constants)
        self.constants += data
        return address

    def add(self, op: str, **operands: int) -> None:
        self.instructions.append(Instruction(op, operands))

    def bytes(self, count: int) -> bytes:
        return bytes(self.rng.integers(0, 256, count, np.uint8))


def window(draft: Draft, channels: int, kernel: int, padded: bool) -> Descriptor:
    """A window that lies within the buffer, for two images."""
    rng, upto = draft.rng, draft.upto
    height, width = upto(6, kernel), upto(6, kernel)
    pixel = channels + upto(2)
    row = width * pixel + upto(3)
    image = height * row
    pad = upto(kernel - 1) if padded else 0
    stride = 1 if kernel == 1 else upto(2, 1)
    dilation = 1 if kernel == 1 or not padded else upto(2, 1)
    reach = kernel - 1
    unsigned = upto(1)
    low = upto(100) - (0 if unsigned else 100)
    return Descriptor(
        base=upto(READ_BYTES - 2 * image),
        channels=channels,
        kernel_h=kernel,
        kernel_w=kernel,
        height=height,
        width=width,
        out_h=height if padded else (height - reach - 1) // stride + 1,
        out_w=width if padded else (width - reach - 1) // stride + 1,
        stride_y=stride,
        stride_x=stride,
        dilation_y=dilation,
        dilation_x=dilation,
        pad_top=pad,
        pad_left=pad,
        image_stride=image,
        row_stride=row,
        pixel_stride=pixel,
        pad_value=upto(127),
        flags=unsigned | upto(1) << 1,
        zero_x=upto(200) if unsigned else upto(200) - 100,
        zero_y=upto(20),
        low=low,
        high=low + upto(60),
        p0=float(rng.random(dtype=np.float32)),
        p1=float(rng.random(dtype=np.float32) + np.float32(0.1)),
        p2=float(np.float32(rng.normal() * 20)),
        weights=upto(READ_BYTES - 9 * CHANNELS - 256),
        out_stride=channels + upto(3, 1) if upto(1) else 0,
    )


def row(draft: Draft) -> RequantizeRow:
    """Scales that bring sums of a few taps near the range, ties among them."""
    rng, count = draft.rng, max(draft.cols, CHANNELS)
    unsigned = bool(draft.upto(1))
    scale = rng.random(count, dtype=np.float32) * np.float32(0.01)
    ties = rng.random(count) < 0.3
    scale[ties] = np.float32(2.0) ** -rng.integers(1, 9, int(ties.sum())).astype(np.float32)
    low, high = (0, 255) if unsigned else (-128, 127)
    return RequantizeRow(
        stride=draft.cols + draft.upto(3),
        zero_point=low + draft.upto(255),
        low=low + draft.upto(20),
        high=high - draft.upto(20),
        unsigned=unsigned,
        bias=rng.integers(-500, 500, count).astype(np.int32),
        scale=scale,
    )


def _ldw(d: Draft) -> None:
    rows, cols, int4 = d.upto(d.rows, 1), d.upto(d.cols, 1), d.upto(1)
    size = rows * (-(-cols // 2) if int4 else cols)
    address = d.constant(d.bytes(size))
    d.add("LDW", dram=address, slot=d.upto(SLOTS - 1), rows=rows, cols=cols, fmt=2 * int4)


def _lda(d: Draft) -> None:
    count = d.upto(300, 1)
    address = d.constant(d.bytes(count))
    d.add("LDA", dram=address, ub=d.upto(BUFFER_BYTES - count), bytes=count, host=d.upto(1))


def _st(d: Draft) -> None:
    count = d.upto(300, 1)
    # behind the constants, which are still growing: moved there at the end
    place = d.upto(_REGION - count)
    d.add("ST", dram=place, ub=d.upto(BUFFER_BYTES - count), bytes=count, host=d.upto(1))


def _lw(d: Draft) -> None:
    d.add("LW", slot=d.upto(SLOTS - 1))


def _luw(d: Draft) -> None:
    index = d.upto(len(d.descriptors) - 1, _WEIGHTS)
    chosen, turned = d.descriptors[index], d.upto(1)
    taps, most = chosen.taps * chosen.channels, 2 * chosen.out_h * chosen.out_w
    rows = d.upto(min(d.rows, taps if turned else most), 1)
    cols = d.upto(min(d.cols, most if turned else taps), 1)
    count, lanes = (cols, rows) if turned else (rows, cols)
    d.add(
        "LUW",
        desc=index,
        slot=d.upto(SLOTS - 1),
        row=d.upto(most - count),
        k=d.upto(taps - lanes),
        rows=rows,
        cols=cols,
        transpose=turned,
    )


def _vx(d: Draft) -> None:
    count = d.upto(60, 1)
    places = [Place(n, d.upto(READ_BYTES - count), "i8", (count,)) for n in range(2)]
    target = Place(2, d.upto(BUFFER_BYTES - count, READ_BYTES), "i8", (count,))
    step = Step("nn.bitwise_xor", "test", (0, 1), (2,), count)
    d.routines.append(Routine(f"r{len(d.routines)}", tuple(places), (target,), (step,)))
    d.add("VX", routine=len(d.routines) - 1)


def _gth(d: Draft) -> None:
    rows, row_bytes, count = d.upto(9, 1), d.upto(40, 1), d.upto(12, 1)
    dtype = ("i32", "i64")[d.upto(1)]
    indices = d.rng.integers(-12, 12, count).astype(np.int32 if dtype == "i32" else np.int64)
    held, where = indices.tobytes(), d.upto(READ_BYTES - 8 * count)
    d.add("LDA", dram=d.constant(held), ub=where, bytes=len(held))
    to = d.upto(BUFFER_BYTES - count * row_bytes, READ_BYTES)
    table = d.constant(d.bytes(rows * row_bytes))
    d.gathers.append(Gather(table, row_bytes, rows, where, dtype, count, to))
    d.add("GTH", routine=len(d.gathers) - 1)


def _mm(d: Draft, swap: int | None = None) -> None:
    index = d.upto(len(d.descriptors) - 1)
    chosen = d.descriptors[index]
    taps = chosen.taps * chosen.channels
    lanes = d.upto(min(d.rows, taps), 1)
    most = 2 * chosen.out_h * chosen.out_w
    count = d.upto(min(most, d.rows if d.stays else 30), 1)
    d.add(
        "MM",
        desc=index,
        acc=d.upto(SUMS - count),
        len=count,
        row=d.upto(most - count),
        k=d.upto(taps - lanes),
        lanes=lanes,
        swap=d.upto(1) if swap is None else swap,
        accumulate=0 if d.stays and swap else d.upto(1),
        drain=d.upto(1) if d.stays else 0,
    )


def _rq(d: Draft) -> None:
    count, raw = d.upto(20, 1), d.upto(1)
    room = BUFFER_BYTES - count * (d.cols + 3) - 4 * d.cols
    d.add(
        "RQ",
        acc=d.upto(SUMS - count),
        len=count,
        cols=d.upto(d.cols, 1),
        table=d.upto(1),
        ub=d.upto(room, READ_BYTES),
        raw=raw,
    )


def _ve(d: Draft) -> None:
    func = d.upto(7)
    index = {0: d.upto(3), 1: 3, 2: 3, 5: d.upto(3)}.get(func, d.upto(1))
    chosen = d.descriptors[index]
    most = 2 * min(e.out_h * e.out_w for e in ((chosen, d.descriptors[0], d.descriptors[1])))
    if func in (0, 1, 2, 5):
        most = 2 * chosen.out_h * chosen.out_w
    count = d.upto(min(most, 12), 1)
    room = BUFFER_BYTES - count * (chosen.channels + 3)
    operand = d.upto(1)
    d.add(
        "VE",
        func=func,
        a=index,
        b=operand,
        ub=d.upto(room, READ_BYTES),
        len=count,
        row=d.upto(most - count),
    )


_MAKERS: tuple[Callable[[Draft], None], ...] = (
    *(_ldw, _lda, _st, _lw, _luw, _mm, _mm, _rq, _ve, _ve, _vx, _gth),
)


def draft(
    rng: np.random.Generator, rows: int, cols: int, length: int, stays: bool = False
) -> Draft:
    """Tables and weights first, then `length` random instructions."""
    d = Draft(rng, rows, cols, stays)
    d.add("MARK")
    channels = d.upto(CHANNELS, 1)
    kernels = (1, 1, d.upto(3, 1), d.upto(3, 1))
    for index, kernel in enumerate(kernels):
        own = channels if index < 2 else d.upto(CHANNELS, 1)
        d.descriptors.append(window(d, own, kernel, index == 2))
        d.add("CFG", dram=d.constant(d.descriptors[-1].pack()), index=index, bytes=128)
    for index in range(_WEIGHTS, _WEIGHTS + 2):
        one = window(d, d.upto(CHANNELS, 1), d.upto(2, 1), True)
        zero = 128 if one.unsigned else 0
        one = replace(one, zero_x=zero, pad_value=zero + d.upto(255) - 128)
        d.descriptors.append(one)
        d.add("CFG", dram=d.constant(one.pack()), index=index, bytes=128)
    for index in range(2):
        data = row(d).pack()
        d.add("CFG", dram=d.constant(data), kind=1, index=index, bytes=len(data))
    d.add("LDA", dram=d.constant(d.bytes(BUFFER_BYTES)), bytes=BUFFER_BYTES)
    for slot in range(SLOTS):
        tile = d.constant(d.bytes(rows * cols))
        d.add("LDW", dram=tile, slot=slot, rows=rows, cols=cols)
    d.add("LW")
    _mm(d, swap=1)
    for _ in range(length):
        if d.upto(9) == 0:
            d.add(("NOP", "SYNC", "MARK")[d.upto(2)])
        else:
            _MAKERS[d.upto(len(_MAKERS) - 1)](d)
    d.add("MARK")
    d.add("HALT")
    return d


def ordered(d: Draft) -> list[Instruction]:
    """Each instruction behind all before it: the values are the order's."""
    every = dict.fromkeys(ENGINES, 0)
    return [replace(i, waits=every) for i in d.instructions]


def racing(d: Draft) -> list[Instruction]:
    """Any waits: only the cycles mean something."""
    found = []
    for i in d.instructions:
        chosen = d.rng.random(len(ENGINES)) < 0.25
        waits = {e: d.upto(6) for e, held in zip(ENGINES, chosen, strict=True) if held}
        found.append(replace(i, waits=waits))
    return found


def waiting(given: Program, spec: SystolicSpec) -> Program:
    """The program with a wait for everything wherever it would touch something too early."""
    every = dict.fromkeys(ENGINES, 0)
    for _ in range(len(given.instructions)):
        try:
            checked(given, spec)
        except FaultError as fault:
            steps = list(given.instructions)
            steps[fault.number] = replace(steps[fault.number], waits=every)
            given = replace(given, instructions=tuple(steps))
        else:
            return given
    raise AssertionError("an instruction that waits for everything touches nothing too early")


def program(d: Draft, instructions: list[Instruction]) -> Program:
    """The draft's program with these instructions."""
    start = len(d.constants)
    placed = [
        replace(i, operands={**i.operands, "dram": start + i["dram"]}) if i.op == "ST" else i
        for i in instructions
    ]
    return Program(
        name="random",
        rows=d.rows,
        cols=d.cols,
        weight_slots=SLOTS,
        accumulator_rows=SUMS,
        unified_buffer_bytes=BUFFER_BYTES,
        dram_bytes=start + _REGION,
        instructions=tuple(placed),
        constants=bytes(d.constants),
        layers=(Layer("all", "test", 0),),
        packed={},
        inputs=(),
        outputs=(),
        to_device=(),
        from_device=(),
        dataflow="output_stationary" if d.stays else "weight_stationary",
        routines=tuple(d.routines),
        gathers=tuple(d.gathers),
    )
