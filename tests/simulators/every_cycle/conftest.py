"""Random programs for the judge: any machine, any engine, waits for every hazard or for none.

Addresses are drawn from a unified buffer in three parts: floats that only LDA writes, integers,
and results; so floats are always finite, and everything else is any byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.formats import (
    DTYPE,
    RESULT_BYTES,
    STORED,
    SUMS,
    stored_format,
    tile_bytes,
)
from tetrapla.simulators.systolic.isa import ENGINES, OPERATIONS, Instruction
from tetrapla.simulators.systolic.program import Gather, Layer, Program
from tetrapla.simulators.systolic.routines import Place, Routine, Step
from tetrapla.simulators.systolic.spec import ArraySection, SystolicSpec
from tetrapla.simulators.systolic.tables import COUNT_PAD, Descriptor, RequantizeRow

BASE = load_spec("tpu-v1", SystolicSpec).spec
PACES = {"int8": 1, "int16x8": 2, "int16": 3, "bf16": 1, "fp16": 2, "int4": 1}
FLOATS, WHOLE, BUFFER = 0, 192, 640  # parts of the unified buffer begin here; its end
REGION = 256
SLOTS = 6
ACCUMULATORS = 12


def random_spec(rng: np.random.Generator) -> SystolicSpec:
    """A small machine."""
    stationary = bool(rng.random() < 0.4)
    array = ArraySection(
        rows=int(rng.integers(1, 6)),
        cols=int(rng.integers(1, 6)),
        dataflow="output_stationary" if stationary else "weight_stationary",
        units=int(rng.integers(1, 4)),
        formats=PACES,
        sparsity="none" if stationary or rng.random() < 0.6 else "2:4",
    )
    clock = BASE.clock_hz
    dram = BASE.dram.model_copy(
        update={
            "bandwidth_bytes_per_s": clock * float(rng.choice([6.25, 17.3, 48.5])),
            "latency_s": int(rng.integers(0, 6)) * 2e-9,
        }
    )
    host = BASE.host.model_copy(update={"latency_s": 12e-9})
    lanes = BASE.vector.model_copy(update={"lanes": int(rng.integers(1, 5))})
    sections = {"array": array, "dram": dram, "host": host, "vector": lanes}
    return BASE.model_copy(update=sections)


Resource = tuple[str, int, int]
"""What an instruction reads or writes: a memory, its first and its end."""


@dataclass
class Drawn:
    """One instruction with what it touches."""

    op: str
    operands: Mapping[str, int]
    reads: list[Resource] = field(default_factory=list[Resource])
    writes: list[Resource] = field(default_factory=list[Resource])


class Maker:
    """Draws the constants and the instructions of one program."""

    def __init__(self, rng: np.random.Generator, spec: SystolicSpec, safe: bool) -> None:
        self.rng, self.safe, self.array = rng, safe, spec.array
        self.image = bytearray()
        self.stationary = spec.array.dataflow == "output_stationary"
        self.windows = [self._window(n) for n in range(8)]
        self.window_at = [self.constant(d.pack()) for d in self.windows]
        self.tables = [self._table(n) for n in range(4)]
        self.table_at = [(self.constant(t.pack()), len(t.pack())) for t in self.tables]
        kinds = self.rng.choice(5, 2 if rng.random() < 0.3 else 1)
        self.tiles = [self._tile(int(rng.choice(kinds))) for _ in range(SLOTS)]
        floats = rng.integers(-40, 40, 96) / 16
        dtype = "bf16" if kinds[0] == 3 else "fp16"
        self.float_at = self.constant(floats.astype(DTYPE[dtype]).tobytes())
        self.whole_at = self.constant(rng.integers(0, 256, BUFFER - WHOLE, np.uint8).tobytes())
        self.float_fmt = 3 if kinds[0] == 3 else 4
        self.slots: dict[int, tuple[str, bool]] = {}
        self.shadow: tuple[list[tuple[str, bool]], int, list[int]] | None = None
        self.weights: tuple[list[tuple[str, bool]], int, list[int]] | None = None
        self.held: list[str] = ["i32"] * ACCUMULATORS
        self.sums = ""
        self.gathers: list[Gather] = []
        self.routines: list[Routine] = []

    def between(self, low: int, high: int) -> int:
        """A number from low to high."""
        return int(self.rng.integers(low, high + 1))

    def constant(self, data: bytes) -> int:
        """Append to the image, and say where."""
        start = len(self.image)
        self.image += data
        return start

    def _window(self, n: int) -> Descriptor:
        """0..2 products of bytes, 3 of halves, 4 of floats, 5 and 6 one pixel, 7 LUW."""
        rng, one = self.rng, n in (5, 6)
        channels, width = self.between(1, 5), 2 if n in (3, 4) else 1
        if one:
            channels = 3
        kernel_h, kernel_w = (1, 1) if one else (self.between(1, 2), self.between(1, 3))
        height, size = self.between(1, 4), self.between(2, 4)
        pixel = channels * width + self.between(0, 1) * width
        unsigned = bool(rng.random() < 0.4)
        return Descriptor(
            base=FLOATS if n == 4 else WHOLE + self.between(0, 80),
            channels=channels,
            kernel_h=kernel_h,
            kernel_w=kernel_w,
            height=height,
            width=size,
            out_h=self.between(1, 4),
            out_w=self.between(1, 4),
            stride_y=self.between(1, 2),
            stride_x=self.between(1, 2),
            dilation_y=self.between(1, 2),
            dilation_x=self.between(1, 2),
            pad_top=self.between(0, 1),
            pad_left=self.between(0, 1),
            image_stride=self.between(0, 3) * width,
            row_stride=size * pixel,
            pixel_stride=pixel,
            pad_value=self.between(0, 127),
            flags=int(unsigned) + COUNT_PAD * self.between(0, 1),
            zero_x=128 * unsigned if n == 7 else self.between(-3, 3),
            zero_y=self.between(-20, 20),
            low=self.between(-128, 0),
            high=self.between(1, 127),
            p0=float(np.float32(rng.random() * 0.2)),
            p1=float(np.float32(rng.random() + 0.01)),
            p2=float(np.float32(rng.normal())),
            weights=WHOLE + self.between(0, 100),
            out_stride=channels + self.between(0, 2) if rng.random() < 0.5 else 0,
        )

    def _table(self, n: int) -> RequantizeRow:
        """0 int8, 1 uint8, 2 int16, 3 for float sums; scales that often saturate."""
        count = max(ACCUMULATORS, self.array.cols * self.array.units)
        low, high = ((-128, 127), (0, 255), (-3000, 30000), (-2, 3))[n]
        scale = (self.rng.random(count) * self.rng.choice([0.001, 0.05, 3])).astype(np.float32)
        bias = self.rng.integers(-(2**31), 2**31, count).astype(np.int32)
        small = self.rng.integers(-500, 500, count).astype(np.int32)
        bias = np.where(self.rng.random(count) < 0.1, bias, small).astype(np.int32)
        if n == 3:
            bias = (self.rng.integers(-50, 50, count) / 8).astype(np.float32)
        stride = self.between(1, 40)
        zero = 0 if n == 3 else self.between(-5, 5)
        clamped = bool(self.rng.random() < 0.5)
        return RequantizeRow(stride, zero, low, high, n == 1, bias, scale, clamped)

    def _tile(self, fmt: int) -> tuple[dict[str, int], str, bool]:
        """A tile in the image: LDW's operands, the format in the slot, whether it is sparse."""
        rows, cols = self.between(1, self.array.rows), self.between(1, self.array.cols)
        sparse = self.array.sparsity == "2:4" and self.rng.random() < 0.6
        size = tile_bytes(rows, cols, fmt, sparse)
        data = self.rng.integers(0, 256, size, np.uint8)
        if STORED[fmt] in ("bf16", "fp16"):
            values = (self.rng.integers(-30, 30, rows * cols) / 8).astype(DTYPE[STORED[fmt]])
            data[: 2 * rows * cols] = values.view(np.uint8)
        elif self.rng.random() < 0.2:
            data[: tile_bytes(rows, cols, fmt)] = 128  # the most negative weights
        at = self.constant(data.tobytes())
        operands = {"dram": at, "rows": rows, "cols": cols, "fmt": fmt, "sparse": int(sparse)}
        return operands, stored_format(fmt), sparse

    def read(self, window: int, width: int = 1) -> Resource:
        """What a window may read."""
        d = self.windows[window]
        last = (d.height - 1) * d.row_stride + (d.width - 1) * d.pixel_stride
        return "ub", d.base, d.base + 3 * d.image_stride + last + d.channels * width

    def rows_of(self, window: int) -> int:
        """Output rows of up to three images."""
        return 3 * self.windows[window].out_h * self.windows[window].out_w

    def start(self) -> list[Drawn]:
        """Tables, tiles and activations."""
        made = [
            Drawn("CFG", {"dram": at, "index": n, "bytes": 128}, [], [("desc", n, n + 1)])
            for n, at in enumerate(self.window_at)
        ]
        made += [
            Drawn(
                "CFG",
                {"dram": at, "kind": 1, "index": n, "bytes": size},
                [],
                [("row", n, n + 1)],
            )
            for n, (at, size) in enumerate(self.table_at)
        ]
        made += [self.draw_ldw(slot, slot) for slot in range(SLOTS)]
        whole = {"dram": self.whole_at, "ub": WHOLE, "bytes": BUFFER - WHOLE}
        made.append(Drawn("LDA", whole, [], [("ub", WHOLE, BUFFER)]))
        floats = {"dram": self.float_at, "ub": FLOATS, "bytes": 192}
        made.append(Drawn("LDA", floats, [], [("ub", FLOATS, WHOLE)]))
        return made

    def draw(self) -> Drawn | None:
        """Any instruction that is legal now."""
        ops = "LDW LDA ST LW LW LUW MM MM MM MM RQ RQ VE VE VX GTH CFG NOP SYNC".split()
        op = str(self.rng.choice(ops))
        if op in ("NOP", "SYNC"):
            return Drawn(op, {})
        made: Drawn | None = getattr(self, f"draw_{op.lower()}")()
        if made is not None and op in ("VE", "GTH") and _meet(made.reads, made.writes):
            return None  # in place: what it has written, it would read
        return made

    def draw_ldw(self, slot: int | None = None, tile: int | None = None) -> Drawn:
        slot = self.between(0, SLOTS - 1) if slot is None else slot
        tile = self.between(0, SLOTS - 1) if tile is None else tile
        operands, held, sparse = self.tiles[tile]
        self.slots[slot] = held, sparse
        return Drawn("LDW", {**operands, "slot": slot}, [], [("slot", slot, slot + 1)])

    def draw_lda(self) -> Drawn:
        count, start = self.between(1, 40), len(self.image)
        at = start + self.between(0, REGION - count)
        ub = self.between(WHOLE, BUFFER - count)
        operands = {"dram": at, "ub": ub, "bytes": count, "host": self.between(0, 1)}
        return Drawn("LDA", operands, [("dram", at, at + count)], [("ub", ub, ub + count)])

    def draw_st(self) -> Drawn:
        made = self.draw_lda()
        return Drawn("ST", made.operands, made.writes, made.reads)

    def draw_cfg(self) -> Drawn:
        n = self.between(0, 7)
        operands = {"dram": self.window_at[n], "index": n, "bytes": 128}
        return Drawn("CFG", operands, [], [("desc", n, n + 1)])

    def draw_lw(self) -> Drawn | None:
        spread = self.between(0, 1)
        units = self.array.units if spread else 1
        slot = self.between(0, SLOTS - units)
        run = list(range(slot, slot + units))
        if len({self.slots[s][0] for s in run}) > 1:
            return None
        self.shadow = [self.slots[s] for s in run], spread, run
        reads = [] if self.stationary else [("slot", slot, slot + units)]
        return Drawn("LW", {"slot": slot, "spread": spread}, reads, [("shadow", 0, 1)])

    def draw_luw(self) -> Drawn | None:
        window, slot, turned = 7, self.between(0, SLOTS - 1), self.between(0, 1)
        d = self.windows[window]
        rows, cols = self.between(1, self.array.rows), self.between(1, self.array.cols)
        count, lanes = (cols, rows) if turned else (rows, cols)
        taps = d.taps * d.channels
        if lanes > taps or count > self.rows_of(window):
            return None
        self.slots[slot] = "int8", False
        operands = {
            "desc": window,
            "slot": slot,
            "row": self.between(0, self.rows_of(window) - count),
            "k": self.between(0, taps - lanes),
            "rows": rows,
            "cols": cols,
            "transpose": turned,
        }
        reads = [self.read(window), ("desc", window, window + 1)]
        return Drawn("LUW", operands, reads, [("slot", slot, slot + 1)])

    def draw_mm(self) -> Drawn | None:
        swap = int(self.shadow is not None and self.rng.random() < 0.6)
        if swap and self.shadow is not None:
            self.weights = self.shadow
        if self.weights is None:
            return None
        held, spread, run = self.weights
        if self.stationary:  # slots are read now, and may have been filled again
            held = [self.slots[s] for s in run]
        kinds = {one[0] for one in held}
        if len(kinds) > 1:
            self.weights = None
            return None
        fmt = {"int8": self.between(0, 1), "int16": 2, "bf16": 3, "fp16": 4}[held[0][0]]
        if fmt >= 3 and fmt != self.float_fmt:
            return None
        window = (self.between(0, 2), 3, 3, 4, 4)[fmt]
        d, width = self.windows[window], 1 if fmt == 0 else 2
        rows = self.array.rows * (1 if spread else self.array.units)
        count = self.between(1, min(ACCUMULATORS, rows if self.stationary else 99))
        count = min(count, self.rows_of(window))
        sparse = all(one[1] for one in held)
        most = min(d.taps * d.channels, self.array.rows * (2 if sparse else 1))
        lanes, acc = self.between(1, most), self.between(0, ACCUMULATORS - count)
        kind, add, drain = SUMS[fmt], self.between(0, 1), 0
        if self.stationary:
            add, drain = int(add and self.sums == kind), self.between(0, 1)
            self.sums = kind
        elif any(one != kind for one in self.held[acc : acc + count]):
            add = 0
        writes: list[Resource] = []
        if drain or not self.stationary:
            self.held[acc : acc + count] = [kind] * count
            writes = [("acc", acc, acc + count)]
        operands = {
            "desc": window,
            "acc": acc,
            "len": count,
            "row": self.between(0, self.rows_of(window) - count),
            "k": self.between(0, d.taps * d.channels - lanes),
            "lanes": lanes,
            "swap": swap,
            "accumulate": add,
            "fmt": fmt,
            "spread": spread,
            "drain": drain,
        }
        reads = [self.read(window, width), ("desc", window, window + 1)]
        reads += [("shadow", 0, 1)] if swap else []
        reads += [("slot", s, s + 1) for s in run] if self.stationary else []
        return Drawn("MM", operands, reads, writes)

    def draw_rq(self) -> Drawn | None:
        count = self.between(1, 6)
        acc = self.between(0, ACCUMULATORS - count)
        kinds = set(self.held[acc : acc + count])
        if len(kinds) > 1:
            return None
        raw, turned, spread = (self.between(0, 1) for _ in range(3))
        if not self.safe:
            raw = 0  # as wide as the sums that are there, which a missing wait may change
        fmt = int(self.rng.choice([0, 0, 1, 3, 4, 5]))
        table = 3 if kinds == {"f32"} else self.between(0, 2)
        cols = self.between(1, self.array.cols * (self.array.units if spread else 1))
        width = 8 if raw and kinds == {"i64"} else 4 if raw else RESULT_BYTES[fmt]
        stride = self.tables[table].stride
        along, across = (cols, count) if turned else (count, cols)
        size = (along - 1) * stride + across * width
        if size > BUFFER - WHOLE or stride < across * width:
            return None
        ub = self.between(WHOLE, BUFFER - size)
        operands = {
            "acc": acc,
            "len": count,
            "cols": cols,
            "table": table,
            "ub": ub,
            "raw": raw,
            "transposed": turned,
            "spread": spread,
            "fmt": fmt,
        }
        reads = [("acc", acc, acc + count), ("row", table, table + 1)]
        return Drawn("RQ", operands, reads, [("ub", ub, ub + size)])

    def draw_ve(self) -> Drawn | None:
        func = self.between(0, 7)
        a = self.between(5, 6) if func in (3, 4, 6, 7) else self.between(0, 2)
        b = self.between(0, 1) if func == 5 else self.between(5, 6)
        d, count = self.windows[a], self.between(1, 4)
        if func == 1 and not (d.flags & COUNT_PAD or _sees(d)):
            return None  # the mean of nothing
        size = (count - 1) * (d.out_stride or d.channels) + d.channels
        most = self.rows_of(a) if func != 3 else min(self.rows_of(a), self.rows_of(b))
        if count > most:
            return None
        ub = self.between(WHOLE, BUFFER - size)
        row = self.between(0, most - count)
        operands = {"func": func, "a": a, "b": b, "ub": ub, "len": count, "row": row}
        reads = [self.read(a), ("desc", a, a + 1)]
        if func == 3:
            reads += [self.read(b), ("desc", b, b + 1)]
        if func == 5:
            reads.append(("row", b, b + 1))
        reads.append(("ub", d.weights, d.weights + 256))
        return Drawn("VE", operands, reads, [("ub", ub, ub + size)])

    def draw_vx(self) -> Drawn:
        size, one, two = 4, *(self.between(WHOLE, BUFFER - 4) for _ in range(2))
        steps = (Step("nn.neg", "n", (0,), (1,), size), Step("nn.abs", "a", (1,), (2,), size))
        places = Place(0, one, "i8", (size,)), Place(2, two, "i8", (size,))
        self.routines.append(Routine("r", places[:1], places[1:], steps))
        number = len(self.routines) - 1
        reads = [("ub", one, one + size)]
        return Drawn("VX", {"routine": number}, reads, [("ub", two, two + size)])

    def draw_gth(self) -> Drawn:
        size, rows, count = self.between(1, 6), self.between(1, 5), self.between(1, 3)
        start = len(self.image)
        at = start + self.between(0, REGION - rows * size)
        dtype = str(self.rng.choice(["i32", "i64"]))
        index_bytes = count * (4 if dtype == "i32" else 8)
        indices = self.between(WHOLE, BUFFER - index_bytes)
        ub = self.between(WHOLE, BUFFER - count * size)
        self.gathers.append(Gather(at, size, rows, indices, dtype, count, ub))
        reads = [("dram", at, at + rows * size), ("ub", indices, indices + index_bytes)]
        number = len(self.gathers) - 1
        return Drawn("GTH", {"routine": number}, reads, [("ub", ub, ub + count * size)])


