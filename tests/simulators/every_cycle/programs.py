"""Random programs for the judge: any machine, any engine, waits for every hazard or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tests.simulators.every_cycle.constants import (
    ACCUMULATORS,
    BUFFER,
    FLOATS,
    REGION,
    SLOTS,
    WHOLE,
    Constants,
    random_spec,
)
from tetrapla.simulators.systolic.formats import RESULT_BYTES, SUMS, stored_format
from tetrapla.simulators.systolic.isa import ENGINES, OPERATIONS, Instruction
from tetrapla.simulators.systolic.program import Gather, Layer, Program
from tetrapla.simulators.systolic.routines import Routine, Step
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.tables import COUNT_PAD, Descriptor
from tetrapla.simulators.systolic.views import Place

Resource = tuple[str, int, int]
"""What an instruction reads or writes: a memory, its first and its end."""


@dataclass
class Drawn:
    """One instruction with what it touches."""

    op: str
    operands: Mapping[str, int]
    reads: list[Resource] = field(default_factory=list[Resource])
    writes: list[Resource] = field(default_factory=list[Resource])


class Maker(Constants):
    """Draws the instructions of one program, and follows what is legal next."""

    def __init__(self, rng: np.random.Generator, spec: SystolicSpec, safe: bool) -> None:
        super().__init__(rng, spec)
        self.safe = safe
        self.stationary = spec.array.dataflow == "output_stationary"
        self.slots: dict[int, tuple[str, bool]] = {}
        self.shadow: tuple[list[tuple[str, bool]], int, list[int]] | None = None
        self.weights: tuple[list[tuple[str, bool]], int, list[int]] | None = None
        self.held: list[str] = ["i32"] * ACCUMULATORS
        self.sums = ""
        self.gathers: list[Gather] = []
        self.routines: list[Routine] = []

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
        slot, turned = self.between(0, SLOTS - 1), self.between(0, 1)
        fmt = int(self.rng.choice([0, 0, 1, self.float_fmt]))
        window = {0: 7, 1: 3}.get(fmt, 4)
        d = self.windows[window]
        rows, cols = self.between(1, self.array.rows), self.between(1, self.array.cols)
        count, lanes = (cols, rows) if turned else (rows, cols)
        taps = d.taps * d.channels
        if lanes > taps or count > self.rows_of(window):
            return None
        self.slots[slot] = stored_format(fmt), False
        operands = {
            "desc": window,
            "slot": slot,
            "row": self.between(0, self.rows_of(window) - count),
            "k": self.between(0, taps - lanes),
            "rows": rows,
            "cols": cols,
            "transpose": turned,
            "fmt": fmt,
        }
        reads = [self.read(window, 2 if fmt else 1), ("desc", window, window + 1)]
        return Drawn("LUW", operands, reads, [("slot", slot, slot + 1)])

    def draw_mm(self) -> Drawn | None:
        swap = int(self.shadow is not None and self.rng.random() < 0.6)
        weights = self.shadow if swap else self.weights
        if weights is None:
            return None
        held, spread, run = weights
        if self.stationary:  # slots are read now, and may have been filled again
            held = [self.slots[s] for s in run]
        if len({one[0] for one in held}) > 1:
            return None
        fmt = {"int8": self.between(0, 1), "int16": 2, "bf16": 3, "fp16": 4}[held[0][0]]
        if fmt >= 3 and (fmt != self.float_fmt or not self.safe):
            return None  # a missing wait could make a bias of integers one of floats: no number
        self.weights = weights
        window = (self.between(0, 2), 3, 3, 4, 4)[fmt]
        rows = self.array.rows * (1 if spread else self.array.units)
        count = self.between(1, min(ACCUMULATORS, rows if self.stationary else 99))
        count = min(count, self.rows_of(window))
        made = self._sums(fmt, count, self.between(0, ACCUMULATORS - count))
        d, sparse = self.windows[window], all(one[1] for one in held)
        taps = d.taps * d.channels
        lanes = self.between(1, min(taps, self.array.rows * (2 if sparse else 1)))
        operands = {
            **made.operands,
            "desc": window,
            "row": self.between(0, self.rows_of(window) - count),
            "k": self.between(0, taps - lanes),
            "lanes": lanes,
            "swap": swap,
            "spread": spread,
        }
        reads = [self.read(window, 1 if fmt == 0 else 2), ("desc", window, window + 1)]
        reads += [("shadow", 0, 1)] if swap else []
        reads += [("slot", s, s + 1) for s in run] if self.stationary else []
        return Drawn("MM", operands, reads, made.writes)

    def _sums(self, fmt: int, count: int, acc: int) -> Drawn:
        """Where the sums of an MM go, and what they are added to."""
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
        operands = {"acc": acc, "len": count, "fmt": fmt, "accumulate": add, "drain": drain}
        return Drawn("MM", operands, [], writes)

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
