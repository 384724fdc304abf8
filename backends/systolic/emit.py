"""From steps to instructions: the order in which everything is sent.

The tables of the next step are filled before this step's last RQ. Transfers beside a product
are spread between its tiles, so that the weights of the next tile never queue behind a whole
strip of activations.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from tetrapla.backends.systolic.array.entries import Entries
from tetrapla.backends.systolic.array.image import Table, Use
from tetrapla.backends.systolic.array.multiply import Multiplier
from tetrapla.backends.systolic.array.products import Product
from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.hazards import Dispatcher, Resource, Stretch, region, stretch
from tetrapla.backends.systolic.layout import Buffer, Placed
from tetrapla.backends.systolic.memory.pieces import Piece
from tetrapla.backends.systolic.memory.plan import Step, Transfer
from tetrapla.backends.systolic.memory.turns import Turn, turns
from tetrapla.backends.systolic.vector.operators import Pass
from tetrapla.backends.systolic.vector.routines import GatherStage, RoutineStage
from tetrapla.simulators.systolic.isa import most
from tetrapla.simulators.systolic.program import Gather
from tetrapla.simulators.systolic.routines import Routine

Tables: TypeAlias = tuple[tuple[Table, ...], tuple[Table, ...]]
"""Access descriptors and requantise rows."""

_LEAST_BYTES = 1024  # a transfer is not cut finer than that
_STORES_AFTER = 3  # tiles: by then the last results of the step before are written


@dataclass(frozen=True)
class Home:
    """Where a buffer lies in DRAM; over the link to the host, or the accelerator's own."""

    address: int
    host: bool


@dataclass(frozen=True)
class Homes:
    """By buffer, where it is loaded from, and where it is stored to."""

    sources: dict[Buffer, Home] = field(default_factory=dict[Buffer, Home])
    targets: dict[Buffer, list[Home]] = field(default_factory=dict[Buffer, list[Home]])


@dataclass(frozen=True)
class Work:
    """A step with its place in the image.

    Attributes:
        first, count: the uses of a product; none of others.
        tables: those that its first instruction needs.
    """

    step: Step
    first: int
    count: int
    tables: Tables