def _sees(d: Descriptor) -> bool:
    """Whether every window has a pixel inside the image."""

    def inside(out: int, stride: int, kernel: int, dilation: int, pad: int, size: int) -> bool:
        starts = [o * stride - pad for o in range(out)]
        taps = [k * dilation for k in range(kernel)]
        return all(any(0 <= start + tap < size for tap in taps) for start in starts)

    return inside(
        d.out_h, d.stride_y, d.kernel_h, d.dilation_y, d.pad_top, d.height
    ) and inside(d.out_w, d.stride_x, d.kernel_w, d.dilation_x, d.pad_left, d.width)


def random_program(
    rng: np.random.Generator, safe: bool, most: int = 20
) -> tuple[Program, SystolicSpec]:
    """A legal program and its machine; `safe` has waits for every hazard."""
    spec = random_spec(rng)
    maker = Maker(rng, spec, safe)
    drawn = maker.start()
    drawn += [one for one in (maker.draw() for _ in range(most)) if one is not None]
    middle = _waiting(drawn, rng, safe, len(maker.start()))
    program = Program(
        name="random",
        rows=spec.array.rows,
        cols=spec.array.cols,
        weight_slots=SLOTS,
        accumulator_rows=ACCUMULATORS,
        unified_buffer_bytes=BUFFER,
        dram_bytes=len(maker.image) + REGION,
        instructions=(Instruction("MARK"), *middle, Instruction("HALT")),
        constants=bytes(maker.image),
        layers=(Layer("all", "test", 0),),
        packed={},
        inputs=(),
        outputs=(),
        to_device=(),
        from_device=(),
        units=spec.array.units,
        dataflow=spec.array.dataflow,
        routines=tuple(maker.routines),
        gathers=tuple(maker.gathers),
    )
    return program, spec


