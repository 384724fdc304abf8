"""From stages to instructions, in an order that keeps the array busy.

weights        LDW two tiles ahead where the slots allow it, LW right after the MM that
               takes the tile before
accumulators   two halves, so that RQ of one tile runs beside the MMs of the next
tables         the next stage's, before this stage's last RQ
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tetrapla.backends.systolic.hazards import Dispatcher, Resource, part
from tetrapla.backends.systolic.image import Table, Use
from tetrapla.backends.systolic.layout import Placed
from tetrapla.backends.systolic.slots import Slots
from tetrapla.backends.systolic.stages import Pass, Product
from tetrapla.simulators.systolic.isa import DESCRIPTORS, REQUANTIZE_ROWS
from tetrapla.simulators.systolic.program import Port

_AHEAD = 2

Tables: TypeAlias = tuple[tuple[Table, ...], tuple[Table, ...]]
"""Access descriptors and requantise rows."""


@dataclass(frozen=True)
class Machine:
    """What of the design point the order depends on."""

    weight_tiles: int
    accumulator_rows: int

    @property
    def halves(self) -> int:
        """Parts of the accumulators."""
        return 2 if self.accumulator_rows > 1 else 1

    @property
    def most_rows(self) -> int:
        """Rows of one part."""
        return self.accumulator_rows // self.halves


class Emitter:
    """Writes the instructions of a whole program."""

    def __init__(self, machine: Machine, stages: list[Product | Pass], uses: list[Use]) -> None:
        self.dispatcher = Dispatcher()
        self.accumulator_rows = 0
        self._machine = machine
        self._stages = stages
        self._uses = uses
        self._send = self.dispatcher.send
        # a use needs LW where its tile is not the one already in the array
        self._shifts = [
            n for n, u in enumerate(uses) if not n or uses[n - 1].weights != u.weights
        ]
        self._shift_set = frozenset(self._shifts)
        self._slots = Slots(machine.weight_tiles, [uses[n].weights for n in self._shifts])
        self._loaded = self._shifted = 0
        self._half = 0
        self._described: dict[Table, int] = {}
        self._rows: dict[Table, int] = {}

    def load(self, port: Port, target: Placed, host: bool = True) -> None:
        """LDA of a whole value."""
        operands = {
            "dram": port.address,
            "ub": target.buffer.address,
            "bytes": port.traffic_bytes,
            "host": int(host),
        }
        self._send("LDA", operands, writes=[_whole(target)])

    def store(self, port: Port, source: Placed) -> None:
        """ST of a whole value, to the host."""
        operands = {
            "dram": port.address,
            "ub": source.buffer.address,
            "bytes": port.traffic_bytes,
            "host": 1,
        }
        self._send("ST", operands, reads=[_whole(source)])

    def mark(self, number: int) -> None:
        """Begin a layer, once the one before has written its results."""
        self._send("MARK", {"id": number}, after=("RQ", "VE"))

    @property
    def weight_slots(self) -> int:
        """Slots of the weight memory that the program uses."""
        return self._slots.used

    def halt(self) -> None:
        """End the program."""
        self._send("HALT", {})

    def prefetch(self) -> None:
        """LDW of the tiles that come next."""
        ahead = min(_AHEAD, self._machine.weight_tiles - 1)
        while self._loaded < min(self._shifted + ahead, len(self._shifts)):
            self._load_tile()

    def vector(self, one: Pass, tables: tuple[Table, ...], following: Tables) -> None:
        """A pass of the vector unit."""
        entries = [self._descriptor(table) for table in tables]
        operands = {
            "func": one.func,
            "a": entries[0],
            "b": entries[-1],
            "ub": one.target.buffer.address,
            "len": one.rows,
        }
        reads = [*(part("descriptor", e) for e in entries), *(_whole(s) for s in one.sources)]
        self._send("VE", operands, reads, [_whole(one.target)])
        self._prepare(following)

    def product(self, first: int, count: int, following: Tables) -> None:
        """The uses of one stage; `following` are the tables that the next stage needs first."""
        waiting: list[tuple[Use, int]] = []
        for number in range(first, first + count):
            use = self._uses[number]
            self._shift_for(number)
            self._rows_for(use)
            self._multiply(use, number)
            self._shift_for(number + 1)
            self.prefetch()
            self._requantize(waiting)
            if use.last:
                waiting.append((use, self._half))
                self._half = (self._half + 1) % self._machine.halves
            if self._machine.halves == 1:  # the next MM overwrites what waits
                self._requantize(waiting)
        self._prepare(following)
        self._requantize(waiting)

    def _prepare(self, following: Tables) -> None:
        for table in following[0]:
            self._descriptor(table)
        for table in following[1]:
            self._row(table)

    def _load_tile(self) -> None:
        use = self._uses[self._shifts[self._loaded]]
        slot, present = self._slots.take(self._loaded, self._shifted)
        if not present:
            rows, cols = use.tile.taps, use.tile.columns
            operands = {"dram": use.weights, "slot": slot, "rows": rows, "cols": cols}
            self._send("LDW", operands, writes=[part("slot", slot)])
        self._loaded += 1

    def _shift_for(self, number: int) -> None:
        """LW of the tile of use `number`, unless it was sent or is not needed."""
        if self._shifted == len(self._shifts) or self._shifts[self._shifted] != number:
            return
        if self._loaded == self._shifted:
            self._load_tile()
        slot = self._slots.of(self._shifted)
        self._send("LW", {"slot": slot}, [part("slot", slot)], [part("shadow", 0)])
        self._shifted += 1

    def _multiply(self, use: Use, number: int) -> None:
        tile, swap = use.tile, number in self._shift_set
        entry = self._descriptor(use.descriptor)
        start = self._half * self._machine.most_rows
        self.accumulator_rows = max(self.accumulator_rows, start + tile.rows)
        operands = {
            "desc": entry,
            "acc": start,
            "len": tile.rows,
            "row": tile.row,
            "k": tile.tap,
            "lanes": tile.taps,
            "swap": int(swap),
            "accumulate": int(not tile.first),
        }
        product = self._stages[use.product]
        assert isinstance(product, Product), "a use belongs to a product"
        reads = [part("descriptor", entry), _whole(product.source)]
        takes = [part("shadow", 0)] if swap else []
        self._send("MM", operands, reads, [part("accumulators", self._half)], takes)

    def _requantize(self, waiting: list[tuple[Use, int]]) -> None:
        """RQ of complete tiles; `waiting` is emptied."""
        for use, half in waiting:
            product, tile = self._stages[use.product], use.tile
            assert isinstance(product, Product), "a use belongs to a product"
            first = product.blocks[tile.block].first + tile.column
            for epilogue, table in zip(product.epilogues, use.tables, strict=True):
                width = 4 if epilogue.raw else 1
                start = epilogue.target.buffer.address + first * width
                entry = self._row(table)
                operands = {
                    "acc": half * self._machine.most_rows,
                    "len": tile.rows,
                    "cols": tile.columns,
                    "table": entry,
                    "ub": start + tile.row * epilogue.table.stride,
                    "raw": int(epilogue.raw),
                }
                reads = [part("row", entry), part("accumulators", half)]
                self._send("RQ", operands, reads, [_whole(epilogue.target)])
        waiting.clear()

    def _rows_for(self, use: Use) -> None:
        for table in use.tables:
            self._row(table)

    def _descriptor(self, table: Table) -> int:
        return self._configure(0, "descriptor", DESCRIPTORS, self._described, table)

    def _row(self, table: Table) -> int:
        return self._configure(1, "row", REQUANTIZE_ROWS, self._rows, table)

    def _configure(
        self, kind: int, name: str, limit: int, held: dict[Table, int], table: Table
    ) -> int:
        """The entry that holds a table; CFG into the oldest one where none does."""
        if table in held:
            held[table] = entry = held.pop(table)  # now the latest
            return entry
        entry = len(held) if len(held) < limit else held.pop(next(iter(held)))
        held[table] = entry
        operands = {"dram": table.address, "kind": kind, "index": entry, "bytes": table.bytes}
        self._send("CFG", operands, writes=[part(name, entry)])
        return entry


def _whole(value: Placed) -> Resource:
    buffer = value.buffer
    return ("ub", buffer.address, buffer.address + buffer.size_bytes)
