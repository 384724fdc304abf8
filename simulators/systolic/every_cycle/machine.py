"""The judge: the whole machine cycle by cycle, to hold the fast simulation against.

It shares with `values` and `timing` only the decoding of words, tables and routines.
Instructions take effect when the hardware would do them: a row of MM leaves the unified buffer
one cycle after the one before and crosses the array PE by PE; a transfer spoils its destination
at once and fills it at its end. So values are right only where the waits are, and cycles only
where the recurrence is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.every_cycle import stretches
from tetrapla.simulators.systolic.every_cycle.memory import Memory
from tetrapla.simulators.systolic.every_cycle.product import CATCH_UP, Product, Watch
from tetrapla.simulators.systolic.every_cycle.vector import requantize, routine, vector
from tetrapla.simulators.systolic.isa import ENGINES, WORD_BYTES, Instruction, decode
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import DramSection, HostSection, SystolicSpec

Write = Callable[[], None]
MOST_CYCLES = 10**7


@dataclass(frozen=True)
class Trace:
    """What happened: by instruction its cycles, and the memories at the end.

    Attributes:
        dispatch, free, retire: as in `timing.Event`; -1 where the dispatcher does it itself.
        dram: int8, all of it.
        buffer: the unified buffer, int8.
    """

    dispatch: list[int]
    free: list[int]
    retire: list[int]
    cycles: int
    dram: Array
    buffer: Array


def every_cycle(
    program: Program,
    spec: SystolicSpec,
    region: bytes = b"",
    fast: bool = False,
    most_cycles: int = MOST_CYCLES,
    watch: Watch | None = None,
) -> Trace:
    """Run one invocation of a legal program.

    Args:
        program: compiled for this array.
        spec: the design point.
        region: DRAM after the constants; what is missing is spoilt.
        fast: step the PEs with the compiled twin (extra `fast`), and let operands enter the
            arrays and bytes cross the links for several cycles at once where nothing else
            happens in them.
        most_cycles: where to give up.
        watch: is told of every row of sums that is written, not always in their order.

    Raises:
        ModelError: the program takes more cycles.
    """
    machine = _Machine(program, spec, Memory(program, region), fast)
    machine.product.watch = watch
    machine.run(most_cycles)
    memory = machine.memory
    return Trace(
        machine.dispatch,
        machine.free,
        machine.retire,
        machine.dispatch[-1] + 1,
        memory.dram,
        memory.buffer,
    )


@dataclass
class _Flying:
    """An instruction that has issued: cycles to go, and what it writes then."""

    number: int
    left: int
    writes: list[Write]


@dataclass
class _Engine:
    """In order: `active` issues, `flying` has issued and not retired."""

    active: Instruction | None = None
    number: int = -1
    progress: int = 0
    cycles: int = 0  # that an LW or an MM issues
    bytes: int = 0  # of a transfer, or of a gather's row
    credit: int = 0
    flying: deque[_Flying] = field(default_factory=deque[_Flying])
    sent: int = 0
    retired: int = 0


class _Machine:
    def __init__(
        self, program: Program, spec: SystolicSpec, memory: Memory, fast: bool
    ) -> None:
        self.program, self.spec, self.memory = program, spec, memory
        self.product, self._fast = Product(program, spec, memory, fast), fast
        self.engines = {name: _Engine() for name in ENGINES}
        self.dispatch: list[int] = []
        count = len(program.instructions)
        self.free, self.retire = [-1] * count, [-1] * count
        self._links = [_link(spec, link) for link in (spec.dram, spec.host)]
        self.window: dict[tuple[int, int], Any] = {}
        self.taken: list[tuple[Array, Array]] = []
        self._owed: dict[str, tuple[Instruction, int, int]] = {}  # and since which cycles
        self._later: dict[int, list[tuple[int, Array]]] = {}

    def run(self, most_cycles: int) -> None:
        instructions = [*map(decode, _words(self.program.binary()))]
        at = t = 0
        while t < most_cycles:
            if t % CATCH_UP == 0:
                self._pay("LW", "MM")
                self.product.catch_up(t)
            instruction = instructions[at]
            if self._fast and (quiet := min(self._quiet(instruction, t), most_cycles - t)) > 0:
                self._pass(quiet, t)
                t += quiet
                continue
            for name, engine in self.engines.items():
                if engine.active is not None:
                    self._issue(name, engine, engine.active, t)
            if self._ready(instruction, t):
                self.dispatch.append(t)
                if instruction.op == "HALT":
                    return
                if instruction.engine is not None:
                    engine = self.engines[instruction.engine]
                    engine.active, engine.number, engine.progress = instruction, at, 0
                    engine.sent += 1
                    if instruction.op in ("LW", "MM"):
                        engine.cycles = self.product.cycles(instruction)
                at += 1
            for place, data in self._later.pop(t, []):
                self._pay("MM")
                self.memory.buffer[place : place + len(data)] = data
            for engine in self.engines.values():
                self._retire(engine, t)
            t += 1
        raise ModelError(
            f"program '{self.program.name}' must halt within {most_cycles} cycles, not run on; "
            "allow more"
        )

    def _quiet(self, waiting: Instruction, t: int) -> int:
        """Cycles from t in which no instruction starts or ends, and none needs another's."""
        drains = waiting["drain"] and self.engines["MM"].active is None
        if drains or self._ready(waiting, t):
            return 0
        left, active = [CATCH_UP - t % CATCH_UP], list[Instruction]()
        for engine in self.engines.values():
            if (i := engine.active) is not None:
                if i.op == "RQ":  # sums that have arrived say what they are
                    self._settle(i, t)
                left.append(self._issuing(engine, i) - 1)
                active.append(i)
            if engine.flying:
                left.append(engine.flying[0].left)
        quiet = min(left)
        if quiet < 1:
            return 0
        results = [i for i in active if i.op in ("RQ", "VE")]
        if self._later or results:
            later = [(at, at + len(data)) for due in self._later.values() for at, data in due]
            if not stretches.independent(self, active, later):
                return 0
        for i in results:
            if i.op == "RQ" and self._awaited(i, active):
                return 0
            quiet -= quiet % stretches.row_cycles(self, i)
        return quiet

    def _awaited(self, i: Instruction, active: list[Instruction]) -> bool:
        """Whether sums may arrive while RQ takes those that are there."""
        first, end = i["acc"], i["acc"] + i["len"]
        sent = [j for j in active if j.op == "MM"]
        meeting = any(j["acc"] < end and first < j["acc"] + j["len"] for j in sent)
        return meeting or self.product.awaited(first, end)

    def _issuing(self, engine: _Engine, i: Instruction) -> int:
        """Cycles for which an instruction still issues; 1 where that needs a look."""
        match i.op:
            case "LW" | "MM":
                return engine.cycles - engine.progress
            case "RQ" | "VE" if stretches.whole_rows(self, i):
                if engine.progress % stretches.row_cycles(self, i):
                    return 1
                return stretches.cycles(self, i) - engine.progress
            case "LDW" | "LDA" | "ST" | "CFG" if engine.progress:
                gain, parts, _ = self._links[i["host"]]
                return -((engine.credit - engine.bytes * parts) // gain)
            case _:
                return 1

    def _pass(self, quiet: int, t: int) -> None:
        """As many cycles at once: operands enter the arrays, bytes cross the links."""
        for due in sorted(due for due in self._later if due < t + quiet):
            for at, data in self._later.pop(due):
                self.memory.buffer[at : at + len(data)] = data
        for engine in self.engines.values():
            if (i := engine.active) is not None:
                p = engine.progress
                match i.op:
                    case "LW" | "MM":
                        self._owe(i, p, t)
                    case "RQ":
                        stretches.requantize(self, i, p, t, quiet)
                    case "VE":
                        stretches.vector(self, i, p, t, quiet)
                    case _:
                        engine.credit += quiet * self._links[i["host"]][0]
                engine.progress += quiet
            for entry in engine.flying:
                entry.left -= quiet

    def _ready(self, i: Instruction, t: int) -> bool:
        if i.engine is not None and self.engines[i.engine].active is not None:
            return False
        if i["drain"] and not self.product.may_drain(i, t):
            return False
        waits = dict.fromkeys(ENGINES, 0) if i.op == "HALT" else i.waits
        return all(
            self.engines[name].sent - self.engines[name].retired <= allowed
            for name, allowed in waits.items()
        )

    def _retire(self, engine: _Engine, t: int) -> None:
        for entry in engine.flying:
            entry.left -= 1
        while engine.flying and engine.flying[0].left < 0:
            entry = engine.flying.popleft()
            for write in entry.writes:
                write()
            self.retire[entry.number] = t
            engine.retired += 1

    def _issue(self, name: str, engine: _Engine, i: Instruction, t: int) -> None:
        """One cycle of an engine; after its last, the engine is free."""
        p, writes, latency = engine.progress, list[Write](), 0
        match i.op:
            case "LUW":
                self._touch(i)
                done = self.product.fill(i, p)
            case "LW" | "MM":
                done, latency = self._enter(i, p, t)
            case "RQ":
                self._settle(i, t)
                if self._fast and stretches.whole_rows(self, i):
                    stretches.requantize(self, i, p, t, 1)
                    done, latency = p + 1 == stretches.cycles(self, i), 2
                else:
                    done, latency = requantize(self, i, p, t), 2
            case "VE":
                whole = self._fast and stretches.whole_rows(self, i)
                one = stretches.vector_cycle if whole else vector
                done, latency = one(self, i, p, t), 2
            case "VX":
                done, latency = routine(self, i, p, t), 2
            case _:
                done, latency, writes = self._transfer(engine, i)
        engine.progress += 1
        if done:
            engine.active = None
            self.free[engine.number] = t
            engine.flying.append(_Flying(engine.number, latency, writes))

    def _enter(self, i: Instruction, p: int, t: int) -> tuple[bool, int]:
        """A cycle of LW or MM: what enters is put off until it matters when it was read."""
        self._owe(i, p, t)
        done = p + 1 == self.engines[i.op].cycles
        if done or not self._fast:
            return done, self._pay_one(i.op, p + 1)
        return False, 0

    def _owe(self, i: Instruction, p: int, t: int) -> None:
        if p == 0 and i["swap"]:
            self._pay("LW")
            self.product.swap(t)
        self._owed.setdefault(i.op, (i, p, t))

    def _pay_one(self, name: str, progress: int) -> int:
        """What has been put off enters; an MM's latency."""
        i, p, t = self._owed.pop(name)
        if i.op == "LW":
            self.product.shift(i, p, t, progress - p)
            return 0
        return self.product.multiply(i, p, t, progress - p)

    def _pay(self, *names: str) -> None:
        for name in names:
            if name in self._owed:
                self._pay_one(name, self.engines[name].progress)

    def _touch(self, i: Instruction) -> None:
        """An instruction is about to change what others read."""
        if i.op in ("LDW", "LUW"):
            self._pay("LW")
        if i.op not in ("LDW", "ST") or self.spec.array.dataflow == "output_stationary":
            self._pay("MM")

    def _settle(self, i: Instruction, t: int) -> None:
        """Sums that an RQ takes and that are due."""
        first, end = i["acc"], i["acc"] + i["len"]
        sent = self._owed["MM"][0] if "MM" in self._owed else None
        meets = sent is not None and sent["acc"] < end and first < sent["acc"] + sent["len"]
        if meets or self.product.due(t, first, end):
            self._pay("LW", "MM")
            self.product.settle(t)

    def put(self, at: int, data: Array, due: int, now: int) -> None:
        """Write to the buffer after everything else of a cycle; those before `now` are over."""
        if due < now:
            self.memory.buffer[at : at + len(data)] = data
        else:
            self._later.setdefault(due, []).append((at, data))

    def _transfer(self, engine: _Engine, i: Instruction) -> tuple[bool, int, list[Write]]:
        """One cycle of the link: parts of bytes; a gather's rows are transfers each."""
        memory, (gain, parts, latency) = self.memory, self._links[i["host"]]
        if engine.progress == 0:
            engine.credit, engine.bytes = 0, memory.piece_bytes(i)
            self._touch(i)
            memory.begin(i)
        engine.credit += gain
        done = engine.credit >= engine.bytes * parts
        if done and memory.another(i):
            engine.credit, done = 0, False
        return done, latency, [lambda: self._arrive(i)]

    def _arrive(self, i: Instruction) -> None:
        self._touch(i)
        self.memory.end(i)


def _link(spec: SystolicSpec, link: DramSection | HostSection) -> tuple[int, int, int]:
    """Parts of a byte a cycle, parts in a byte, whole cycles of latency.

    Times finer than a picosecond are noise.
    """
    clock = Fraction(spec.clock_hz)
    latency = Fraction(link.latency_s).limit_denominator(10**12) * clock
    pace = Fraction(link.bandwidth_bytes_per_s) / clock
    return pace.numerator, pace.denominator, ceil(latency)


def _words(binary: bytes) -> list[bytes]:
    return [binary[n : n + WORD_BYTES] for n in range(0, len(binary), WORD_BYTES)]