def _waiting(
    drawn: list[Drawn], rng: np.random.Generator, safe: bool, start: int
) -> list[Instruction]:
    made: list[Instruction] = []
    sent: dict[str, list[Drawn]] = {engine: [] for engine in ENGINES}
    for n, one in enumerate(drawn):
        engine = OPERATIONS[one.op].engine
        waits: dict[str, int] = {}
        if safe or n < start:
            waits = {
                e: w for e in ENGINES if (w := _wait(one, sent[e], e == engine)) is not None
            }
        if n >= start and (not safe or one.op == "SYNC"):
            for other in rng.choice(ENGINES, int(rng.integers(0, 3))).tolist():
                waits[other] = int(rng.integers(0, 7))
        if n == start and not safe:  # tables and tiles are there
            waits["DMA"] = 0
        made.append(Instruction(one.op, one.operands, waits))
        if engine is not None:
            sent[engine].append(one)
    return made


def _wait(one: Drawn, queue: list[Drawn], own: bool) -> int | None:
    """How many of an engine's instructions may still run; None: all of them."""
    for back, other in enumerate(reversed(queue)):
        hazards = _meet(one.reads, other.writes)
        # an engine works in order, but for what it reads early and writes late
        if not own or other.op in ("VE", "VX", "LDA", "ST", "GTH", "LDW", "CFG"):
            shadow = [r for r in one.writes if r[0] != "shadow"]
            hazards = hazards or _meet(shadow, other.writes) or _meet(shadow, other.reads)
        elif own:
            hazards = False
        if hazards:
            return min(back, 6)
    return None


def _meet(ones: list[Resource], others: list[Resource]) -> bool:
    return any(a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for a in ones for b in others)
