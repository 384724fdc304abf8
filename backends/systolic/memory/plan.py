"""Where values are when: in the unified buffer, or in DRAM between their uses.

Everything is kept in the unified buffer where it fits, first fit over what is alive together.
Where it does not, the plan goes stage by stage. Whole values leave for DRAM, the one whose
next use is farthest first (Belady); what is only read again is not stored twice, and constants
never are. A stage whose operands and results do not fit at once runs in strips of output rows:
what it streams has two places for a strip, so that one is filled or emptied beside the work on
the other. Of all ways the one that moves the fewest bytes is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tetrapla.backends.systolic.array.products import Product
from tetrapla.backends.systolic.layout import Buffer
from tetrapla.backends.systolic.memory.pieces import Piece, around, is_loaded, reads, writes
from tetrapla.backends.systolic.memory.room import Room, aligned
from tetrapla.backends.systolic.memory.strips import Uncut
from tetrapla.backends.systolic.memory.ways import (
    Memory,
    Situation,
    Way,
    best_way,
    missing_bytes,
)
from tetrapla.backends.systolic.stages import Stage
from tetrapla.ir.errors import UnsupportedError


@dataclass(frozen=True)
class Transfer:
    """Bytes of a buffer between its home in DRAM and an address in the unified buffer."""

    piece: Piece
    address: int


@dataclass
class Step:
    """Work, what is loaded for it and what is stored after it.

    Attributes:
        layer: number of the stage, from 1; 0 before the first, and one more after the last.
        work: the stage or a strip of it, its buffers where they lie.
    """

    layer: int
    work: Stage | None = None
    loads: list[Transfer] = field(default_factory=list[Transfer])
    stores: list[Transfer] = field(default_factory=list[Transfer])


@dataclass
class Plan:
    """The steps in order, and what they need.

    Attributes:
        used_bytes: of the unified buffer.
        spilled: buffers that need a home in DRAM.
    """

    steps: list[Step] = field(default_factory=list[Step])
    used_bytes: int = 0
    spilled: list[Buffer] = field(default_factory=list[Buffer])


@dataclass(frozen=True)
class Values:
    """What is known of the buffers.

    Attributes:
        stages: in order.
        arriving: written by the host before the first stage.
        constants: in the image.
        leaving: wanted by the host after the last stage.
    """

    stages: Sequence[Stage]
    arriving: tuple[Buffer, ...] = ()
    constants: tuple[Buffer, ...] = ()
    leaving: tuple[Buffer, ...] = ()

    @property
    def end(self) -> int:
        """The step after the last stage."""
        return len(self.stages) + 1

    def uses(self) -> dict[Buffer, list[int]]:
        """By buffer, the numbers of the stages that read or write it, the end if it leaves."""
        found: dict[Buffer, list[int]] = {}
        for number, stage in enumerate(self.stages, 1):
            for buffer in dict.fromkeys((*reads(stage), *writes(stage))):
                found.setdefault(buffer, []).append(number)
        for buffer in self.leaving:
            found.setdefault(buffer, []).append(self.end)
        return found


def plan(values: Values, memory: Memory) -> Plan:
    """The steps of all stages, and the transfers around them.

    Raises:
        UnsupportedError: a strip of one output row of some stage does not fit.
    """
    found = _at_once(values, memory, early=True) or _at_once(values, memory, early=False)
    if found is None:
        _refuse(values.stages, memory)
        found = _Walk(values, memory).plan()
    return found


def _refuse(stages: Sequence[Stage], memory: Memory) -> None:
    """Hold every stage to what one strip of one row needs."""
    there = memory.capacity_bytes
    missing = {
        stage.name: missing_bytes(stage, memory)
        for stage in stages
        if sum(aligned(b.size_bytes) for b in (*reads(stage), *writes(stage))) > there
    }
    worst = max(missing, key=lambda name: missing[name], default="")
    if worst and missing[worst]:
        need = there + missing[worst]
        raise UnsupportedError(
            f"systolic: the unified buffer must hold one row of the result of layer '{worst}' "
            f"with what it reads, {need} bytes, not {there}, {missing[worst]} too few; set "
            f"memories.unified_buffer to at least {need} B"
        )


def _whole(buffer: Buffer, address: int) -> Transfer:
    return Transfer(Piece(buffer, 0, buffer.size_bytes), address)


def _at_once(values: Values, memory: Memory, early: bool) -> Plan | None:
    """Everything in the unified buffer from its birth to its last use, if it fits.

    A constant is loaded beside the work of the stage before or, `early`, of the last product
    before: beside a short stage it would queue behind the weights of the next product.
    """
    uses = values.uses()
    first = {buffer: found[0] for buffer, found in uses.items()}
    beside = _last_products(values.stages) if early else list(range(-1, values.end))
    first |= {b: beside[uses[b][0]] for b in values.constants if b in uses}
    first |= dict.fromkeys(values.arriving, 0)
    address: dict[Buffer, int] = {}
    for buffer in sorted(first, key=lambda b: first[b]):
        alive = (o for o in address if uses.get(o, [0])[-1] >= first[buffer])
        room = Room(memory.capacity_bytes, ((address[o], o.size_bytes) for o in alive))
        found = room.place(buffer.size_bytes)
        if found is None:
            return None
        address[buffer] = found
    where = {b: (_alias(b, address[b], 0, b.size_bytes), 0) for b in address}
    steps = [Step(0, loads=[_whole(b, address[b]) for b in values.arriving])]
    for number, stage in enumerate(values.stages, 1):
        steps.append(Step(number, Uncut(stage).part(0, 1, where)))
    for buffer in (b for b in values.constants if b in uses):
        steps[first[buffer] + 1].loads.append(_whole(buffer, address[buffer]))
    steps.append(Step(values.end, stores=[_whole(b, address[b]) for b in values.leaving]))
    used = max((address[b] + b.size_bytes for b in address), default=0)
    return Plan(steps, used)


def _last_products(stages: Sequence[Stage]) -> list[int]:
    """By stage, the last product before it; without one the stage before."""
    found, last = [-1], 0
    for number, stage in enumerate(stages, 1):
        found.append(last or number - 1)
        last = number if isinstance(stage, Product) else last
    return found


def _alias(buffer: Buffer, address: int, start: int, end: int) -> Buffer:
    """What stands for some bytes of a buffer, whose first byte would lie at `address`."""
    return Buffer(end - start, buffer.first, buffer.last, address + start)


class _Walk:
    """Stage by stage, with what is where before it."""

    def __init__(self, values: Values, memory: Memory) -> None:
        self._values = values
        self._memory = memory
        self._uses = values.uses()
        self._residents: dict[Buffer, int] = {}
        self._unsaved: set[Buffer] = set()
        self._saved = {*values.arriving, *values.constants, *values.leaving}
        self._written: set[Buffer] = set()
        self._plan = Plan([Step(0)])

    def plan(self) -> Plan:
        """The whole."""
        for number, stage in enumerate(self._values.stages, 1):
            self._forget(number)
            self._stage(number, stage)
        end = self._values.end
        here = [b for b in self._values.leaving if b in self._unsaved]
        stores = [_whole(b, self._residents[b]) for b in here]
        self._plan.steps.append(Step(end, stores=stores))
        return self._plan

    def _forget(self, number: int) -> None:
        """Drop what no stage from `number` on uses."""
        for buffer in [b for b in self._residents if self._uses[b][-1] < number]:
            del self._residents[buffer]
            self._unsaved.discard(buffer)

    def _later(self, number: int) -> dict[Buffer, int]:
        """The next stages after `number` that use what is here or is used now."""
        stage = self._values.stages[number - 1]
        wanted = {*self._residents, *reads(stage), *writes(stage)}
        nexts = {b: [n for n in self._uses[b] if number < n < self._values.end] for b in wanted}
        return {b: found[0] for b, found in nexts.items() if found}

    def _stage(self, number: int, stage: Stage) -> None:
        way = best_way(
            Situation(
                stage,
                self._residents,
                self._later(number),
                self._unsaved,
                {*self._values.leaving},
                self._written & {*writes(stage)},
            ),
            self._memory,
        )
        for buffer in way.leave:
            self._leave(buffer)
        self._residents |= way.whole
        first = len(self._plan.steps)
        self._plan.steps += self._strips(number, way)
        self._plan.steps[first].loads[:0] = [_whole(b, way.whole[b]) for b in way.load]
        self._unsaved |= {b for b in writes(stage) if b in self._residents}
        self._written |= {*writes(stage)}
        self._plan.used_bytes = max(self._plan.used_bytes, way.split.end_bytes)

    def _leave(self, buffer: Buffer) -> None:
        address = self._residents.pop(buffer)
        if buffer in self._unsaved:
            self._plan.steps[-1].stores.append(_whole(buffer, address))
            self._unsaved.discard(buffer)
            self._home(buffer)

    def _home(self, buffer: Buffer) -> None:
        if buffer not in self._saved:
            self._saved.add(buffer)
            self._plan.spilled.append(buffer)

    def _strips(self, number: int, way: Way) -> list[Step]:
        """The steps of a stage; what two strips in turn have in common stays where it is."""
        split, steps = way.split, list[Step]()
        places: dict[Buffer, tuple[Piece, int]] = {}  # the latest piece, and how many before
        for (first, end), (read, made) in zip(
            split.strips.ends, split.strips.pieces, strict=True
        ):
            where: dict[Buffer, tuple[Buffer, int]] = {}
            step = Step(number)
            for piece in around((read, made)):
                buffer = piece.buffer
                if buffer not in split.streams:
                    address = self._residents[buffer] + piece.start
                else:
                    before, turn = places.get(buffer, (None, -1))
                    turn += piece != before
                    streams = split.streams[buffer]
                    address = streams[turn % len(streams)]
                    if piece != before and is_loaded(buffer, read, self._written):
                        step.loads.append(Transfer(piece, address))
                    places[buffer] = (piece, turn)
                where[buffer] = (Buffer(piece.bytes, number, number, address), piece.start)
            step.work = split.cut.part(first, end, where)
            step.stores = self._stores(made, way, where)
            if steps and made == split.strips.pieces[len(steps) - 1][1]:
                steps[-1].stores = []  # the same results are not complete before
            steps.append(step)
        return steps

    def _stores(
        self, made: list[Piece], way: Way, where: dict[Buffer, tuple[Buffer, int]]
    ) -> list[Transfer]:
        found = []
        for piece in (p for p in made if p.buffer in way.split.streams):
            self._home(piece.buffer)
            there, start = where[piece.buffer]
            found.append(Transfer(piece, there.address + piece.start - start))
        return found