class Emitter:
    """Writes the instructions of a whole program."""

    def __init__(
        self,
        machine: Machine,
        works: Sequence[Work],
        uses: list[Use],
        homes: Homes,
    ) -> None:
        self.dispatcher = Dispatcher()
        self.entries = Entries(self.dispatcher)
        found = (work.step.work for work in works)
        stages = [work for work in found if isinstance(work, Product)]
        self.array = Multiplier(machine, stages, uses, self.dispatcher, self.entries)
        self._works = works
        self._uses = uses
        self._homes = homes
        self._byte_cycles = machine.byte_cycles
        self._send = self.dispatcher.send
        self.routines: list[Routine] = []
        self.gathers: list[Gather] = []

    def emit(self) -> None:
        """All steps."""
        found = turns([work.step for work in self._works])
        layer = -1
        for number, (work, turn) in enumerate(zip(self._works, found, strict=True)):
            if work.step.layer != layer:
                self.array.finish()
                layer = work.step.layer
                self._send("MARK", {"id": layer}, after=("RQ", "VE"))
            self._step(number, work, turn)
        self._send("HALT", {})

    def _step(self, number: int, work: Work, turn: Turn) -> None:
        if turn.first_stores:
            self.array.finish()  # what they store
        self._transfer(turn.first_stores, self._store)
        self._transfer(turn.first_loads, self._load)
        stage = work.step.work
        if isinstance(stage, Product):
            self._product(work, turn)
        else:
            # the vector unit takes one instruction after another: nobody waits longer for it
            self._beside(turn)
            if stage is None:
                self.array.prefetch()
                return
            if isinstance(stage, RoutineStage):
                self._routine(stage)
            elif isinstance(stage, GatherStage):
                self._gather(stage, work.tables[0][0])
            else:
                self._vector(stage, work.tables)
        self._prepare(number)

    def _beside(self, turn: Turn) -> None:
        self._transfer(turn.loads, self._load)
        self._transfer(turn.stores, self._store)
        self._transfer(turn.late, self._load)

    def _product(self, work: Work, turn: Turn) -> None:
        """The tiles of a product, and between them the transfers."""
        if self._bound_by_transfers(work, turn):
            self._transfer(turn.loads, self._load)
            turn.loads.clear()
        moved = sum(t.piece.bytes for t in (*turn.loads, *turn.stores, *turn.late))
        share = max(_LEAST_BYTES, -(-moved // work.count))
        early = [(self._load, t) for t in _portions(turn.loads, share)]
        late = [(self._store, t) for t in _portions(turn.stores, share)]
        late += [(self._load, t) for t in _portions(turn.late, share)]
        queue = deque(early)
        for place in range(work.count):
            self.array.multiply(work.first + place, 1)
            if place + 1 == min(_STORES_AFTER, work.count) and late:
                self.array.finish_before(self._uses[work.first].product)  # what they store
                queue.extend(late)
            if queue:
                send, transfer = queue.popleft()
                send(transfer)
        for send, transfer in queue:
            send(transfer)

    def _bound_by_transfers(self, work: Work, turn: Turn) -> bool:
        """Whether the transfers beside a product take longer than its tiles."""
        uses = self._uses[work.first : work.first + work.count]
        moved = sum(t.piece.bytes for t in (*turn.loads, *turn.stores, *turn.late))
        moved += sum(use.tile.taps * use.tile.columns for use in uses)
        return moved * self._byte_cycles > sum(use.tile.rows for use in uses)

    def _vector(self, one: Pass, tables: Tables) -> None:
        """A pass of the vector unit."""
        entries = [self.entries.descriptor(table) for table in tables[0]]
        rows = [self.entries.row(table) for table in tables[1]]
        operands = {
            "func": one.func,
            "a": entries[0],
            "b": [*entries, *rows][-1],
            "ub": one.target.buffer.address + one.offset,
            "len": one.rows,
        }
        reads: list[Resource] = [self.entries.descriptor_part(e) for e in entries]
        reads += [self.entries.row_part(e) for e in rows]
        reads += [_whole(source) for source in one.sources]
        self._send("VE", operands, reads, [_whole(one.target)])

    def _routine(self, one: RoutineStage) -> None:
        """A routine of the vector unit."""
        self.routines.append(one.routine())
        operands = {"routine": len(self.routines) - 1}
        self._send("VX", operands, *_touched(one))

    def _gather(self, one: GatherStage, rows: Table) -> None:
        """Rows of a table in DRAM."""
        count = one.indices.buffer.size_bytes // one.indices.element_bytes
        self.gathers.append(
            Gather(
                rows.address,
                rows.bytes // len(one.table),
                len(one.table),
                one.indices.buffer.address,
                one.indices.dtype,
                count,
                one.target.buffer.address,
            )
        )
        self._send("GTH", {"routine": len(self.gathers) - 1}, *_touched(one))

    def _prepare(self, number: int) -> None:
        """The tables that the step after this one needs first."""
        following = self._works[number + 1 : number + 2]
        if following and not isinstance(following[0].step.work, GatherStage):
            descriptors, rows = self._works[number + 1].tables
            for table in descriptors:
                self.entries.descriptor(table)
            for table in rows:
                self.entries.row(table)

    def _transfer(self, found: Sequence[Transfer], send: Callable[[Transfer], None]) -> None:
        for transfer in _portions(found, most("LDA", "bytes")):
            send(transfer)

    def _load(self, transfer: Transfer) -> None:
        """LDA."""
        piece = transfer.piece
        home = self._homes.sources[piece.buffer]
        operands = self._operands(transfer, home)
        reads = [region(operands["dram"], piece.bytes)]
        self._send("LDA", operands, reads, [stretch(transfer.address, piece.bytes)])

    def _store(self, transfer: Transfer) -> None:
        """ST, to everywhere it is wanted."""
        piece = transfer.piece
        for home in self._homes.targets[piece.buffer]:
            operands = self._operands(transfer, home)
            reads = [stretch(transfer.address, piece.bytes)]
            self._send("ST", operands, reads, [region(operands["dram"], piece.bytes)])

    def _operands(self, transfer: Transfer, home: Home) -> dict[str, int]:
        return {
            "dram": home.address + transfer.piece.start,
            "ub": transfer.address,
            "bytes": transfer.piece.bytes,
            "host": int(home.host),
        }


def _portions(found: Sequence[Transfer], most_bytes: int) -> Iterator[Transfer]:
    """The transfers in portions of at most `most_bytes`."""
    for transfer in found:
        piece = transfer.piece
        for start in range(piece.start, piece.end, most_bytes):
            end = min(start + most_bytes, piece.end)
            address = transfer.address + start - piece.start
            yield Transfer(Piece(piece.buffer, start, end), address)


def _touched(one: RoutineStage | GatherStage) -> tuple[list[Stretch], list[Stretch]]:
    """What it reads and what it writes."""
    read = list(dict.fromkeys(_whole(source) for source in one.sources))
    return read, list(dict.fromkeys(_whole(target) for target in one.targets))


def _whole(value: Placed) -> Stretch:
    return stretch(value.buffer.address, value.buffer.size_bytes)
